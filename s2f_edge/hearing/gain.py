"""The gain with which the voice detector hears: that of the speech, whenever it comes.

A recording is cut into stretches until one of them holds speech, whose gain then stays. Before, each has its own: what
is heard there is no speech, and neither its level nor its length matters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from s2f_edge.hearing.fbank import FbankStream
from s2f_edge.hearing.features import SAMPLE_RATE, Float32s
from s2f_edge.hearing.speech_gate import Windows
from s2f_edge.hearing.vad import QUIET_DBFS, SpeechFinder, find_speech, gain_of, level_of

UNIT = 10 * SAMPLE_RATE  # the level is looked at in stretches of 10 s
MOST_UNITS = 6  # what has been quiet for a minute is a quiet recording


class Stretch(NamedTuple):
    """A part of a recording whose gain is known.

    Attributes:
        gain: for the voice detector.
        sound: float32, (n,).
        rest: float32, (m,): what comes after it, of the sound that was given.
    """

    gain: float
    sound: Float32s
    rest: Float32s

    @property
    def last(self) -> Float32s:
        """The last second of its sound, to which the detector gets used before it hears the next stretch."""
        return self.sound[-SAMPLE_RATE:].copy()


class GainFinder:
    """Finds the gain with which a stretch is heard, and holds its sound until then.

    10 s of usual level, which most recordings begin with, give 1, also to what was quieter before them; where they are
    no speech, that is a stretch of its own. If none come in a minute, or before the end, the gain follows from all that
    was held.
    """

    def __init__(self) -> None:
        self._blocks: list[Float32s] = []
        self._length = 0
        self._unit = 0  # where the last one begins

    @property
    def held(self) -> Float32s:
        """All sound so far, float32 (n,)."""
        self._blocks = [np.concatenate([np.zeros(0, np.float32), *self._blocks])]
        return self._blocks[0]

    @property
    def room(self) -> int:
        """Samples until the gain may be known."""
        return self._unit + UNIT - self._length

    def push(self, samples: Float32s) -> Stretch | None:
        """Takes float32 (n,); gives the stretch once its gain is known."""
        while len(samples):
            # A copy: the caller may use its buffer again.
            taken, samples = np.array(samples[: self.room], np.float32), samples[self.room :]
            self._blocks.append(taken)
            self._length += len(taken)
            if self.room == 0:
                if level_of(self.held[self._unit :]) >= QUIET_DBFS:
                    return self._ended(samples)
                self._unit += UNIT
                if self._unit == MOST_UNITS * UNIT:
                    return Stretch(gain_of(level_of(self.held)), self.held, samples)
        return None

    def at_end(self) -> Stretch:
        """The stretch if no more sound comes."""
        # A last unit of usual level, however short, is no reason for a gain.
        if level_of(self.held[self._unit :]) >= QUIET_DBFS:
            return self._ended(np.zeros(0, np.float32))
        return Stretch(self.guess(), self.held, np.zeros(0, np.float32))

    def guess(self) -> float:
        """The gain that `at_end` is likely to give, at little cost."""
        return 1.0 if level_of(self.held[self._unit :]) >= QUIET_DBFS else gain_of(level_of(self.held))

    def _ended(self, rest: Float32s) -> Stretch:
        """With a unit of usual level: the gain is 1, unless that isn't speech and came after quiet sound."""
        quiet, loud = self.held[: self._unit], self.held[self._unit :]
        if not len(quiet) or _is_speech(loud):
            return Stretch(1.0, self.held, rest)
        return Stretch(gain_of(level_of(quiet)), quiet, np.concatenate([loud, rest]))


def _is_speech(samples: Float32s) -> bool:
    windows = Windows()
    windows.push(FbankStream().push(find_speech(samples).samples))
    windows.finish()
    return windows.kept.count > 0 and windows.kept.verdict()[1] == "speech"


class SpeechStream:
    """`SpeechFinder` for recordings of any level: quiet ones are made louder for the detector.

    Sound is held back until its gain is known, 10 s as a rule. The result does not depend on
    how the recording is cut into blocks.

    Args:
        speaks: says of the sound given so far whether there is speech in it, after which the gain stays. None: the
            first gain stays.
        gain: where it is known already: nothing is held back.
        after: what heard the recording until now.
        before: float32, (n,): the end of that, see `SpeechFinder`.
    """

    def __init__(
        self,
        speaks: Callable[[], bool] | None = None,
        gain: float | None = None,
        after: SpeechStream | None = None,
        before: Float32s | None = None,
    ) -> None:
        self._speaks = speaks or (lambda: True)
        self._given: int = after._given if after else 0  # samples
        self._segments = after.segments if after else np.zeros((0, 2), np.int64)  # by finders before
        self._finder = SpeechFinder(gain or 1.0, self._given, before)
        self._before = before
        self._gain = GainFinder() if gain is None else None  # None once the gain stays

    def push(self, samples: Float32s) -> Iterator[tuple[Float32s, Float32s]]:
        """Takes float32 (n,) and gives (samples, voiced samples among them), both of which may come later.

        `speaks` is asked when a pair has been worked on, so that pairs must be taken one after the other, and all.
        """
        while self._gain and (stretch := self._gain.push(samples)):
            yield self._heard(stretch)
            samples = stretch.rest
            self._gain = None if self._speaks() else GainFinder()
        if self._gain is None and len(samples):
            self._given += len(samples)
            yield samples, self._finder.push(samples)

    def finish(self) -> Iterator[tuple[Float32s, Float32s]]:
        """What is still held, in such pairs."""
        while self._gain:
            stretch = self._gain.at_end()
            yield self._heard(stretch)
            self._gain = None if self._speaks() or not len(stretch.rest) else GainFinder()
            if len(stretch.rest):
                yield from self.push(stretch.rest)

    def _heard(self, stretch: Stretch) -> tuple[Float32s, Float32s]:
        self._segments = self.segments
        self._finder = SpeechFinder(stretch.gain, self._given, self._before)
        self._given += len(stretch.sound)
        self._before = stretch.last
        return stretch.sound, self._finder.push(stretch.sound)

    @property
    def segments(self) -> NDArray[np.int64]:
        """int64, (k, 2): the segments so far, start and end in samples."""
        return np.concatenate([self._segments, self._finder.segments])
