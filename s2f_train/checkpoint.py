"""A checkpoint: a folder with safetensors weights and meta.json, written whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import nn

from s2f_train.folders import written_whole
from s2f_train.models.generator import Generator
from s2f_train.models.traits import VoiceTraits
from s2f_train.models.voice import GE2EEncoder, VoiceEmbeddingNetwork

FORMAT = 1
KINDS: dict[str, type[nn.Module]] = {
    "wen-cnn": VoiceEmbeddingNetwork,
    "ge2e-lstm": GE2EEncoder,
    "generator": Generator,
    "voice-traits": VoiceTraits,
}


class CheckpointError(ValueError):
    """A checkpoint cannot be read."""


def save(folder: Path, networks: dict[str, nn.Module], training: dict[str, Any]) -> None:
    """Writes networks and what is known about their training.

    Args:
        folder: a checkpoint there is replaced, after everything is written beside it.
        networks: name -> network; each has `settings`, the arguments that build it again.
        training: anything JSON can hold: data, seed, steps, figures.

    Raises:
        FileExistsError: something that is no checkpoint lies there.
    """
    kinds = {network: kind for kind, network in KINDS.items()}
    with written_whole(folder, is_checkpoint) as new:
        entries = {}
        for name, network in networks.items():
            entries[name] = {"kind": kinds[type(network)], "settings": network.settings}
            save_file({k: v.contiguous() for k, v in network.state_dict().items()}, new / f"{name}.safetensors")
        meta = {"format": FORMAT, "networks": entries, "training": training}
        (new / "meta.json").write_text(json.dumps(meta, indent=2) + "\n")


def is_checkpoint(folder: Path) -> bool:
    """Whether a folder holds a checkpoint and nothing else, so that a new one may replace it."""
    try:
        names = {"meta.json", *(f"{name}.safetensors" for name in _meta(folder)["networks"])}
    except CheckpointError:
        return False
    return {path.name for path in folder.iterdir()} <= names


def _meta(folder: Path) -> dict[str, Any]:
    """meta.json, checked.

    Raises:
        CheckpointError: it is missing, no JSON, of another format, or lacks something.
    """
    try:
        meta = json.loads((folder / "meta.json").read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder} is no checkpoint: meta.json cannot be read ({error}).") from None
    if not isinstance(meta, dict) or not isinstance(meta.get("training"), dict):
        raise CheckpointError(f"{folder} is no checkpoint: meta.json has no training facts.")
    if meta.get("format") != FORMAT:
        raise CheckpointError(
            f"{folder} has checkpoint format {meta.get('format')}; this version reads format {FORMAT}."
        )
    entries = meta.get("networks")
    if not isinstance(entries, dict) or not all(
        isinstance(entry, dict) and isinstance(entry.get("kind"), str) and isinstance(entry.get("settings"), dict)
        for entry in entries.values()
    ):
        raise CheckpointError(f"{folder} is no checkpoint: meta.json has no networks with kind and settings.")
    return meta


def load(folder: Path) -> tuple[dict[str, nn.Module], dict[str, Any]]:
    """Reads what `save` wrote, in evaluation mode. No code of the checkpoint is run.

    Raises:
        CheckpointError: it is no checkpoint, or one of another format.
    """
    meta = _meta(folder)
    networks = {}
    for name, entry in meta["networks"].items():
        if entry["kind"] not in KINDS:
            raise CheckpointError(f"{folder}: unknown kind of network {entry['kind']!r}; known: {', '.join(KINDS)}.")
        try:
            network = KINDS[entry["kind"]](**entry["settings"])
            network.load_state_dict(load_file(folder / f"{name}.safetensors"))
        except Exception as error:  # safetensors and torch raise their own kinds
            raise CheckpointError(f"{folder}: {name} cannot be read ({error}).") from error
        networks[name] = network.eval()
    return networks, meta["training"]
