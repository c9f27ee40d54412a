"""What the tests of whole fits share: a small store with a recipe, the command in this process, and comparing."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import Result
from lightning_fabric import Fabric
from safetensors.torch import load_file
from torch import Tensor
from typer.testing import CliRunner

from s2f_train import checkpoint
from s2f_train.cli.main import app
from s2f_train.config import GanSettings
from s2f_train.data.landmarks import MIRRORED
from s2f_train.data.store import Store
from s2f_train.fit.gan import GanTask
from s2f_train.models.voice import VoiceEmbeddingNetwork
from s2f_train.recipes import build
from tests.train.made_store import crowd, made_store

RECIPE = """
store = "{folder}/store"
runs = "{folder}/runs"
accelerator = "cpu"
batch = 8
steps = 4
log_every = 1
sample_every = 2
save_every = 2

[voice]
channels = [64, 16, 16]
embedding_size = 8
min_frames = 40
max_frames = 60

[gan]
voice = "{folder}/runs/00000-voice"
channels = [16, 8, 8, 8, 8]
face_channels = [4, 8, 8, 8, 8]
face_embedding = 8
min_frames = 40
max_frames = 60
"""


def begin(folder: Path) -> Path:
    """Writes a store of six speakers, FOLDER/recipe.toml, and a run of `fit voice`, FOLDER/runs/00000-voice."""
    made_store(folder / "store", crowd(4, 2, 0, voices=2, clips=1, photos=1), flac=True)
    (folder / "recipe.toml").write_text(RECIPE.format(folder=folder))
    assert s2f_train("fit", "voice", folder / "recipe.toml", "steps=2").exit_code == 0
    return folder


def points_by_lightness(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Landmarks for made pictures, which show no faces: a shape of its own, moved by how light a picture is."""
    own = torch.rand(len(MIRRORED), 2, generator=torch.Generator().manual_seed(0)) * 0.4 + 0.3
    light = pictures.float().mean(dim=(1, 2, 3)) / 255
    return own + 0.1 * (light[:, None, None] - 0.5), torch.ones(len(pictures), dtype=torch.bool)


@contextmanager
def one_thread() -> Iterator[None]:
    """Networks this small gain nothing by more, and threads that wait for each other lose much on busy cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def s2f_train(*words: object) -> Result:
    """Runs the command in this process. A traceback, of which a user has no use, is a failure here."""
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception and not isinstance(result.exception, SystemExit):
        pytest.fail("".join(traceback.format_exception(result.exception)))
    return result


def refused(*words: object) -> str:
    """Runs a command that must fail with one line; gives that."""
    result = s2f_train(*words)
    assert result.exit_code == 1, result.output
    lines = result.output.strip().splitlines()
    assert len(lines) == 1, result.output
    assert lines[0].startswith("error: ")
    return lines[0]


def gan_task(store: Store, voice: Path, fabric: Fabric, runs: Path, **values: Any) -> GanTask:
    """A small generator's fit whose steps a test makes itself."""
    settings: dict[str, Any] = {
        "store": str(store.folder), "voice": str(voice), "runs": str(runs), "precision": "64-true",
        "accelerator": "cpu", "channels": [6] * 5, "face_channels": [5] * 5, "face_embedding": 7, "batch": 6,
        "min_frames": 40, "max_frames": 80,
    }  # fmt: skip
    return GanTask(build(GanSettings, settings | values), fabric)


def newest_run(runs: Path) -> Path:
    return max(path for path in runs.iterdir() if path.name != "cache")


def tensors(checkpoint: Path) -> dict[str, torch.Tensor]:
    """All that a checkpoint holds: FILE/NAME -> tensor."""
    return {
        f"{path.stem}/{name}": tensor
        for path in checkpoint.glob("*.safetensors")
        for name, tensor in load_file(path).items()
    }


def meta(checkpoint: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((checkpoint / "meta.json").read_text())
    return facts


def figures(run: Path) -> list[dict[str, float]]:
    """The lines of stats.jsonl, without what a clock says."""
    lines = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in ("steps_per_second", "data_share")} for line in lines]


def assert_same_run(a: Path, b: Path, step: int) -> None:
    """Networks, optimisers, facts and figures, bit for bit."""
    a_last, b_last = (run / "checkpoints" / f"step-{step:06d}" for run in (a, b))
    first, second = tensors(a_last), tensors(b_last)
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []
    assert meta(a_last) == meta(b_last)
    assert figures(a) == figures(b)


def at_step(monkeypatch: pytest.MonkeyPatch, task: type[Any], number: int, act: Callable[[], None]) -> None:
    """Does something in a step of a task."""
    step = task.step

    def acting(self: Any, batch: Any, at: int) -> Any:
        if at == number:
            act()
        return step(self, batch, at)

    monkeypatch.setattr(task, "step", acting)


def heard_voice(folder: Path) -> Path:
    """A checkpoint of a small voice network on logmel-64 whose norms have heard something."""
    torch.manual_seed(1)
    network = VoiceEmbeddingNetwork((64, 12, 12), 8)
    for _ in range(20):
        network(torch.randn(8, 64, 40))
    checkpoint.save(folder, {"voice": network}, {"fit": "voice", "step": 1})
    return folder
