"""PNG files, what is written in them, and reading it back."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from s2f_edge.errors import OutputError, ProvenanceError, UsageError
from s2f_edge.files import write_whole
from s2f_edge.picture import NOTICE, SOURCE_TYPE, Provenance, checked_size, encode_png, grid, read_provenance

FACE = np.arange(64 * 64 * 3, dtype=np.uint32).reshape(64, 64, 3).astype(np.uint8)
ORIGIN = Provenance("s2f-edge 9.9", 'a "pack" <1> & more', "ab" * 32, "male")


def test_pixels_come_back() -> None:
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(encode_png(FACE, ORIGIN)))), FACE)


@pytest.mark.parametrize("size", [16, 64, 100, 1024])
def test_any_size(size: int) -> None:
    assert Image.open(io.BytesIO(encode_png(FACE, ORIGIN, size))).size == (size, size)


@pytest.mark.parametrize("size", [0, 15, 4097, -1])
def test_sizes_out_of_range(size: int) -> None:
    with pytest.raises(UsageError, match="from 16 to 4096"):
        checked_size(size)


def test_provenance_is_read_back() -> None:
    facts = read_provenance(encode_png(FACE, ORIGIN))
    assert facts["pack"] == ORIGIN.pack
    assert facts["pack_sha256"] == ORIGIN.pack_sha256
    assert facts["generator"] == "male"
    assert facts["notice"] == NOTICE
    assert facts["digital_source_type"] == SOURCE_TYPE


def test_xmp_is_well_formed_and_names_the_source_type() -> None:
    from xml.etree import ElementTree

    info = Image.open(io.BytesIO(encode_png(FACE, ORIGIN))).info
    xmp = info["XML:com.adobe.xmp"]
    root = ElementTree.fromstring(xmp.split("?>", 1)[1].rsplit("<?xpacket", 1)[0])
    description = root.find(".//{http://www.w3.org/1999/02/22-rdf-syntax-ns#}Description")
    assert description is not None
    iptc = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"
    assert description.attrib[iptc] == SOURCE_TYPE
    assert NOTICE in "".join(root.itertext())


def test_xmp_alone_is_enough() -> None:
    """Photo programs keep XMP and drop unknown chunks."""
    kept = Image.open(io.BytesIO(encode_png(FACE, ORIGIN))).info["XML:com.adobe.xmp"]
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", kept)
    buffer = io.BytesIO()
    Image.fromarray(FACE).save(buffer, "PNG", pnginfo=info)
    assert read_provenance(buffer.getvalue()) == {"digital_source_type": SOURCE_TYPE}


def test_pictures_without_provenance(tmp_path: Path) -> None:
    with pytest.raises(ProvenanceError, match="carries no provenance"):
        read_provenance(encode_png(FACE, None))
    jpeg = io.BytesIO()
    Image.fromarray(FACE).save(jpeg, "JPEG")
    for data in (b"", b"text", jpeg.getvalue(), encode_png(FACE, ORIGIN)[:200]):
        with pytest.raises(ProvenanceError, match="no PNG"):
            read_provenance(data)
    with pytest.raises(ProvenanceError, match="cannot be read"):
        read_provenance(tmp_path / "missing.png")


@settings(max_examples=200)
@given(st.data())
def test_fuzz_reading(data: st.DataObject) -> None:
    """Any change to any bytes: provenance or a clean error."""
    png = bytearray(encode_png(FACE[:16, :16], ORIGIN))
    for _ in range(data.draw(st.integers(1, 4))):
        png[data.draw(st.integers(0, len(png) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ProvenanceError):
        read_provenance(bytes(png))


def test_grid_has_every_face() -> None:
    faces = [np.full((64, 64, 3), 10 * i, np.uint8) for i in range(1, 6)]
    sheet = grid(faces)
    assert sheet.shape == (2 * 64 + 2, 3 * 64 + 4, 3)
    for i in range(5):
        y, x = (i // 3) * 66, (i % 3) * 66
        assert np.array_equal(sheet[y : y + 64, x : x + 64], faces[i])


def test_writing_is_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "deep" / "face.png"
    write_whole(target, b"first")
    assert target.read_bytes() == b"first"
    assert target.stat().st_mode & 0o444  # not only mkstemp's owner may read it

    def broken(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", broken)
    with pytest.raises(OutputError, match="No space left"):
        write_whole(target, b"second")
    assert target.read_bytes() == b"first"
    assert [p.name for p in target.parent.iterdir()] == ["face.png"]


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot be written"):
        write_whole(tmp_path / "file" / "face.png", b"x")
