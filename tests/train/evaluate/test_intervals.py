"""Bootstrap over people beside one by brute force, and how often its intervals cover."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from s2f_train.evaluate.intervals import Bootstrap
from s2f_train.evaluate.tables import Figure

Array = NDArray[Any]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
PEOPLE = 12


@pytest.fixture(scope="module")
def person() -> Ints:
    """Of 80 trials; person 4 has none."""
    rng = np.random.default_rng(0)
    return rng.choice([p for p in range(PEOPLE) if p != 4], 80)


def values_of(person: Ints, seed: int) -> Floats:
    """What is alike within a person."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal(PEOPLE)[person] + 0.5 * rng.standard_normal(len(person))


def ends(figure: Figure) -> tuple[float, float]:
    assert figure.low is not None
    assert figure.high is not None
    return figure.low, figure.high


def by_brute_force(
    draw: Bootstrap, person: Ints, statistic: Callable[[Ints, Ints], float]
) -> tuple[float, float, float]:
    """`statistic` takes rows and, of each, which of the people drawn it belongs to."""
    drawn = []
    for weights in np.concatenate(list(draw._weights())).astype(int):
        assert weights.sum() == PEOPLE
        rows = [(row, p) for p in range(PEOPLE) for _ in range(weights[p]) for row in np.flatnonzero(person == p)]
        taken = np.array(rows).reshape(-1, 2)
        drawn.append(statistic(taken[:, 0], taken[:, 1]))
    assert len(drawn) == draw.draws
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return statistic(np.arange(len(person)), person), float(low), float(high)


def between(vectors: Floats, person: Ints) -> float:
    units = [v / np.linalg.norm(v) for v in vectors]
    pairs = [(i, j) for i in range(len(units)) for j in range(i) if person[i] != person[j]]
    return float(np.mean([units[i] @ units[j] for i, j in pairs])) if pairs else float("nan")


def assert_like(figure: Figure, expected: tuple[float, float, float], n: int) -> None:
    assert (figure.value, *ends(figure)) == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert figure.n == n


# --------------------------------------------------------------- beside a second bootstrap


@pytest.mark.parametrize("draws", [30, 250])
def test_mean(person: Ints, draws: int) -> None:
    draw, values = Bootstrap(PEOPLE, draws, 3), values_of(person, 1)
    expected = by_brute_force(draw, person, lambda rows, _: float(values[rows].mean()))
    assert_like(draw.mean(values, person), expected, 80)


def test_balanced(person: Ints) -> None:
    draw, values = Bootstrap(PEOPLE, 150, 3), values_of(person, 1)
    group = np.where(person % 3 == 0, "f", "m")

    def balanced(rows: Ints, _: Ints) -> float:
        shares = [values[rows][group[rows] == g] for g in "fm"]
        return float(np.mean([s.mean() for s in shares])) if all(map(len, shares)) else float("nan")

    assert_like(draw.balanced(values, group, person), by_brute_force(draw, person, balanced), 80)


def test_correlation(person: Ints) -> None:
    draw, x, y = Bootstrap(PEOPLE, 150, 3), values_of(person, 1), values_of(person, 1) + values_of(person, 2)
    expected = by_brute_force(draw, person, lambda rows, _: float(np.corrcoef(x[rows], y[rows])[0, 1]))
    assert_like(draw.correlation(x, y, person), expected, 80)


@pytest.mark.parametrize("count", [79, 80])
def test_median(person: Ints, count: int) -> None:
    draw, values, some = Bootstrap(PEOPLE, 150, 3), np.round(values_of(person, 1), 1)[:count], person[:count]
    expected = by_brute_force(draw, some, lambda rows, _: float(np.sort(values[rows])[(len(rows) - 1) // 2]))
    assert_like(draw.median(values, some), expected, count)
    if count % 2:
        assert draw.median(values, some).value == np.median(values)


def test_cosine_between(person: Ints) -> None:
    draw, rng = Bootstrap(PEOPLE, 60, 3), np.random.default_rng(0)
    person = person[:30]
    vectors = rng.standard_normal((PEOPLE, 5))[person] + rng.standard_normal((30, 5))
    # Copies of one person are that person: they are no pair.
    expected = by_brute_force(draw, person, lambda rows, drawn: between(vectors[rows], drawn))
    figure = draw.cosine_between(vectors * rng.uniform(0.1, 9, (30, 1)), person)
    assert_like(figure, expected, 30)


# ------------------------------------------------------------------------------- coverage


@pytest.mark.slow
def test_the_interval_covers_where_trials_of_a_person_are_alike() -> None:
    people, each, worlds = 40, 10, 200
    person = np.repeat(np.arange(people), each)
    over_people, over_trials = 0, 0
    for world in range(worlds):
        rng = np.random.default_rng(world)
        right = rng.random(people * each) < rng.beta(0.5, 0.5, people)[person]  # 0.5 on average
        low, high = ends(Bootstrap(people, 200, world).mean(right, person))
        over_people += low <= 0.5 <= high
        low, high = ends(Bootstrap(len(person), 200, world).mean(right, np.arange(len(person))))
        over_trials += low <= 0.5 <= high
    assert 0.89 * worlds <= over_people <= 0.99 * worlds
    assert over_trials < 0.75 * worlds


def test_the_interval_is_as_wide_as_theory_says() -> None:
    values = np.random.default_rng(0).standard_normal(400)
    low, high = ends(Bootstrap(400, 4000).mean(values, np.arange(400)))
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.05)


def test_the_seed_draws_the_same_people_for_every_measure(person: Ints) -> None:
    values = values_of(person, 1)
    draw = Bootstrap(PEOPLE, 200, 5)
    figure = draw.mean(values, person)
    assert draw.mean(values, person) == Bootstrap(PEOPLE, 200, 5).mean(values, person) == figure
    assert Bootstrap(PEOPLE, 200, 6).mean(values, person).low != figure.low
    moved = draw.mean(values + 7, person)
    assert (moved.value, *ends(moved)) == pytest.approx((figure.value + 7, *(end + 7 for end in ends(figure))))


# ---------------------------------------------------------------------------- single values


@given(st.lists(st.tuples(st.floats(-1e3, 1e3), st.sampled_from("abc"), st.integers(0, 4)), min_size=1, max_size=30))
def test_mean_median_and_balanced_are_numpys(rows: list[tuple[float, str, int]]) -> None:
    values, group, person = (np.array(column) for column in zip(*rows, strict=True))
    draw = Bootstrap(5, 20)
    mean = draw.mean(values, person)
    assert mean.value == pytest.approx(values.mean(), abs=1e-9)
    assert values.min() - 1e-9 <= ends(mean)[0] <= ends(mean)[1] <= values.max() + 1e-9
    assert draw.median(values, person).value == np.sort(values)[(len(values) - 1) // 2]
    balanced = np.mean([values[group == g].mean() for g in set(group)])
    assert draw.balanced(values, group, person).value == pytest.approx(balanced, abs=1e-9)


def test_balanced_does_not_care_how_many_there_are_of_a_group() -> None:
    right = np.array([1.0] * 90 + [0, 1, 0, 0, 1])
    group = np.array(["m"] * 90 + ["f"] * 5)
    figure = Bootstrap(95, 0).balanced(right, group, np.arange(95))
    assert figure.value == pytest.approx(0.7)
    assert Bootstrap(95, 0).mean(right, np.arange(95)).value == pytest.approx(92 / 95)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("shift", [0.0, 1000.0])
def test_correlation_has_no_unit(person: Ints, scale: float, shift: float) -> None:
    x, y = values_of(person, 1), values_of(person, 1) + values_of(person, 2)
    figure = Bootstrap(PEOPLE, 50).correlation(scale * (x + shift), -scale * (y + shift), person)
    assert figure.value == pytest.approx(-np.corrcoef(x, y)[0, 1], abs=1e-6)
    expected = Bootstrap(PEOPLE, 50).correlation(x, -y, person)
    assert ends(figure) == pytest.approx(ends(expected), abs=1e-6)


@pytest.mark.parametrize("constant", [0.0, 0.1, 33.3, 1e6 / 7])
def test_what_is_constant_correlates_with_nothing(person: Ints, constant: float) -> None:
    y, same = values_of(person, 1), np.full(len(person), constant)
    draw = Bootstrap(PEOPLE, 50)
    for figure in (draw.correlation(same, y, person), draw.correlation(y, same, person)):
        assert np.isnan(figure.value)
        assert (figure.low, figure.high, figure.n) == (None, None, len(person))
    line = draw.correlation(y, 3 * y + 1, person)
    assert (line.value, *ends(line)) == pytest.approx((1, 1, 1))


@pytest.mark.parametrize("seed", range(20))
def test_draws_in_which_there_is_no_correlation_are_left_out(seed: int) -> None:
    # Two people with one label each: of a draw of one of them alone nothing can be said, of the others the same.
    rng = np.random.default_rng(seed)
    person = np.repeat([0, 1], [7, 5])
    label = rng.permutation(np.arange(18.0, 90))[:2][person]
    age = label + rng.normal(0, 8, 12)
    figure = Bootstrap(2, 50).correlation(age, label, person)
    assert (figure.value, *ends(figure)) == pytest.approx([np.corrcoef(age, label)[0, 1]] * 3)


def test_values_that_are_not_known_are_left_out(person: Ints) -> None:
    x, y = values_of(person, 1), values_of(person, 2)
    group = np.where(person % 3 == 0, "f", "m")
    holes, more = x.copy(), y.copy()
    holes[::7], more[1::5] = np.nan, np.nan
    known, both = np.isfinite(holes), np.isfinite(holes + more)
    draw = Bootstrap(PEOPLE, 50)
    assert draw.mean(holes, person) == draw.mean(x[known], person[known])
    assert draw.median(holes, person) == draw.median(x[known], person[known])
    assert draw.balanced(holes, group, person) == draw.balanced(x[known], group[known], person[known])
    assert draw.correlation(holes, more, person) == draw.correlation(x[both], y[both], person[both])
    assert draw.correlation(holes, more, person).n == both.sum() < known.sum() < 80


def test_no_draws_no_interval(person: Ints) -> None:
    draw, x = Bootstrap(PEOPLE, 0), values_of(person, 1)
    figures = [
        draw.mean(x, person),
        draw.median(x, person),
        draw.balanced(x, person % 2, person),
        draw.correlation(x, x**2, person),
        draw.cosine_between(np.stack([x, x**2], axis=1), person),
    ]
    for figure in figures:
        assert np.isfinite(figure.value)
        assert (figure.low, figure.high, figure.n) == (None, None, 80)


@pytest.mark.parametrize("people", [0, 5])
def test_nothing_is_no_number(people: int) -> None:
    draw, none = Bootstrap(people, 20), np.zeros(0)
    nan, whose = np.full(3 if people else 0, np.nan), np.zeros(3 if people else 0, np.int64)
    for values, person in ((none, none), (nan, whose)):
        for figure in (
            draw.mean(values, person),
            draw.median(values, person),
            draw.balanced(values, person, person),
            draw.correlation(values, values, person),
            draw.cosine_between(np.zeros((0, 4)), none),
        ):
            assert np.isnan(figure.value)
            assert (figure.low, figure.high, figure.n) == (None, None, 0)


def test_one_person_is_drawn_again_and_again() -> None:
    draw, one = Bootstrap(1, 50), np.zeros(4, np.int64)
    values = np.array([1.0, 2, 4, 9])
    assert draw.mean(values, one) == Figure(4, 4, 4, 4)
    assert draw.median(values, one) == Figure(2, 2, 2, 4)
    assert draw.balanced(values, np.array(["f", "m", "m", "m"]), one) == Figure(3, 3, 3, 4)
    figure = draw.correlation(values, values**2, one)
    assert (figure.value, *ends(figure)) == pytest.approx([np.corrcoef(values, values**2)[0, 1]] * 3)
    alone = draw.cosine_between(np.ones((4, 2)), one)
    assert np.isnan(alone.value)
    assert alone.low is None


def test_draws_without_one_of_the_groups_are_left_out() -> None:
    figure = Bootstrap(3, 200).balanced(np.array([1.0, 1, 0]), np.array(["m", "m", "f"]), np.arange(3))
    assert figure == Figure(0.5, 0.5, 0.5, 3)


@pytest.mark.parametrize("shared", [0.0, 1.0])
def test_one_face_for_all_has_a_cosine_of_one(shared: float) -> None:
    rng = np.random.default_rng(0)
    vectors = shared * np.ones((300, 64)) + (1 - shared) * rng.standard_normal((300, 64))
    assert Bootstrap(300, 0).cosine_between(vectors, np.arange(300)).value == pytest.approx(shared, abs=0.003)


def test_some_less_all_by_hand() -> None:
    values, members, person = np.array([1.0, 0, 1, 1, np.nan]), np.array([True, True, False, False, True]), np.arange(5)
    figure = Bootstrap(5, 200).less_all(values, members, person)
    assert figure.value == pytest.approx(0.5 - 0.75)
    assert figure.n == 2
    assert figure.low is not None
    assert figure.high is not None
    assert figure.low < figure.value < figure.high
    everyone = Bootstrap(5, 200).less_all(values, np.ones(5, bool), person)
    assert (everyone.value, everyone.low, everyone.high) == (0, 0, 0)
    assert Bootstrap(5, 20).less_all(values, np.zeros(5, bool), person).n == 0
