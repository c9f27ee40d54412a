"""The watermark: what it says, that it is not seen, what it survives, and where none is found."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageDraw

from s2f_edge import Speech2Face
from s2f_edge.errors import UsageError
from s2f_edge.marks.watermark import (
    MIN_SIZE,
    PayloadFields,
    find,
    make_payload,
    mark,
    read_payload,
)
from s2f_edge.marks.watermark_find import LOG10_ALARM, strongest
from s2f_edge.marks.watermark_waves import carriers
from s2f_edge.picture import grid
from s2f_edge.terms import GENERATORS

Pixels = np.ndarray
PACK = "0123456789abcdef" * 4
COUNT = 24


@functools.cache
def faces() -> Pixels:
    """uint8 (24, 256, 256, 3) of the default pack, for random voices."""
    model = Speech2Face(device="cpu")
    voices = np.random.default_rng(5).standard_normal((COUNT, model.pack.manifest.voice.embedding_size))
    voices = (voices / np.linalg.norm(voices, axis=1, keepdims=True)).astype(np.float32)
    parts = zip(GENERATORS, np.array_split(voices, 3), strict=True)
    return np.concatenate([model.generate(some, generator) for generator, some in parts])


def resize(pixels: Pixels, width: int, height: int | None = None) -> Pixels:
    return np.asarray(Image.fromarray(pixels).resize((width, height or width), Image.Resampling.BICUBIC))


def coded(pixels: Pixels, quality: int, kind: str = "JPEG") -> Pixels:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, quality=quality)
    return np.asarray(Image.open(file).convert("RGB"))


def cropped(pixels: Pixels, left: float, top: float, right: float, bottom: float) -> Pixels:
    height, width, _ = pixels.shape
    top, bottom, left, right = round(top * height), round(bottom * height), round(left * width), round(right * width)
    return pixels[top : height - bottom, left : width - right]


def by(pixels: Pixels, factor: float) -> Pixels:
    return resize(pixels, round(pixels.shape[1] * factor), round(pixels.shape[0] * factor))


def psnr(one: Pixels, other: Pixels) -> float:
    return float(10 * np.log10(255**2 / np.mean(np.square(one.astype(float) - other))))


@functools.cache
def marked(size: int) -> list[tuple[Pixels, int]]:
    payloads = np.random.default_rng(size).integers(1 << 20, size=COUNT)
    return [
        (mark(resize(face, size), int(payload)), int(payload)) for face, payload in zip(faces(), payloads, strict=True)
    ]


ATTACKS: dict[str, Callable[[Pixels], Pixels]] = {
    "none": lambda p: p,
    "jpeg": lambda p: coded(p, 75),
    "webp": lambda p: coded(p, 80, "WEBP"),
    "half": lambda p: by(p, 0.5),
    "double": lambda p: by(p, 2),
    "odd": lambda p: by(p, 0.613),
    "half-jpeg": lambda p: coded(by(p, 0.5), 75),
    "crop": lambda p: cropped(p, 0.05, 0.05, 0.05, 0.05),
    "left": lambda p: cropped(p, 0.05, 0, 0, 0),
    "bottom-odd-jpeg": lambda p: coded(by(cropped(p, 0, 0, 0, 0.05), 0.77), 75),
    "crop-half-jpeg": lambda p: coded(by(cropped(p, 0.05, 0.05, 0.05, 0.05), 0.5), 75),
    "right-square-jpeg": lambda p: coded(resize(cropped(p, 0, 0, 0.05, 0), 199), 75),
    "dim": lambda p: np.rint(p * 0.7).astype(np.uint8),
    "bright": lambda p: np.clip(p.astype(int) + 30, 0, 255).astype(np.uint8),
}


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.slow
def test_a_mark_of_256_pixels_survives(attack: str) -> None:
    for picture, payload in marked(256):
        found = find(ATTACKS[attack](picture))
        assert found is not None
        assert found.payload == payload


@pytest.mark.parametrize("attack", ["jpeg", "webp", "half-jpeg", "double", "crop-half-jpeg", "bottom-odd-jpeg"])
@pytest.mark.parametrize("size", [300, 512, 1024])
@pytest.mark.slow
def test_a_mark_of_other_sizes_survives(size: int, attack: str) -> None:
    for picture, payload in _few(size):
        found = find(ATTACKS[attack](picture))
        assert found is not None
        assert found.payload == payload


@functools.cache
def _few(size: int) -> list[tuple[Pixels, int]]:
    return [(mark(resize(face, size), 1000 + i), 1000 + i) for i, face in enumerate(faces()[::8])]


@pytest.mark.slow
def test_a_mark_is_not_seen() -> None:
    for (picture, _), face in zip(marked(256), faces(), strict=True):
        plain = resize(face, 256)
        assert psnr(plain, picture) > 46
        change = picture.astype(int) - plain
        assert np.abs(change).max() <= 6
        inside = (plain > 6) & (plain < 249)  # where nothing is cut off, all colours change alike
        alike = change.max(axis=2) == change.min(axis=2)
        assert alike[inside.all(axis=2)].all()
    assert min(psnr(resize(faces()[i * 8], 1024), picture) for i, (picture, _) in enumerate(_few(1024))) > 50


@pytest.mark.slow
def test_where_a_mark_is_found_is_where_the_face_is() -> None:
    picture, _ = marked(256)[0]
    found = find(picture)
    assert found is not None
    assert found.box == pytest.approx((0, 0, 256, 256), abs=1)
    assert found.log10_false_alarm < -100
    found = find(cropped(picture, 0.05, 0.05, 0.05, 0.05))
    assert found is not None
    assert found.box == pytest.approx((-13, -13, 256, 256), abs=3)


@pytest.mark.parametrize("count", [2, 4, 6, 10])
@pytest.mark.slow
def test_a_grid_is_found_and_each_of_its_faces(count: int) -> None:
    plain = [resize(face, 256) for face in faces()[:count]]
    whole = grid([mark(face, 77) for face in plain])
    columns = (whole.shape[1] + 8) // 264
    corners = [(max(0, i % columns * 264 - 4), max(0, i // columns * 264 - 4)) for i in range(count)]
    cuts = [whole[y : y + 264, x : x + 264] for x, y in corners]
    for seen in (whole, by(whole, 0.6), coded(by(whole, 0.5), 75), *cuts):
        found = find(seen)
        assert found is not None
        assert found.payload == 77
    assert find(grid(plain)) is None


@pytest.mark.slow
def test_faces_without_a_mark_have_none() -> None:
    for face in faces()[::3]:
        best = strongest(resize(face, 256))
        assert best is not None
        assert best.log10_false_alarm > LOG10_ALARM + 1


def pictures_without_a_mark() -> dict[str, Pixels]:
    random = np.random.default_rng(1)
    ramp = np.linspace(0, 255, 300)
    text, lines = Image.new("RGB", (400, 300), "white"), Image.new("RGB", (256, 256), "white")
    for y in range(0, 300, 12):
        ImageDraw.Draw(text).text((3, y), "A face from a voice is no identification. " * 3, fill="black")
    for x in range(0, 256, 9):
        ImageDraw.Draw(lines).line((x, 0, 255 - x, 255), fill="black")
    waves = 128 + 100 * np.sin(2 * np.pi * 28 * np.arange(256) / 256)  # amid the mark's frequencies
    return {
        "black": np.zeros((256, 256, 3), np.uint8),
        "white": np.full((300, 200, 3), 255, np.uint8),
        "colour": np.tile(np.array([200, 30, 90], np.uint8), (128, 128, 1)),
        "gradient": np.repeat((ramp[:, None] / 2 + ramp / 2).astype(np.uint8)[..., None], 3, axis=2),
        "noise": random.integers(0, 256, (256, 256, 3), np.uint8),
        "grey noise": np.repeat(random.integers(0, 256, (512, 512, 1), np.uint8), 3, axis=2),
        "a dot": np.pad(np.full((1, 1, 3), 255, np.uint8), ((100, 100), (100, 100), (0, 0))),
        "text": np.asarray(text),
        "lines": np.asarray(lines),
        "waves": np.repeat(np.tile(waves.astype(np.uint8), (256, 1))[..., None], 3, axis=2),
        "checks": np.repeat((np.indices((256, 256)).sum(axis=0) // 4 % 2 * 255).astype(np.uint8)[..., None], 3, axis=2),
        "tiny": random.integers(0, 256, (16, 16, 3), np.uint8),
        "one pixel": np.zeros((1, 1, 3), np.uint8),
        "a line": random.integers(0, 256, (1, 5000, 3), np.uint8),
        "wide": random.integers(0, 256, (100, 3000, 3), np.uint8),
        "high": random.integers(0, 256, (900, 450, 3), np.uint8),
        "grid": random.integers(0, 256, (1000, 1000, 3), np.uint8),
    }


@pytest.mark.parametrize("name", pictures_without_a_mark())
def test_other_pictures_have_no_mark(name: str) -> None:
    assert find(pictures_without_a_mark()[name]) is None


def test_a_picture_that_is_not_contiguous_is_read() -> None:
    picture, payload = marked(256)[0]
    padded = np.zeros((256, 256, 4), np.uint8)
    padded[..., :3] = picture
    found = find(padded[..., :3])
    assert found is not None
    assert found.payload == payload
    upside = find(picture[::-1])
    assert upside is None  # docs/watermark.md says so


@pytest.mark.parametrize("size", [256, 300, 640])
def test_the_same_picture_and_payload_give_the_same_mark(size: int) -> None:
    plain = resize(faces()[0], size)
    before = plain.copy()
    once = mark(plain, 12345)
    assert np.array_equal(once, mark(plain, 12345))
    assert not np.array_equal(once, mark(plain, 12346))
    assert np.array_equal(plain, before)


def test_the_key_stays_the_same() -> None:
    """Marks that exist must be found by later versions."""
    waves = carriers()
    assert len(waves.phases) == 1754
    assert waves.down[:3].tolist() == [-37, -37, -37]
    assert np.angle(waves.phases[:3]) == pytest.approx([-3.00675, 0.65259, -2.28372], abs=1e-5)
    assert [part[:4].tolist() for part in (waves.sync, *waves.symbols)] == [
        [218, 384, 1270, 1285],
        [498, 1132, 156, 1223],
        [1521, 1292, 379, 375],
    ]


def test_flat_faces_can_be_marked() -> None:
    for level in (0, 128, 255):
        picture = mark(np.full((256, 256, 3), level, np.uint8), 5)
        assert picture.shape == (256, 256, 3)
    grey = find(mark(np.full((256, 256, 3), 128, np.uint8), 5))
    assert grey is not None
    assert grey.payload == 5


def test_payloads_say_version_generator_and_pack() -> None:
    for generator in GENERATORS:
        payload = make_payload(generator, PACK)
        assert 0 <= payload < 1 << 20
        assert read_payload(payload) == PayloadFields(1, generator, "0123")
    assert make_payload("male", "F" * 64) == make_payload("male", "f" * 64)
    assert len({make_payload(generator, pack * 64) for generator in GENERATORS for pack in "0123"}) == 12


def test_payloads_that_cannot_be_right() -> None:
    with pytest.raises(UsageError, match="'auto'"):
        make_payload("auto", PACK)
    for wrong in ("", "ab", "x" * 64, PACK + "0", "0x" + "1" * 62):
        with pytest.raises(UsageError, match="64 hex digits"):
            make_payload("male", wrong)
    for payload in (0, -1, 3 << 18, 1 << 18 | 3 << 16, 1 << 20):
        with pytest.raises(UsageError, match="payload"):
            read_payload(payload)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((MIN_SIZE - 1, MIN_SIZE - 1, 3), np.uint8),
        np.zeros((256, 300, 3), np.uint8),
        np.zeros((256, 256, 4), np.uint8),
        np.zeros((256, 256), np.uint8),
        np.zeros((256, 256, 3), np.float32),
    ],
    ids=["small", "wide", "alpha", "grey", "float"],
)
def test_pixels_that_cannot_be_marked(pixels: Pixels) -> None:
    with pytest.raises(UsageError, match="picture is"):
        mark(pixels, 1)


@pytest.mark.parametrize("payload", [-1, 1 << 20])
def test_a_payload_has_20_bits(payload: int) -> None:
    with pytest.raises(UsageError, match="20 bits"):
        mark(np.zeros((256, 256, 3), np.uint8), payload)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((256, 256), np.uint8),
        np.zeros((0, 256, 3), np.uint8),
        np.zeros((256, 256, 3)),
        np.zeros((9, 9, 4), np.uint8),
    ],
    ids=["grey", "empty", "float", "alpha"],
)
def test_pixels_that_cannot_be_searched(pixels: Pixels) -> None:
    with pytest.raises(UsageError, match="picture is"):
        find(pixels)
