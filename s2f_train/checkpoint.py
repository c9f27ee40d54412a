"""A checkpoint: a folder with safetensors weights and meta.json, written whole or not at all.

That of a fit also has what is needed to go on: networks that only training uses, and the
optimisers in state.safetensors and meta.json's "state".
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from s2f_edge.errors import OutputError
from s2f_train.folders import written_whole
from s2f_train.models.animator import Animator, MouthPainter
from s2f_train.models.appearance_generator import AppearanceGenerator
from s2f_train.models.campplus import CamPlusPlus
from s2f_train.models.face import Classifier, Discriminator, FaceEmbeddingNetwork
from s2f_train.models.generator import Generator
from s2f_train.models.light import LightEncoder
from s2f_train.models.motion import MotionNetwork
from s2f_train.models.mouth_critic import MouthCritic
from s2f_train.models.projected import ProjectedEncoder
from s2f_train.models.projected_critics import ProjectedCritics
from s2f_train.models.renderer import Renderer
from s2f_train.models.sketch import SketchSpace
from s2f_train.models.speech2face import FaceDecoder, SpeechEncoder
from s2f_train.models.traits import VoiceTraits
from s2f_train.models.vgg_face import VggFace
from s2f_train.models.voice import GE2EEncoder, VoiceEmbeddingNetwork

FORMAT = 1
KINDS: dict[str, type[nn.Module]] = {
    "wen-cnn": VoiceEmbeddingNetwork,
    "ge2e-lstm": GE2EEncoder,
    "campplus": CamPlusPlus,
    "projected": ProjectedEncoder,
    "oh-cnn": SpeechEncoder,
    "light": LightEncoder,
    "generator": Generator,
    "appearance-generator": AppearanceGenerator,
    "renderer": Renderer,
    "motion": MotionNetwork,
    "sketch": SketchSpace,
    "projected-critics": ProjectedCritics,
    "animator": Animator,
    "mouth-critic": MouthCritic,
    "mouth-painter": MouthPainter,
    "face-decoder": FaceDecoder,
    "vgg-face": VggFace,
    "voice-traits": VoiceTraits,
    "face-embedding": FaceEmbeddingNetwork,
    "discriminator": Discriminator,
    "classifier": Classifier,
}
STATE = "state.safetensors"


class CheckpointError(ValueError):
    """A checkpoint cannot be read."""


def outside_networks(**files: str | Path) -> dict[str, str]:
    """What a fit notes of networks that others trained: name -> SHA-256 of the file; "" is no file.

    It goes from the checkpoint to the pack, and `evaluate` refuses a judge that is among them.
    """
    return {name: hashlib.sha256(Path(file).read_bytes()).hexdigest() for name, file in files.items() if file}


def save(
    folder: Path,
    networks: Mapping[str, nn.Module],
    training: dict[str, Any],
    optimisers: Mapping[str, Optimizer] | None = None,
) -> None:
    """Writes networks and what is known about their training.

    Args:
        folder: a checkpoint there is replaced, after everything is written beside it.
        networks: name -> network; each has `settings`, the arguments that build it again.
        training: anything JSON can hold: data, seed, steps, figures.
        optimisers: of a fit that may go on.

    Raises:
        FileExistsError: something that is no checkpoint lies there.
        OutputError: the disk is full; what was there before is whole.
    """
    kinds = {network: kind for kind, network in KINDS.items()}
    entries = {name: {"kind": kinds[type(n)], "settings": n.settings} for name, n in networks.items()}
    meta = {"format": FORMAT, "networks": entries, "training": training}
    with written_whole(folder, is_checkpoint) as new:
        try:
            for name, network in networks.items():
                save_file(_plain(network.state_dict()), new / f"{name}.safetensors")
            if optimisers:
                tensors, meta["state"] = _taken_apart(optimisers)
                save_file(_plain(tensors), new / STATE)
            (new / "meta.json").write_text(json.dumps(meta, indent=2) + "\n")
        except (SafetensorError, OSError) as error:
            raise OutputError(f"{folder} cannot be written: {error}.") from None


def is_checkpoint(folder: Path) -> bool:
    """Whether a folder holds a checkpoint and nothing else, so that a new one may replace it."""
    try:
        names = {"meta.json", STATE, *(f"{name}.safetensors" for name in _meta(folder)["networks"])}
    except CheckpointError:
        return False
    return {path.name for path in folder.iterdir()} <= names


def remove(folder: Path) -> None:
    """Removes a checkpoint; a folder that is none stays."""
    if is_checkpoint(folder):
        shutil.rmtree(folder)


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """As safetensors takes them: no two share memory, rows in order."""
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}


def _taken_apart(optimisers: Mapping[str, Optimizer]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of the optimisers, named, and the rest, which JSON holds."""
    tensors: dict[str, Tensor] = {}
    rest: dict[str, Any] = {}
    for name, optimiser in optimisers.items():
        state = optimiser.state_dict()
        rest[name] = {"groups": state["param_groups"]}
        for index, entries in state["state"].items():
            for key, value in entries.items():
                tensors[f"{name}/{index}/{key}"] = value
    return tensors, rest


def restore(folder: Path, networks: Mapping[str, nn.Module], optimisers: Mapping[str, Optimizer]) -> dict[str, Any]:
    """Puts the weights and the optimisers of a checkpoint into those of a fit.

    Returns:
        What was said of the training.

    Raises:
        CheckpointError: it is no checkpoint of such a fit.
    """
    meta = _meta(folder)
    try:
        for name, network in networks.items():
            theirs = meta["networks"].get(name, {}).get("settings", "none")
            if theirs != network.settings:  # torch would tell it of every tensor
                raise ValueError(f"settings of its {name}: {theirs}; needed: {network.settings}")
            network.load_state_dict(load_file(folder / f"{name}.safetensors"))
        tensors = load_file(folder / STATE)
        for name, optimiser in optimisers.items():
            state: dict[int, dict[str, Tensor]] = {}
            for key, tensor in tensors.items():
                owner, index, entry = key.split("/")
                if owner == name:
                    state.setdefault(int(index), {})[entry] = tensor
            ours, theirs = optimiser.state_dict()["param_groups"], meta["state"][name]["groups"]
            if [sorted(group) for group in ours] != [sorted(group) for group in theirs]:
                raise ValueError(f"its {name} optimiser is another one")
            # Rates and the like are those of the fit, which may go on with others.
            optimiser.load_state_dict({"state": state, "param_groups": ours})
    except Exception as error:  # safetensors and torch raise their own kinds
        raise CheckpointError(f"{folder}: a fit with these settings cannot go on from it ({error}).") from error
    training: dict[str, Any] = meta["training"]
    return training


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
