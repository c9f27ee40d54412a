"""Draws the batches of `fit appearance`: voices, mixed with others, and noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from s2f_train.config import AppearanceSettings
from s2f_train.data.feed import Batch


@dataclass(frozen=True)
class AppearanceDrawer:
    """Batches by step; every process draws the same numbers and takes its share.

    Attributes:
        embeddings: float32 (voices, d), of unit length.
    """

    embeddings: NDArray[np.float32]
    settings: AppearanceSettings
    rank: int = 0
    world: int = 1

    def draw(self, step: int) -> Batch:
        """The batch of a step: embeddings, partners and noise, float32 (b, d), and mix (b,), the partners' weights."""
        s, share = self.settings, self.settings.batch // self.world
        rng = np.random.default_rng([s.seed, step])
        first, second = rng.integers(len(self.embeddings), size=(2, s.batch))
        mix = np.where(rng.random(s.batch) < s.mix_share, rng.uniform(0, 0.5, s.batch), 0.0)
        noise = rng.standard_normal((s.batch, self.embeddings.shape[1])) * rng.uniform(0, s.noise, (s.batch, 1))
        drawn = {
            "embeddings": self.embeddings[first],
            "partners": self.embeddings[second],
            "mix": mix.astype(np.float32),
            "noise": noise.astype(np.float32),
        }
        return {name: array[self.rank * share : (self.rank + 1) * share] for name, array in drawn.items()}
