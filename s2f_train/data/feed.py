"""Batches made ahead of their use, in order, by a thread or by processes."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from s2f_train.workers import Workers, call

Batch = dict[str, NDArray[np.generic]]
AHEAD = 3


class Drawer(Protocol):
    """Draws the batch of a step.

    The same step always gives the same batch, whatever was drawn before: so a fit that stopped
    goes on with what it would have seen, and several processes agree without a word.
    """

    def draw(self, step: int) -> Batch: ...


def batches(drawer: Drawer, start: int, end: int, workers: int = 0) -> Iterator[Batch]:
    """The batches of the steps from `start` to `end`, in order, made while the one before is used.

    Args:
        drawer: must be picklable where `workers` is not 0.
        workers: processes; 0 is one thread of this process.
    """
    pool: Executor
    draw: Callable[[int], Batch]
    if workers:
        for library in ("OPENBLAS", "MKL"):
            # Each process has a core, and numpy's sums come out the same only where their threads are counted.
            os.environ.setdefault(f"{library}_NUM_THREADS", "1")
        pool, draw, most = Workers(workers, drawer.draw), call, workers + AHEAD
    else:
        pool, draw, most = ThreadPoolExecutor(1, "batches"), drawer.draw, AHEAD + 2
    waiting: deque[Future[Batch]] = deque()
    with pool:
        try:
            for step in range(start, end):
                while len(waiting) < most and step + len(waiting) < end:
                    waiting.append(pool.submit(draw, step + len(waiting)))
                yield waiting.popleft().result()
        except BrokenProcessPool:
            raise ChildProcessError(
                "A worker process was ended, as the system does when memory runs out. Give fewer workers."
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)
