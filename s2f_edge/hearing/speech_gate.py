"""The speech gate: is one second of sound speech, noise, a tone or music?

Statistics of the log-mel frames of a second that set speech apart (how fast bands rise and
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
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from s2f_edge.hearing.features import HOP, LOGMEL_BINS, SAMPLE_RATE, Float32s, repeat_to

Kind = Literal["speech", "silence", "noise", "tone", "music", "unclear"]
CLASSES: tuple[Kind, ...] = ("speech", "noise", "tone", "music")  # outputs of the network
WEIGHTS_FILE = Path(__file__).with_name("speech_gate.json")

WINDOW_FRAMES = 100  # 1 s: the shortest speech that is accepted, and several syllables
SPARE_FRAMES = 40  # at the end, this many frames beyond the last whole window make one more, which overlaps it
LEAST_FRAMES = 30  # fewer voiced frames are no basis; the whole recording is looked at instead
BATCH = 12  # windows per pass at most: their arrays stay in the cache
RANGE = 11.5  # nepers of power (50 dB) below the loudest cell; what is lower counts as silent
LOGIT_LIMIT = 6.0  # one second, however sure, cannot outvote many
ENOUGH_AGAINST = 5.0  # log odds that end a stretch of speech: a clear second; those of clean speech stay above 2
ENOUGH_FOR = 8.0  # that begin one: two clear seconds


# ------------------------------------------------------------------- statistics of a second


@lru_cache(maxsize=1)
def modulation_tables() -> tuple[Float32s, Float32s]:
    """Hann-windowed cosines and sines of 1 to 32 Hz, (100, 64), and their sums into 8 groups, (32, 8)."""
    hz = np.arange(1, 33)
    angle = 2.0 * np.pi * np.outer(np.arange(WINDOW_FRAMES), hz) * HOP / SAMPLE_RATE
    hann = 0.5 - 0.5 * np.cos(2.0 * np.pi * (np.arange(WINDOW_FRAMES) + 0.5) / WINDOW_FRAMES)
    waves = np.concatenate([np.cos(angle), np.sin(angle)], axis=1) * hann[:, None]
    edges = (1, 2, 3, 5, 7, 10, 15, 22, 33)
    groups = [(hz >= low) & (hz < high) for low, high in pairwise(edges)]
    return waves.astype(np.float32), np.array(groups, np.float32).T


@lru_cache(maxsize=1)
def fine_matrix() -> Float32s:
    """(64, 64): takes the mean of 7 neighbouring bins from each bin, which leaves lines and harmonics."""
    i = np.arange(LOGMEL_BINS)
    near = (np.abs(i[:, None] - i) <= 3).astype(np.float64)
    matrix: Float32s = (np.eye(LOGMEL_BINS) - near / near.sum(axis=0)).astype(np.float32)
    return matrix


@lru_cache(maxsize=1)
def band_matrix() -> Float32s:
    """(64, 8): takes the mean of every 8 bins."""
    matrix: Float32s = np.kron(np.eye(8), np.full((8, 1), 1 / 8)).astype(np.float32)
    return matrix


def _skew(x: Float32s) -> Float32s:
    """Skewness along axis 1."""
    centred = x - x.mean(axis=1, keepdims=True)
    squares = np.square(centred)
    spread: Float32s = squares.mean(axis=1) + np.float32(0.01)
    return np.asarray((squares * centred).mean(axis=1) / (spread * np.sqrt(spread)), np.float32)


def _over_time(x: Float32s) -> Float32s:
    """(n, frames, bins) -> (n, bins): the mean, as a matrix product, which is thrice as fast as `mean`."""
    mean: Float32s = np.full(x.shape[1], 1 / x.shape[1], np.float32) @ x
    return mean


_MIDDLE = np.array([np.arange(1, 31), np.arange(33, 63)])


def _parts(bins: Float32s, count: int) -> Float32s:
    """(n, 64) -> (n, count): the means of so many equal parts of the bins."""
    means: Float32s = bins.reshape(len(bins), count, -1).mean(axis=2)
    return means


def window_statistics(windows: Float32s) -> Float32s:
    """Statistics of windows of one second that set speech apart from other sound.

    Args:
        windows: float32, (n, 100, 64), natural-log mel energies.

    Returns:
        float32, (n, k). Loudness, a constant added to all cells, does not change them.
    """
    n = len(windows)
    x = windows - windows.max(axis=(1, 2), keepdims=True)
    np.maximum(x, np.float32(-RANGE), out=x)
    out: list[Any] = []

    # Eight bands of eight bins: spectrum, spread, skewness (speech: peaks in a floor).
    bands = x @ band_matrix()
    loud = bands.mean(axis=2)
    means = bands.mean(axis=1)
    centred = bands - means[:, None]
    spread = np.sqrt(np.square(centred).mean(axis=1))
    out += [means - means.mean(axis=1, keepdims=True), spread, _skew(bands)]

    # Modulation spectrum of four bands: syllables are at 2 to 8 Hz, music has its beat and steady notes.
    waves, groups = modulation_tables()
    pairs = (centred[:, :, 0::2] + centred[:, :, 1::2]).transpose(0, 2, 1) @ waves
    power = np.square(pairs[..., :32]) + np.square(pairs[..., 32:])
    share = power @ groups
    share = np.log(share / (share.sum(axis=2, keepdims=True) + np.float32(1.0)) + np.float32(1e-3))
    out.append(share.reshape(n, -1))

    # How far cells move in 10 to 320 ms, below and above 1.7 kHz.
    for lag in (1, 2, 4, 8, 16, 32):
        moved = x[:, lag:] - x[:, :-lag]
        out.append(_parts(_over_time(np.abs(moved, out=moved)), 2))
    # Plucked and struck sounds rise at once and fade slowly.
    for lag in (1, 4):
        moved = bands[:, lag:] - bands[:, :-lag]
        up, all_ = np.square(np.maximum(moved, 0)), np.square(moved)
        for part in (slice(0, 4), slice(4, 8)):
            out.append(up[..., part].sum(axis=(1, 2)) / (all_[..., part].sum(axis=(1, 2)) + np.float32(0.1)))

    # Lines and harmonics: how strong, how long they stand still, whether they glide.
    fine = x @ fine_matrix()
    squares, standing = _over_time(np.square(fine)), np.square(_over_time(fine))
    for energy, still in zip(_parts(squares, 4).T, _parts(standing, 4).T, strict=True):
        out += [np.sqrt(energy), still / (energy + np.float32(1e-3))]
    energy = _parts(squares, 2) + np.float32(1e-3)
    steady, gliding = [], []
    for lag in (1, 2, 4, 8, 16, 32):
        later, before = fine[:, lag:], fine[:, :-lag]
        same = _over_time(later * before)
        steady.append(_parts(same, 2) / energy)
        if lag in (4, 8):
            # Columns of the middle 30 bins of each half: with themselves, the bin above and the bin below.
            still = same[:, _MIDDLE].mean(axis=2)
            risen = _over_time(later[..., 1:] * before[..., :-1])[:, _MIDDLE].mean(axis=2)
            fallen = _over_time(later[..., :-1] * before[..., 1:])[:, _MIDDLE - 1].mean(axis=2)
            gliding.append((np.maximum(risen, fallen) - still) / energy)
    for half in range(2):
        out += [part[:, half] for part in (*steady, *gliding)]

    # Peakiness of single spectra, and how it changes between vowels, consonants and pauses.
    peak = x.max(axis=2) - x.mean(axis=2)
    flat = x.std(axis=2)
    out += [peak.mean(axis=1), peak.std(axis=1), flat.mean(axis=1), flat.std(axis=1)]
    # Balance of high and low: vowels against fricatives.
    tilt = bands[..., 5:].mean(axis=2) - bands[..., :3].mean(axis=2)
    out += [tilt.std(axis=1), _skew(tilt)]
    spans = np.sort(tilt, axis=1)
    out += [spans[:, 90] - spans[:, 50], spans[:, 50] - spans[:, 10]]
    # Distribution of loudness: pauses and closures.
    levels = np.sort(loud, axis=1)
    out += [levels[:, i] - levels[:, 50] for i in (2, 10, 25, 75, 90, 97)]
    # Do the bands rise and fall together?
    scaled = centred / (spread[:, None] + np.float32(0.1))
    together = scaled.transpose(0, 2, 1) @ scaled / np.float32(WINDOW_FRAMES)
    out += [np.diagonal(together, apart, 1, 2).mean(axis=1) for apart in range(1, 8)]
    return np.concatenate([part.reshape(n, -1) for part in out], axis=1).astype(np.float32)


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
        self._rest = np.zeros((0, LOGMEL_BINS), np.float32)  # not yet in a window
        self._before = self._rest  # the window before

    def push(self, frames: Float32s) -> None:
        """float32 (n, 64)."""
        self._rest = np.concatenate([self._rest, frames])
        whole = len(self._rest) // WINDOW_FRAMES
        if whole == 0:
            return
        self.whole = True
        end = whole * WINDOW_FRAMES
        self.judge(self._rest[:end].reshape(whole, WINDOW_FRAMES, LOGMEL_BINS))
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
        """float32 (n, 100, 64), at least one."""
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
