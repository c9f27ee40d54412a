"""Pictures drawn anew with their points at other places, so that eyes lie on eyes.

By thin-plate splines (Bookstein 1989).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from s2f_train.models.spline import BORDER, STIFFNESS, bend

CELLS = 24  # a side of the grid on which a spline is solved: it is smooth in between


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
