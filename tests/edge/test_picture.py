"""Picture files in three formats, their sizes, and the marks that they get."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from s2f_edge import Speech2Face
from s2f_edge.errors import OutputError, UsageError
from s2f_edge.files import write_whole
from s2f_edge.marks import watermark
from s2f_edge.picture import (
    FACTS_CHUNK,
    MEDIA_TYPES,
    NOTICE,
    SOURCE_TYPE,
    Pixels,
    Provenance,
    checked_size,
    encode,
    face_size,
    grid,
    marks,
    png,
)
from s2f_edge.results import FaceResult
from s2f_edge.terms import MAX_SIZE

FACE = np.arange(64 * 64 * 3, dtype=np.uint32).reshape(64, 64, 3).astype(np.uint8)
ORIGIN = Provenance("s2f-edge 9.9", 'a "pack" <1> & more', "ab" * 32, "male")


@pytest.fixture(scope="module")
def result(examples: Path) -> FaceResult:
    return Speech2Face(device="cpu").infer(examples / "male.wav", samples=5, seed=1)


def pixels(data: bytes) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def test_pixels_come_back() -> None:
    assert np.array_equal(pixels(encode(FACE, ORIGIN)), FACE)


@pytest.mark.parametrize("shape", [(256, 256), (64, 64), (16, 40), (1, 1)])
def test_pixels_of_every_kind_come_back(shape: tuple[int, int]) -> None:
    random = np.random.default_rng(shape[0])
    noise = random.integers(0, 256, (*shape, 3), np.uint8)
    edges = np.where(random.random(shape) < 0.5, 0, 255).astype(np.uint8)[..., None].repeat(3, -1)  # sums wrap around
    for face in (noise, edges):
        image = Image.open(io.BytesIO(png(face, ORIGIN)))
        image.load()
        assert np.array_equal(np.asarray(image), face)
        assert image.text["Software"] == ORIGIN.tool  # type: ignore[attr-defined]
        assert json.loads(image.text[FACTS_CHUNK])["pack"] == ORIGIN.pack  # type: ignore[attr-defined]


def test_a_png_is_about_as_small_as_pillows(result: FaceResult) -> None:
    pillow = io.BytesIO()
    Image.fromarray(result.face).save(pillow, "PNG")
    assert len(png(result.face, ORIGIN)) < 1.05 * len(pillow.getvalue()) + 4096, "4 kB of metadata"


@pytest.mark.parametrize("format", MEDIA_TYPES)
@pytest.mark.parametrize("size", [16, 64, 100, 1024])
def test_any_size(size: int, format: str) -> None:
    image = Image.open(io.BytesIO(encode(FACE, ORIGIN, size, format)))
    assert image.size == (size, size)
    assert image.get_format_mimetype() == MEDIA_TYPES[format]


@pytest.mark.parametrize("size", [0, 15, 4097, -1])
def test_sizes_out_of_range(size: int) -> None:
    with pytest.raises(UsageError, match="from 16 to 4096"):
        checked_size(size)


def test_another_format_is_refused() -> None:
    with pytest.raises(UsageError, match="png, webp, jpeg"):
        encode(FACE, ORIGIN, 64, "gif")


@pytest.mark.parametrize(("format", "least", "least_grey"), [("webp", 37.5, 42), ("jpeg", 44, 46)])
@pytest.mark.slow
def test_what_is_lossy_looks_the_same(result: FaceResult, format: str, least: float, least_grey: float) -> None:
    # WebP halves the resolution of colours: even at its best quality faces have 40 dB.
    difference = pixels(result.picture(256, format=format)).astype(float) - pixels(result.picture(256))
    for found, wanted in ((difference, least), (difference @ (0.299, 0.587, 0.114), least_grey)):
        assert 10 * np.log10(255**2 / np.mean(found**2)) > wanted  # decibels


@pytest.mark.parametrize("format", MEDIA_TYPES)
def test_xmp_is_well_formed_and_names_the_source_type(format: str) -> None:
    from xml.etree import ElementTree

    info = Image.open(io.BytesIO(encode(FACE, ORIGIN, format=format))).info
    xmp = info["XML:com.adobe.xmp"] if format == "png" else info["xmp"].decode()
    root = ElementTree.fromstring(xmp.split("?>", 1)[1].rsplit("<?xpacket", 1)[0])
    description = root.find(".//{http://www.w3.org/1999/02/22-rdf-syntax-ns#}Description")
    assert description is not None
    iptc = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"
    assert description.attrib[iptc] == SOURCE_TYPE
    assert description.attrib["{https://s2f.invalid/ns/1.0/}pack"] == ORIGIN.pack
    assert NOTICE in "".join(root.itertext())


def test_grid_has_every_face() -> None:
    faces = [np.full((64, 64, 3), 10 * i, np.uint8) for i in range(1, 6)]
    sheet = grid(faces)
    assert sheet.shape == (2 * 64 + 2, 3 * 64 + 4, 3)
    for i in range(5):
        y, x = (i // 3) * 66, (i % 3) * 66
        assert np.array_equal(sheet[y : y + 64, x : x + 64], faces[i])


@pytest.mark.parametrize(("size", "faces"), [(256, 5), (4096, 2), (1024, 64), (17, 3), (4096, 1)])
def test_faces_of_a_grid_have_the_size_that_was_asked_for_or_all_the_room(size: int, faces: int) -> None:
    side = face_size(size, faces)
    width = grid([np.zeros((side, side, 3), np.uint8)] * faces).shape[1]
    assert width <= MAX_SIZE
    columns = int(np.ceil(np.sqrt(faces)))
    assert side == size or width + columns + columns // 32 + 1 > MAX_SIZE


def test_every_face_of_256_pixels_or_more_bears_the_watermark(result: FaceResult) -> None:
    payload = watermark.make_payload(result.generator, result.pack_sha256)
    sheet = pixels(result.grid_picture(256))
    assert sheet.shape == (2 * 256 + 8, 3 * 256 + 16, 3)
    for i in range(5):
        y, x = (i // 3) * 264, (i % 3) * 264
        found = watermark.find(sheet[y : y + 256, x : x + 256])
        assert found is not None
        assert found.payload == payload
        alone = pixels(result.picture(256, i))
        assert np.array_equal(sheet[y : y + 256, x : x + 256], alone)


def test_marks_say_what_a_picture_has(result: FaceResult) -> None:
    assert result.marks_of(256) == ("metadata", "watermark", "c2pa")
    assert result.marks_of(255) == ("metadata", "c2pa")
    assert marks(1024, 64) == ("metadata", "watermark", "c2pa")  # 64 faces of 497 pixels
    assert "watermark" not in marks(1024, 256)
    shrunk = np.asarray(Image.fromarray(result.face).resize((255, 255), Image.Resampling.BICUBIC))
    assert np.array_equal(pixels(result.picture(255)), shrunk)  # no watermark, so not a pixel is changed


def test_png_is_a_picture_and_the_index_is_checked(result: FaceResult) -> None:
    assert np.array_equal(pixels(result.png(300, 2)), pixels(result.picture(300, 2, "png")))
    assert np.array_equal(pixels(result.grid_png(64)), pixels(result.grid_picture(64)))
    with pytest.raises(UsageError, match="index is 5"):
        result.picture(64, 5)


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
