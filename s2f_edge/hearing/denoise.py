"""Stationary noise reduction (thesis 2.1.2 and 3.2.2), an option that is off by default.

The default pack and the published checkpoints were trained without it, and the voice network of the default pack, which
was trained with noise, does better without it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from s2f_edge.hearing.features import SAMPLE_RATE, Float32s

FRAME = 512  # 32 ms
STEP = FRAME // 4
CHUNK = 2 * SAMPLE_RATE // STEP  # frames that are worked on at once: 2 s
QUIET_SHARE = 0.2  # of the frames, in each bin, are taken for noise
QUIET_BIAS = 2.0  # their mean power is about half that of the noise (exponential distribution, smoothed)
FLOOR = 10.0 ** (-12.0 / 20.0)  # no bin is lowered by more than 12 dB: less would ring
MEMORY = 0.7  # share of the noise estimate that is kept from chunk to chunk


class NoiseReducer:
    """Reduces stationary noise in a signal that arrives in blocks.

    Spectral subtraction: in every bin of a short-time spectrum, the power of the quietest
    fifth of the frames is the noise; each cell is scaled by the Wiener gain that follows,
    but not below -12 dB. The output is as long as the input, delayed by nothing; it does
    not depend on how the input is cut.

    Source: the method is Boll, "Suppression of acoustic noise in speech using spectral
    subtraction", IEEE Trans. ASSP 27(2), 1979, with a Wiener gain.
    """

    def __init__(self) -> None:
        self._window = np.sqrt(0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(FRAME) / FRAME))
        self._input = np.zeros(FRAME - STEP, np.float32)  # so that the first samples are in four frames too
        self._tail = np.zeros(FRAME - STEP)  # overlaps with frames to come
        self._noise: NDArray[np.float64] | None = None
        self._skip = FRAME - STEP
        self._owed = 0  # samples taken and not yet given

    def push(self, samples: Float32s) -> Float32s:
        """float32 (n,), 16 kHz -> float32 (m,), what is finished by now."""
        self._input = np.concatenate([self._input, samples])
        self._owed += len(samples)
        out = [np.zeros(0, np.float32)]
        while len(self._input) >= FRAME + (CHUNK - 1) * STEP:
            out.append(self._work(CHUNK))
        return self._given(np.concatenate(out))

    def finish(self) -> Float32s:
        """The rest, float32 (m,)."""
        if self._owed == 0:
            return np.zeros(0, np.float32)
        frames = -(-len(self._input) // STEP)
        self._input = np.concatenate([self._input, np.zeros(FRAME + frames * STEP, np.float32)])
        return self._given(self._work(frames))

    def _given(self, samples: Float32s) -> Float32s:
        kept = samples[self._skip :]
        self._skip -= len(samples) - len(kept)
        kept = kept[: self._owed]
        self._owed -= len(kept)
        return kept

    def _work(self, count: int) -> Float32s:
        """Takes `count` frames from the input and gives `count` steps of output."""
        frames = np.lib.stride_tricks.sliding_window_view(self._input, FRAME)[: count * STEP : STEP]
        spectrum = np.fft.rfft(frames * self._window)
        power = np.square(spectrum.real) + np.square(spectrum.imag)
        padded = np.pad(power, ((2, 2), (0, 0)), mode="edge")
        smooth = np.mean([padded[i : i + count] for i in range(5)], axis=0)
        quietest = np.sort(smooth, axis=0)[: max(1, int(QUIET_SHARE * count))].mean(axis=0) * QUIET_BIAS
        self._noise = quietest if self._noise is None else MEMORY * self._noise + (1.0 - MEMORY) * quietest
        gain = np.maximum(1.0 - self._noise / np.maximum(smooth, 1e-20), FLOOR)
        pieces = np.fft.irfft(spectrum * gain, FRAME) * self._window / 2.0  # four overlapping squared windows sum to 2
        out = np.zeros((count - 1) * STEP + FRAME)
        out[: len(self._tail)] = self._tail
        for i in range(4):  # frames 4 apart do not overlap
            part = pieces[i::4]
            out[i * STEP : i * STEP + part.size] += part.ravel()
        self._tail = out[count * STEP :]
        self._input = self._input[count * STEP :].copy()
        return out[: count * STEP].astype(np.float32)
