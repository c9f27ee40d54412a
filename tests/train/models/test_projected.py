"""A frozen encoder brought to the directions in which speakers differ."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from s2f_train import checkpoint
from s2f_train.models.campplus import CamPlusPlus
from s2f_train.models.projected import ENCODERS, ProjectedEncoder
from s2f_train.models.voice import GE2EEncoder, VoiceEmbeddingNetwork, unit

SIZE = 10


def made(kind: str) -> tuple[nn.Module, Tensor]:
    """A small encoder of that kind, and features of five voices for it."""
    torch.manual_seed(3)
    if kind == "wen-cnn":
        return VoiceEmbeddingNetwork((64, 12, 12), SIZE).eval(), torch.randn(5, 64, 40)
    if kind == "ge2e-lstm":
        return GE2EEncoder(12, SIZE, 1).eval(), torch.rand(5, 33, 40)
    return CamPlusPlus(SIZE).eval(), torch.randn(5, 60, 80)


def cone(speakers: int = 40, size: int = SIZE) -> Tensor:
    """Embeddings as public encoders give them: near to one another, and apart in some directions more than in some."""
    generator = torch.Generator().manual_seed(4)
    apart = torch.randn(speakers, size, generator=generator) * 0.7 ** torch.arange(size)
    return unit(apart + 5 * torch.randn(size, generator=generator))


@pytest.fixture(scope="module")
def network() -> ProjectedEncoder:
    return ProjectedEncoder.fit(made("wen-cnn")[0], cone(), 6)


# ------------------------------------------------------------------------------- the directions


def test_they_are_those_of_numpy(network: ProjectedEncoder) -> None:
    """Each principal direction, which may point either way, by the square root of its spread."""
    x = cone().double().numpy()
    _, spread, rows = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    expected = np.zeros((6, SIZE))
    expected[:, :6] = np.diag(np.sqrt(spread[0] / spread[:6]))
    weight, bias = (t.detach().double().numpy() for t in (network.projection.weight, network.projection.bias))
    np.testing.assert_allclose(np.abs(weight @ rows.T), expected, atol=1e-5)
    np.testing.assert_allclose(bias, -weight @ x.mean(axis=0), atol=1e-5)


def test_what_all_voices_share_is_removed(network: ProjectedEncoder) -> None:
    embeddings = cone()
    assert (embeddings @ embeddings.T).min() > 0.7
    with torch.no_grad():
        apart, projected = network.projection(embeddings), network.project(embeddings)
    torch.testing.assert_close(apart.mean(dim=0), torch.zeros(6), rtol=0, atol=1e-5)
    assert (projected @ projected.T).min() < -0.3


def test_weak_directions_are_made_stronger_but_stay_weaker(network: ProjectedEncoder) -> None:
    x = cone()
    spread = np.linalg.svd((x - x.mean(dim=0)).double().numpy(), compute_uv=False)
    with torch.no_grad():
        lengths = network.projection(x).norm(dim=0).numpy()
    np.testing.assert_allclose((lengths / lengths[0]) ** 2, spread[:6] / spread[0], rtol=1e-3)
    assert spread[5] / spread[0] < 0.5


def test_a_direction_without_spread_does_no_harm() -> None:
    """A ReLU that never fires gives one."""
    embeddings = cone()
    embeddings[:, 4] = 0
    network = ProjectedEncoder.fit(made("ge2e-lstm")[0], unit(embeddings), SIZE)
    with torch.no_grad():
        projected = network.project(unit(embeddings))
    assert projected.isfinite().all()
    torch.testing.assert_close(projected[:, -1], torch.zeros(40), rtol=0, atol=1e-2)


@pytest.mark.parametrize(("speakers", "size", "directions"), [(6, SIZE, 6), (40, SIZE, SIZE + 1), (1, SIZE, 1)])
def test_there_are_not_so_many(speakers: int, size: int, directions: int) -> None:
    with pytest.raises(ValueError, match=rf"{speakers} voice .* of {size} numbers .* is {directions}: lower it"):
        ProjectedEncoder.fit(made("wen-cnn")[0], cone(speakers), directions)


def test_as_many_as_there_are() -> None:
    assert ProjectedEncoder.fit(made("wen-cnn")[0], cone(7), 6).projection.weight.isfinite().all()
    assert ProjectedEncoder.fit(made("wen-cnn")[0], cone(), SIZE).projection.weight.shape == (SIZE, SIZE)


# ------------------------------------------------------------------------------- the network


@pytest.mark.parametrize("kind", ENCODERS)
def test_it_hears_as_its_encoder_does(kind: str) -> None:
    encoder, features = made(kind)
    network = ProjectedEncoder.fit(encoder, cone(), 6)
    assert (network.kind, network.features) == (f"{kind}-projected", encoder.features)
    assert not network.training
    with torch.no_grad():
        inner, found = encoder(features), network(features)
        mean = cone().mean(dim=0)
        by_hand = (inner - mean) @ network.projection.weight.T
    assert found.shape == (5, 6)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(5))
    torch.testing.assert_close(found, by_hand / by_hand.norm(dim=1, keepdim=True), rtol=1e-3, atol=1e-4)
    assert torch.equal(found, network.project(inner))


def test_the_encoder_that_it_was_made_of_is_not_touched() -> None:
    encoder, features = made("wen-cnn")
    network = ProjectedEncoder.fit(encoder, cone(), 6)
    with torch.no_grad():
        before = network(features)
        for parameter in encoder.parameters():
            parameter.add_(1)
        assert torch.equal(network(features), before)


@pytest.mark.parametrize("kind", ENCODERS)
def test_it_comes_back_from_a_checkpoint(kind: str, tmp_path: Path) -> None:
    encoder, features = made(kind)
    network = ProjectedEncoder.fit(encoder, cone(), 6)
    checkpoint.save(tmp_path / "run", {"voice": network}, {})
    loaded = checkpoint.load(tmp_path / "run")[0]["voice"]
    assert isinstance(loaded, ProjectedEncoder)
    assert type(loaded.encoder) is type(encoder)
    assert loaded.settings == network.settings == {
        "encoder": kind, "encoder_settings": encoder.settings, "embedding_size": 6,
    }  # fmt: skip
    with torch.no_grad():
        assert torch.equal(loaded(features), network(features))


def test_its_settings_are_those_that_json_gives_back() -> None:
    """Else no fit could go on: those of the checkpoint are compared with them."""
    for given in ({"channels": (64, 12, 12), "embedding_size": 8}, {"channels": (64, 12, 12)}):
        settings = ProjectedEncoder("wen-cnn", given, 4).settings
        assert json.loads(json.dumps(settings)) == settings
        again = ProjectedEncoder(**settings)
        assert again.projection.in_features == given.get("embedding_size", 64)
