"""What a regression from voices makes of faces: smooth, but nobody's, and known for every voice.

A few hundred pairs are too few for a network to learn from each by itself: it would memorise them. A kernel
ridge regression says what they have in common, in closed form, and for voices between those of the pairs too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

MANY_PAIRS = 4000  # the cost of a regression grows with the cube of its pairs


@dataclass(frozen=True)
class Ridge:
    """A kernel ridge regression with a Gaussian kernel; `fit` makes one.

    Attributes:
        known: (pairs, d), the embeddings that it was fitted to.
        width: of the kernel, as a squared distance: exp(-distance^2 / width).
        mean: (k,), of the values.
        weights: (pairs, k).
    """

    known: Tensor
    width: float
    mean: Tensor
    weights: Tensor

    @classmethod
    def fit(cls, embeddings: Tensor, values: Tensor, shrinkage: float, width: float | None = None) -> Ridge:
        """Fits one.

        Args:
            embeddings: (pairs, d).
            values: (pairs, k).
            shrinkage: what is added to the kernel's diagonal: the more, the nearer to the mean.
            width: None: the median of the squared distances between the embeddings.
        """
        known = embeddings.double()
        distances = torch.cdist(known, known).square()
        if width is None:
            width = float(distances.median().clamp_min(1e-12))
        system = torch.exp(-distances / width) + shrinkage * torch.eye(len(known), device=known.device).double()
        mean = values.double().mean(dim=0)
        weights = torch.linalg.solve(system, values.double() - mean)
        return cls(embeddings, width, mean.to(values.dtype), weights.to(values.dtype))

    def __call__(self, embeddings: Tensor) -> Tensor:
        """(n, d) -> (n, k), the same type."""
        kernel = torch.exp(-torch.cdist(embeddings.to(self.known.dtype), self.known).square() / self.width)
        return self.mean + kernel.to(self.weights.dtype) @ self.weights

    def stretched(self, embeddings: Tensor, factor: float | Tensor) -> Tensor:
        """The same, so many times as far from the mean, each number by its own factor if there are (k,): a regression
        shrinks what it is not sure of."""
        return self.mean + factor * (self(embeddings) - self.mean)


def some(count: int, seed: int) -> Tensor:
    """Which of so many pairs a regression takes: all, or a seeded choice of 4,000 in their order."""
    if count <= MANY_PAIRS:
        return torch.arange(count)
    return torch.from_numpy(np.sort(np.random.default_rng([seed, 3]).permutation(count)[:MANY_PAIRS]))
