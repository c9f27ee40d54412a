"""Conditions of a recording, to see what each costs: noise, length, telephone and codecs.

The noise is pink (power falling as 1 / frequency from 20 Hz on): near to the long-term spectrum of speech and
of rooms, and the same for all. Noise in the shape of each speaker's own spectrum would tell of the speaker.
The signal-to-noise ratio is that of mean powers, of speech without pauses.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
import soundfile
import soxr

from s2f_edge.hearing.features import SAMPLE_RATE, Float32s
from s2f_edge.hearing.vad import FRAME, RING_FRAMES, find_speech, hearing_gain
from s2f_train.data.degrade import telephone as telephone_band
from s2f_train.data.degrade import through_codec
from s2f_train.gate.sounds import coloured

Change = Callable[[Float32s, int], Float32s | None]
PINK = 1.0
TELEPHONE_RATE = 8_000


class Condition(NamedTuple):
    """A condition of a recording.

    Attributes:
        group: noise, duration or codec; clean is the recording itself.
        name: such as "10 dB".
        change: (float32 (n,) at 16 kHz in [-1, 1], seed) -> the same as it would have been recorded, or None
            where there is not enough of it. The same arguments give the same result.
        seconds: of speech, for durations; 0 for the others, which keep the length.
    """

    group: Literal["clean", "noise", "duration", "codec"]
    name: str
    change: Change
    seconds: float = 0.0


def clean(samples: Float32s, seed: int) -> Float32s:
    return samples


def add_noise(samples: Float32s, seed: int, snr_db: float) -> Float32s:
    """Pink noise is added; where the sum would clip, all of it is made quieter."""
    noise = coloured(np.random.default_rng([seed, 71]), len(samples), PINK)
    power = float(np.square(samples, dtype=np.float64).mean())
    sound = samples + noise * np.sqrt(power) * 10 ** (-snr_db / 20)
    return np.asarray(sound / max(1.0, np.abs(sound).max()), np.float32)


def first_speech(samples: Float32s, seed: int, seconds: float) -> Float32s | None:
    """The beginning in which the runtime's detector finds so many seconds of speech (20 ms more at most).

    A recording cut to a length would have less speech than its name says, and one of 1 s would always be refused.
    """
    segments = find_speech(samples, hearing_gain(samples)).segments
    found = np.cumsum(segments[:, 1] - segments[:, 0])
    wanted = round(seconds * SAMPLE_RATE)
    last = int(np.searchsorted(found, wanted))
    if last == len(found):
        return None
    begin, end = segments[last]
    end = max(end - (found[last] - wanted), begin + RING_FRAMES * FRAME)  # a segment begins with so many frames
    return samples[: end + 1]  # the detector leaves out a frame that ends with the recording


def telephone(samples: Float32s, seed: int) -> Float32s:
    """A sampling rate of 8 kHz, 300 to 3,400 Hz."""
    narrow = soxr.resample(samples, SAMPLE_RATE, TELEPHONE_RATE)
    wide = soxr.resample(narrow, TELEPHONE_RATE, SAMPLE_RATE)
    return _fitted(telephone_band(wide), len(samples))


def coded(samples: Float32s, seed: int, container: str, codec: str, rate: int = SAMPLE_RATE) -> Float32s:
    """Through a codec of libsndfile at its default quality, and back."""
    sound = samples if rate == SAMPLE_RATE else soxr.resample(samples, SAMPLE_RATE, rate)
    decoded, rate = through_codec(sound, rate, container, codec)
    return _fitted(decoded if rate == SAMPLE_RATE else soxr.resample(decoded, rate, SAMPLE_RATE), len(samples))


def _fitted(sound: Float32s, length: int) -> Float32s:
    """Resamplers and codecs give some samples more or less, and overshoot."""
    fitted = np.zeros(length, np.float32)
    fitted[: len(sound)] = np.clip(sound[:length], -1, 1)
    return fitted


CLEAN = Condition("clean", "clean", clean)
NOISE = [Condition("noise", f"{snr} dB", partial(add_noise, snr_db=snr)) for snr in (20, 10, 5, 0)]
DURATIONS = [Condition("duration", f"{s} s", partial(first_speech, seconds=s), s) for s in (1, 2, 3, 6, 10)]
CODECS = [
    Condition("codec", name, partial(coded, container=container, codec=codec, rate=rate))
    for name, container, codec, rate in (
        ("MP3", "MP3", "MPEG_LAYER_III", SAMPLE_RATE),
        ("Vorbis", "OGG", "VORBIS", SAMPLE_RATE),
        ("Opus", "OGG", "OPUS", SAMPLE_RATE),
        ("mu-law 8 kHz", "WAV", "ULAW", TELEPHONE_RATE),
        ("GSM 6.10 8 kHz", "WAV", "GSM610", TELEPHONE_RATE),
    )
    if soundfile.check_format(container, codec)  # older libsndfile writes no MP3
]
CONDITIONS: list[Condition] = [*NOISE, *DURATIONS, Condition("codec", "telephone", telephone), *CODECS]
