"""Which differences between voices show in faces."""

from __future__ import annotations

import numpy as np
import pytest

from s2f_edge.pack.network import Network
from s2f_edge.pack.pack import Pack
from s2f_train.regression.face_directions import SIDE, face_directions
from tests.tiny_packs import make_pack


@pytest.fixture(scope="module", params=[False, True], ids=["pictures", "appearances"])
def pack(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Pack:
    folder = tmp_path_factory.mktemp("directions") / "pack"
    return Pack.open(make_pack(folder, "fbank-80", renderer=request.param))


def voices(pack: Pack, count: int) -> np.ndarray:
    """Near one another, as those of people are: there a generator is nearly linear."""
    rng = np.random.default_rng(1)
    some = rng.standard_normal(pack.manifest.voice.embedding_size)
    made = some / np.linalg.norm(some) + 0.02 * rng.standard_normal((count, len(some)))
    return np.asarray(made / np.linalg.norm(made, axis=1, keepdims=True), np.float32)


def small(pack: Pack, name: str, embeddings: np.ndarray) -> np.ndarray:
    if pack.manifest.renderer:
        zeros = np.zeros((len(embeddings), pack.manifest.noise_size), np.float32)
        appearance = Network(pack, name, "cpu", 1).run({"embedding": embeddings, "latent": zeros})
        faces = Network(pack, "renderer.onnx", "cpu", 1).run(appearance)["face"]
    else:
        faces = Network(pack, name, "cpu", 1).run({"embedding": embeddings})["face"]
    step = faces.shape[-1] // SIDE
    return faces.reshape(len(faces), 3, SIDE, step, SIDE, step).mean(axis=(3, 5)).reshape(len(faces), -1)


@pytest.mark.slow
def test_distances_are_those_of_the_faces(pack: Pack) -> None:
    known, some, others = np.split(voices(pack, 360), [300, 330])
    expected = np.zeros(30)
    for name in pack.manifest.generators.values():
        different = np.square(small(pack, name, some) - small(pack, name, others)).sum(axis=1)
        expected += different / small(pack, name, known).var(axis=0).sum() / len(pack.manifest.generators)
    found = np.square((some - others) @ face_directions(pack, known)).sum(axis=1)
    np.testing.assert_allclose(found, expected, rtol=0.15)


def test_faces_that_never_change_have_no_directions(pack: Pack) -> None:
    assert not face_directions(pack, np.repeat(voices(pack, 1), 20, axis=0)).any()
