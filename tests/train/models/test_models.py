"""Networks of the GAN branch: shapes, and the parameter counts of the specification."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from s2f_train.models.face import Classifier, Discriminator, FaceEmbeddingNetwork
from s2f_train.models.generator import Generator
from s2f_train.models.traits import VoiceTraits
from s2f_train.models.voice import GE2EEncoder, VoiceEmbeddingNetwork


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_parameter_counts_of_the_specification() -> None:
    assert parameters(VoiceEmbeddingNetwork()) == 2_670_720
    assert parameters(Generator(variant="wen2019")) == 12_191_875
    assert parameters(Generator(variant="wen2019-tanh")) == 12_191_875
    # thesis2023 adds a scale and a shift per channel of the five batch norms
    assert parameters(Generator()) == 12_191_875 + 2 * (1024 + 512 + 256 + 128 + 64)
    # by hand: 3*32+32, then n*m*16+m for each halving, then 512*64*16+64
    by_hand = 3 * 32 + 32 + sum(n * 2 * n * 16 + 2 * n for n in (32, 64, 128, 256)) + 512 * 64 * 16 + 64
    assert parameters(FaceEmbeddingNetwork(variant="wen2019")) == by_hand
    assert parameters(FaceEmbeddingNetwork()) == by_hand + 2 * (64 + 128 + 256 + 512)
    assert parameters(Discriminator()) == 64
    assert parameters(Classifier(924)) == 64 * 924


@pytest.mark.parametrize("frames", [1, 31, 32, 300, 1001])
def test_voice_network_takes_any_length(frames: int) -> None:
    network = VoiceEmbeddingNetwork().eval()
    with torch.no_grad():
        embedding = network(torch.randn(2, 64, frames))
    assert embedding.shape == (2, 64)
    assert torch.allclose(embedding.norm(dim=1), torch.ones(2))


def test_lengths_inside_follow_the_thesis() -> None:
    """Section 5.4.2: t becomes floor((t - 1) / 2) + 1 at every layer."""
    network, length = VoiceEmbeddingNetwork().eval(), 1000
    x = torch.randn(1, 64, length)
    with torch.no_grad():
        for layer in network.model:
            x = layer(x)
            if isinstance(layer, nn.Conv1d):
                length = (length - 1) // 2 + 1
                assert x.shape[2] == length


@pytest.mark.parametrize("variant", ["thesis2023", "wen2019", "wen2019-tanh"])
def test_generator_sizes_inside_and_range_outside(variant: str) -> None:
    generator = Generator(variant=variant).eval()
    sizes = []
    x = nn.functional.normalize(torch.randn(3, 64))[:, :, None, None]
    with torch.no_grad():
        for layer in generator.model:
            x = layer(x)
            if isinstance(layer, nn.ConvTranspose2d):
                sizes.append(tuple(x.shape[1:]))
        pictures = generator(10 * torch.randn(3, 64))
    assert sizes == [(1024, 4, 4), (512, 8, 8), (256, 16, 16), (128, 32, 32), (64, 64, 64), (3, 64, 64)]
    assert pictures.shape == (3, 3, 64, 64)
    assert pictures.abs().max() <= 1.0


def test_norms_and_tanh_are_where_the_variant_has_them() -> None:
    assert not any(isinstance(m, nn.BatchNorm2d) for m in Generator(variant="wen2019").modules())
    assert sum(isinstance(m, nn.BatchNorm2d) for m in Generator().modules()) == 5
    layers = list(FaceEmbeddingNetwork().model)
    assert not isinstance(layers[1], nn.BatchNorm2d)  # none before the first LeakyReLU
    assert sum(isinstance(m, nn.BatchNorm2d) for m in layers) == 4
    with pytest.raises(ValueError, match="variant"):
        Generator(variant="other")
    with pytest.raises(ValueError, match="widths"):
        Generator(channels=(8, 8))


def test_widths_and_embedding_size_are_settings() -> None:
    generator = Generator(256, (32, 16, 8, 8, 8))
    assert generator(torch.randn(2, 256)).shape == (2, 3, 64, 64)
    assert Generator(**generator.settings).state_dict().keys() == generator.state_dict().keys()
    voice = VoiceEmbeddingNetwork((64, 8, 8), 32)
    assert voice(torch.randn(2, 64, 50)).shape == (2, 32)


def test_face_network_gives_a_vector() -> None:
    assert FaceEmbeddingNetwork()(torch.randn(2, 3, 64, 64)).shape == (2, 64)


def test_ge2e_encoder_gives_unit_vectors() -> None:
    embedding = GE2EEncoder().eval()(torch.rand(3, 160, 40))
    assert embedding.shape == (3, 256)
    assert torch.allclose(embedding.norm(dim=1), torch.ones(3), atol=1e-5)
    assert (embedding >= 0).all()


def test_traits_learn_what_can_be_learned() -> None:
    generator = torch.Generator().manual_seed(0)
    male = (torch.rand(400, generator=generator) < 0.5).float()
    x = torch.randn(400, 16, generator=generator)
    x[:, 3] += 4 * male
    traits = VoiceTraits(16, 8)
    unknown = male.clone()
    unknown[::10] = float("nan")
    traits.fit(x, unknown)
    with torch.no_grad():
        probability, surprise = traits(x)
        _, strange = traits(x + 10)
    assert ((probability > 0.5) == (male > 0.5)).float().mean() > 0.95
    assert surprise.mean() == pytest.approx(1.0, abs=0.05)
    assert strange.min() > surprise.mean()
