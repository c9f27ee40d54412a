"""The stages together, on a tiny pack and a synthetic voice."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from s2f_edge import FaceResult, NotSpeechError, PackNotFoundError, Speech2Face, TooLittleSpeechError, UsageError
from s2f_edge.marks.provenance import read_metadata
from tests.tiny_packs import make_pack

RATE = 16_000


@pytest.fixture(scope="module")
def model(tiny_pack: Path) -> Speech2Face:
    return Speech2Face(tiny_pack, device="cpu")


@pytest.fixture(scope="module")
def clip(examples: Path) -> np.ndarray:
    return soundfile.read(examples / "male.wav", dtype="float32")[0]


def test_what_a_result_has(model: Speech2Face, examples: Path) -> None:
    result = model.infer(examples / "male.wav", gender="male")
    assert isinstance(result, FaceResult)
    assert result.face.shape == (64, 64, 3)
    assert result.face.dtype == np.uint8
    assert 5.0 < result.speech_seconds < result.voice.quality.heard_s == pytest.approx(7.42, abs=0.01)
    assert 0.0 <= result.male_probability <= 1.0
    assert result.generator == result.asked_gender == "male"
    assert result.provider == "CPUExecutionProvider"
    assert result.pack == "tiny 1"
    assert set(result.timings_ms) == {"decode", "vad", "quality", "features", "embedding", "generator", "total"}
    assert result.timings_ms["total"] == pytest.approx(sum(v for k, v in result.timings_ms.items() if k != "total"))
    assert Image.open(io.BytesIO(result.png(200))).size == (200, 200)
    assert read_metadata(result.png())["pack_sha256"] == result.pack_sha256
    assert result.to_dict()["notice"].endswith("not the speaker")


def test_path_bytes_file_and_array_give_the_same_face(model: Speech2Face, examples: Path, clip: np.ndarray) -> None:
    path = examples / "male.wav"
    faces = [
        model.infer(path).face,
        model.infer(str(path)).face,
        model.infer(path.read_bytes()).face,
        model.infer(io.BytesIO(path.read_bytes())).face,
        model.infer(clip, RATE).face,
        model.infer(np.stack([clip, clip], axis=1), RATE).face,
        model.infer(np.rint(clip * 32768).astype(np.int16), RATE).face,
    ]
    for face in faces[1:]:
        assert np.array_equal(face, faces[0])


@pytest.mark.parametrize("features", ["melpower-40", "logmel-64"])
def test_loudness_does_not_change_the_embedding(tmp_path: Path, clip: np.ndarray, features: str) -> None:
    model = Speech2Face(make_pack(tmp_path / "pack", features))
    loud, soft = model.embed(clip, RATE).embedding, model.embed(clip * np.float32(0.25), RATE).embedding
    # not exactly: the voice detector hears a level, and may keep a frame more or less
    assert float(loud @ soft) > 0.9999


def test_a_very_quiet_voice_is_still_found(model: Speech2Face, clip: np.ndarray) -> None:
    loud, quiet = model.embed(clip, RATE), model.embed(clip * np.float32(0.003), RATE)
    assert quiet.quality.speech_s > 0.9 * loud.quality.speech_s
    assert "quiet" in {warning.code for warning in quiet.warnings}


def test_an_offset_does_not_change_the_embedding(model: Speech2Face, clip: np.ndarray) -> None:
    """Some recordings have a constant in them; it is no part of the voice."""
    plain = model.embed(clip, RATE).embedding
    for offset in (0.01, 0.1, -0.3):
        moved = model.embed(np.clip(clip + np.float32(offset), -1, 1), RATE).embedding
        assert float(plain @ moved) > 0.99


@pytest.mark.parametrize("level", [0.0, 1e-4, 1e-3])
def test_what_comes_before_the_voice_does_not_matter(model: Speech2Face, clip: np.ndarray, level: float) -> None:
    """A quiet stretch at the start is not what the recording's level is judged by."""
    before = (level * np.random.default_rng(1).standard_normal(int(10.5 * RATE))).astype(np.float32)
    wanted, found = model.embed(clip, RATE), model.embed(np.concatenate([before, clip]), RATE)
    assert found.quality.speech_s == pytest.approx(wanted.quality.speech_s, abs=0.6)
    assert float(wanted.embedding @ found.embedding) > 0.99


def test_a_quiet_voice_after_silence_is_found(model: Speech2Face, clip: np.ndarray) -> None:
    sound = np.concatenate([np.zeros(11 * RATE, np.float32), clip * np.float32(0.003)])
    assert model.embed(sound, RATE).quality.speech_s > 5


def test_auto_goes_by_the_voice_and_says_so(
    model: Speech2Face, clip: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    for male, wanted, said in ((0.99, "male", "male"), (0.01, "female", "female"), (0.6, "general", "unsure")):
        monkeypatch.setattr(model, "_traits", lambda _, male=male: (male, 1.0, []))
        result = model.infer(clip, RATE)
        assert (result.generator, result.gender, result.asked_gender) == (wanted, said, "auto")
        assert ("unsure-gender" in {warning.code for warning in result.warnings}) == (said == "unsure")


def test_auto_never_takes_the_other_gender(tmp_path: Path, clip: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    only_male = Speech2Face(make_pack(tmp_path / "a", generators="male"))
    monkeypatch.setattr(only_male, "_traits", lambda _: (0.01, 1.0, []))
    with pytest.raises(UsageError, match="has only male"):
        only_male.infer(clip, RATE)
    no_female = Speech2Face(make_pack(tmp_path / "b", generators="general male"))
    monkeypatch.setattr(no_female, "_traits", lambda _: (0.01, 1.0, []))
    result = no_female.infer(clip, RATE)
    assert result.generator == "general"
    assert "no-generator" in {warning.code for warning in result.warnings}


def test_a_pack_that_cannot_tell_gender_says_so(tmp_path: Path, clip: np.ndarray) -> None:
    model = Speech2Face(make_pack(tmp_path / "pack", "logmel-64", traits=False, generators="general"))
    result = model.infer(clip, RATE)
    assert result.generator == "general"
    assert result.male_probability is None
    assert result.gender == "unsure"
    assert "no-gender" in {warning.code for warning in result.warnings}
    with pytest.raises(UsageError, match="has no female generator"):
        model.infer(clip, RATE, gender="female")


def test_candidates_differ_and_a_seed_repeats_them(model: Speech2Face, clip: np.ndarray) -> None:
    one = model.infer(clip, RATE, gender="general")
    first = model.infer(clip, RATE, gender="general", samples=5, seed=7)
    again = model.infer(clip, RATE, gender="general", samples=5, seed=first.seed)
    other = model.infer(clip, RATE, gender="general", samples=5, seed=8)
    assert np.array_equal(first.faces, again.faces)
    assert np.array_equal(first.faces[0], one.face)  # the first candidate is the face without noise
    assert not np.array_equal(first.faces[1], other.faces[1])
    assert len({face.tobytes() for face in first.faces}) == 5
    unseeded = model.infer(clip, RATE, gender="general", samples=2)
    assert np.array_equal(
        model.infer(clip, RATE, gender="general", samples=2, seed=unseeded.seed).faces, unseeded.faces
    )


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("gender", "robot"),
        ("samples", 0),
        ("samples", 65),
        ("samples", 2.5),
        ("samples", "3"),
        ("seed", -1),
        ("seed", 1.5),
    ],
)
def test_arguments_out_of_range(model: Speech2Face, clip: np.ndarray, argument: str, value: object) -> None:
    with pytest.raises(UsageError, match=argument):
        model.infer(clip, RATE, **{argument: value})
    with pytest.raises(UsageError, match=argument):
        model.face(model.embed(clip, RATE), **{argument: value})


def test_a_face_that_is_not_there(model: Speech2Face, clip: np.ndarray) -> None:
    with pytest.raises(UsageError, match="there are 1 faces"):
        model.infer(clip, RATE).png(index=1)


def test_too_little_speech(model: Speech2Face, clip: np.ndarray) -> None:
    with pytest.raises(TooLittleSpeechError, match=r"at least 1\.0 s is needed"):
        model.infer(clip[: int(0.8 * RATE)], RATE)


def test_short_speech_is_a_warning(model: Speech2Face, clip: np.ndarray) -> None:
    assert "short-speech" in {warning.code for warning in model.infer(clip[: 2 * RATE], RATE).warnings}


@pytest.mark.parametrize("seconds", [0.05, 6.0])
def test_silence_is_refused(model: Speech2Face, seconds: float) -> None:
    with pytest.raises(NotSpeechError) as caught:
        model.infer(np.zeros(int(seconds * RATE), np.float32), RATE)
    assert caught.value.reason == "silence"
    assert caught.value.exit_status == 20


@pytest.mark.parametrize("seconds", [0.0, 0.05])
def test_next_to_nothing_is_too_little_speech(model: Speech2Face, clip: np.ndarray, seconds: float) -> None:
    with pytest.raises(TooLittleSpeechError):
        model.infer(clip[RATE : RATE + int(seconds * RATE)], RATE)


def test_noise_tone_and_music_are_refused(model: Speech2Face) -> None:
    t = np.arange(6 * RATE) / RATE
    noise = 0.1 * np.random.default_rng(3).standard_normal(len(t))
    chords = sum(np.sin(2 * np.pi * f * t) for f in (220.0, 277.2, 329.6, 440.0)) * np.exp(-3 * (t % 0.5)) / 8
    for sound in (noise, 0.3 * np.sin(2 * np.pi * 440 * t), chords):
        with pytest.raises(NotSpeechError):
            model.infer(sound.astype(np.float32), RATE)


def test_other_rates_give_nearly_the_same_embedding(model: Speech2Face, clip: np.ndarray) -> None:
    import soxr

    reference = model.embed(clip, RATE).embedding
    for rate in (22_050, 44_100, 48_000, 192_000):
        other = model.embed(soxr.resample(clip, RATE, rate), rate).embedding
        assert float(reference @ other) > 0.999


@pytest.mark.slow
def test_a_long_recording_needs_little_memory(tmp_path: Path, tiny_pack: Path, clip: np.ndarray) -> None:
    """Twenty minutes at 48 kHz stereo are 461 MB as float32; features of the voiced part are 19 MB."""
    import tracemalloc

    import soxr

    loud = np.rint(soxr.resample(clip, RATE, 48_000) * 32767).astype(np.int16)
    path = tmp_path / "long.flac"
    with soundfile.SoundFile(path, "w", 48_000, 2, "PCM_16") as file:
        for _ in range(int(1200 / (len(loud) / 48_000))):
            file.write(np.stack([loud, loud], axis=1))
    model = Speech2Face(tiny_pack, device="cpu")
    tracemalloc.start()
    result = model.infer(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert result.speech_seconds > 1000
    assert peak < 120e6


def test_one_model_in_many_threads(model: Speech2Face, clip: np.ndarray) -> None:
    wanted = model.infer(clip, RATE, gender="female").face
    with ThreadPoolExecutor(4) as pool:
        for face in pool.map(lambda _: model.infer(clip, RATE, gender="female").face, range(8)):
            assert np.array_equal(face, wanted)


def test_a_pack_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(PackNotFoundError):
        Speech2Face(tmp_path)
