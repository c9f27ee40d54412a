"""Whole fits by the command, in this process: what a run leaves, going on with one, plans, samples."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from s2f_train import checkpoint
from s2f_train.models.voice import GE2EEncoder, VoiceEmbeddingNetwork
from s2f_train.recipes import load
from tests.train.fit.fit_tools import (
    assert_same_run,
    begin,
    figures,
    meta,
    newest_run,
    one_thread,
    refused,
    s2f_train,
    tensors,
)

GAN = ["optimiser=rmsprop", "ema=0.9", "schedule=cosine", "pixel_weight=1.0", "view=s2f", "gender=general"]
PAIRED = ["optimiser=adam", "view=face", "identity_weight=0", "pixel_weight=1"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with one_thread():
        yield begin(tmp_path_factory.mktemp("fits"))


@pytest.fixture(scope="module")
def recipe(place: Path) -> Path:
    return place / "recipe.toml"


@pytest.fixture(scope="module")
def gan_run(place: Path, recipe: Path) -> Path:
    assert s2f_train("fit", "gan", recipe, f"runs={place}/gans", *GAN).exit_code == 0
    return newest_run(place / "gans")


def copied(run: Path, folder: Path, last: int) -> Path:
    """The run as it was if a crash came before its next checkpoint after step `last`."""
    other = shutil.copytree(run, folder / run.name)
    for path in (other / "checkpoints").iterdir():
        if int(path.name.removeprefix("step-")) > last:
            shutil.rmtree(path)
    return other


# ------------------------------------------------------------------------------------ what a run leaves


@pytest.mark.slow
def test_what_a_run_leaves(gan_run: Path, recipe: Path) -> None:
    assert gan_run.name == "00000-gan-general"
    assert {path.name for path in gan_run.iterdir()} == {
        "settings.toml", "environment.json", "log.txt", "stats.jsonl", "tensorboard", "samples", "checkpoints",
    }  # fmt: skip
    runs = f"runs={gan_run.parent}"
    assert load("gan", gan_run / "settings.toml", []) == load("gan", recipe, [runs, *GAN])
    facts = json.loads((gan_run / "environment.json").read_text())
    assert facts["packages"]["torch"] == torch.__version__
    assert isinstance(facts["command"], list)


def test_the_figures_of_a_gan(gan_run: Path) -> None:
    rows = [json.loads(line) for line in (gan_run / "stats.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    losses = {"d_real", "d_fake", "c_real", "g_real", "g_identity", "pixel"}
    for row in rows:
        assert set(row) == {"step", "steps_per_second", "data_share", *losses}
        assert all(np.isfinite(value) for value in row.values())
    assert 0 < rows[0]["d_real"] < 2  # near to ln 2 at the beginning
    assert rows[0]["c_real"] == pytest.approx(np.log(4), abs=0.5)  # of four people


def test_tensorboard_has_the_same_figures(gan_run: Path) -> None:
    events = EventAccumulator(str(gan_run / "tensorboard"))
    events.Reload()
    rows = [json.loads(line) for line in (gan_run / "stats.jsonl").read_text().splitlines()]
    for name in rows[0].keys() - {"step"}:
        assert [(e.step, e.value) for e in events.Scalars(name)] == [
            (row["step"], pytest.approx(row[name], rel=1e-6)) for row in rows
        ]
    assert [image.step for image in events.Images("samples")] == [2, 4]


def test_the_sheets_show_every_speaker(gan_run: Path) -> None:
    sheets = sorted((gan_run / "samples").iterdir())
    assert [path.name for path in sheets] == ["000002.png", "000004.png"]
    pixels = [np.asarray(Image.open(path)) for path in sheets]
    assert pixels[0].shape == (2 * 64, 4 * 64, 3)  # the pictures of four speakers, and what is made for them
    np.testing.assert_array_equal(pixels[0][:64], pixels[1][:64])
    assert (pixels[0][64:] != pixels[1][64:]).any()


def test_a_checkpoint_has_all_to_export_and_to_go_on(gan_run: Path) -> None:
    last = gan_run / "checkpoints" / "step-000004"
    networks, facts = checkpoint.load(last)
    assert set(networks) == {
        "voice", "generator_general", "training_generator", "face", "discriminator", "classifier", "traits",
    }  # fmt: skip
    assert (facts["fit"], facts["step"], facts["run"]) == ("gan", 4, gan_run.name)
    assert facts["identities"] == 4
    assert set(meta(last)["state"]) == {"generator", "critics"}


def test_old_checkpoints_go(place: Path, recipe: Path) -> None:
    runs = place / "kept"
    assert s2f_train("fit", "voice", recipe, f"runs={runs}", "save_every=1", "keep=3").exit_code == 0
    assert sorted(path.name for path in (newest_run(runs) / "checkpoints").iterdir()) == [
        "step-000002",
        "step-000003",
        "step-000004",
    ]


def test_the_log_says_what_was_said(place: Path, recipe: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "s2f_train")
    runs = place / "said"
    assert s2f_train("fit", "voice", recipe, f"runs={runs}").exit_code == 0
    text = (newest_run(runs) / "log.txt").read_text()
    assert re.search(r"voice step 3/4: speaker \d\.\d{3}, .* steps/s, \d+ % waiting for data, 0:00 left\n", text)
    assert "finished; the last checkpoint is" in text
    assert "valid_equal_error_rate" in text
    assert "4 speakers" in caplog.text


# ------------------------------------------------------------------------------------ going on


@pytest.mark.parametrize(
    ("kind", "given", "then"),
    [
        # The batches of a worker process are those of a thread.
        ("voice", ["noise_share=0.5", "room_share=0.5", "codec_share=0.5", "workers=1"], ["workers=0"]),
        ("voice", ["optimiser=sgd", "schedule=cosine", "clip_gradient=0.1"], []),
        ("gan", GAN, []),
        ("gan", ["optimiser=adam", "variant=wen2019"], []),
        ("gan", PAIRED, []),
    ],
)
@pytest.mark.slow
def test_after_a_crash_it_goes_on_bit_for_bit(
    recipe: Path, tmp_path: Path, kind: str, given: list[str], then: list[str]
) -> None:
    assert s2f_train("fit", kind, recipe, f"runs={tmp_path}/runs", *given).exit_code == 0
    whole = newest_run(tmp_path / "runs")
    crashed = copied(whole, tmp_path / "crashed", 2)
    assert s2f_train("fit", kind, "--resume", crashed, *then).exit_code == 0
    assert_same_run(whole, crashed, 4)
    changed = tensors(crashed / "checkpoints" / "step-000002")
    last = tensors(crashed / "checkpoints" / "step-000004")
    trained = [name for name in last if name.endswith("model.0.weight") and not name.startswith("state")]
    trained = [name for name in trained if kind == "voice" or not name.startswith("voice/")]
    assert trained
    assert all(not torch.equal(changed[name], last[name]) for name in trained)  # else this proves nothing


@pytest.mark.slow
def test_a_checkpoint_names_the_public_voice_network(gan_run: Path, recipe: Path, tmp_path: Path) -> None:
    """Whoever judges the result must know that it comes from there."""
    weights = tmp_path / "pretrained.pt"
    torch.save({"model_state": GE2EEncoder().state_dict()}, weights)
    words = [*PAIRED, f"voice={weights}"]
    assert s2f_train("fit", "gan", recipe, f"runs={tmp_path}/runs", *words).exit_code == 0
    run = newest_run(tmp_path / "runs")
    networks, facts = checkpoint.load(run / "checkpoints" / "step-000004")
    assert facts["outside_networks"] == {"voice": hashlib.sha256(weights.read_bytes()).hexdigest()}
    assert meta(gan_run / "checkpoints" / "step-000004")["training"]["outside_networks"] == {}
    assert facts["pairs"] == 4
    assert set(networks) == {"voice", "generator_general", "face", "discriminator", "traits"}
    assert all(np.isfinite(row["pixel"]) for row in figures(run))
    plan = s2f_train("fit", "gan", recipe, f"runs={tmp_path}/plans", *words, "--dry-run")
    assert plan.exit_code == 0, plan.output
    assert not (tmp_path / "plans").exists()


@pytest.mark.slow
def test_a_finished_run_goes_further(place: Path, recipe: Path, tmp_path: Path) -> None:
    words = ["optimiser=adam", "ema=0.5"]
    assert s2f_train("fit", "gan", recipe, f"runs={tmp_path}/whole", *words).exit_code == 0
    assert s2f_train("fit", "gan", recipe, f"runs={tmp_path}/halves", "steps=2", *words).exit_code == 0
    halves = newest_run(tmp_path / "halves")
    assert f"{halves} is at step 2 of 2; to go further, give steps=N." in refused("fit", "gan", "--resume", halves)
    assert s2f_train("fit", "gan", "--resume", halves, "steps=4").exit_code == 0
    assert_same_run(newest_run(tmp_path / "whole"), halves, 4)
    assert load("gan", halves / "settings.toml", []).steps == 4
    assert len(list((tmp_path / "halves").glob("0*"))) == 1  # no new run folder
    events = EventAccumulator(str(halves / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("d_real")] == [1, 2, 3, 4]


def test_a_run_goes_on_with_another_rate(place: Path, recipe: Path, tmp_path: Path) -> None:
    run = shutil.copytree(place / "runs" / "00000-voice", tmp_path / "00000-voice")
    assert s2f_train("fit", "voice", "--resume", run, "steps=3", "rate=0", "keep=9").exit_code == 0
    before, after = (tensors(run / "checkpoints" / f"step-00000{step}") for step in (2, 3))
    assert torch.equal(before["voice/model.0.weight"], after["voice/model.0.weight"])
    assert not torch.equal(before["voice/model.1.running_mean"], after["voice/model.1.running_mean"])  # it did a step


def test_what_cannot_be_gone_on_with(place: Path, recipe: Path, gan_run: Path, tmp_path: Path) -> None:
    voice = place / "runs" / "00000-voice"
    assert "a run goes on with its own settings" in refused("fit", "gan", recipe, "--resume", gan_run)
    assert f"{tmp_path} is no run" in refused("fit", "gan", "--resume", tmp_path)
    assert "settings.toml" in refused("fit", "gan", "--resume", gan_run / "checkpoints" / "step-000004")
    assert "optimiser is another one" in refused("fit", "voice", "--resume", voice, "steps=3", "optimiser=sgd")
    assert "cannot go on from it" in refused("fit", "voice", "--resume", voice, "steps=3", "channels=[64,8,8]")
    empty = shutil.copytree(voice, tmp_path / "empty", ignore=shutil.ignore_patterns("checkpoints"))
    assert "neither a checkpoint nor a run with one" in refused("fit", "voice", "--resume", empty)
    # What was asked in vain has changed nothing.
    assert load("voice", voice / "settings.toml", []).steps == 2
    assert [row["step"] for row in figures(voice)] == [1, 2]


# ------------------------------------------------------------------------------------ plans


@pytest.mark.slow
def test_a_plan_of_a_published_recipe(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    checkpoint.save(tmp_path / "voice", {"voice": VoiceEmbeddingNetwork()}, {})
    before = sorted(path.name for path in place.rglob("*"))
    words = ["fit", "gan", "wen2019", f"store={place}/store", f"voice={tmp_path}/voice", "--dry-run"]
    plans = {batch: s2f_train(*words, f"batch={batch}") for batch in (64, 128)}
    for batch, plan in plans.items():
        assert plan.exit_code == 0, plan.output
        assert f"50000 steps of {batch} voices" in plan.output
        assert re.search(r"voice +2,670,720\n", plan.output)  # docs/spec.md, section 3
        assert re.search(r"generator_general +12,191,875\n", plan.output)
        assert 'variant = "wen2019"' in plan.output
    flops, memory = (
        {
            batch: float(re.search(pattern, plan.output)[1].replace(",", ""))  # type: ignore[index]
            for batch, plan in plans.items()
        }
        for pattern in (r"computing +([\d.,]+) GFLOP", r"activations about ([\d,]+)")
    )
    assert flops[128] == pytest.approx(2 * flops[64], rel=1e-3)
    assert memory[128] == pytest.approx(2 * memory[64], rel=1e-2)
    # G alone takes 1.08 GFLOP a picture forwards and twice that backwards (docs/spec.md, section 3).
    assert flops[128] > 128 * 3 * 1.08
    assert sorted(path.name for path in place.rglob("*")) == before
    assert [path.name for path in tmp_path.iterdir()] == ["voice"]


def test_a_plan_of_a_voice_network_of_several_processes(place: Path, recipe: Path, tmp_path: Path) -> None:
    words = ["fit", "voice", "thesis2023_general", f"store={place}/store", f"runs={tmp_path}/runs", "--dry-run"]
    one, four = s2f_train(*words), s2f_train(*words, "devices=4", "accelerator=cuda")
    assert re.search(r"voice +2,670,720\n", one.output)
    assert re.search(r"speakers +4\n", one.output)
    each = [float(re.search(r"computing +([\d.,]+)", p.output)[1].replace(",", "")) for p in (one, four)]  # type: ignore[index]
    assert each[0] == pytest.approx(4 * each[1], rel=0.01)
    assert not (tmp_path / "runs").exists()


# ------------------------------------------------------------------------------------ samples


def test_a_sample_of_a_run(gan_run: Path, examples: Path, tmp_path: Path) -> None:
    clips = [examples / "male.wav", examples / "female.wav"]
    out = tmp_path / "of-run.png"
    result = s2f_train("sample", gan_run, *clips, "--out", out)
    assert result.exit_code == 0
    assert str(out) in result.output
    with Image.open(out) as image:
        assert image.size == (2 * 256, 256)
    assert (
        s2f_train("sample", gan_run / "checkpoints" / "step-000004", *clips, "--out", tmp_path / "b.png").exit_code == 0
    )
    assert (tmp_path / "b.png").read_bytes() == out.read_bytes()


def test_no_sample(place: Path, gan_run: Path, examples: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    samples, rate = soundfile.read(examples / "male.wav")
    soundfile.write(tmp_path / "short.wav", samples[rate : 3 * rate // 2], rate)
    (tmp_path / "text.wav").write_text("no sound")
    end = ["--out", out]
    assert "at least 1.0 s" in refused("sample", gan_run, tmp_path / "short.wav", *end)
    assert "text.wav" in refused("sample", gan_run, tmp_path / "text.wav", *end)
    assert "there.wav" in refused("sample", gan_run, tmp_path / "there.wav", *end)
    voice = place / "runs" / "00000-voice"
    assert "has no generator to sample" in refused("sample", voice, examples / "male.wav", *end)
    assert "neither a checkpoint nor a run" in refused("sample", tmp_path, examples / "male.wav", *end)
    assert not out.exists()
    (tmp_path / "file").touch()
    assert "cannot be written" in refused(
        "sample", gan_run, examples / "male.wav", "--out", tmp_path / "file" / "x.png"
    )
