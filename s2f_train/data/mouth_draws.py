"""Draws the batches of `fit mouth`: which mouths, and how they are moved, stretched and lit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from s2f_train.config import MouthSettings
from s2f_train.data.feed import Batch

TURN, SCALE, STRETCH, MOVE = 0.1, 0.1, 0.15, 0.08  # farthest: radians, shares of the size, shares of the box
GAIN, TINT = 0.2, 0.08  # farthest of the brightness, and of each colour
WIDER, NARROWER = 0.25, 0.15  # shares of the insides that are a pixel larger or smaller than they were seen


@dataclass(frozen=True)
class MouthDrawer:
    """Batches by step; every process draws the same numbers and takes its share.

    Attributes:
        weights: (mouths,), how often each is drawn; of sum 1.
    """

    weights: NDArray[np.float64]
    settings: MouthSettings
    rank: int = 0
    world: int = 1

    def draw(self, step: int) -> Batch:
        """The batch of a step.

        Returns:
            rows (b,); moves (b, 2, 3), the affine map of each; gains (b, 3); size (b,): 1 for an inside that is made
            larger, -1 for one made smaller.
        """
        s = self.settings
        rng = np.random.default_rng([s.seed, step])
        rows = rng.choice(len(self.weights), s.batch, p=self.weights)
        turn, scale, stretch, right, down = rng.uniform(-1, 1, (5, s.batch))
        mirrored = np.where(rng.random(s.batch) < 0.5, -1.0, 1.0)
        across = 1 + SCALE * scale
        along = across * (1 + STRETCH * stretch)
        moves = np.zeros((s.batch, 2, 3))
        moves[:, 0, 0], moves[:, 1, 1] = np.cos(TURN * turn) / across * mirrored, np.cos(TURN * turn) / along
        moves[:, 0, 1], moves[:, 1, 0] = -np.sin(TURN * turn) / across, np.sin(TURN * turn) / along * mirrored
        moves[:, 0, 2], moves[:, 1, 2] = MOVE * right, MOVE * down
        gains = (1 + GAIN * rng.uniform(-1, 1, (s.batch, 1))) * (1 + TINT * rng.uniform(-1, 1, (s.batch, 3)))
        which = rng.random(s.batch)
        size = np.where(which < WIDER, 1.0, np.where(which > 1 - NARROWER, -1.0, 0.0))
        mine = slice(self.rank * (s.batch // self.world), (self.rank + 1) * (s.batch // self.world))
        drawn = {"rows": rows, "moves": moves, "gains": gains, "size": size}
        return {name: (x if name == "rows" else x.astype(np.float32))[mine] for name, x in drawn.items()}
