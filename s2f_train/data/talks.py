"""Talking heads of a store: sound, and the motion of 68 points relative to the neutral face. No torch here."""

from __future__ import annotations

import hashlib
import io
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from s2f_edge.hearing import audio
from s2f_edge.hearing.features import Float32s
from s2f_edge.talk.motion import FRAME_RATE
from s2f_train.data.store import Sample, Store, StoreError

SOUND, MOTION = "sound.flac", "motion.npy"  # members of a sample
EYES, LIPS, JAW = slice(36, 48), slice(48, 68), slice(0, 17)
UPPER_LIP, LOWER_LIP = 62, 66  # the middle of the inner lips
CLOSED = 0.03  # between them, in units of the eyes: below it nothing is seen of the mouth's inside
SILENCE = ("sil", "sp", "")
# Lips open before the first sound of a word, and close after the last one.
NEAR_S = 0.12
CLOSURE_S = 0.06
BILABIAL = "pbm"
NEUTRAL_CLIPS = 60  # of a speaker, that say what the neutral face is

Bools = NDArray[np.bool_]


def opening(points: Float32s) -> Float32s:
    """Between the inner lips; (..., 68, 2) to (...)."""
    return np.asarray(points[..., LOWER_LIP, 1] - points[..., UPPER_LIP, 1], np.float32)


@dataclass(frozen=True)
class Speaker:
    """What the motion of a speaker is relative to: the neutral face, (68, 2), and how much the lips move (rms)."""

    neutral: Float32s
    amount: float


@dataclass(frozen=True)
class Talk:
    """A talking head.

    Attributes:
        samples: float32 (n,), 16 kHz.
        offsets: float32 (frames, 68, 2) from the speaker's neutral face, in units of the eyes' distance; eyes are 0.
        silent: bool (frames,): no word is spoken then or near. All False where no words are known.
        closures: seconds at which p, b or m is spoken.
    """

    samples: Float32s
    offsets: Float32s
    silent: Bools
    closures: tuple[float, ...]


def talks_of(store: Store) -> list[Sample]:
    """The talking heads of a store.

    Raises:
        StoreError: there are none.
    """
    found = [voice for voice in store.voices if MOTION in voice.members]
    if not found:
        raise StoreError(f"{store.folder} has no talking heads. Prepare with --talking-heads.")
    return found


def is_held_out(sample: Sample, share: float) -> bool:
    """Whether a sentence is kept from training, by a hash of its clip."""
    return hashlib.sha256(sample.clip.encode()).digest()[0] < share * 256


def split(talks: list[Sample], held_speakers: Sequence[str], share: float) -> tuple[list[Sample], list[Sample]]:
    """The talks to learn from, and those that are held out: of whole speakers, and a share of the others' sentences."""
    held = [talk.identity in held_speakers or is_held_out(talk, share) for talk in talks]
    return (
        [talk for talk, out in zip(talks, held, strict=True) if not out],
        [talk for talk, out in zip(talks, held, strict=True) if out],
    )


def speakers_of(store: Store, samples: Iterable[Sample]) -> dict[str, Speaker]:
    """Neutral faces: the median over frames with closed lips, of some clips of each speaker."""
    clips: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        if len(clips[sample.identity]) < NEUTRAL_CLIPS:
            clips[sample.identity].append(sample)
    return {name: _speaker([_points(store, sample) for sample in some]) for name, some in clips.items()}


def _speaker(clips: list[Float32s]) -> Speaker:
    closed = []
    for points in clips:
        gaps = opening(points)
        closed.append(points[gaps <= max(CLOSED / 2, float(np.quantile(gaps, 0.1)))])
    neutral = np.median(np.concatenate(closed), axis=0)
    lips = np.concatenate(clips)[:, LIPS] - neutral[LIPS]
    return Speaker(neutral.astype(np.float32), float(np.sqrt(np.square(lips).mean())))


def read_talk(store: Store, sample: Sample, speaker: Speaker) -> Talk:
    """One talking head of a store."""
    offsets = _points(store, sample) - speaker.neutral
    offsets[:, EYES] = 0.0
    words = [(float(a), float(b), str(word)) for a, b, word in json.loads(store.read(sample, "json"))["words"]]
    spoken = [(a, b, word) for a, b, word in words if word not in SILENCE]
    times = np.arange(len(offsets)) / FRAME_RATE
    silent = np.full(len(offsets), bool(words))
    for start, end, _ in spoken:
        silent &= (times < start - NEAR_S) | (times > end + NEAR_S)
    closures = tuple(time for word in spoken for time in _closures(*word))
    return Talk(audio.read(store.read(sample, SOUND)).samples, offsets, silent, closures)


def _closures(start: float, end: float, word: str) -> list[float]:
    """When the lips must be closed: at the beginning of a word with p, b or m, and at the end of one with p or m.

    A letter that is spelt is spoken as its name: b and p begin so, m (em) ends so.
    """
    first = [start] if word[0] in BILABIAL and word[:2] not in ("ph", "ps", "pn") and word != "m" else []
    return first + ([end] if word.removesuffix("e")[-1:] in ("p", "m") and word != "p" else [])


def frames_at(time: float, count: int) -> range:
    """The frames within `CLOSURE_S` of a time."""
    first = int(np.ceil((time - CLOSURE_S) * FRAME_RATE - 1e-6))
    last = int(np.floor((time + CLOSURE_S) * FRAME_RATE + 1e-6))
    return range(max(0, first), min(count, last + 1))


def _points(store: Store, sample: Sample) -> Float32s:
    return np.asarray(np.load(io.BytesIO(store.read(sample, MOTION)), allow_pickle=False), np.float32)
