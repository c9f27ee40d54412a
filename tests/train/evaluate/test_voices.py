"""Equal error rates and genders of made voices, whose answers are known."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from s2f_edge import Speech2Face
from s2f_edge.errors import TooLittleSpeechError
from s2f_edge.hearing.features import SAMPLE_RATE, Float32s
from s2f_train.data.s2f_data import clips as data_clips
from s2f_train.data.s2f_data import held_out, sounds
from s2f_train.evaluate.cache import VectorCache
from s2f_train.evaluate.conditions import CONDITIONS
from s2f_train.evaluate.error_rate import equal_error_rate
from s2f_train.evaluate.tables import Chart, Figure, Table
from s2f_train.evaluate.voices import Clip, Limits, SpeakerBootstrap, VoiceSide, voice_side

SPEAKERS = 12
PITCH, STEP = 400, 60  # Hz of the first speaker, and from one to the next


def hum(speaker: int, seconds: float = 1.5, seed: int = 0) -> Float32s:
    """Something that the detector takes for speech, with the speaker's own pitch."""
    t = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    pitch, start = PITCH + STEP * speaker, np.random.default_rng(seed).uniform(0, 6)
    tones = sum(np.sin(2 * np.pi * pitch * k * t + k * start) / k**2 for k in (1, 2, 3))
    sound = tones * (0.15 + np.sin(2 * np.pi * 2 * t + start) ** 2)
    return np.asarray(0.3 * sound / np.abs(sound).max(), np.float32)


class Knowing:
    """Knows the speaker by the pitch, and the gender: speakers of an even number are men."""

    def __init__(self) -> None:
        self.pack = SimpleNamespace(sha256=type(self).__name__, manifest=SimpleNamespace(generators={"general": ""}))
        self.generators: Counter[str] = Counter()

    def speaker(self, samples: Float32s) -> int:
        peak = np.abs(np.fft.rfft(samples)).argmax() * SAMPLE_RATE / len(samples)
        return round((peak - PITCH) / STEP)

    def embedding(self, samples: Float32s) -> Float32s:
        return np.eye(SPEAKERS, dtype=np.float32)[self.speaker(samples)]

    def embed(self, samples: Float32s, sample_rate: int) -> Any:
        if len(samples) < SAMPLE_RATE:
            raise TooLittleSpeechError(0.5, 1.0, 0.5)
        male = 0.95 if self.speaker(samples) % 2 == 0 else 0.3
        quality = SimpleNamespace(speech_s=len(samples) / SAMPLE_RATE)
        return SimpleNamespace(embedding=self.embedding(samples), male_probability=male, quality=quality)

    def face(self, voice: Any, gender: str, seed: int) -> Any:
        self.generators[gender] += 1
        grey = 255 if voice.male_probability > 0.5 else 0
        return SimpleNamespace(face=np.full((2, 2, 3), grey, np.uint8))


class Guessing(Knowing):
    """Gives every recording an embedding and a gender of its own."""

    def _draw(self, samples: Float32s) -> np.random.Generator:
        return np.random.default_rng(int.from_bytes(hashlib.sha256(samples.tobytes()).digest()[:8], "big"))

    def embedding(self, samples: Float32s) -> Float32s:
        drawn = self._draw(samples).standard_normal(32)
        return np.asarray(drawn / np.linalg.norm(drawn), np.float32)

    def embed(self, samples: Float32s, sample_rate: int) -> Any:
        voice = super().embed(samples, sample_rate)
        voice.male_probability = self._draw(samples).uniform(0.0, 1.0)
        return voice


def made_clips(each: int = 3, seconds: float = 1.5, source: str = "made") -> list[Clip]:
    def clip(speaker: int, number: int) -> Clip:
        sound = hum(speaker, seconds, 100 * speaker + number)
        return Clip(f"{source}-{speaker}-{number}", f"P{speaker}", source, "mf"[speaker % 2], lambda: sound)

    return [clip(speaker, number) for speaker in range(SPEAKERS) for number in range(each)]


def brightness(faces: list[Any]) -> NDArray[np.float64]:
    return np.array([face.mean() / 255 for face in faces])


def side(model: Any, clips: list[Clip], judge: Any = None, draws: int = 100, **limits: Any) -> VoiceSide:
    return voice_side(model, clips, judge, VectorCache(), draws, 0, Limits(**limits))


def table(found: VoiceSide, key: str) -> list[dict[str, Any]]:
    (rows,) = (part.rows for part in found.section.parts if isinstance(part, Table) and part.key == key)
    return rows


def value(figure: Figure | None) -> float:
    assert figure is not None
    return figure.value


# ---------------------------------------------------------------------- equal error rate


def rate_of(same: list[float], different: list[float], draws: int = 0) -> Figure:
    scores = np.array([*same, *different])
    is_same = np.array([True] * len(same) + [False] * len(different))
    first = np.arange(len(scores)) % 4
    return SpeakerBootstrap(5, draws).equal_error_rate(scores, is_same, first, np.where(is_same, first, 4))


def test_a_small_case_by_hand() -> None:
    assert rate_of([0.9, 0.8], [0.1, 0.2]).value == 0
    assert rate_of([0.1, 0.2], [0.9, 0.8]).value == 1
    # Over a threshold of 0.7: one of four strangers is taken, one of four pairs of one speaker is refused.
    assert rate_of([0.9, 0.8, 0.7, 0.3], [0.75, 0.2, 0.1, 0.0]).value == 0.25
    # With three, 1/3 is refused and 1/4 taken there, and nearer they do not come.
    assert rate_of([0.9, 0.8, 0.3], [0.7, 0.2, 0.1, 0.0]).value == pytest.approx(7 / 24)
    assert rate_of([0.5, 0.5], [0.5, 0.5]).value == 0.5
    assert rate_of([0.9], [0.1, 0.2]).n == 3


def test_without_pairs_of_either_kind_there_is_none() -> None:
    for same, different in (([], [0.1]), ([0.1], []), ([], [])):
        figure = rate_of(same, different, draws=10)
        assert np.isnan(figure.value)
        assert figure.n == 0


def test_it_is_the_rate_that_training_reports() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        same = rng.random(200) < 0.3
        scores = np.round(rng.normal(size=200) + same, 1)
        first, second = rng.integers(10, size=(2, 200))
        found = SpeakerBootstrap(10, 0).equal_error_rate(scores, same, first, second)
        assert found.value == pytest.approx(equal_error_rate(scores, same))


def random_pairs(rng: np.random.Generator, people: int, shift: float) -> tuple[Any, ...]:
    first = np.repeat(np.arange(people), 20)
    same = np.arange(len(first)) % 2 == 0
    second = np.where(same, first, (first + rng.integers(1, people, len(first))) % people)
    return rng.normal(size=len(first)) + shift * same, same, first, second


def test_the_interval_holds_what_is_known_on_paper() -> None:
    rng = np.random.default_rng(1)
    # Two normal distributions a distance d apart: the rate is Phi(-d / 2).
    for shift, known in ((0.0, 0.5), (2.0, 0.1587)):
        held = 0
        for seed in range(20):
            figure = SpeakerBootstrap(30, 200, seed).equal_error_rate(*random_pairs(rng, 30, shift))
            assert figure.low is not None
            assert figure.high is not None
            assert figure.value == pytest.approx(known, abs=0.1)
            held += figure.low <= known <= figure.high
        assert held >= 15


def test_speakers_are_drawn_and_not_pairs() -> None:
    # One of ten speakers is never recognised: whether it is drawn decides, however many pairs it has.
    first = np.repeat(np.arange(10), 100)
    same = np.arange(1000) % 2 == 0
    scores = np.where(same & (first > 0), 1.0, 0.0)
    figure = SpeakerBootstrap(10, 300).equal_error_rate(scores, same, first, np.where(same, first, (first + 1) % 10))
    assert figure.value == pytest.approx(0.05)
    assert figure.low == 0
    assert figure.high is not None
    assert figure.high >= 0.1


# ------------------------------------------------------------------------ the whole side


@pytest.fixture(scope="module")
def knowing() -> tuple[Knowing, VoiceSide]:
    model = Knowing()
    return model, side(model, made_clips(), brightness, curve_clips=14)


@pytest.mark.slow
def test_a_perfect_encoder_is_perfect_in_every_condition(knowing: tuple[Knowing, VoiceSide]) -> None:
    model, found = knowing
    made, everything = table(found, "voices")
    assert (made["source"], everything["source"]) == ("made", "all")
    assert (made["speakers"], made["several"], made["clips"], made["same"]) == (12, 12, 36, 36)
    assert made["different"] > 100
    conditions = table(found, "conditions")
    assert [row["condition"] for row in conditions[:3]] == ["clean", "20 dB", "10 dB"]
    heard = [row for row in conditions if row["clips"]]
    assert len(heard) >= len(CONDITIONS) - 2  # two times 1.5 s, and one that is enrolled: neither 3 s, nor 6, nor 10
    for row in [made, everything, *heard]:
        assert value(row["error"]) == 0, row
        for key in ("gender", "balanced", "face", "face_balanced"):
            assert value(row[key]) == 1, (row, key)
        assert value(row["refused"]) == 0
        # What says 0.3 for women is unsure of them.
        assert value(row["abstained"]) == pytest.approx(0.5)
        assert row["same"] > 0
    assert value(heard[0]["cosine"]) == pytest.approx(1)
    assert set(model.generators) == {"general"}


def test_where_there_is_too_little_speech_nothing_is_said(knowing: tuple[Knowing, VoiceSide]) -> None:
    (ten,) = (row for row in table(knowing[1], "conditions") if row["condition"] == "10 s")
    assert ten["clips"] == 0
    assert all(ten[key] is None for key in ("refused", "error", "gender", "face", "cosine", "seconds"))


def test_other_clips_make_a_short_one_longer(knowing: tuple[Knowing, VoiceSide]) -> None:
    rows = {row["condition"]: row for row in table(knowing[1], "conditions")}
    assert rows["2 s"]["clips"] == 14  # of 1.5 s each
    assert rows["2 s"]["seconds"] == pytest.approx(2, abs=0.03)
    assert rows["1 s"]["seconds"] == pytest.approx(1, abs=0.03)


def test_charts_have_a_value_for_each_step(knowing: tuple[Knowing, VoiceSide]) -> None:
    charts = [part for part in knowing[1].section.parts if isinstance(part, Chart)]
    assert [chart.key for chart in charts] == ["voices-noise", "voices-duration", "voices-codec", "voices-cosine"]
    for chart in charts:
        assert all(len(line) == len(chart.steps) for line in chart.lines.values())
    assert charts[0].steps == ["clean", "20 dB", "10 dB", "5 dB", "0 dB"]
    assert set(charts[0].lines) == {"gender by voice", "gender of the face", "equal error rate", "refused"}


def test_the_trials_are_given_and_right(knowing: tuple[Knowing, VoiceSide]) -> None:
    trials = knowing[1].trials
    speaker = {clip.name: clip.speaker for clip in made_clips()}
    assert {trial.condition for trial in trials} >= {"", "clean", "0 dB", "GSM 6.10 8 kHz"}
    for trial in trials:
        assert trial.enrolled != trial.tested
        assert trial.same == (speaker[trial.enrolled] == speaker[trial.tested])
        assert trial.score == float(trial.same)
    counted = Counter((trial.condition, trial.enrolled, trial.tested) for trial in trials)
    assert max(counted.values()) == 1
    counted = Counter(frozenset((trial.enrolled, trial.tested)) for trial in trials if not trial.condition)
    assert max(counted.values()) == 1
    for condition in ("clean", "0 dB", "2 s"):  # every clip of the curves has another one of its speaker to meet
        mine = [trial for trial in trials if trial.condition == condition]
        assert sum(trial.same for trial in mine) == len({trial.tested for trial in mine}) == 14
    assert sum(trial.same for trial in trials if not trial.condition) == table(knowing[1], "voices")[0]["same"]


@pytest.mark.slow
def test_a_random_encoder_is_at_chance() -> None:
    found = side(Guessing(), made_clips(), draws=300, curve_clips=12)
    row = table(found, "voices")[0]
    for key in ("error", "gender", "balanced"):
        figure = row[key]
        assert figure.low <= 0.5 <= figure.high
        assert figure.high - figure.low < 0.5
    assert row["face"] is None  # nobody judged
    assert abs(value(table(found, "conditions")[1]["cosine"])) < 0.2


@pytest.mark.slow
def test_it_is_the_same_again_and_changes_with_the_seed() -> None:
    clips = made_clips(each=2)
    limits = Limits(pairs_a_speaker=3, curve_clips=4)
    first, again, other = (
        voice_side(Guessing(), clips, None, VectorCache(), draws=20, seed=seed, limits=limits) for seed in (0, 0, 1)
    )
    assert first == again
    assert first.trials != other.trials


def test_pairs_are_of_one_data_set() -> None:
    clips = made_clips(each=1, source="a") + made_clips(each=1, source="b")
    found = side(Knowing(), clips, curve_clips=0)
    rows = {row["source"]: row for row in table(found, "voices")}
    # Each speaker has two clips, but of two data sets: nothing to compare.
    assert rows["all"]["same"] == rows["a"]["several"] == 0
    assert rows["all"]["error"] is None
    assert rows["all"]["different"] == rows["a"]["different"] + rows["b"]["different"] == 2 * 66
    assert value(rows["all"]["gender"]) == 1
    assert rows["all"]["speakers"] == 12


def test_few_speakers_are_noted() -> None:
    clips = [clip for clip in made_clips(each=2) if clip.speaker in ("P0", "P1", "P2")]
    rows = table(side(Knowing(), clips, curve_clips=2), "voices")
    assert "3" in rows[0]["_note"]
    assert (rows[0]["same"], rows[0]["different"]) == (3, 12)


@pytest.mark.slow
def test_refusals_are_counted_and_spoil_nothing() -> None:
    clips = made_clips(each=2) + [
        Clip(f"short-{i}", f"P{i}", "made", "m", lambda: hum(0, 0.5)) for i in range(SPEAKERS)
    ]
    found = side(Knowing(), clips, brightness, curve_clips=6)
    row = table(found, "voices")[0]
    assert value(row["refused"]) == pytest.approx(1 / 3)
    assert row["gender"].n == row["face"].n == 24
    assert value(row["gender"]) == 1
    assert value(row["error"]) == 0
    # Conditions begin with what is not refused.
    assert value(table(found, "conditions")[0]["refused"]) == 0
    assert not any(trial.tested.startswith("short") for trial in found.trials)


def test_a_condition_that_makes_the_runtime_refuse() -> None:
    class Deaf(Knowing):
        def embed(self, samples: Float32s, sample_rate: int) -> Any:
            if np.abs(np.fft.rfft(samples))[: len(samples) // 100].max() > 10:  # under 160 Hz: the noise
                raise TooLittleSpeechError(0.5, 1.0, 1.5)
            return super().embed(samples, sample_rate)

    rows = {
        row["condition"]: row
        for row in table(side(Deaf(), made_clips(each=2), brightness, curve_clips=4), "conditions")
    }
    assert value(rows["clean"]["refused"]) == 0
    assert value(rows["0 dB"]["refused"]) == 1
    assert rows["0 dB"]["error"] is None
    assert rows["0 dB"]["cosine"] is None


def test_a_face_that_the_judge_does_not_find_is_wrong_and_no_gender_is_not_asked() -> None:
    clips = made_clips(each=1)
    clips[0] = Clip(clips[0].name, clips[0].speaker, "made", "", clips[0].read)
    shown: list[int] = []

    def blind(faces: list[Any]) -> NDArray[np.float64]:
        shown.append(len(faces))
        return np.full(len(faces), np.nan)

    row = table(side(Knowing(), clips, blind, curve_clips=0), "voices")[0]
    assert shown == [11]
    assert row["gender"].n == row["face"].n == 11
    assert value(row["face"]) == 0


@pytest.mark.slow
def test_the_limits_hold() -> None:
    model = Knowing()
    clips = made_clips(each=6)
    found = side(model, clips, clips_a_speaker=2, pairs_a_speaker=4, curve_clips=13, curve_seconds=1.25)
    row = table(found, "voices")[0]
    assert row["clips"] == 24
    assert {trial.tested[-1] for trial in found.trials} | {trial.enrolled[-1] for trial in found.trials} == {"0", "5"}
    assert row["different"] <= 4 * 12
    clean = table(found, "conditions")[0]
    assert clean["clips"] == 13
    assert clean["seconds"] == pytest.approx(1.25)
    tested = {trial.tested for trial in found.trials if trial.condition == "clean"}
    assert len({name.split("-")[1] for name in tested}) == 12  # a clip of every speaker before second ones


def test_nobody_is_no_crash() -> None:
    found = side(Knowing(), [], brightness)
    (row,) = table(found, "voices")
    assert (row["source"], row["speakers"], row["clips"], row["error"]) == ("all", 0, 0, None)


def test_a_pack_without_traits_or_a_general_generator() -> None:
    class Plain(Knowing):
        def embed(self, samples: Float32s, sample_rate: int) -> Any:
            voice = super().embed(samples, sample_rate)
            voice.male_probability = None
            return voice

    model = Plain()
    model.pack.manifest.generators = {"male": ""}
    row = table(side(model, made_clips(each=2), brightness, curve_clips=2), "voices")[0]
    assert row["gender"] is row["abstained"] is row["face"] is None
    assert value(row["error"]) == 0


@pytest.mark.slow
def test_the_default_pack_on_real_voices(s2f_data: Path) -> None:
    chosen = [clip for clip in data_clips(s2f_data) if clip.corpus == "ravdess" and held_out(clip)]
    few = [clip for clip in chosen if Counter(c.speaker for c in chosen[: chosen.index(clip)])[clip.speaker] < 3][:12]
    clips = []
    for clip, data in sounds(few):
        samples = soundfile.read(io.BytesIO(data), dtype="float32")[0]
        clips.append(
            Clip(clip.name, clip.speaker, clip.corpus, "m" if clip.male else "f", lambda samples=samples: samples)
        )
    assert len(clips) == 12
    found = side(Speech2Face(device="cpu"), clips, brightness, curve_clips=3)
    row = table(found, "voices")[0]
    assert value(row["gender"]) > 0.8
    assert value(row["error"]) < 0.4
    rows = {row["condition"]: row for row in table(found, "conditions")}
    cosines = {name: value(row["cosine"]) for name, row in rows.items() if row["cosine"]}
    assert cosines["clean"] == pytest.approx(1, abs=1e-5)
    assert cosines["20 dB"] > cosines["10 dB"] > cosines["0 dB"]
    assert cosines["Opus"] > cosines["GSM 6.10 8 kHz"]
