"""Reading where pictures come from: what survives what, and pictures made to do harm."""

from __future__ import annotations

import contextlib
import io
import json
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin
from typer.testing import CliRunner, Result

from s2f_edge import Speech2Face
from s2f_edge.cli.main import app
from s2f_edge.errors import CertificateError, ProvenanceError
from s2f_edge.marks import provenance
from s2f_edge.marks.credentials import Credentials
from s2f_edge.marks.provenance import read, read_metadata
from s2f_edge.picture import MEDIA_TYPES, NOTICE, SOURCE_TYPE, Pixels, Provenance, encode
from s2f_edge.results import FaceResult
from tests.edge.marks.test_credentials import Studio, no_extra, studio  # noqa: F401

FACE = np.arange(64 * 64 * 3, dtype=np.uint32).reshape(64, 64, 3).astype(np.uint8)
ORIGIN = Provenance("s2f-edge 9.9", 'a "pack" <1> & more', "ab" * 32, "male")
ALL = ("metadata", "watermark", "c2pa")


@pytest.fixture(scope="module")
def result(examples: Path) -> FaceResult:
    return Speech2Face(device="cpu").infer(examples / "male.wav", samples=5, seed=1)


def saved(pixels: Pixels | Image.Image, format: str, **options: object) -> bytes:
    """A file of the pixels, as another program writes it."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def pixels(data: bytes) -> Pixels:
    return np.array(Image.open(io.BytesIO(data)).convert("RGB"))


def chunks(png: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 8
    while at < len(png):
        length = int.from_bytes(png[at : at + 4], "big")
        found.append((png[at + 4 : at + 8], png[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def png_of(parts: list[tuple[bytes, bytes]]) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in parts
    )


def with_one_pixel_changed(data: bytes, format: str) -> bytes:
    """The same file but for its picture data; all that is written in it is kept."""
    if format != "png":
        chunk = data.find(b"VP8 ")
        end = chunk + int.from_bytes(data[chunk + 4 : chunk + 8], "little") if format == "webp" else len(data)
        for at in range(end - 20, end - 500, -1):  # to the first that is still a picture
            changed = bytes([*data[:at], data[at] ^ 1, *data[at + 1 :]])
            with contextlib.suppress(OSError):
                if not np.array_equal(pixels(changed), pixels(data)):
                    return changed
        raise AssertionError("no such byte")
    image = pixels(data)
    image[100, 100] ^= 1
    new = [body for kind, body in chunks(saved(image, "PNG")) if kind == b"IDAT"]
    parts = chunks(data)
    first = next(i for i, (kind, _) in enumerate(parts) if kind == b"IDAT")
    kept = [(kind, body) for kind, body in parts if kind != b"IDAT"]
    return png_of(kept[:first] + [(b"IDAT", body) for body in new] + kept[first:])


# -------------------------------------------------------------------------------- reading


@pytest.mark.parametrize("grid", [False, True])
@pytest.mark.parametrize("format", MEDIA_TYPES)
@pytest.mark.slow
def test_all_layers_are_read_back(result: FaceResult, format: str, grid: bool) -> None:
    data = result.grid_picture(format=format) if grid else result.picture(format=format)
    report = read(data)
    assert report.layers == result.marks_of(256, grid) == ALL
    assert report.format == format
    for facts in (report.metadata, report.credentials.facts):  # type: ignore[union-attr]
        assert facts == {
            "tool": result.provenance.tool,
            "pack": result.pack,
            "pack_sha256": result.pack_sha256,
            "generator": "male",
            "notice": NOTICE,
            "digital_source_type": SOURCE_TYPE,
        }
    assert report.watermark is not None
    assert (report.watermark.generator, report.watermark.pack) == ("male", result.pack_sha256[:4])
    assert report.watermark.log10_false_alarm < -6
    assert report.verdict.startswith("Its metadata, watermark and signed content credentials say that s2f-edge made")
    assert "does not say by whom" in report.verdict
    assert json.loads(json.dumps(report.to_dict()))["layers"] == list(ALL)


@pytest.mark.parametrize("format", MEDIA_TYPES)
def test_small_pictures_have_no_watermark(result: FaceResult, format: str) -> None:
    report = read(result.picture(64, format=format))
    assert report.layers == result.marks_of(64) == ("metadata", "c2pa")


@pytest.mark.parametrize("format", MEDIA_TYPES)
def test_a_changed_pixel_is_seen(result: FaceResult, format: str) -> None:
    data = result.picture(format=format)
    changed = with_one_pixel_changed(data, format)
    assert not np.array_equal(pixels(data), pixels(changed))
    report = read(changed)
    assert report.credentials is not None
    assert report.credentials.state == "changed"
    assert "it has changed since it was signed" in report.verdict
    assert report.layers == ALL


@pytest.mark.parametrize("format", MEDIA_TYPES)
def test_changed_metadata_are_seen(result: FaceResult, format: str) -> None:
    data = result.picture(format=format)
    at = data.index(b"xmp:CreatorTool=")
    forged = bytearray(data)
    forged[at + 17] ^= 1
    if format == "png":  # whose chunks have sums
        forged[:] = png_of(chunks(bytes(forged)))
    found = read(bytes(forged)).credentials
    assert found is not None
    assert found.state == "changed"


def test_a_changed_claim_is_seen(result: FaceResult) -> None:
    data = bytearray(result.picture(format="jpeg"))
    at = data.index(b"generator", data.index(b"s2f.provenance")) + len(b"generator") + 1
    assert data[at : at + 4] == b"male"
    data[at] ^= 1
    found = read(bytes(data)).credentials
    assert found is not None
    assert found.state == "broken"


def test_credentials_of_another_picture_do_not_fit(result: FaceResult) -> None:
    signed = chunks(result.picture(256))
    credential = next(part for part in signed if part[0] == b"caBX")
    own = chunks(saved(np.full((256, 256, 3), 99, np.uint8), "PNG"))
    found = read(png_of([own[0], credential, *own[1:]])).credentials
    assert found is not None
    assert found.state in ("changed", "broken")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda image: saved(image, "PNG"),
        lambda image: saved(image, "JPEG", quality=80),
        lambda image: saved(image, "WEBP", quality=70),
        lambda image: saved(image.resize((192, 192), Image.Resampling.LANCZOS), "JPEG", quality=85),
    ],
    ids=["stripped", "jpeg", "webp", "smaller"],
)
def test_the_watermark_stays_where_the_rest_is_lost(result: FaceResult, spoil: Callable[[Image.Image], bytes]) -> None:
    report = read(spoil(Image.open(io.BytesIO(result.picture(256)))))
    assert report.layers == ("watermark",)
    assert report.metadata == {}
    assert report.credentials is None
    assert report.verdict.startswith("Its watermark says that s2f-edge made this: a plausible face")


def test_metadata_alone_are_a_label_that_anyone_can_write() -> None:
    unsigned = [part for part in chunks(encode(FACE, ORIGIN)) if part[0] != b"caBX"]
    report = read(png_of(unsigned))
    assert report.layers == ("metadata",)
    assert report.verdict == f"Its metadata say that s2f-edge made this: a {NOTICE}."


@pytest.mark.parametrize("format", MEDIA_TYPES)
def test_xmp_alone_is_enough(format: str) -> None:
    """Photo programs keep XMP and drop unknown chunks, and write it in their own way."""
    info = Image.open(io.BytesIO(encode(FACE, ORIGIN, format=format))).info
    xmp = info["XML:com.adobe.xmp"] if format == "png" else info["xmp"].decode()
    facts = read_metadata(encode(FACE, ORIGIN, format=format))
    assert facts["pack"] == ORIGIN.pack
    for written in (xmp, re.sub('="([^"]*)"', r" = '\1'", xmp)):
        assert read_metadata(saved(FACE, "JPEG", xmp=written.encode())) == facts
    element = f"<a:DigitalSourceType>{SOURCE_TYPE}</a:DigitalSourceType>"
    for other in (element, f'<x Iptc4xmpExt:DigitalSourceType="{SOURCE_TYPE}"/>'):
        assert read_metadata(saved(FACE, "WEBP", xmp=other.encode())) == {"digital_source_type": SOURCE_TYPE}


def test_who_signed(result: FaceResult, studio: Studio) -> None:  # noqa: F811
    own = Credentials.from_files(*studio.issue())
    data = result.picture(credentials=own)
    assert "nobody here vouches for (Studio)" in read(data).verdict
    assert "signed by Studio, who is trusted; it has not changed since" in read(data, studio.anchors).verdict
    with pytest.raises(CertificateError, match="cannot be read"):
        read(data, studio.folder / "missing.pem")


@pytest.mark.slow
def test_the_command_signs_with_a_certificate_and_trusts_its_issuer(
    examples: Path,
    studio: Studio,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(studio.folder)
    chain, key = studio.issue()

    def run(*words: object) -> Result:
        return CliRunner().invoke(app, [str(word) for word in words])

    make = ("infer", examples / "male.wav", "--out", "face.webp", "--c2pa-certificate", chain)
    assert run(*make, "--c2pa-key", key).exit_code == 0
    assert "signed by Studio, who is trusted" in run("provenance", "face.webp", "--trust", studio.anchors).stdout
    (studio.folder / "face.webp").unlink()
    for words, said in ((make, "without its key"), ((*make, "--c2pa-key", chain), "no private key in PEM")):
        failed = run(*words)
        assert failed.exit_code == 42
        assert said in failed.stderr
    assert run("provenance", "face.webp", "--trust", key).exit_code == 51
    assert not (studio.folder / "face.webp").exists()


def test_without_the_extra_the_rest_is_read(result: FaceResult, no_extra: None) -> None:  # noqa: F811
    report = read(encode(result.face, ORIGIN, 256))
    assert not report.credentials_read
    assert report.layers == ("metadata", "watermark")


# ------------------------------------------------------------------------- other pictures


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_other_pictures_have_no_trace(format: str) -> None:
    speckled = np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8)
    data = saved(speckled, format)
    report = read(data)
    assert not report.found
    assert report.layers == ()
    assert "proves nothing" in report.verdict
    assert (report.width, report.height, report.format) == (160, 120, format.lower())
    with pytest.raises(ProvenanceError, match="carries no provenance"):
        read_metadata(data)


def test_pictures_of_other_programs_are_not_called_ours() -> None:
    xmp = f'<x Iptc4xmpExt:DigitalSourceType="{SOURCE_TYPE}"/>'.encode()
    report = read(saved(FACE, "JPEG", xmp=xmp))
    assert report.found
    assert report.layers == ()
    assert report.verdict == ("No trace of s2f-edge, which proves nothing; it says of itself: trainedAlgorithmicMedia.")


def test_what_is_no_picture(tmp_path: Path) -> None:
    for data in (b"", b"text", encode(FACE, ORIGIN)[:200], b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"):
        with pytest.raises(ProvenanceError, match="not a readable picture"):
            read(data)
    with pytest.raises(ProvenanceError, match="cannot be read"):
        read(tmp_path / "missing.png")
    with pytest.raises(ProvenanceError, match="cannot be read"):
        read(tmp_path)
    with pytest.raises(ProvenanceError, match="cannot be read"):
        read("a\0b")


# ------------------------------------------------------------------ made to do harm


def test_pictures_with_too_many_pixels_are_not_unpacked() -> None:
    for side in (8_000, 30_000):
        body = zlib.compress(b"\0" * 1000)
        header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
        bomb = png_of([(b"IHDR", header), (b"IDAT", body), (b"IEND", b"")])
        with pytest.raises(ProvenanceError, match="more than 50 megapixels"):
            read(bomb)


def test_files_that_are_too_large_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "MAX_PICTURE_BYTES", 1 << 20)
    (tmp_path / "large.png").write_bytes(b"\0" * (1 << 20) + b"\0")
    for source in (tmp_path / "large.png", b"\0" * (1 << 20) + b"\0"):
        with pytest.raises(ProvenanceError, match="larger than 1 MB"):
            read(source)


def test_text_that_unpacks_to_gigabytes() -> None:
    packed = zlib.compress(b"a" * (70 << 20))
    parts = chunks(saved(FACE, "PNG"))
    text = (b"iTXt", b"s2f-provenance\0\1\0\0\0" + packed)
    with contextlib.suppress(ProvenanceError):
        assert read(png_of([parts[0], text, *parts[1:]])).metadata == {}


@pytest.mark.parametrize(
    "facts",
    ["[" * 100_000, '{"tool": {"a": 1}}', "null", '{"tool": 5}', "{", '{"a": "b"}', '{"tool": "\\ud800"}'],
)
def test_facts_that_are_none(facts: str) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_itxt("s2f-provenance", facts)
    report = read(saved(FACE, "PNG", pnginfo=info))
    assert report.layers == ()
    json.dumps(report.to_dict())


def test_long_fields_are_cut_and_unknown_ones_left_out() -> None:
    info = PngImagePlugin.PngInfo()
    info.add_itxt("s2f-provenance", json.dumps({"tool": "s2f-edge" + "x" * 100_000, "more": "y"}))
    metadata = read(saved(FACE, "PNG", pnginfo=info)).metadata
    assert list(metadata) == ["tool"]
    assert len(metadata["tool"]) == 500


@pytest.mark.parametrize("part", ["<a:DigitalSourceType>", " s2f:facts =", ' s2f:facts="', " \t" * 9, "a" * 40])
def test_xmp_made_to_be_slow(part: str) -> None:
    import time

    xmp = (part * (1 << 20))[: 1 << 20]
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", xmp)
    data = saved(FACE, "PNG", pnginfo=info)
    began = time.process_time()
    with contextlib.suppress(ProvenanceError):
        read_metadata(data)
    assert time.process_time() - began < 3


@pytest.mark.slow
@settings(max_examples=150)
@given(st.data(), st.sampled_from(list(MEDIA_TYPES)))
def test_fuzz_reading(data: st.DataObject, format: str) -> None:
    """Any change to any bytes: a report or a clean error."""
    picture = bytearray(encode(FACE[:16, :16], ORIGIN, format=format))
    for _ in range(data.draw(st.integers(1, 4))):
        picture[data.draw(st.integers(0, len(picture) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ProvenanceError):
        json.dumps(read(bytes(picture)).to_dict())


@pytest.mark.parametrize("where", ["colour profile", "text", "packed text"])
def test_large_profiles_and_texts_are_read_or_told(where: str) -> None:
    with Image.open(io.BytesIO(encode(FACE, ORIGIN, 256, "png"))) as image:
        texts = PngImagePlugin.PngInfo()
        for keyword, text in image.info.items():
            texts.add_itxt(keyword, str(text))
        if where != "colour profile":
            texts.add_itxt("Comment", "x" * 3_000_000, zip=where == "packed text")
        made = io.BytesIO()
        image.save(made, "PNG", pnginfo=texts, icc_profile=bytes(3_000_000) if where == "colour profile" else None)
    if where == "text":
        assert "metadata" in read(made.getvalue()).layers
        return
    with pytest.raises(ProvenanceError, match="colour profile or text of more than 1 MB"):
        read(made.getvalue())
