"""How far a run over many recordings is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from time import monotonic
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
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
        left = f", {_clock((self.total - self.done) / rate)} left" if rate and self.done < self.total else ""
        return f"{rate:.1f} a second{left}"

    def line(self) -> str:
        return f"{self.done:,} of {self.total:,}, {self.failed:,} failed, {self.rest()}"

    def summary(self) -> str:
        codes = [f"{code} {count:,}" for code, count in self._errors.most_common()]
        codes += [f"in an earlier run {self._failed_before:,}"] if self._failed_before else []
        failed = f", {self.failed:,} failed ({', '.join(codes)})" if self.failed else ""
        earlier = f"; {self.before:,} were done before" if self.before else ""
        now = f" {self.new:,} in {_clock(monotonic() - self._began)}, {self.rest()}." if self.new else ""
        return f"{self.total:,} recordings{failed}{earlier}.{now}"


class Bar:
    """Shows the progress of a run; use it as a context.

    Args:
        shown: False shows nothing.
        silent: nothing else is printed, so that lines take the place of the bar where standard error is no terminal.
    """

    def __init__(self, progress: Progress, shown: bool, silent: bool) -> None:
        self._progress = progress
        self._bar: Any = None
        terminal = sys.stderr.isatty()
        self._lines = shown and silent and not terminal
        self._said = monotonic()
        if shown and terminal:
            self._bar = typer.progressbar(
                length=progress.total,
                label="Recordings",
                show_pos=True,
                show_eta=False,  # it takes what an earlier run did for the work of this one
                item_show_func=lambda _: progress.rest(),
                file=sys.stderr,
            )

    def __enter__(self) -> Bar:
        if self._bar:
            self._bar.update(self._progress.before)
            self._bar.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the bar, so that something can be printed below it."""
        if self._bar:
            bar, self._bar = self._bar, None
            bar.__exit__(None, None, None)

    def show(self) -> None:
        """Advances the bar by one recording."""
        if self._bar:
            self._bar.update(1)
        elif self._lines and monotonic() - self._said >= SAY_EVERY_S:
            self._said = monotonic()
            say(self._progress.line())

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """While something is printed in its place."""
        if self._bar:
            clear_line()
        yield


def clear_line() -> None:
    """Clears the line of the progress bar before something is printed."""
    blank = " " * (shutil.get_terminal_size().columns - 1)
    print(f"\r{blank}\r", end="", file=sys.stderr, flush=True)


def say(text: str) -> None:
    """A line on standard error."""
    print(text, file=sys.stderr, flush=True)


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"
