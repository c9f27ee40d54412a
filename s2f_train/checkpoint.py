"""A checkpoint: a folder with safetensors weights and meta.json, written whole or not at all."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import nn

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
        folder: replaced if it exists, after everything is written beside it.
        networks: name -> network; each has `settings`, the arguments that build it again.
        training: anything JSON can hold: data, seed, steps, figures.
    """
    kinds = {network: kind for kind, network in KINDS.items()}
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        entries = {}
        for name, network in networks.items():
            entries[name] = {"kind": kinds[type(network)], "settings": network.settings}
            save_file({k: v.contiguous() for k, v in network.state_dict().items()}, temporary / f"{name}.safetensors")
        meta = {"format": FORMAT, "networks": entries, "training": training}
        (temporary / "meta.json").write_text(json.dumps(meta, indent=2) + "\n")
        temporary.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        temporary.rename(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def load(folder: Path) -> tuple[dict[str, nn.Module], dict[str, Any]]:
    """Reads what `save` wrote, in evaluation mode. No code of the checkpoint is run.

    Raises:
        CheckpointError: it is no checkpoint, or one of another format.
    """
    try:
        meta = json.loads((folder / "meta.json").read_text())
        entries, found = meta["networks"], meta["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{folder} is no checkpoint: meta.json cannot be read ({error}).") from None
    if found != FORMAT:
        raise CheckpointError(f"{folder} has checkpoint format {found}; this version reads format {FORMAT}.")
    networks = {}
    for name, entry in entries.items():
        if entry["kind"] not in KINDS:
            raise CheckpointError(f"{folder}: unknown kind of network {entry['kind']!r}; known: {', '.join(KINDS)}.")
        try:
            network = KINDS[entry["kind"]](**entry["settings"])
            network.load_state_dict(load_file(folder / f"{name}.safetensors"))
        except Exception as error:  # safetensors and torch raise their own kinds
            raise CheckpointError(f"{folder}: {name} cannot be read ({error}).") from error
        networks[name] = network.eval()
    return networks, meta["training"]
