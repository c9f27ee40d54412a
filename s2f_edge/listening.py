"""Sound that comes in blocks to what is known of it: speech, measurements, inputs of the voice network.

The recording is gone through once; of it, only features are kept.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from s2f_edge.clock import Clock
from s2f_edge.hearing.chosen import ChosenWindows
from s2f_edge.hearing.denoise import NoiseReducer
from s2f_edge.hearing.features import Float32s
from s2f_edge.hearing.frontend import FRONT_ENDS, FrontEnd
from s2f_edge.hearing.quality import SpeechMeter, SpeechQuality
from s2f_edge.hearing.vad import SpeechStream


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
        self._stream = SpeechStream(gain)
        self._meter = SpeechMeter()

    def push(self, samples: Float32s) -> None:
        """Takes the next samples: float32, (n,), mono, 16 kHz, in [-1, 1]."""
        if self._reducer:
            with self._clock("denoise"):
                samples = self._reducer.push(samples)
        self._detect(samples)

    def finish(self) -> Heard:
        """The result, once the recording has ended."""
        if self._reducer:
            with self._clock("denoise"):
                rest = self._reducer.finish()
            self._detect(rest)
        with self._clock("vad"):
            samples, voiced = self._stream.finish()
        self.take(samples, voiced)
        with self._clock("quality"):
            quality = self._meter.finish()
        return Heard(quality, self.chosen.inputs(self.front_end.inputs()), self._stream.segments)

    def quality_so_far(self) -> SpeechQuality:
        """What `finish` would measure if no more sound came; more can follow."""
        self._meter.flush()
        return copy.deepcopy(self._meter).finish()

    def take(self, samples: Float32s, voiced: Float32s) -> None:
        """Takes what a voice detector has heard, and what it kept of that."""
        self.heard += len(samples)
        self.voiced += len(voiced)
        with self._clock("quality"):
            self._meter.push(samples, voiced)
        with self._clock("features"):
            if len(voiced):
                self.front_end.push(voiced)
                for inputs, _ in self.front_end.committed():
                    self.chosen.push(inputs)

    def _detect(self, samples: Float32s) -> None:
        with self._clock("vad"):
            samples, voiced = self._stream.push(samples)
        self.take(samples, voiced)
