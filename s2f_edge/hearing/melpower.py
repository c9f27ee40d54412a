"""`melpower-40`: the input of the public GE2E speaker encoder (Wan et al. 2018, as in Resemblyzer)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2f_edge.hearing.features import HOP, SAMPLE_RATE, WINDOW, Float32s, FoldedSpectrum, frames_of

MELPOWER_BINS = 40


def hz_slaney(mel: Any) -> Any:
    """Mel to Hz, Slaney's scale: linear below 1 kHz (200/3 Hz a mel), logarithmic above."""
    mel = np.asarray(mel, dtype=np.float64)
    return np.where(mel < 15.0, mel * (200.0 / 3.0), 1000.0 * np.exp((mel - 15.0) * (np.log(6.4) / 27.0)))


@lru_cache(maxsize=1)
def melpower_filters() -> NDArray[np.float64]:
    """The 40 Slaney triangles of the `melpower-40` features, float64, (201, 40), 0 to 8,000 Hz."""
    top = 15.0 + 27.0 * np.log(8.0) / np.log(6.4)  # 8,000 Hz in Slaney's mel
    edges = hz_slaney(np.linspace(0.0, top, MELPOWER_BINS + 2))
    bins = np.arange(WINDOW // 2 + 1) * (SAMPLE_RATE / WINDOW)
    rising = (bins[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins[:, None]) / (edges[2:] - edges[1:-1])
    filters: NDArray[np.float64] = np.maximum(0.0, np.minimum(rising, falling)) * (2.0 / (edges[2:] - edges[:-2]))
    return filters


@lru_cache(maxsize=1)
def _spectrum() -> FoldedSpectrum:
    window = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(WINDOW) / WINDOW)
    return FoldedSpectrum.of(window, WINDOW, melpower_filters())


class MelPowerStream:
    """`melpower-40` frames (no logarithm) of a signal that arrives in blocks.

    Frame i is centred at sample 160 i; the signal is taken as zero outside. Frames are
    given as long as they touch the signal.

    Source: the mel spectrogram of Resemblyzer (librosa's defaults: periodic Hann window of
    400 samples, FFT of 400, Slaney's mel scale and area, 0 to 8,000 Hz).
    """

    def __init__(self) -> None:
        self._samples = np.zeros(WINDOW // 2, np.float32)  # zeros before the signal
        self._seen = 0
        self._done = 0

    def push(self, samples: Float32s) -> Float32s:
        """float32 (n,) in [-1, 1] -> float32 (frames, 40), power."""
        self._seen += len(samples)
        self._samples = np.concatenate([self._samples, np.asarray(samples, np.float32)])
        count = max(0, (len(self._samples) - WINDOW) // HOP + 1)
        frames = self._take(count)
        self._samples = self._samples[count * HOP :].copy()
        return frames

    def finish(self) -> Float32s:
        """The last frames, float32 (frames, 40); ceil((samples + 200) / 160) in all."""
        if self._seen == 0:
            return np.zeros((0, MELPOWER_BINS), np.float32)
        count = -(-(self._seen + WINDOW // 2) // HOP) - self._done
        self._samples = np.concatenate([self._samples, np.zeros(count * HOP + WINDOW, np.float32)])
        return self._take(count)

    def _take(self, count: int) -> Float32s:
        self._done += count
        return _spectrum().energies(frames_of(self._samples, count))


def melpower(samples: Float32s) -> Float32s:
    """`melpower-40` of a whole signal: float32 (n,) -> float32 (frames, 40), power."""
    stream = MelPowerStream()
    return np.concatenate([stream.push(samples), stream.finish()])
