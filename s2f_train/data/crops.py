"""Crops of stored voices: what the voice network learns from and what it hears while a generator learns."""

from __future__ import annotations

import io

import numpy as np
import soundfile
from numpy.typing import NDArray

from s2f_edge.hearing.features import Float32s
from s2f_train.data.store import BINS, Sample, Store, StoreError


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


def sound_crop(store: Store, sample: Sample, wanted: int, start: float) -> Float32s:
    """`wanted` samples of the stored sound, 16 kHz; a shorter sound is repeated.

    Args:
        start: as of `crop`.

    Raises:
        StoreError: it cannot be decoded.
    """
    try:
        with soundfile.SoundFile(io.BytesIO(store.read(sample, "flac"))) as file:
            if file.frames > wanted:
                file.seek(int(start * (file.frames - wanted)))
            sound: Float32s = file.read(wanted, "float32")
    except soundfile.LibsndfileError as error:
        where = store.folder / sample.shard
        raise StoreError(f"{where}: the sound of {sample.key} cannot be decoded ({error.error_string}).") from None
    return sound if len(sound) == wanted else np.resize(np.roll(sound, -int(start * len(sound))), wanted)


def crops(store: Store, samples: list[Sample], frames: int, starts: NDArray[np.float64]) -> NDArray[np.float16]:
    """Crops of several voices, (voices, 64, frames): a view of an array that is stored frame by frame.

    Neither turned nor widened here: a GPU does both in no time, and half as much is copied to it.
    """
    batch = np.empty((len(samples), frames, BINS), np.float16)
    for row, sample, start in zip(batch, samples, starts, strict=True):
        row[:] = crop(store, sample, frames, start)
    return batch.transpose(0, 2, 1)
