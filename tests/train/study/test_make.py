"""From a store to the folder of a study, and the commands."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import Result
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

from s2f_train.cli.main import app
from s2f_train.evaluate.judging import JudgeError
from s2f_train.study import make as making
from s2f_train.study.answers import Answers
from s2f_train.study.stimuli import beeps
from s2f_train.study.study import ALL, BEEPS, PHOTOGRAPH, SAME, Study
from tests.train import made_store as store_maker
from tests.train.evaluate.made_scene import portrait, spoken
from tests.train.made_store import Person, made_store
from tests.train.study.made_study import answered

PEOPLE = [Person(f"T{i:02}", "mf"[i % 2], 20.0 + i, "test", voices=2, photos=0, clips=1) for i in range(12)]
Call = Callable[..., Result]


class Framed:
    """Pictures as they are, at the size of the frame: a network finds no face in made ones."""

    def __call__(self, picture: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], bool]:
        return np.asarray(Image.fromarray(picture).resize((256, 256), Image.Resampling.NEAREST)), True


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds store/, with sounds, and pictures/, of a system."""
    place = tmp_path_factory.mktemp("make")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_maker, "speech", spoken)
        store = made_store(place / "store", PEOPLE, flac=True, logmels=False)
    (place / "pictures").mkdir()
    for voice in store.voices:
        Image.fromarray(portrait(voice.identity)).save(place / "pictures" / f"{voice.clip or voice.key}.png")
    return place


@pytest.fixture
def call(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Runs `study COMMAND` from an empty folder."""
    monkeypatch.setattr(making, "Framer", Framed)
    monkeypatch.chdir(tmp_path)

    def run(command: str, *arguments: object) -> Result:
        given = ["study", command, *arguments]
        if command == "make":
            given += ["--store", folder / "store", "--view", "face", "--seconds", 2]
        return CliRunner().invoke(app, [str(each) for each in given])

    return run


def told(result: Result) -> str:
    """The one line of a refusal."""
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit)
    message = str(result.exception.code)
    assert message.startswith("error: ")
    return message


def small(*more: object) -> tuple[object, ...]:
    return ("--matches", 6, "--pairs", 2, "--ratings", 3, "--out", "study", *more)


@pytest.fixture
def pictures(folder: Path) -> tuple[object, ...]:
    return "--pictures", f"ours={folder / 'pictures'}", "--reference", "s2f"


@pytest.mark.slow
def test_a_study(call: Call, pictures: tuple[object, ...], tiny_pack: Path, folder: Path, tmp_path: Path) -> None:
    done = call("make", *small(), "--pack", f"tiny={tiny_pack}", "--pictures", f"ours={folder / 'pictures'}",
                "--matches", 12, "--title", "Mine", "--contact", "me@example.org")  # fmt: skip
    assert done.exit_code == 0, done.output
    study = Study.open(tmp_path / "study")
    assert study.systems == {"tiny": "system", "ours": "system"}
    assert study.title == "Mine"
    assert [(task.name, task.each, task.voices) for task in study.tasks] == [
        ("match", 12, 12), ("pair", 2, 12), ("rate", 3, 12),
    ]  # fmt: skip
    assert len({voice.key for voice in study.voices}) == 12
    assert study.facts["packs"]["tiny"]["generator"] == "auto"
    shown = {file.name for file in (tmp_path / "study" / "media").iterdir()}
    assert shown == study.files
    assert not any(word in name for name in shown for word in ("tiny", "ours", "T0", "photo"))
    for voice in study.voices:
        samples, rate = soundfile.read(tmp_path / "study" / "media" / voice.sound)
        assert (rate, len(samples)) == (16_000, 32_000)
        assert np.sqrt(np.mean(samples**2)) == pytest.approx(0.08, rel=0.25)
        for name in (*voice.faces.values(), voice.beside):
            with Image.open(tmp_path / "study" / "media" / name) as image:
                assert (image.size, image.info) == ((256, 256), {})  # a mark would tell which is which
    assert "me@example.org" in (tmp_path / "study" / "consent.en.txt").read_text()
    assert "research data of real people" in (tmp_path / "study" / "README.md").read_text()


@pytest.mark.slow
def test_whose_faces_are_whose(call: Call, pictures: tuple[object, ...], tmp_path: Path) -> None:
    done = call("make", *small(*pictures))
    assert done.exit_code == 0, done.output
    study = Study.open(tmp_path / "study")
    match = study.tasks[0]
    assert {kind for _, kind in match.cells} == {ALL, SAME}
    used = study.voices[: match.voices]
    for kind in (ALL, SAME):  # everyone is the wrong one once
        assert sorted(voice.impostors[kind] for voice in used) == list(range(match.voices))
    for place, voice in enumerate(used):
        assert voice.impostors[ALL] != place
        assert voice.impostors[SAME] != place
        assert study.voices[voice.impostors[SAME]].gender == voice.gender
        assert voice.beside != voice.faces[PHOTOGRAPH]
        assert voice.beside in {other.faces[PHOTOGRAPH] for other in study.voices}
        assert set(voice.faces) == {PHOTOGRAPH, "ours", "s2f"}
        assert len(set(voice.faces.values())) == 3
    assert [used[i].gender for i in range(4)] == ["f", "m", "f", "m"]


@pytest.mark.slow
def test_the_seed_decides(call: Call, pictures: tuple[object, ...], folder: Path, tmp_path: Path) -> None:
    files = []
    for _ in range(2):
        assert call("make", *small(*pictures)).exit_code == 0  # nobody has answered: it is replaced
        files.append((tmp_path / "study" / "study.json").read_text())
    assert files[0] == files[1]
    settings = making.StudySettings(str(folder / "store"), references=("s2f",), view="face")
    orders = [making.plan(replace(settings, seed=seed)).order for seed in (0, 1)]
    assert orders[0] != orders[1]


def test_beeps_can_be_counted() -> None:
    for count in BEEPS:
        loud = np.convolve(np.abs(beeps(count)), np.ones(400) / 400, "same") > 0.02
        assert int((np.diff(loud.astype(int)) == 1).sum()) == count


def test_a_dry_run_makes_nothing(call: Call, pictures: tuple[object, ...], tmp_path: Path) -> None:
    done = call("make", *small(*pictures), "--matches", 7, "--dry-run")
    assert done.exit_code == 0, done.output
    assert "note: A person has 12 trials of 'match' instead of 7: a multiple of 6." in done.stdout
    assert (
        "match: 12 trials a person of 6 kinds, on 12 voices; 6 people see every voice in every kind once" in done.stdout
    )
    assert not (tmp_path / "study").exists()
    as_json = call("make", *small(*pictures), "--dry-run", "--json")
    assert json.loads(as_json.stdout)["tasks"][1]["each"] == 2


@pytest.mark.slow
def test_answers_are_never_replaced(call: Call, pictures: tuple[object, ...], tmp_path: Path) -> None:
    assert call("make", *small(*pictures)).exit_code == 0
    study = Study.open(tmp_path / "study")
    answers = Answers(tmp_path / "study", study)
    for person in answered(study, 2, lambda *_: True):
        answers.begin("en", 5)
        for answer in person.answers:
            answers.add(person.number, answer)
    answers.close()
    assert "exists and is something else" in told(call("make", *small(*pictures)))
    done = call("score", "study", "--draws", 0)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0] == "note: 2 people count: there are no intervals below 4."
    assert lines[-1] == f"report: {Path('study/report/report.html')}"
    report = json.loads(call("score", "study", "--draws", 0, "--json").stdout)
    assert report["format"] == "s2f study report 1"
    assert report["facts"]["study"] == study.digest


# -------------------------------------------------------------------------------- what is wrong


@pytest.mark.slow
def test_what_is_missing_is_told(call: Call, pictures: tuple[object, ...], folder: Path, tmp_path: Path) -> None:
    assert "There is nothing to ask about: give a pack" in told(call("make", *small()))
    assert "give trials of at least one task" in told(
        call("make", *pictures, "--matches", 0, "--pairs", 0, "--ratings", 0, "--out", "study")
    )
    assert "absent is no folder of pictures" in told(call("make", *small("--pictures", "absent")))
    assert "absent" in told(call("make", *small("--pack", "absent")))
    assert "no voice has a picture of view 'portrait'" in told(call("make", *small("--reference", "portrait")))
    twice = told(call("make", *small(*pictures), "--pictures", f"s2f={folder / 'pictures'}"))
    assert "Several systems are called s2f" in twice
    assert "needs a voice for each of 3 kinds" in told(call("make", *small(*pictures), "--voices", 2))
    assert "is no study" in told(call("serve", tmp_path))
    assert "is no study" in told(call("score", tmp_path))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    assert "something else" in told(call("make", *pictures, "--out", "mine"))
    assert not (tmp_path / "study").exists()


def test_without_dlib_it_is_told_before_the_work(
    call: Call, pictures: tuple[object, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise JudgeError("Aligning faces needs dlib: pip install '.[train]'")

    monkeypatch.setattr(making, "Framer", missing)
    monkeypatch.setattr(making, "hear_all", lambda *_: pytest.fail("it was heard before"))
    assert "needs dlib" in told(call("make", *small(*pictures)))


@pytest.mark.slow
def test_one_gender_alone_has_impostors_of_all(folder: Path, tmp_path: Path, call: Call) -> None:
    people = [Person(f"T{i:02}", "" if i else "m", None, "test", voices=1, photos=0, clips=1) for i in range(8)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_maker, "speech", spoken)
        made_store(tmp_path / "other", people, flac=True, logmels=False)
    done = CliRunner().invoke(
        app, ["study", "make", "--store", str(tmp_path / "other"), "--view", "face", "--reference", "s2f", "--out",
              str(tmp_path / "study"), "--matches", "4", "--pairs", "2", "--ratings", "2", "--seconds", "1"],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "impostors are of all genders" in done.stdout
    assert {kind for _, kind in Study.open(tmp_path / "study").tasks[0].cells} == {ALL}


def test_help() -> None:
    wide = {"COLUMNS": "200", "TERM": "dumb"}
    said = CliRunner().invoke(app, ["study", "make", "--help"], env=wide).output
    for option in (
        "--store",
        "--pack",
        "--pictures",
        "--reference",
        "--photographs",
        "--checks",
        "--dry-run",
        "--json",
    ):
        assert option in said
    assert "never an identification" in said
    assert "research data" in said or "real people" in said
    assert "score" in CliRunner().invoke(app, ["study", "--help"], env=wide).output
    assert "no address" in CliRunner().invoke(app, ["study", "serve", "--help"], env=wide).output
