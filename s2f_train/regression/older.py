"""Older faces for the voices that sound oldest: what a regression says of them stays too near to the others' age."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

SHRINKAGE = 5.0  # of the regression of years on the numbers of faces, whose standard deviation is near 1
FEWEST = 30  # faces of known age


@dataclass(frozen=True)
class Older:
    """Moves what is told of faces along the direction in which their age shows; `fit` makes one.

    Attributes:
        years: (k,), how many years a unit of each number is.
        start: years above the mean from which on faces are moved: one standard deviation of those told.
        stretch: how many times as far they then are from it.
    """

    years: Tensor
    start: float
    stretch: float

    @classmethod
    def fit(cls, faces: Tensor, ages: Tensor, told: Tensor, stretch: float) -> Older:
        """Ridge regression. With fewer than 30 known ages, faces stay as they are.

        Args:
            faces: (n, k), numbers of faces with a mean of 0.
            ages: (n,), in years, NaN where it is not known.
            told: (m, k), what is said of voices.
            stretch: see above; 1 changes nothing.
        """
        known = ~ages.isnan()
        if known.sum() < FEWEST:
            return cls(torch.zeros_like(faces[0]), 0.0, 1.0)
        x, y = faces[known].double(), ages[known].double()
        x, y = x - x.mean(dim=0), y - y.mean()
        years = torch.linalg.solve(x.T @ x + SHRINKAGE * torch.eye(x.shape[1], dtype=x.dtype), x.T @ y).to(faces.dtype)
        return cls(years, float((told @ years).std()), stretch)

    def __call__(self, told: Tensor) -> Tensor:
        """(n, k), the same type."""
        beyond = (told @ self.years - self.start).clamp_min(0.0) * (self.stretch - 1.0)
        return told + beyond[:, None] * self.years / self.years.square().sum().clamp_min(1e-12)

    def widened(self, size: int) -> Older:
        """The same for numbers of which the first are those that it was fitted to, (n, size)."""
        return replace(self, years=nn.functional.pad(self.years, (0, size - len(self.years))))
