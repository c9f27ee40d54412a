"""From a voice to an appearance: the shape of a face and a small sketch of it, from which the renderer draws."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from s2f_edge.talk.motion import POINTS
from s2f_train.models.renderer import INNER, INNER_SIDE, OUTER, OUTER_SIDE, SHAPE
from s2f_train.models.sketch import FARTHEST, HINT, limited


class AppearanceGenerator(nn.Module):
    """A few numbers that a voice says, and others that it does not, to the appearance of a face.

    Two layers read the first, `told`, from the embedding: principal components of the inner face and of the shape, and
    the gender. The second, `latent`, is what faces of such an appearance differ in: hair, ground, light, details. It
    follows from the embedding by a fixed matrix, so that every voice has its own, and noise moves it.

    Args:
        embedding_size: length of the voice embedding.
        latent_size: how many numbers the voice does not say.
        told: how many it says; the last is the gender.
        hints: from how many of these, the first, hair, ground, light and details follow beside the gender.
        hidden: width of the layers.
    """

    mix: Tensor
    mix_mean: Tensor
    basis: Tensor
    mean: Tensor

    def __init__(
        self, embedding_size: int = 64, latent_size: int = 40, told: int = 41, hints: int = 24, hidden: int = 256
    ):
        super().__init__()
        self.settings: dict[str, Any] = {
            "embedding_size": embedding_size, "latent_size": latent_size, "told": told, "hints": hints, "hidden": hidden
        }  # fmt: skip
        self.hints = hints
        self.told = nn.Sequential(
            nn.Linear(embedding_size, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, told)
        )
        self.register_buffer("mix", torch.zeros(embedding_size, latent_size))
        self.register_buffer("mix_mean", torch.zeros(embedding_size))
        self.register_buffer("basis", torch.zeros(told + hints + latent_size, INNER + OUTER + SHAPE))
        self.register_buffer("mean", torch.zeros(INNER + OUTER + SHAPE))

    def forward(self, embedding: Tensor, latent: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Makes appearances.

        Args:
            embedding: float32 (n, embedding), of unit length.
            latent: (n, latent): 0 for the face of the voice, normal numbers for other candidates.

        Returns:
            inner: (n, 3, 64, 64), the sketch of the inner face, in [-1, 1].
            outer: (n, 3, 16, 16), that of the whole picture.
            shape: (n, 68, 2), x and y in units of the side.
        """
        moved = (self.own(embedding) + latent) * torch.rsqrt(1.0 + latent.square().mean(dim=1, keepdim=True))
        return self.appearance(self.told(embedding), moved)

    def own(self, embedding: Tensor) -> Tensor:
        """What a voice has of its own of the numbers that it does not say: (n, embedding) to (n, latent)."""
        return (embedding - self.mix_mean) @ self.mix

    def appearance(self, told: Tensor, moved: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The sketches and the shape of both kinds of numbers: (n, told) and (n, latent); see `forward`."""
        voice, gender = limited(told[:, :-1], FARTHEST), told[:, -1:]
        hint = limited(told[:, : self.hints], HINT)
        made = self.mean + torch.cat([voice, gender, hint, moved], dim=1) @ self.basis
        inner, outer, shape = torch.split(made, [INNER, OUTER, SHAPE], dim=1)
        return (
            inner.reshape(-1, 3, INNER_SIDE, INNER_SIDE),
            outer.reshape(-1, 3, OUTER_SIDE, OUTER_SIDE),
            shape.reshape(-1, POINTS, 2),
        )
