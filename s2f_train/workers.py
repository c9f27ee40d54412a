"""Worker processes that all do one piece of work."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from typing import Any

from s2f_edge.interrupts import children_without_ctrl_c


class Workers(ProcessPoolExecutor):
    """Processes that leave Ctrl-C to this one and end with it.

    Args:
        count: of the processes.
        work: sent once to each process, with what it is bound to; `call` calls it there: `workers.map(call, items)`.
    """

    def __init__(self, count: int, work: Callable[..., Any]) -> None:
        # Spawned: a fork would copy the locks of torch's and onnxruntime's threads, and CUDA does not survive it.
        super().__init__(count, get_context("spawn"), _start, (work,))

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        with children_without_ctrl_c():  # a process is started here
            return super().submit(fn, *args, **kwargs)


_work: Callable[..., Any]  # of a worker process


def _start(work: Callable[..., Any]) -> None:
    global _work
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # on Windows that is not inherited
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _work = work


def _end_with_parent() -> None:
    """A worker waits for work in a pipe that it holds open itself: it would outlive a parent that was killed."""
    parent = parent_process()
    if parent:
        parent.join()
        os._exit(1)


def call(*arguments: Any) -> Any:
    """What the work of this worker process makes of the arguments."""
    return _work(*arguments)
