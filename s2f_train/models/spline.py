"""Thin-plate splines with fixed centres: movements of points to movements of everything between them."""

from __future__ import annotations

import torch
from torch import Tensor

STIFFNESS = 1e-4  # lets points that contradict each other give way
_ENDS = torch.linspace(0, 1, 5)
_ALL = torch.cartesian_prod(_ENDS, _ENDS)
BORDER = _ALL[((_ALL == 0) | (_ALL == 1)).any(dim=1)]  # points that stay: the border of the picture


def spline_matrix(points: Tensor, grid: int) -> Tensor:
    """What takes movements of points, (points, 2), to those of a grid, row by row: float32 (grid * grid, points).

    Source: Bookstein, "Principal warps" (1989). It is linear in the movements, since the centres stay where they are.

    Args:
        points: (points, 2), in units of the side; the border of the picture does not move.
    """
    centres = torch.cat([points, BORDER.to(points)]).double()
    count = len(centres)
    affine = torch.cat([torch.ones(count, 1, dtype=torch.float64), centres], dim=1)
    system = torch.zeros(count + 3, count + 3, dtype=torch.float64)
    system[:count, :count] = bend(centres, centres) + STIFFNESS * torch.eye(count, dtype=torch.float64)
    system[:count, count:], system[count:, :count] = affine, affine.T
    ends = torch.linspace(0, 1, grid, dtype=torch.float64)
    nodes = torch.cartesian_prod(ends, ends).flip(1)  # row by row, x before y
    plane = torch.cat([torch.ones(len(nodes), 1, dtype=torch.float64), nodes], dim=1)
    rows = torch.cat([bend(nodes, centres), plane], dim=1)
    matrix: Tensor = torch.linalg.solve(system.T, rows.T).T[:, : len(points)].float()
    return matrix


def bend(a: Tensor, b: Tensor) -> Tensor:
    """r^2 log r between points."""
    squared = torch.cdist(a, b).square()
    return squared * torch.log(squared.clamp_min(1e-12)) / 2
