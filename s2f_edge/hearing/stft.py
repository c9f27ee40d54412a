"""`stft-257`: the input of the VAE branch's voice encoder (docs/spec.md, section 2; Oh et al. 2019)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from s2f_edge.hearing.features import HOP, SAMPLE_RATE, WINDOW, Float32s, frames_of

STFT_FFT = 512
STFT_BINS = STFT_FFT // 2 + 1
STFT_SECONDS = 6.0


def stft(samples: Float32s) -> NDArray[np.complex64]:
    """Short-time Fourier transform, Hann window of 25 ms, hop 10 ms, FFT of 512 points.

    Args:
        samples: float32, (n,), 16 kHz; n is at least 400.

    Returns:
        complex64, (257, 1 + (n - 400) // 160); no padding, so 6 s give 598 frames.

    Source: docs/spec.md, section 2.
    """
    x = np.ascontiguousarray(samples, np.float32)
    if len(x) < WINDOW:
        raise ValueError(f"{len(x)} samples are fewer than one window; at least {WINDOW} are needed.")
    window = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(WINDOW) / WINDOW)
    frames = frames_of(x, (len(x) - WINDOW) // HOP + 1)
    return np.fft.rfft(frames * window, STFT_FFT).T.astype(np.complex64)


def compressed_stft(samples: Float32s) -> Float32s:
    """The input of the VAE branch: the STFT of 6 s under the power law sgn(S) |S|^0.3.

    A shorter clip is repeated to 6 s, a longer one cut. Real and imaginary part are
    compressed each on its own and stand as two channels.

    Returns:
        float32, (2, 257, 598).

    Source: Oh et al. 2019, section 3; docs/spec.md, section 2.
    """
    return compressed(np.resize(np.asarray(samples, np.float32), int(STFT_SECONDS * SAMPLE_RATE)))


def compressed(samples: Float32s) -> Float32s:
    """The compressed STFT of sound of any length: float32 (n,) -> (2, 257, 1 + (n - 400) // 160)."""
    spectrum = stft(samples)
    parts = np.stack([spectrum.real, spectrum.imag])
    return (np.sign(parts) * np.abs(parts) ** np.float32(0.3)).astype(np.float32)
