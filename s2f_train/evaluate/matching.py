"""Whose face is it? Matching (Wen et al. 2019) and retrieval (Oh et al. 2019) with faces made from voices.

Everything here is arithmetic on embeddings of faces by one judge: `made` are those of the faces made from voices,
(voices, d), `real` those of photographs, (faces, d). People are numbers from 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]
Metric = Literal["L2", "L1", "cosine"]
METRICS: tuple[Metric, ...] = ("cosine", "L2", "L1")
AT_ONCE = 1 << 22  # numbers of a block of distances


@dataclass(frozen=True)
class Trials:
    """Lists of one voice and n faces, of which the first is the speaker's.

    Attributes:
        voice: (trials,), a number of a voice.
        faces: (trials, n), numbers of faces: the speaker's, then those of n - 1 other people.
        same_gender: whether the others are of the speaker's gender.
    """

    voice: Ints
    faces: Ints
    same_gender: bool

    @property
    def n(self) -> int:
        return int(self.faces.shape[1])


def draw_trials(
    voice_person: Ints,
    face_person: Ints,
    n: int,
    per_voice: int,
    seed: int,
    gender: Sequence[str] | None = None,
) -> Trials:
    """Draws trials for every voice, all its impostors different people.

    Args:
        voice_person, face_person: whose each is.
        n: faces a trial.
        per_voice: trials a voice.
        seed: of all draws.
        gender: of each person, "" where it is not known; with it, impostors are of the speaker's
            gender, and speakers of unknown gender have no trials. None: impostors are anyone.

    Returns:
        Trials in the order of the voices. Where fewer than n people (of a gender) have a face, none.
    """
    rng = np.random.default_rng([seed, n, gender is not None])
    with_face = np.unique(face_person)
    order = np.argsort(face_person, kind="stable")
    begin, end = (np.searchsorted(face_person[order], with_face, side) for side in ("left", "right"))
    groups = np.zeros(len(with_face), np.int64)
    if gender is not None:
        groups = np.array([{"m": 0, "f": 1}.get(gender[person], -1) for person in with_face], np.int64)
    voices, faces = [], []
    for group in (0, 1):
        pool = np.flatnonzero(groups == group)  # of places in with_face
        mine = np.flatnonzero(np.isin(voice_person, with_face[pool]))
        if len(pool) < n or not len(mine):
            continue
        voice = np.repeat(mine, per_voice)
        own = np.searchsorted(with_face[pool], voice_person[voice])
        others = _distinct(rng, own, len(pool), n - 1)
        places = pool[np.concatenate([own[:, None], others], axis=1)]
        which = begin[places] + (rng.random(places.shape) * (end - begin)[places]).astype(np.int64)
        voices.append(voice)
        faces.append(order[which])
    if not voices:
        return Trials(np.zeros(0, np.int64), np.zeros((0, n), np.int64), gender is not None)
    voice = np.concatenate(voices)
    by_voice = np.argsort(voice, kind="stable")
    return Trials(voice[by_voice], np.concatenate(faces)[by_voice], gender is not None)


def matched(made: Floats, real: Floats, trials: Trials) -> NDArray[np.float64]:
    """Which trials are right: the speaker's face has the largest cosine with the made one.

    Returns:
        float64 (trials,): 1, 0, or between them where others are exactly as near: what guessing among them gives.
    """
    made, real = unit(made), unit(real)
    right = np.empty(len(trials.voice))
    for part in parts(len(right), trials.n * made.shape[1]):
        near = np.einsum("td,tnd->tn", made[trials.voice[part]], real[trials.faces[part]])
        own = near[:, :1]
        right[part] = np.where((near > own).any(axis=1), 0.0, 1.0 / (near == own).sum(axis=1))
    return right


@dataclass(frozen=True)
class Ranks:
    """Where the speaker stands in a gallery ordered by nearness to the made face.

    Attributes:
        person: (queries,), the speaker.
        before: (queries,), how many of the gallery are nearer.
        level: (queries,), how many others are exactly as near.
        gallery: how many people it has.
    """

    person: Ints
    before: Ints
    level: Ints
    gallery: int

    def recall(self, k: int) -> NDArray[np.float64]:
        """Whether the speaker is among the first k of each query; with ties, the probability."""
        found: NDArray[np.float64] = np.clip((k - self.before) / (1 + self.level), 0.0, 1.0)
        return found

    @property
    def rank(self) -> NDArray[np.float64]:
        """The speaker's rank in each query, from 1; with ties, the middle of their ranks."""
        rank: NDArray[np.float64] = 1 + self.before + self.level / 2
        return rank


def gallery_of(real: Floats, face_person: Ints, people: int) -> tuple[NDArray[np.float64], Ints]:
    """(entries (people with a face, d), whose each is): the mean embedding of a person's faces."""
    sums = np.zeros((people, real.shape[1]))
    np.add.at(sums, face_person, real)
    counts = np.bincount(face_person, minlength=people)
    there = np.flatnonzero(counts)
    return sums[there] / counts[there, None], there


def galleries(people: Ints, size: int, most: int, seed: int) -> list[Ints]:
    """Up to `most` disjoint galleries of `size` people each; one of all where there are fewer."""
    order = np.random.default_rng([seed, size]).permutation(people)
    count = min(most, len(people) // size)
    return [order[i * size : (i + 1) * size] for i in range(count)] if count else [order]


def ranks(made: Floats, voice_person: Ints, entries: Floats, entry_person: Ints, chosen: Ints, metric: Metric) -> Ranks:
    """Ranks the gallery of the people `chosen` for every voice of one of them."""
    inside = np.isin(entry_person, chosen)
    gallery, whose = np.asarray(entries[inside], np.float64), entry_person[inside]
    place = {int(person): i for i, person in enumerate(whose)}
    queries = np.flatnonzero(np.isin(voice_person, whose))
    own = np.array([place[int(person)] for person in voice_person[queries]], np.int64)
    before, level = np.zeros(len(queries), np.int64), np.zeros(len(queries), np.int64)
    for part in parts(len(queries), gallery.size):
        far = distances(np.asarray(made[queries[part]], np.float64), gallery, metric)
        mine = np.take_along_axis(far, own[part][:, None], axis=1)
        before[part] = (far < mine).sum(axis=1)
        level[part] = (far == mine).sum(axis=1) - 1
    return Ranks(voice_person[queries], before, level, len(gallery))


def joined(found: Sequence[Ranks]) -> Ranks:
    """The queries of several galleries of one size as one."""
    return Ranks(
        np.concatenate([r.person for r in found]),
        np.concatenate([r.before for r in found]),
        np.concatenate([r.level for r in found]),
        found[0].gallery,
    )


def distances(a: NDArray[np.float64], b: NDArray[np.float64], metric: Metric) -> NDArray[np.float64]:
    """(n, d) and (m, d) -> (n, m); for cosine, 1 minus it."""
    found: NDArray[np.float64]
    if metric == "cosine":
        found = 1.0 - np.einsum("nd,md->nm", unit(a), unit(b))  # a product by BLAS breaks ties by the column
    elif metric == "L1":
        found = np.abs(a[:, None] - b[None]).sum(axis=2)
    else:
        found = np.sqrt(np.square(a[:, None] - b[None]).sum(axis=2))
    return found


def nearest(
    made: NDArray[np.float64],
    known: NDArray[np.float64],
    made_person: Ints | None = None,
    known_person: Ints | None = None,
) -> tuple[NDArray[np.float64], Ints]:
    """The L2 distance of each made face to the nearest known one, and which that is.

    Args:
        made, known: embeddings, (n, d) and (m, d).
        made_person, known_person: whose each is; with them, those of one person are passed over.
    """
    far, which = np.empty(len(made)), np.empty(len(made), np.int64)
    for part in parts(len(made), known.size):
        found = distances(made[part], known, "L2")
        if made_person is not None and known_person is not None:
            found[made_person[part][:, None] == known_person] = np.inf
        which[part], far[part] = found.argmin(axis=1), found.min(axis=1)
    return far, which


def cosines(a: Floats, b: Floats) -> NDArray[np.float64]:
    """The cosine of each row of one array with the same row of the other, (n,)."""
    found: NDArray[np.float64] = (unit(a) * unit(b)).sum(axis=1)
    return found


def unit(vectors: Floats) -> NDArray[np.float64]:
    """Rows of length 1; zeros stay zeros."""
    vectors = np.asarray(vectors, np.float64)
    found: NDArray[np.float64] = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
    return found


def pairs_of_people(person: Ints, most: int, seed: int) -> tuple[Ints, Ints, Ints]:
    """Two items of one person, and one of another: (pairs,) numbers of items, at most `most` pairs a person.

    Of a person with a million pairs and more, a pair may be drawn twice.
    """
    rng = np.random.default_rng([seed, 7])
    order = np.argsort(person, kind="stable")
    names, begin, count = np.unique(person[order], return_index=True, return_counts=True)
    firsts, seconds = [], []
    for start, many in zip(begin, count, strict=True):
        possible = many * (many - 1) // 2
        if not possible:
            continue
        # The k-th pair of a triangle, so that a person with thousands of items costs no more than the pairs taken.
        k = (
            rng.choice(possible, min(most, possible), replace=False)
            if possible < 1 << 20
            else rng.integers(possible, size=most)
        )
        high = ((1 + np.sqrt(8 * k + 1)) / 2).astype(np.int64)
        low = k - high * (high - 1) // 2
        firsts.append(order[start + high])
        seconds.append(order[start + low])
    if not firsts or len(names) < 2:
        empty = np.zeros(0, np.int64)
        return empty, empty, empty
    first, second = np.concatenate(firsts), np.concatenate(seconds)
    own = np.searchsorted(names, person[first])
    other = _distinct(rng, own, len(names), 1)[:, 0]
    third = order[begin[other] + (rng.random(len(other)) * count[other]).astype(np.int64)]
    return first, second, third


def _distinct(rng: np.random.Generator, own: Ints, pool: int, count: int) -> Ints:
    """`count` different numbers below `pool` for each row, none of them its own."""
    if pool <= 4 * count:  # most rows drawn as below would hold one twice
        drawn = np.argsort(rng.random((len(own), pool - 1)), axis=1)[:, :count]
        return drawn + (drawn >= own[:, None])
    drawn = np.zeros((len(own), count), np.int64)
    left = np.arange(len(own))
    while len(left):
        new = rng.integers(pool - 1, size=(len(left), count))
        drawn[left] = new + (new >= own[left, None])
        ordered = np.sort(drawn[left], axis=1)
        left = left[(ordered[:, 1:] == ordered[:, :-1]).any(axis=1)]
    return drawn


def parts(rows: int, numbers_a_row: int) -> Iterator[slice]:
    """Stretches of rows that need at most `AT_ONCE` numbers together."""
    step = max(1, AT_ONCE // max(1, numbers_a_row))
    return (slice(begin, min(begin + step, rows)) for begin in range(0, rows, step))
