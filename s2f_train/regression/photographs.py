"""Which numbers faces on photographs have: a Gaussian around the mean of each gender, and how age shows in them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

SHRINKAGE = 0.05  # added to the variances
YEARS_SHRINKAGE = 30.0  # of the regression of years on numbers


@dataclass(frozen=True)
class Photographs:
    """The distribution of the numbers that a voice is taught, over photographs; `fit` makes one.

    Attributes:
        means: (2, k): the middle of women's and men's mean, and what the men's differs from it.
        precision: (k, k), the inverse of the covariance within a gender.
        years: (k,), how many years of age a unit of each number is.
        older: (k,), what changes together where `years` tells a year more.
    """

    means: Tensor
    precision: Tensor
    years: Tensor
    older: Tensor

    @classmethod
    def fit(cls, numbers: Tensor, male: Tensor, ages: Tensor) -> Photographs:
        """Moments and a ridge regression.

        Args:
            numbers: (n, k).
            male: (n,), 1 or -1.
            ages: (n,), in years.
        """
        x, men = numbers.double(), male > 0
        man, woman = x[men].mean(dim=0), x[~men].mean(dim=0)
        rest = x - torch.where(men[:, None], man, woman)
        unit = torch.eye(x.shape[1], dtype=x.dtype)
        covariance = rest.T @ rest / len(rest)
        y = ages.double() - ages.double().mean()
        years = torch.linalg.solve(rest.T @ rest + YEARS_SHRINKAGE * unit, rest.T @ y)
        towards = covariance @ years
        older = towards / (years @ towards).clamp_min(1e-12)
        precision = torch.linalg.inv(covariance + SHRINKAGE * unit)
        means = torch.stack([man + woman, man - woman]) / 2
        return cls(*(found.to(numbers.dtype) for found in (means, precision, years, older)))

    def mean(self, gender: Tensor) -> Tensor:
        """The mean face of a gender, (n, 1) from -1 for women to 1 for men, as numbers: (n, k)."""
        return self.means[0] + gender * self.means[1]

    def gendered(self, numbers: Tensor, least: Tensor) -> Tensor:
        """Numbers, (n, k), that show at least so much of a gender, (n, 1): 1 is as much as men's mean, -1 women's.

        They are told apart by linear discriminant analysis, and moved along what lies between the means.
        """
        between = self.means[1]
        direction = self.precision @ between
        shown = ((numbers - self.means[0]) @ direction / (between @ direction).clamp_min(1e-12))[:, None]
        enough = shown * least >= least.square()
        return numbers + torch.where(enough, 0.0, least - shown) * between

    def rarity(self, differences: Tensor) -> Tensor:
        """Mahalanobis distance of differences from a mean, (n, k), as a quadratic mean over the numbers: (n, 1)."""
        squares = ((differences @ self.precision) * differences).mean(dim=1, keepdim=True)
        return squares.clamp_min(1e-12).sqrt()

    def aged(self, differences: Tensor, years: Tensor, share: float) -> Tensor:
        """Differences from a mean whose age comes nearer to one that is given, by a share of the way.

        Args:
            differences: (n, k).
            years: (n, 1), years above the mean.
        """
        return differences + share * (years - (differences @ self.years)[:, None]) * self.older
