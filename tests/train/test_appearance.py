"""Faces as shape and texture: the warp against scipy's spline, and means that keep what lies on what."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.interpolate import RBFInterpolator
from torch import Tensor

from s2f_train.data import shape_and_texture
from s2f_train.data.landmarks import MIRRORED, RAYS
from s2f_train.data.shape_and_texture import BORDER, TEXTURE_SIDE, ShapeAndTexture, mirrored, warped

POINTS = len(MIRRORED) + RAYS
DOTS = (30, 36, 45, 48, 54)  # nose, an eye, the other, the corners of the mouth
COLOURS = torch.linspace(-1, 0.6, len(DOTS))


def base() -> Tensor:
    """A shape that is symmetric about 0.5: the points of the left half at places of a grid, the others opposite."""
    order = [*MIRRORED, *range(POINTS - 1, len(MIRRORED) - 1, -1)]
    rng = np.random.default_rng(3)
    places = rng.permutation([(x, y) for x in np.linspace(0.25, 0.45, 5) for y in np.linspace(0.2, 0.8, 8)])
    points = torch.zeros(POINTS, 2)
    for i, counterpart in enumerate(order):
        if i <= counterpart:
            x, y = places[i % len(places)] + rng.uniform(-0.02, 0.02, 2)
            points[i] = torch.tensor([0.5 if i == counterpart else x, y])
            points[counterpart] = torch.tensor([1 - points[i, 0], y])
    return points


def moved(count: int, by: float, seed: int = 0) -> Tensor:
    """Shapes like `base`, smoothly out of it, (count, points, 2): wider, higher, further up."""
    rng = torch.Generator().manual_seed(seed)
    scale = 1 + by * (2 * torch.rand(count, 1, 2, generator=rng) - 1)
    shift = by * 0.3 * (2 * torch.rand(count, 1, 1, generator=rng) - 1) * torch.tensor([0.0, 1.0])
    return (base() - 0.5) * scale + 0.5 + shift


def drawn(shapes: Tensor, side: int = 64) -> Tensor:
    """Pictures, light with soft dots at five of the points, (n, 3, side, side)."""
    at = (torch.arange(side) + 0.5) / side
    y, x = torch.meshgrid(at, at, indexing="ij")
    pictures = torch.full((len(shapes), side, side), 0.9)
    for dot, colour in zip(DOTS, COLOURS, strict=True):
        apart = (x - shapes[:, dot, 0, None, None]) ** 2 + (y - shapes[:, dot, 1, None, None]) ** 2
        pictures = pictures.lerp(colour.expand_as(pictures), torch.exp(-apart / 0.03**2))
    return pictures[:, None].repeat(1, 3, 1, 1)


def test_every_point_has_its_counterpart() -> None:
    assert sorted(MIRRORED) == list(range(68))
    assert [MIRRORED[i] for i in MIRRORED] == list(range(68))
    shapes = moved(3, 0.1)
    torch.testing.assert_close(mirrored(mirrored(shapes, 0.4), 0.4), shapes)


def test_the_spline_is_that_of_scipy() -> None:
    shapes, at = moved(2, 0.2).double(), torch.rand(50, 2, dtype=torch.float64)
    values = moved(2, 0.2, seed=1).double()
    ours = shape_and_texture._spline(shapes, values, at)
    for i in range(2):
        stiff = shape_and_texture.STIFFNESS
        theirs = RBFInterpolator(shapes[i], values[i], kernel="thin_plate_spline", smoothing=stiff)
        np.testing.assert_allclose(ours[i].numpy(), theirs(at.numpy()), atol=1e-8)


def test_a_warp_brings_each_point_to_its_place_and_leaves_the_border() -> None:
    points, to = moved(2, 0.15), moved(2, 0.15, seed=1)
    there = warped(drawn(points), to, points, 64)
    assert (there - drawn(to)).abs().mean() < 0.25 * (drawn(points) - drawn(to)).abs().mean()
    x = torch.linspace(-1, 1, 64).expand(2, 3, 64, 64)
    edge = warped(x, to, points, 64)
    torch.testing.assert_close(edge[..., 0], x[..., 0], atol=0.03, rtol=0)
    torch.testing.assert_close(edge[..., 63], x[..., 63], atol=0.03, rtol=0)
    assert len(BORDER) == 16


def test_a_warp_to_where_things_are_changes_nothing() -> None:
    shapes = moved(2, 0.15)
    pictures = drawn(shapes)
    torch.testing.assert_close(warped(pictures, shapes, shapes, 64), pictures, atol=1e-4, rtol=0)


def test_faces_come_apart_and_together_again() -> None:
    shapes = moved(8, 0.15)
    kind, textures, symmetric = ShapeAndTexture.apart(drawn(shapes), shapes)
    assert textures.shape == (8, 3, TEXTURE_SIDE, TEXTURE_SIDE)
    again = kind.together(textures, symmetric)
    assert again.shape == (8, 3, 64, 64)
    assert (again - drawn(shapes)).abs().mean() < 0.02
    # All textures lie on the mean shape, so they are alike, as the pictures are not.
    assert textures.std(dim=0).mean() < 0.3 * drawn(shapes).std(dim=0).mean()


def test_a_mean_of_faces_is_a_face_and_no_two_ghosts() -> None:
    shapes = torch.cat([moved(1, 0.0) + torch.tensor([0.0, 0.08]), moved(1, 0.0) - torch.tensor([0.0, 0.08])])
    kind, textures, symmetric = ShapeAndTexture.apart(drawn(shapes), shapes)
    mean = kind.together(textures.mean(dim=0, keepdim=True), symmetric.mean(dim=0, keepdim=True))
    between = drawn(shapes.mean(dim=0, keepdim=True))
    ghosts = drawn(shapes).mean(dim=0, keepdim=True)
    assert (mean - between).abs().mean() < 0.25 * (ghosts - between).abs().mean()


def test_what_is_made_is_symmetric() -> None:
    shapes = moved(4, 0.1) + torch.tensor([0.02, 0.0])  # the axis need not be the middle of the picture
    shapes[:, 36] += 0.05  # and faces need not be symmetric
    pictures = drawn(shapes)
    pictures[..., 40:] -= 0.3  # nor the light
    kind, textures, symmetric = ShapeAndTexture.apart(pictures, shapes)
    torch.testing.assert_close(textures, textures.flip(3))
    axis = float(shapes[:, 27:31, 0].mean())
    torch.testing.assert_close(mirrored(symmetric, axis), symmetric)
    torch.testing.assert_close(mirrored(kind.points[None], 0.5)[0], kind.points)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_in_any_precision(dtype: torch.dtype) -> None:
    shapes = moved(2, 0.1)
    kind, textures, symmetric = ShapeAndTexture.apart(drawn(shapes), shapes)
    made = kind.to(torch.device("cpu"), dtype).together(textures.to(dtype), symmetric.to(dtype))
    assert made.dtype == dtype
    assert made.abs().max() <= 1
    torch.testing.assert_close(made.float(), kind.together(textures, symmetric), atol=1e-4, rtol=0)
