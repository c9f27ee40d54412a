"""Gender apart from the rest of what voices tell of faces."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from s2f_train.models.traits import VoiceTraits


@dataclass(frozen=True)
class GenderApart:
    """What lies between women's and men's voices, and between their faces.

    Both are taken out before the regression: so a voice can be given a face of either gender, and what it says
    beside the gender stays.

    Attributes:
        traits: tells from a voice how probably it is a man's.
        voices, faces: (2, d) and (2, k): the middle, and what a man's differs from it. A woman's differs by as
            much the other way.
        asked: 1 for the faces of who is surely a man, -1 for those of who is surely a woman, 0: as the voice is.
        stretch: how many times as far from the middle the mean faces are taken.
    """

    traits: VoiceTraits
    voices: Tensor
    faces: Tensor
    asked: float
    stretch: float

    @classmethod
    def fit(cls, embeddings: Tensor, values: Tensor, traits: VoiceTraits, asked: float, stretch: float) -> GenderApart:
        """Least squares: the voices' gender to embeddings (n, d) and to what is known of their faces (n, k)."""
        with torch.no_grad():
            heard = 2 * traits(embeddings)[0] - 1
        terms = torch.stack([torch.ones_like(heard), heard], dim=1).double()
        voices, faces = (torch.linalg.lstsq(terms, y.double()).solution.to(y.dtype) for y in (embeddings, values))
        return cls(traits, voices, faces, asked, stretch)

    def heard(self, embeddings: Tensor) -> Tensor:
        """(n, 1): from -1, surely a woman, to 1, surely a man."""
        with torch.no_grad():
            male: Tensor = self.traits(embeddings)[0][:, None]
        return 2 * male.to(embeddings.dtype) - 1

    def rest_of_voices(self, embeddings: Tensor) -> Tensor:
        """(n, d): the embeddings without what is gender."""
        return embeddings - self.voices[0] - self.heard(embeddings) * self.voices[1]

    def rest_of_faces(self, values: Tensor, embeddings: Tensor) -> Tensor:
        """(n, k): the same of what is known of the faces of these voices."""
        return values - self.faces[0] - self.heard(embeddings) * self.faces[1]

    def as_asked(self, embeddings: Tensor) -> Tensor:
        """(n, d): the voices as if they were of the gender that is asked for."""
        return embeddings + (self.asked - self.heard(embeddings)) * self.voices[1] if self.asked else embeddings

    def at_least(self, share: float, values: Tensor, embeddings: Tensor) -> Tensor:
        """What is told of faces, (n, k), less its mean, with at least so much of the gender heard or asked for as share
        times what lies between women and men on average. Voices unlike those of the fit would else have too little."""
        direction = self.faces[1] / self.faces[1].square().sum()
        there, wanted = (values @ direction)[:, None], self.wanted(embeddings)
        least = torch.where(there * wanted < share * wanted.square(), share * wanted, there)
        return values + (least - there) * self.faces[1]

    def wanted(self, embeddings: Tensor) -> Tensor:
        """(n, 1): the gender that is asked for, or that of the voices."""
        return torch.full_like(embeddings[:, :1], self.asked) if self.asked else self.heard(embeddings)

    def mean_faces(self, embeddings: Tensor) -> Tensor:
        """(n, k): of the gender that is asked for, or that of the voices."""
        return self.faces[0] + self.stretch * self.wanted(embeddings) * self.faces[1]
