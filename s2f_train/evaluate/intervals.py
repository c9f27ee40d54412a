"""Intervals by bootstrap over people: trials of one person are not independent, people are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2f_train.evaluate.matching import unit
from s2f_train.evaluate.tables import Figure

Array = NDArray[Any]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
LEAST_SPREAD = 1e-9  # of a draw, where all of the data has 1: less is rounding
AT_ONCE = 100  # draws whose weights are in memory together


class Bootstrap:
    """Draws as many people as there are, with replacement, again and again.

    What is measured of a draw is its value on all trials of the people drawn, each as often as it was drawn.
    The interval is from the 2.5th to the 97.5th percentile of the draws (Efron 1979). All methods take the
    person of each value as a number below `people`; a value that is NaN is left out.

    Args:
        people: how many there are.
        draws: how often. 0: no intervals.
        seed: of the draws, which are the same for every measure: two systems are compared on the same people.
    """

    def __init__(self, people: int, draws: int = 1000, seed: int = 0):
        self.people = people
        self.draws = draws
        self._seed = seed

    def mean(self, values: Array, person: Array) -> Figure:
        """The mean of values."""
        values, person = _known(values, person)
        sums, counts = self._per_person(values, person), self._per_person(np.ones(len(values)), person)
        return self._figure(lambda w: (w @ sums) / (w @ counts), len(values))

    def balanced(self, values: Array, group: Array, person: Array) -> Figure:
        """The mean of the groups' means, such as of the shares of men and of women that are right."""
        values, person, group = _known(values, person, group)
        sums, counts = [], []
        for name in np.unique(group):
            mine = group == name
            sums.append(self._per_person(values[mine], person[mine]))
            counts.append(self._per_person(np.ones(int(mine.sum())), person[mine]))
        if not sums:
            return Figure(float("nan"))
        return self._figure(
            lambda w: np.mean([(w @ s) / (w @ c) for s, c in zip(sums, counts, strict=True)], axis=0), len(values)
        )

    def less_all(self, values: Array, members: Array, person: Array) -> Figure:
        """The mean of some values less the mean of all: below 0 where these fare worse than the rest.

        Args:
            members: (n,), whether each value is of these.
        """
        values, person, members = _known(values, person, members)
        sums, counts = self._per_person(values, person), self._per_person(np.ones(len(values)), person)
        mine = members.astype(bool)
        of_mine = self._per_person(values[mine], person[mine])
        count_mine = self._per_person(np.ones(int(mine.sum())), person[mine])
        return self._figure(lambda w: (w @ of_mine) / (w @ count_mine) - (w @ sums) / (w @ counts), int(mine.sum()))

    def correlation(self, x: Array, y: Array, person: Array) -> Figure:
        """Pearson's correlation."""
        x, person, y = _known(x, person, y)
        x, person, y = _known(y, person, x)
        x, y = _standard(x), _standard(y)  # so that the moments below lose nothing
        moments = np.stack([self._per_person(v, person) for v in (np.ones(len(x)), x, y, x * x, y * y, x * y)], axis=1)

        def correlation(weights: Floats) -> Floats:
            n, sx, sy, sxx, syy, sxy = (weights @ moments).T
            sx, sy = sx / n, sy / n
            vx, vy = sxx / n - sx**2, syy / n - sy**2
            some = (vx > LEAST_SPREAD) & (vy > LEAST_SPREAD)
            found: Floats = np.where(some, (sxy / n - sx * sy) / np.sqrt(np.where(some, vx * vy, 1)), np.nan)
            return found

        return self._figure(correlation, len(x))

    def median(self, values: Array, person: Array) -> Figure:
        """The median of values: the lower one of two."""
        values, person = _known(values, person)
        order = np.argsort(values, kind="stable")
        values, person = values[order], person[order]

        def median(weights: Floats) -> Floats:
            passed = np.cumsum(weights[:, person], axis=1)
            at = (passed >= passed[:, -1:] / 2).argmax(axis=1)
            found: Floats = np.where(passed[:, -1] > 0, values[at], np.nan)
            return found

        return self._figure(median, len(values)) if len(values) else Figure(float("nan"))

    def cosine_between(self, vectors: Floats, person: Array) -> Figure:
        """The mean cosine of two vectors of different people, over all pairs.

        Args:
            vectors: (n, d).
        """
        units, person = unit(vectors), np.asarray(person, np.int64)
        sums = np.zeros((self.people, units.shape[1]))
        np.add.at(sums, person, units)
        counts = self._per_person(np.ones(len(units)), person)
        own = (sums**2).sum(axis=1)

        # Sums over pairs of people without pairs: (sum of all)^2 is every pair, minus each with itself.
        def cosine(weights: Floats) -> Floats:
            pairs = (weights @ counts) ** 2 - weights**2 @ counts**2
            total = ((weights @ sums) ** 2).sum(axis=1) - weights**2 @ own
            found: Floats = np.where(pairs > 0, total / np.maximum(pairs, 1), np.nan)
            return found

        return self._figure(cosine, len(units))

    def _per_person(self, values: NDArray[np.float64], person: NDArray[np.int64]) -> Floats:
        return np.bincount(person, values, self.people).astype(np.float64)

    def _figure(self, statistic: Callable[[Floats], Floats], n: int) -> Figure:
        """`statistic` takes how often each person counts, (draws, people), and gives a value a draw."""
        if not n:
            return Figure(float("nan"))
        with np.errstate(invalid="ignore", divide="ignore"):
            value = float(statistic(np.ones((1, self.people)))[0])
            if not self.draws:
                return Figure(value, n=n)
            drawn = np.concatenate([statistic(weights) for weights in self._weights()])
        drawn = drawn[np.isfinite(drawn)]
        if not len(drawn):
            return Figure(value, n=n)
        low, high = np.percentile(drawn, [2.5, 97.5])
        return Figure(value, float(low), float(high), n)

    def _weights(self) -> Iterator[Floats]:
        rng = np.random.default_rng([self._seed, 95])
        for begin in range(0, self.draws, AT_ONCE):
            count = min(AT_ONCE, self.draws - begin)
            yield rng.multinomial(self.people, np.full(self.people, 1 / self.people), count).astype(np.float64)


def _standard(values: Floats) -> Floats:
    """With mean 0 and deviation 1; zeros where all are one number."""
    if not len(values) or np.ptp(values) <= 1e-12 * np.abs(values).max():
        return np.zeros_like(values)
    found: Floats = (values - values.mean()) / values.std()
    return found


def _known(values: Array, person: Array, *others: Array) -> Any:
    """All arrays without the rows whose value is NaN, the first two as float64 and int64."""
    values = np.asarray(values, np.float64)
    kept = np.isfinite(values)
    return (values[kept], np.asarray(person, np.int64)[kept], *(np.asarray(other)[kept] for other in others))
