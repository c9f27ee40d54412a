"""`fit talk` by the command: what it learns and leaves, going on, and the pack that it moves."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from export.add_talk import main as add_talk
from s2f_edge.pack.pack import Pack
from s2f_edge.talk.motion import MotionNetwork, motion_of
from s2f_train import checkpoint
from s2f_train.data.store import Store
from s2f_train.data.talks import opening, read_talk, speakers_of, talks_of
from s2f_train.evaluate.talk import GROUPS
from s2f_train.fit.run import newest_checkpoint
from s2f_train.recipes import find_recipe, load
from tests.tiny_packs import make_pack
from tests.train.fit.fit_tools import assert_same_run, figures, newest_run, one_thread, refused, s2f_train
from tests.train.made_store import crowd, made_store
from tests.train.made_talks import made_talks

RECIPE = """
store = "{folder}/store"
accelerator = "cpu"
batch = 8
steps = 60
rate = 1e-2
clip_gradient = 1.0
log_every = 1
sample_every = 30
save_every = 30
keep = 9

[talk]
held_speakers = ["Zoe"]
held_share = 0.3
versions = 2
speed_share = 0.5
noise_share = 0.25
throat = 0.05
gain = 0.5
cosines = 12
width = 16
dilations = [1, 2]
components = 4
dropout = 0.0
closing_weight = 0.3
silence_weight = 0.3
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("talk")
    made_talks(folder / "store", {"Ann": 12, "Bob": 8, "Carl": 2, "Zoe": 3})
    (folder / "recipe.toml").write_text(RECIPE.format(folder=folder))
    with one_thread():
        yield folder


@pytest.fixture(scope="module")
def run(place: Path) -> Path:
    result = s2f_train("fit", "talk", place / "recipe.toml", f"runs={place}/runs")
    assert result.exit_code == 0, result.output
    return newest_run(place / "runs")


@pytest.fixture(scope="module")
def pack(run: Path, place: Path) -> Path:
    folder = make_pack(place / "pack")
    assert add_talk(["--pack", str(folder), "--run", str(run)]) == 0
    return folder


@pytest.mark.slow
def test_lips_come_to_follow_the_sound(run: Path) -> None:
    rows = figures(run)
    first, last = (np.mean([row["opening"] for row in part]) for part in (rows[:5], rows[-5:]))
    assert last < first / 2
    checked = [row for row in rows if "valid_speaker_opening" in row]
    assert [row["step"] for row in checked] == [30, 60]
    assert checked[-1]["valid_speaker_opening"] > 0.7
    assert checked[-1]["valid_sentence_opening"] > 0.7
    _, facts = checkpoint.load(newest_checkpoint(run))
    assert facts["held_speakers"] == ["Zoe"]
    assert facts["speakers"] == 3
    assert facts["talks"] < 22


@pytest.mark.slow
def test_going_on_gives_the_same_run(run: Path, place: Path, tmp_path: Path) -> None:
    shutil.copytree(run.parent / "cache", tmp_path / "cache")
    words = ["fit", "talk", place / "recipe.toml", f"runs={tmp_path}"]
    assert s2f_train(*words, "steps=30").exit_code == 0
    stopped = newest_run(tmp_path)
    assert s2f_train("fit", "talk", "--resume", stopped, "steps=60").exit_code == 0
    assert_same_run(stopped, run, 60)


@pytest.mark.slow
def test_the_pack_moves_as_the_speaker_does(pack: Path, place: Path) -> None:
    network = MotionNetwork(Pack.open(pack))
    store = Store.open(place / "store")
    talks = [talk for talk in talks_of(store) if talk.identity == "Zoe"]
    speaker = speakers_of(store, talks)["Zoe"]
    for sample in talks:
        talk = read_talk(store, sample, speaker)
        moved = motion_of(network, talk.samples)
        assert len(moved) == len(talk.offsets)
        assert np.corrcoef(opening(moved), opening(talk.offsets))[0, 1] > 0.7


@pytest.mark.slow
def test_evaluate_tells_what_is_new_to_the_pack(pack: Path, place: Path, tmp_path: Path) -> None:
    words = ["evaluate", "--talk", "--store", place / "store", "--pack", pack, "--out", tmp_path / "report"]
    result = s2f_train(*words, "--draws", 50)
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    tables = {part["title"]: part["rows"] for part in report["sections"][0]["parts"]}
    assert [title.partition(":")[0] for title in tables] == [GROUPS[0], GROUPS[1]]
    assert f"{GROUPS[1]}: 3 clips" in tables
    for rows in tables.values():
        found = {row["system"]: row for row in rows}
        assert list(found) == [
            "pack", "still", "mean motion", "loudness", "ridge on MFCCs", "wrong sentence", "real, closed in silence",
            "real",
        ]  # fmt: skip
        assert found["real"]["opening"]["value"] == pytest.approx(1.0)
        assert found["real"]["mouth"]["value"] == 0
        assert found["still"]["opening"]["value"] == 0
        assert found["still"]["silence"]["value"] == 1
        assert found["pack"]["opening"]["value"] > max(0.7, found["wrong sentence"]["opening"]["value"])
        assert found["pack"]["mouth"]["value"] < found["still"]["mouth"]["value"]
        assert abs(found["pack"]["lag"]) <= 1
        assert found["mean motion"]["bilabial"]["value"] == 0
    lines = (tmp_path / "report" / "trials.csv").read_text().splitlines()
    assert len(lines) == 1 + sum(int(title.split()[-2]) for title in tables) * 8
    assert (tmp_path / "report" / "report.html").exists()


def test_a_plan_makes_no_windows(place: Path, tmp_path: Path) -> None:
    result = s2f_train("fit", "talk", place / "recipe.toml", f"runs={tmp_path}", "--dry-run")
    assert result.exit_code == 0, result.output
    assert "GFLOP" in result.output
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_fitted_is_said(place: Path, tmp_path: Path) -> None:
    recipe = place / "recipe.toml"
    assert "no talk is left" in refused("fit", "talk", recipe, 'held_speakers=["Ann","Bob","Carl","Zoe"]')
    assert "lowest, highest" in refused("fit", "talk", recipe, "speed=[1.2, 1.0]")
    assert "above 0" in refused("fit", "talk", recipe, "speed=[0.0, 1.0]")
    assert "below 1" in refused("fit", "talk", recipe, "dropout=1.0")
    assert "dilations" in refused("fit", "talk", recipe, "dilations=[]")
    made_store(tmp_path / "voices", crowd(1, 0, 0, voices=1, photos=0))
    assert "no talking heads" in refused("fit", "talk", recipe, f"store={tmp_path}/voices")


def test_what_cannot_be_added_to_a_pack_is_said(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_pack(tmp_path / "pack")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert add_talk(["--pack", str(folder), "--run", str(tmp_path)]) == 1
    assert "nor a run" in capsys.readouterr().err
    assert add_talk(["--pack", str(place), "--run", str(tmp_path)]) == 1
    assert "is not a model pack" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_the_recipe_is_one() -> None:
    settings = load("talk", find_recipe("default_talk"), ["store=x"])
    assert settings.steps > 0
