"""Checkpoints: whole or not at all, and no code in them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from s2f_train import checkpoint
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
