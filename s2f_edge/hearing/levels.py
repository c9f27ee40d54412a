"""Levels of a recording: of its frames of 10 ms around the speech, and of its speech."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2f_edge.hearing.features import HOP, SAMPLE_RATE, Float32s
from s2f_edge.hearing.speech_gate import WINDOW_FRAMES

LEVEL_FLOOR = -120.0  # dBFS
QUIETEST_SHARE = 0.10  # frames that are taken for background noise
QUIETEST_BIAS_DB = 2.0  # the quietest tenth of steady noise is 1 dB (white) to 3 dB (pink) below its mean
CLIP_LEVEL = 0.999
STEPS = int(10 - LEVEL_FLOOR)  # of 1 dB
PAUSE_FRAMES, BESIDE_FRAMES = 1000, 100  # a pause of up to 10 s belongs to the speech; of a longer one, a second
SECOND = WINDOW_FRAMES * HOP  # of voiced sound: what the gate decides on


class Levels:
    """Power and full-scale samples of 10 ms frames; DC is left out."""

    def __init__(self) -> None:
        self._rest = np.zeros(0, np.float32)
        self._powers = np.zeros(0, np.float32)
        self._clipped = np.zeros(0, np.uint8)

    def push(self, samples: Float32s) -> None:
        x = np.concatenate([self._rest, samples]) if len(self._rest) else samples
        count = len(x) // HOP
        frames = x[: count * HOP].reshape(count, HOP)
        centred = frames - frames.mean(axis=1, keepdims=True)
        power = np.einsum("ij,ij->i", centred, centred) / np.float32(HOP)
        self._powers = np.concatenate([self._powers, np.maximum(power, np.float32(1e-12))])
        clipped = np.zeros(count, np.uint8)
        if count and max(frames.max(), -frames.min()) >= CLIP_LEVEL:  # seldom, and counting takes much longer
            clipped = np.count_nonzero(np.abs(frames) >= CLIP_LEVEL, axis=1).astype(np.uint8)
        self._clipped = np.concatenate([self._clipped, clipped])
        self._rest = x[count * HOP :].copy()

    def all(self) -> Distribution:
        """The levels of the whole recording."""
        return self._of(np.ones(len(self._powers), bool))

    def around(self, speech: NDArray[np.int64], others: NDArray[np.int64]) -> Distribution:
        """The levels of the speech, its pauses of up to 10 s, and a second beside it in longer ones.

        Args:
            speech, others: int64, (k, 2): segments of speech, and what the voice detector kept besides, in samples.
        """
        count = len(self._powers)

        def inside(start: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[np.bool_]:
            changes = np.zeros(count + 1, np.int64)
            np.add.at(changes, np.clip(start, 0, count), 1)
            np.add.at(changes, np.clip(end, 0, count), -1)
            return np.cumsum(changes[:count]) > 0

        begins, ends = speech[:, 0] // HOP, -(-speech[:, 1] // HOP)
        pauses = np.stack([np.append(0, ends), np.append(begins, count)])
        pauses = pauses[:, pauses[1] - pauses[0] <= PAUSE_FRAMES]
        near = inside(begins - BESIDE_FRAMES, ends + BESIDE_FRAMES) | inside(*pauses)
        return self._of(near & ~inside(others[:, 0] // HOP, -(-others[:, 1] // HOP)))

    def _of(self, chosen: NDArray[np.bool_]) -> Distribution:
        powers = self._powers[chosen].astype(np.float64)
        step = np.clip((decibels(powers) - LEVEL_FLOOR).astype(np.int64), 0, STEPS - 1)
        rest = self._rest[: len(self._rest) if chosen[-1:].all() else 0]
        clipped = int(self._clipped[chosen].sum()) + int(np.count_nonzero(np.abs(rest) >= CLIP_LEVEL))
        return Distribution(
            np.bincount(step, minlength=STEPS),
            np.bincount(step, weights=powers, minlength=STEPS).astype(np.float64),
            clipped / max(1, len(powers) * HOP + len(rest)),
        )


@dataclass(frozen=True)
class Distribution:
    """How often each level occurs, in steps of 1 dB, and the sum of its powers; the share of samples at full scale."""

    counts: NDArray[np.int64]
    powers: NDArray[np.float64]
    clipped_share: float

    def peak(self) -> float:
        """Level that 1 % of the frames reach, dBFS."""
        above = np.cumsum(self.counts[::-1])
        if above[-1] == 0:
            return LEVEL_FLOOR
        return LEVEL_FLOOR + len(self.counts) - 1 - float(np.searchsorted(above, max(1.0, 0.01 * above[-1])))

    def background(self) -> float | None:
        """Power of the background, from the quietest tenth of the frames; None if less than 1 s was heard."""
        total = int(self.counts.sum())
        if total < SAMPLE_RATE // HOP:
            return None
        wanted = QUIETEST_SHARE * total
        taken = np.clip(wanted - (np.cumsum(self.counts) - self.counts), 0, self.counts)
        quietest = float((self.powers / np.maximum(self.counts, 1) * taken).sum() / wanted)
        return float(quietest * 10.0 ** (QUIETEST_BIAS_DB / 10.0))


class Power:
    """Mean power of samples without their DC; of each second, the sums are remembered."""

    def __init__(self) -> None:
        self.count = 0
        self._sums = np.zeros((0, 2))  # of samples and of their squares

    def push(self, samples: Float32s) -> None:
        begin = min(len(samples), -self.count % SECOND)  # up to there it belongs to the last second
        end = begin + (len(samples) - begin) // SECOND * SECOND
        if begin:
            self._sums[-1] += _sums(samples[:begin].reshape(1, 1, -1))[0]
        self._sums = np.concatenate(
            [self._sums, _sums(samples[begin:end].reshape(-1, WINDOW_FRAMES, HOP))]
            + [_sums(samples[end:].reshape(1, 1, -1))] * (end < len(samples))
        )
        self.count += len(samples)

    def without(self, spans: NDArray[np.int64]) -> tuple[int, float]:
        """Samples and their mean power, without stretches that begin and end with seconds, (k, 2) in samples."""
        count, (total, squares) = self.count, self._sums.sum(axis=0)
        for start, end in spans:
            count -= int(end - start)
            total, squares = (total, squares) - self._sums[start // SECOND : -(-end // SECOND)].sum(axis=0)
        return count, max(0.0, float(squares / count - (total / count) ** 2)) if count else 0.0


def _sums(pieces: Float32s) -> NDArray[np.float64]:
    """Of samples and of their squares: float32 (n, k, m) -> float64 (n, 2)."""
    sums = pieces @ np.ones(pieces.shape[2], np.float32), np.einsum("ijk,ijk->ij", pieces, pieces)
    return np.stack([each.sum(axis=1, dtype=np.float64) for each in sums], axis=1)


def decibels(power: Any) -> Any:
    return 10.0 * np.log10(np.maximum(power, 1e-12))
