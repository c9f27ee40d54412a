"""Faces are found, turned upright and cut out; files of all sorts are read or refused."""

from __future__ import annotations

import importlib.util
import io
import itertools
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from s2f_train.data.s2f_data import members
from s2f_train.prepare import align
from s2f_train.prepare.align import (
    TEMPLATE,
    Aligner,
    Picture,
    PictureError,
    read_picture,
    resize_aligned,
    similarity,
    warp,
)

GOLDEN = Path(__file__).resolve().parents[2] / "golden"


@pytest.fixture(scope="module")
def aligner() -> Aligner:
    return Aligner(64)


@pytest.fixture(scope="module")
def portrait() -> Picture:
    """A picture of 300x400 with a face, made by version 2 of the default pack: nobody's."""
    face = Image.open(GOLDEN / "face_male.png").resize((200, 200))
    canvas = np.random.default_rng(0).integers(90, 110, (400, 300, 3)).astype(np.uint8)
    canvas[120:320, 30:230] = np.asarray(face)
    return canvas


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def turn(picture: Picture, degrees: float, scale: float = 1.0) -> tuple[Picture, NDArray[np.float64]]:
    """The picture turned about its centre, on a larger square, and the matrix from there to here."""
    angle, side = math.radians(degrees), round(max(picture.shape) * 1.5)
    matrix = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]) * scale
    shift = np.array([picture.shape[1], picture.shape[0]]) / 2 - matrix @ [side / 2, side / 2]
    whole = np.column_stack([matrix, shift])
    return warp(picture, whole, side), whole


def smooth(height: int, width: int) -> Picture:
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 17 + k) + np.cos(y / 13 - k) for k in range(3)]
    return (127 + 60 * np.stack(waves, axis=2)).astype(np.uint8)


def difference(one: Picture, other: Picture) -> float:
    return float(np.abs(one.astype(float) - other).mean())


def eyes_and_nose(points: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.array([points[:2].mean(axis=0), points[2:4].mean(axis=0), points[4]])


# --- the geometry


@pytest.mark.parametrize("degrees", [0, 30, 179, -90])
@pytest.mark.parametrize("scale", [0.01, 1, 250])
def test_a_known_similarity_is_recovered(degrees: float, scale: float) -> None:
    angle = math.radians(degrees)
    known = np.array(
        [
            [scale * math.cos(angle), -scale * math.sin(angle), 40],
            [scale * math.sin(angle), scale * math.cos(angle), -7],
        ]
    )
    target = TEMPLATE @ known[:, :2].T + known[:, 2]
    assert np.allclose(similarity(TEMPLATE, target), known, atol=1e-9 * max(scale, 1))


def test_the_similarity_has_the_least_squares_and_never_mirrors() -> None:
    random = np.random.default_rng(0)
    mirrored = TEMPLATE * [-1, 1] + random.normal(0, 0.02, TEMPLATE.shape)
    for target in (TEMPLATE + random.normal(0, 0.1, TEMPLATE.shape), mirrored):
        best = similarity(TEMPLATE, target)
        assert np.linalg.det(best[:, :2]) > 0
        assert best[0, 0] == pytest.approx(best[1, 1])
        assert best[0, 1] == pytest.approx(-best[1, 0])

        def error(a: float, b: float, x: float, y: float, target: NDArray[np.float64] = target) -> float:
            moved = TEMPLATE @ np.array([[a, b], [-b, a]]) + [x, y]
            return float(np.square(moved - target).sum())

        found = (best[0, 0], best[1, 0], best[0, 2], best[1, 2])
        least = error(*found)
        for step in np.vstack([np.eye(4), -np.eye(4)]) * 1e-3:
            assert error(*(np.array(found) + step)) > least


def test_an_identity_changes_nothing() -> None:
    picture = smooth(80, 80)
    assert np.array_equal(warp(picture, np.eye(2, 3), 80), picture)


@pytest.mark.parametrize("scale", [1.5, 3.7, 9.0, 41.0])
def test_a_fine_pattern_is_averaged_not_aliased(scale: float) -> None:
    checks = (np.indices((3000, 3000)).sum(axis=0) % 2 * 255).astype(np.uint8)
    face = warp(np.repeat(checks[:, :, None], 3, axis=2), np.array([[scale, 0, 0], [0, scale, 0]]), 64)
    assert np.abs(face.astype(float) - 127.5).max() < 16


@pytest.mark.parametrize("scale", [0.7, 2.5, 13.0])
def test_what_is_drawn_is_where_the_matrix_says(scale: float) -> None:
    # A ramp of brightness tells the place. Pillow rounds down, so a rising and a falling one are compared.
    slope = min(1, 2.5 / scale)
    ramp = np.repeat(np.tile(np.round(slope * np.arange(1000)).clip(0, 255), (1000, 1))[:, :, None], 3, axis=2)
    matrix = np.array([[scale, 0, 40], [0, scale, 50]])
    rising, falling = (warp(r.astype(np.uint8), matrix, 64)[32, :, 0].astype(float) for r in (ramp, 255 - ramp))
    expected = slope * (scale * (np.arange(64) + 0.5) + 40 - 0.5)
    assert abs(((rising + 255 - falling) / 2 - expected).mean()) < 0.1  # half a pixel would be 0.35 and more


def test_outside_of_the_picture_its_edge_goes_on() -> None:
    picture = np.full((20, 20, 3), 50, np.uint8)
    picture[:, -1] = 200
    face = warp(picture, np.array([[1.0, 0, 10], [0, 1, -22]]), 64)
    assert (face[:, 14:] == 200).all()
    assert (face[:, :7] == 50).all()


# --- finding faces


def test_eyes_and_nose_land_on_the_template(aligner: Aligner, portrait: Picture) -> None:
    face = aligner(portrait)
    assert face is not None
    assert face.pixels.shape == (64, 64, 3)
    assert face.pixels.dtype == np.uint8
    assert face.landmarks.shape == (5, 2)
    assert face.landmarks.dtype == np.float32
    again = aligner(np.asarray(Image.fromarray(face.pixels).resize((224, 224), Image.Resampling.BICUBIC)))
    assert again is not None
    distance = eyes_and_nose(again.landmarks / 224 * 64) - eyes_and_nose(TEMPLATE * 64)
    assert np.hypot(*distance.T).max() < 2


def test_real_faces_land_on_the_template(s2f_data: Path) -> None:
    aligner, distances = Aligner(224), []
    photos = members(s2f_data / "data" / "avspeech" / "avspeech.tar", ".photo.jpg")
    for _, file in itertools.islice(photos, 20):
        if (face := aligner(read_picture(file))) and (again := aligner(face.pixels)):
            distance = eyes_and_nose(again.landmarks / 224 * 64) - eyes_and_nose(TEMPLATE * 64)
            distances.append(np.hypot(*distance.T))
    assert len(distances) >= 17
    assert np.mean(distances, axis=0)[:2].max() < 2  # eyes; noses turn with the head


def test_normalised_faces_lie_on_the_template_already(s2f_data: Path, aligner: Aligner) -> None:
    places, faces = [], members(s2f_data / "data" / "avspeech" / "avspeech.tar", ".face.jpg")
    for _, file in itertools.islice(faces, 30):
        face = aligner(read_picture(file))
        assert face is not None
        places.append(face.landmarks / 224 * 64)
    distance = np.mean(places, axis=0) - TEMPLATE * 64
    assert np.hypot(*distance.T).max() < 1


@pytest.mark.parametrize("degrees", [-15, 15])
def test_a_turned_copy_gives_the_same_face(aligner: Aligner, portrait: Picture, degrees: float) -> None:
    copy, matrix = turn(portrait, degrees, scale=0.8)
    straight, turned = aligner(portrait), aligner(copy)
    assert straight is not None
    assert turned is not None
    back = turned.landmarks @ matrix[:, :2].T + matrix[:, 2]
    assert np.hypot(*(back - straight.landmarks).T).max() < 6  # of 200 pixels of head
    assert difference(straight.pixels, turned.pixels) < 5
    assert (
        difference(straight.pixels, np.asarray(Image.fromarray(straight.pixels).rotate(degrees))) > 10
    )  # the test can fail


@pytest.mark.parametrize("width", [64, 2400])
def test_size_of_the_picture_matters_little(aligner: Aligner, portrait: Picture, width: int) -> None:
    cut = portrait[100:340, 10:250]
    image = Image.fromarray(cut).resize((width, width), Image.Resampling.LANCZOS)
    face, expected = aligner(np.asarray(image)), aligner(cut)
    assert face is not None
    assert expected is not None
    assert np.hypot(*(face.landmarks * 240 / width - expected.landmarks).T).max() < 6
    assert difference(face.pixels, expected.pixels) < 6


def test_both_sizes_agree(aligner: Aligner, portrait: Picture) -> None:
    small, large = aligner(portrait), Aligner(224)(portrait)
    assert small is not None
    assert large is not None
    assert np.array_equal(small.landmarks, large.landmarks)
    shrunk = np.asarray(Image.fromarray(large.pixels).resize((64, 64), Image.Resampling.LANCZOS))
    assert difference(shrunk, small.pixels) < 1


def test_the_same_again_and_from_another_aligner(aligner: Aligner, portrait: Picture) -> None:
    faces = [aligner(portrait), aligner(portrait), Aligner(64)(portrait)]
    assert len({face.pixels.tobytes() for face in faces if face}) == 1
    assert all(faces)


def test_of_two_faces_the_larger_and_more_central_is_taken(aligner: Aligner, portrait: Picture) -> None:
    head = Image.fromarray(portrait[120:320, 30:230])
    for large, expected in (((20, 20), "left"), ((380, 20), "right")):
        canvas = Image.new("RGB", (600, 240), "grey")
        canvas.paste(head, large)
        small = head.resize((120, 120))
        canvas.paste(small, (600 - large[0] - 200 + 40, 60))
        face = aligner(np.asarray(canvas))
        assert face is not None
        assert ("left" if face.landmarks[:, 0].mean() < 300 else "right") == expected


@pytest.mark.slow
def test_zoom_enlarges_the_face(portrait: Picture) -> None:
    zoomed = Aligner(64, zoom=1.5)(portrait)
    wide = Aligner(128)(portrait)
    assert zoomed is not None
    assert wide is not None
    assert difference(resize_aligned(wide.pixels, 64, zoom=1.5), zoomed.pixels) < 2
    assert np.array_equal(resize_aligned(wide.pixels, 128), wide.pixels)
    for call in (lambda: Aligner(64, zoom=0.9), lambda: resize_aligned(portrait, 64, zoom=math.nan)):
        with pytest.raises(ValueError, match="must be 1 or more"):
            call()


@pytest.mark.parametrize(
    "picture",
    [
        np.random.default_rng(0).integers(0, 256, (300, 200, 3), dtype=np.uint8),
        np.full((500, 500, 3), 128, np.uint8),
        smooth(200, 300),
        np.zeros((1, 1, 3), np.uint8),
        np.zeros((1, 3000, 3), np.uint8),
        np.zeros((3000, 2, 3), np.uint8),
    ],
    ids=["noise", "flat", "waves", "one pixel", "a row", "a column"],
)
def test_no_face(aligner: Aligner, picture: Picture) -> None:
    assert aligner(picture) is None


@pytest.mark.parametrize(
    "picture",
    [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 4), np.uint8), np.zeros((9, 9, 3)), np.zeros((0, 9, 3), np.uint8)],
)
def test_arrays_that_are_no_picture_are_refused(aligner: Aligner, picture: NDArray[np.generic]) -> None:
    with pytest.raises(ValueError, match=r"uint8 \(h, w, 3\)"):
        aligner(picture)  # type: ignore[arg-type]


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(ModuleNotFoundError, match="pip install dlib-bin face-recognition-models"):
            Aligner()
    monkeypatch.setitem(sys.modules, "dlib", None)
    with pytest.raises(ModuleNotFoundError, match="pip install dlib-bin face-recognition-models"):
        Aligner()


# --- reading files


def test_a_plain_picture_is_read_exactly() -> None:
    picture = smooth(30, 40)
    assert np.array_equal(read_picture(encoded(Image.fromarray(picture), "PNG")), picture)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"])
def test_formats(kind: str) -> None:
    read = read_picture(encoded(Image.fromarray(smooth(30, 40)), kind))
    assert read.dtype == np.uint8
    assert difference(read, smooth(30, 40)) < 8


def test_a_picture_turned_by_exif_is_upright() -> None:
    picture, exif = smooth(30, 40), Image.Exif()
    exif[0x0112] = 6  # turn 90 degrees clockwise to show
    turned = Image.fromarray(picture).transpose(Image.Transpose.ROTATE_90)
    read = read_picture(encoded(turned, "JPEG", exif=exif, quality=98))
    assert read.shape == picture.shape
    assert difference(read, picture) < 3


def test_grey_becomes_three_equal_channels() -> None:
    grey = smooth(30, 40)[:, :, 0]
    assert np.array_equal(read_picture(encoded(Image.fromarray(grey), "PNG")), np.repeat(grey[:, :, None], 3, axis=2))


def test_16_bits_keep_their_range() -> None:
    grey = np.linspace(0, 65535, 40 * 30).astype(np.uint16).reshape(30, 40)
    read = read_picture(encoded(Image.fromarray(grey), "PNG"))
    assert np.abs(read[:, :, 1] - grey / 257).max() <= 1
    assert (read.min(), read.max()) == (0, 255)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_is_white(mode: str) -> None:
    image = Image.new("RGBA", (20, 10), (10, 10, 10, 255))
    image.paste((90, 90, 90, 0), (0, 0, 10, 10))
    read = read_picture(encoded(image.convert(mode), "PNG"))
    assert (read[:, :10] == 255).all()
    assert (read[:, 10:] == 10).all()


def test_half_transparent_is_mixed_with_white() -> None:
    read = read_picture(encoded(Image.new("RGBA", (4, 4), (0, 0, 0, 128)), "PNG"))
    assert np.abs(read.astype(int) - 127).max() <= 1


def test_cmyk() -> None:
    picture = np.full((20, 20, 3), (200, 40, 40), np.uint8)
    read = read_picture(encoded(Image.fromarray(picture).convert("CMYK"), "JPEG", quality=98))
    assert difference(read, picture) < 10


def test_one_pixel() -> None:
    assert read_picture(encoded(Image.new("RGB", (1, 1), (1, 2, 3)), "PNG")).tolist() == [[[1, 2, 3]]]


def test_of_an_animation_the_first_picture() -> None:
    frames = [Image.new("L", (8, 8), level) for level in (0, 255)]
    assert (read_picture(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])) == 0).all()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_truncated_files_are_refused(kind: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (80, 90, 3), dtype=np.uint8)
    whole = encoded(Image.fromarray(noise), kind)
    read_picture(whole)
    with pytest.raises(PictureError, match="no picture that can be read"):
        read_picture(whole[: int(len(whole) * share)])


@pytest.mark.parametrize("data", [b"", b"\0" * 1000, b"<html>not found</html>", b"\xff\xd8\xff\xe0"])
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(PictureError, match=f"The {len(data):,} bytes"):
        read_picture(data)


@pytest.mark.filterwarnings("ignore:.*:UserWarning:PIL")
def test_bytes_that_changed_never_crash() -> None:
    random = np.random.default_rng(0)
    for kind in ("JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP"):
        whole = np.frombuffer(encoded(Image.fromarray(smooth(30, 40)), kind), np.uint8)
        for _ in range(60):
            data = whole.copy()
            data[random.integers(0, len(data), 5)] = random.integers(0, 256, 5)
            try:
                read = read_picture(data.tobytes())
            except PictureError:
                continue
            assert read.ndim == 3


@pytest.mark.slow
def test_a_bomb_is_refused_before_it_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = encoded(Image.new("1", (9000, 6000)), "PNG")
    assert len(whole) < 50_000
    with pytest.raises(PictureError, match="9000x6000; at most 50,000,000 pixels"):
        read_picture(whole)
    with pytest.raises(PictureError):  # Pillow's own limit is met first
        read_picture(encoded(Image.new("1", (20_000, 20_000)), "PNG"))
    monkeypatch.setattr(align, "MAX_PIXELS", 100)
    assert read_picture(encoded(Image.new("L", (10, 10)), "PNG")).shape == (10, 10, 3)
    with pytest.raises(PictureError, match="10x11"):
        read_picture(encoded(Image.new("L", (10, 11)), "PNG"))


def test_floating_point_pixels_are_refused() -> None:
    with pytest.raises(PictureError, match="floating-point"):
        read_picture(encoded(Image.fromarray(np.zeros((4, 4), np.float32)), "TIFF"))
