"""The published checkpoint layout of Wen et al. 2019 (docs/spec.md, section 6), read without running its code."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from s2f_train.models.generator import Generator
from s2f_train.models.voice import VoiceEmbeddingNetwork


class PublishedError(ValueError):
    """A file does not have the published layout."""


def load_published(voice: Path, generator: Path, tanh: bool = False) -> dict[str, nn.Module]:
    """Networks from `voice_embedding.pth` and `generator.pth`.

    Args:
        voice: state dict of the voice embedding network.
        generator: state dict of the generator.
        tanh: ends the generator with a tanh, as the thesis's server does, instead of
            clipping to [-1, 1].

    Returns:
        name -> network, in evaluation mode, as a checkpoint has them.

    Raises:
        PublishedError: says which tensor is missing, left over or of another shape.
    """
    networks: dict[str, nn.Module] = {
        "voice": VoiceEmbeddingNetwork(),
        "generator_general": Generator(variant="wen2019-tanh" if tanh else "wen2019"),
    }
    for path, network in zip((voice, generator), networks.values(), strict=True):
        _fill(network, _state_dict(path), path)
    return networks


def _state_dict(path: Path) -> dict[str, Any]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise PublishedError(f"{path} does not exist; check the path.") from None
    except pickle.UnpicklingError:
        raise PublishedError(
            f"{path} holds more than tensors, so reading it could run code from it; it was not loaded. "
            "Save its state_dict() instead."
        ) from None
    except Exception as error:  # what torch raises on damaged bytes is of many kinds
        raise PublishedError(f"{path} cannot be read as a torch file ({type(error).__name__}: {error}).") from None
    if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
        raise PublishedError(f"{path} holds a {type(state).__name__}; a state dict of named tensors is needed.")
    return state


def _fill(network: nn.Module, state: dict[str, Any], path: Path) -> None:
    wanted = network.state_dict()
    # Old versions of torch did not save the counter of batches; it plays no part in evaluation.
    optional = {name for name in wanted if name.endswith("num_batches_tracked")}
    missing = sorted(set(wanted) - set(state) - optional)
    extra = sorted(set(state) - set(wanted))
    kind = type(network).__name__
    if missing or extra:
        found = "; ".join(
            f"{word} {_some(names)}" for word, names in (("missing", missing), ("unknown", extra)) if names
        )
        raise PublishedError(f"{path} does not fit the published {kind}: {found}.")
    for name, tensor in state.items():
        if not isinstance(tensor, Tensor) or tensor.shape != wanted[name].shape:
            shape = tuple(tensor.shape) if isinstance(tensor, Tensor) else type(tensor).__name__
            raise PublishedError(
                f"{path} does not fit the published {kind}: {name} is {shape}; {tuple(wanted[name].shape)} is needed."
            )
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise PublishedError(f"{path}: {name} has NaN or infinite values.")
    network.load_state_dict({**{name: wanted[name] for name in optional}, **state})
    network.eval()


def _some(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
