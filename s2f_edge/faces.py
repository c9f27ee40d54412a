"""Voice embeddings to pictures: candidates, appearances, and drawing them."""

from __future__ import annotations

import secrets
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from s2f_edge.errors import UsageError
from s2f_edge.hearing.features import Float32s
from s2f_edge.pack.manifest import NetworkFile
from s2f_edge.pack.network import Network
from s2f_edge.pack.roles import APPEARANCE
from s2f_edge.results import Appearance
from s2f_edge.terms import MAX_SAMPLES

if TYPE_CHECKING:
    from s2f_edge.picture import Pixels


def drawn(samples: int, seed: int | None) -> tuple[int, int]:
    """Number of faces, and the seed of the candidates: drawn where None is given.

    Raises:
        UsageError: one is out of its range.
    """
    if isinstance(samples, bool) or not isinstance(samples, Integral) or not 1 <= samples <= MAX_SAMPLES:
        raise UsageError(f"samples is {samples!r}; it must be a whole number from 1 to {MAX_SAMPLES}.")
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, Integral) or seed < 0):
        raise UsageError(f"seed is {seed!r}; it must be a whole number from 0, or None.")
    return int(samples), secrets.randbits(32) if seed is None else int(seed)


def unit(vector: NDArray[np.floating[Any]]) -> Float32s:
    """L2-normalises the last axis; zeros stay zeros."""
    length = np.linalg.norm(vector, axis=-1, keepdims=True)
    return np.asarray(vector / np.maximum(length, 1e-12), np.float32)


def pixels(output: Float32s) -> Pixels:
    """float32 (n, 3, height, width) in [-1, 1] to uint8 (n, height, width, 3)."""
    # (x - 127.5) / 127.5 undone
    faces = np.rint(np.clip(output * 127.5 + 127.5, 0.0, 255.0)).astype(np.uint8).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(faces)


def with_noise(embedding: Float32s, noise: float, samples: int, seed: int) -> Float32s:
    """float32 (samples, embedding): the embedding, then noisy copies of unit length (docs/spec.md, section 3)."""
    if samples == 1:
        return unit(embedding[None])  # numpy.random is not imported for nothing
    drawn = np.random.default_rng(seed).standard_normal((samples, len(embedding)))
    drawn[0] = 0.0
    return unit(embedding + noise * drawn)


def latents(size: int, samples: int, seed: int) -> Float32s:
    """float32 (samples, size): zeros, which stand for the face of the voice, then rows of normal numbers."""
    rows = np.zeros((samples, size), np.float32)
    if samples > 1:
        rows[1:] = np.random.default_rng(seed).standard_normal(rows.shape)[1:]
    return rows


def appearance_of(generator: Network, embeddings: Float32s, latents: Float32s) -> Appearance:
    """What a generator makes of embeddings, float32 (n, embedding), and latents, (n, latent).

    One call for each: a product of many rows rounds otherwise than that of one, and the face of a voice is to be the
    same to the bit however many candidates come with it. A generator is small.
    """
    made = [
        generator.run({"embedding": embeddings[i : i + 1], "latent": latents[i : i + 1]})
        for i in range(len(embeddings))
    ]
    return Appearance(**{name: np.concatenate([each[name] for each in made]) for name in APPEARANCE})


def rendered(renderer: Network, info: NetworkFile, appearance: Appearance) -> Pixels:
    """The pictures of appearances, uint8 (n, side, side, 3), one call for each.

    So many faces need no more memory than one, none depends on the others, and on a processor it takes no longer.

    Args:
        info: what the manifest says of the renderer.

    Raises:
        UsageError: the arrays have other shapes than it takes.
    """
    parts = {name: np.asarray(getattr(appearance, name), np.float32) for name in APPEARANCE}
    for tensor in info.inputs:
        found, wanted = parts[tensor.name].shape, (len(appearance), *tensor.shape[1:])
        if found != wanted:
            raise UsageError(f"{tensor.name} of the appearance has the shape {found}; {wanted} is needed.")
    side = info.outputs[0].shape[-1] or 0
    faces = np.empty((len(appearance), side, side, 3), np.uint8)
    for i in range(len(faces)):
        faces[i] = pixels(renderer.run({name: part[i : i + 1] for name, part in parts.items()})["face"])[0]
    return faces
