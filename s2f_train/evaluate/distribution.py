"""How far the pictures that a system makes are, as a set, from real ones: Fréchet distance and kernel distance.

The Fréchet distance of few pictures is mostly bias: two samples of one distribution are far apart too. So it stands
beside the distance of as many real pictures from other real ones. The kernel distance has no such bias.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2f_train.data.pictures import pixel_l1
from s2f_train.evaluate.intervals import Array, Floats, Ints
from s2f_train.evaluate.matching import cosines
from s2f_train.evaluate.tables import Figure

ROWS_AT_ONCE = 1000  # of a kernel matrix in memory


@dataclass(frozen=True)
class SizePoint:
    """Mean Fréchet distances over draws of n pictures, with percentiles: made from real, real from other real ones."""

    n: int
    made: Figure
    real: Figure


@dataclass(frozen=True)
class Spread:
    """The mean and the standard deviation of a value over draws of n pictures."""

    mean: float
    sd: float
    n: int


@dataclass(frozen=True)
class ThesisRow:
    """A row of table 5.2 of the thesis, and what it takes to read it.

    Attributes:
        n: clips in a draw.
        frechet: distance of n made pictures from the n real ones of the same clips.
        l1, cosine: of a clip's two pictures: mean absolute difference of pixels, 0 to 255; cosine of features.
        frechet_real: distance of n real pictures, or as many as there are, from n others: the bias of `frechet`. NaN
            where there are too few.
        full, full_real: both distances at all pictures.
    """

    n: int
    frechet: Spread
    l1: Spread
    cosine: Spread
    frechet_real: Spread
    full: Figure
    full_real: Figure


def frechet_distance(a: Array, b: Array) -> float:
    """Fréchet distance of the Gaussians with the means and covariances of two sets (FID: Heusel et al. 2017).

    |mean_a - mean_b|^2 + tr(C_a) + tr(C_b) - 2 tr((C_a C_b)^1/2), exactly and without a matrix square root. With
    centred features A and B, C_a = A'A / (n-1) and C_b = B'B / (m-1). But for zeros, A'A B'B has the eigenvalues of
    (B A')(B A')', the squared singular values of B A': the last trace is the nuclear norm of B A' over
    sqrt((n-1)(m-1)). More than d rows are replaced by the d rows of R in A = QR, as R'R = A'A: cost is linear in n.

    Args:
        a, b: features, (n, d) and (m, d).

    Returns:
        The distance, squared as is the custom; never below 0.

    Raises:
        ValueError: fewer than 2 rows, widths that differ, or values that are not finite.
    """
    a, b = _checked(a, b)
    root_a, root_b = _root(a), _root(b)
    means = np.sum((a.mean(axis=0) - b.mean(axis=0)) ** 2)
    common = np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum()
    return max(0.0, float(means + np.sum(root_a**2) + np.sum(root_b**2) - 2 * common))


def kid(a: Array, b: Array, subset: int = 1000, subsets: int = 100, seed: int = 0) -> float:
    """Kernel distance: unbiased estimate of the squared MMD with the kernel (x.y/d + 1)^3 (Bińkowski et al. 2018).

    Within a set every pair of two different rows counts, across the sets every pair. If neither set has more than
    `subset` rows, all are used at once. Otherwise it is the mean over `subsets` draws of `subset` rows (or of all,
    of the smaller set) without replacement: time and memory are bounded, and it stays unbiased.

    Args:
        a, b: features, (n, d) and (m, d).

    Returns:
        The distance; may be below 0, as it must be 0 on average for two samples of one distribution.

    Raises:
        ValueError: as `frechet_distance`.
    """
    a, b = _checked(a, b)
    rng, values = np.random.default_rng([seed, 18]), []
    for _ in range(subsets if max(len(a), len(b)) > subset else 1):
        x, y = _draw(rng, a, subset), _draw(rng, b, subset)
        sums = _kernel_sums(x, y, np.zeros(len(x), np.int64), np.zeros(len(y), np.int64), 1)
        values.append(_mmd([s.sum() for s in sums], len(x), len(y)))
    return float(np.mean(values))


def kid_figure(
    a: Array, b: Array, person_a: Array, person_b: Array, blocks: int = 50, at_most: int = 5000, seed: int = 0
) -> Figure:
    """`kid` of all rows at once, with an interval of 95 % by a jackknife over people.

    Everyone is put in a block, with all pictures in a and in b, and the distance is computed without each block in
    turn (delete-a-group jackknife, Kott 2001): value ± 1.96 standard errors. No bootstrap: a picture that was drawn
    twice would count as a pair with itself, which an unbiased estimate leaves out, and all draws would lie too high.
    Where the true distance is 0 the interval is too wide rather than too narrow; below 20 people it is rough.
    Two pictures of one person count as a pair like any other: for a value without any bias give one of each.

    Args:
        a, b: features, (n, d) and (m, d).
        person_a, person_b: whose each row is, (n,) and (m,); names or numbers that mean the same in both.
        blocks: at most so many; one a person where there are fewer people.
        at_most: rows of a set. From a larger one people are taken, in a seeded order, until there are so many.

    Returns:
        The distance with, as n, the rows of the smaller set. No interval where one block holds nearly all of a set.

    Raises:
        ValueError: as `frechet_distance`; or not one person a row.
    """
    a, b = _checked(a, b)
    if len(person_a) != len(a) or len(person_b) != len(b):
        raise ValueError(f"Each row needs a person; found {len(person_a)} of {len(a)} and {len(person_b)} of {len(b)}.")
    people, who = np.unique(np.concatenate([person_a, person_b]), return_inverse=True)
    rank = np.random.default_rng([seed, 19]).permutation(len(people))[who]
    rank_a, rank_b = rank[: len(a)], rank[len(a) :]
    some_a, some_b = (ranks <= np.sort(ranks)[:at_most][-1] for ranks in (rank_a, rank_b))
    a, b, rank_a, rank_b = a[some_a], b[some_b], rank_a[some_a], rank_b[some_b]

    blocks = min(blocks, len(people))
    block_a, block_b = rank_a % blocks, rank_b % blocks
    sums = _kernel_sums(a, b, block_a, block_b, blocks)
    value = float(_mmd([s.sum() for s in sums], len(a), len(b)))
    left_a, left_b = (len(block) - np.bincount(block, minlength=blocks) for block in (block_a, block_b))
    if min(left_a.min(), left_b.min()) < 2:
        return Figure(value, n=min(len(a), len(b)))
    without = [s.sum() - s.sum(axis=0) - s.sum(axis=1) + np.diag(s) for s in sums]
    error = float(np.sqrt((blocks - 1) * np.var(_mmd(without, left_a, left_b))))
    return Figure(value, value - 1.96 * error, value + 1.96 * error, n=min(len(a), len(b)))


def by_size(
    made: Array,
    real: Array,
    other_real: Array | None,
    sizes: Sequence[int],
    draws: int = 20,
    seed: int = 0,
    person: Array | None = None,
) -> list[SizePoint]:
    """Fréchet distance by the number of pictures: how much of it is bias.

    Args:
        made, real: features, (n, d) and (m, d).
        other_real: of other people, (k, d). None: the people of `real` are parted in two halves, one against the other.
        sizes: how many pictures a side; those of which there are not enough are left out.
        draws: without replacement; alike when n is nearly all there is, so percentiles don't show how sure a mean is.
        person: whose each row of `real` is, (m,); only for the halves. None: all different.

    Raises:
        ValueError: as `frechet_distance`; or one person cannot be parted.
    """
    some, others = _two_samples(real, other_real, person, seed)
    points = []
    for n in (n for n in sizes if n <= min(len(made), len(some), len(others))):
        rng = np.random.default_rng([seed, 20, n])
        pairs = (made, real), (some, others)
        points.append(SizePoint(n, *(_percentiles(_drawn_distances(rng, a, b, n, draws), n) for a, b in pairs)))
    return points


def thesis_protocol(
    made: Array,
    real: Array,
    other_real: Array | None,
    made_pixels: NDArray[np.uint8],
    real_pixels: NDArray[np.uint8],
    n: int = 30,
    draws: int = 20,
    seed: int = 0,
    person: Array | None = None,
) -> ThesisRow:
    """Table 5.2 of the 2023 thesis by its own protocol, n pictures at a time, beside what shows its bias.

    Args:
        made, real: features of the made and the real picture of each clip, (V, d) both.
        other_real, person: as in `by_size`.
        made_pixels, real_pixels: the same pictures, uint8, (V, h, w, 3).
        n: clips a draw; all of them where there are fewer, and the row says how many.
        draws: without replacement; their spread falls to 0 as n comes near to V.

    Raises:
        ValueError: not one row a clip, or pixels of other shape or type; or as `frechet_distance`.
    """
    made, real = _checked(made, real)
    pixels = [f"{each.dtype} {each.shape}" for each in (made_pixels, real_pixels)]
    if len(set(pixels)) > 1 or made_pixels.dtype != np.uint8 or not len(made) == len(real) == len(made_pixels):
        found = f"features {made.shape} and {real.shape}, pixels {pixels[0]} and {pixels[1]}"
        raise ValueError(f"Made and real pictures need one row a clip and uint8 pixels of one size; found {found}.")
    few = other_real is None and len(np.unique(np.arange(len(real)) if person is None else person)) < 2
    some, others = (real[:0], real[:0]) if few else _two_samples(real, other_real, person, seed)
    every = np.arange(len(made))
    l1, cosine = pixel_l1(made_pixels, real_pixels, every, every), cosines(made, real)

    n = min(n, len(made))
    real_n, full_n = (min(size, len(some), len(others)) for size in (n, len(made)))
    rng = np.random.default_rng([seed, 21])
    drawn = [rng.choice(len(made), n, replace=False) for _ in range(draws)]
    return ThesisRow(
        n=n,
        frechet=_spread([frechet_distance(made[rows], real[rows]) for rows in drawn], n),
        l1=_spread([l1[rows].mean() for rows in drawn], n),
        cosine=_spread([cosine[rows].mean() for rows in drawn], n),
        frechet_real=_spread(_drawn_distances(rng, some, others, real_n, draws), real_n),
        full=Figure(frechet_distance(made, real), n=len(made)),
        full_real=Figure(_drawn_distances(rng, some, others, full_n, 1)[0], n=full_n),
    )


def _checked(a: Array, b: Array) -> tuple[Floats, Floats]:
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ValueError(f"Two sets of features need to be (n, d) and (m, d); found {a.shape} and {b.shape}.")
    if min(len(a), len(b)) < 2:
        raise ValueError(f"A distance of two sets needs at least 2 pictures in each; found {len(a)} and {len(b)}.")
    if wrong := sum(int((~np.isfinite(each).all(axis=1)).sum()) for each in (a, b)):
        raise ValueError(f"Features of {wrong} of {len(a) + len(b)} pictures are not finite; leave these out.")
    return a, b


def _root(features: Floats) -> Floats:
    """At most d rows R with R'R the covariance."""
    centred: Floats = (features - features.mean(axis=0)) / np.sqrt(len(features) - 1)
    return np.asarray(np.linalg.qr(centred, mode="r")) if len(centred) > centred.shape[1] else centred


def _mmd(sums: Sequence[Any], n: Any, m: Any) -> Any:
    """Squared MMD from sums of the kernel within a, within b and across, and the rows of a and b."""
    return sums[0] / (n * (n - 1)) + sums[1] / (m * (m - 1)) - 2 * sums[2] / (n * m)


def _kernel_sums(a: Floats, b: Floats, block_a: Ints, block_b: Ints, blocks: int) -> list[Floats]:
    """Sums of the kernel by pairs of blocks, (blocks, blocks): within a, within b (no row with itself), across."""

    def kernel(products: Floats) -> Floats:
        base: Floats = products / a.shape[1] + 1
        return base * base * base  # ** 3 is many times slower

    def sums(x: Floats, y: Floats, block_x: Ints, block_y: Ints) -> Floats:
        total, member = np.zeros((blocks, blocks)), np.eye(blocks)[block_y]
        for begin in range(0, len(x), ROWS_AT_ONCE):
            part = slice(begin, begin + ROWS_AT_ONCE)
            np.add.at(total, block_x[part], kernel(x[part] @ y.T) @ member)
        return total

    def within(x: Floats, block: Ints) -> Floats:
        return sums(x, x, block, block) - np.diag(np.bincount(block, kernel(np.sum(x * x, axis=1)), blocks))

    return [within(a, block_a), within(b, block_b), sums(a, b, block_a, block_b)]


def _two_samples(real: Array, other_real: Array | None, person: Array | None, seed: int) -> tuple[Array, Array]:
    """Real pictures and real pictures of other people."""
    if other_real is not None:
        return real, other_real
    people, who = np.unique(np.arange(len(real)) if person is None else person, return_inverse=True)
    if len(who) != len(real) or len(people) < 2:
        found = f"{len(people)} people, named for {len(who)} of {len(real)} pictures"
        raise ValueError(f"Parting real pictures by person takes two people, named for all of them; found {found}.")
    first = np.random.default_rng([seed, 22]).permutation(len(people))[who] < len(people) // 2
    return real[first], real[~first]


def _draw(rng: np.random.Generator, rows: Array, n: int) -> Array:
    """n rows without replacement; all where there are fewer."""
    return rows[rng.choice(len(rows), min(n, len(rows)), replace=False)]


def _drawn_distances(rng: np.random.Generator, a: Array, b: Array, n: int, draws: int) -> list[float]:
    """Of n rows each; NaN where there are fewer than two."""
    if n < 2:
        return [float("nan")] * draws
    return [frechet_distance(_draw(rng, a, n), _draw(rng, b, n)) for _ in range(draws)]


def _percentiles(values: list[float], n: int) -> Figure:
    low, high = np.percentile(values, [2.5, 97.5])
    return Figure(float(np.mean(values)), float(low), float(high), n)


def _spread(values: list[float], n: int) -> Spread:
    return Spread(float(np.mean(values)), float(np.std(values)), n)
