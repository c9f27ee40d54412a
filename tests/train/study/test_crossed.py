"""Intervals over people and voices cover the truth at their rate, and say how many people it takes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from s2f_train.evaluate.tables import Figure
from s2f_train.study.crossed import Answers, crossed_difference, crossed_mean, student

Floats = NDArray[np.float64]
TRIES = 600


def logistic(x: Floats) -> Floats:
    return 1 / (1 + np.exp(-x))


def who(rng: np.random.Generator, people: int, voices: int, each: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Each person on `each` different voices, all voices equally often."""
    place = (each * np.arange(people)[:, None] + np.arange(each)) % voices
    return np.repeat(np.arange(people), each), rng.permutation(voices)[place].ravel()


def choices(
    rng: np.random.Generator, people: int, voices: int, each: int, middle: float, of_people: float, of_voices: float
) -> Answers:
    person, voice = who(rng, people, voices, each)
    logit = middle + rng.normal(0, of_people, people)[person] + rng.normal(0, of_voices, voices)[voice]
    return (rng.random(len(person)) < logistic(logit)) * 1.0, person, voice


def truth(middle: float, of_people: float, of_voices: float) -> float:
    spread = np.random.default_rng(0).normal(0, math.hypot(of_people, of_voices), 1_000_000)
    return float(logistic(middle + spread).mean())


def covered(figure: Figure, value: float) -> bool:
    assert figure.low is not None
    assert figure.high is not None
    return figure.low <= value <= figure.high


@pytest.mark.parametrize(
    ("people", "voices", "each", "middle", "of_people", "of_voices"),
    [
        (12, 16, 4, 0.3, 0.3, 0.6),  # small
        (40, 48, 8, 0.5, 0.4, 0.8),
        (60, 24, 12, 0.3, 0.2, 1.0),  # voices matter more than people
        (10, 40, 20, 0.5, 0.8, 0.3),  # the other way
        (30, 40, 8, 0.0, 0.0, 0.0),  # guessing
        (30, 48, 6, 2.0, 0.5, 0.8),  # nearly all right
    ],
)
def test_the_interval_of_a_share_covers_the_truth_at_its_rate(
    people: int, voices: int, each: int, middle: float, of_people: float, of_voices: float
) -> None:
    rng, true = np.random.default_rng(1), truth(middle, of_people, of_voices)
    figures = [
        crossed_mean(choices(rng, people, voices, each, middle, of_people, of_voices)).figure(True)
        for _ in range(TRIES)
    ]
    assert 0.92 <= np.mean([covered(figure, true) for figure in figures]) <= 0.98


def test_the_interval_of_a_difference_covers_the_truth_at_its_rate() -> None:
    """Two systems, by the same people on the same voices: what is hard for both is in neither's favour."""
    rng, hits = np.random.default_rng(2), []
    true = truth(0.8, 0.5, 1.0) - truth(0.2, 0.5, 1.0)
    for _ in range(TRIES):
        person, voice = who(rng, 24, 24, 8)
        shared = rng.normal(0, 0.5, 24)[person] + rng.normal(0, 1.0, 24)[voice]
        system = (voice + person) % 2  # of which each answer is
        right = (rng.random(len(person)) < logistic(np.where(system == 0, 0.8, 0.2) + shared)) * 1.0
        one, other = ((right[system == k], person[system == k], voice[system == k]) for k in (0, 1))
        hits.append(covered(crossed_difference(one, other).figure(False), true))
    assert 0.92 <= np.mean(hits) <= 0.98


def test_the_interval_of_a_rating_covers_the_truth_at_its_rate() -> None:
    rng, hits = np.random.default_rng(3), []
    for _ in range(TRIES):
        person, voice = who(rng, 20, 24, 6)
        given = 3 + rng.normal(0, 0.6, 20)[person] + rng.normal(0, 0.4, 24)[voice] + rng.normal(0, 0.8, len(person))
        hits.append(covered(crossed_mean((given, person, voice)).figure(False), 3.0))
    assert 0.92 <= np.mean(hits) <= 0.98


def test_a_two_way_bootstrap_would_be_too_wide() -> None:
    """Why there is none: it counts what is left of single answers three times."""
    rng, ours, theirs, hits = np.random.default_rng(4), [], [], []
    true = truth(0.5, 0.4, 0.8)
    for _ in range(100):
        right, person, voice = choices(rng, 20, 24, 4, 0.5, 0.4, 0.8)
        figure = crossed_mean((right, person, voice)).figure(True)
        assert figure.high is not None
        assert figure.low is not None
        ours.append(figure.high - figure.low)
        weights = rng.multinomial(20, [1 / 20] * 20, 300)[:, person] * rng.multinomial(24, [1 / 24] * 24, 300)[:, voice]
        low, high = np.percentile((weights @ right) / weights.sum(axis=1), [2.5, 97.5])
        theirs.append(high - low)
        hits.append(low <= true <= high)
    assert np.mean(hits) >= 0.98
    assert np.mean(theirs) > 1.3 * np.mean(ours)


def test_as_many_people_as_it_says_see_the_effect_as_often_as_it_says() -> None:
    rng, effect = np.random.default_rng(5), 0.5

    def study(people: int) -> Answers:
        person, voice = who(rng, people, 30, 6)
        noise = rng.normal(0, 0.8, people)[person] + rng.normal(0, 0.3, 30)[voice] + rng.normal(0, 1.0, len(person))
        return effect + noise, person, voice

    said = [crossed_mean(study(60)).needed(effect).people for _ in range(200)]
    people = round(float(np.median([count for count in said if count is not None])))
    figures = [crossed_mean(study(people)).figure(False) for _ in range(TRIES)]
    seen = np.mean([figure.low is not None and figure.low > 0 for figure in figures])
    assert 0.7 <= seen <= 0.9


def test_where_voices_differ_too_much_more_voices_are_needed() -> None:
    rng = np.random.default_rng(6)
    person, voice = who(rng, 400, 8, 8)
    given = rng.normal(0, 1.0, 8)[voice] + rng.normal(0, 0.1, len(person))
    needed = crossed_mean((given, person, voice)).needed(0.2)
    assert needed.people is None
    assert needed.voices is not None
    assert needed.voices > 8


def test_few_people_or_voices_have_no_interval() -> None:
    person, voice = np.array([0, 0, 1, 1, 2, 2]), np.array([0, 1, 2, 3, 4, 5])
    found = crossed_mean((np.ones(6), person, voice))
    assert found.figure(True) == Figure(1.0, n=6)
    assert (found.needed(0.05).people, found.needed(0.05).voices) == (None, None)
    nothing = crossed_mean(([], [], []))
    assert math.isnan(nothing.figure(True).value)
    assert math.isnan(crossed_difference(([], [], []), (np.ones(6), person, voice)).value)


def test_where_all_are_right_the_interval_ends_at_one() -> None:
    person, voice = who(np.random.default_rng(0), 20, 20, 5)
    figure = crossed_mean((np.ones(100), person, voice)).figure(True)
    assert figure.high == 1.0
    assert figure.low is not None
    assert 0.94 < figure.low < 1.0


def test_students_quantile() -> None:
    for degrees in (3, 4, 5, 8, 20, 200):
        assert student(degrees) == pytest.approx(stats.t.ppf(0.975, degrees), rel=0.002)
