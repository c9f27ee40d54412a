"""The speech gate: is one second of sound speech, noise, a tone or music?

Statistics of the `fbank-80` frames of a second that set speech apart (how fast bands rise and
fall, how long spectral lines stand still, how much consonants and vowels alternate, ...) go
through a small network, fitted by s2f_train/gate/fit.py; its weights are in
speech_gate.json. The log odds of all seconds of a recording are averaged.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from s2f_edge.hearing.fbank import FBANK_BINS
from s2f_edge.hearing.features import HOP, SAMPLE_RATE, Float32s, repeat_to

Kind = Literal["speech", "silence", "noise", "tone", "music", "unclear"]
CLASSES: tuple[Kind, ...] = ("speech", "noise", "tone", "music")  # outputs of the network
WEIGHTS_FILE = Path(__file__).with_name("speech_gate.json")

WINDOW_FRAMES = 100  # 1 s: the shortest speech that is accepted, and several syllables
SPARE_FRAMES = 40  # at the end, this many frames beyond the last whole window make one more, which overlaps it
LEAST_FRAMES = 30  # fewer voiced frames are no basis; the whole recording is looked at instead
BATCH = 12  # windows per pass at most: their arrays stay in the cache
LOWEST_BIN, BINS = 2, 72  # 66 to 6,530 Hz: below is rumble, and what is above many codecs cut
BANDS = 8  # of so many bins each
RANGE = 11.5  # nepers of power (50 dB) below the loudest cell; what is lower counts as silent
LAGS = (1, 2, 4, 8, 16, 32)  # frames: 10 to 320 ms
RISES, GLIDES = (1, 4), (4, 8)  # those over which bands rise, and lines glide
RANKS, MEDIAN = (2, 10, 25, 75, 90, 97), 50  # of sorted frames
LOGIT_LIMIT = 6.0  # one second, however sure, cannot outvote many
ENOUGH_AGAINST = 5.0  # log odds that end a stretch of speech: a clear second; those of clean speech stay above 2
ENOUGH_FOR = 8.0  # that begin one: two clear seconds


# ------------------------------------------------------------------- statistics of a second


class Tables(NamedTuple):
    """Matrices of the statistics, float32; for modulation frequencies of 1 to 32 Hz.

    Attributes:
        columns: (72, 10), takes 8 bands, their balance of high and low, and loudness from the bins.
        waves: (64, 100), Hann-windowed cosines and sines.
        groups: (8, 32), sums frequencies up.
        fine: (72, 72), takes the mean of 7 neighbouring bins from each bin, which leaves lines and harmonics.
        halves, quarters: (72, 2) and (72, 4), means of the bins.
        middle, above, below: (72, 2), (71, 2), (71, 2), means of the middle 34 bins of each half; of pairs of bins, of
            those that are the lower and the upper one.
        apart: (64, 7), means of the diagonals above the first of an (8, 8) matrix.
    """

    columns: Float32s
    waves: Float32s
    groups: Float32s
    fine: Float32s
    halves: Float32s
    quarters: Float32s
    middle: Float32s
    above: Float32s
    below: Float32s
    apart: Float32s


@lru_cache(maxsize=1)
def tables() -> Tables:
    """All of them."""
    bands = _means(BANDS)
    tilt = np.array([-1, -1, -1, 0, 0, 1, 1, 1]) / 3
    columns = np.concatenate([bands, (bands @ tilt)[:, None], bands.mean(axis=1, keepdims=True)], axis=1)
    hz, frames = np.arange(1, 33), np.arange(WINDOW_FRAMES)
    angle = 2.0 * np.pi * np.outer(hz, frames) * HOP / SAMPLE_RATE
    hann = 0.5 - 0.5 * np.cos(2.0 * np.pi * (frames + 0.5) / WINDOW_FRAMES)
    waves = np.concatenate([np.cos(angle), np.sin(angle)]) * hann
    groups = [(hz >= low) & (hz < high) for low, high in pairwise((1, 2, 3, 5, 7, 10, 15, 22, 33))]
    i = np.arange(BINS)
    near = (np.abs(i[:, None] - i) <= 3).astype(np.float64)
    inner = (i % (BINS // 2) != 0) & (i % (BINS // 2) != BINS // 2 - 1)
    middle = _means(2) * inner[:, None]
    middle /= middle.sum(axis=0)
    apart = np.stack([np.eye(BANDS, k=k).ravel() / (BANDS - k) for k in range(1, BANDS)], axis=1)
    made = (columns, waves, np.array(groups), np.eye(BINS) - near / near.sum(axis=0), _means(2), _means(4))
    return Tables(*(np.asarray(each, np.float32) for each in (*made, middle, middle[:-1], middle[1:], apart)))


def _means(count: int) -> NDArray[np.float64]:
    """(72, count): takes the mean of so many equal parts of the bins."""
    return np.kron(np.eye(count), np.full((BINS // count, 1), count / BINS))


@lru_cache(maxsize=32)
def _mean_of(count: int) -> Float32s:
    """(count,): takes a mean, as a matrix product, which is thrice as fast as `mean`."""
    return np.full(count, 1 / count, np.float32)


def window_statistics(windows: Float32s) -> Float32s:
    """Statistics of windows of one second that set speech apart from other sound.

    Args:
        windows: float32, (n, 100, 80), `fbank-80` frames.

    Returns:
        float32, (n, k). Loudness, a constant added to all cells, does not change them.
    """
    n = len(windows)
    x = np.ascontiguousarray(windows[..., LOWEST_BIN : LOWEST_BIN + BINS])
    x -= x.reshape(n, -1).max(axis=1)[:, None, None]
    np.maximum(x, np.float32(-RANGE), out=x)
    return np.concatenate([part.reshape(n, -1) for part in (*_of_bands(x), *_of_cells(x))], axis=1)


def _of_bands(x: Float32s) -> list[Float32s]:
    """Statistics of spectra in few numbers: (n, 100, 72) -> (n, ...) each."""
    table, small = tables(), np.float32(1e-3)
    # Eight bands, balance of vowels and fricatives, loudness, peakiness, and root mean square of single spectra.
    columns = np.empty((*x.shape[:2], 12), np.float32)
    columns[..., :10] = x @ table.columns
    np.subtract(x.max(axis=2), columns[..., 9], out=columns[..., 10])
    columns[..., 11] = np.sqrt(np.square(x) @ _mean_of(BINS))
    out: list[Any] = []
    # Plucked and struck sounds rise at once and fade slowly.
    for lag in RISES:
        moved = columns[:, lag:, :BANDS] - columns[:, :-lag, :BANDS]
        squares, mean = np.square(moved), _mean_of(WINDOW_FRAMES - lag)
        up = mean @ np.multiply(np.maximum(moved, 0), moved, out=moved)
        up, all_ = up.reshape(-1, 2, 4).sum(axis=2), (mean @ squares).reshape(-1, 2, 4).sum(axis=2)
        out.append(up / (all_ + small))
    # Distribution of balance and loudness: pauses and closures.
    ranked = np.sort(columns[..., 8:10], axis=1)
    out.append(ranked[:, RANKS] - ranked[:, MEDIAN, None])
    # Spectrum, spread, skewness (speech: peaks in a floor).
    over_time = _mean_of(WINDOW_FRAMES)
    means = over_time @ columns
    columns -= means[:, None]
    squares = np.square(columns)
    variance = over_time @ squares
    spread = np.sqrt(variance)
    variance += np.float32(0.01)
    skewness = (over_time @ (squares * columns)) / (variance * np.sqrt(variance))
    out += [means[:, :8] - means[:, 9:10], means[:, 10:], spread, skewness]
    # Modulation spectrum of four bands: syllables are at 2 to 8 Hz, music has its beat and steady notes.
    bands = columns[..., :BANDS]
    waves = np.square(table.waves @ (bands[..., 0::2] + bands[..., 1::2]))
    share = table.groups @ (waves[:, :32] + waves[:, 32:])
    out.append(np.log(share / (share.sum(axis=1, keepdims=True) + np.float32(1.0)) + small))
    # Do the bands rise and fall together?
    scaled = bands / (spread[:, None, :BANDS] + np.float32(0.1))
    together = scaled.transpose(0, 2, 1) @ scaled
    out.append(together.reshape(-1, BANDS * BANDS) @ table.apart / np.float32(WINDOW_FRAMES))
    return out


def _of_cells(x: Float32s) -> list[Float32s]:
    """How cells move, and lines and harmonics: (n, 100, 72) -> (n, ...) each."""
    table, small = tables(), np.float32(1e-3)
    fine = x @ table.fine
    means = np.empty((len(x), 2 + 2 * len(LAGS), BINS), np.float32)
    over_time = _mean_of(WINDOW_FRAMES)
    np.matmul(over_time, np.square(fine), out=means[:, 0])
    np.square(over_time @ fine, out=means[:, 1])
    gliding = []
    for i, lag in enumerate(LAGS):
        mean = _mean_of(WINDOW_FRAMES - lag)
        moved = x[:, lag:] - x[:, :-lag]
        np.matmul(mean, np.abs(moved, out=moved), out=means[:, 2 + 2 * i])
        later, before = fine[:, lag:], fine[:, :-lag]
        np.matmul(mean, np.multiply(later, before, out=moved), out=means[:, 3 + 2 * i])
        if lag in GLIDES:
            risen = mean @ (later[..., 1:] * before[..., :-1]) @ table.above
            fallen = mean @ (later[..., :-1] * before[..., 1:]) @ table.below
            gliding.append(np.maximum(risen, fallen) - means[:, 3 + 2 * i] @ table.middle)
    halves, quarters = means @ table.halves, means[:, :2] @ table.quarters
    energy = halves[:, :1] + small
    return [
        np.sqrt(quarters[:, 0]),  # how strong lines are,
        quarters[:, 1] / (quarters[:, 0] + small),  # how long they stand still,
        halves[:, 3::2] / energy,
        np.stack(gliding, axis=1) / energy,  # and whether they glide
        halves[:, 2::2],
    ]


@dataclass(frozen=True)
class SpeechGate:
    """The fitted network: standardise, one hidden layer, log probabilities of `CLASSES`.

    Attributes:
        mean, scale: float32, (k,).
        layers: weight (in, out) and bias (out,) of each layer, float32.
        offset: subtracted from the speech log odds, so that 0 is where the clip is refused.
    """

    mean: Float32s
    scale: Float32s
    layers: tuple[tuple[Float32s, Float32s], ...]
    offset: float

    @classmethod
    @lru_cache(maxsize=1)
    def load(cls) -> SpeechGate:
        data = json.loads(WEIGHTS_FILE.read_text("utf-8"))
        layers = tuple((np.array(w, np.float32), np.array(b, np.float32)) for w, b in data["layers"])
        return cls(np.array(data["mean"], np.float32), np.array(data["scale"], np.float32), layers, data["offset"])

    def log_probabilities(self, statistics: Float32s) -> NDArray[np.float64]:
        """float32 (n, k) -> float64 (n, 4)."""
        # Limits: outside of what was fitted, the network must not run away.
        x = np.clip((statistics - self.mean) / self.scale, -4.0, 4.0)
        for i, (weight, bias) in enumerate(self.layers):
            x = x @ weight + bias
            if i + 1 < len(self.layers):
                x = np.maximum(x, 0.0)
        logits = x.astype(np.float64)
        logits -= logits.max(axis=1, keepdims=True)
        result: NDArray[np.float64] = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return result


def speech_odds(log_probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log odds of speech of each window, limited: float64 (n, 4) -> float64 (n,)."""
    others = np.log(np.exp(log_probabilities[:, 1:]).sum(axis=1) + 1e-12)
    return np.asarray(np.clip(log_probabilities[:, 0] - others, -LOGIT_LIMIT, LOGIT_LIMIT), np.float64)


class Tally:
    """The sum of what the gate says about windows."""

    def __init__(self) -> None:
        self.count = 0
        self._odds = 0.0
        self._classes = np.zeros(len(CLASSES))

    def add(self, odds: float, classes: NDArray[np.float64]) -> None:
        """The log odds of speech of a window, and its limited log probabilities, float64 (4,)."""
        self.count += 1
        self._odds += odds
        self._classes += classes

    def verdict(self) -> tuple[float, Kind]:
        """Probability of speech and kind; needs at least one window."""
        probability = float(1.0 / (1.0 + np.exp(SpeechGate.load().offset - self._odds / self.count)))
        if probability >= 0.5:
            return probability, "speech"
        others = np.exp(self._classes[1:] / self.count - (self._classes[1:] / self.count).max())
        best = int(np.argmax(others))
        return probability, CLASSES[1 + best] if others[best] / others.sum() >= 0.5 else "unclear"


class Windows:
    """Cuts frames into windows, sums up what the gate says about them, and finds stretches that are no speech.

    Log odds are added up until they are enough for the other kind of stretch, and anew from each window that speaks
    clearly for the present one: Page's test (Biometrika 41, 1954). A stretch begins where its evidence began. What is
    never decided counts as speech at the beginning and as a part of the stretch before it later, so that a recording of
    one kind is one stretch.

    Attributes:
        all, kept: tallies of all windows, and of those in stretches of speech.
        marks: of each window that is decided: is it speech?
        whole: has there been a window that did not have to be filled by repetition?
    """

    def __init__(self) -> None:
        self.all, self.kept = Tally(), Tally()
        self.marks: list[bool] = []
        self.whole = False
        self._speech: bool | None = None  # the present stretch; None until the first is decided
        self._evidence = 0.0
        self._open: list[tuple[float, NDArray[np.float64]]] = []  # windows that are not decided
        self._rest = np.zeros((0, FBANK_BINS), np.float32)  # not yet in a window
        self._before = self._rest  # the window before

    def push(self, frames: Float32s) -> None:
        """float32 (n, 80)."""
        self._rest = np.concatenate([self._rest, frames]) if len(self._rest) else frames
        whole = len(self._rest) // WINDOW_FRAMES
        if whole == 0:
            self._rest = self._rest.copy()
            return
        self.whole = True
        end = whole * WINDOW_FRAMES
        self.judge(self._rest[:end].reshape(whole, WINDOW_FRAMES, FBANK_BINS))
        # copies: slices would keep whole blocks alive
        self._before, self._rest = self._rest[end - WINDOW_FRAMES : end].copy(), self._rest[end:].copy()

    def finish(self) -> None:
        """Judges what is left, with frames of the window before, or repeated where there is none; decides all."""
        if len(self._before) and len(self._rest) >= SPARE_FRAMES:
            self.judge(np.concatenate([self._before, self._rest])[None, -WINDOW_FRAMES:])
        elif not len(self._before) and len(self._rest) >= LEAST_FRAMES:
            self.judge(repeat_to(self._rest, WINDOW_FRAMES)[None, :WINDOW_FRAMES])
        # Where all together is speech, there is some in it: at the end, which was too short to be decided.
        missed = self.all.count > 0 and not self.kept.count and self.all.verdict()[1] == "speech"
        self._decide(self._speech is not False or missed)

    def judge(self, windows: Float32s) -> None:
        """float32 (n, 100, 80), at least one."""
        gate = SpeechGate.load()
        for some in np.array_split(windows, -(-len(windows) // BATCH)):
            logs = gate.log_probabilities(window_statistics(some))
            limited = np.maximum(logs, -2 * LOGIT_LIMIT)
            for odds, classes in zip(speech_odds(logs).tolist(), limited, strict=True):
                self.all.add(odds, classes)
                self._open.append((odds, classes))
                self._weigh(odds - gate.offset)

    def _weigh(self, odds: float) -> None:
        self._evidence += odds
        if self._speech is not False and self._evidence <= -ENOUGH_AGAINST:
            self._decide(False)
        elif self._speech is not True and self._evidence >= ENOUGH_FOR:
            self._decide(True)
        elif self._speech is not None and (self._evidence >= 0.0) == self._speech:
            self._decide(self._speech)

    def _decide(self, speech: bool) -> None:
        self.marks += [speech] * len(self._open)
        for odds, classes in self._open if speech else []:
            self.kept.add(odds, classes)
        self._speech, self._evidence, self._open = speech, 0.0, []
