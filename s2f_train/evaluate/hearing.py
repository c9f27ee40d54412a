"""What a pack hears in recordings: as a user gets it, refusals too, and the faces that follow."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sized
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path

import numpy as np

import s2f_edge
from s2f_edge import Speech2Face
from s2f_edge.errors import AudioError, TooLittleSpeechError
from s2f_edge.hearing import audio
from s2f_edge.hearing.features import SAMPLE_RATE, Float32s
from s2f_edge.hearing.frontend import FRONT_ENDS
from s2f_edge.hearing.quality import SpeechQuality
from s2f_edge.results import Voice
from s2f_train.data.store import Sample, Store, StoreError
from s2f_train.evaluate.cache import Vector, VectorCache, key_of
from s2f_train.evaluate.progress import each
from s2f_train.evaluate.tables import Picture

AT_ONCE = 32  # recordings in memory together, and kept together
# What every gate lets pass, for sound that is heard without them.
PASSES = SpeechQuality(1.0, 1.0, None, 0.0, 0.0, 1.0, "speech", 0.0)


@dataclass(frozen=True)
class Heard:
    """What a pack says of a recording.

    Attributes:
        embedding: float32 (embedding,), of unit length; None where the recording was refused.
        male: probability from the voice; None where the pack cannot tell, or refused.
        speech_s: seconds of speech that the runtime's detector found; 0 where it is no speech at all.
        refused: the code of the error, such as "too-little-speech"; "" where there was none.
    """

    embedding: Float32s | None
    male: float | None
    speech_s: float
    refused: str = ""

    @property
    def voice(self) -> Voice:
        """What the runtime makes faces of; its surprise, warnings and timings are not kept.

        Raises:
            ValueError: the recording was refused.
        """
        if self.embedding is None:
            raise ValueError(f"The recording was refused ({self.refused}), so it has no embedding.")
        return Voice(self.embedding, PASSES, self.male, None, (), {}, "")

    @property
    def gender(self) -> str:
        """male, female or unsure, by the runtime's own threshold; "" where the recording was refused."""
        return "" if self.embedding is None else self.voice.gender


def speech_of(store: Store, sample: Sample) -> Float32s:
    """The speech of a stored voice, float32 (n,), 16 kHz.

    Raises:
        StoreError: the store keeps no sound of it, or the sound cannot be read.
    """
    try:
        return audio.read(store.read(sample, "flac")).samples
    except AudioError as error:
        raise StoreError(f"{store.folder / sample.shard}: {sample.key}: {error}") from None


def hear_all(
    model: Speech2Face, speech: Iterable[Float32s], cache: VectorCache, what: str, total: int | None = None
) -> list[Heard]:
    """What the whole runtime, its detector and gates included, says of recordings.

    Args:
        speech: float32 (n,), 16 kHz, each; a generator is read as it is needed.
        what: the stage, for the bar.
        total: how many, where `speech` has no length.
    """
    if total is None:
        total = len(speech) if isinstance(speech, Sized) else 0
    return list(each(_hear(model, iter(speech), cache), what, total))


def hear_raw(model: Speech2Face, samples: Float32s) -> Heard:
    """What a pack's networks say of any sound, without voice detection and gates, such as of silence or noise.

    Digital silence gives a finite embedding too, of constant features.

    Args:
        samples: float32 (n,), 16 kHz, not empty; all of it is taken for speech.

    Raises:
        ValueError: there are no samples.
    """
    if not len(samples):
        raise ValueError("There are no samples; give at least one.")
    front_end = FRONT_ENDS[model.pack.manifest.voice.features]()
    front_end.push(np.asarray(samples, np.float32))
    voice = model.voice_of(PASSES, front_end.inputs())
    return Heard(voice.embedding, voice.male_probability, len(samples) / SAMPLE_RATE)


def face_of(model: Speech2Face, heard: Heard, generator: str = "auto") -> Picture:
    """The face of a voice, without noise, uint8 (h, w, 3).

    Args:
        generator: general, male, female, or auto, which chooses by the voice as the runtime does.

    Raises:
        UsageError: the pack has no such generator.
        ValueError: the recording was refused.
    """
    return model.face(heard.voice, gender=generator, seed=0).face


def _hear(model: Speech2Face, speech: Iterator[Float32s], cache: VectorCache) -> Iterator[Heard]:
    while part := list(islice(speech, AT_ONCE)):
        keys = [key_of("heard", model.pack.sha256, _runtime(), samples) for samples in part]
        known = cache.get(keys)
        made: dict[bytes, Vector] = {}
        for key, samples in zip(keys, part, strict=True):
            if key not in known:
                known[key] = made[key] = _row(_heard(model, samples))
            yield _unpacked(known[key])
        if made:
            cache.put(made)


def _heard(model: Speech2Face, samples: Float32s) -> Heard:
    try:
        voice = model.embed(samples, SAMPLE_RATE)
    except AudioError as error:
        found = error.found_s if isinstance(error, TooLittleSpeechError) else 0.0
        return Heard(None, None, found, error.code)
    return Heard(voice.embedding, voice.male_probability, voice.quality.speech_s)


def _row(heard: Heard) -> Vector:
    """For the cache: 0, seconds, male (NaN: not known), embedding; or 1, seconds, the code's characters."""
    if heard.embedding is None:
        return np.array([1, heard.speech_s, *heard.refused.encode()], np.float32)
    male = np.nan if heard.male is None else heard.male
    return np.concatenate([np.array([0, heard.speech_s, male], np.float32), heard.embedding])


def _unpacked(row: Vector) -> Heard:
    if row[0]:
        return Heard(None, None, float(row[1]), bytes(row[2:].astype(np.uint8)).decode())
    return Heard(row[3:], None if np.isnan(row[2]) else float(row[2]), float(row[1]))


@lru_cache(maxsize=1)
def _runtime() -> str:
    """The runtime's version and the digest of its code, which may change within a version."""
    digest = hashlib.sha256()
    folder = Path(s2f_edge.__file__).parent
    for path in sorted(p for p in folder.rglob("*.*") if p.suffix in (".py", ".json")):
        digest.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return f"{s2f_edge.__version__} {digest.hexdigest()}"
