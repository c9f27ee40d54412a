"""Faces that a recogniser takes for those whom voices tell: numbers of a sketch, moved until it would."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from s2f_train.regression.photographs import Photographs

SHRINKAGE = 30.0  # of the regression of what is seen on the numbers, whose standard deviation is near 1
KEPT = 0.3  # weight of the numbers given, against what is to be seen; 1: as much as all numbers show on average
PLAIN = 0.4  # the same of what photographs have


@dataclass(frozen=True)
class Likeness:
    """A linear model of how a recogniser sees drawn faces; `fit` makes one, from many that were drawn.

    Attributes:
        numbers: (k,), the mean of the numbers by which faces are moved.
        beside: (m,), that of others from which faces follow, which stay.
        slope: (k + m, d), what a unit of each number changes of what the recogniser sees.
    """

    numbers: Tensor
    beside: Tensor
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
        return cls(numbers.mean(dim=0), beside.mean(dim=0), slope.to(seen.dtype))

    def __call__(
        self, numbers: Tensor, beside: Tensor, wanted: Tensor, photographs: Photographs, mean: Tensor
    ) -> Tensor:
        """The numbers, (n, k), with which the recogniser sees most of what is wanted.

        Least squares of the distances to it, to the `numbers` given (see `KEPT`) and, in units of photographs, to
        their `mean` (`PLAIN`).

        Args:
            numbers: (n, k).
            beside: (n, m).
            wanted: (n, d), how what is to be seen differs from what is seen on average.
            photographs: what is usual among them.
            mean: (n, k).
        """
        count = len(self.numbers)
        slope, precision = self.slope[:count].double(), photographs.precision.double()
        open_ = (wanted - (beside - self.beside) @ self.slope[count:]).double() + self.numbers.double() @ slope
        system = slope @ slope.T
        unit = system.diagonal().mean()
        given = open_ @ slope.T + unit * (KEPT * numbers.double() + PLAIN * mean.double() @ precision)
        system += unit * (KEPT * torch.eye(count, dtype=system.dtype) + PLAIN * precision)
        found: Tensor = torch.linalg.solve(system, given.T).T.to(numbers.dtype)
        return found
