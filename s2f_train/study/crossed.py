"""Intervals over people and voices: both vary, and an answer belongs to one of each.

The variance of a mean with crossed random effects of people and of voices is estimated by moments: the squared sums of
residuals by person, plus those by voice, less those of single answers, which are in both (Cameron, Gelbach and Miller
2011; for a mean, Owen 2007). Who saw what does not matter, and no distribution is assumed. The two-way bootstrap
counts what is left of single answers three times (Owen 2007), so where each person sees a voice once, as here, its
intervals are too wide: see `tests/train/study/test_crossed.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2f_train.evaluate.tables import Figure

Floats = NDArray[np.float64]
Answers = tuple[Any, Any, Any]  # values, whose answer each is, of which voice
FEWEST = 4  # people and voices; with fewer there is no interval
QUANTILE = NormalDist().inv_cdf(0.975)
POWER = NormalDist().inv_cdf(0.8)


@dataclass(frozen=True)
class Crossed:
    """A mean, or a difference of two, and where its variance comes from.

    Attributes:
        value: NaN where there are no answers.
        by_person, by_voice: squared sums of its residuals by person and by voice; both hold `by_answer`.
        by_answer: squared residuals.
        people, voices, n: how many.
    """

    value: float
    by_person: float
    by_voice: float
    by_answer: float
    people: int
    voices: int
    n: int

    @property
    def variance(self) -> float:
        return max(self.by_person + self.by_voice - self.by_answer, self.by_answer)

    def figure(self, share: bool) -> Figure:
        """With its interval of 95 %, by Student's t with one degree less than there are people, or voices if fewer.

        Args:
            share: of right answers: the interval is Wilson's, of as many answers as the variance is worth, and so it
                stays within 0 and 1. Otherwise the value plus and minus.
        """
        few = min(self.people, self.voices)
        if few < FEWEST:
            return Figure(self.value, n=self.n)
        t, variance, value = student(few - 1), self.variance, self.value
        if not share:
            half = t * math.sqrt(variance)
            return Figure(value, value - half, value + half, self.n)
        worth = value * (1 - value) / variance if variance > 0 else self.n
        scale = 1 + t * t / worth
        middle = (value + t * t / worth / 2) / scale
        half = t * math.sqrt(value * (1 - value) / worth + (t / worth / 2) ** 2) / scale
        return Figure(value, max(0.0, middle - half), min(1.0, middle + half), self.n)

    def needed(self, effect: float) -> Needed:
        """How many people see an effect with a power of 80 % at a level of 5 %, each answering as much as here.

        Args:
            effect: such as 0.05 for five points of a share.
        """
        if min(self.people, self.voices) < FEWEST or not self.by_person > 0:
            return Needed(None, None)
        allowed = (effect / (QUANTILE + POWER)) ** 2
        fixed = max(self.by_voice - self.by_answer, 0.0)  # more people on the same voices do not make it less
        if fixed >= allowed:
            return Needed(None, math.floor(self.voices * fixed / allowed) + 1)
        return Needed(math.ceil(self.people * self.by_person / (allowed - fixed)), self.voices)


@dataclass(frozen=True)
class Needed:
    """People who are enough with the voices of the study; None with `voices`: no number is, more voices are needed.

    Both are None where the answers are too few to tell.
    """

    people: int | None
    voices: int | None


def crossed_mean(answers: Answers) -> Crossed:
    """The mean of values.

    Args:
        answers: values (n,), and as numbers from 0 whose answer each is and of which voice.
    """
    values, person, voice = (np.asarray(given) for given in answers)
    if not len(values):
        return Crossed(math.nan, 0.0, 0.0, 0.0, 0, 0, 0)
    mean = float(values.mean())
    return _crossed(mean, (values - mean) / len(values), person, voice)


def crossed_difference(one: Answers, other: Answers) -> Crossed:
    """The mean of some values less that of others, by the same people on the same voices or not.

    Args:
        one, other: as in `crossed_mean`; a person or a voice has the same number in both.
    """
    a, b = crossed_mean(one), crossed_mean(other)
    if not a.n or not b.n:
        return Crossed(math.nan, 0.0, 0.0, 0.0, 0, 0, a.n + b.n)
    residuals = [sign * (np.asarray(g[0]) - mean.value) / mean.n for sign, g, mean in ((1, one, a), (-1, other, b))]
    person, voice = (np.concatenate([np.asarray(one[i]), np.asarray(other[i])]) for i in (1, 2))
    return _crossed(a.value - b.value, np.concatenate(residuals), person, voice)


def _crossed(value: float, residuals: Floats, person: Any, voice: Any) -> Crossed:
    """Squared sums are raised for what the mean takes from them."""
    (by_person, people), (by_voice, voices) = _squares(residuals, person), _squares(residuals, voice)
    n = len(residuals)
    by_answer = float((residuals**2).sum()) * n / max(1, n - 1)
    return Crossed(value, by_person, by_voice, by_answer, people, voices, n)


def _squares(residuals: Floats, group: Any) -> tuple[float, int]:
    names, place = np.unique(group, return_inverse=True)
    count = len(names)
    return float((np.bincount(place, residuals, count) ** 2).sum()) * count / max(1, count - 1), count


def student(degrees: int) -> float:
    """The 97.5th percentile of Student's t, to 0.2 % from 3 degrees on (Cornish and Fisher's expansion)."""
    z, d = QUANTILE, degrees
    return (
        z
        + (z**3 + z) / (4 * d)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * d**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * d**3)
        + (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92160 * d**4)
    )
