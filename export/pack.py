"""Networks as a pack: its files, and the manifest that says what they are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from export.network_file import OPSET, facts_of, network_file
from export.verify import tensors
from s2f_edge.errors import S2FError
from s2f_edge.pack.manifest import MANIFEST, RENDERER_SCHEMA, SCHEMA
from s2f_edge.pack.pack import Pack
from s2f_edge.pipeline import Speech2Face
from s2f_edge.terms import GENERATORS, VARIANTS
from s2f_train.folders import written_whole
from s2f_train.models.animator import Animator
from s2f_train.models.appearance_generator import AppearanceGenerator
from s2f_train.models.motion import MotionNetwork
from s2f_train.models.renderer import Renderer
from s2f_train.models.traits import VoiceTraits

NOISE = 0.05  # docs/spec.md, section 3
WINDOWS = 112  # of a long recording, that the voice network hears: docs/speed.md


def export_pack(
    networks: dict[str, nn.Module],
    training: dict[str, Any],
    out: Path,
    name: str,
    version: str,
    licence: str,
    float16: bool = False,
) -> dict[str, Any]:
    """Writes a pack and gives its manifest.

    Args:
        networks: `voice`, `generator_general`, `generator_male`, `generator_female` (at
            least one generator) and, where there are such, `traits`, `renderer`, `animator` and `motion`.
        training: what the manifest says of the training.
        float16: keep the weights as float16, see `export.float16`.
        out: folder; replaced if it is a pack already, and not touched if anything fails.

    Raises:
        ParityError: a file is not the same function as its module.
        FileExistsError: `out` exists and is no pack.
        ValueError: the networks do not make a pack.
    """
    if "voice" not in networks or not any(name.startswith("generator_") for name in networks):
        raise ValueError(f"A pack needs a voice network and a generator; there are {', '.join(networks) or 'none'}.")
    _check_halves(networks)
    with written_whole(out, is_pack) as folder:
        manifest = _write(networks, training, folder, name, version, licence, float16)
        Speech2Face(folder, device="cpu")  # loads as a user would load it
    return manifest


def _check_halves(networks: dict[str, nn.Module]) -> None:
    """Appearances need a renderer, pictures have no use for one, and all generators make the same of the two."""
    generators = {name: network for name, network in networks.items() if name.startswith("generator_")}
    halves = [name for name, network in generators.items() if isinstance(network, AppearanceGenerator)]
    whole = [name for name in generators if name not in halves]
    if halves and whole:
        raise ValueError(
            f"{', '.join(halves)} makes appearances and {', '.join(whole)} pictures; the generators of a pack make the "
            "same of the two. Give runs of one kind."
        )
    renderer = networks.get("renderer")
    if halves and renderer is None:
        raise ValueError(
            f"{', '.join(halves)} makes appearances, which a renderer draws, and there is none; give the run of "
            "`fit renderer` too."
        )
    if whole and renderer is not None:
        raise ValueError(
            f"{', '.join(whole)} makes pictures itself, and there is a renderer too; leave the run of `fit renderer` "
            "out, or give one of `fit appearance`."
        )
    animator = networks.get("animator")
    if animator is not None and (renderer is None or not torch.equal(animator.points, renderer.points)):  # type: ignore[arg-type]
        raise ValueError("The animator moves the faces of another renderer: their mean shapes differ.")
    if renderer is not None and not isinstance(renderer, Renderer):
        raise ValueError(f"The network called renderer is a {type(renderer).__name__} and draws no appearances.")


def file_entry(data: bytes) -> dict[str, Any]:
    """What a manifest says of a network's file."""
    inputs, outputs = tensors(data)
    digest = hashlib.sha256(data).hexdigest()
    return {"bytes": len(data), "sha256": digest, "opset": OPSET, "inputs": inputs, "outputs": outputs}


def talk_entries(networks: Mapping[str, nn.Module]) -> dict[str, Any]:
    """What a manifest says of the networks by which faces speak, beside their files; of those that are there."""
    entries: dict[str, Any] = {}
    if isinstance(motion := networks.get("motion"), MotionNetwork):
        before, after = motion.context
        entries["motion"] = {"file": "motion.onnx", "before": before, "after": after, "settings": motion.settings}
    if isinstance(animator := networks.get("animator"), Animator):
        shape = animator.points.tolist()
        entries["animator"] = {"file": "animator.onnx", "mean_shape": shape, "settings": animator.settings}
    return entries


def is_pack(folder: Path) -> bool:
    """Whether a folder holds a pack, its variants and nothing else, so that a new one may replace it."""
    try:
        pack = Pack.open(folder)
    except S2FError:
        return False
    names = {MANIFEST, *pack.manifest.files}
    return all(path.name in names or _is_variant(path) for path in folder.iterdir())


def _is_variant(folder: Path) -> bool:
    """Of this pack or of an earlier state of it; those that are links are none, nor is what has folders in it."""
    if folder.name not in VARIANTS or folder.is_symlink() or not folder.is_dir():
        return False
    try:
        manifest = Pack.open(folder).manifest
    except S2FError:
        return False
    names = {MANIFEST, *manifest.files}
    made = manifest.variant is not None and manifest.weights == folder.name
    return made and all(path.name in names and path.is_file() for path in folder.iterdir())


def _write(
    networks: dict[str, nn.Module],
    training: dict[str, Any],
    folder: Path,
    name: str,
    version: str,
    licence: str,
    float16: bool,
) -> dict[str, Any]:
    voice = networks["voice"]
    size: int = voice.settings["embedding_size"]  # type: ignore[assignment, index]
    facts = facts_of(name, version, licence, str(voice.features))
    files, parity = {}, {}
    for key, network in networks.items():
        file = f"{key}.onnx"
        data, parity[file] = network_file(key, network, size, facts, float16)
        (folder / file).write_bytes(data)
        files[file] = file_entry(data)
    manifest = {
        "schema": RENDERER_SCHEMA if "renderer" in networks else SCHEMA,
        "name": name,
        "version": version,
        "licence": licence,
        "voice": {
            "file": "voice.onnx",
            "network": voice.kind,
            "features": voice.features,
            "embedding_size": size,
            "windows": WINDOWS,
            "settings": voice.settings,
        },
        "traits": None,
        "generators": {name: f"generator_{name}.onnx" for name in GENERATORS if f"generator_{name}" in networks},
        "generator_settings": {k: n.settings for k, n in networks.items() if k.startswith("generator_")},
        "noise": 0.0 if "renderer" in networks else training.get("noise", NOISE),
        "files": files,
        "weights": "float16" if float16 else "float32",
        "training": training,
        "parity": parity,
    }
    if "renderer" in networks:
        manifest["renderer"] = {"file": "renderer.onnx", "settings": networks["renderer"].settings}
    manifest |= talk_entries(networks)
    if isinstance(networks.get("traits"), VoiceTraits):
        measured = training["traits"]
        manifest["traits"] = {
            "file": "traits.onnx",
            "unusual": measured["surprise_p95"],
            "strange": measured["surprise_p99"],
        }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
    Pack.open(folder)  # a manifest that cannot be read back is not written
    return manifest
