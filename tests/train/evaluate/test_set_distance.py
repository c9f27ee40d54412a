"""The distance from photographs on features whose distances are known."""

from __future__ import annotations

import numpy as np
import pytest

from s2f_train.evaluate.distribution import kid
from s2f_train.evaluate.intervals import Floats
from s2f_train.evaluate.set_distance import PhotographDistance, drawn_weights

WIDTH = 6


def sample(count: int, shift: float = 0.0, axis: int = 0, seed: int = 0) -> Floats:
    values = np.random.default_rng([seed, axis]).standard_normal((count, WIDTH))
    values[:, axis] += shift
    return values


def alone(count: int, name: str = "") -> list[str]:
    return [f"{name}{i}" for i in range(count)]


@pytest.fixture(scope="module")
def far() -> PhotographDistance:
    """Three sets, each shifted along an axis of its own."""
    sets = {f"set {axis}": sample(150, 1.0, axis, seed=1) for axis in range(3)}
    return PhotographDistance(sets, {name: alone(150, name) for name in sets}, draws=200)


def test_sets_of_photographs_are_one_from_each_other(far: PhotographDistance) -> None:
    each = [far.from_others(name) for name in far.sets]
    assert np.mean([figure.value for figure in each]) == pytest.approx(1)
    for figure in each:
        assert figure.low is not None
        assert figure.high is not None
        assert 0.7 < figure.low < figure.value < figure.high < 1.3
    assert far.between("set 0", "set 1").value == far.between("set 1", "set 0").value
    assert "3 sets" in far.unit_is
    # Another sample of a set's distribution is as far from the others as the set is.
    again = far.weighted(sample(150, 1.0, 0, seed=2), alone(150))
    assert far.figure(again, but="set 0").value == pytest.approx(far.from_others("set 0").value, abs=0.2)


def test_it_is_the_kernel_distance_in_units(far: PhotographDistance) -> None:
    made = far.weighted(sample(80, 3.0, 4), alone(80))
    others = [one.features for one in far.sets.values()]
    unit = np.mean([kid(others[a], others[b]) for a, b in ((0, 1), (0, 2), (1, 2))])
    expected = np.mean([kid(made.features, one) for one in others]) / unit
    assert far.figure(made).value == pytest.approx(expected)
    assert far.figure(made).n == 80


def test_what_is_farther_has_a_larger_distance(far: PhotographDistance) -> None:
    figures = [far.figure(far.weighted(sample(120, shift, 5), alone(120))) for shift in (0.0, 1.0, 2.0, 4.0)]
    values = [figure.value for figure in figures]
    assert values == sorted(values)
    assert values[-1] > 5
    for figure in figures:
        assert figure.low is not None
        assert figure.high is not None
        assert figure.low < figure.value < figure.high


def test_a_picture_that_is_drawn_twice_is_no_pair_with_itself() -> None:
    """A naive bootstrap's draws would all lie above a distance that is 0."""
    sets = {name: sample(60, 0.0, 0, seed) for name, seed in (("a", 1), ("b", 2))}
    sets["c"] = sample(60, 2.0, 1, 3)
    far = PhotographDistance(sets, {name: alone(60) for name in sets}, draws=400)
    low_distance = far._between[frozenset("ab")]
    assert abs(np.mean(low_distance[1:]) - low_distance[0]) < np.std(low_distance[1:]) / 2


def test_one_set_is_measured_by_its_halves() -> None:
    far = PhotographDistance({"only": sample(200, seed=3)}, {"only": alone(200)}, draws=50)
    assert "halves" in far.unit_is
    assert np.isnan(far.from_others("only").value)
    like = far.figure(far.weighted(sample(200, seed=4), alone(200))).value
    unlike = far.figure(far.weighted(sample(200, 2.0, seed=5), alone(200))).value
    assert abs(like) < 5
    assert unlike > 50


def test_people_are_drawn_and_not_pictures() -> None:
    weights = drawn_weights(["a", "a", "b", "c"], 300, [0])
    assert weights[0].tolist() == [1, 1, 1, 1]
    assert (weights[:, 0] == weights[:, 1]).all()
    assert set((weights[:, 0] + weights[:, 2] + weights[:, 3]).tolist()) == {3.0}
    assert drawn_weights(["a", "b"], 0, [0]).shape == (1, 2)


def test_without_draws_there_is_no_interval() -> None:
    sets = {f"{axis}": sample(30, 1.0, axis) for axis in range(2)}
    far = PhotographDistance(sets, {name: alone(30) for name in sets}, draws=0)
    assert far.from_others("0").value == pytest.approx(1)
    assert far.from_others("0").low is None


def test_a_channel_that_is_silent_on_photographs_explodes_nothing() -> None:
    sets = {f"{axis}": sample(60, 1.0, axis) for axis in range(2)}
    for one in sets.values():
        one[:, 5] = 0.0
    far = PhotographDistance(sets, {name: alone(60) for name in sets}, draws=0)
    made = sample(60, 1.0, 2)
    made[:, 5] = 0.01
    assert far.figure(far.weighted(made, alone(60))).value < 5


def test_too_few_photographs_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        PhotographDistance({}, {})
    with pytest.raises(ValueError, match="at least 2"):
        PhotographDistance({"one": sample(1)}, {"one": alone(1)})
    far = PhotographDistance({"a": sample(9), "b": sample(9, 1.0, 1)}, {"a": alone(9), "b": alone(9)}, draws=5)
    assert np.isnan(far.figure(far.weighted(sample(1), alone(1))).value)
