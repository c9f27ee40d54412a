"""Run folders: numbered, whole, gone on with."""

from __future__ import annotations

import importlib.metadata
import json
import logging
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from s2f_train import checkpoint
from s2f_train.config import GanSettings
from s2f_train.fit import run
from s2f_train.fit.run import RunError, RunFolder, newest_checkpoint
from s2f_train.models.face import Classifier
from s2f_train.recipes import load

SETTINGS = GanSettings(store="made store ü😀", betas=(0.5, 0.9), gender="male")


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path / "runs", "gan", "gan-male", SETTINGS)


def save_at(folder: RunFolder, step: int) -> Path:
    torch.manual_seed(0)
    networks: dict[str, nn.Module] = {"head": Classifier(2, 1)}
    checkpoint.save(folder.checkpoint_at(step), networks, {"step": step})
    return folder.checkpoint_at(step)


def stats(path: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (path / "stats.jsonl").read_text().splitlines()]


def test_folders_are_numbered(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    for number in (0, 1):
        made = RunFolder.create(root, "gan", "gan-male", SETTINGS)
        made.close()
        assert made.path == root / f"0000{number}-gan-male"
    (root / "00041-voice").mkdir()
    (root / "cache").mkdir()
    (root / "notes-00077-x").touch()
    last = RunFolder.create(root, "gan", "other", SETTINGS)
    last.close()
    assert last.path.name == "00042-other"


def test_fits_that_begin_together_have_a_folder_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mkdir = Path.mkdir

    def late(path: Path, *arguments: Any, **options: Any) -> None:
        if path.name == "00000-gan":  # another fit was faster
            path.parent.joinpath("other").rename(path)
        mkdir(path, *arguments, **options)

    (tmp_path / "other").mkdir()
    monkeypatch.setattr(Path, "mkdir", late)
    made = RunFolder.create(tmp_path, "gan", "gan", SETTINGS)
    made.close()
    assert made.path.name == "00001-gan"
    assert not list((tmp_path / "00000-gan").iterdir())


def test_settings_are_kept(folder: RunFolder) -> None:
    folder.close()
    assert load("gan", folder.path / "settings.toml", []) == SETTINGS


def test_the_environment_is_kept(folder: RunFolder) -> None:
    folder.close()
    facts = json.loads((folder.path / "environment.json").read_text())
    assert facts["packages"]["torch"] == importlib.metadata.version("torch")
    assert set(facts) == {"s2f", "commit", "command", "python", "machine", "cores", "gpus", "packages"}
    assert facts["packages"]["numpy"] == np.__version__


def test_what_is_said_is_in_the_log_until_the_end(folder: RunFolder) -> None:
    logger = logging.getLogger("s2f_train.somewhere")
    logger.warning("a word")
    folder.close()
    logger.warning("too late")
    text = (folder.path / "log.txt").read_text()
    assert "a word" in text
    assert "too late" not in text


def events(path: Path) -> EventAccumulator:
    found = EventAccumulator(str(path / "tensorboard"))
    found.Reload()
    return found


def test_figures_are_in_both_places(folder: RunFolder) -> None:
    folder.figures(10, {"loss": 1.5, "other": 0.25})
    folder.figures(20, {"loss": 0.5})
    folder.close()
    assert stats(folder.path) == [{"step": 10, "loss": 1.5, "other": 0.25}, {"step": 20, "loss": 0.5}]
    assert [(e.step, e.value) for e in events(folder.path).Scalars("loss")] == [(10, 1.5), (20, 0.5)]


def test_a_sheet(folder: RunFolder) -> None:
    pixels = np.random.default_rng(0).integers(256, size=(128, 64, 3), dtype=np.uint8)
    folder.sheet(500, pixels)
    folder.close()
    with Image.open(folder.path / "samples" / "000500.png") as image:
        np.testing.assert_array_equal(np.asarray(image), pixels)


def test_figures_that_will_be_made_again_go(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    for step in (10, 20, 30, 40):
        folder.figures(step, {"loss": float(step)})
    folder.close()
    later = time.time() + 60
    monkeypatch.setattr(time, "time", lambda: later)  # TensorBoard reads its files in the order of their seconds
    again = RunFolder.reopen(folder.path, 20)
    again.figures(30, {"loss": 31.0})
    again.close()
    assert [(row["step"], row["loss"]) for row in stats(folder.path)] == [(10, 10), (20, 20), (30, 31)]
    assert [(e.step, e.value) for e in events(folder.path).Scalars("loss")] == [(10, 10), (20, 20), (30, 31)]


@pytest.mark.parametrize("rest", ['{"step": 20, "lo', "{}", "7", ""])
def test_a_line_that_a_full_disk_cut_is_no_end(folder: RunFolder, rest: str) -> None:
    folder.figures(10, {"loss": 1.0})
    folder.close()
    with (folder.path / "stats.jsonl").open("a") as file:
        file.write(rest)
    again = RunFolder.reopen(folder.path, 30)
    again.figures(40, {"loss": 2.0})
    again.close()
    assert [row["step"] for row in stats(folder.path)] == [10, 40]


def test_a_run_without_figures_is_gone_on_with(folder: RunFolder) -> None:
    folder.close()
    RunFolder.reopen(folder.path, 5).close()
    assert not (folder.path / "stats.jsonl").exists()


def test_the_newest_checkpoints_are_kept(folder: RunFolder) -> None:
    for step in (900, 1000, 999_000, 1_000_000):  # as words, the last comes before the third
        save_at(folder, step)
    folder.forget_old(3)
    assert [p.name for p in run.checkpoints(folder.path)] == ["step-001000", "step-999000", "step-1000000"]
    folder.forget_old(1)
    folder.close()
    assert newest_checkpoint(folder.path) == folder.checkpoint_at(1_000_000)
    assert newest_checkpoint(folder.checkpoint_at(1_000_000)) == folder.checkpoint_at(1_000_000)


def test_what_lies_beside_the_checkpoints_stays(folder: RunFolder) -> None:
    kept = save_at(folder, 100)
    shutil.copytree(kept, kept.with_name("step-000100-good"))
    (kept.parent / "step-notes").mkdir()
    (kept.parent / ".step-000300-x").mkdir()
    save_at(folder, 200)
    folder.forget_old(1)
    folder.close()
    assert newest_checkpoint(folder.path).name == "step-000200"
    names = {p.name for p in kept.parent.iterdir()}
    assert names == {"step-000200", "step-000100-good", "step-notes", ".step-000300-x"}


def test_files_of_someone_in_an_old_checkpoint_stay(folder: RunFolder) -> None:
    (save_at(folder, 100) / "notes.txt").write_text("mine")
    save_at(folder, 200)
    folder.forget_old(1)
    folder.close()
    assert (folder.checkpoint_at(100) / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("made", [False, True])
def test_no_run(tmp_path: Path, made: bool) -> None:
    if made:
        (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    with pytest.raises(RunError, match="neither a checkpoint nor a run with one"):
        newest_checkpoint(tmp_path / "run")
