"""Draws the batches of `fit talk`: windows of talking heads, of speakers in turn as often as their talks are worth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from s2f_edge.hearing.fbank import FBANK_BINS, FBANK_HIGH_HZ, FBANK_LOW_HZ, mel_kaldi
from s2f_edge.hearing.features import Float32s
from s2f_train.config import MotionSettings
from s2f_train.data.feed import Batch
from s2f_train.data.talk_windows import TalkWindows


@dataclass(frozen=True)
class TalkDrawer:
    """Batches by step; every process draws the same numbers and takes its share. `shares`: of each window."""

    windows: TalkWindows
    shares: NDArray[np.float64]
    settings: MotionSettings
    rank: int = 0
    world: int = 1

    def draw(self, step: int) -> Batch:
        """features, float32 (b, t, 80); offsets, float16 (b, frames, 136); masks, bool (b, frames, 3)."""
        s = self.settings
        rng = np.random.default_rng([s.seed, step])
        rows = rng.choice(len(self.shares), s.batch, p=self.shares)
        features = self.windows.features[rows].astype(np.float32)
        gains = rng.uniform(-s.gain, s.gain, (s.batch, 1, 1)).astype(np.float32)
        for i, throat in enumerate(np.exp(rng.uniform(-s.throat, s.throat, s.batch))):
            features[i] = other_throat(features[i], float(throat))
        features += gains
        mine = slice(self.rank * s.batch // self.world, (self.rank + 1) * s.batch // self.world)
        rows = rows[mine]
        return {
            "features": features[mine],
            "offsets": self.windows.offsets[rows],
            "masks": self.windows.masks[rows],
        }


def shares_of(windows: TalkWindows, speakers: list[str], evenness: float) -> NDArray[np.float64]:
    """How often each window is drawn: a speaker with n windows as often as n to the power 1 - evenness tells."""
    names = np.array(speakers)[windows.of]
    _, number, count = np.unique(names, return_inverse=True, return_counts=True)
    weight = count[number] ** -evenness
    return np.asarray(weight / weight.sum(), np.float64)


def other_throat(features: Float32s, longer: float) -> Float32s:
    """Filter banks, (frames, 80), as of a throat that is so many times shorter: all frequencies times that number."""
    edges = np.linspace(mel_kaldi(FBANK_LOW_HZ), mel_kaldi(FBANK_HIGH_HZ), FBANK_BINS + 2)[1:-1]
    hz = 700.0 * np.expm1(edges / 1127.0)
    place = np.interp(mel_kaldi(hz / longer), edges, np.arange(FBANK_BINS))
    low = place.astype(int)
    part = (place - low).astype(np.float32)
    high = np.minimum(low + 1, FBANK_BINS - 1)
    return np.asarray(features[:, low] * (1 - part) + features[:, high] * part, np.float32)
