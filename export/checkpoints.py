"""The networks of a pack, gathered from one checkpoint or several."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from s2f_train import checkpoint
from s2f_train.fit.run import newest_checkpoint

ONE = {
    "voice": "voice network",
    "renderer": "renderer",
    "animator": "animator",
    "motion": "motion network",
}  # what several runs must have in common


def load_checkpoints(paths: list[Path]) -> tuple[dict[str, nn.Module], dict[str, Any]]:
    """Loads the networks of a pack from runs: voice network, traits, generators, renderer and animator.

    Args:
        paths: runs, whose newest checkpoint is taken, or checkpoints; each with generators of its own or a
            renderer, and all with the same voice network, where they have one.

    Returns:
        The networks by name, and what is known of their training.

    Raises:
        CheckpointError, RunError: one of them is no checkpoint.
        ValueError: two have the same generator, or different voice networks or renderers.
    """
    networks: dict[str, nn.Module] = {}
    origin: dict[str, Path] = {}
    facts: dict[str, dict[str, Any]] = {}
    heard: dict[str, Any] | None = None  # of the first with a voice network, which a run of a renderer has not
    for path in paths:
        folder = newest_checkpoint(path)
        found, training = checkpoint.load(folder)
        for name, network in found.items():
            if name not in ("voice", "traits", *ONE) and not name.startswith("generator_"):
                continue  # only training has it
            if name not in networks:
                networks[name] = network
                origin[name] = path
            elif name in ONE and not _same(network, networks[name]):
                raise ValueError(f"{path} has another {ONE[name]} than {origin[name]}; a pack has one.")
            elif name.startswith("generator_"):
                raise ValueError(f"{path} has a {name} again; give one run for each generator.")
        facts[folder.parent.parent.name if folder.parent.name == "checkpoints" else folder.name] = training
        heard = heard or (training if "voice" in found else None)
    return networks, _together(facts, heard)


def _together(facts: dict[str, dict[str, Any]], heard: dict[str, Any] | None) -> dict[str, Any]:
    """One run's facts as they are; of several, each beside the others, with what concerns the whole pack above."""
    first = heard or next(iter(facts.values()))
    if len(facts) == 1:
        return first
    whole: dict[str, Any] = {key: first[key] for key in ("noise", "licence", "traits", "store") if key in first}
    # What another run says of its own, such as the licence of other data, stays with it.
    rest = {name: {k: v for k, v in f.items() if k not in whole or v != whole[k]} for name, f in facts.items()}
    return {**whole, "runs": rest}


def _same(a: nn.Module, b: nn.Module) -> bool:
    ours, theirs = a.state_dict(), b.state_dict()
    return ours.keys() == theirs.keys() and all(
        ours[k].shape == theirs[k].shape and torch.equal(ours[k], theirs[k]) for k in ours
    )
