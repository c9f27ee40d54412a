"""What a pack says of recordings, refusals too, asked once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile

from s2f_edge import Speech2Face
from s2f_edge.errors import NotSpeechError, TooLittleSpeechError
from s2f_edge.hearing.features import Float32s
from s2f_edge.hearing.vad import find_speech
from s2f_train.data.store import StoreError
from s2f_train.evaluate.cache import VectorCache
from s2f_train.evaluate.hearing import Heard, face_of, hear_all, hear_raw, speech_of
from tests.tiny_packs import make_pack
from tests.train.made_store import Person
from tests.train.made_store import made_store as write_store


class Counting:
    """Hears anything, refuses what is silent or short, and counts."""

    def __init__(self, sha256: str = "a"):
        self.pack = SimpleNamespace(sha256=sha256)
        self.asked = 0
        self.male: float | None = 0.75

    def embed(self, samples: Float32s, sample_rate: int) -> Any:
        self.asked += 1
        assert sample_rate == 16_000
        if not samples.any():
            raise NotSpeechError("silence", "Nothing.")
        if len(samples) < 1000:
            raise TooLittleSpeechError(0.25, 1.0, 0.5)
        embedding = np.array([samples[0], len(samples)], np.float32)
        return SimpleNamespace(embedding=embedding, male_probability=self.male, quality=SimpleNamespace(speech_s=1.5))


def sound(value: float, count: int = 2000) -> Float32s:
    return np.full(count, value, np.float32)


def hear(model: Any, speech: Any, cache: VectorCache) -> list[Heard]:
    return hear_all(model, speech, cache, "test")


@pytest.fixture(scope="module")
def model(tiny_pack: Path) -> Speech2Face:
    return Speech2Face(tiny_pack, device="cpu")


@pytest.fixture(scope="module")
def clip(examples: Path) -> Float32s:
    samples: Float32s = soundfile.read(examples / "male.wav", dtype="float32")[0]
    return samples


# ------------------------------------------------------------------------ asked once


def test_the_same_recording_is_asked_once(tmp_path: Path) -> None:
    fake = Counting()
    speech = [sound(0.5), sound(0.25), sound(0.5)]
    first = hear(fake, speech, VectorCache(tmp_path / "cache"))
    assert fake.asked == 2
    again = hear(fake, speech, VectorCache(tmp_path / "cache"))  # another process
    assert fake.asked == 2
    for one, other in zip(first, again, strict=True):
        assert one.embedding is not None
        np.testing.assert_array_equal(one.embedding, other.embedding)
        assert (one.male, one.speech_s, one.refused) == (other.male, other.speech_s, other.refused) == (0.75, 1.5, "")
    assert first[1].embedding is not None
    assert first[1].embedding[0] == 0.25


def test_another_pack_or_another_sound_is_asked_anew() -> None:
    cache = VectorCache()
    hear(Counting("a"), [sound(0.5)], cache)
    other = Counting("b")
    hear(other, [sound(0.5), sound(0.5, 2001)], cache)
    assert other.asked == 2


def test_refusals_are_kept_with_their_code() -> None:
    fake, cache = Counting(), VectorCache()
    for _ in range(2):
        silent, short, heard = hear(fake, [sound(0), sound(0.5, 10), sound(0.5)], cache)
        assert (silent.refused, silent.embedding, silent.male, silent.speech_s) == ("not-speech", None, None, 0.0)
        assert (short.refused, short.embedding, short.male, short.speech_s) == ("too-little-speech", None, None, 0.25)
        assert heard.refused == ""
        assert silent.gender == ""
    assert fake.asked == 3
    with pytest.raises(ValueError, match="too-little-speech"):
        _ = short.voice


def test_a_pack_that_cannot_tell_the_gender() -> None:
    fake, cache = Counting(), VectorCache()
    fake.male = None
    for _ in range(2):
        (heard,) = hear(fake, [sound(0.5)], cache)
        assert heard.male is None
        assert heard.gender == "unsure"


def test_recordings_are_read_as_they_are_needed() -> None:
    read = 0

    def speech() -> Iterator[Float32s]:
        nonlocal read
        for i in range(100):
            read += 1
            yield sound(i + 1)

    class Failing(Counting):
        def embed(self, samples: Float32s, sample_rate: int) -> Any:
            if samples[0] == 60:
                raise KeyboardInterrupt
            return super().embed(samples, sample_rate)

    cache = VectorCache()
    with pytest.raises(KeyboardInterrupt):
        hear(Failing(), speech(), cache)
    assert read < 100
    fake = Counting()
    assert len(hear(fake, speech(), cache)) == 100
    assert fake.asked < 100  # what was heard before is kept


def test_nothing_to_hear() -> None:
    assert hear(Counting(), [], VectorCache()) == []


# ------------------------------------------------------------------------ a real runtime


def test_it_is_what_the_runtime_gives(model: Speech2Face, clip: Float32s) -> None:
    heard, silent, short = hear_all(model, [clip, np.zeros(32_000, np.float32), clip[:8000]], VectorCache(), "test")
    voice = model.embed(clip, 16_000)
    assert heard.embedding is not None
    np.testing.assert_array_equal(heard.embedding, voice.embedding)
    assert heard.male == pytest.approx(voice.male_probability)
    assert heard.speech_s == pytest.approx(voice.quality.speech_s)
    assert heard.gender == voice.gender
    assert silent.refused == "not-speech"
    assert short.refused == "too-little-speech"


@pytest.mark.parametrize("generator", ["auto", "general", "male", "female"])
def test_faces_are_those_of_the_runtime(model: Speech2Face, clip: Float32s, generator: str) -> None:
    (heard,) = hear_all(model, [clip], VectorCache(), "test")
    np.testing.assert_array_equal(face_of(model, heard, generator), model.infer(clip, 16_000, gender=generator).face)


@pytest.mark.parametrize(("male", "chosen"), [(0.95, "male"), (0.05, "female"), (0.6, "general"), (None, "general")])
def test_auto_chooses_by_the_voice(model: Speech2Face, male: float | None, chosen: str) -> None:
    embedding = np.full(8, 8**-0.5, np.float32)
    heard = Heard(embedding, male, 3.0)
    np.testing.assert_array_equal(face_of(model, heard, "auto"), face_of(model, heard, chosen))


def test_a_refused_recording_has_no_face(model: Speech2Face) -> None:
    with pytest.raises(ValueError, match="not-speech"):
        face_of(model, Heard(None, None, 0.0, "not-speech"))


@pytest.mark.parametrize("features", ["melpower-40", "logmel-64"])
def test_raw_sound_is_neither_cut_nor_refused(features: str, tmp_path: Path, clip: Float32s) -> None:
    model = Speech2Face(make_pack(tmp_path / "pack", features=features), device="cpu")
    rng = np.random.default_rng(0)
    sounds = [np.zeros(48_000), 0.05 * rng.standard_normal(48_000), np.zeros(100), np.full(16_000, 0.5), np.ones(1)]
    for samples in sounds:
        embedding = hear_raw(model, samples.astype(np.float32)).voice.embedding
        assert embedding.dtype == np.float32
        assert np.isfinite(embedding).all()
        assert np.linalg.norm(embedding) == pytest.approx(1, abs=1e-4)
    with pytest.raises(ValueError, match="no samples"):
        hear_raw(model, np.zeros(0, np.float32))
    # Of speech alone it is what the runtime says.
    heard, voice = hear_raw(model, find_speech(clip).samples), model.embed(clip, 16_000)
    np.testing.assert_allclose(heard.voice.embedding, voice.embedding, atol=1e-5)
    assert heard.male == pytest.approx(voice.male_probability, abs=1e-5)
    assert heard.speech_s == pytest.approx(voice.quality.speech_s)


def test_the_speech_of_a_stored_voice(tmp_path: Path) -> None:
    person = Person("A", voices=1, frames=(150, 150))
    with_sound = write_store(tmp_path / "sound", [person], flac=True)
    samples = speech_of(with_sound, with_sound.voices[0])
    assert samples.dtype == np.float32
    assert len(samples) == 149 * 160
    assert 0.4 < np.abs(samples).max() <= 1
    without = write_store(tmp_path / "none", [person])
    with pytest.raises(StoreError, match="has no flac"):
        speech_of(without, without.voices[0])
    with (with_sound.folder / with_sound.voices[0].shard).open("r+b") as shard:
        shard.seek(with_sound.voices[0].members["flac"][0])
        shard.write(b"\0" * 100)
    with pytest.raises(StoreError, match=with_sound.voices[0].key):
        speech_of(with_sound, with_sound.voices[0])
