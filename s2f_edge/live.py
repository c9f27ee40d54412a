"""A voice that is still being recorded: its embedding so far, at any moment.

Sound costs its own length: what later sound cannot change is computed once, and a look runs the
voice network on what is left alone.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import numpy as np

from s2f_edge.hearing.features import SAMPLE_RATE, Float32s
from s2f_edge.hearing.vad import GainFinder
from s2f_edge.listening import Listener
from s2f_edge.results import Voice

if TYPE_CHECKING:
    from s2f_edge.pipeline import Speech2Face

GUESS_EVERY_S = 0.5  # while the gain is unknown, it is guessed anew this often
GAIN_STEP = 10.0 ** (3.0 / 20.0)  # a guess that is nearer than 3 dB is not worth hearing all again
HELD_GROWTH = 1.5  # nor is one before there is half as much again: all guesses together cost three times the sound


class LiveVoice:
    """What `Speech2Face.embed` would say of the sound that has come so far: at its end exactly, on the way nearly.

    Recordings have one gain for the voice detector, which is known after 10 s of usual level
    (see `vad.GainFinder`). Until then it is guessed, and where the guess was wrong, the sound
    that is held is heard again. Of a long recording, the windows that the pack's setting allows are chosen anew as
    sound comes. Packs with `logmel-64` or `melpower-40` normalise over the
    whole clip: features are computed once there too, but each look runs the network on all windows.

    Args:
        model: which listens.
    """

    def __init__(self, model: Speech2Face) -> None:
        self._model = model
        self._gain: GainFinder | None = GainFinder()  # None once the gain is known
        self._unguessed = 0  # samples since the last guess
        self._hear_again_at = 0.0  # samples
        self._hearing = _Hearing(model, 1.0)
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
        self._hearing.push(samples)
        if self._gain is None:
            return
        gain = self._gain.push(samples)
        self._unguessed += len(samples)
        if gain is not None:
            self._hear_with(gain, self._gain.held)
            self._gain = None
        elif self._unguessed >= GUESS_EVERY_S * SAMPLE_RATE:
            self._unguessed = 0
            guess = self._gain.at_end()
            wrong = not 1.0 / GAIN_STEP < guess / self._hearing.gain < GAIN_STEP
            heard = self._hearing.listener.heard
            if wrong and heard >= self._hear_again_at:
                self._hear_again_at = HELD_GROWTH * heard
                self._hear_with(guess, self._gain.held)

    def voice(self, *, final: bool = False) -> Voice:
        """The voice embedding of the sound so far.

        Args:
            final: no sound will follow: the result is that of the whole recording, exactly,
                which may mean to hear up to a minute of a quiet one again.

        Raises:
            NotSpeechError, TooLittleSpeechError: the sound so far is not enough speech.
        """
        if final and self._gain is not None:
            self._hear_with(self._gain.at_end(), self._gain.held)
        return self._hearing.voice(final=final)

    def _hear_with(self, gain: float, held: Float32s) -> None:
        if gain != self._hearing.gain:
            self._committed_before += self._hearing.windows
            self._hearing = _Hearing(self._model, gain)
            self._hearing.push(held)


class _Hearing:
    """A listener with one gain, and the embeddings of the windows that are chosen of what is committed."""

    def __init__(self, model: Speech2Face, gain: float) -> None:
        self.gain = gain
        self.listener = Listener(model.pack.manifest.voice.features, model.windows, gain=gain)
        self.windows = 0  # that are committed and were heard
        self._model = model

    def push(self, samples: Float32s) -> None:
        before = self.listener.voiced
        self.listener.push(samples)
        if self.listener.voiced > before:
            for window in self.listener.chosen.chosen():
                if window.inputs is not None:
                    window.embedding = self._model.embed_windows([(window.inputs[None], np.ones(1, np.float32))])
                    window.inputs = None
                    self.windows += 1

    def voice(self, *, final: bool) -> Voice:
        front_end, chosen = self.listener.front_end, self.listener.chosen
        none = np.zeros(self._model.pack.manifest.voice.embedding_size)
        committed = sum((each.embedding for each in chosen.chosen() if each.embedding is not None), none)
        # A copy is ended, so that the sound can go on in the original.
        rest = copy.deepcopy(front_end).inputs() if final else front_end.preview()
        windows = rest if chosen.all else ()
        return self._model.voice_of(self.listener.quality_so_far(), windows, committed=committed)
