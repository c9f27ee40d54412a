"""Matching and retrieval on made embeddings whose figures are known exactly."""

from __future__ import annotations

import time
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from s2f_train.evaluate import matching
from s2f_train.evaluate.intervals import Bootstrap
from s2f_train.evaluate.matching import (
    METRICS,
    Metric,
    Ranks,
    Trials,
    cosines,
    distances,
    draw_trials,
    galleries,
    gallery_of,
    joined,
    matched,
    pairs_of_people,
    ranks,
    unit,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
D = 48
SCIPY = {"L2": "euclidean", "L1": "cityblock", "cosine": "cosine"}


def each_some_times(people: int, most: int, seed: int) -> Ints:
    """Whose each of some items is: everybody has 1 to `most`, in no order."""
    rng = np.random.default_rng(seed)
    return rng.permutation(np.repeat(np.arange(people), rng.integers(1, most + 1, people)))


def half_men(people: int) -> list[str]:
    return ["m" if i % 2 else "f" for i in range(people)]


def one_hot(person: Ints, gender: list[str]) -> Floats:
    return np.array([[1.0, 0.0] if gender[p] == "m" else [0.0, 1.0] for p in person])


# ----------------------------------------------------------------------------- matching


@pytest.mark.parametrize("n", [2, 5, 10])
@pytest.mark.parametrize("gender", [None, half_men(40)], ids=["all", "same gender"])
def test_a_perfect_embedder_is_always_right(n: int, gender: list[str] | None) -> None:
    rng = np.random.default_rng(n)
    people = rng.standard_normal((40, D))
    voice, face = each_some_times(40, 3, 1), each_some_times(40, 5, 2)
    made = people[voice] + 0.01 * rng.standard_normal((len(voice), D))
    real = people[face] + 0.01 * rng.standard_normal((len(face), D))
    trials = draw_trials(voice, face, n, 10, 0, gender)
    assert len(trials.voice) == 10 * len(voice)
    # The length of an embedding says nothing.
    right = matched(made * rng.uniform(0.1, 9, (len(made), 1)), real, trials)
    np.testing.assert_array_equal(right, 1.0)
    np.testing.assert_array_equal(matched(-made, real, trials) == 1.0, False)


@pytest.mark.parametrize("n", [2, 5, 10])
@pytest.mark.parametrize("gender", [None, half_men(60)], ids=["all", "same gender"])
@pytest.mark.parametrize("kind", ["random", "shuffled"])
def test_faces_of_anyone_are_chance_within_its_interval(kind: str, n: int, gender: list[str] | None) -> None:
    worlds, covered, shares = 20, 0, []
    for world in range(worlds):
        rng = np.random.default_rng([world, n])
        people = rng.standard_normal((60, D))
        voice, face = np.repeat(np.arange(60), 2), np.repeat(np.arange(60), 2)
        real = people[face] + 0.1 * rng.standard_normal((len(face), D))
        made = rng.standard_normal((len(voice), D)) if kind == "random" else people[rng.permutation(60)][voice]
        trials = draw_trials(voice, face, n, 5, world, gender)
        figure = Bootstrap(60, 300, world).mean(matched(made, real, trials), voice[trials.voice])
        assert figure.low is not None
        assert figure.high is not None
        covered += figure.low <= 1 / n <= figure.high
        shares.append(figure.value)
    assert covered >= 16  # of 20, where 19 are expected
    assert np.mean(shares) == pytest.approx(1 / n, abs=4 * np.std(shares) / worlds**0.5)


def right_by_gender(men: int, women: int, n: int) -> float:
    """On paper: k impostors of the speaker's gender are as near as the speaker, and one of k + 1 is guessed."""
    total, found = men + women, 0.0
    for mine, others in ((men, women), (women, men)):
        for k in range(n):
            if k <= mine - 1 and n - 1 - k <= others:
                share = comb(mine - 1, k) * comb(others, n - 1 - k) / comb(total - 1, n - 1)
                found += mine / total * share / (k + 1)
    return found


def test_the_value_on_paper() -> None:
    man, woman = 4 / 9 + 5 / 9 / 2, 6 / 9 + 3 / 9 / 2
    assert right_by_gender(6, 4, 2) == pytest.approx(0.6 * man + 0.4 * woman)
    assert right_by_gender(6, 4, 2) == pytest.approx(0.7667, abs=5e-5)
    assert right_by_gender(6, 4, 10) == pytest.approx(0.6 / 6 + 0.4 / 4)


@pytest.mark.parametrize(("men", "women", "n"), [(6, 4, 2), (6, 4, 5), (60, 40, 10), (90, 10, 5)])
def test_an_oracle_of_gender_gets_what_it_gets_on_paper(men: int, women: int, n: int) -> None:
    gender = ["m"] * men + ["f"] * women
    person = np.arange(men + women)
    known = one_hot(person, gender)
    trials = draw_trials(person, person, n, 40_000 // len(person), 0)
    right = matched(known, known, trials)
    male = known[trials.faces][:, :, 0] == 1
    np.testing.assert_array_equal(right, 1 / (male == male[:, :1]).sum(axis=1))
    assert right.mean() == pytest.approx(right_by_gender(men, women, n), abs=5 * right.std() / len(right) ** 0.5)


def test_where_everybody_is_in_a_trial_the_oracle_is_exact() -> None:
    gender = ["m"] * 6 + ["f"] * 4
    person = np.arange(10)
    known = one_hot(person, gender)
    trials = draw_trials(person, person, 10, 3, 0)
    np.testing.assert_array_equal(np.sort(trials.faces, axis=1), np.tile(person, (30, 1)))
    assert matched(known, known, trials).mean() == pytest.approx(0.2, abs=1e-12)


@pytest.mark.parametrize("n", [2, 5, 10])
def test_an_oracle_of_gender_is_chance_among_the_same_gender(n: int) -> None:
    gender = ["m"] * 17 + ["f"] * 11
    voice, face = each_some_times(28, 3, 3), each_some_times(28, 3, 4)
    trials = draw_trials(voice, face, n, 5, 0, gender)
    assert len(trials.voice) == 5 * len(voice)
    np.testing.assert_array_equal(matched(one_hot(voice, gender), one_hot(face, gender), trials), 1 / n)


@pytest.mark.parametrize("n", [2, 5, 10])
@pytest.mark.parametrize("d", [1, 3, 37, 128])
def test_where_all_are_as_near_one_is_guessed(n: int, d: int) -> None:
    rng = np.random.default_rng(d)
    person = np.arange(30)
    trials = draw_trials(person, person, n, 3, 0)
    varied, one = rng.standard_normal((30, d)), np.repeat(rng.standard_normal((1, d)), 30, axis=0)
    np.testing.assert_array_equal(matched(varied, one, trials), 1 / n)
    np.testing.assert_array_equal(matched(np.zeros((30, d)), varied, trials), 1 / n)


def test_one_face_for_all_is_chance() -> None:
    rng = np.random.default_rng(0)
    person = np.arange(50)
    trials = draw_trials(person, person, 2, 200, 0)
    right = matched(np.repeat(rng.standard_normal((1, D)), 50, axis=0), rng.standard_normal((50, D)), trials)
    assert right.mean() == pytest.approx(0.5, abs=0.02)


def test_ties_and_misses_by_hand() -> None:
    real = np.array([[1.0, 0], [2, 0], [0, 1], [1, 1]])
    faces = np.array([[0, 2, 3], [0, 1, 2], [2, 3, 0], [3, 2, 0]])
    trials = Trials(np.array([0, 0, 0, 1]), faces, False)
    assert trials.n == 3
    right = matched(np.array([[5.0, 0], [0.2, 0.1]]), real, trials)
    np.testing.assert_array_equal(right, [1, 0.5, 0, 1])


# ------------------------------------------------------------------------------- trials


@given(st.data())
def test_what_every_list_of_trials_holds(data: st.DataObject) -> None:
    people = data.draw(st.integers(1, 14))
    persons = st.lists(st.integers(0, people - 1), max_size=20)
    voice, face = (np.array(data.draw(persons), np.int64) for _ in range(2))
    gender = data.draw(st.none() | st.lists(st.sampled_from(["m", "f", ""]), min_size=people, max_size=people))
    n, per_voice, seed = data.draw(st.tuples(st.integers(2, 6), st.integers(1, 4), st.integers(0, 9)))
    trials = draw_trials(voice, face, n, per_voice, seed, gender)

    def beside(person: int) -> set[int]:
        if gender is not None and not gender[person]:
            return set()
        return {int(p) for p in face if gender is None or gender[p] == gender[person]}

    heard = [
        i for i, person in enumerate(voice) if int(person) in beside(int(person)) and len(beside(int(person))) >= n
    ]
    np.testing.assert_array_equal(trials.voice, np.repeat(heard, per_voice))
    assert trials.faces.shape == (len(trials.voice), n)
    assert trials.same_gender == (gender is not None)
    shown = face[trials.faces]
    for i, row in zip(trials.voice, shown, strict=True):
        person = int(voice[i])
        assert row[0] == person
        assert len(set(row.tolist())) == n
        assert set(row.tolist()) <= beside(person)
    again = draw_trials(voice, face, n, per_voice, seed, gender)
    np.testing.assert_array_equal(trials.faces, again.faces)


def test_the_seed_chooses() -> None:
    person = np.arange(30)
    first, second = (draw_trials(person, person, 5, 3, seed).faces for seed in (0, 1))
    assert (first[:, 1:] != second[:, 1:]).mean() > 0.5


def test_impostors_are_drawn_among_people_and_then_among_their_faces() -> None:
    # Person 1 has 8 faces, person 2 one, person 3 three; person 0 speaks, with two faces.
    face = np.array([1, 3, 1, 1, 0, 1, 1, 2, 1, 3, 1, 0, 1, 3])
    count = 24_000
    trials = draw_trials(np.array([0]), face, 2, count, 0)
    for column, among in ((0, [0]), (1, [1, 2, 3])):
        for person in among:
            for item in np.flatnonzero(face == person):
                expected = 1 / len(among) / (face == person).sum()
                got = (trials.faces[:, column] == item).mean()
                assert got == pytest.approx(expected, abs=5 * (expected / count) ** 0.5)


def test_impostors_of_one_trial_are_any_set_equally_often() -> None:
    trials = draw_trials(np.array([2]), np.arange(6), 3, 20_000, 0)
    drawn, counts = np.unique(trials.faces[:, 1:], axis=0, return_counts=True)
    assert len(drawn) == 5 * 4
    np.testing.assert_allclose(counts, 1000, atol=5 * 1000**0.5)


def test_thousands_of_people_draw_quickly() -> None:
    person = np.repeat(np.arange(2000), 3)
    begun = time.process_time()
    trials = draw_trials(person, person, 10, 20, 0, half_men(2000))
    assert time.process_time() - begun < 2
    assert trials.faces.shape == (120_000, 10)


def test_as_many_people_as_faces_draw_quickly() -> None:
    person = np.repeat(np.arange(10), 50)
    begun = time.process_time()
    trials = draw_trials(person, person, 10, 20, 0)
    assert time.process_time() - begun < 1
    np.testing.assert_array_equal(np.sort(person[trials.faces], axis=1), np.tile(np.arange(10), (10_000, 1)))


# ---------------------------------------------------------------------------- retrieval


def test_the_three_metrics_rank_differently() -> None:
    # The speaker's entry lies in the query's direction, but far; the next is near, the last is nearer along the axes.
    entries = np.array([[4.0, 4], [1, 2], [5, 2]])
    query, speaker = np.array([[2.0, 2]]), np.array([0])
    for metric, before in (("cosine", 0), ("L2", 1), ("L1", 2)):
        found = ranks(query, speaker, entries, np.arange(3), np.arange(3), metric)  # type: ignore[arg-type]
        assert (found.before[0], found.level[0], found.gallery) == (before, 0, 3)
        assert found.rank[0] == before + 1
        assert [found.recall(k)[0] for k in (1, 2, 3)] == [k > before for k in (1, 2, 3)]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("at_once", [1, 300, 1 << 22])
def test_ranks_are_those_of_the_direct_computation(
    metric: Metric, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matching, "AT_ONCE", at_once)
    rng = np.random.default_rng(0)
    entries, whose = rng.standard_normal((30, 6)), rng.permutation(40)[:30]
    voice = rng.integers(0, 40, 90)
    made = rng.standard_normal((90, 6))
    chosen = rng.permutation(whose)[:20]
    found = ranks(made, voice, entries, whose, chosen, metric)
    queries = [i for i in range(90) if voice[i] in chosen]
    np.testing.assert_array_equal(found.person, voice[queries])
    assert found.gallery == 20
    inside = [i for i in range(30) if whose[i] in chosen]
    far = cdist(made[queries], entries[inside], SCIPY[metric])
    expected = [
        whose[inside][np.argsort(row)].tolist().index(person) + 1 for row, person in zip(far, found.person, strict=True)
    ]
    np.testing.assert_array_equal(found.rank, expected)


@pytest.mark.parametrize("metric", METRICS)
def test_a_perfect_embedder_stands_first(metric: Metric) -> None:
    rng = np.random.default_rng(0)
    people = rng.standard_normal((50, D))
    voice, face = each_some_times(50, 3, 1), each_some_times(50, 4, 2)
    entries, whose = gallery_of(people[face] + 0.01 * rng.standard_normal((len(face), D)), face, 50)
    found = ranks(people[voice], voice, entries, whose, whose, metric)
    np.testing.assert_array_equal(found.rank, 1)
    np.testing.assert_array_equal(found.recall(1), 1)


@pytest.mark.parametrize("metric", METRICS)
def test_one_face_for_all_is_exactly_chance(metric: Metric) -> None:
    rng = np.random.default_rng(0)
    made = np.repeat(rng.standard_normal((1, D)), 40, axis=0)
    found = ranks(made, np.arange(40), rng.standard_normal((40, D)), np.arange(40), np.arange(40), metric)
    for k in (1, 2, 5, 10, 40, 50):
        assert found.recall(k).mean() == pytest.approx(min(1, k / 40), abs=1e-12)
    assert found.rank.mean() == 20.5


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("gallery", [5, 7, 11, 100])
def test_where_all_entries_are_as_near_every_place_is_as_likely(metric: Metric, gallery: int) -> None:
    # To the last bit, in every column: that of a matrix product may depend on which of several kernels it falls to.
    people = np.arange(gallery)
    for seed in range(10):
        for d in (3, 37, 512):
            rng = np.random.default_rng([seed, d])
            entries = np.repeat(rng.standard_normal((1, d)), gallery, axis=0)
            found = ranks(rng.standard_normal((gallery, d)), people, entries, people, people, metric)
            np.testing.assert_array_equal(found.recall(2), 2 / gallery)
            np.testing.assert_array_equal(found.rank, (gallery + 1) / 2)


def test_recall_and_rank_of_ties_by_hand() -> None:
    found = Ranks(np.zeros(2, np.int64), np.array([2, 0]), np.array([3, 0]), 9)
    np.testing.assert_array_equal([found.recall(k)[0] for k in range(1, 8)], [0, 0, 0.25, 0.5, 0.75, 1, 1])
    np.testing.assert_array_equal(found.rank, [4.5, 1])


def test_nobody_of_the_gallery_speaks() -> None:
    found = ranks(np.ones((2, 3)), np.array([7, 8]), np.eye(3), np.arange(3), np.arange(3), "L2")
    assert len(found.person) == len(found.rank) == len(found.recall(1)) == 0


def test_the_entry_of_a_person_is_the_mean_of_their_faces() -> None:
    real = np.array([[1.0, 2], [5, 5], [3, 6], [0, 1]], np.float32)
    entries, whose = gallery_of(real, np.array([3, 1, 3, 0]), 5)
    np.testing.assert_array_equal(whose, [0, 1, 3])
    np.testing.assert_array_equal(entries, [[0, 1], [5, 5], [2, 4]])


@pytest.mark.parametrize(("count", "blocks", "size"), [(350, 3, 100), (250, 2, 100), (100, 1, 100), (99, 1, 99)])
def test_galleries_are_disjoint_and_of_one_size(count: int, blocks: int, size: int) -> None:
    people = np.random.default_rng(0).permutation(1000)[:count]
    found = galleries(people, 100, 3, 0)
    assert [len(block) for block in found] == [size] * blocks
    together = np.concatenate(found)
    assert len(set(together.tolist())) == blocks * size
    assert set(together.tolist()) <= set(people.tolist())
    np.testing.assert_array_equal(together, np.concatenate(galleries(people, 100, 3, 0)))
    assert (together != np.concatenate(galleries(people, 100, 3, 1))).any()


def test_galleries_joined_are_all_their_queries() -> None:
    rng = np.random.default_rng(0)
    entries, made, people = rng.standard_normal((30, 4)), rng.standard_normal((30, 4)), np.arange(30)
    parts = [ranks(made, people, entries, people, block, "L1") for block in galleries(people, 10, 3, 0)]
    found = joined(parts)
    assert found.gallery == 10
    np.testing.assert_array_equal(np.sort(found.person), people)
    np.testing.assert_array_equal(found.rank, np.concatenate([part.rank for part in parts]))


@pytest.mark.parametrize("at_once", [1, 50])
def test_matching_some_at_a_time_is_the_same(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    person = np.arange(20)
    made, real = rng.standard_normal((20, 8)), rng.standard_normal((20, 8))
    trials = draw_trials(person, person, 3, 3, 0)
    expected = matched(made, real, trials)
    assert 0 < expected.mean() < 1
    monkeypatch.setattr(matching, "AT_ONCE", at_once)
    np.testing.assert_array_equal(matched(made, real, trials), expected)


def test_distances_and_cosines() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((4, 5)), rng.standard_normal((3, 5))
    for metric in METRICS:
        np.testing.assert_allclose(distances(a, b, metric), cdist(a, b, SCIPY[metric]), atol=1e-12)
    np.testing.assert_allclose(cosines(a[:3], b), 1 - np.diag(cdist(a[:3], b, "cosine")), atol=1e-12)
    np.testing.assert_array_equal(unit(np.array([[3.0, 4], [0, 0]])), [[0.6, 0.8], [0, 0]])


# -------------------------------------------------------------------------------- pairs


@given(st.lists(st.integers(0, 6), max_size=40), st.integers(1, 30), st.integers(0, 5))
def test_pairs_are_of_one_person_and_the_third_is_of_another(persons: list[int], most: int, seed: int) -> None:
    person = np.array(persons, np.int64)
    first, second, third = pairs_of_people(person, most, seed)
    assert len(first) == len(second) == len(third)
    np.testing.assert_array_equal(person[first], person[second])
    assert (first != second).all()
    assert (person[third] != person[first]).all()
    taken = {frozenset(pair) for pair in zip(first.tolist(), second.tolist(), strict=True)}
    assert len(taken) == len(first)
    for name in range(7):
        possible = comb(persons.count(name), 2) if len(set(persons)) > 1 else 0
        assert (person[first] == name).sum() == min(most, possible)
    for again, before in zip(pairs_of_people(person, most, seed), (first, second, third), strict=True):
        np.testing.assert_array_equal(again, before)


@pytest.mark.parametrize("items", [2, 3, 4, 50, 400])
def test_all_pairs_once_where_there_is_room(items: int) -> None:
    person = np.append(np.zeros(items, np.int64), 1)
    first, second, third = pairs_of_people(person, items**2, 0)
    pairs = np.sort(np.stack([first, second], axis=1), axis=1)
    np.testing.assert_array_equal(np.unique(pairs, axis=0), np.stack(np.triu_indices(items, 1), axis=1))
    assert len(pairs) == comb(items, 2)
    assert (third == items).all()


def test_a_person_with_thousands_of_items_costs_no_more_than_the_pairs() -> None:
    person = np.repeat([0, 1, 2], [60_000, 3000, 5])
    begun = time.process_time()
    first, second, third = pairs_of_people(person, 20_000, 0)
    assert time.process_time() - begun < 1
    np.testing.assert_array_equal(person[first], person[second])
    assert (first != second).all()
    assert (person[third] != person[first]).all()
    np.testing.assert_array_equal(np.bincount(person[first]), [20_000, 20_000, 10])
    for name, begin, count in ((0, 0, 60_000), (1, 60_000, 3000)):
        items = np.concatenate([first[person[first] == name], second[person[first] == name]]) - begin
        np.testing.assert_allclose(np.histogram(items, 4, (0, count))[0], 10_000, rtol=0.05)


def test_the_third_is_drawn_among_people_and_then_among_their_items() -> None:
    person = np.array([0] * 100 + [1] * 30 + [2])
    first, _, third = pairs_of_people(person, 4950, 0)
    beside = third[person[first] == 0]
    assert (beside == 130).mean() == pytest.approx(0.5, abs=0.04)
    assert set(beside.tolist()) == set(range(100, 131))


def test_no_pairs() -> None:
    for person in ([], [3], [0, 1, 2], [4, 4, 4]):
        assert [len(part) for part in pairs_of_people(np.array(person, np.int64), 5, 0)] == [0, 0, 0]
