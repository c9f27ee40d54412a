"""Faces on the mean shape: portraits, and pictures that go with voices."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from s2f_train.data.faces import load_faces
from s2f_train.data.frame import MEAN_SHAPE, SIDE
from s2f_train.data.landmarks import MIRRORED, find_landmarks
from s2f_train.data.portraits import load_portraits
from s2f_train.data.store import Sample, Store
from s2f_train.data.warp import warped
from s2f_train.models.sketch import as_input

AT_ONCE = 50
SPOKEN_SIDE = 128  # of pictures that go with voices: they are smooth
READ_SIDE = 224  # at which those are read


@dataclass(frozen=True)
class Textures:
    """Faces on the mean shape.

    Attributes:
        pixels: uint8 (n, 3, side, side).
        shapes: float32 (n, 68, 2), where their points were on the frame, in units of the side.
        samples: what they are in the store.
    """

    pixels: Tensor
    shapes: Tensor
    samples: list[Sample]


def mean_shape() -> Tensor:
    """(68, 2), in units of the side, symmetric about x = 0.5."""
    return torch.from_numpy(MEAN_SHAPE.copy())


def portrait_textures(store: Store, samples: list[Sample]) -> Textures:
    """Portraits of a store, 256 pixels; 197 kB of memory each.

    Raises:
        StoreError: there are none, or one cannot be read.
    """
    pixels, points = load_portraits(store, samples)
    for begin in range(0, len(pixels), AT_ONCE):  # in place: the portraits themselves are not needed any more
        part = slice(begin, begin + AT_ONCE)
        pixels[part] = _on_mean(pixels[part], points[part], SIDE)
    return Textures(pixels, points, samples)


def spoken_textures(store: Store, samples: list[Sample]) -> Textures:
    """Pictures that go with voices, 128 pixels; those in which no face is found are left out.

    Raises:
        StoreError: one cannot be read.
        ModuleNotFoundError: dlib is missing.
    """
    pictures = load_faces(store, samples, READ_SIDE)
    points, found = find_landmarks(pictures)
    pixels = torch.empty(int(found.sum()), 3, SPOKEN_SIDE, SPOKEN_SIDE, dtype=torch.uint8)
    pictures, points = pictures[found].permute(0, 3, 1, 2), points[found]
    for begin in range(0, len(pixels), AT_ONCE):
        part = slice(begin, begin + AT_ONCE)
        pixels[part] = _on_mean(pictures[part], points[part], SPOKEN_SIDE)
    shapes = torch.stack([_on_frame(one) for one in points]) if len(points) else points
    return Textures(pixels, shapes, [s for s, there in zip(samples, found.tolist(), strict=True) if there])


def symmetric_shapes(shapes: Tensor) -> Tensor:
    """The mean of each shape, (n, 68, 2), and its mirror image."""
    mirrored = shapes[:, list(MIRRORED)] * torch.tensor([-1.0, 1.0]) + torch.tensor([1.0, 0.0])
    return (shapes + mirrored) / 2


def _on_mean(pictures: Tensor, points: Tensor, side: int) -> Tensor:
    drawn = warped(as_input(pictures), mean_shape().expand_as(points), points, SIDE).clamp(-1.0, 1.0)
    if side != SIDE:
        drawn = nn.functional.interpolate(drawn, size=(side, side), mode="area")
    return (drawn * 127.5 + 127.5).round().byte()


def _on_frame(points: Tensor) -> Tensor:
    """Points, (68, 2), moved, turned and scaled to lie as near to the mean shape as they can."""
    wanted = mean_shape()
    here, there = points - points.mean(dim=0), wanted - wanted.mean(dim=0)
    a, b = torch.view_as_complex(here.contiguous()), torch.view_as_complex(there.contiguous())
    turn = (b * a.conj()).sum() / a.abs().square().sum()
    return torch.view_as_real(a * turn) + wanted.mean(dim=0)
