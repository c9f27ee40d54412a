"""What a judge is, and how it looks once at each picture: on all cores, and never again at one that it has seen."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from s2f_edge.processes import at_most
from s2f_train.evaluate.cache import Vector, VectorCache, key_of
from s2f_train.evaluate.progress import each
from s2f_train.evaluate.tables import Picture
from s2f_train.workers import Workers, call

PREPROCESSING = "1"  # part of the cache's keys: count it up when a judge's input is made in another way
CHUNK = 8  # pictures that a process looks at before it tells: what an interruption loses
FEW = 16  # up to so many pictures are looked at here: a process needs a second to start


class JudgeError(ValueError):
    """A judge cannot be opened, or cannot judge."""


class Judge(Protocol):
    """A network that looks at faces and takes no part in training. It can be pickled: it is opened again there.

    Attributes:
        name: what it is, such as "dlib face recognition ResNet v1 (128-d)".
        sha256: of all files that it reads: of several, that of their digests joined.
        weights: SHA-256 of each network, so that one that took part in training is known; without the landmarks, which
            align the faces of any store.
    """

    name: str
    sha256: str
    weights: tuple[str, ...]

    def look(self, picture: Picture) -> Vector:
        """What it sees in an aligned face.

        Args:
            picture: uint8 (h, w, 3) RGB, its face on `s2f_train.prepare.align.TEMPLATE`.

        Returns:
            float32 (k,), k the same for every picture; the last entry is 1 or 0: whether a face was found.
        """


class FaceFeatures(Judge, Protocol):
    """A judge whose vectors can be compared as features of a face, but for the last entry.

    Attributes:
        label: what a Fréchet distance between its features is called.
        same_person: L2 distance below which it takes two faces for one person; None where nobody has said.
    """

    label: str
    same_person: float | None


def judge_all(
    judge: Judge, pictures: Sequence[Picture], cache: VectorCache, jobs: int | None = None, what: str = "faces"
) -> NDArray[np.float32]:
    """What a judge sees in each picture; equal pictures and those in the cache are not looked at again.

    What is seen goes to the cache on the way, so that an interrupted call is resumed by the same call.

    Args:
        jobs: processes (dlib uses one core and holds Python's lock); None: one for each core.
        what: the stage as it is shown.

    Returns:
        float32 (n, k), in the order of the pictures; (0, 0) if there are none.

    Raises:
        JudgeError: a process died, or the judge gave no vector of numbers.
        CacheError: the cache cannot be written.
    """
    keys = [key_of(PREPROCESSING, judge.name, judge.sha256, picture) for picture in pictures]
    known = cache.get(keys)
    new = {key: picture for key, picture in zip(keys, pictures, strict=True) if key not in known}
    if new:
        with closing(_looked(judge, new, cache, jobs)) as seen:
            known.update(each(seen, what, len(new)))
    return np.stack([known[key] for key in keys]) if keys else np.zeros((0, 0), np.float32)


def _looked(
    judge: Judge, new: dict[bytes, Picture], cache: VectorCache, jobs: int | None
) -> Generator[tuple[bytes, Vector], None, None]:
    items = list(new.items())
    chunks = [items[begin : begin + CHUNK] for begin in range(0, len(items), CHUNK)]
    shown = [[picture for _, picture in chunk] for chunk in chunks]
    jobs = min(at_most(jobs), len(chunks)) if len(new) > FEW else 1
    with closing(_in_processes(judge, shown, jobs) if jobs > 1 else (_look(judge, chunk) for chunk in shown)) as told:
        for chunk, vectors in zip(chunks, told, strict=True):
            for vector in vectors:
                if vector.ndim != 1 or vector.dtype != np.float32 or not np.isfinite(vector).all():
                    raise JudgeError(f"{judge.name} gave no vector of finite numbers for a picture; use another judge.")
            found = {key: vector for (key, _), vector in zip(chunk, vectors, strict=True)}
            cache.put(found)
            yield from found.items()


def _look(judge: Judge, chunk: list[Picture]) -> list[Vector]:
    return [judge.look(picture) for picture in chunk]


def _in_processes(judge: Judge, chunks: list[list[Picture]], jobs: int) -> Generator[list[Vector], None, None]:
    pool = Workers(jobs, partial(_look, judge))
    try:
        yield from pool.map(call, chunks)
    except BrokenProcessPool:
        raise JudgeError(
            f"A process in which {judge.name} looked at faces died; most often memory was short. "
            "What is finished is kept: run the same again, with fewer jobs."
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)
