"""`fit mouth` by the command, on a made store: what it leaves, going on, learning, and refusals."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from s2f_train import checkpoint
from s2f_train.fit.run import newest_checkpoint
from s2f_train.models.animator import Animator
from tests.train.fit.fit_tools import assert_same_run, newest_run, one_thread, refused, s2f_train
from tests.train.made_store import crowd, made_store

pytestmark = pytest.mark.slow

RECIPE = """
store = "{folder}/store"
runs = "{folder}/runs"
accelerator = "cpu"
batch = 4
steps = 4
log_every = 1
sample_every = 2
save_every = 2

[mouth]
widths = [4, 4, 6, 6]
critic_width = 2
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("mouth")
    made_store(folder / "store", crowd(6, 0, 2, voices=1, photos=0, portraits=2, mouths=3))
    (folder / "recipe.toml").write_text(RECIPE.format(folder=folder))
    with pytest.MonkeyPatch.context() as patch, one_thread():
        patch.setattr("s2f_train.fit.mouth.ALONE", 1)
        yield folder


@pytest.fixture(scope="module")
def run(place: Path) -> Path:
    result = s2f_train("fit", "mouth", place / "recipe.toml")
    assert result.exit_code == 0, result.output
    return newest_run(place / "runs")


def test_a_run_leaves_an_animator_curves_and_sheets(run: Path) -> None:
    networks, facts = checkpoint.load(newest_checkpoint(run))
    assert isinstance(networks["animator"], Animator)
    assert networks["animator"].settings == {"mouth": [4, 4, 6, 6]}
    assert facts["mouths"] == {"made": 36}
    rows = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
    assert {"pixel"} <= rows[0].keys()
    assert {"pixel", "adversarial", "d_real", "d_drawn", "valid_pixel", "sharpness"} <= rows[1].keys()
    assert sorted(path.name for path in (run / "samples").iterdir()) == ["000002.png", "000004.png"]


def test_four_steps_are_two_and_two(run: Path, place: Path) -> None:
    first = s2f_train("fit", "mouth", place / "recipe.toml", "steps=2", f"runs={place}/halves")
    assert first.exit_code == 0, first.output
    half = newest_run(place / "halves")
    more = s2f_train("fit", "mouth", "--resume", half, "steps=4")
    assert more.exit_code == 0, more.output
    assert_same_run(run, half, 4)


def test_it_learns_to_paint_teeth_and_dark(place: Path) -> None:
    result = s2f_train(
        "fit", "mouth", place / "recipe.toml", "steps=150", "rate=3e-3", "batch=8", "adversarial_weight=0",
        "sample_every=50", "save_every=150", "ema=0.9", f"runs={place}/learns",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    rows = (newest_run(place / "learns") / "stats.jsonl").read_text().splitlines()
    errors = [row["valid_pixel"] for row in map(json.loads, rows) if "valid_pixel" in row]
    assert errors[-1] < 0.25  # of people that it has not seen; grey has 0.8


def test_the_plan_is_told_without_training(place: Path) -> None:
    result = s2f_train("fit", "mouth", place / "recipe.toml", "--dry-run")
    assert result.exit_code == 0, result.output
    assert "mouth_critic" in result.output


def test_a_store_without_mouths_is_refused(place: Path, tmp_path: Path) -> None:
    made_store(tmp_path / "store", crowd(4, 0, 0, voices=1, photos=1, portraits=1))
    assert "no mouths in its training split" in refused(
        "fit", "mouth", place / "recipe.toml", f"store={tmp_path}/store"
    )


def test_a_critic_that_is_trained_first_changes_its_weights(run: Path) -> None:
    networks, _ = checkpoint.load(newest_checkpoint(run))
    before = type(networks["mouth_critic"])(2).state_dict()
    after = networks["mouth_critic"].state_dict()
    assert any(not torch.equal(before[name], after[name]) for name in before)
