"""How far an evaluation is: a bar for each stage on a terminal, and a line in the log at its end."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

log = logging.getLogger(__name__)
Item = TypeVar("Item")


def each(items: Iterable[Item], what: str, total: int, console: Console | None = None) -> Iterator[Item]:
    """Passes items on and shows how many of `total` have passed.

    Args:
        what: the stage, such as "faces of default".
        console: where the bar is shown, if it is a terminal.
    """
    console = console or Console(stderr=True)
    begun = time.monotonic()
    columns = (TextColumn("{task.description:<32}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(what, total=total)
        for item in items:
            yield item
            bar.advance(task)
    log.info("%s: %d in %.0f s", what, bar.tasks[0].completed, time.monotonic() - begun)
