"""Faces on the frame of portraits, 256x256, for what is judged at that size; and how sharp they are there."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from s2f_train.data.frame import MEAN_SHAPE, SIDE
from s2f_train.data.pictures import laplacian
from s2f_train.evaluate.cache import Vector
from s2f_train.evaluate.judging import JudgeError
from s2f_train.evaluate.tables import Picture
from s2f_train.prepare.align import LANDMARKS_68, TEMPLATE, Aligner, model_file, points_of, similarity, warp

CHIN, BROWS = slice(0, 17), slice(26, 16, -1)
FIVE = [45, 42, 36, 39, 33]  # of the 68 points, those of `TEMPLATE`
EDGE = 13  # pixels along the outline of the face that are neither face nor rest
SMALL = 32


class Framer:
    """Brings a face to the frame of portraits: the similarity of its 68 points to `MEAN_SHAPE`.

    A picture in which no face is found is taken as one that is aligned already, so that none is left out. Not for
    several threads at once; make one for each.

    Raises:
        JudgeError: dlib or the file of the landmarks is missing.
    """

    def __init__(self) -> None:
        try:
            self._aligner = Aligner(SIDE)
            import dlib

            self._landmarks = dlib.shape_predictor(str(model_file(LANDMARKS_68)))
        except (ModuleNotFoundError, RuntimeError) as error:
            raise JudgeError(f"{error}") from None

    def __call__(self, picture: Picture) -> tuple[Picture, bool]:
        """The picture on the frame, uint8 (256, 256, 3), and whether a face was found in it.

        Args:
            picture: uint8 (h, w, 3) RGB, of any size; a smaller one is enlarged (bicubic), and blurred so.
        """
        sides = np.array([picture.shape[1], picture.shape[0]], np.float64)
        found = self._aligner.find(picture)
        if found:
            points = points_of(self._landmarks, *found) * (sides / found[0].shape[1::-1])
            matrix = similarity(MEAN_SHAPE.astype(np.float64) * 2 * SIDE, points)
        else:
            matrix = similarity(MEAN_SHAPE[FIVE].astype(np.float64) * 2 * SIDE, TEMPLATE * sides)
        # Drawn twice as large and then shrunk: what was as fine as the frame stays so.
        drawn = Image.fromarray(warp(picture, matrix, 2 * SIDE))
        return np.asarray(drawn.resize((SIDE, SIDE), Image.Resampling.LANCZOS)), found is not None


def sharpness(frame: Picture) -> tuple[float, float]:
    """Variance of the Laplacian of the grey picture, in levels of 256: inside the face, and of hair and all else.

    Args:
        frame: uint8 (256, 256, 3), a face on the frame.
    """
    found = laplacian(frame)
    return float(found[INSIDE].var()), float(found[OUTSIDE].var())


def face_mask() -> Image.Image:
    """255 between chin and brows of the mean shape, else 0; (256, 256)."""
    mask = Image.new("L", (SIDE, SIDE))
    outline = np.concatenate([MEAN_SHAPE[CHIN], MEAN_SHAPE[BROWS]]) * SIDE
    ImageDraw.Draw(mask).polygon([(float(x), float(y)) for x, y in outline], fill=255)
    return mask


def _inner(image: Image.Image) -> NDArray[np.bool_]:
    return np.asarray(image)[1:-1, 1:-1] > 0


INSIDE = _inner(face_mask().filter(ImageFilter.MinFilter(EDGE)))
OUTSIDE = ~_inner(face_mask().filter(ImageFilter.MaxFilter(EDGE)))


class Thumbnails:
    """No network: the whole picture at 32x32, hair and ground too, as numbers from 0 to 255; see `Judge`.

    Args:
        framed: whether the face is brought to the frame of portraits before.
    """

    weights: tuple[str, ...] = ()

    def __init__(self, framed: bool):
        self._framed = framed
        self.name = f"whole picture at {SMALL}x{SMALL}, {'face on the frame' if framed else 'as it is'}"
        self.sha256 = hashlib.sha256(self.name.encode()).hexdigest()
        self._framer = Framer() if framed else None

    def __reduce__(self) -> tuple[type[Thumbnails], tuple[bool]]:
        return type(self), (self._framed,)

    def look(self, picture: Picture) -> Vector:
        """See `Judge`: float32 (32 * 32 * 3 + 1,)."""
        found = True
        if self._framer:
            picture, found = self._framer(picture)
        small = Image.fromarray(picture).resize((SMALL, SMALL), Image.Resampling.BOX, reducing_gap=None)
        return np.append(np.asarray(small, np.float32).ravel(), np.float32(found))
