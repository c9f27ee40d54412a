"""A voice that is still being recorded: its embedding so far, at any moment.

Sound costs its own length: what later sound cannot change is computed once, and a look runs the
voice network on what is left alone.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from s2f_edge.hearing.chosen import Window
from s2f_edge.hearing.features import SAMPLE_RATE, Float32s
from s2f_edge.hearing.gain import GainFinder, Stretch
from s2f_edge.listening import Listener
from s2f_edge.results import Voice

if TYPE_CHECKING:
    from s2f_edge.pipeline import Speech2Face

GUESS_EVERY_S = 0.5  # while the gain is unknown, it is guessed anew this often
GAIN_STEP = 10.0 ** (3.0 / 20.0)  # a guess that is nearer than 3 dB is not worth hearing all again
HELD_GROWTH = 1.5  # nor is one before there is half as much again: all guesses together cost three times the sound


class LiveVoice:
    """What `Speech2Face.embed` would say of the sound that has come so far: at its end exactly, on the way nearly.

    Recordings have one gain for the voice detector, that of their speech (see `gain.GainFinder`): it is known after
    10 s of usual level that are speech. Until then it is guessed, and where the guess was wrong, the sound
    that is held is heard again. Of a long recording, the windows that the pack's setting allows are chosen anew as
    sound comes. Packs with `logmel-64` or `melpower-40` normalise over the
    whole clip: features are computed once there too, but each look runs the network on all windows.

    Args:
        model: which listens.
    """

    def __init__(self, model: Speech2Face) -> None:
        self._gain: GainFinder | None = GainFinder()  # None once the gain is known
        self._before = _Hearing(model, 1.0)  # what came before the sound that is held
        self._hearing = self._before.branch(1.0)
        self._unguessed = 0  # samples since the last guess
        self._hear_again_at = 0.0  # samples of the sound that is held
        self._committed_before = 0  # windows, by hearings that were given up

    @property
    def heard_seconds(self) -> float:
        return self._hearing.listener.heard / SAMPLE_RATE

    @property
    def speech_seconds(self) -> float:
        return self._hearing.listener.voiced / SAMPLE_RATE

    @property
    def committed_windows(self) -> int:
        """How often the voice network has run on sound that is committed; `voice` just after it adds to its work."""
        return self._committed_before + self._hearing.windows

    def push(self, samples: Float32s) -> None:
        """Takes the next samples: float32, (n,), mono, 16 kHz, in [-1, 1]."""
        while self._gain and len(samples):
            part, samples = samples[: self._gain.room], samples[self._gain.room :]
            self._hearing.push(part)
            self._unguessed += len(part)
            if stretch := self._gain.push(part):
                self._end(stretch)
                samples = np.concatenate([stretch.rest, samples])
            elif self._unguessed >= GUESS_EVERY_S * SAMPLE_RATE:
                self._guess(self._gain)
        self._hearing.push(samples)

    def voice(self, *, final: bool = False) -> Voice:
        """The voice embedding of the sound so far.

        Args:
            final: no sound will follow: the result is that of the whole recording, exactly,
                which may mean to hear up to a minute of a quiet one again.

        Raises:
            NotSpeechError, TooLittleSpeechError: the sound so far is not enough speech.
        """
        while final and self._gain and len(self._gain.held):
            stretch = self._gain.at_end()
            self._end(stretch)
            self.push(stretch.rest)
        return self._hearing.voice(final=final)

    def _guess(self, finder: GainFinder) -> None:
        self._unguessed = 0
        guess, held = finder.guess(), finder.held
        wrong = not 1.0 / GAIN_STEP < guess / self._hearing.gain < GAIN_STEP
        if wrong and len(held) >= self._hear_again_at:
            self._hear_again_at = HELD_GROWTH * len(held)
            self._hear_with(guess, held)

    def _end(self, stretch: Stretch) -> None:
        """The sound that was held is heard with its own gain."""
        if stretch.gain != self._hearing.gain or len(stretch.rest):
            self._hear_with(stretch.gain, stretch.sound)
        if self._hearing.listener.speaks():
            self._gain = None
        else:
            self._gain, self._before, self._hear_again_at = GainFinder(), self._hearing, 0.0
            self._before.last = stretch.last
            self._hearing = self._before.branch(stretch.gain)

    def _hear_with(self, gain: float, held: Float32s) -> None:
        self._committed_before += self._hearing.windows - self._before.windows
        self._hearing = self._before.branch(gain)
        self._hearing.push(held)


class _Hearing:
    """A listener with one gain, and the embeddings of the windows that are chosen of what is committed."""

    def __init__(self, model: Speech2Face, gain: float) -> None:
        self.gain = gain
        self.listener = Listener(model.pack.manifest.voice.features, model.windows, gain=gain)
        self.windows = 0  # that are committed and were heard
        self.last: Float32s | None = None  # the end of the last stretch of the recording
        self._model = model

    def branch(self, gain: float) -> _Hearing:
        """A hearing of the same sound, which goes on with another gain."""
        other = copy.copy(self)
        other.gain, other.listener = gain, self.listener.branch(gain, self.last)
        return other

    def push(self, samples: Float32s) -> None:
        before = self.listener.chosen.count
        self.listener.push(samples)
        if self.listener.chosen.count > before:
            self._said_of(self.listener.chosen.chosen())

    def voice(self, *, final: bool) -> Voice:
        quality, chosen, rest = self.listener.so_far(final=final)
        return self._model.voice_of(quality, rest, committed=self._said_of(chosen))

    def _said_of(self, windows: list[Window]) -> NDArray[np.float64]:
        """The sum of their embeddings; the voice network hears those that it has not heard yet."""
        total = np.zeros(self._model.pack.manifest.voice.embedding_size)
        for window in windows:
            if window.inputs is not None:
                window.embedding = self._model.embed_windows([(window.inputs[None], np.ones(1, np.float32))])
                window.inputs = None
                self.windows += 1
            if window.embedding is not None:
                total += window.embedding
        return total
