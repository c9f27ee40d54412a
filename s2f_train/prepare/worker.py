"""Making items in a process that may die of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from s2f_edge import processes
from s2f_edge.errors import RuntimeSetupError
from s2f_train.prepare.item import Entry, Maker, Prepared, PrepareSettings, SetupError, Skipped

START_S = 300.0
STUCK_S = 900.0  # some broken files take long; none takes this long

Results = list[Prepared | Skipped]


class PrepareError(ValueError):
    """A store cannot be prepared."""


class StoppedError(Exception):
    """The run was interrupted."""


class ItemWorker:
    """A process that makes items. When an item ends it, only that item is lost.

    Raises:
        PrepareError: no process can be started.
    """

    def __init__(self, settings: PrepareSettings):
        self._settings = settings
        self._stopped = threading.Event()
        self._begin()

    def _begin(self) -> None:
        try:
            self._process = processes.WorkerProcess(_results_of, self._settings)
        except RuntimeSetupError as error:
            raise PrepareError(str(error)) from None
        if self._answer(START_S) != processes.READY:
            raise PrepareError(f"No worker process can be started: it {self._process.end()}.")

    def make(self, entries: Sequence[Entry]) -> Results:
        """What becomes of each entry, in their order.

        Raises:
            PrepareError: a package is missing.
            StoppedError: `stop` was called.
        """
        self._process.ask(entries)
        answer = self._answer(STUCK_S)
        if isinstance(answer, SetupError):
            raise PrepareError(str(answer))
        if answer is not None:
            return list(answer)
        why = self._process.end()
        self._begin()
        if len(entries) == 1:
            return [Skipped(f"the process that read it {why}")]
        return [made for entry in entries for made in self.make([entry])]

    def _answer(self, patience_s: float) -> Any:
        answer = self._process.answer(patience_s)
        if self._stopped.is_set():
            raise StoppedError
        return answer

    def stop(self) -> None:
        """Ends the process at once. A `make` under way in another thread raises StoppedError."""
        self._stopped.set()
        self._process.kill()


def _results_of(settings: PrepareSettings) -> Callable[[Sequence[Entry]], Results | SetupError]:
    make = Maker(settings)

    def results(entries: Sequence[Entry]) -> Results | SetupError:
        try:
            return [make(entry) for entry in entries]
        except SetupError as error:
            return error

    return results
