"""`fit light` by the command: what it leaves, going on, and the variant of its pack that it becomes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from export.variants import main as variants
from s2f_edge import Speech2Face
from s2f_edge.pack.network import Network
from s2f_edge.pack.pack import Pack
from s2f_train import checkpoint
from s2f_train.data import heard_windows
from s2f_train.data.heard_windows import FRAMES, HeardWindows
from s2f_train.fit.run import newest_checkpoint
from s2f_train.models.light import LightEncoder
from s2f_train.recipes import load
from tests.tiny_packs import make_pack
from tests.train.fit.fit_tools import assert_same_run, newest_run, one_thread, refused, s2f_train
from tests.train.made_store import crowd, made_store

RECIPE = """
store = "{folder}/store"
accelerator = "cpu"
batch = 16
steps = 40
rate = 1e-2
log_every = 1
sample_every = 20
save_every = 20
keep = 9

[light]
pack = "{folder}/pack"
windows = 160
speed_share = 0.5
noise_share = 0.25
telephone_share = 0.1
stem = [4, 8]
width = 16
narrow = 8
dilations = [1, 2]
last = 24
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("light")
    made_store(folder / "store", crowd(4, 2, 0, voices=2, photos=0), flac=True)
    make_pack(folder / "pack", "fbank-80")
    (folder / "recipe.toml").write_text(RECIPE.format(folder=folder))
    with one_thread():
        yield folder


@pytest.fixture(scope="module")
def run(place: Path) -> Path:
    result = s2f_train("fit", "light", place / "recipe.toml", f"runs={place}/runs")
    assert result.exit_code == 0, result.output
    return newest_run(place / "runs")


@pytest.mark.slow
def test_it_comes_to_say_what_the_pack_says(run: Path, place: Path) -> None:
    rows = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
    first, last = (np.mean([row["distance"] for row in part]) for part in (rows[:5], rows[-5:]))
    assert last < first / 2
    checked = [row for row in rows if "valid_cosine" in row]
    assert [row["step"] for row in checked] == [20, 40]
    assert checked[-1]["valid_cosine_p5"] <= checked[-1]["valid_cosine"] <= 1.0
    networks, facts = checkpoint.load(newest_checkpoint(run))
    assert isinstance(networks["voice"], LightEncoder)
    assert (facts["voices"], facts["speakers"], facts["pack"]["of"]) == (8, 4, Pack.open(place / "pack").sha256)


@pytest.mark.slow
def test_windows_are_labelled_by_the_pack_as_the_fit_sees_them(run: Path, place: Path) -> None:
    (folder,) = (run.parent / "cache").glob("heard-*")
    heard = HeardWindows.read(folder)
    network = Network(Pack.open(place / "pack"), "voice.onnx", "cpu", 1)
    assert [len(heard.features[frames]) for frames in FRAMES] == [140, 20]
    for frames in FRAMES:
        features = heard.features[frames][:8]
        assert features.shape[1:] == (frames, 80)
        assert np.abs(features.mean(axis=1, dtype=np.float64)).max() < 0.01
        said = network.run({"features": features.astype(np.float32)})["embedding"]
        assert np.abs(said - heard.embeddings[frames][:8]).max() < 1e-5
        assert len(np.unique(features.reshape(8, -1), axis=0)) == 8


@pytest.mark.slow
def test_windows_are_the_same_made_by_processes(
    run: Path, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heard_windows, "FEW", 100)
    assert s2f_train("fit", "light", place / "recipe.toml", f"runs={tmp_path}", "steps=1").exit_code == 0
    made_here = list((run.parent / "cache").glob("heard-*/*.npy"))
    assert len(made_here) == 4
    for one in made_here:
        assert np.array_equal(np.load(one), np.load(tmp_path / one.relative_to(run.parent)))


@pytest.mark.slow
def test_going_on_gives_the_same_run(run: Path, place: Path, tmp_path: Path) -> None:
    """Nor are the windows made again."""
    shutil.copytree(run.parent / "cache", tmp_path / "cache")
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.npy")}
    words = ["fit", "light", place / "recipe.toml", f"runs={tmp_path}"]
    assert s2f_train(*words, "steps=20").exit_code == 0
    stopped = newest_run(tmp_path)
    assert s2f_train("fit", "light", "--resume", stopped, "steps=40").exit_code == 0
    assert_same_run(stopped, run, 40)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.npy")} == made


@pytest.mark.slow
def test_it_becomes_the_light_variant(
    run: Path, place: Path, examples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pack = Path(shutil.copytree(place / "pack", tmp_path / "pack"))
    clips = tmp_path / "clips"
    clips.mkdir()
    for i in range(6):
        samples, rate = soundfile.read(examples / ("male.wav", "female.wav")[i % 2])
        soundfile.write(clips / f"{i}.wav", samples[i * 2500 :], rate)
    words = ["--pack", str(pack), "--variant", "light", "--speech", str(clips)]
    assert variants(words) == 1
    assert "light needs --run" in capsys.readouterr().err
    assert variants([*words, "--run", str(run)]) == 0
    variant = Pack.open(pack, "light")
    assert (variant.manifest.weights, variant.manifest.voice.network) == ("light", "light")
    assert {path.name for path in (pack / "light").iterdir()} == {"manifest.json", "voice.onnx"}
    assert variant.read("traits.onnx") == (pack / "traits.onnx").read_bytes()
    assert variant.manifest.variant is not None
    ours, theirs = (Speech2Face(pack, "cpu", variant=name).embed(clips / "0.wav") for name in (None, "light"))
    cosine = float(ours.embedding @ theirs.embedding)
    assert variant.manifest.variant.cosine[0] - 1e-5 <= cosine < 0.99999

    # of a pack that has changed since
    manifest = json.loads((pack / "manifest.json").read_text()) | {"version": "2"}
    (pack / "manifest.json").write_text(json.dumps(manifest))
    assert variants([*words, "--run", str(run)]) == 1
    assert "was taught by tiny 1" in capsys.readouterr().err


def test_a_plan_needs_no_windows(place: Path, tmp_path: Path) -> None:
    result = s2f_train("fit", "light", place / "recipe.toml", f"runs={tmp_path}", "--dry-run")
    assert result.exit_code == 0, result.output
    assert "GFLOP" in result.output
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_fitted_is_said(place: Path, tmp_path: Path) -> None:
    recipe = place / "recipe.toml"
    assert "pack is not set" in refused("fit", "light", recipe, "pack=")
    assert "is not a model pack" in refused("fit", "light", recipe, f"pack={tmp_path}")
    other = make_pack(tmp_path / "other", "melpower-40")
    assert "hears melpower-40" in refused("fit", "light", recipe, f"pack={other}")
    assert "above 0" in refused("fit", "light", recipe, "speed=[0.0, 1.0]")
    assert "lowest, highest" in refused("fit", "light", recipe, "speed=[1.2, 1.0]")
    assert "dilations" in refused("fit", "light", recipe, "dilations=[]")


@pytest.mark.parametrize("frames", [1, 33, 200, 501])
def test_any_length_gives_a_unit_vector(frames: int) -> None:
    network = LightEncoder(last=8).eval()
    with torch.inference_mode():
        said = network(torch.randn(2, frames, 80))
    assert said.shape == (2, 64)
    assert torch.allclose(said.norm(dim=1), torch.ones(2), atol=1e-5)


def test_the_recipe_is_of_the_networks_default_widths() -> None:
    recipe = Path(__file__).parents[3] / "s2f_train" / "configs" / "light.toml"
    settings = load("light", recipe, [])
    network = LightEncoder(settings.stem, settings.width, settings.narrow, settings.dilations, settings.last)  # type: ignore[attr-defined]
    assert network.settings == LightEncoder().settings
