"""Distances of sets of pictures against second implementations, exact values and simulations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.linalg
from numpy.typing import NDArray

from s2f_train.evaluate import distribution
from s2f_train.evaluate.distribution import by_size, frechet_distance, kid, kid_figure, thesis_protocol

Floats = NDArray[np.float64]


def made(n: int, d: int, seed: int, shift: float = 0.0) -> Floats:
    """Features whose columns are correlated and of different width."""
    rng = np.random.default_rng(seed)
    mix = np.random.default_rng(99).normal(size=(d, d)) * np.linspace(0.2, 2, d)
    return rng.normal(size=(n, d)) @ mix + shift


def frechet_by_sqrtm(a: Floats, b: Floats) -> float:
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    # Symmetric form, (Ca^1/2 Cb Ca^1/2)^1/2: sqrtm of the bare product is not to be trusted where it has no full rank.
    values, vectors = np.linalg.eigh(cov_a)
    half = vectors @ np.diag(np.sqrt(np.maximum(values, 0))) @ vectors.T
    root = scipy.linalg.sqrtm(half @ cov_b @ half + 1e-14 * np.eye(len(half))).real
    return float(np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(cov_a) + np.trace(cov_b) - 2 * np.trace(root))


def kernel(a: Floats, b: Floats) -> Floats:
    return (a @ b.T / a.shape[1] + 1) ** 3


def mmd_of_populations(a: Floats, b: Floats) -> float:
    """The true squared MMD of the uniform distributions on the rows of a and of b."""
    return float(kernel(a, a).mean() + kernel(b, b).mean() - 2 * kernel(a, b).mean())


@pytest.mark.parametrize(("n", "m", "d"), [(12, 12, 30), (200, 150, 20), (10, 100, 16), (100, 10, 16), (16, 17, 16)])
def test_frechet_is_that_of_the_formula_with_sqrtm(n: int, m: int, d: int) -> None:
    a, b = made(n, d, 1), made(m, d, 2, shift=0.3) * 1.5
    assert frechet_distance(a, b) == pytest.approx(frechet_by_sqrtm(a, b), rel=1e-5)


def test_frechet_of_sampled_gaussians_nears_the_closed_form() -> None:
    rng = np.random.default_rng(3)
    mean, sd_a, sd_b = np.array([1.0, -2.0, 0.0, 0.5]), np.array([1.0, 2.0, 0.5, 3.0]), np.array([2.0, 1.0, 0.5, 1.0])
    a, b = rng.normal(0, sd_a, (100_000, 4)), rng.normal(mean, sd_b, (100_000, 4))
    assert frechet_distance(a, b) == pytest.approx(np.sum(mean**2) + np.sum((sd_a - sd_b) ** 2), rel=0.01)


@pytest.mark.parametrize("n", [10, 300])
def test_frechet_of_a_set_with_itself_is_0_in_any_order_and_of_a_shifted_one_the_shift(n: int) -> None:
    a = made(n, 20, 4)
    for seed in range(20):  # rounding must not bring it below 0
        assert 0 <= frechet_distance(a, np.random.default_rng(seed).permutation(a)) < 1e-9
    assert frechet_distance(a, a + 0.5) == pytest.approx(20 * 0.25)


@pytest.mark.parametrize("n", [10, 300])
def test_distances_know_no_order_and_no_rotation(n: int) -> None:
    a, b = made(n, 20, 5), made(n + 7, 20, 6, shift=0.2)
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(20, 20)))[0]
    for distance in (frechet_distance, kid):
        expected = pytest.approx(distance(a, b), rel=1e-9)
        assert distance(a[::-1], b) == expected
        assert distance(b, a) == expected
        assert distance(a @ rotation, b @ rotation) == expected


def test_frechet_by_qr_is_that_of_the_whole_matrices() -> None:
    a, b = made(400, 10, 7), made(90, 10, 8, shift=1)
    whole = np.linalg.norm((a - a.mean(0)) @ (b - b.mean(0)).T, "nuc") / np.sqrt(399 * 89)
    spread = a.var(0, ddof=1).sum() + b.var(0, ddof=1).sum()
    assert frechet_distance(a, b) == pytest.approx(np.sum((a.mean(0) - b.mean(0)) ** 2) + spread - 2 * whole, rel=1e-10)


def test_single_precision_far_from_0_loses_nothing() -> None:
    a, b = made(50, 8, 1).astype(np.float32) + 1000, made(60, 8, 2).astype(np.float32) + 1000
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(a - 1000, b - 1000), rel=1e-6)


@pytest.mark.parametrize("distance", [frechet_distance, kid, lambda a, b: kid_figure(a, b, np.zeros(1), np.zeros(5))])
def test_what_cannot_be_compared_is_refused_in_words(distance: Callable[[Any, Any], Any]) -> None:
    good = np.ones((5, 3))
    with pytest.raises(ValueError, match=r"at least 2 pictures in each; found 1 and 5"):
        distance(good[:1], good)
    with pytest.raises(ValueError, match=r"found \(5, 3\) and \(5, 2\)"):
        distance(good, good[:, :2])
    with pytest.raises(ValueError, match=r"found \(5,\) and \(5, 3\)"):
        distance(good[:, 0], good)
    for wrong in (np.nan, np.inf):
        bad = good.copy()
        bad[2, 1] = wrong
        with pytest.raises(ValueError, match="Features of 1 of 10 pictures are not finite"):
            distance(good, bad)


def test_kid_is_that_of_a_double_loop() -> None:
    a, b = made(9, 5, 9), made(7, 5, 10, shift=0.5)

    def k(x: Floats, y: Floats) -> float:
        return float((x @ y / 5 + 1) ** 3)

    aa = [k(a[i], a[j]) for i in range(9) for j in range(9) if i != j]
    bb = [k(b[i], b[j]) for i in range(7) for j in range(7) if i != j]
    ab = [k(x, y) for x in a for y in b]
    expected = pytest.approx(np.mean(aa) + np.mean(bb) - 2 * np.mean(ab), rel=1e-12)
    assert kid(a, b) == expected
    assert kid_figure(a, b, np.arange(9), np.arange(7)).value == expected


def test_kid_of_a_set_with_itself_counts_each_row_across_but_not_within() -> None:
    a = made(6, 5, 11)
    whole, own = kernel(a, a).sum(), np.trace(kernel(a, a))
    assert kid(a, a) == pytest.approx(2 * (whole - own) / 30 - 2 * whole / 36)


def test_kid_in_pieces_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = made(50, 6, 12), made(33, 6, 13)
    whole = kid(a, b), kid_figure(a, b, np.arange(50), np.arange(33))
    monkeypatch.setattr(distribution, "ROWS_AT_ONCE", 7)
    assert kid(a, b) == pytest.approx(whole[0], rel=1e-9)
    assert kid_figure(a, b, np.arange(50), np.arange(33)).low == pytest.approx(whole[1].low, rel=1e-9)


@pytest.mark.slow
def test_kid_is_unbiased_where_the_v_statistic_is_not() -> None:
    rng = np.random.default_rng(14)
    one, other = rng.normal(size=(300, 6)), rng.normal(0.4, 1.2, size=(200, 6))
    for population_b in (one, other):
        truth = mmd_of_populations(one, population_b)
        values, biased = [], []
        for _ in range(1500):
            a, b = one[rng.integers(len(one), size=20)], population_b[rng.integers(len(population_b), size=20)]
            values.append(kid(a, b))
            biased.append(mmd_of_populations(a, b))
        error = np.std(values) / np.sqrt(len(values))
        assert abs(np.mean(values) - truth) < 3 * error
        assert np.mean(biased) - truth > 10 * error


def test_kid_of_subsets_is_near_that_of_all_seeded_and_leaves_out_none_of_a_small_set() -> None:
    rng = np.random.default_rng(15)
    a, b = rng.normal(size=(400, 6)), rng.normal(1, 1, size=(300, 6))
    whole, drawn = kid(a, b), kid(a, b, subset=100, subsets=200)
    assert drawn == pytest.approx(whole, rel=0.1)
    assert drawn != whole
    assert drawn == kid(a, b, subset=100, subsets=200)
    assert drawn != kid(a, b, subset=100, subsets=200, seed=1)
    few = [kid(a, b[:20], subset=100, subsets=1, seed=seed) for seed in range(300)]
    error = np.std(few) / np.sqrt(len(few))
    assert abs(np.mean(few) - kid(a, b[:20])) < 3 * error
    assert kid(a, b[:20], subset=100) == pytest.approx(np.mean(few), abs=4 * np.std(few) / np.sqrt(100))
    assert kid(a, b[:20], subset=100) != few[0]


def test_jackknife_is_that_of_leaving_out_each_block_in_turn() -> None:
    a, b = made(24, 5, 17), made(15, 5, 18, shift=0.3)
    names_a, names_b = np.array(list("abcdefgh") * 3), np.array(list("defgh") * 3)
    figure = kid_figure(a, b, names_a, names_b)
    without = [kid(a[names_a != name], b[names_b != name]) for name in "abcdefgh"]
    error = np.sqrt(7 / 8 * np.sum((without - np.mean(without)) ** 2))
    assert figure.value == pytest.approx(kid(a, b))
    assert (figure.low, figure.high) == (
        pytest.approx(figure.value - 1.96 * error),
        pytest.approx(figure.value + 1.96 * error),
    )
    assert figure.n == 15


def people(rng: np.random.Generator, count: int, each: int, shift: float) -> tuple[Floats, NDArray[np.int64]]:
    """Pictures of people who look like themselves."""
    centres = rng.normal(shift, 1, (count, 4))
    return np.repeat(centres, each, axis=0) + rng.normal(0, 0.4, (count * each, 4)), np.repeat(np.arange(count), each)


def test_the_interval_covers_the_truth_if_people_are_kept_together_and_not_if_they_are_ignored() -> None:
    rng = np.random.default_rng(20)
    figures, ignoring = [], []
    for draw in range(200):
        (a, person_a), (b, person_b) = people(rng, 40, 4, 0.0), people(rng, 40, 4, 0.7)
        figures.append(kid_figure(a, b, person_a, 100 + person_b, seed=draw))
        ignoring.append(kid_figure(a, b, np.arange(160), 1000 + np.arange(160), seed=draw))
    truth = np.mean([figure.value for figure in figures])

    def coverage(found: list[Any]) -> float:
        return float(np.mean([figure.low <= truth <= figure.high for figure in found]))

    assert 0.88 <= coverage(figures) <= 0.99
    assert coverage(ignoring) < 0.8
    width, naive = (np.mean([figure.high - figure.low for figure in found]) for found in (figures, ignoring))
    assert width > 1.5 * naive


def test_the_interval_of_one_distribution_is_not_too_narrow() -> None:
    rng = np.random.default_rng(21)
    figures = [
        kid_figure(rng.normal(size=(60, 4)), rng.normal(size=(60, 4)), np.arange(60), np.arange(60, 120))
        for _ in range(200)
    ]
    assert np.mean([figure.low <= 0 <= figure.high for figure in figures]) >= 0.93


def test_a_large_set_is_measured_on_whole_people() -> None:
    rng = np.random.default_rng(22)
    a, person = people(rng, 100, 5, 0.0)
    b, _ = people(rng, 100, 5, 0.5)
    figure = kid_figure(a, b, person, person, at_most=98)
    assert figure.n == 100
    assert figure.low is not None
    assert figure.low < kid(a, b) < figure.high
    assert kid_figure(a, b[:3], person, np.array([0, 1, 2]), at_most=98).n == 3


def test_no_interval_where_a_block_holds_all() -> None:
    a, b = made(10, 4, 1), made(10, 4, 2)
    assert kid_figure(a, b, np.zeros(10), np.zeros(10)).low is None
    assert kid_figure(a, b, np.zeros(10), np.arange(10)).low is None
    assert kid_figure(a, b, np.arange(10), np.arange(10)).low is not None
    with pytest.raises(ValueError, match="found 9 of 10 and 10 of 10"):
        kid_figure(a, b, np.arange(9), np.arange(10))


def test_the_bias_of_few_pictures_is_seen() -> None:
    features = np.random.default_rng(23).normal(size=(1400, 32))
    made_, real, others = features[:400], features[400:900], features[900:]
    points = by_size(made_, real, others, [30, 300, 5000], draws=10)
    assert [point.n for point in points] == [30, 300]
    for few, many in zip(*[(point.made, point.real) for point in points], strict=True):
        assert few.value > 5 * many.value > 0
        assert few.low < few.value < few.high
        assert few.n == 30
    assert points[0].made.value == pytest.approx(points[0].real.value, rel=0.2)  # nothing is wrong with `made_`
    assert by_size(made_ + 1, real, others, [300], draws=5)[0].made.value > 32
    assert points[1] == by_size(made_, real, others, [300], draws=10)[0]
    assert points[1] != by_size(made_, real, others, [300], draws=10, seed=1)[0]


def test_halves_of_the_real_pictures_share_nobody() -> None:
    rng = np.random.default_rng(24)
    real, person = people(rng, 20, 10, 0.0)
    (together,) = by_size(real, real, None, [90], draws=5, person=person)
    (apart,) = by_size(real, real, None, [90], draws=5)
    assert together.real.value > 2 * apart.real.value  # 20 people are further from 20 others than from themselves
    assert by_size(real, real, None, [100, 101], draws=2, person=person)[-1].n == 100
    with pytest.raises(ValueError, match="1 people, named for 200 of 200"):
        by_size(real, real, None, [10], person=np.zeros(200))
    with pytest.raises(ValueError, match="named for 3 of 200"):
        by_size(real, real, None, [10], person=np.arange(3))


def thesis_data(clips: int) -> tuple[Floats, Floats, NDArray[np.uint8], NDArray[np.uint8]]:
    """Cosine 0.6 and a difference of 40 of 255 in each clip."""
    rng = np.random.default_rng(25)
    real = rng.normal(size=(clips, 8))
    aside = rng.normal(size=(clips, 8))
    aside -= real * np.sum(aside * real, axis=1, keepdims=True) / np.sum(real**2, axis=1, keepdims=True)
    aside *= np.linalg.norm(real, axis=1, keepdims=True) / np.linalg.norm(aside, axis=1, keepdims=True)
    pixels = rng.integers(0, 216, (clips, 4, 5, 3), np.uint8)
    brighter = pixels + np.uint8(40)
    swapped = rng.random(clips) < 0.5  # a difference below 0 counts as one above
    pair = (
        np.where(swapped[:, None, None, None], brighter, pixels),
        np.where(swapped[:, None, None, None], pixels, brighter),
    )
    return 3 * (0.6 * real + 0.8 * aside), real, *pair


def test_the_protocol_of_the_thesis_gives_what_is_known() -> None:
    features, real, pixels, real_pixels = thesis_data(200)
    others = np.random.default_rng(26).normal(size=(250, 8))
    row = thesis_protocol(features, real, others, pixels, real_pixels)
    assert (row.n, row.frechet.n, row.frechet_real.n, row.full.n, row.full_real.n) == (30, 30, 30, 200, 200)
    assert (row.l1.mean, row.l1.sd) == (pytest.approx(40), pytest.approx(0, abs=1e-9))
    assert (row.cosine.mean, row.cosine.sd) == (pytest.approx(0.6), pytest.approx(0, abs=1e-9))
    assert row.full.value == pytest.approx(frechet_distance(features, real))
    assert row.frechet.mean > row.full.value
    assert row.frechet_real.mean > 4 * row.full_real.value
    assert row.frechet.sd > 0
    assert row == thesis_protocol(features, real, others, pixels, real_pixels)
    assert row != thesis_protocol(features, real, others, pixels, real_pixels, seed=1)


def test_the_protocol_compares_the_same_clips() -> None:
    _, real, pixels, _ = thesis_data(100)
    row = thesis_protocol(real, real, None, pixels, pixels)
    assert (row.l1.mean, row.cosine.mean) == (0, pytest.approx(1))
    assert row.frechet.mean < 1e-9
    assert row.frechet_real.mean > 0.1
    assert row.full_real.n == 50


def test_the_protocol_of_the_thesis_with_too_little() -> None:
    features, real, pixels, real_pixels = thesis_data(20)
    row = thesis_protocol(features, real, None, pixels, real_pixels)
    assert (row.n, row.frechet.n, row.frechet_real.n) == (20, 20, 10)
    assert row.frechet.sd == pytest.approx(0, abs=1e-9)
    assert row.frechet.mean == pytest.approx(row.full.value)
    for wrong in (real_pixels[:19], real_pixels[:, :3], real_pixels.astype(np.float32)):
        with pytest.raises(ValueError, match="one row a clip and uint8 pixels of one size; found features"):
            thesis_protocol(features, real, None, pixels, wrong)
    with pytest.raises(ValueError, match="one row a clip"):
        thesis_protocol(features[:10], real, None, pixels, real_pixels)
