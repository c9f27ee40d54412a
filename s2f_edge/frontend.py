"""Voiced samples to the inputs of a voice network: features, level, normalisation, windows.

A front end takes voiced samples in blocks, keeps features only, and gives the network's
inputs at the end. Which one a pack needs stands in its manifest (`voice.features`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from s2f_edge.features import (
    HOP,
    LOGMEL_BINS,
    MELPOWER_BINS,
    SAMPLE_RATE,
    Float32s,
    LogMelStream,
    MelPowerStream,
    normalise_logmel,
    repeat_to,
)


class FrontEnd(Protocol):
    """What the pipeline asks of a front end."""

    def push(self, voiced: Float32s) -> None:
        """Takes float32 (n,) voiced samples at 16 kHz."""

    def inputs(self) -> Iterator[tuple[Float32s, Float32s]]:
        """Gives (network input of n windows, float32 (n,) weight of each in the mean embedding)."""


class LogMel64FrontEnd:
    """`logmel-64`: normalised over the clip, repeated to at least 10 s, float32 (1, 64, frames).

    A clip of up to 60 s is one window, as in SPEC section 2. A longer one is cut into equal
    windows of at most 60 s, whose embeddings are averaged by length, so that the network's
    memory does not grow with the clip.
    """

    MIN_FRAMES = 1000
    MAX_FRAMES = 6000

    def __init__(self) -> None:
        self._stream = LogMelStream()
        self._frames: list[Float32s] = []

    def push(self, voiced: Float32s) -> None:
        self._frames.append(self._stream.push(voiced))

    def inputs(self) -> Iterator[tuple[Float32s, Float32s]]:
        self._frames.append(self._stream.finish())
        logmel = np.concatenate(self._frames)
        self._frames = []
        features = repeat_to(normalise_logmel(logmel), self.MIN_FRAMES)
        for window in np.array_split(features, -(-len(features) // self.MAX_FRAMES)):
            yield np.ascontiguousarray(window.T)[None], np.array([len(window)], np.float32)


class MelPower40FrontEnd:
    """`melpower-40`: brought to one loudness, in windows of 1.6 s, float32 (windows, 160, 40).

    The power spectrum is quadratic in the samples, so the loudness of the whole clip is set
    after the features are computed: one factor for all. Windows start every 0.77 s; the
    last one may run past the end by a quarter (it sees zeros there), as in Resemblyzer.
    """

    LOUDNESS_DBFS = -30.0
    WINDOW_FRAMES = 160
    STEP_FRAMES = 77
    MIN_COVERAGE = 0.75
    BATCH = 64

    def __init__(self) -> None:
        self._stream = MelPowerStream()
        self._frames: list[Float32s] = []
        self._energy = 0.0
        self._samples = 0

    def push(self, voiced: Float32s) -> None:
        self._frames.append(self._stream.push(voiced))
        self._energy += float(np.dot(voiced, voiced))
        self._samples += len(voiced)

    def inputs(self) -> Iterator[tuple[Float32s, Float32s]]:
        self._frames.append(self._stream.finish())
        padding = np.zeros((self.WINDOW_FRAMES, MELPOWER_BINS), np.float32)
        mel = np.concatenate([*self._frames, padding])
        self._frames = []
        mel *= np.float32(10.0 ** (self.LOUDNESS_DBFS / 10.0) * self._samples / max(self._energy, 1e-20))
        starts = self._starts()
        windows = np.lib.stride_tricks.sliding_window_view(mel, self.WINDOW_FRAMES, axis=0)
        for i in range(0, len(starts), self.BATCH):
            batch = windows[starts[i : i + self.BATCH]].transpose(0, 2, 1)
            yield np.ascontiguousarray(batch), np.ones(len(batch), np.float32)

    def _starts(self) -> list[int]:
        frames = self._samples * 100 // SAMPLE_RATE + 1
        starts = list(range(0, max(1, frames - self.WINDOW_FRAMES + self.STEP_FRAMES + 1), self.STEP_FRAMES))
        covered = self._samples - starts[-1] * HOP
        if len(starts) > 1 and covered < self.MIN_COVERAGE * self.WINDOW_FRAMES * HOP:
            starts.pop()
        return starts


# What a manifest may name, with the shape of the network's input (None: any length).
FRONT_ENDS: dict[str, type[LogMel64FrontEnd] | type[MelPower40FrontEnd]] = {
    "logmel-64": LogMel64FrontEnd,
    "melpower-40": MelPower40FrontEnd,
}
INPUT_SHAPES: dict[str, tuple[int | None, ...]] = {
    "logmel-64": (None, LOGMEL_BINS, None),
    "melpower-40": (None, None, MELPOWER_BINS),
}
