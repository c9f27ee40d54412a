"""Krippendorff's alpha, against his published example."""

from __future__ import annotations

import math

import numpy as np
import pytest

from s2f_train.study.agreement import UnitBootstrap

# Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), C: four observers, twelve units, 0 is missing.
EXAMPLE = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, 0, 0, 0],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, 0, 3],
        [0, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, 0],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, 0],
    ]
)


@pytest.mark.parametrize(("ordered", "known"), [(False, 0.743), (True, 0.815)])
def test_the_published_example(ordered: bool, known: float) -> None:
    observer, unit = np.nonzero(EXAMPLE)
    figure = UnitBootstrap(12, 500).alpha(unit, EXAMPLE[observer, unit], ordered)
    assert figure.value == pytest.approx(known, abs=0.0005)
    assert figure.n == 41
    assert figure.low is not None
    assert figure.high is not None
    assert figure.low < known < figure.high


def test_chance_and_perfect_agreement() -> None:
    rng, unit = np.random.default_rng(0), np.repeat(np.arange(300), 4)
    guessed = UnitBootstrap(300, 300).alpha(unit, rng.integers(2, size=1200), ordered=False)
    assert guessed.low is not None
    assert guessed.high is not None
    assert guessed.low < 0 < guessed.high
    assert abs(guessed.value) < 0.07
    assert UnitBootstrap(300, 0).alpha(unit, unit % 5, ordered=True).value == 1


def test_what_says_nothing() -> None:
    assert math.isnan(UnitBootstrap(4, 10).alpha([0, 1, 2, 3], [1, 0, 1, 0], ordered=False).value)  # one answer each
    assert math.isnan(UnitBootstrap(2, 10).alpha([0, 0, 1, 1], [1, 1, 1, 1], ordered=False).value)  # all one answer
    assert math.isnan(UnitBootstrap(2, 10).alpha([], [], ordered=True).value)
