"""Speech to features, in numpy alone: what they share, and `logmel-64`.

`logmel-64` is the input of the GAN branch's voice network (docs/spec.md, section 2; Wen et al. 2019). The modules
`melpower`, `fbank`, `stft` and `mfcc` have the others.

Those that packs use come as streams: push blocks of any size, get frames back, so that
an hour of sound never has to be in memory at once. The spectrum is a matrix product, not
an FFT: a frame has 400 samples, half of them after folding (a window that is symmetric
about its centre lets cosines see only the even part of a frame and sines only the odd
part), and only the bins under the highest filter are needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Float32s = NDArray[np.float32]

SAMPLE_RATE = 16_000
WINDOW = SAMPLE_RATE * 25 // 1000  # 400 samples = 25 ms
HOP = SAMPLE_RATE // 100  # 160 samples = 10 ms
PCM_SCALE = 32_768.0  # float samples in [-1, 1] to the range of 16-bit integers

LOGMEL_FFT = 1024
LOGMEL_BINS = 64
LOGMEL_LOW_HZ, LOGMEL_HIGH_HZ = 20.0, 7200.0
LOGMEL_FLOOR = 1e-5
PRE_EMPHASIS = 0.97

# Frames per matrix product: its buffers (0.5 MB each) stay in the cache. Log-mel of 10 s on two cores takes 3.9 ms with
# 256 frames, 4.2 with 128 and 5.8 with 512.
CHUNK_FRAMES = 256


# --------------------------------------------------------------------------- filter banks


def mel_htk(hz: Any) -> Any:
    """Frequency in Hz to mel, O'Shaughnessy's formula: 2595 log10(1 + f / 700)."""
    return 2595.0 * np.log10(1.0 + np.asarray(hz, dtype=np.float64) / 700.0)


def hz_htk(mel: Any) -> Any:
    """Inverse of `mel_htk`."""
    return 700.0 * (10.0 ** (np.asarray(mel, dtype=np.float64) / 2595.0) - 1.0)


@lru_cache(maxsize=1)
def logmel_filters() -> NDArray[np.float64]:
    """The 64 triangles of the `logmel-64` features.

    Returns:
        float64, (bins, 64): weights of FFT bins 0 .. bins-1; the bins above 7,200 Hz,
        where every weight is zero, are left out.

    Source: docs/spec.md, section 2: edges equally spaced in mel from 20 to 7,200 Hz, rounded to the
    nearest bin; each triangle has unit area in Hz and its full height at the centre bin.
    """
    edges_hz = hz_htk(np.linspace(mel_htk(LOGMEL_LOW_HZ), mel_htk(LOGMEL_HIGH_HZ), LOGMEL_BINS + 2))
    edges = np.round(edges_hz * LOGMEL_FFT / SAMPLE_RATE).astype(int)
    filters = np.zeros((edges[-1] + 1, LOGMEL_BINS))
    for i in range(LOGMEL_BINS):
        low, centre, high = edges[i : i + 3]
        height = 2.0 * LOGMEL_FFT / SAMPLE_RATE / (high - low)
        filters[low : centre + 1, i] = np.linspace(0.0, height, centre - low + 1)
        filters[centre : high + 1, i] = np.linspace(height, 0.0, high - centre + 1)
    return filters


# ------------------------------------------------------------------------- folded spectrum


@dataclass(frozen=True)
class FoldedSpectrum:
    """Mel energies of 400-sample frames: their power spectrum as two matrix products of half the length.

    For a window symmetric about `centre`, |X(k)|^2 = (even . cos)^2 + (odd . sin)^2 with
    even = x[centre + m] + x[centre - m] and odd = x[centre + m] - x[centre - m]: a shift of
    the time origin changes the phase, not the power. Half the work of a plain DFT product.
    """

    first: int  # index of the first sample that takes part (0, or 1 where the window starts with a zero)
    cosines: Float32s  # (half, bins), window applied
    sines: Float32s
    filters: tuple[tuple[slice, slice, Float32s], ...]  # stretches of bins, the mels that they touch, and their weights

    @classmethod
    def of(cls, window: NDArray[np.float64], fft_size: int, filters: NDArray[np.float64]) -> FoldedSpectrum:
        """Builds the matrices for a window of even length.

        Args:
            window: float64, (400,): symmetric (w[i] == w[399 - i]) or periodic (w[0] == 0
                and w[i] == w[400 - i]).
            filters: float64, (bins, mels): weights of the bins from 0 on.
        """
        size = len(window)
        periodic = window[0] == 0.0 and not np.isclose(window[-1], 0.0, atol=1e-12)
        first = 1 if periodic else 0
        half = (size - first + 1) // 2
        centre = first + (size - first - 1) / 2  # 199.5 symmetric, 200 periodic
        offsets = centre - (first + np.arange(half))  # distance of each pair from the centre
        angle = 2.0 * np.pi * np.outer(offsets, np.arange(len(filters))) / fft_size
        weights = window[first : first + half].copy()
        if periodic:
            weights[-1] *= 0.5  # the centre sample is paired with itself
        cosines = (weights[:, None] * np.cos(angle)).astype(np.float32)
        sines = (weights[:, None] * np.sin(angle)).astype(np.float32)
        parts = []
        edges = len(filters) // 4, len(filters) // 2, len(filters)  # most weights outside of these parts are zero
        for start, end in pairwise((0, *edges)):
            touched = np.flatnonzero(filters[start:end].any(axis=0))
            mels = slice(int(touched[0]), int(touched[-1]) + 1)
            parts.append((slice(start, end), mels, filters[start:end, mels].astype(np.float32, order="C")))
        return cls(first, cosines, sines, tuple(parts))

    def energies(self, frames: Float32s, firsts: Float32s | None = None, offsets: Float32s | None = None) -> Float32s:
        """Mel energies of frames.

        Args:
            frames: float32, (n, 400).
            firsts: float32, (n,), taken in place of the first sample of each frame.
            offsets: float32, (n, 1), taken away from each frame.

        Returns:
            float32, (n, mels).
        """
        half, bins = self.cosines.shape
        rows = min(len(frames), CHUNK_FRAMES)
        # Made once: fresh memory costs the system as much time as the products take.
        spaces = [np.empty((rows, columns), np.float32) for columns in (half, half, bins, bins)]
        out = np.zeros((len(frames), max(mels.stop for _, mels, _ in self.filters)), np.float32)
        for start in range(0, len(frames), CHUNK_FRAMES):
            x = frames[start : start + CHUNK_FRAMES]
            some = slice(start, start + len(x))
            even, odd, real, imaginary = (space[: len(x)] for space in spaces)
            if offsets is not None:
                x = x - offsets[some]
            rising, falling = x[:, self.first : self.first + half], x[:, : WINDOW - half - 1 : -1]
            np.add(rising, falling, out=even)
            np.subtract(rising, falling, out=odd)
            if firsts is not None:
                np.add(firsts[some], falling[:, 0], out=even[:, 0])
                np.subtract(firsts[some], falling[:, 0], out=odd[:, 0])
            np.matmul(even, self.cosines, out=real)
            np.matmul(odd, self.sines, out=imaginary)
            np.square(real, out=real)
            np.square(imaginary, out=imaginary)
            real += imaginary
            for part, mels, weights in self.filters:
                out[some, mels] += real[:, part] @ weights
        return out


@lru_cache(maxsize=1)
def _spectrum() -> FoldedSpectrum:
    return FoldedSpectrum.of(np.hamming(WINDOW), LOGMEL_FFT, logmel_filters())


def frames_of(samples: Float32s, count: int) -> Float32s:
    """A view of `count` overlapping frames, (count, 400); nothing is copied."""
    step = samples.strides[0]
    return np.lib.stride_tricks.as_strided(samples, (count, WINDOW), (HOP * step, step), writeable=False)


# ---------------------------------------------------------------------------- logmel-64


class LogMelStream:
    """`logmel-64` frames of a signal that arrives in blocks.

    Equal for any cut into blocks. Call `push` with float32 samples in [-1, 1] at 16 kHz,
    then `finish` once for the frames that run past the end.

    Source: docs/spec.md, section 2. Two habits of the published extractor are kept, because
    published checkpoints expect them: the sample "before" a frame, for the pre-emphasis,
    is the last sample of the previous frame; and a frame that runs past the end of the
    signal is filled by repeating itself.
    """

    def __init__(self) -> None:
        self._samples = np.zeros(0, np.float32)  # from the first sample of the next frame on
        self._last_of_previous = 0.0  # raw value: the pre-emphasis "before" of the next frame
        self._seen = 0
        self._done = 0

    def push(self, samples: Float32s) -> Float32s:
        """float32 (n,) -> float32 (frames, 64), natural-log filterbank energies."""
        self._seen += len(samples)
        if len(samples):
            scaled = np.asarray(samples, np.float32) * np.float32(PCM_SCALE)
            self._samples = np.concatenate([self._samples, scaled]) if len(self._samples) else scaled
        count = max(0, (len(self._samples) - WINDOW) // HOP + 1)
        x = self._samples[: (count - 1) * HOP + WINDOW] if count else self._samples[:0]
        y = x.copy()
        y[1:] -= np.float32(PRE_EMPHASIS) * x[:-1]
        frames = self._take(frames_of(y, count), x[: -WINDOW + 1 : HOP], x[WINDOW - 1 :: HOP])
        if count:
            # copy(): a slice would keep the whole block alive
            self._samples = self._samples[count * HOP :].copy()
        return frames

    def finish(self) -> Float32s:
        """The last frames, float32 (frames, 64); floor(samples / 160 + 1) in all."""
        left = self._seen // HOP + 1 - self._done if self._seen else 0
        # numpy.resize of the published extractor: repeats the tail; an empty one gives zeros.
        x = np.array([np.resize(self._samples[i * HOP :], WINDOW) for i in range(left)], np.float32).reshape(-1, WINDOW)
        y = x.copy()
        y[:, 1:] -= np.float32(PRE_EMPHASIS) * x[:, :-1]
        self._samples = np.zeros(0, np.float32)
        return self._take(y, x[:, 0], x[:, -1])

    def _take(self, frames: Float32s, firsts: Float32s, lasts: Float32s) -> Float32s:
        """Log-mel of frames with pre-emphasis but for their first samples; of the raw ones, the first and the last."""
        if not len(frames):
            return np.zeros((0, LOGMEL_BINS), np.float32)
        before = np.concatenate([np.array([self._last_of_previous], np.float32), lasts[:-1]])
        before *= np.float32(PRE_EMPHASIS)
        self._last_of_previous = float(lasts[-1])
        self._done += len(frames)
        energies = _spectrum().energies(frames, firsts - before)
        np.maximum(energies, np.float32(LOGMEL_FLOOR), out=energies)
        return np.log(energies, out=energies)


def normalise_logmel(logmel: Float32s) -> Float32s:
    """Subtracts each mel bin's mean and divides by (its standard deviation + float32 epsilon).

    Args:
        logmel: float32, (frames, 64). Loudness is a constant added to every bin, so it is
            gone after this step.

    Returns:
        float32, (frames, 64).
    """
    # float32 sums of at most 1,024 frames are what the published extractor has for clips of
    # up to 10 s (for digital silence the rounding of this sum is all there is); float64
    # between them keeps the mean of an hour right.
    pieces = [logmel[i : i + 1024] for i in range(0, len(logmel), 1024)]
    sums = [piece.sum(axis=0) for piece in pieces]
    total = sums[0] if len(sums) == 1 else np.sum(sums, axis=0, dtype=np.float64)
    centred = logmel - (total / len(logmel)).astype(np.float32)
    offset = centred.mean(axis=0, dtype=np.float64)
    variance = np.zeros(logmel.shape[1])
    for i in range(0, len(logmel), 1024):
        variance += np.square(centred[i : i + 1024] - offset).sum(axis=0)
    centred /= (np.sqrt(variance / len(logmel)) + np.finfo(np.float32).eps).astype(np.float32)
    return centred


# ------------------------------------------------------------------------- whole signals


def logmel(samples: Float32s) -> Float32s:
    """`logmel-64` of a whole signal, before normalisation.

    Args:
        samples: float32, (n,), 16 kHz, in [-1, 1].

    Returns:
        float32, (floor(n / 160 + 1), 64), natural logarithm of filterbank energies.
    """
    stream = LogMelStream()
    return np.concatenate([stream.push(samples), stream.finish()])


def repeat_to(features: Float32s, frames: int) -> Float32s:
    """Repeats a clip from its start until it has `frames` frames; a longer one is left whole."""
    if len(features) >= frames:
        return features
    return np.tile(features, (-(-frames // len(features)), 1))[:frames]
