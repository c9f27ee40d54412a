"""Voiced samples to the inputs of a voice network: features, level, normalisation, windows.

A front end takes voiced samples in blocks, keeps features only, and gives the network's
inputs at the end. Which one a pack needs stands in its manifest (`voice.features`).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import lru_cache
from typing import Protocol

import numpy as np

from s2f_edge.hearing.fbank import FBANK_BINS, FbankStream
from s2f_edge.hearing.features import HOP, LOGMEL_BINS, SAMPLE_RATE, Float32s, LogMelStream, normalise_logmel, repeat_to
from s2f_edge.hearing.melpower import MELPOWER_BINS, MelPowerStream
from s2f_edge.hearing.rows import Rows
from s2f_edge.hearing.stft import STFT_BINS, STFT_SECONDS, compressed_stft


class FrontEnd(Protocol):
    """The interface of a front end: voiced sound in, network inputs out.

    Attributes:
        BATCH: the most windows that `inputs` gives at a time.
        CLEAR: where the mean square of a window's features is as much, its speech is clear enough; 0: in all windows.
    """

    BATCH: int
    CLEAR: float

    def push(self, voiced: Float32s) -> Float32s | None:
        """Takes float32 (n,) voiced samples at 16 kHz; gives their `fbank-80` frames, None where it makes none."""

    def cut(self, start: int, end: int | None) -> None:
        """Takes sound out again: from one voiced sample to another, or all from one on.

        They are counted from the first that was pushed, are multiples of 160, and come after all that was cut or
        committed before.
        """

    def committed(self, until: int | None = None) -> Iterator[tuple[Float32s, Float32s]]:
        """Gives the windows that no later sound can change, each once; `inputs` then leaves them out.

        Args:
            until: the voiced sample before which nothing will be cut; None: nothing will be.
        """

    def preview(self) -> Iterator[tuple[Float32s, Float32s]]:
        """Gives what stands for the sound that is not committed, at little cost; more sound can follow."""

    def inputs(self) -> Iterator[tuple[Float32s, Float32s]]:
        """Gives (network input of n windows, float32 (n,) weight of each in the mean embedding); ends the sound.

        There is at least one window, unless all sound was committed.
        """


class LogMel64FrontEnd:
    """`logmel-64`: normalised over the clip, repeated to at least 10 s, float32 (1, 64, frames).

    A clip of up to 60 s is one window, as in docs/spec.md, section 2. A longer one is cut into equal
    windows of at most 60 s, whose embeddings are averaged by length, so that the network's
    memory does not grow with the clip.
    """

    MIN_FRAMES = 1000
    MAX_FRAMES = 6000
    BATCH = 1
    CLEAR = 0.0

    def __init__(self) -> None:
        self._stream = LogMelStream()
        self._frames = Rows(HOP, LOGMEL_BINS)

    def push(self, voiced: Float32s) -> None:
        self._frames.push(self._stream.push(voiced))

    def cut(self, start: int, end: int | None) -> None:
        self._frames.cut(start, end)

    def committed(self, until: int | None = None) -> Iterator[tuple[Float32s, Float32s]]:
        return iter(())  # the normalisation is over the whole clip

    def preview(self) -> Iterator[tuple[Float32s, Float32s]]:
        return copy.deepcopy(self).inputs()

    def inputs(self) -> Iterator[tuple[Float32s, Float32s]]:
        self._frames.push(self._stream.finish())
        logmel = self._frames.joined()
        self._frames.forget()
        features = repeat_to(normalise_logmel(logmel), self.MIN_FRAMES)
        for window in np.array_split(features, -(-len(features) // self.MAX_FRAMES)):
            yield np.ascontiguousarray(window.T)[None], np.array([len(window)], np.float32)


class HighPass:
    """Removes frequencies below 20 Hz: DC offset and rumble.

    y[n] = x[n] - m[n] with m[n] = a m[n-1] + (1 - a) x[n]: the mean of the last 8 ms, on which
    an offset is the same from the first sample on. The recursion runs once per 160 samples;
    inside them it is a matrix product. The result does not depend on how the signal is cut,
    but up to 159 samples are held back until `finish`.
    """

    CUTOFF_HZ = 20.0

    def __init__(self) -> None:
        self._means, self._fading = self._tables()
        self._mean: float | None = None
        self._rest = np.zeros(0, np.float32)

    @classmethod
    @lru_cache(maxsize=1)
    def _tables(cls) -> tuple[Float32s, Float32s]:
        """Weight of each sample in the mean at each later one, (160, 160), and of the mean before, (160,)."""
        keep = float(np.exp(-2.0 * np.pi * cls.CUTOFF_HZ / SAMPLE_RATE))
        age = np.arange(HOP)[:, None] - np.arange(HOP)
        weights = np.where(age >= 0, (1.0 - keep) * keep ** np.maximum(age, 0), 0.0)
        return weights.T.astype(np.float32), (keep ** np.arange(1, HOP + 1)).astype(np.float32)

    def push(self, samples: Float32s) -> Float32s:
        """float32 (n,) -> float32 (m,)."""
        x = np.concatenate([self._rest, samples])
        count = len(x) // HOP
        self._rest = x[count * HOP :].copy()
        return self._filtered(x[: count * HOP].reshape(count, HOP))

    def finish(self) -> Float32s:
        """The rest, float32 (m,)."""
        length = len(self._rest)
        padded = np.concatenate([self._rest, np.zeros(-length % HOP, np.float32)])
        self._rest = np.zeros(0, np.float32)
        return self._filtered(padded.reshape(-1, HOP))[:length]

    def _filtered(self, pieces: Float32s) -> Float32s:
        """float32 (count, 160) -> float32 (count * 160,)."""
        if not len(pieces):
            return np.zeros(0, np.float32)
        mean = float(pieces[0, 0]) if self._mean is None else self._mean
        own = pieces @ self._means
        before = np.empty(len(pieces), np.float32)
        for i, last in enumerate(own[:, -1].tolist()):
            before[i] = mean
            mean = mean * float(self._fading[-1]) + last
        self._mean = mean
        return np.asarray(pieces - own - before[:, None] * self._fading, np.float32).reshape(-1)


class MelPower40FrontEnd:
    """`melpower-40`: brought to one loudness, in windows of 1.6 s, float32 (windows, 160, 40).

    A constant offset is taken away first: it leaks into the lowest bands and would change the
    loudness, and with it the voice. The power spectrum is quadratic in the samples, so the
    loudness of the whole clip is set after the features are computed: one factor for all.
    Windows start every 0.77 s; the last one may run past the end by a quarter (it sees zeros there), as in Resemblyzer.
    """

    LOUDNESS_DBFS = -30.0
    WINDOW_FRAMES = 160
    STEP_FRAMES = 77
    MIN_COVERAGE = 0.75
    BATCH = 64
    CLEAR = 0.0

    def __init__(self) -> None:
        self._high_pass = HighPass()
        self._stream = MelPowerStream()
        self._frames = Rows(HOP, MELPOWER_BINS)
        self._energies = Rows(HOP)

    def push(self, voiced: Float32s) -> None:
        self._take(self._high_pass.push(voiced))

    def _take(self, samples: Float32s) -> None:
        self._frames.push(self._stream.push(samples))
        pieces = np.pad(samples, (0, -len(samples) % HOP)).reshape(-1, HOP)
        self._energies.push(np.einsum("ij,ij->i", pieces, pieces))

    def cut(self, start: int, end: int | None) -> None:
        self._frames.cut(start, end)
        self._energies.cut(start, end)

    def committed(self, until: int | None = None) -> Iterator[tuple[Float32s, Float32s]]:
        return iter(())  # the loudness is the whole clip's

    def preview(self) -> Iterator[tuple[Float32s, Float32s]]:
        return copy.deepcopy(self).inputs()

    def inputs(self) -> Iterator[tuple[Float32s, Float32s]]:
        whole, rest = len(self._energies), self._high_pass.finish()
        self._take(rest)
        self._frames.push(self._stream.finish())
        samples = whole * HOP + (len(rest) if len(self._energies) > whole else 0)
        energy = float(self._energies.joined().sum(dtype=np.float64))
        padding = np.zeros((self.WINDOW_FRAMES, MELPOWER_BINS), np.float32)
        mel = np.concatenate([self._frames.joined(), padding])
        self._frames.forget()
        mel *= np.float32(10.0 ** (self.LOUDNESS_DBFS / 10.0) * samples / max(energy, 1e-20))
        starts = self._starts(samples)
        windows = np.lib.stride_tricks.sliding_window_view(mel, self.WINDOW_FRAMES, axis=0)
        for i in range(0, len(starts), self.BATCH):
            batch = windows[starts[i : i + self.BATCH]].transpose(0, 2, 1)
            yield np.ascontiguousarray(batch), np.ones(len(batch), np.float32)

    def _starts(self, samples: int) -> list[int]:
        frames = samples * 100 // SAMPLE_RATE + 1
        starts = list(range(0, max(1, frames - self.WINDOW_FRAMES + self.STEP_FRAMES + 1), self.STEP_FRAMES))
        covered = samples - starts[-1] * HOP
        if len(starts) > 1 and covered < self.MIN_COVERAGE * self.WINDOW_FRAMES * HOP:
            starts.pop()
        return starts


class Fbank80FrontEnd:
    """`fbank-80`: in windows of 2 s, each without its own mean, float32 (windows, 200, 80).

    The windows stand side by side; the last one ends with the clip and overlaps its neighbour. A clip shorter than a
    window is repeated; without any sample there is one window, of zeros. The level of the clip cancels out with the
    mean, since a gain adds one number to every logarithm; only digital silence, which is at the features' floor,
    stays where it is.
    """

    WINDOW_FRAMES = 200
    PREVIEW_FRAMES = (50, 125)  # of a preview: less says nothing that committed windows do not, more takes too long
    CLEAR = 1.5  # steady noise has 0.6, a voice as loud as the noise around it 2 to 4, a clear one 15
    BATCH = 8  # windows: with 32, a recording of two minutes takes as long and 210 MiB more

    def __init__(self) -> None:
        self._stream = FbankStream()
        self._frames = Rows(HOP, FBANK_BINS)  # all, or those from the last window that `committed` gave on
        self._next = 0  # where among them the next window starts

    def push(self, voiced: Float32s) -> Float32s:
        frames = self._stream.push(voiced)
        self._frames.push(frames)
        return frames

    def cut(self, start: int, end: int | None) -> None:
        self._frames.cut(start, end)

    def committed(self, until: int | None = None) -> Iterator[tuple[Float32s, Float32s]]:
        starts = _full(self._frames, self._next, self.WINDOW_FRAMES, until)
        if not starts:
            return iter(())
        fbank = self._frames.joined()
        self._next = self.WINDOW_FRAMES
        self._frames.forget(starts[-1])
        return self._windows(fbank, starts)

    def preview(self) -> Iterator[tuple[Float32s, Float32s]]:
        """One window of what is not committed, shorter than the others, which weighs as much as it is long.

        Such embeddings are as near to the whole clip's as those of `inputs`, and on average cost half as much.
        """
        fbank = self._frames.joined()[self._next :]
        if len(fbank) >= self.PREVIEW_FRAMES[0] or not self._next:
            window = fbank[-self.PREVIEW_FRAMES[1] :] if len(fbank) else np.zeros((1, FBANK_BINS), np.float32)
            yield (window - window.mean(axis=0))[None], np.array([len(window) / self.WINDOW_FRAMES], np.float32)

    def inputs(self) -> Iterator[tuple[Float32s, Float32s]]:
        self._frames.push(self._stream.finish())
        fbank = self._frames.joined()
        self._frames.forget()
        fbank = repeat_to(fbank if len(fbank) else np.zeros((1, FBANK_BINS), np.float32), self.WINDOW_FRAMES)
        return self._windows(fbank, _all(len(fbank), self._next, self.WINDOW_FRAMES))

    def _windows(self, fbank: Float32s, starts: list[int]) -> Iterator[tuple[Float32s, Float32s]]:
        for i in range(0, len(starts), self.BATCH):
            batch = np.stack([fbank[start : start + self.WINDOW_FRAMES] for start in starts[i : i + self.BATCH]])
            batch -= batch.mean(axis=1, keepdims=True)
            yield batch, np.ones(len(batch), np.float32)


class Stft257FrontEnd:
    """`stft-257`: complex spectra under a power law, in windows of 6 s, float32 (windows, 2, 257, 598).

    As `fbank-80`: windows side by side, the last one ends with the clip and overlaps its neighbour; a shorter clip is
    repeated (docs/spec.md, section 2).
    """

    WINDOW = int(STFT_SECONDS * SAMPLE_RATE)
    BATCH = 1
    CLEAR = 0.0

    def __init__(self) -> None:
        self._samples = Rows(1)  # all, or those from the last window that `committed` gave on
        self._next = 0  # where among them the next window starts

    def push(self, voiced: Float32s) -> None:
        self._samples.push(voiced)

    def cut(self, start: int, end: int | None) -> None:
        self._samples.cut(start, end)

    def committed(self, until: int | None = None) -> Iterator[tuple[Float32s, Float32s]]:
        starts = _full(self._samples, self._next, self.WINDOW, until)
        if not starts:
            return iter(())
        sound = self._samples.joined()
        self._next = self.WINDOW
        self._samples.forget(starts[-1])
        return self._windows(sound, starts)

    def preview(self) -> Iterator[tuple[Float32s, Float32s]]:
        return copy.deepcopy(self).inputs()

    def inputs(self) -> Iterator[tuple[Float32s, Float32s]]:
        sound = self._samples.joined()
        self._samples.forget()
        return self._windows(sound, _all(len(sound), self._next, self.WINDOW))

    def _windows(self, sound: Float32s, starts: list[int]) -> Iterator[tuple[Float32s, Float32s]]:
        for start in starts:
            window = sound[start : start + self.WINDOW]
            spectra = compressed_stft(window if len(window) else np.zeros(1, np.float32))
            yield np.ascontiguousarray(spectra[None]), np.ones(1, np.float32)


def _full(rows: Rows, start: int, length: int, until: int | None) -> list[int]:
    """Where windows begin that end before a voiced sample."""
    end = len(rows) if until is None else min(len(rows), rows.at(until))
    return list(range(start, end - length + 1, length))


def _all(count: int, start: int, length: int) -> list[int]:
    """Where windows of so many rows begin, from one row on: the last one ends with the rows, if any are left."""
    last = max(0, count - length)
    return [*range(start, last, length), last] if count > start or not start else []


# What a manifest may name, with the shape of the network's input (None: any length).
FRONT_ENDS: dict[
    str, type[LogMel64FrontEnd] | type[MelPower40FrontEnd] | type[Fbank80FrontEnd] | type[Stft257FrontEnd]
] = {
    "logmel-64": LogMel64FrontEnd,
    "melpower-40": MelPower40FrontEnd,
    "fbank-80": Fbank80FrontEnd,
    "stft-257": Stft257FrontEnd,
}
INPUT_SHAPES: dict[str, tuple[int | None, ...]] = {
    "logmel-64": (None, LOGMEL_BINS, None),
    "melpower-40": (None, None, MELPOWER_BINS),
    "fbank-80": (None, None, FBANK_BINS),
    "stft-257": (None, 2, STFT_BINS, None),
}
