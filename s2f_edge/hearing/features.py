"""Speech to features, in numpy alone.

Four kinds:

- `logmel-64`   the input of the GAN branch's voice network (SPEC section 2, Wen et al. 2019)
- `melpower-40` the input of the public GE2E speaker encoder (Wan et al. 2018, as in Resemblyzer)
- `mfcc`        thesis 2.1.4, for study and comparison
- `stft`        the input of the VAE branch's voice encoder (SPEC section 4, Oh et al. 2019)

A fifth, `fbank-80`, stands in `s2f_edge.hearing.fbank` and is made of the same parts.

Those that packs use come as streams: push blocks of any size, get frames back, so that
an hour of sound never has to be in memory at once. The spectrum is a matrix product, not
an FFT: a frame has 400 samples, half of them after folding (a window that is symmetric
about its centre lets cosines see only the even part of a frame and sines only the odd
part), and only the bins under the highest filter are needed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
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

MELPOWER_BINS = 40

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


def hz_slaney(mel: Any) -> Any:
    """Mel to Hz, Slaney's scale: linear below 1 kHz (200/3 Hz a mel), logarithmic above."""
    mel = np.asarray(mel, dtype=np.float64)
    return np.where(mel < 15.0, mel * (200.0 / 3.0), 1000.0 * np.exp((mel - 15.0) * (np.log(6.4) / 27.0)))


@lru_cache(maxsize=1)
def logmel_filters() -> NDArray[np.float64]:
    """The 64 triangles of the `logmel-64` features.

    Returns:
        float64, (bins, 64): weights of FFT bins 0 .. bins-1; the bins above 7,200 Hz,
        where every weight is zero, are left out.

    Source: SPEC section 2: edges equally spaced in mel from 20 to 7,200 Hz, rounded to the
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


# ------------------------------------------------------------------- folded power spectrum


@dataclass(frozen=True)
class FoldedSpectrum:
    """Power spectrum of 400-sample frames as two matrix products of half the length.

    For a window symmetric about `centre`, |X(k)|^2 = (even . cos)^2 + (odd . sin)^2 with
    even = x[centre + m] + x[centre - m] and odd = x[centre + m] - x[centre - m]: a shift of
    the time origin changes the phase, not the power. Half the work of a plain DFT product.
    """

    first: int  # index of the first sample that takes part (0, or 1 where the window starts with a zero)
    cosines: Float32s  # (half, bins), window applied
    sines: Float32s

    @classmethod
    def of(cls, window: NDArray[np.float64], fft_size: int, bins: int) -> FoldedSpectrum:
        """Builds the matrices for a window of even length.

        Args:
            window: float64, (400,): symmetric (w[i] == w[399 - i]) or periodic (w[0] == 0
                and w[i] == w[400 - i]).
        """
        size = len(window)
        periodic = window[0] == 0.0 and not np.isclose(window[-1], 0.0, atol=1e-12)
        first = 1 if periodic else 0
        half = (size - first + 1) // 2
        centre = first + (size - first - 1) / 2  # 199.5 symmetric, 200 periodic
        offsets = centre - (first + np.arange(half))  # distance of each pair from the centre
        angle = 2.0 * np.pi * np.outer(offsets, np.arange(bins)) / fft_size
        weights = window[first : first + half].copy()
        if periodic:
            weights[-1] *= 0.5  # the centre sample is paired with itself
        cosines = (weights[:, None] * np.cos(angle)).astype(np.float32)
        sines = (weights[:, None] * np.sin(angle)).astype(np.float32)
        return cls(first, cosines, sines)

    def power(self, frames: Float32s, firsts: Float32s | None = None) -> Float32s:
        """Power spectra of frames.

        Args:
            frames: float32, (n, 400).
            firsts: float32, (n,), taken in place of the first sample of each frame.

        Returns:
            float32, (n, bins).
        """
        half = len(self.cosines)
        rising = frames[:, self.first : self.first + half]
        falling = frames[:, : frames.shape[1] - half - 1 : -1]
        even, odd = rising + falling, rising - falling
        if firsts is not None:
            np.add(firsts, falling[:, 0], out=even[:, 0])
            np.subtract(firsts, falling[:, 0], out=odd[:, 0])
        real, imaginary = even @ self.cosines, odd @ self.sines
        np.square(real, out=real)
        np.square(imaginary, out=imaginary)
        real += imaginary
        return np.asarray(real, np.float32)


@lru_cache(maxsize=1)
def _logmel_tables() -> tuple[FoldedSpectrum, Float32s]:
    filters = logmel_filters()
    window = np.hamming(WINDOW)
    return FoldedSpectrum.of(window, LOGMEL_FFT, len(filters)), filters.astype(np.float32)


@lru_cache(maxsize=1)
def _melpower_tables() -> tuple[FoldedSpectrum, Float32s]:
    filters = melpower_filters()
    window = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(WINDOW) / WINDOW)
    return FoldedSpectrum.of(window, WINDOW, len(filters)), filters.astype(np.float32)


def frames_of(samples: Float32s, count: int) -> Float32s:
    """A view of `count` overlapping frames, (count, 400); nothing is copied."""
    step = samples.strides[0]
    return np.lib.stride_tricks.as_strided(samples, (count, WINDOW), (HOP * step, step), writeable=False)


# ---------------------------------------------------------------------------- logmel-64


class LogMelStream:
    """`logmel-64` frames of a signal that arrives in blocks.

    Equal for any cut into blocks. Call `push` with float32 samples in [-1, 1] at 16 kHz,
    then `finish` once for the frames that run past the end.

    Source: SPEC section 2. Two habits of the published extractor are kept, because
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
        frames = self._take(self._samples, count)
        if count:
            # copy(): a slice would keep the whole block alive
            self._samples = self._samples[count * HOP :].copy()
        return frames

    def finish(self) -> Float32s:
        """The last frames, float32 (frames, 64); floor(samples / 160 + 1) in all."""
        if self._seen == 0:
            return np.zeros((0, LOGMEL_BINS), np.float32)
        left = self._seen // HOP + 1 - self._done
        out = []
        for i in range(left):
            tail = self._samples[i * HOP :]
            # numpy.resize of the published extractor: repeats the tail; an empty one gives zeros.
            out.append(self._take(np.resize(tail, WINDOW).astype(np.float32), 1))
        self._samples = np.zeros(0, np.float32)
        return np.concatenate(out) if out else np.zeros((0, LOGMEL_BINS), np.float32)

    def _take(self, samples: Float32s, count: int) -> Float32s:
        """The first `count` frames of `samples` (in 16-bit range)."""
        spectrum, filters = _logmel_tables()
        out = np.empty((count, LOGMEL_BINS), np.float32)
        for start in range(0, count, CHUNK_FRAMES):
            n = min(CHUNK_FRAMES, count - start)
            x = samples[start * HOP : (start + n - 1) * HOP + WINDOW]
            y = np.empty_like(x)
            np.multiply(x[:-1], np.float32(-PRE_EMPHASIS), out=y[1:])
            y[1:] += x[1:]
            y[0] = x[0]
            frames = frames_of(y, n)
            before = np.empty(n, np.float32)
            before[0] = self._last_of_previous
            before[1:] = x[WINDOW - 1 : WINDOW - 1 + (n - 1) * HOP : HOP]
            firsts = x[: (n - 1) * HOP + 1 : HOP] - np.float32(PRE_EMPHASIS) * before
            self._last_of_previous = float(x[-1])
            energies = spectrum.power(frames, firsts) @ filters
            np.maximum(energies, np.float32(LOGMEL_FLOOR), out=energies)
            np.log(energies, out=out[start : start + n])
        self._done += count
        return out


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


# --------------------------------------------------------------------------- melpower-40


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
        spectrum, filters = _melpower_tables()
        out = np.empty((count, MELPOWER_BINS), np.float32)
        for start in range(0, count, CHUNK_FRAMES):
            n = min(CHUNK_FRAMES, count - start)
            frames = frames_of(self._samples[start * HOP :], n)
            np.matmul(spectrum.power(frames), filters, out=out[start : start + n])
        self._done += count
        return out


# ------------------------------------------------------------------------- whole signals


def _whole(stream: LogMelStream | MelPowerStream, samples: Float32s) -> Float32s:
    return np.concatenate([stream.push(samples), stream.finish()])


def logmel(samples: Float32s) -> Float32s:
    """`logmel-64` of a whole signal, before normalisation.

    Args:
        samples: float32, (n,), 16 kHz, in [-1, 1].

    Returns:
        float32, (floor(n / 160 + 1), 64), natural logarithm of filterbank energies.
    """
    return _whole(LogMelStream(), samples)


def melpower(samples: Float32s) -> Float32s:
    """`melpower-40` of a whole signal: float32 (n,) -> float32 (frames, 40), power."""
    return _whole(MelPowerStream(), samples)


def repeat_to(features: Float32s, frames: int) -> Float32s:
    """Repeats a clip from its start until it has `frames` frames; a longer one is left whole."""
    if len(features) >= frames:
        return features
    return np.tile(features, (-(-frames // len(features)), 1))[:frames]


STREAMS: dict[str, Callable[[], LogMelStream | MelPowerStream]] = {
    "logmel-64": LogMelStream,
    "melpower-40": MelPowerStream,
}


# --------------------------------------------------------------------------- mfcc, stft


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


STFT_FFT = 512
STFT_BINS = STFT_FFT // 2 + 1
STFT_SECONDS = 6.0


def stft(samples: Float32s) -> NDArray[np.complex64]:
    """Short-time Fourier transform, Hann window of 25 ms, hop 10 ms, FFT of 512 points.

    Args:
        samples: float32, (n,), 16 kHz; n is at least 400.

    Returns:
        complex64, (257, 1 + (n - 400) // 160); no padding, so 6 s give 598 frames.

    Source: SPEC section 4.
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

    Source: SPEC section 4; Oh et al. 2019, section 3.
    """
    return compressed(np.resize(np.asarray(samples, np.float32), int(STFT_SECONDS * SAMPLE_RATE)))


def compressed(samples: Float32s) -> Float32s:
    """The compressed STFT of sound of any length: float32 (n,) -> (2, 257, 1 + (n - 400) // 160)."""
    spectrum = stft(samples)
    parts = np.stack([spectrum.real, spectrum.imag])
    return (np.sign(parts) * np.abs(parts) ** np.float32(0.3)).astype(np.float32)
