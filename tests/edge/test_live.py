"""LiveVoice: at its end the whole clip, and on the way a chunk costs its own length."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from s2f_edge import Speech2Face
from s2f_edge.errors import NotSpeechError, TooLittleSpeechError
from s2f_edge.hearing import audio
from s2f_edge.hearing.fbank import FbankStream
from s2f_edge.hearing.features import SAMPLE_RATE, Float32s, LogMelStream
from s2f_edge.hearing.frontend import FRONT_ENDS
from s2f_edge.hearing.melpower import MelPowerStream
from s2f_edge.hearing.vad import Detector
from s2f_edge.live import LiveVoice
from s2f_edge.pack.network import Network
from tests.tiny_packs import make_pack

CHUNK = SAMPLE_RATE // 4


@pytest.fixture(scope="module")
def speech(examples: Path) -> Float32s:
    """65 s of two voices in turn."""
    read = [soundfile.read(examples / f"{name}.wav", dtype="float32")[0] for name in ("male", "female")]
    return np.resize(np.concatenate(read), 65 * SAMPLE_RATE)


@pytest.fixture(scope="module")
def default_model() -> Speech2Face:
    return Speech2Face(device="cpu", variant=None)


def cut(samples: Float32s, sizes: list[int]) -> list[Float32s]:
    parts, at = [], 0
    while at < len(samples):
        parts.append(samples[at : at + sizes[len(parts) % len(sizes)]])
        at += len(parts[-1])
    return parts


def looked_at(model: Speech2Face, parts: list[Float32s], every: int = 4) -> LiveVoice:
    """A voice that has been looked at on the way, from a buffer that is used again."""
    live = LiveVoice(model)
    buffer = np.zeros(max(map(len, parts)), np.float32)
    for i, part in enumerate(parts):
        buffer[: len(part)] = part
        live.push(buffer[: len(part)])
        if i % every == 0:
            try:
                live.voice()
            except (NotSpeechError, TooLittleSpeechError):
                continue
    return live


# --------------------------------------------------------------------------- at the end


@pytest.mark.parametrize(
    ("seconds", "sizes"),
    [(1.7, [320]), (1.7, [CHUNK]), (5, [1, 4567, 30_000]), (13, [320]), (13, [CHUNK]), (65, [1, 4567, 30_000])],
)
@pytest.mark.slow
def test_at_its_end_it_is_the_whole_clip(
    default_model: Speech2Face, speech: Float32s, seconds: float, sizes: list[int]
) -> None:
    samples = speech[: int(seconds * SAMPLE_RATE)]
    whole = default_model.embed(samples, SAMPLE_RATE)
    end = looked_at(default_model, cut(samples, sizes), max(1, CHUNK // sizes[-1])).voice(final=True)
    assert np.abs(end.embedding - whole.embedding).max() < 1e-4
    assert np.linalg.norm(end.embedding) == pytest.approx(1.0, abs=1e-5)
    assert end.quality.speech_s == whole.quality.speech_s
    assert end.quality.kind == whole.quality.kind
    assert end.quality.snr_db == pytest.approx(whole.quality.snr_db, abs=1e-3)
    assert end.male_probability == pytest.approx(whole.male_probability, abs=1e-4)


@pytest.mark.slow
def test_with_8_bits_it_ends_very_near_the_whole_clip(speech: Float32s) -> None:
    """What differs in the last bit is now and then rounded to another step of 256."""
    model, samples = Speech2Face(device="cpu", variant="int8"), speech[: 13 * SAMPLE_RATE]
    whole = model.embed(samples, SAMPLE_RATE)
    end = looked_at(model, cut(samples, [CHUNK])).voice(final=True)
    assert float(end.embedding @ whole.embedding) > 0.9999


@pytest.mark.parametrize("features", FRONT_ENDS)
@pytest.mark.parametrize("level", [1.0, 0.003], ids=["usual", "quiet"])
@pytest.mark.slow
def test_for_every_front_end_and_level(
    tmp_path: Path, default_model: Speech2Face, speech: Float32s, features: str, level: float
) -> None:
    own = default_model.pack.manifest.voice.features == features
    model = default_model if own else Speech2Face(make_pack(tmp_path / "pack", features), "cpu")
    hiss = 1e-4 * np.random.default_rng(0).standard_normal(5 * SAMPLE_RATE).astype(np.float32)
    samples = np.float32(level) * np.concatenate([hiss, speech[: 20 * SAMPLE_RATE]])
    whole = model.embed(samples, SAMPLE_RATE)
    end = looked_at(model, cut(samples, [CHUNK])).voice(final=True)
    assert np.abs(end.embedding - whole.embedding).max() < 1e-4
    assert end.quality.speech_s == whole.quality.speech_s


@pytest.mark.slow
def test_on_the_way_it_is_nearly_the_sound_so_far(default_model: Speech2Face, examples: Path) -> None:
    for name in ("male", "female"):
        samples = audio.read(examples / f"{name}.wav").samples
        live = LiveVoice(default_model)
        near = []
        for i, part in enumerate(cut(samples, [CHUNK])):
            live.push(part)
            if live.speech_seconds >= 1.0:
                so_far = default_model.embed(samples[: (i + 1) * CHUNK], SAMPLE_RATE)
                near.append(float(live.voice().embedding @ so_far.embedding))
        assert len(near) > 10
        assert min(near) > 0.8
        assert np.median(near) > 0.97


@pytest.mark.parametrize("sizes", [[CHUNK], [1, 4567, 30_000]])
@pytest.mark.slow
def test_of_a_long_voice_it_hears_the_windows_that_a_whole_recording_would(
    tmp_path: Path, speech: Float32s, sizes: list[int]
) -> None:
    pack = make_pack(tmp_path / "pack", "fbank-80", windows=5)
    model = Speech2Face(pack, "cpu")
    samples = speech[: 50 * SAMPLE_RATE]
    whole = model.embed(samples, SAMPLE_RATE).embedding
    live = looked_at(model, cut(samples, sizes))
    assert np.abs(live.voice(final=True).embedding - whole).max() < 1e-4
    assert np.abs(live.voice().embedding - whole).max() < 1e-4
    assert live.committed_windows < 16  # of which there are 20; when they come, some are among the best five
    everything = Speech2Face(pack, "cpu", all_windows=True)
    assert np.abs(everything.embed(samples, SAMPLE_RATE).embedding - whole).max() > 1e-3
    short = speech[: 9 * SAMPLE_RATE]
    assert np.array_equal(everything.embed(short, SAMPLE_RATE).embedding, model.embed(short, SAMPLE_RATE).embedding)


def test_it_can_be_looked_at_after_its_end(default_model: Speech2Face, examples: Path) -> None:
    samples = audio.read(examples / "male.wav").samples
    live = looked_at(default_model, cut(samples, [CHUNK]))
    first, second = live.voice(final=True), live.voice(final=True)
    assert np.array_equal(first.embedding, second.embedding)
    assert first.quality == second.quality


# ------------------------------------------------------------------------------ its cost


class Work:
    """Counts what is computed: frames of features and of the detector, windows of the voice network."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: Counter[str] = Counter()
        for stream in (FbankStream, LogMelStream, MelPowerStream):
            self._count(monkeypatch, stream, "_take", lambda made, *_: len(made), stream.__name__)
        # Each frame is heard at most twice.
        self._count(monkeypatch, Detector, "is_speech", lambda *_: 0.5, "detector")
        self._count(
            monkeypatch, Network, "run",
            lambda _, inputs, *__: len(inputs["features"]) if "features" in inputs else 0, "windows",
        )  # fmt: skip
        self._count(
            monkeypatch, Network, "run",
            lambda _, inputs, *__: inputs["features"].shape[1] if "features" in inputs else 0, "heard by the network",
        )  # fmt: skip

    def _count(self, monkeypatch: pytest.MonkeyPatch, owner: type, name: str, size, key: str) -> None:  # type: ignore[no-untyped-def]
        real = getattr(owner, name)

        def counting(this: object, *arguments: object) -> object:
            made = real(this, *arguments)
            self.done[key] += size(made, *arguments)
            return made

        monkeypatch.setattr(owner, name, counting)

    def taken(self) -> Counter[str]:
        done, self.done = self.done, Counter()
        return done


@pytest.mark.slow
def test_a_chunk_costs_its_own_length(
    default_model: Speech2Face, speech: Float32s, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much was heard: each chunk of 250 ms, with a look after every second one."""
    work = Work(monkeypatch)
    live = LiveVoice(default_model)
    costs = []
    for part in cut(speech, [CHUNK]):
        live.push(part)
        pushed = work.taken()
        if live.heard_seconds > 2.0 and len(costs) % 2:
            live.voice()
            assert work.done["heard by the network"] <= 125  # frames: a look costs less than a window
        costs.append(work.taken() + pushed)
    per_chunk = CHUNK // 160
    for cost in costs[10:]:  # the first look is behind them
        assert cost["detector"] <= per_chunk / 2 + 1
        assert cost["FbankStream"] <= per_chunk + 4  # a segment that opens brings a frame of the detector more
        assert cost["LogMelStream"] <= 2 * per_chunk + 8  # the meter's, at a look, and those that run past the end
        assert cost["windows"] <= 2  # the one that is full now, and the last one
    total = sum(costs, Counter())
    frames = len(speech) // 160
    assert total["detector"] <= frames / 2 + 1
    assert total["FbankStream"] <= frames
    work.taken()
    live.voice(final=True)
    assert work.taken()["windows"] == 1
    assert total["windows"] <= frames // 200 + len(costs) / 2


@pytest.mark.parametrize("features", ["logmel-64", "melpower-40"])
@pytest.mark.slow
def test_features_are_computed_once_where_the_network_needs_all(
    tmp_path: Path, speech: Float32s, features: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Speech2Face(make_pack(tmp_path / "pack", features), "cpu")
    work = Work(monkeypatch)
    live = LiveVoice(model)
    most = 0
    for part in cut(speech, [CHUNK]):
        live.push(part)
        if live.heard_seconds > 2.0:
            live.voice()
        done = work.taken()
        most = max(most, done["LogMelStream"], done["MelPowerStream"])
    # The meter's frames and the front end's are of one kind with logmel-64, so twice; 2 s come before the first look.
    assert most <= 2 * 200 + 16


@pytest.mark.slow
def test_a_guess_of_the_gain_that_was_wrong_costs_little(
    default_model: Speech2Face, speech: Float32s, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quiet recording that gets louder all the time, so that every guess is wrong."""
    work = Work(monkeypatch)
    seconds = 58
    samples = speech[: seconds * SAMPLE_RATE] * np.geomspace(1e-4, 3e-2, seconds * SAMPLE_RATE).astype(np.float32)
    live = LiveVoice(default_model)
    for part in cut(samples, [CHUNK]):
        live.push(part)
    frames = seconds * 50
    assert 1.5 * frames < work.taken()["detector"] < 4.0 * frames
    whole = default_model.embed(samples, SAMPLE_RATE)
    assert np.abs(live.voice(final=True).embedding - whole.embedding).max() < 1e-4
