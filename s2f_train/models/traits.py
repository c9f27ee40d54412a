"""What a voice embedding says beside the face: the speaker's gender, and how usual the voice is."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from s2f_train.models.voice import unit

# With it probabilities of the gender are nearest to the truth: log loss, cross-validation over 606 speakers, CAM++.
WEIGHT_DECAY = 12.0


class VoiceTraits(nn.Module):
    """Two readings of a voice embedding.

    - `male`: logistic regression, the probability that the speaker is male.
    - `surprise`: squared Mahalanobis distance to the training speakers over the number of
      directions kept, so about 1 for a usual voice.

    Args:
        embedding_size: length of the embedding.
        directions: how many principal directions of the training speakers are kept.
    """

    def __init__(self, embedding_size: int, directions: int):
        super().__init__()
        self.settings = {"embedding_size": embedding_size, "directions": directions}
        self.gender = nn.Linear(embedding_size, 1)
        self.mean: Tensor = nn.Buffer(torch.zeros(embedding_size))
        self.whiten: Tensor = nn.Buffer(torch.zeros(embedding_size, directions))

    def forward(self, embedding: Tensor) -> tuple[Tensor, Tensor]:
        """float32 (batch, embedding) -> male (batch,), surprise (batch,)."""
        male = torch.sigmoid(self.gender(embedding)).flatten()
        surprise = ((embedding - self.mean) @ self.whiten).square().mean(dim=1)
        return male, surprise

    def fit(self, embeddings: Tensor, male: Tensor, weight_decay: float = WEIGHT_DECAY, floor: float = 1e-4) -> None:
        """Fits both readings.

        Args:
            embeddings: (n, embedding), of unit length.
            male: (n,): 1 male, 0 female, NaN unknown (then used for `surprise` alone).
            weight_decay: of the logistic regression, in hundredths of an example.
            floor: smallest variance of a direction.
        """
        known = ~male.isnan()
        if known.any():
            self._fit_gender(embeddings[known], male[known], weight_decay)
        mean = embeddings.mean(dim=0)
        _, values, directions = torch.linalg.svd(embeddings - mean, full_matrices=False)
        kept = self.settings["directions"]
        variance = (values[:kept] ** 2 / len(embeddings)).clamp_min(floor)
        self.mean, self.whiten = mean, directions[:kept].T / variance.sqrt()

    def _fit_gender(self, x: Tensor, y: Tensor, weight_decay: float) -> None:
        balance = torch.where(y > 0.5, 0.5 / y.mean(), 0.5 / (1 - y.mean()))
        optimiser = torch.optim.LBFGS(self.gender.parameters(), max_iter=500, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            optimiser.zero_grad()
            logits = self.gender(x).flatten()
            loss = nn.functional.binary_cross_entropy_with_logits(logits, y, balance, reduction="sum")
            loss = loss + 0.5 * weight_decay * self.gender.weight.square().sum() / 100
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        optimiser.step(closure)  # type: ignore[no-untyped-call]


def mean_embedding(windows: Tensor) -> Tensor:
    """(windows, embedding) -> (embedding,), of unit length."""
    return unit(windows.mean(dim=0, keepdim=True))[0]
