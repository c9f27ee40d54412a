"""The renderer: from an appearance (a shape and a small sketch) to a picture.

The picture is first drawn on the mean shape, where eyes are always at the same place, and then moved to the shape of
the face. So a face that moves is drawn once, and moved for every frame.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from s2f_edge.talk.motion import POINTS
from s2f_train.models.spline import spline_matrix

INNER_SIDE = 64  # of the sketch of the inner face
OUTER_SIDE = 16  # of the sketch of the whole picture: hair, ground, clothes
SIDE = 256  # of the picture
INNER, OUTER, SHAPE = 3 * INNER_SIDE**2, 3 * OUTER_SIDE**2, 2 * POINTS  # numbers of each part of an appearance
GRID = 33  # a side of the grid on which shapes move the picture: they move it smoothly
SOFTENED = 0.25  # how much of their finest detail pictures lose on the mean shape and on the way back
INVERSIONS = 3  # steps in which the movement is turned round; the third changes less than a tenth of a pixel


class Renderer(nn.Module):
    """A U-net from a sketch of 64x64 to a picture of 256x256, which is then moved to a shape.

    Batch norms fold into the convolutions before them, so a picture costs its convolutions: 1.6 GFLOP twice. The noise
    that a layer adds to its maps is drawn anew in training and is always the same afterwards: a face that moves
    keeps its pores and hairs.

    Args:
        down: widths of the maps of 64, 32, 16, 8 and 4.
        up: widths of the maps of 8, 16, 32, 64, 128 and 256.

    Attributes:
        mask: (1, 1, 64, 64), from 0 to 1: where the inner face is on the mean shape.
        points: (68, 2), the mean shape, in units of the side. `set_frame` sets both.
    """

    mask: Tensor
    points: Tensor
    field: Tensor

    def __init__(
        self,
        down: tuple[int, ...] = (32, 64, 128, 192, 256),
        up: tuple[int, ...] = (192, 160, 96, 64, 32, 8),
    ):
        super().__init__()
        if len(down) != 5 or len(up) != 6:
            raise ValueError(
                f"{len(down)} and {len(up)} widths; 5 maps on the way down and 6 on the way up are needed."
            )
        self.settings: dict[str, Any] = {"down": list(down), "up": list(up)}
        self.first = nn.Sequential(*convolution(7, down[0], 3, 1), *convolution(down[0], down[0], 3, 1))
        self.down = nn.ModuleList(nn.Sequential(*convolution(a, b, 4, 2)) for a, b in pairwise(down))
        below = [down[4], *up[:3]]
        beside = [down[3], down[2], down[1], down[0]]
        self.up = nn.ModuleList(
            _Block(a + b, c, INNER_SIDE >> (3 - i))
            for i, (a, b, c) in enumerate(zip(below, beside, up[:4], strict=True))
        )
        self.refine = _Block(up[3], up[3], INNER_SIDE)
        self.large = nn.ModuleList([_Block(up[3], up[4], 128), _Block(up[4], up[4], 128)])
        self.large_picture = nn.Conv2d(up[4], 3, 3, 1, 1)
        self.full = nn.Sequential(*convolution(up[4], 4 * up[5], 3, 1), nn.PixelShuffle(2))
        self.fine = _Block(up[5], up[5], SIDE)
        self.full_picture = nn.Conv2d(up[5], 3, 3, 1, 1)
        with torch.no_grad():
            for parameter in self.full_picture.parameters():
                parameter.zero_()
        self.register_buffer("mask", torch.zeros(1, 1, INNER_SIDE, INNER_SIDE))
        self.register_buffer("points", torch.zeros(POINTS, 2))
        self.register_buffer("field", torch.zeros(GRID * GRID, POINTS))

    def set_frame(self, points: Tensor, mask: Tensor) -> None:
        """Sets the mean shape, (68, 2), and where the inner face is on it, (1, 1, 64, 64)."""
        self.points.copy_(points)
        self.mask.copy_(mask)
        self.field.copy_(spline_matrix(points, GRID))

    def forward(self, inner: Tensor, outer: Tensor, shape: Tensor) -> Tensor:
        """Draws faces.

        Args:
            inner: float32 (n, 3, 64, 64), the sketch of the inner face, 0 where it is not.
            outer: (n, 3, 16, 16), that of the whole picture.
            shape: (n, 68, 2), in units of the side.

        Returns:
            (n, 3, 256, 256) in [-1, 1], RGB.
        """
        return self.moved(sharpened(self.texture(inner, outer)), shape).clamp(-1.0, 1.0)

    def texture(self, inner: Tensor, outer: Tensor, half: bool = False) -> Tensor:
        """The picture on the mean shape; with `half` at half the side, (n, 3, 128, 128)."""
        whole = nn.functional.interpolate(outer, size=(INNER_SIDE, INNER_SIDE), mode="bilinear", align_corners=False)
        mask = self.mask.expand(inner.shape[0], -1, -1, -1)
        maps = [self.first(torch.cat([inner, whole, mask], dim=1))]
        for layer in self.down:
            maps.append(layer(maps[-1]))
        x = maps.pop()
        for block in self.up:
            x = block(torch.cat([_doubled(x), maps.pop()], dim=1))
        x = _doubled(self.refine(x))
        for block in self.large:
            x = block(x)
        picture = self.large_picture(x)
        if not half:
            enlarged = nn.functional.interpolate(picture, scale_factor=2, mode="bilinear", align_corners=False)
            picture = enlarged + self.full_picture(self.fine(self.full(x)))
        drawn: Tensor = picture.tanh()
        return drawn

    def moved(self, textures: Tensor, shape: Tensor) -> Tensor:
        """Pictures on the mean shape, (n, 3, side, side), moved to shapes, (n, 68, 2).

        A thin-plate spline says how far each place of the mean shape moves; where a place of the result comes from is
        found by repeating: from = to - movement(from).
        """
        movement = (self.field @ (shape - self.points)).transpose(1, 2).reshape(-1, 2, GRID, GRID)
        source = sources(movement, GRID, INVERSIONS - 1)
        # The grid's corners are the picture's: pixels lie half a pixel inside.
        side = textures.shape[-1]
        places = (torch.arange(side, device=shape.device, dtype=shape.dtype) * 2 + 1) / side - 1
        pixels = torch.stack([places.expand(side, side), places[:, None].expand(side, side)], dim=-1)[None]
        fine = nn.functional.grid_sample(
            source, pixels.expand(shape.shape[0], -1, -1, -1), "bilinear", "border", align_corners=True
        )
        return nn.functional.grid_sample(
            textures, 2 * fine.permute(0, 2, 3, 1) - 1, "bicubic", "border", align_corners=False
        )


def sharpened(textures: Tensor) -> Tensor:
    """Pictures, (n, 3, side, side), with the detail that moving portraits to the mean shape and back takes."""
    around = nn.functional.avg_pool2d(textures, 3, 1, 1, count_include_pad=False)
    return textures + SOFTENED * (textures - around)


def sources(movement: Tensor, grid: int, repeats: int) -> Tensor:
    """Where each place of a moved picture comes from, (n, 2, grid, grid): from = to - movement(from), repeated."""
    ends = torch.linspace(0.0, 1.0, grid, device=movement.device, dtype=movement.dtype)
    here = torch.stack([ends.expand(grid, grid), ends[:, None].expand(grid, grid)])[None]
    source = here - movement
    for _ in range(repeats):
        at = 2 * source.permute(0, 2, 3, 1) - 1
        source = here - nn.functional.grid_sample(movement, at, "bilinear", "border", align_corners=True)
    return source


def _doubled(x: Tensor) -> Tensor:
    return nn.functional.interpolate(x, scale_factor=2, mode="nearest")


def convolution(narrow: int, wide: int, kernel: int, stride: int) -> list[nn.Module]:
    """A convolution, its norm, and a leaky ReLU."""
    return [
        nn.Conv2d(narrow, wide, kernel, stride, 1, bias=False), nn.BatchNorm2d(wide), nn.LeakyReLU(0.2, inplace=True)
    ]  # fmt: skip


class _Block(nn.Module):
    """A convolution, its norm, and noise."""

    noise: Tensor

    def __init__(self, narrow: int, wide: int, side: int):
        super().__init__()
        self.convolution = nn.Conv2d(narrow, wide, 3, 1, 1, bias=False)
        self.norm = nn.BatchNorm2d(wide)
        self.strength = nn.Parameter(torch.zeros(wide))
        self.register_buffer("noise", torch.randn(1, 1, side, side, generator=torch.Generator().manual_seed(side)))

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.convolution(x))
        noise = torch.randn(len(x), 1, *x.shape[2:], device=x.device) if self.training else self.noise
        return nn.functional.leaky_relu(x + self.strength[:, None, None] * noise.to(x.dtype), 0.2)
