"""Batches made ahead: in order, the same however they are made, and none left running."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from dataclasses import dataclass, field

import numpy as np
import pytest

from s2f_train.data.feed import AHEAD, Batch, batches


@dataclass
class Counter:
    """Draws noise of its step; fails at a step, takes its time. Here, not in a test, so that processes can have it."""

    fails_at: int = -1
    seconds: float = 0.0
    drawn: list[int] = field(default_factory=list)

    def draw(self, step: int) -> Batch:
        self.drawn.append(step)
        time.sleep(self.seconds)
        if step == self.fails_at:
            raise KeyError(f"step {step} is broken")
        return {
            "step": np.array(step),
            "noise": np.random.default_rng(step).normal(size=8),
            "of": np.array(os.getpid()),
        }


def threads() -> int:
    return sum(thread.name.startswith("batches") for thread in threading.enumerate())


@pytest.mark.parametrize(("start", "end"), [(0, 10), (7, 12), (3, 4), (5, 5)])
def test_batches_come_in_order(start: int, end: int) -> None:
    found = list(batches(Counter(), start, end))
    assert [int(batch["step"]) for batch in found] == list(range(start, end))
    assert threads() == 0


def test_batches_are_made_ahead_but_not_far() -> None:
    drawer = Counter()
    source = batches(drawer, 0, 100)
    next(source)
    deadline = time.monotonic() + 5
    while len(drawer.drawn) < AHEAD + 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    assert drawer.drawn == list(range(AHEAD + 2))  # one given, the queue, and one in hand
    source.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("given", [0, 1, 5])
def test_who_stops_early_leaves_no_thread(given: int) -> None:
    source = batches(Counter(), 0, 1000)
    for _ in range(given):
        next(source)
    source.close()  # type: ignore[attr-defined]
    assert threads() == 0


def test_who_forgets_a_source_leaves_no_thread() -> None:
    for batch in batches(Counter(), 0, 1000):
        if int(batch["step"]) == 2:
            break
    del batch
    assert threads() == 0


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_comes_where_its_batch_would(workers: int) -> None:
    source = batches(Counter(fails_at=2), 0, 10, workers)
    assert [int(next(source)["step"]) for _ in range(2)] == [0, 1]
    with pytest.raises(KeyError, match="step 2 is broken"):
        next(source)
    assert threads() == 0
    assert not multiprocessing.active_children()


@pytest.mark.slow
def test_processes_make_what_the_thread_makes() -> None:
    mine = list(batches(Counter(), 3, 12))
    theirs = list(batches(Counter(seconds=0.001), 3, 12, workers=2))
    assert [int(batch["step"]) for batch in theirs] == list(range(3, 12))
    for a, b in zip(mine, theirs, strict=True):
        np.testing.assert_array_equal(a["noise"], b["noise"])
    assert os.getpid() not in {int(batch["of"]) for batch in theirs}


@pytest.mark.slow
def test_ctrl_c_is_for_the_loop_to_handle() -> None:
    """A terminal sends it to every process of the group; a batch that was under way must still come."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    try:
        source = batches(Counter(seconds=0.3), 0, 4, workers=1)
        worker = int(next(source)["of"])
    finally:
        signal.signal(signal.SIGINT, before)
    time.sleep(0.15)  # it draws the next one now
    os.kill(worker, signal.SIGINT)
    rest = list(source)
    assert [int(batch["step"]) for batch in rest] == [1, 2, 3]
    assert {int(batch["of"]) for batch in rest} == {worker}


def test_who_stops_early_leaves_no_processes() -> None:
    source = batches(Counter(), 0, 1000, workers=1)
    next(source)
    source.close()  # type: ignore[attr-defined]
    assert not multiprocessing.active_children()
