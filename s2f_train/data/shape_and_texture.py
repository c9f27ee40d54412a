"""Faces as shape and texture, so that a mean of faces is a face: eyes lie on eyes.

Means of pictures have ghosts of eyes beside eyes. Here every face is drawn on the mean shape first, its texture, and
its own shape is kept beside; means are taken of both. Source: Cootes, Edwards and Taylor, "Active
appearance models" (2001), with thin-plate splines (Bookstein 1989) in place of triangles.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from s2f_train.data.landmarks import MIRRORED, NOSE, RAYS
from s2f_train.models.spline import BORDER, STIFFNESS, bend

TEXTURE_SIDE = 96  # more than the pictures' 64, so that drawing twice loses little
DRAWN_SIDE = 128  # faces are drawn so large and then shrunk, so that nothing aliases
CELLS = 24  # a side of the grid on which a spline is solved: it is smooth in between
AT_ONCE = 64


@dataclass(frozen=True)
class ShapeAndTexture:
    """Takes faces apart and puts them together.

    Attributes:
        points: (68 + `RAYS`, 2), the mean shape in units of the side, symmetric about x = 0.5.
    """

    points: Tensor

    @classmethod
    def apart(cls, pictures: Tensor, shapes: Tensor) -> tuple[ShapeAndTexture, Tensor, Tensor]:
        """Takes faces apart. Each counts as itself and as its mirror image, so that all that is made of them is
        symmetric: light from one side and a turned head say nothing of a voice.

        Args:
            pictures: float32 (n, 3, side, side) in [-1, 1].
            shapes: (n, 68 + `RAYS`, 2).

        Returns:
            What puts them together again; textures (n, 3, `TEXTURE_SIDE`, `TEXTURE_SIDE`); shapes, symmetric.
        """
        axis = float(shapes[:, NOSE, 0].mean())
        shapes_mirrored = mirrored(shapes, axis)
        symmetric = (shapes + shapes_mirrored) / 2
        points = symmetric.mean(dim=0)
        points = points + torch.tensor([0.5 - axis, 0.0])
        parts = zip(torch.split(pictures, AT_ONCE), torch.split(shapes, AT_ONCE), strict=True)
        textures = torch.cat([warped(part, points.expand_as(of), of, TEXTURE_SIDE) for part, of in parts])
        return cls(points), (textures + textures.flip(3)) / 2, symmetric

    def together(self, textures: Tensor, shapes: Tensor, side: int = 64) -> Tensor:
        """Faces of these textures and shapes: (n, 3, side, side) in [-1, 1]."""
        drawn = warped(textures, shapes, self.points.expand_as(shapes), DRAWN_SIDE)
        return nn.functional.adaptive_avg_pool2d(drawn, side).clamp(-1.0, 1.0)

    def to(self, device: torch.device, dtype: torch.dtype) -> ShapeAndTexture:
        return ShapeAndTexture(self.points.to(device, dtype))


def mirrored(shapes: Tensor, axis: float) -> Tensor:
    """The shapes of the mirror images: (n, 68 + `RAYS`, 2)."""
    order = [*MIRRORED, *range(len(MIRRORED) + RAYS - 1, len(MIRRORED) - 1, -1)]
    return torch.stack([2 * axis - shapes[:, order, 0], shapes[:, order, 1]], dim=2)


def warped(pictures: Tensor, to: Tensor, points: Tensor, side: int) -> Tensor:
    """Pictures drawn anew so that what is at `points` comes to `to`, both (n, points, 2): (n, c, side, side)."""
    nodes = torch.linspace(0, 1, CELLS, device=to.device, dtype=torch.float64)
    grid = torch.cartesian_prod(nodes, nodes).flip(1)  # row by row, x before y
    border = BORDER.to(to.device).expand(len(to), *BORDER.shape)
    where = _spline(torch.cat([to, border], dim=1), torch.cat([points, border], dim=1), grid)
    where = where.to(pictures.dtype).reshape(-1, CELLS, CELLS, 2).permute(0, 3, 1, 2)
    at = (2 * torch.arange(side, device=to.device, dtype=pictures.dtype) + 1) / side - 1
    pixels = torch.cartesian_prod(at, at).flip(1).reshape(1, side, side, 2).expand(len(to), -1, -1, -1)
    # Linear in between: torch's cubic does not keep a straight line straight.
    fine = nn.functional.grid_sample(where, pixels, "bilinear", "border", align_corners=True)
    return nn.functional.grid_sample(
        pictures, 2 * fine.permute(0, 2, 3, 1) - 1, "bicubic", "border", align_corners=False
    )


def _spline(centres: Tensor, values: Tensor, at: Tensor) -> Tensor:
    """The thin-plate spline that takes `centres` to `values`, (n, points, 2), at places (m, 2): float64 (n, m, 2)."""
    centres, values = centres.double(), values.double()
    count, points, _ = centres.shape
    affine = torch.cat([torch.ones_like(centres[..., :1]), centres], dim=2)
    stiff = STIFFNESS * torch.eye(points, dtype=torch.float64, device=centres.device)
    system = torch.zeros(count, points + 3, points + 3, dtype=torch.float64, device=centres.device)
    system[:, :points, :points] = bend(centres, centres) + stiff
    system[:, :points, points:], system[:, points:, :points] = affine, affine.transpose(1, 2)
    weights = torch.linalg.solve(system, nn.functional.pad(values, (0, 0, 0, 3)))
    here = at.expand(count, *at.shape)
    plane = torch.cat([torch.ones_like(here[..., :1]), here], dim=2)
    found: Tensor = bend(here, centres) @ weights[:, :points] + plane @ weights[:, points:]
    return found
