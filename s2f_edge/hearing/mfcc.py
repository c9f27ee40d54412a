"""Mel-frequency cepstral coefficients (thesis 2.1.4), for study and comparison."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from s2f_edge.hearing.features import HOP, PRE_EMPHASIS, SAMPLE_RATE, WINDOW, Float32s, hz_htk, mel_htk


def mfcc(
    samples: Float32s,
    *,
    coefficients: int = 13,
    filters: int = 26,
    fft_size: int = 512,
    lifter: int = 22,
    normalise: bool = False,
) -> Float32s:
    """Mel-frequency cepstral coefficients: the seven steps of thesis 2.1.4.

    Pre-emphasis 0.97, frames of 25 ms every 10 ms under a Hamming window, power spectrum,
    triangular mel filters from 0 to 8,000 Hz, logarithm, DCT-II, and, with `normalise`,
    zero mean and unit variance per coefficient. The first coefficient is the log energy of
    the frame. Equal to python_speech_features.mfcc(..., winfunc=numpy.hamming).

    Args:
        samples: (n,), 16 kHz; any scale, since only the first coefficient depends on it.
        coefficients: how many are kept.
        filters: number of mel filters.
        fft_size: FFT length in samples, at least 400.
        lifter: cepstral lifter length; 0 leaves the coefficients as they are.
        normalise: the thesis's seventh step.

    Returns:
        float32, (frames, coefficients).
    """
    x = np.asarray(samples, np.float64)
    x = np.concatenate([x[:1], x[1:] - PRE_EMPHASIS * x[:-1]])
    count = 1 if len(x) <= WINDOW else 1 + -(-(len(x) - WINDOW) // HOP)
    x = np.concatenate([x, np.zeros(max(0, (count - 1) * HOP + WINDOW - len(x)))])
    frames = np.lib.stride_tricks.sliding_window_view(x, WINDOW)[::HOP][:count]
    power = np.abs(np.fft.rfft(frames * np.hamming(WINDOW), fft_size)) ** 2 / fft_size

    edges = np.floor((fft_size + 1) * hz_htk(np.linspace(0.0, mel_htk(SAMPLE_RATE / 2), filters + 2)) / SAMPLE_RATE)
    bins = np.arange(fft_size // 2 + 1)[:, None]
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    with np.errstate(divide="ignore", invalid="ignore"):
        rising, falling = (bins - low) / (centre - low), (high - bins) / (high - centre)
    bank = np.where((bins >= low) & (bins < centre), rising, 0.0)
    bank = np.where((bins >= centre) & (bins < high), falling, bank)

    tiny = np.finfo(np.float64).eps
    energy = power.sum(axis=1)
    logs = np.log(np.where(power @ bank == 0.0, tiny, power @ bank))
    cepstra = logs @ _dct(filters)[:, :coefficients]
    if lifter > 0:
        cepstra *= 1.0 + (lifter / 2.0) * np.sin(np.pi * np.arange(coefficients) / lifter)
    cepstra[:, 0] = np.log(np.where(energy == 0.0, tiny, energy))
    if normalise:
        cepstra = (cepstra - cepstra.mean(axis=0)) / (cepstra.std(axis=0) + tiny)
    return cepstra.astype(np.float32)


def _dct(size: int) -> NDArray[np.float64]:
    """The orthonormal DCT-II as a matrix, (size, size), to be applied from the right."""
    n = np.arange(size)
    matrix = np.cos(np.pi * np.outer(2 * n + 1, n) / (2 * size)) * np.sqrt(2.0 / size)
    matrix[:, 0] *= np.sqrt(0.5)
    return np.asarray(matrix, np.float64)
