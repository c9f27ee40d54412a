"""Kaldi's log mel filter bank, `fbank-80`, in numpy alone.

The input of public speaker networks that were trained with Kaldi's features, such as CAM++ (Wang et al. 2023). Kaldi
takes the mean of each frame away, then pre-emphasises inside the frame. Its window is zero at both ends and symmetric,
so that the pre-emphasis can run over the signal once, what is left of the mean is one number a frame, and the spectrum
folds as that of the other kinds does.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2f_edge.hearing.features import (
    HOP,
    PCM_SCALE,
    PRE_EMPHASIS,
    SAMPLE_RATE,
    WINDOW,
    Float32s,
    FoldedSpectrum,
    frames_of,
)

FBANK_BINS = 80
FBANK_FFT = 512
FBANK_LOW_HZ, FBANK_HIGH_HZ = 20.0, 8000.0
FBANK_FLOOR = float(np.finfo(np.float32).eps)
POVEY_POWER = 0.85


def mel_kaldi(hz: Any) -> Any:
    """Frequency in Hz to mel, Kaldi's constant: 1127 ln(1 + f / 700)."""
    return 1127.0 * np.log1p(np.asarray(hz, dtype=np.float64) / 700.0)


@lru_cache(maxsize=1)
def fbank_filters() -> NDArray[np.float64]:
    """The 80 triangles of the `fbank-80` features.

    Returns:
        float64, (256, 80): weights of FFT bins 0 to 255; Kaldi leaves the last one out.

    Source: Kaldi's MelBanks: edges equally spaced in mel from 20 to 8,000 Hz; each triangle is straight in mel, not in
    Hz, and has the height 1.
    """
    edges = np.linspace(mel_kaldi(FBANK_LOW_HZ), mel_kaldi(FBANK_HIGH_HZ), FBANK_BINS + 2)
    bins = mel_kaldi(np.arange(FBANK_FFT // 2) * (SAMPLE_RATE / FBANK_FFT))[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    filters: NDArray[np.float64] = np.maximum(0.0, np.minimum(rising, falling))
    return filters


@lru_cache(maxsize=1)
def _spectrum() -> FoldedSpectrum:
    # The scale is a power of two: scaling the samples would give the same numbers.
    return FoldedSpectrum.of(np.hanning(WINDOW) ** POVEY_POWER, FBANK_FFT, fbank_filters() * PCM_SCALE**2)


class FbankStream:
    """`fbank-80` frames of a signal that arrives in blocks.

    Frame i covers the samples 160 i to 160 i + 399; none runs past the end, but a signal shorter than one frame gives
    one frame, of the signal and zeros after it.

    Source: Kaldi's compute-fbank-feats with its defaults for 16 kHz but 80 bins and no dither, as kaldi_native_fbank
    computes it, on samples in the range of 16-bit integers.
    """

    def __init__(self) -> None:
        self._samples = np.zeros(0, np.float32)  # from the first sample of the next frame on
        self._any_frame = False

    def push(self, samples: Float32s) -> Float32s:
        """float32 (n,) in [-1, 1] -> float32 (frames, 80), natural-log filter bank energies."""
        self._samples = np.concatenate([self._samples, np.asarray(samples, np.float32)])
        count = max(0, (len(self._samples) - WINDOW) // HOP + 1)
        frames = self._take(count)
        self._samples = self._samples[count * HOP :].copy()  # a slice would keep the whole block alive
        return frames

    def finish(self) -> Float32s:
        """The frame of a signal shorter than 400 samples, float32 (1, 80); of any other, (0, 80)."""
        short = not self._any_frame and len(self._samples) > 0
        self._samples = np.concatenate([self._samples, np.zeros(WINDOW - len(self._samples), np.float32)])
        frames = self._take(int(short))
        self._samples = np.zeros(0, np.float32)
        return frames

    def _take(self, count: int) -> Float32s:
        if not count:
            return np.zeros((0, FBANK_BINS), np.float32)
        self._any_frame = True
        emphasis = np.float32(PRE_EMPHASIS)
        x = self._samples[: (count - 1) * HOP + WINDOW]
        y = x.copy()  # the first sample stays: the window is zero there
        y[1:] -= emphasis * x[:-1]
        # What the pre-emphasis leaves of the mean, rounded as above: a constant signal comes out as zeros.
        means = frames_of(x, count).mean(axis=1, keepdims=True)
        energies = _spectrum().energies(frames_of(y, count), offsets=means - emphasis * means)
        np.maximum(energies, np.float32(FBANK_FLOOR), out=energies)
        return np.log(energies, out=energies)


def fbank(samples: Float32s) -> Float32s:
    """`fbank-80` of a whole signal.

    Args:
        samples: float32, (n,), 16 kHz, in [-1, 1].

    Returns:
        float32, (1 + (n - 400) // 160, 80), natural logarithm of filter bank energies; one frame for fewer than 400
        samples, none for no sample.
    """
    stream = FbankStream()
    return np.concatenate([stream.push(samples), stream.finish()])
