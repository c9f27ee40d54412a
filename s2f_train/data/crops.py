"""Crops of stored voices: what the voice network learns from and what it hears while a generator learns."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from s2f_edge.features import Float32s
from s2f_train.data.store import BINS, Sample, Store


def crop(store: Store, sample: Sample, frames: int, start: float) -> Float32s:
    """Frames of the stored log-mel, float32 (64, frames).

    A voice shorter than that is repeated, as the runtime does (SPEC section 2).

    Args:
        start: where, as a share of what is possible, from 0 to 1.
    """
    logmel = store.logmel(sample)
    length = len(logmel)
    if length < frames:
        rows = logmel[(np.arange(frames) + int(start * length)) % length]
    else:
        begin = min(int(start * (length - frames + 1)), length - frames)
        rows = logmel[begin : begin + frames]
    return np.ascontiguousarray(rows.T, np.float32)


def crops(store: Store, samples: list[Sample], frames: int, starts: NDArray[np.float64]) -> Float32s:
    """The same of several voices, float32 (voices, 64, frames)."""
    batch = np.empty((len(samples), BINS, frames), np.float32)
    for row, sample, start in zip(batch, samples, starts, strict=True):
        row[:] = crop(store, sample, frames, start)
    return batch
