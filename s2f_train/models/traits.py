"""What a voice embedding says beside the face: the speaker's gender, and how usual the voice is."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from s2f_train.models.voice import unit

# With it probabilities of the gender are nearest to the truth: log loss, cross-validation over 606 speakers, CAM++.
WEIGHT_DECAY = 12.0
MOST_WEIGHT = 10.0  # of a voice: a single one does not outweigh a data set


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

    def fit(
        self,
        embeddings: Tensor,
        male: Tensor,
        weight_decay: float = WEIGHT_DECAY,
        floor: float = 1e-4,
        sources: Sequence[str] = (),
        copies: Tensor | None = None,
    ) -> None:
        """Fits both readings.

        Args:
            embeddings: (n, embedding), of unit length.
            male: (n,): 1 male, 0 female, NaN unknown (then used for `surprise` alone).
            weight_decay: of the logistic regression, in hundredths of an example; a voice and its copies are one.
            floor: smallest variance of a direction.
            sources: of each voice the data set, in each of which women and men count alike; empty: all are of one.
            copies: (k, n with known gender, embedding): the same voices as they sound elsewhere, for the gender alone.
        """
        known = ~male.isnan()
        if known.any():
            heard = embeddings[known][None] if copies is None else torch.cat([embeddings[known][None], copies])
            weights = balanced(male[known], [sources[i] for i in known.nonzero().flatten()] if sources else ())
            self._fit_gender(heard, male[known].expand(heard.shape[:2]), weights / len(heard), weight_decay)
        mean = embeddings.mean(dim=0)
        _, values, directions = torch.linalg.svd(embeddings - mean, full_matrices=False)
        kept = self.settings["directions"]
        variance = (values[:kept] ** 2 / len(embeddings)).clamp_min(floor)
        self.mean, self.whiten = mean, directions[:kept].T / variance.sqrt()

    def _fit_gender(self, x: Tensor, y: Tensor, weights: Tensor, weight_decay: float) -> None:
        optimiser = torch.optim.LBFGS(self.gender.parameters(), max_iter=500, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            optimiser.zero_grad()
            logits = self.gender(x).squeeze(-1)
            loss = nn.functional.binary_cross_entropy_with_logits(logits, y, weights, reduction="sum")
            loss = loss + 0.5 * weight_decay * self.gender.weight.square().sum() / 100
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        optimiser.step(closure)  # type: ignore[no-untyped-call]


def balanced(male: Tensor, sources: Sequence[str] = ()) -> Tensor:
    """Weights with which women and men count alike in each source: where women are few, a voice is no more a man's.

    Args:
        male: (n,): 1 male, 0 female.
        sources: of each voice; empty: all are of one.

    Returns:
        (n,), on average 1 where both genders are there, and at most `MOST_WEIGHT`.
    """
    weights = torch.zeros_like(male)
    number = {source: i for i, source in enumerate(dict.fromkeys(sources))}
    of = torch.tensor([number[source] for source in sources]) if sources else torch.zeros(len(male))
    for source in range(max(len(number), 1)):
        for gender in (0.0, 1.0):
            mine = (of == source) & (male == gender)
            weights[mine] = 0.5 * (of == source).sum() / mine.sum().clamp_min(1)
    return weights.clamp_max(MOST_WEIGHT)


def mean_embedding(windows: Tensor) -> Tensor:
    """(windows, embedding) -> (embedding,), of unit length."""
    return unit(windows.mean(dim=0, keepdim=True))[0]
