"""The frame on which faces are judged at 256 pixels, and sharpness there."""

from __future__ import annotations

import pickle
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image, ImageFilter

from s2f_train.data.frame import MEAN_SHAPE, SIDE
from s2f_train.evaluate.framing import FIVE, INSIDE, OUTSIDE, SMALL, Framer, Thumbnails, sharpness
from s2f_train.evaluate.tables import Picture
from s2f_train.prepare.align import TEMPLATE


def noise(amplitude: float, seed: int = 0) -> Picture:
    values = np.random.default_rng(seed).choice([-amplitude, amplitude], (SIDE, SIDE, 1))
    return np.clip(128 + values.repeat(3, axis=2), 0, 255).astype(np.uint8)


def test_sharpness_grows_with_the_square_of_contrast() -> None:
    strong, weak = sharpness(noise(40)), sharpness(noise(20))
    assert np.array(weak) / strong == pytest.approx([0.25, 0.25], rel=0.02)
    # Of independent pixels the Laplacian has the variance 4 + 16 = 20 times theirs.
    assert weak == pytest.approx([20 * 20**2] * 2, rel=0.05)


def test_sharpness_of_the_face_and_of_the_rest_are_apart() -> None:
    face = np.zeros((SIDE, SIDE), bool)
    face[1:-1, 1:-1] = ~OUTSIDE  # the face and its edge
    sharp_face = np.where(face[..., None], noise(40), 128).astype(np.uint8)
    sharp_rest = np.where(face[..., None], 128, noise(40)).astype(np.uint8)
    assert not (INSIDE & OUTSIDE).any()
    inside, outside = sharpness(sharp_face)
    assert inside == pytest.approx(sharpness(noise(40))[0])
    assert outside < inside / 20  # of pixels beside the edge alone
    inside, outside = sharpness(sharp_rest)
    assert inside == 0
    assert outside > 1000


def test_blur_takes_sharpness_away_step_by_step() -> None:
    picture = Image.fromarray(noise(40))
    steps = [sharpness(np.asarray(picture.filter(ImageFilter.GaussianBlur(blur)))) for blur in (0, 1, 2, 4)]
    for more, less in pairwise(steps):
        assert less[0] < more[0] / 2
        assert less[1] < more[1] / 2


@pytest.mark.slow
def test_a_picture_without_a_face_is_taken_as_aligned() -> None:
    side = 320
    picture = np.zeros((side, side, 3), np.uint8)
    for x, y in np.rint(TEMPLATE * side - 0.5).astype(int):
        picture[y - 3 : y + 4, x - 3 : x + 4] = 255
    frame, found = Framer()(picture)
    assert not found
    assert frame.shape == (SIDE, SIDE, 3)
    for x, y in np.rint(MEAN_SHAPE[FIVE] * SIDE).astype(int):
        assert frame[y - 4 : y + 5, x - 4 : x + 5].max() > 200  # each of the five lies where the frame has it


@pytest.mark.slow
def test_thumbnails_are_the_whole_picture() -> None:
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[:32, :, 0] = 200
    plain = pickle.loads(pickle.dumps(Thumbnails(framed=False)))
    seen = plain.look(picture)
    assert seen.shape == (SMALL * SMALL * 3 + 1,)
    assert seen.dtype == np.float32
    assert seen[:-1].reshape(SMALL, SMALL, 3)[..., 0].tolist() == [[200.0] * SMALL] * 16 + [[0.0] * SMALL] * 16
    assert plain.sha256 != Thumbnails(framed=True).sha256
