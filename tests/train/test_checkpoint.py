"""Checkpoints: whole or not at all, and no code in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim import Optimizer

from s2f_train import checkpoint
from s2f_train.fit.optimisers import make_optimiser
from s2f_train.models.face import Discriminator, FaceEmbeddingNetwork
from s2f_train.models.generator import Generator
from s2f_train.models.voice import VoiceEmbeddingNetwork


@pytest.fixture
def networks() -> dict[str, torch.nn.Module]:
    torch.manual_seed(0)
    return {"voice": VoiceEmbeddingNetwork((64, 8, 8), 16), "generator_general": Generator(16, (8, 8, 8, 8, 8))}


def test_what_is_saved_comes_back(tmp_path: Path, networks: dict[str, torch.nn.Module]) -> None:
    checkpoint.save(tmp_path / "run", networks, {"seed": 7})
    loaded, training = checkpoint.load(tmp_path / "run")
    assert training == {"seed": 7}
    for name, network in networks.items():
        assert type(loaded[name]) is type(network)
        for key, value in network.state_dict().items():
            assert torch.equal(loaded[name].state_dict()[key], value)


def test_a_failed_save_leaves_the_old_one(tmp_path: Path, networks: dict[str, torch.nn.Module]) -> None:
    checkpoint.save(tmp_path / "run", networks, {"seed": 1})
    with pytest.raises(TypeError):
        checkpoint.save(tmp_path / "run", networks, {"seed": object()})
    assert checkpoint.load(tmp_path / "run")[1] == {"seed": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": 99}, "format 99"),
        ({"networks": {"voice": {"kind": "os.system", "settings": {}}}}, "unknown kind"),
        ({"networks": {"voice": {"kind": "wen-cnn", "settings": {"channels": [64, 9, 8]}}}}, "cannot be read"),
        ({"networks": {"voice": {"kind": "wen-cnn", "settings": {"nonsense": 1}}}}, "cannot be read"),
        ({"networks": {"absent": {"kind": "wen-cnn", "settings": {}}}}, "cannot be read"),
    ],
)
def test_broken_checkpoints(
    tmp_path: Path, networks: dict[str, torch.nn.Module], change: dict[str, object], words: str
) -> None:
    checkpoint.save(tmp_path / "run", networks, {})
    meta = json.loads((tmp_path / "run" / "meta.json").read_text())
    (tmp_path / "run" / "meta.json").write_text(json.dumps(meta | change))
    with pytest.raises(checkpoint.CheckpointError, match=words):
        checkpoint.load(tmp_path / "run")


def test_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(checkpoint.CheckpointError, match="no checkpoint"):
        checkpoint.load(tmp_path)


def test_nothing_but_a_checkpoint_is_replaced(tmp_path: Path, networks: dict[str, torch.nn.Module]) -> None:
    """`--out runs` must not take the other runs away, and `--out .` not the project."""
    checkpoint.save(tmp_path / "runs" / "one", networks, {})
    with pytest.raises(FileExistsError, match="something else"):
        checkpoint.save(tmp_path / "runs", networks, {})
    (tmp_path / "runs" / "one" / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError):
        checkpoint.save(tmp_path / "runs" / "one", networks, {})
    assert (tmp_path / "runs" / "one" / "notes.txt").read_text() == "mine"
    assert checkpoint.load(tmp_path / "runs" / "one")


@pytest.mark.parametrize("meta", ["[]", "{}", '{"format": 1, "networks": [], "training": {}}', '{"format": 1'])
def test_meta_of_other_shapes(tmp_path: Path, meta: str) -> None:
    (tmp_path / "meta.json").write_text(meta)
    with pytest.raises(checkpoint.CheckpointError):
        checkpoint.load(tmp_path)


# ------------------------------------------------------------------------------- of a fit that goes on


def small_fit(
    optimiser: str, width: int = 6, rate: float = 1e-3
) -> tuple[dict[str, torch.nn.Module], dict[str, Optimizer]]:
    torch.manual_seed(5)
    networks: dict[str, torch.nn.Module] = {
        "face": FaceEmbeddingNetwork((width,) * 5, 4).to(memory_format=torch.channels_last),  # type: ignore[call-overload]
        "discriminator": Discriminator(4),
    }
    parameters = [p for network in networks.values() for p in network.parameters()]
    return networks, {"critics": make_optimiser(optimiser, parameters, rate, (0.5, 0.9))}


def learn(networks: dict[str, torch.nn.Module], optimisers: dict[str, Optimizer], steps: range) -> None:
    for step in steps:
        pictures = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(step))
        loss = networks["discriminator"](networks["face"](pictures)).square().mean()
        optimisers["critics"].zero_grad()
        loss.backward()
        optimisers["critics"].step()


def state_of(networks: dict[str, torch.nn.Module], optimisers: dict[str, Optimizer]) -> dict[str, torch.Tensor]:
    found = {f"{n}/{key}": t for n, network in networks.items() for key, t in network.state_dict().items()}
    for index, entries in optimisers["critics"].state_dict()["state"].items():
        found |= {f"{index}/{key}": t for key, t in entries.items()}
    return {key: t.clone() for key, t in found.items()}


@pytest.mark.parametrize("optimiser", ["adam", "rmsprop", "sgd"])
def test_a_fit_goes_on_bit_for_bit(tmp_path: Path, optimiser: str) -> None:
    fit = small_fit(optimiser)
    learn(*fit, range(3))
    checkpoint.save(tmp_path / "step", fit[0], {"step": 3}, fit[1])
    expected = state_of(*fit)

    again = small_fit(optimiser)
    assert checkpoint.restore(tmp_path / "step", *again) == {"step": 3}
    found = state_of(*again)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in expected)

    learn(*fit, range(3, 6))
    learn(*again, range(3, 6))
    found, expected = state_of(*again), state_of(*fit)
    assert all(torch.equal(found[key], expected[key]) for key in expected)


def test_a_fit_may_go_on_with_another_rate(tmp_path: Path) -> None:
    """`--resume RUN rate=1e-4`: what is asked for is what counts, not what the checkpoint had."""
    fit = small_fit("adam", rate=1e-3)
    learn(*fit, range(2))
    checkpoint.save(tmp_path / "step", fit[0], {}, fit[1])
    again = small_fit("adam", rate=1e-4)
    checkpoint.restore(tmp_path / "step", *again)
    group = again[1]["critics"].param_groups[0]
    assert (group["lr"], group["initial_lr"]) == (1e-4, 1e-4)


def test_a_checkpoint_of_a_fit_is_replaced_whole(tmp_path: Path) -> None:
    fit = small_fit("adam")
    learn(*fit, range(1))
    for step in (1, 2):
        checkpoint.save(tmp_path / "step", fit[0], {"step": step}, fit[1])
    assert checkpoint.load(tmp_path / "step")[1] == {"step": 2}
    assert {p.name for p in (tmp_path / "step").iterdir()} == {
        "meta.json", "state.safetensors", "face.safetensors", "discriminator.safetensors",
    }  # fmt: skip
    assert [p.name for p in tmp_path.iterdir()] == ["step"]


@pytest.mark.parametrize(
    ("theirs", "ours", "words"),
    [
        ("adam", ("adam", 5), "settings of its face"),
        ("adam", ("rmsprop",), "critics optimiser is another one"),
        ("sgd", ("adam",), "critics optimiser is another one"),
    ],
)
def test_a_fit_of_other_settings_cannot_go_on(tmp_path: Path, theirs: str, ours: tuple[Any, ...], words: str) -> None:
    fit = small_fit(theirs)
    learn(*fit, range(1))
    checkpoint.save(tmp_path / "step", fit[0], {}, fit[1])
    with pytest.raises(checkpoint.CheckpointError, match=f"(?s)cannot go on from it.*{words}"):
        checkpoint.restore(tmp_path / "step", *small_fit(*ours))


def test_a_checkpoint_without_state_is_for_export_alone(tmp_path: Path) -> None:
    fit = small_fit("adam")
    checkpoint.save(tmp_path / "step", fit[0], {})
    with pytest.raises(checkpoint.CheckpointError, match="cannot go on from it"):
        checkpoint.restore(tmp_path / "step", *fit)
    with pytest.raises(checkpoint.CheckpointError, match="no checkpoint"):
        checkpoint.restore(tmp_path / "absent", *fit)


def test_only_a_checkpoint_is_removed(tmp_path: Path, networks: dict[str, torch.nn.Module]) -> None:
    checkpoint.save(tmp_path / "old", networks, {})
    checkpoint.save(tmp_path / "mine", networks, {})
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    for name in ("old", "mine", "absent"):
        checkpoint.remove(tmp_path / name)
    assert not (tmp_path / "old").exists()
    assert (tmp_path / "mine" / "meta.json").exists()
