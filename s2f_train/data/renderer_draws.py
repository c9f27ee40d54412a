"""Draws the batches of the renderer: portraits, how they are changed, and appearances that no portrait has."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from s2f_train.config import RendererSettings
from s2f_train.data.feed import Batch

GAIN, TINT = 0.06, 0.02  # standard deviation of the brightness, and of each colour
LATENT = (0.2, 0.9)  # how far from the likeliest the hair and the light of an imagined face are


@dataclass(frozen=True)
class RendererDrawer:
    """Batches by step; every process draws the same numbers and takes its share.

    Attributes:
        weights: (portraits,), how often each is drawn; of sum 1.
        spoken: how many faces that go with voices there are, women first; `women` of them.
        sizes: how many inner, side, outer and latent numbers a sketch has.
    """

    weights: NDArray[np.float64]
    spoken: int
    women: int
    sizes: tuple[int, int, int, int]
    settings: RendererSettings
    rank: int = 0
    world: int = 1

    def draw(self, step: int) -> Batch:
        """The batch of a step.

        Returns:
            rows (b,), mirrored (b,), gains (b, 3), kept (b,): numbers of each sketch, jitter (b, inner + side + outer);
            and of imagined faces first and second (k,), mix (k,), stretch (k,), latent (k, latent).
        """
        s, share = self.settings, self.settings.batch // self.world
        rng = np.random.default_rng([s.seed, step])
        inner, side, outer, latent = self.sizes
        mine = slice(self.rank * share, (self.rank + 1) * share)
        cut = rng.random(s.batch) < s.cut_share
        gains = 1 + GAIN * rng.standard_normal((s.batch, 1)) + TINT * rng.standard_normal((s.batch, 3))
        drawn: Batch = {
            "rows": rng.choice(len(self.weights), s.batch, p=self.weights),
            "mirrored": rng.random(s.batch) < 0.5,
            "gains": gains.astype(np.float32),
            "kept": np.where(cut, rng.integers(s.sketch[0], inner, s.batch), inner),
            "jitter": (s.jitter * rng.standard_normal((s.batch, inner + side + outer))).astype(np.float32),
        }
        imagined = round(s.imagined_share * s.batch) if self.spoken else 0
        if imagined:
            imagined = max(1, imagined // self.world) * self.world
            first = rng.integers(self.spoken, size=imagined)
            women = first < self.women  # two faces of one gender are mixed
            second = np.where(
                women, rng.integers(max(1, self.women), size=imagined),
                rng.integers(min(self.women, self.spoken - 1), self.spoken, size=imagined),
            )  # fmt: skip
            far = rng.uniform(*LATENT, (imagined, 1))
            low, high = s.stretch
            few, part = imagined // self.world, slice(self.rank * (imagined // self.world), None)
            more: Batch = {
                "first": first,
                "second": second,
                "mix": rng.random(imagined).astype(np.float32),
                "stretch": rng.uniform(low, high, imagined).astype(np.float32),
                "latent": (far * rng.standard_normal((imagined, latent))).astype(np.float32),
            }
            more = {name: array[part][:few] for name, array in more.items()}
        return {name: array[mine] for name, array in drawn.items()} | (more if imagined else {})
