"""Faces that a recogniser takes for those whom voices tell: numbers of a sketch, moved until it would."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

SHRINKAGE = 30.0  # of the regression of what is seen on the numbers, whose standard deviation is near 1
KEPT = (
    0.5  # weight of the numbers that are given, against what is to be seen; 1: as much as all numbers show on average
)
PLAIN = 0.4  # the same of numbers of 0, which are the mean face


@dataclass(frozen=True)
class Likeness:
    """A linear model of how a recogniser sees drawn faces; `fit` makes one, from many that were drawn.

    Attributes:
        numbers: (k,), the mean of the numbers by which faces are moved.
        beside: (m,), that of others from which faces follow, which stay.
        seen: (d,), that of what the recogniser sees.
        slope: (k + m, d), what a unit of each number changes of it.
    """

    numbers: Tensor
    beside: Tensor
    seen: Tensor
    slope: Tensor

    @classmethod
    def fit(cls, numbers: Tensor, beside: Tensor, seen: Tensor) -> Likeness:
        """Ridge regression on drawn faces.

        Args:
            numbers: (n, k).
            beside: (n, m).
            seen: (n, d), what the recogniser sees in each face.
        """
        x, y = torch.cat([numbers, beside], dim=1).double(), seen.double()
        x, y = x - x.mean(dim=0), y - y.mean(dim=0)
        slope = torch.linalg.solve(x.T @ x + SHRINKAGE * torch.eye(x.shape[1], dtype=x.dtype), x.T @ y)
        return cls(numbers.mean(dim=0), beside.mean(dim=0), seen.mean(dim=0), slope.to(seen.dtype))

    def __call__(self, numbers: Tensor, beside: Tensor, wanted: Tensor) -> Tensor:
        """The numbers, (n, k), with which the recogniser sees most of `wanted`, (n, d).

        Least squares of the distances to `wanted`, to the `numbers` given (see `KEPT`) and to the mean face (`PLAIN`).
        """
        count = len(self.numbers)
        slope = self.slope[:count].double()
        open_ = wanted - self.seen - (beside - self.beside) @ self.slope[count:]
        system = slope @ slope.T
        unit = system.diagonal().mean()
        given = (open_.double() + self.numbers.double() @ slope) @ slope.T + unit * KEPT * numbers.double()
        system.diagonal().add_(unit * (KEPT + PLAIN))
        found: Tensor = torch.linalg.solve(system, given.T).T.to(numbers.dtype)
        return found
