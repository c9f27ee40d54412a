"""Draws the batches of the light voice network: windows, and what the pack's network says of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from s2f_train.config import LightSettings
from s2f_train.data.feed import Batch
from s2f_train.data.heard_windows import FRAMES, HeardWindows

SHORT_EVERY = 8  # steps: the others see whole windows


@dataclass(frozen=True)
class LightDrawer:
    """Batches by step; every process draws the same numbers and takes its share."""

    heard: HeardWindows
    settings: LightSettings
    rank: int = 0
    world: int = 1

    def draw(self, step: int) -> Batch:
        """The batch of a step: features, float16 (b, frames, 80), and embeddings, float32 (b, n)."""
        frames = FRAMES[step % SHORT_EVERY == SHORT_EVERY - 1]
        rng = np.random.default_rng([self.settings.seed, step])
        embeddings = self.heard.embeddings[frames]
        share = self.settings.batch // self.world
        rows = rng.integers(len(embeddings), size=self.settings.batch)[self.rank * share : (self.rank + 1) * share]
        return {"features": self.heard.features[frames][rows], "embeddings": embeddings[rows]}
