"""How far the preparing of a store is: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import logging
import threading
import time
from datetime import timedelta
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

log = logging.getLogger(__name__)

LOG_EVERY_S = 10.0


class PrepareProgress:
    """Counts items; use it as a context. Where standard error is no terminal, lines are logged. `tick` may be called
    from any thread.

    Args:
        total: items to be made now.
    """

    def __init__(self, total: int):
        console = Console(stderr=True)
        self._total = total
        self._lock = threading.Lock()
        self._items, self._seconds, self._skipped = 0, 0.0, 0
        self._begun = self._told = time.monotonic()
        self._told_items = 0
        self._bar = Progress(
            TextColumn("{task.completed:,}/{task.total:,}"),
            BarColumn(),
            TextColumn("{task.fields[rest]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("prepare", total=total, rest="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._bar.stop()
        if self._total:
            log.info("%s", self.line())

    def tick(self, items: int, seconds: float, skipped: int) -> None:
        """So many more items are done, with so much speech in them; `skipped` of them could not be used."""
        with self._lock:
            self._items += items
            self._seconds += seconds
            self._skipped += skipped
            self._bar.update(self._task, completed=self._items, rest=self._rest())
            now = time.monotonic()
            if self._bar.disable and now - self._told >= LOG_EVERY_S:
                # By what was done since the last line: voices and faces take different times.
                left = (self._total - self._items) * (now - self._told) / max(1, self._items - self._told_items)
                self._told, self._told_items = now, self._items
                log.info("%s, %s left", self.line(), timedelta(seconds=round(left)))

    def line(self) -> str:
        return f"{self._items:,} of {self._total:,} items, {self._rest()}"

    def _rest(self) -> str:
        rate = self._items / max(time.monotonic() - self._begun, 1e-3)
        return f"{rate:.1f} items/s, {self._seconds / 3600:.2f} h of speech, {self._skipped:,} left out"
