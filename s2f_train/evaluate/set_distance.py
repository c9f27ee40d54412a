"""How far faces are from sets of photographs, in units of what one such set has from another."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from s2f_train.evaluate.intervals import Array, Floats
from s2f_train.evaluate.tables import Figure

# Features are divided by its root before the kernel (x.y/d + 1)^3: as they are, three or four deviations off in a few
# channels would, to the third power, outweigh everything else.
SOFTNESS = 10.0
LEAST_SPREAD = 0.1  # of the median deviation: a channel that is silent on photographs is no reason for a huge number
HALVINGS = 100


@dataclass(frozen=True)
class Weighted:
    """Pictures by their features, and how often each counts: in row 0 once, then as people are drawn anew.

    Attributes:
        features: (n, d), in deviations of photographs.
        weights: (1 + draws, n).
    """

    features: Floats
    weights: Floats


class PhotographDistance:
    """The distance from photographs: the mean over sets of the kernel distance (KID, unbiased) from each, in units.

    The unit is the mean kernel distance of two sets from each other. With one set alone it is the mean size of the
    distance of random halves of its people, which is chance alone: figures then say how far above chance faces are,
    grow with the number of photographs, and are not to be set beside those of other runs.

    Intervals are from drawing people anew: a picture that is drawn twice is no pair with itself, so unlike a naive
    bootstrap's the distances stay unbiased.

    Args:
        sets: features of photographs by the set's name, (n, d) each, n at least 2.
        people: whose each is.
        draws: of people; 0: no intervals.
        seed: of the draws and of the halves.

    Raises:
        ValueError: no set, or one under 2 pictures.
    """

    def __init__(self, sets: dict[str, Array], people: dict[str, list[str]], draws: int = 200, seed: int = 0):
        if not sets or min(map(len, sets.values())) < 2:
            raise ValueError("A distance from photographs needs a set of at least 2.")
        self.draws, self._seed = draws, seed
        values = [np.asarray(one, np.float64) for one in sets.values()]
        self._mean = np.mean([one.mean(axis=0) for one in values], axis=0)
        spread = np.sqrt(np.mean([np.square(one - self._mean).mean(axis=0) for one in values], axis=0))
        self._spread = np.maximum(spread, max(LEAST_SPREAD * float(np.median(spread)), 1e-12)) * np.sqrt(SOFTNESS)
        self.sets = {name: self.weighted(one, people[name], 50 + i) for i, (name, one) in enumerate(sets.items())}
        self._within = {name: _within(one) for name, one in self.sets.items()}
        self._between = {
            frozenset(pair): self._distance(self.sets[pair[0]], self._within[pair[0]], pair[1])
            for pair in combinations(self.sets, 2)
        }
        if self._between:
            self.unit_is = f"the mean distance of {len(self.sets)} sets of photographs from each other"
            self._unit: Floats = np.mean(list(self._between.values()), axis=0)
        else:
            self.unit_is = (
                "the mean size of the distance of random halves of the one set of photographs, which is chance"
            )
            (name,) = self.sets
            self._unit = np.full(1 + draws, _chance(self.sets[name].features, people[name], seed))

    def weighted(self, features: Array, person: Array | list[str], stream: int = 0) -> Weighted:
        """Pictures ready for `figure`.

        Args:
            features: (n, d).
            person: whose each is; names or numbers.
            stream: of the draws, another number for people who are others.
        """
        scaled: Floats = (np.asarray(features, np.float64) - self._mean) / self._spread
        return Weighted(scaled, drawn_weights(person, self.draws, [self._seed, stream]))

    def figure(self, faces: Weighted, but: str = "") -> Figure:
        """The distance of faces from all sets, or from all but that of a name, in units."""
        return as_figure(self.values(faces, but), len(faces.features))

    def values(self, faces: Weighted, but: str = "") -> Floats:
        """The distance and its bootstrap samples, (1 + draws,); NaN where there is no unit, or no set is left."""
        others = [name for name in self.sets if name != but]
        if not others or len(faces.features) < 2:
            return np.full(1 + self.draws, np.nan)
        within = _within(faces)
        return self._in_units(np.mean([self._distance(faces, within, name) for name in others], axis=0))

    def between(self, one: str, other: str) -> Figure:
        """The distance of two sets, in units."""
        return as_figure(self._in_units(self._between[frozenset((one, other))]), len(self.sets[one].features))

    def from_others(self, name: str) -> Figure:
        """The mean distance of a set from all others, in units; NaN where it is alone."""
        far = [self._between[pair] for pair in self._between if name in pair]
        values = self._in_units(np.mean(far, axis=0)) if far else np.full(1 + self.draws, np.nan)
        return as_figure(values, len(self.sets[name].features))

    def _in_units(self, values: Floats) -> Floats:
        found: Floats = np.where(self._unit > 0, values / np.where(self._unit > 0, self._unit, 1), np.nan)
        return found

    def _distance(self, faces: Weighted, within: Floats, name: str) -> Floats:
        beside = self.sets[name]
        across = _kernel(faces.features, beside.features)
        total = faces.weights.sum(axis=1) * beside.weights.sum(axis=1)
        cross = ((faces.weights @ across) * beside.weights).sum(axis=1) / total
        found: Floats = within + self._within[name] - 2 * cross
        return found


def drawn_weights(person: Array | list[str], draws: int, seed: list[int]) -> Floats:
    """(1 + draws, n): ones, then how often each one's person is drawn of as many as there are."""
    people, who = np.unique(np.asarray(person), return_inverse=True)
    count = len(people)
    drawn = np.random.default_rng([*seed, 42]).multinomial(count, np.full(count, 1 / count), draws)
    return np.concatenate([np.ones((1, len(who))), drawn[:, who]])


def as_figure(values: Floats, n: int) -> Figure:
    """The first value with the 2.5th and the 97.5th percentile of the others."""
    known = values[1:][np.isfinite(values[1:])]
    if not np.isfinite(values[0]) or not len(known):
        return Figure(float(values[0]), n=n)
    low, high = np.percentile(known, [2.5, 97.5])
    return Figure(float(values[0]), float(low), float(high), n)


def _kernel(a: Floats, b: Floats) -> Floats:
    base: Floats = a @ b.T / a.shape[1] + 1
    return base * base * base


def _within(faces: Weighted) -> Floats:
    """The mean kernel of two different pictures, of each draw; NaN of a draw of one picture alone."""
    kernel = _kernel(faces.features, faces.features)
    np.fill_diagonal(kernel, 0)
    weights = faces.weights
    pairs = weights.sum(axis=1) ** 2 - np.square(weights).sum(axis=1)
    found: Floats = np.where(pairs > 0, ((weights @ kernel) * weights).sum(axis=1) / np.maximum(pairs, 1), np.nan)
    return found


def _chance(features: Floats, person: list[str], seed: int) -> float:
    """The mean size of the unbiased distance of two random halves of the people; 0 where there are fewer than four."""
    people, who = np.unique(np.asarray(person), return_inverse=True)
    if len(people) < 4:
        return 0.0
    kernel = _kernel(features, features)
    np.fill_diagonal(kernel, 0)
    rng, found = np.random.default_rng([seed, 43]), []
    for _ in range(HALVINGS):
        first = (rng.permutation(len(people)) < len(people) // 2)[who].astype(np.float64)
        n, m = first.sum(), len(first) - first.sum()
        a, b = first @ kernel @ first, (1 - first) @ kernel @ (1 - first)
        found.append(abs(a / (n * (n - 1)) + b / (m * (m - 1)) - 2 * (first @ kernel @ (1 - first)) / (n * m)))
    return float(np.mean(found))
