"""`python -m s2f_train evaluate` in this process, with made judges."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

from s2f_train.cli.main import app
from s2f_train.evaluate import evaluation, judges
from s2f_train.evaluate.judging import JudgeError
from tests.tiny_packs import make_pack
from tests.train import made_store as store_maker
from tests.train.evaluate.made_scene import Knowing, Reading, portrait, spoken
from tests.train.made_store import Person, made_store

PEOPLE = [Person(f"T{i}", "mf"[i % 2], 20.0 + 5 * i, "test", voices=2, photos=2, clips=2) for i in range(8)]
FILES = ["report.html", "report.json", "trials.csv"]

Call = Callable[..., Result]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds store/, with sounds, and pictures/, of a system that is always right."""
    place = tmp_path_factory.mktemp("cli")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_maker, "speech", spoken)
        store = made_store(place / "store", PEOPLE, flac=True, logmels=False)
    (place / "pictures").mkdir()
    for voice in store.voices:
        Image.fromarray(portrait(voice.identity)).save(place / "pictures" / f"{voice.clip}.png")
    return place


@pytest.fixture
def call(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Runs the command on the store, from an empty folder, with FILE or `dlib` as made judges."""

    def recogniser(spec: str | None = None) -> Knowing:
        if spec == "absent.onnx":
            raise JudgeError("absent.onnx cannot be read")
        weights = hashlib.sha256(Path(spec).read_bytes() if spec and spec != "dlib" else b"dlib").hexdigest()
        return Knowing(PEOPLE, weights=(weights,))

    monkeypatch.setattr(judges, "open_recogniser", recogniser)
    monkeypatch.setattr(judges, "DlibRecogniser", recogniser)
    monkeypatch.setattr(judges, "Attributes", lambda wheel: Reading(PEOPLE, "reading"))
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object, store: object = folder / "store") -> Result:
        given = ["evaluate", "--store", store, "--jobs", 1, "--draws", 20, "--no-voice-side", *arguments]
        return CliRunner().invoke(app, [str(each) for each in given])

    return run


def told(result: Result) -> str:
    """The one line of a refusal."""
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit)
    message = str(result.exception.code)
    assert message.startswith("error: ")
    return message


def rows(report: dict[str, object], key: str) -> list[str]:
    parts = [part for section in report["sections"] for part in section["parts"]]  # type: ignore[attr-defined,index]
    (table,) = (part for part in parts if part["key"] == key)
    return [row["system"] for row in table["rows"]]


# -------------------------------------------------------------------------------- what it writes


def test_help() -> None:
    said = CliRunner().invoke(app, ["evaluate", "--help"], env={"COLUMNS": "200", "TERM": "dumb"}).output
    for option in ("--store", "--pack", "--pictures", "--reference", "--trained-with", "--oracle", "--no-voice-side"):
        assert option in said
    assert "never an identification" in said
    assert "evaluate" in CliRunner().invoke(app, ["--help"]).output


@pytest.mark.slow
def test_a_report(call: Call, folder: Path, tiny_pack: Path, tmp_path: Path) -> None:
    result = call("--pack", f"tiny={tiny_pack}", "--pictures", folder / "pictures", "--reference", "face")
    assert result.exit_code == 0, result.output
    report = tmp_path / "runs" / "evaluation"
    assert sorted(path.name for path in report.iterdir()) == FILES
    lines = result.stdout.splitlines()
    assert lines[0] == "note: The gallery holds 8 people; others state figures for 100."
    assert lines[-1] == f"report: {Path('runs/evaluation/report.html')}"
    assert any(line.split() == ["8", "people"] for line in lines)
    assert any("matching 1:2, all: tiny: general" in line for line in lines)
    assert (tmp_path / "runs" / "cache" / "evaluate.sqlite").exists()
    made = json.loads((report / "report.json").read_text(encoding="utf-8"))
    assert rows(made, "matching")[:4] == ["tiny: general", "tiny: auto", "pictures", "face"]


@pytest.mark.slow
def test_json_is_the_report_and_nothing_else(call: Call, folder: Path, tmp_path: Path) -> None:
    result = call("--pictures", folder / "pictures", "--json", "--out", "r", "--people", 4, "--seed", 3, "--trials", 2)
    assert result.exit_code == 0, result.output
    assert result.stdout == (tmp_path / "r" / "report.json").read_text(encoding="utf-8")
    facts = json.loads(result.stdout)["facts"]
    assert (facts["people"], facts["settings"]["seed"], facts["settings"]["trials"]) == (4, 3, 2)


@pytest.mark.slow
def test_a_report_is_replaced_and_nothing_else_is(call: Call, folder: Path, tmp_path: Path) -> None:
    for people in (8, 6):
        assert call("--pictures", folder / "pictures", "--out", "r", "--people", people).exit_code == 0
    assert json.loads((tmp_path / "r" / "report.json").read_text(encoding="utf-8"))["facts"]["people"] == 6
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r", "runs"]  # nothing half-written
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    said = told(call("--pictures", folder / "pictures", "--out", "mine", store="absent"))  # before the store is read
    assert said == "error: mine exists and is something else; choose another folder."
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_a_refusal_leaves_no_report(call: Call, folder: Path, tmp_path: Path) -> None:
    assert "0 people of the split 'valid'" in told(call("--pictures", folder / "pictures", "--split", "valid"))
    assert not (tmp_path / "runs" / "evaluation").exists()


def test_ctrl_c_is_no_traceback(call: Call, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluation, "evaluate", interrupted)
    result = call("--pictures", folder / "pictures")
    assert result.exit_code == 130
    assert "the same command goes on" in result.stderr


# -------------------------------------------------------------------------------- names


@pytest.mark.slow
def test_names_of_packs_and_pictures(call: Call, folder: Path, tiny_pack: Path, tmp_path: Path) -> None:
    make_pack(tmp_path / "a=b", generators="general", traits=False)  # a folder whose name looks like NAME=FOLDER
    shutil.copytree(folder / "pictures", tmp_path / "theirs")
    result = call("--pack", tiny_pack, "--pack", "a=b", "--pictures", "theirs/", "--pictures", "x=theirs", "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert tiny_pack.name == "pack"
    assert rows(report, "matching")[:5] == ["pack: general", "pack: auto", "a=b: general", "theirs", "x"]
    assert [*report["facts"]["packs"]] == ["pack", "a=b"]


@pytest.mark.parametrize("given", ["=pictures", "name=", "/"])
def test_a_name_or_a_folder_is_missing(call: Call, given: str) -> None:
    assert f"--pack {given}: give a folder, or NAME=FOLDER." in told(call("--pack", given))


def test_two_of_one_name(call: Call, folder: Path) -> None:
    said = told(call("--pictures", folder / "pictures", "--pictures", f"pictures={folder}"))
    assert "--pictures: two are called pictures; give NAME=FOLDER." in said
    said = told(call("--pictures", f"face={folder / 'pictures'}", "--reference", "face"))
    assert "Two systems are called face; give one of them another name" in said


# -------------------------------------------------------------------------------- judges that took part in training


@pytest.mark.slow
def test_a_network_that_a_training_used_is_refused(call: Call, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "own.onnx").write_bytes(b"weights")
    pictures = ("--pictures", f"ours={folder / 'pictures'}", "--reference", "face", "--json")
    for used, judge, refused in (
        ("ours=dlib", "dlib", True),
        ("ours=own.onnx", "own.onnx", True),
        ("ours=own.onnx", "dlib", False),
    ):
        result = call(*pictures, "--trained-with", used, "--recogniser", judge)
        assert result.exit_code == 0, result.output
        report = json.loads(result.stdout)
        assert ("ours" not in rows(report, "matching")) == refused
        assert any(warning.startswith("ours is in no headline") for warning in report["warnings"]) == refused
        if refused:
            assert "ours" in rows(report, "matching_refused")


def test_trained_with_needs_a_system_and_a_file(call: Call, folder: Path) -> None:
    pictures = ("--pictures", f"ours={folder / 'pictures'}")
    assert "--trained-with dlib: give SYSTEM=FILE, or SYSTEM=dlib." in told(call(*pictures, "--trained-with", "dlib"))
    assert "absent.onnx" in told(call(*pictures, "--trained-with", "ours=absent.onnx"))
    assert "There is no system us; there are ours." in told(call(*pictures, "--trained-with", "us=dlib"))


# -------------------------------------------------------------------------------- what is wrong


def test_nothing_to_evaluate(call: Call) -> None:
    assert "There is nothing to evaluate: give a pack" in told(call())


def test_what_is_missing_is_told(call: Call, folder: Path, tmp_path: Path) -> None:
    pictures = ("--pictures", folder / "pictures")
    assert "absent is no store" in told(call(*pictures, store="absent"))
    assert "absent is no folder of pictures" in told(call("--pictures", "absent"))
    assert "absent" in told(call("--pack", "absent"))
    assert "no voice has a picture of view 'portrait'" in told(call("--reference", "portrait"))
    assert "absent.onnx cannot be read" in told(call(*pictures, "--recogniser", "absent.onnx"))
    (tmp_path / "cache.txt").write_text("this is no database, it is a text that is long enough to be one " * 20)
    assert "cannot be used as a cache" in told(call(*pictures, "--cache", "cache.txt"))


@pytest.mark.parametrize(
    "wrong", [("--people", 1), ("--draws", -1), ("--trials", 0), ("--split", "dev"), ("--voices-per-person", 0)]
)
def test_settings_out_of_range_are_refused_at_once(call: Call, wrong: tuple[str, object]) -> None:
    result = call("--reference", "face", *wrong)
    assert result.exit_code == 2
    assert wrong[0] in result.stderr


def test_the_default_pack_is_the_one_inside(
    call: Call, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def stop(settings: evaluation.EvaluationSettings, *_: object) -> None:
        seen.append(settings.packs)
        raise evaluation.EvaluateError("far enough")

    monkeypatch.setattr(evaluation, "evaluate", stop)
    told(call("--pack", "default"))
    told(call("--pack", "ours=default"))
    (tmp_path / "default").mkdir()
    told(call("--pack", "default"))
    assert seen == [{"default": None}, {"ours": None}, {"default": Path("default")}]


def test_portraits_differ_from_what_the_store_holds(folder: Path) -> None:
    """What makes the perfect system's pictures no copies."""
    assert len({portrait(person.name).tobytes() for person in PEOPLE}) == len(PEOPLE)
    assert portrait("T0").dtype == np.uint8


def test_a_fault_of_the_code_is_no_message_for_the_user(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr(evaluation, "evaluate", broken)
    assert isinstance(call("--pack", "default").exception, ValueError)


@pytest.mark.slow
def test_photographs_for_realism(call: Call, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(judges, "open_close", lambda wheel: asked.append(wheel))
    message = told(call("--pictures", folder / "pictures", "--photographs", tmp_path / "absent"))
    assert "neither a store nor a folder of photographs" in message
    message = told(call("--pictures", folder / "pictures", "--photographs", folder / "store"))
    assert "no faces of view 'portrait'" in message
    assert len(asked) == 2
    done = call("--pictures", folder / "pictures", "--out", "report")
    assert done.exit_code == 0, done.output
    assert len(asked) == 2  # without photographs no network is opened for them
