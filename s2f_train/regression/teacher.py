"""What voices tell of faces, by regression: what the networks of `fit appearance` learn."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from s2f_train.models.appearance_generator import AppearanceGenerator
from s2f_train.models.sketch import FARTHEST, limited, unlimited
from s2f_train.regression.gender_apart import GenderApart
from s2f_train.regression.likeness import Likeness
from s2f_train.regression.older import Older
from s2f_train.regression.photographs import Photographs
from s2f_train.regression.ridge import Ridge

LEAST_GENDER = 0.5  # what a recogniser should see of the gender, in shares of what it sees on average of those so sure
GENDER = 1.6  # the mean face is so many times as far on women's or men's side as photographs of them
LEAST = 2.0  # and a face shows at least so many times of it what that photograph shows
# Share that is taken back of what a recogniser adds to a gender, such as a darker skin of men, on average; and the same
# for voices of data without photographs, whose microphones are not theirs.
EXCESS, EXCESS_ELSEWHERE = 0.5, 1.0
SURE = 1.5  # hair and ground follow a gender so many times as sure,
MOST_MALE, MOST_FEMALE = 1.0, 1.6  # at most: a man's hair cannot be much shorter than the mean man's
YEARS, AGED = 10.0, 0.5  # the age that is heard, which is near to the mean, counts so many times; share of it
RAREST = 1.8  # the Mahalanobis distance of a face from the mean of photographs, per number, at most


class Teacher:
    """What the regressions say of voices for one generator.

    Args:
        ridge: from what voices tell beside the gender to the same of the paired pictures.
        stretch: (k,), how many times as far from the mean each number then is.
        older: what is done to those who sound old.
        apart: gender of voices and faces.
    """

    def __init__(self, ridge: Ridge, stretch: Tensor, older: Older, apart: GenderApart):
        self.ridge, self.stretch, self.older, self.apart = ridge, stretch, older, apart
        self.seen: Seen | None = None

    @torch.no_grad()
    def __call__(self, embeddings: Tensor) -> Tensor:
        """(n, embedding) to the numbers that a voice tells: sketch, shape, gender."""
        given = embeddings.cpu()
        if self.seen:
            told = self.seen(self.rest(given), given)
        else:
            told = torch.cat([self.rest(given) + self.apart.mean_faces(given), self.apart.wanted(given)], dim=1)
        return told.to(embeddings.device)

    def rest(self, embeddings: Tensor) -> Tensor:
        """What the pictures tell of voices beside the gender: (n, told - 1)."""
        return self.older(self.ridge.stretched(self.apart.rest_of_voices(embeddings), self.stretch))


@dataclass(frozen=True)
class Seen:
    """Moves what the pictures tell of voices until a recogniser would see what the photographs tell of them.

    Attributes:
        likeness: how the recogniser sees drawn faces.
        ridge: from voices to what it sees in photographs of the speakers.
        apart: gender of the voices, and of what it sees.
        photographs: the numbers of portraits.
        years: from voices to the ages of the speakers; None where they are not known.
        generator: of the numbers that voices do not tell.
        excess: for each data set of voices, what a gender's faces have more of than photographs; it is taken back.
        source: from voices to 1 for the data set they are of, (n, data sets), 0 for the others.
    """

    likeness: Likeness
    ridge: Ridge
    apart: GenderApart
    photographs: Photographs
    years: Ridge | None
    generator: AppearanceGenerator
    excess: tuple[GenderApart, ...] = ()
    source: Ridge | None = None

    def __call__(self, rest: Tensor, embeddings: Tensor) -> Tensor:
        """What the pictures tell of voices beside the gender, (n, told - 1), and (n, embedding) to (n, told)."""
        mean = self._mean(embeddings)
        differences = self.differences(rest, embeddings)
        if self.source:
            shares = self.source(embeddings).clamp(0.0, 1.0)
            for i, excess in enumerate(self.excess):
                differences = differences - shares[:, i : i + 1] * excess.mean_faces(embeddings)
        if self.years:
            heard = YEARS * (self.years(embeddings) - self.years.mean)
            differences = self.photographs.aged(differences, heard, AGED)
        # A face that is rare in many ways at once is none: all of it comes nearer to the mean.
        rare = self.photographs.rarity(differences)
        numbers = mean + differences * limited(rare, RAREST) / rare
        numbers = self.photographs.gendered(numbers, LEAST * self.apart.wanted(embeddings))
        gender = self._gender(embeddings)
        gender = torch.where(gender > 0, limited(gender, MOST_MALE), limited(gender, MOST_FEMALE))
        return torch.cat([unlimited(numbers, FARTHEST), gender], dim=1)

    def differences(self, rest: Tensor, embeddings: Tensor) -> Tensor:
        """How the numbers with which the recogniser sees what it should differ from the mean: (n, told - 1)."""
        seen = self.ridge(self.apart.as_asked(embeddings)) - self.ridge.mean
        seen = self.apart.stretch * self.apart.at_least(LEAST_GENDER, seen, embeddings)
        beside = torch.cat([self._gender(embeddings), self.generator.own(embeddings)], dim=1)
        mean = self._mean(embeddings)
        return self.likeness(limited(rest + mean, FARTHEST), beside, seen, self.photographs, mean) - mean

    def _gender(self, embeddings: Tensor) -> Tensor:
        return SURE * self.apart.wanted(embeddings)

    def _mean(self, embeddings: Tensor) -> Tensor:
        return self.photographs.mean(GENDER * self.apart.wanted(embeddings))
