"""A voice network whose embedding is brought to the directions in which speakers differ."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from s2f_train.models.campplus import CamPlusPlus
from s2f_train.models.voice import GE2EEncoder, VoiceEmbeddingNetwork, unit

ENCODERS: dict[str, type[nn.Module]] = {
    network.kind: network for network in (VoiceEmbeddingNetwork, GE2EEncoder, CamPlusPlus)
}


class ProjectedEncoder(nn.Module):
    """A frozen encoder and a linear layer after it, whose output is of unit length.

    Embeddings of public encoders lie in a narrow cone: what all voices have in common is most of each. A generator
    learns several times faster from the principal directions of what is left, the weak ones made stronger.

    Args:
        encoder: its kind, a key of `ENCODERS`.
        encoder_settings: what it is built with.
        embedding_size: directions that are kept.
    """

    def __init__(self, encoder: str, encoder_settings: dict[str, Any], embedding_size: int):
        super().__init__()
        self.kind = f"{encoder}-projected"
        self.encoder = ENCODERS[encoder](**encoder_settings)
        theirs: dict[str, Any] = self.encoder.settings  # type: ignore[assignment]
        self.settings: dict[str, Any] = {
            "encoder": encoder,
            "encoder_settings": dict(theirs),
            "embedding_size": embedding_size,
        }
        self.features = str(self.encoder.features)
        self.projection = nn.Linear(int(theirs["embedding_size"]), embedding_size)

    def forward(self, features: Tensor) -> Tensor:
        """What the encoder takes -> (batch, embedding), of unit length."""
        return self.project(self.encoder(features))

    def project(self, embeddings: Tensor) -> Tensor:
        """The encoder's embeddings, (batch, d) -> (batch, embedding), of unit length."""
        return unit(self.projection(embeddings))

    @classmethod
    def fit(cls, encoder: nn.Module, embeddings: Tensor, directions: int) -> ProjectedEncoder:
        """Finds the directions.

        Each is divided by the square root of the spread along it: between leaving the weak ones weak and making all
        alike, which would make noise strong.

        Args:
            encoder: one of `ENCODERS`.
            embeddings: (speakers, d), by that encoder, of unit length.
            directions: at most d, and at most as many as there are speakers, less one.

        Raises:
            ValueError: they are more.
        """
        most = min(len(embeddings) - 1, embeddings.shape[1])
        if directions > most:
            raise ValueError(
                f"{len(embeddings)} voice embeddings of {embeddings.shape[1]} numbers have no more than {most} "
                f"directions; the setting directions is {directions}: lower it."
            )
        network = cls(str(encoder.kind), encoder.settings, directions)  # type: ignore[arg-type]
        network.encoder.load_state_dict(encoder.state_dict())
        mean = embeddings.double().mean(dim=0)
        _, spread, rows = torch.linalg.svd(embeddings.double() - mean, full_matrices=False)
        weight = rows[:directions] / (spread[:directions, None] / spread[0]).clamp_min(1e-6).sqrt()
        with torch.no_grad():
            network.projection.weight.copy_(weight)
            network.projection.bias.copy_(-(weight @ mean))
        return network.eval()
