"""How near a motion is to the real speaker's."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from s2f_edge.hearing.features import Float32s
from s2f_train.data.talks import CLOSED, EYES, LIPS, Talk, frames_at, opening

MEASURES = ("opening", "speech", "mouth", "points", "silence", "bilabial")
LAGS = 5  # frames to either side

Floats = NDArray[np.float64]


def measured(offsets: Float32s, talk: Talk, neutral: Float32s) -> tuple[dict[str, float], Floats]:
    """The measures of one clip, and the cross-correlation of the opening for each lag.

    Args:
        offsets: float32 (frames, 68, 2).
        talk: the real motion, as many frames.
        neutral: the speaker's, (68, 2), which tells how far apart closed lips are.

    Returns:
        By the names of `MEASURES`, NaN where there is nothing to measure; and (2 LAGS + 1,), from a motion that is so
        many frames early to one that is late.
    """
    gaps, real = opening(offsets), opening(talk.offsets)
    closed = opening(neutral) + gaps < CLOSED
    apart = np.linalg.norm(offsets - talk.offsets, axis=2)
    moving = np.ones(apart.shape[1], bool)
    moving[EYES] = False
    near = [frames_at(time, len(closed)) for time in talk.closures]
    values = {
        "opening": _correlation(gaps, real),
        "speech": _correlation(gaps[~talk.silent], real[~talk.silent]),
        "mouth": float(apart[:, LIPS].mean()),
        "points": float(apart[:, moving].mean()),
        "silence": float(closed[talk.silent].mean()) if talk.silent.any() else float("nan"),
        "bilabial": float(np.mean([closed[list(frames)].any() for frames in near if frames])) if near else float("nan"),
    }
    return values, _crossed(gaps, real)


def best_lag(crossed: Floats) -> int | None:
    """By how many frames the motion is late, where the cross-correlation is highest; None where nothing moves."""
    return int(crossed.argmax()) - LAGS if np.ptp(crossed) > 1e-9 else None


def _correlation(a: Float32s, b: Float32s) -> float:
    """0 where one of them does not change."""
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / norm if norm > 1e-9 else 0.0


def _crossed(gaps: Float32s, real: Float32s) -> Floats:
    """With the motion taken so many frames later; each lag sees the same frames of the real one."""
    count = len(real)
    if count <= 2 * LAGS:
        return np.zeros(2 * LAGS + 1)
    middle = real[LAGS : count - LAGS]
    return np.array([_correlation(gaps[k : count - 2 * LAGS + k], middle) for k in range(2 * LAGS + 1)])
