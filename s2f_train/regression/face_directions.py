"""Which differences between two voices show in a pack's faces."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from s2f_edge.hearing.features import Float32s
from s2f_edge.pack.network import Network
from s2f_edge.pack.pack import Pack

VOICES = 1000
SIDE = 16  # pixels: what is smaller is detail
RIDGE = 1e-3  # of the embeddings' mean variance


def face_directions(pack: Pack, embeddings: Float32s) -> Float32s:
    """A matrix (n, n) by which an embedding is multiplied, so that distances are those of its faces.

    The faces of all the pack's generators, 16 pixels wide, are predicted from the embedding by a ridge regression.
    The squared length of (a - b) times the matrix is the mean over the generators of the squared difference of the
    faces predicted for a and b, with the variance of a generator's faces as the unit: 2 for two voices at random where
    the regression explains everything.

    Args:
        embeddings: (voices, n), of unit length, of many voices; the first 1,000 are taken.
    """
    embeddings = np.asarray(embeddings[:VOICES], np.float32)
    voices = embeddings.astype(np.float64)
    voices -= voices.mean(axis=0)
    products = voices.T @ voices
    products += (RIDGE * np.trace(products) / len(products) + 1e-12) * np.eye(len(products))
    squared = np.zeros_like(products)
    renderer = Network(pack, pack.manifest.renderer, "cpu", 1) if pack.manifest.renderer else None
    for name in pack.manifest.generators.values():
        network = Network(pack, name, "cpu", 1)
        faces = np.stack([_small(_face(pack, network, renderer, voice)) for voice in embeddings])
        faces -= faces.mean(axis=0)
        slope = np.linalg.solve(products, voices.T @ faces)
        squared += slope @ slope.T / max(float(np.square(faces).sum(axis=1).mean()), 1e-12)
    values, vectors = np.linalg.eigh(squared / len(pack.manifest.generators))
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)), np.float32)


def _face(pack: Pack, generator: Network, renderer: Network | None, voice: Float32s) -> Float32s:
    """(3, side, side), in [-1, 1]."""
    given = {"embedding": voice[None]}
    if renderer is None:
        faces = generator.run(given)["face"]
    else:
        latent = np.zeros((1, pack.manifest.noise_size), np.float32)
        faces = renderer.run(generator.run({**given, "latent": latent}))["face"]
    return np.asarray(faces[0], np.float32)


def _small(face: Float32s) -> NDArray[np.float64]:
    width = min(SIDE, face.shape[-1])
    step = face.shape[-1] // width
    blocks = face[:, : step * width, : step * width].reshape(len(face), width, step, width, step)
    return np.asarray(blocks.mean(axis=(2, 4)), np.float64).ravel()
