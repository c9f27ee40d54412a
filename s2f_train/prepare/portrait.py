"""A picture of a head -> a portrait on the frame of `frame.MEAN_SHAPE` with its 68 points; or why it is none."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from s2f_train.data.frame import MEAN_SHAPE, SIDE
from s2f_train.data.pictures import laplacian
from s2f_train.prepare.align import (
    LANDMARKS_68,
    PACKAGES,
    Aligner,
    Picture,
    Points,
    model_file,
    points_of,
    similarity,
    warp,
)
from s2f_train.prepare.fingerprint import fingerprint

RECIPE = 1  # raise it when the same picture becomes another portrait, or is left out for another reason

# What is left out. The figures are 1st, 50th and 99th percentile of 4,786 portraits of six sources, of 300 of them that
# were blurred or shrunk, and of 160 photos of speakers.
MOST_ENLARGED = 2.0
# Variance of the Laplacian, in levels of 256, inside the face: portraits 125, 249 and 1096; shrunk to half 49, 83 and
# 285; blurred by a Gauss of 1 pixel 20, 33 and 108, of 1.5 pixels 7, 12 and 31.
LEAST_SHARP = 60.0
# How far the nose lies off the middle between the ends of the jaw, as a share of half the face's width: portraits 0.00,
# 0.09 and 0.41, photos 0.00, 0.19 and 0.83. From 0.45 on, the farther cheek begins to be hidden.
MOST_TURNED = 0.45
# Root mean square distance of the points from the mean shape, in units of the side: portraits 0.006, 0.015 and 0.035,
# photos 0.013, 0.027 and 0.067. Above are heads that look down or are half hidden, and points that are wrong.
MOST_UNLIKE = 0.045
# Largest less smallest channel, mean inside the face: portraits 35, 69 and 97, and 10 at least; grey pictures 0 to 2.
LEAST_COLOUR = 8.0

# Where the detector sees a face on the frame (left, top, right, bottom), the mean of 60 portraits. The points depend on
# the box that they begin in: from this one, those of a copy that is shifted, turned and scaled differ by 0.6 pixels.
BOX = (58, 79, 201, 222)
CHIN, NOSE = slice(0, 17), [30, 33]
JAW_LEFT, JAW_RIGHT = slice(0, 3), slice(14, 17)
OUTLINE = [*range(17), *range(26, 16, -1)]  # chin and brows


class PortraitError(ValueError):
    """A picture that can be read, but is no portrait that can be used."""


@dataclass(frozen=True)
class Portrait:
    """A head on the frame.

    Attributes:
        pixels: uint8 (256, 256, 3), RGB; the edges are repeated where the picture ends.
        points: float16 (68, 2), x and y in units of the side.
        enlarged: side of the frame by its side in pixels of the picture; above 1 the picture was enlarged.
        fingerprint: what tells the same picture again.
    """

    pixels: Picture
    points: NDArray[np.float16]
    enlarged: float
    fingerprint: str


class PortraitMaker:
    """Finds the largest face of a picture and its 68 points, and brings it to the frame.

    dlib's HOG detector as in `Aligner`, 68 landmarks (Kazemi & Sullivan 2014), and the similarity that brings them
    nearest to `MEAN_SHAPE`; then once more from there, which halves the chance in the points. Not for several threads
    at once; make one for each.

    Raises:
        ModuleNotFoundError: dlib or the landmarks are missing.
    """

    def __init__(self) -> None:
        self._aligner = Aligner(SIDE)  # tells where dlib is missing
        try:
            import dlib
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(f"Aligning portraits needs dlib: {PACKAGES}") from error
        self._landmarks = dlib.shape_predictor(str(model_file(LANDMARKS_68)))
        self._box = dlib.rectangle(*BOX)

    def __call__(self, picture: Picture) -> Portrait:
        """The portrait in `picture`, uint8 (h, w, 3) RGB.

        Raises:
            PortraitError: there is no face in it, or it is too small, turned, grey or blurred.
        """
        found = self._aligner.find(picture)
        if found is None:
            raise PortraitError("no face found")
        sides = np.array(picture.shape[1::-1]) / found[0].shape[1::-1]
        rough = similarity(_template(), points_of(self._landmarks, *found) * sides)
        near = np.ascontiguousarray(warp(picture, rough, SIDE))
        points = _moved(rough, points_of(self._landmarks, near, self._box))  # in pixels of the picture
        matrix = similarity(_template(), points)
        enlarged = 1 / math.sqrt(abs(np.linalg.det(matrix[:, :2])))
        pixels = np.ascontiguousarray(warp(picture, matrix, SIDE))
        aligned = _moved(_inverse(matrix), points) / SIDE
        for why in (_too_small(enlarged), _turned(aligned), _grey(pixels, aligned), _blurred(pixels, aligned)):
            if why:
                raise PortraitError(why)
        return Portrait(pixels, aligned.astype(np.float16), enlarged, fingerprint(pixels))


def _template() -> Points:
    return MEAN_SHAPE.astype(np.float64) * SIDE


def _moved(matrix: Points, points: Points) -> Points:
    moved: Points = points @ matrix[:, :2].T + matrix[:, 2]
    return moved


def _inverse(matrix: Points) -> Points:
    back = np.linalg.inv(matrix[:, :2])
    return np.column_stack([back, -back @ matrix[:, 2]])


# ------------------------------------------------------------- what leaves a picture out


def _too_small(enlarged: float) -> str:
    least = SIDE / MOST_ENLARGED
    found = SIDE / enlarged
    return f"too small: the head's frame has {found:.0f} pixels, {least:.0f} are needed" if found < least else ""


def _turned(points: Points) -> str:
    aside = turn_of(points)
    if aside > MOST_TURNED:
        return f"turned: the nose is {aside:.2f} of half the face beside its middle, {MOST_TURNED} is the most"
    unlike = float(np.sqrt(np.square(points - MEAN_SHAPE).sum(axis=1).mean()))
    if unlike > MOST_UNLIKE:
        return f"turned or hidden: the points are {unlike:.3f} of the side off a face's, {MOST_UNLIKE} is the most"
    return ""


def turn_of(points: Points) -> float:
    """How far the nose lies off the middle of the jaw, as a share of half the face's width; points are (68, 2)."""
    left, right = points[JAW_LEFT, 0].mean(), points[JAW_RIGHT, 0].mean()
    return float(abs(2 * points[NOSE, 0].mean() - left - right) / (right - left))


def _grey(pixels: Picture, points: Points) -> str:
    colour = colour_of(pixels, points)
    return f"grey: colour is {colour:.1f} levels, {LEAST_COLOUR:.0f} is needed" if colour < LEAST_COLOUR else ""


def colour_of(pixels: Picture, points: Points) -> float:
    """Largest less smallest channel, in levels of 256, mean inside the face."""
    spread = pixels.max(axis=2).astype(np.float64) - pixels.min(axis=2)
    return float(spread[_inside(points)].mean())


def _blurred(pixels: Picture, points: Points) -> str:
    sharp = sharpness_of(pixels, points)
    return f"blurred: sharpness is {sharp:.0f}, {LEAST_SHARP:.0f} is needed" if sharp < LEAST_SHARP else ""


def sharpness_of(pixels: Picture, points: Points) -> float:
    """Variance of the Laplacian of the grey picture, in levels of 256, inside the face."""
    return float(laplacian(pixels)[_inside(points)[1:-1, 1:-1]].var())


def _inside(points: Points) -> NDArray[np.bool_]:
    """The pixels between brows and chin, (256, 256)."""
    mask = Image.new("L", (SIDE, SIDE))
    ImageDraw.Draw(mask).polygon([(float(x), float(y)) for x, y in SIDE * points[OUTLINE]], fill=1)
    return np.asarray(mask).astype(bool)
