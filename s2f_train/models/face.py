"""Networks that look at faces: embedding F, discriminator D, classifier C (docs/spec.md, section 3)."""

from __future__ import annotations

import itertools
from typing import Any

from torch import Tensor, nn


class FaceEmbeddingNetwork(nn.Module):
    """2-D convolutions from a 64x64 picture to a vector (thesis figure 5.4).

    Args:
        channels: width after the 1x1 layer and after each of the four halvings.
        embedding_size: length of the vector.
        variant: `thesis2023` adds a batch norm before each LeakyReLU but the first.
    """

    def __init__(
        self,
        channels: tuple[int, ...] = (32, 64, 128, 256, 512),
        embedding_size: int = 64,
        variant: str = "thesis2023",
    ):
        super().__init__()
        self.settings: dict[str, Any] = {
            "channels": list(channels),
            "embedding_size": embedding_size,
            "variant": variant,
        }
        layers: list[nn.Module] = [nn.Conv2d(3, channels[0], 1), nn.LeakyReLU(0.2, inplace=True)]
        for narrow, wide in itertools.pairwise(channels):
            layers.append(nn.Conv2d(narrow, wide, 4, 2, 1))
            if variant == "thesis2023":
                layers.append(nn.BatchNorm2d(wide))
            layers.append(nn.LeakyReLU(0.2, inplace=True))
        layers.append(nn.Conv2d(channels[-1], embedding_size, 4, 1, 0))
        self.model = nn.Sequential(*layers)

    def forward(self, pictures: Tensor) -> Tensor:
        """float32 (batch, 3, 64, 64) in [-1, 1] -> (batch, embedding)."""
        vectors: Tensor = self.model(pictures)
        return vectors.flatten(1)


class Discriminator(nn.Linear):
    """Face embedding to the logit of "real": a linear layer without bias.

    The sigmoid of Wen et al. 2019 is inside the loss (`binary_cross_entropy_with_logits`).
    """

    def __init__(self, embedding_size: int = 64):
        super().__init__(embedding_size, 1, bias=False)
        self.settings = {"embedding_size": embedding_size}


class Classifier(nn.Linear):
    """Face embedding to logits over identities: a linear layer without bias; softmax in the loss."""

    def __init__(self, identities: int, embedding_size: int = 64):
        super().__init__(embedding_size, identities, bias=False)
        self.settings = {"identities": identities, "embedding_size": embedding_size}
