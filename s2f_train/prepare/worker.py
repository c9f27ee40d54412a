"""Making items in a process that may die of them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

from s2f_edge.interrupts import children_without_ctrl_c
from s2f_train.prepare.item import Job, Maker, Prepared, PrepareSettings, SetupError, Skipped

START_S = 300.0
STUCK_S = 900.0  # some broken files take long; none takes this long
_READY = "ready"


class PrepareError(ValueError):
    """A store cannot be prepared."""


class StoppedError(Exception):
    """The run was interrupted."""


class Worker:
    """A process that makes items. When an item ends it, only that item is lost.

    Decoders are C code that reads files of unknown origin: they may crash, hang, or be ended by
    the system for the memory they take.

    Raises:
        PrepareError: no process can be started.
    """

    def __init__(self, settings: PrepareSettings):
        self._settings = settings
        self._stopped = threading.Event()
        self._stuck = False
        self._begin()

    def _begin(self) -> None:
        os.environ.setdefault("OMP_NUM_THREADS", "1")  # numpy in the child: there is a process for each core
        context = multiprocessing.get_context("spawn")  # fork is not safe beside threads
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self._settings), daemon=True)
        try:
            with children_without_ctrl_c():
                self._process.start()
        except OSError as error:
            raise PrepareError(f"No worker process can be started: {error.strerror}.") from None
        theirs.close()  # so that its end is seen here
        if self._answer(START_S) != _READY:
            raise PrepareError(f"No worker process can be started: it {self._end()}.")

    def make(self, jobs: Sequence[Job]) -> list[Prepared | Skipped]:
        """What becomes of each job, in their order.

        Raises:
            PrepareError: a package is missing.
            StoppedError: `stop` was called.
        """
        answer = self._answer(STUCK_S, jobs)
        if isinstance(answer, SetupError):
            raise PrepareError(str(answer))
        if answer is not None:
            return list(answer)
        why = self._end()
        self._begin()
        if len(jobs) == 1:
            return [Skipped(f"the process that read it {why}")]
        return [made for job in jobs for made in self.make([job])]

    def _answer(self, patience_s: float, question: Any = None) -> Any:
        """None when the process has ended, or is stuck."""
        answer = None
        try:
            if question is not None:
                self._connection.send(question)
            self._stuck = not self._connection.poll(patience_s)
            if not self._stuck:
                answer = self._connection.recv()
        except (EOFError, ConnectionError):
            pass
        if self._stopped.is_set():
            raise StoppedError
        return answer

    def _end(self) -> str:
        """Sees to it that the process is gone; how it went."""
        if self._stuck:
            self._process.kill()
        self._process.join()
        self._connection.close()
        if self._stuck:
            return "gave no answer and was ended"
        code = self._process.exitcode or 0
        return f"ended with status {code}" if code >= 0 else f"was ended by {signal.Signals(-code).name}"

    def stop(self) -> None:
        """Ends the process at once. A `make` under way in another thread raises StoppedError."""
        self._stopped.set()
        self._process.kill()


def _serve(connection: Connection, settings: PrepareSettings) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # for Windows
    make = Maker(settings)
    try:
        connection.send(_READY)
        while True:
            jobs = connection.recv()
            try:
                connection.send([make(job) for job in jobs])
            except SetupError as error:
                connection.send(error)
    except (EOFError, OSError):  # the parent is gone
        return
