"""Sound that comes in blocks to what is known of it: speech, measurements, inputs of the voice network.

The recording is gone through once; of it, only features are kept.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from s2f_edge.clock import Clock
from s2f_edge.hearing.chosen import ChosenWindows, Window
from s2f_edge.hearing.denoise import NoiseReducer
from s2f_edge.hearing.features import Float32s
from s2f_edge.hearing.frontend import FRONT_ENDS, FrontEnd
from s2f_edge.hearing.gain import SpeechStream
from s2f_edge.hearing.levels import SECOND
from s2f_edge.hearing.quality import SpeechMeter, SpeechQuality
from s2f_edge.hearing.vad import parted


@dataclass(frozen=True)
class Heard:
    """What was heard of a recording.

    Attributes:
        quality: its measurements.
        windows: of its speech, as `ChosenWindows.inputs` gives them: once, and computed as they are taken.
        segments: int64, (k, 2): what the voice detector kept, start and end in samples at 16 kHz.
    """

    quality: SpeechQuality
    windows: Iterator[tuple[Float32s, Float32s]]
    segments: NDArray[np.int64]


class Listener:
    """Listens to one recording; the result does not depend on how it is cut into blocks.

    What the voice detector keeps goes to the front end at once, and is taken out again when the gate decides that a
    stretch of it is no speech.

    Args:
        features: the front end that the pack needs, a name in `FRONT_ENDS`.
        windows: the most that are heard of a recording; None hears all.
        gain: for the voice detector; None finds it, which holds sound back (see `SpeechStream`).
        denoise: lowers steady noise first.
        clock: takes the times of the stages denoise, vad, quality and features.

    Attributes:
        front_end: which has the features so far.
        chosen: the windows that it has given.
        heard, voiced: samples that have gone through the voice detector, and those that it kept.
    """

    def __init__(
        self,
        features: str,
        windows: int | None = None,
        *,
        gain: float | None = None,
        denoise: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self.front_end: FrontEnd = FRONT_ENDS[features]()
        self.chosen = ChosenWindows(windows, self.front_end.BATCH, self.front_end.CLEAR)
        self.heard = self.voiced = 0
        self._clock = clock or Clock()
        self._reducer = NoiseReducer() if denoise else None
        self._meter = SpeechMeter()
        self._decided = 0  # seconds of voiced sound
        self._stream = SpeechStream(self.speaks, gain)

    def push(self, samples: Float32s) -> None:
        """Takes the next samples: float32, (n,), mono, 16 kHz, in [-1, 1]."""
        if self._reducer:
            with self._clock("denoise"):
                samples = self._reducer.push(samples)
        self._take_all(self._stream.push(samples))

    def finish(self) -> Heard:
        """The result, once the recording has ended."""
        if self._reducer:
            with self._clock("denoise"):
                rest = self._reducer.finish()
            self._take_all(self._stream.push(rest))
        self._take_all(self._stream.finish())
        with self._clock("quality"):
            quality = self._meter.finish(self._stream.segments)
        segments, _ = parted(self._stream.segments, self._meter.left_out())
        with self._clock("features"):
            self._take_out(self._meter, self.front_end, at_end=True)
            self.chosen.take(self.front_end.committed())
        return Heard(quality, self.chosen.inputs(self.front_end.inputs()), segments)

    def speaks(self) -> bool:
        """Whether there is speech for certain in what was heard so far."""
        return self._meter.speaks()

    def so_far(self, *, final: bool) -> tuple[SpeechQuality, list[Window], Iterable[tuple[Float32s, Float32s]]]:
        """What `finish` would give if no more sound came; more can follow.

        Args:
            final: False takes the front end's preview for the sound after the windows that are committed.

        Returns:
            The measurements, the windows that are chosen, and what is heard besides, as `FrontEnd.inputs` gives it.
        """
        self._meter.flush()
        self._decide()
        if final:
            self._offer()
        meter, front_end, chosen = copy.deepcopy(self._meter), self.front_end, self.chosen
        quality = meter.finish(self._stream.segments)
        if final or not all(meter.marks[max(0, self._decided - 1) :]):
            front_end = copy.deepcopy(front_end)
            self._take_out(meter, front_end, at_end=True)
        if final:
            chosen = chosen.copy()
            chosen.take(front_end.committed())
        rest = front_end.inputs() if final else front_end.preview()
        return quality, chosen.chosen(), rest if chosen.all else ()

    def branch(self, gain: float, before: Float32s | None) -> Listener:
        """A listener that has heard the same, and goes on with another gain; arguments of `SpeechStream`."""
        other = copy.copy(self)
        other.front_end, other._meter = copy.deepcopy((self.front_end, self._meter))
        other.chosen = self.chosen.copy()
        other._stream = SpeechStream(gain=gain, after=self._stream, before=before)
        return other

    def take(self, samples: Float32s, voiced: Float32s) -> None:
        """Takes what a voice detector has heard, and what it kept of that."""
        self.heard += len(samples)
        self.voiced += len(voiced)
        with self._clock("features"):
            fbank = self.front_end.push(voiced) if len(voiced) else None
        with self._clock("quality"):
            self._meter.push(samples, voiced, fbank)
        with self._clock("features"):
            self._decide()
            self._offer()

    def _take_all(self, pairs: Iterator[tuple[Float32s, Float32s]]) -> None:
        while True:
            with self._clock("vad"):
                pair = next(pairs, None)
            if pair is None:
                return
            self.take(*pair)

    def _decide(self) -> None:
        self._take_out(self._meter, self.front_end)
        self._decided = len(self._meter.marks)

    def _offer(self) -> None:
        """The windows that nothing can be taken out of any more are there to be chosen."""
        self.chosen.take(self.front_end.committed(self._decided * SECOND))

    def _take_out(self, meter: SpeechMeter, front_end: FrontEnd, at_end: bool = False) -> None:
        """Takes what is newly decided to be no speech out of a front end; at the end, with all that follows it."""
        begins = self._decided
        for speech, run in groupby(meter.marks[begins:]):
            ends = begins + len(list(run))
            if not speech:
                front_end.cut(begins * SECOND, None if at_end and ends == len(meter.marks) else ends * SECOND)
            begins = ends
        if at_end and begins == self._decided and not all(meter.marks[-1:]):
            front_end.cut(begins * SECOND, None)
