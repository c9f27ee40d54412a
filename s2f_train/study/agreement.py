"""Agreement between people who answer on the same things: Krippendorff's alpha, which does without missing answers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2f_train.evaluate.intervals import Bootstrap
from s2f_train.evaluate.tables import Figure

Floats = NDArray[np.float64]


class UnitBootstrap(Bootstrap):
    """Intervals over units, that is the things on which people answer."""

    def alpha(self, unit: Any, value: Any, ordered: bool) -> Figure:
        """1 where all agree on each unit, 0 where they agree as by chance, below it where they agree less.

        Args:
            unit: (n,) number of the unit of each answer, below `people`.
            value: (n,) answers.
            ordered: whether they are steps of a scale (the ordinal metric) or names (the nominal one).
        """
        unit, value = np.asarray(unit, np.int64), np.asarray(value)
        names, place = np.unique(value, return_inverse=True)
        counts = np.zeros((self.people, len(names)))
        np.add.at(counts, (unit, place), 1)
        answers = counts.sum(axis=1)
        counts, answers = counts[answers > 1], answers[answers > 1]  # a unit with one answer says nothing
        if len(names) < 2 or len(counts) < 2:
            return Figure(float("nan"), n=len(unit))
        # Pairs of answers on a unit: of every value with every value, without those of an answer with itself.
        pairs = counts[:, :, None] * counts[:, None, :]
        pairs[:, range(len(names)), range(len(names))] -= counts
        pairs /= (answers - 1)[:, None, None]
        flat = pairs.reshape(len(counts), -1)

        def alpha(weights: Floats) -> Floats:
            found = (weights @ flat).reshape(len(weights), len(names), len(names))
            of_value = found.sum(axis=2)
            total = of_value.sum(axis=1)
            chance = of_value[:, :, None] * of_value[:, None, :]
            chance[:, range(len(names)), range(len(names))] -= of_value
            far = _ordinal(of_value) if ordered else 1.0 - np.eye(len(names))[None]
            expected = (chance * far).sum(axis=(1, 2)) / (total - 1)
            seen: Floats = 1 - (found * far).sum(axis=(1, 2)) / expected
            return seen

        return UnitBootstrap(len(counts), self.draws, self._seed)._figure(alpha, len(unit))


def _ordinal(of_value: Floats) -> Floats:
    """How far two steps of a scale are apart: by how many answers lie between them, squared; (draws, k, k)."""
    upto = np.cumsum(of_value, axis=1) - of_value / 2
    found: Floats = (upto[:, :, None] - upto[:, None, :]) ** 2
    return found
