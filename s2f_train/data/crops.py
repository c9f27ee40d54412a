"""Crops of stored voices: what the voice network learns from and what it hears while a generator learns."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from s2f_train.data.store import BINS, Sample, Store


def crop(store: Store, sample: Sample, frames: int, start: float) -> NDArray[np.float16]:
    """Frames of the stored log-mel, (frames, 64), as it is stored.

    A voice shorter than that is repeated, as the runtime does (docs/spec.md, section 2).

    Args:
        start: where, as a share of what is possible, from 0 to 1.
    """
    logmel = store.logmel(sample)
    length = len(logmel)
    if length < frames:
        return logmel[(np.arange(frames) + int(start * length)) % length]
    begin = min(int(start * (length - frames + 1)), length - frames)
    return logmel[begin : begin + frames]


def crops(store: Store, samples: list[Sample], frames: int, starts: NDArray[np.float64]) -> NDArray[np.float16]:
    """The same of several voices, (voices, 64, frames): a view of what lies in memory frame by frame.

    Neither turned nor widened here: a GPU does both in no time, and half as much is copied to it.
    """
    batch = np.empty((len(samples), frames, BINS), np.float16)
    for row, sample, start in zip(batch, samples, starts, strict=True):
        row[:] = crop(store, sample, frames, start)
    return batch.transpose(0, 2, 1)
