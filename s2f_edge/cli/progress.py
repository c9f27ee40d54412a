"""How far a run over many recordings is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import logging
import sys
from collections import Counter
from datetime import timedelta
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import rich.progress

    from s2f_edge.batch.make import Outcome

SAY_EVERY_S = 10.0  # where no bar can be drawn


class Progress:
    """Counts recordings.

    Args:
        total: of the run.
        before: of them that an earlier run did.
        failed: of those, that failed then.
    """

    def __init__(self, total: int, before: int = 0, failed: int = 0) -> None:
        self.total, self.before, self._failed_before = total, before, failed
        self.new = 0
        self.status = 0  # exit status of the last failure
        self._errors: Counter[str] = Counter()
        self._began = self._first = monotonic()

    def count(self, outcome: Outcome) -> None:
        self.new += 1
        if self.new == 1:
            self._first = monotonic()
        if "error" in outcome.facts:
            self._errors[outcome.facts["error"]] += 1
            self.status = outcome.facts["exit_status"]

    @property
    def done(self) -> int:
        return self.before + self.new

    @property
    def failed(self) -> int:
        return self._failed_before + sum(self._errors.values())

    def rest(self) -> str:
        """The rate of this run since its first recording was done, and how long what is left takes at it."""
        rate = max(0, self.new - 1) / max(monotonic() - self._first, 1e-3)
        left = self.total - self.done
        return f"{rate:.1f} a second" + (f", {timedelta(seconds=round(left / rate))} left" if rate and left else "")

    def line(self) -> str:
        return f"{self.done:,} of {self.total:,}, {self.failed:,} failed, {self.rest()}"

    def summary(self) -> str:
        codes = [f"{code} {count:,}" for code, count in self._errors.most_common()]
        codes += [f"in an earlier run {self._failed_before:,}"] if self._failed_before else []
        failed = f", {self.failed:,} failed ({', '.join(codes)})" if self.failed else ""
        earlier = f"; {self.before:,} were done before" if self.before else ""
        took = timedelta(seconds=round(monotonic() - self._began))
        now = f" {self.new:,} in {took}, {self.rest()}." if self.new else ""
        return f"{self.total:,} recordings{failed}{earlier}.{now}"


class Bar:
    """Shows the progress of a run on standard error, below what is printed meanwhile; use it as a context.

    Args:
        shown: False shows nothing. There is no bar for one recording, nor between lines of a log.
        silent: nothing else is printed, so that lines take the place of the bar where standard error is no terminal.
        label: what is counted.
    """

    def __init__(self, progress: Progress, shown: bool, silent: bool = False, label: str = "Recordings") -> None:
        self._progress = progress
        self._bar: rich.progress.Progress | None = None
        terminal = sys.stderr.isatty()
        self._lines = shown and silent and not terminal
        self._printed = monotonic()
        logged = logging.getLogger().isEnabledFor(logging.DEBUG)
        if shown and terminal and progress.total > 1 and not logged:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
            from rich.progress import Progress as RichProgress

            self._bar = RichProgress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rest]}"),
                console=Console(stderr=True, soft_wrap=True),
                auto_refresh=False,
                redirect_stdout=sys.stdout.isatty(),
            )
            self._bar.add_task(label, total=progress.total, completed=progress.before, rest="")

    def __enter__(self) -> Bar:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the bar, so that something can be printed below it."""
        if self._bar:
            self._bar.stop()

    def step(self) -> None:
        """Advances the bar by one recording."""
        if self._bar:
            self._bar.update(self._bar.task_ids[0], advance=1, rest=self._progress.rest(), refresh=True)
        elif self._lines and monotonic() - self._printed >= SAY_EVERY_S:
            self._printed = monotonic()
            say(self._progress.line())


def say(text: str) -> None:
    """A line on standard error."""
    print(text, file=sys.stderr, flush=True)
