"""`s2f-edge infer` over many recordings: workers, the table, the bar, and going on where it stopped."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import typer

from s2f_edge.batch.jobs import Job
from s2f_edge.batch.make import here, row, skipped_row
from s2f_edge.cli import options as opt
from s2f_edge.cli.options import Facts, printable
from s2f_edge.cli.progress import Bar, Progress, say
from s2f_edge.cores import cores
from s2f_edge.errors import OutputError, S2FError, UsageError, from_dict
from s2f_edge.terms import Engine

if TYPE_CHECKING:
    from s2f_edge.batch.make import Options, Outcome, Outcomes
    from s2f_edge.batch.table import PreviousRow, Table

MANY = 64  # recordings that are worth starting processes for
SOME_FAILED = 3
GO_ON = "Run the same command with --resume to continue."

Lines = Callable[[Facts], list[str]]


class Console(Protocol):
    """Prints what a command did."""

    @property
    def as_json(self) -> bool: ...

    @property
    def quiet(self) -> bool: ...

    def result(self, facts: Facts, lines: Lines) -> None: ...

    def failure(self, error: S2FError, name: str | None = None) -> None: ...


@dataclass(frozen=True)
class BatchOptions:
    """The options for many recordings."""

    table: str | None = None
    resume: bool = False
    retry: bool = False
    processes: int | None = None
    engine: Engine = "local"
    address: str = "auto"

    def checked(self) -> None:
        """Checks that the options go together.

        Raises:
            UsageError: two of them exclude each other.
        """
        if self.resume and not self.table:
            raise UsageError("--resume continues a table: add --table, as in the earlier run.")
        if self.retry and not self.resume:
            raise UsageError("--retry-failed needs --resume.")
        if self.address != "auto" and self.engine != "ray":
            raise UsageError("--address needs --engine ray.")
        if self.processes and self.engine == "ray" and self.address != "local":
            raise UsageError("--jobs applies to this machine only; with --engine ray give it with --address local.")

    def workers(self, jobs: list[Job], options: Options) -> int:
        """How many processes work; 0 stands for this one, where there is little to do.

        Raises:
            UsageError: workers are asked for, and standard input is a recording, or standard output a target.
        """
        asked = self.table is not None or self.engine == "ray"
        piped = any(job.source == "-" or "-" in job.targets for job in jobs)
        if piped:
            if asked or (self.processes or 1) > 1:
                raise UsageError(
                    "- works with one recording and without --table, --jobs and --engine; give file names."
                )
            return 0
        count = self.processes or (1 if _on_gpu(options.device) else max(1, cores() // (options.threads or 1)))
        if not asked and (count == 1 or (self.processes is None and len(jobs) < MANY)):
            return 0
        return min(count, len(jobs))


def _on_gpu(device: str) -> bool:
    """Whether the networks run on a GPU, of which several processes are no faster."""
    from s2f_edge.pack.network import has_gpu_build

    return device == "cuda" or (device == "auto" and has_gpu_build())


def run(
    jobs: list[Job],
    options: Options,
    many: BatchOptions,
    workers: int,
    console: Console,
    skipped: dict[str, str] | None = None,
    lines: Lines = opt.infer_lines,
) -> None:
    """Makes the faces of all recordings; what was skipped has a row, and is no failure.

    Raises:
        typer.Exit: some failed, or it was interrupted.
        S2FError: the run cannot begin, or cannot go on.
    """
    from s2f_edge.batch.table import Table
    from s2f_edge.pack.network import settled_variant
    from s2f_edge.pack.pack import Pack

    # Machines of a cluster differ, and one that starts a run may have no work in it: they take the pack itself.
    apart = many.engine == "ray" and options.variant == "auto"
    variant = None if apart else settled_variant(options.pack, options.variant, options.device)
    options = replace(options, variant=variant, pack_sha256=Pack.open(options.pack, variant).sha256)
    with contextlib.ExitStack() as opened:
        table = opened.enter_context(Table(many.table, options.settings())) if many.table else None
        left, failed = _begin(jobs, options, many, table, skipped or {})
        folder = os.getcwd()  # noqa: PTH109
        progress = Progress(len(jobs), len(jobs) - len(left), failed)
        add = (lambda job, outcome: table.add(row(job, outcome, options, folder))) if table else None
        bar = opened.enter_context(
            Bar(progress, shown=not console.quiet, silent=table is not None and not console.as_json)
        )
        try:
            with contextlib.closing(_outcomes(left, options, many, workers)) as outcomes:
                _follow(outcomes, progress, bar, lines, console, add)
            if table:
                table.finish()
        except KeyboardInterrupt:
            if not table:
                raise
            bar.close()
            say(f"Interrupted; no partial files are left. {progress.done:,} of {progress.total:,} are done. {GO_ON}")
            raise typer.Exit(130) from None
        except S2FError:
            if table and progress.new:
                bar.close()
                say(f"{progress.done:,} of {progress.total:,} are done. {GO_ON}")
            raise
        finally:
            _take_away_leftovers(left)  # of workers that ended while they wrote
    _end(progress, console, table)


def run_here(jobs: list[Job], make: Callable[[Job], Facts], lines: Lines, console: Console) -> None:
    """Does every job in this process; one that fails is reported and does not stop the rest.

    Raises:
        typer.Exit: some failed.
    """
    progress = Progress(len(jobs))
    with Bar(progress, shown=not console.quiet, silent=False) as bar:
        _follow(here(jobs, make), progress, bar, lines, console)
    _end(progress, console)


def _follow(
    outcomes: Outcomes,
    progress: Progress,
    bar: Bar,
    lines: Lines,
    console: Console,
    add: Callable[[Job, Outcome], None] | None = None,
) -> None:
    """Says what becomes of each recording, or has a row of it added."""
    for job, outcome in outcomes:
        if outcome.fatal:
            raise OutputError(outcome.facts["message"])
        if add:
            add(job, outcome)
        progress.count(outcome)
        if not add or console.as_json:
            if "error" in outcome.facts:
                console.failure(from_dict(outcome.facts), job.source)
            else:
                console.result(outcome.facts, lines)
        bar.step()


def _begin(
    jobs: list[Job], options: Options, many: BatchOptions, table: Table | None, skipped: dict[str, str]
) -> tuple[list[Job], int]:
    """What is left to be done, and how many failures the table has that stay."""
    from s2f_edge.batch.table import whole_path

    folder = os.getcwd()  # noqa: PTH109
    if table and not many.resume:
        table.begin(options.overwrite)
        for name, why in skipped.items():
            table.add(skipped_row(name, why, options, folder))
    if not table or not many.resume:
        return jobs, 0
    names = [whole_path(job.source) for job in jobs]
    known = table.resume(options.settings(), {*names, *map(whole_path, skipped)}, many.retry)
    for name, why in skipped.items():
        if whole_path(name) not in known:
            table.add(skipped_row(name, why, options, folder))
    left = [job for name, job in zip(names, jobs, strict=True) if name not in known]
    _take_away_leftovers(left, table.path, table.rows_path)
    return _renamed(left, known), sum(known[name].failed for name in names if name in known)


def _renamed(jobs: list[Job], known: dict[str, PreviousRow]) -> list[Job]:
    """Pictures of the run before keep their names, even if new recordings would now be given them."""
    from s2f_edge.batch.jobs import another, folded

    def spelled(targets: list[str]) -> set[str]:
        return {folded(os.path.abspath(target)) for target in targets}  # noqa: PTH100

    taken = {folded(picture) for before in known.values() for picture in before.pictures}
    planned = {name for job in jobs for name in spelled(job.targets)}
    renamed = []
    for job in jobs:
        targets, count = job.targets, 1
        while spelled(targets) & (taken if count == 1 else taken | planned):
            count += 1
            targets = [another(target, count) for target in job.targets]
        taken |= spelled(targets)
        renamed.append(Job(job.source, targets))
    return renamed


def _take_away_leftovers(jobs: list[Job], *tables: Path) -> None:
    """Removes what processes that were killed had begun to write."""
    from s2f_edge.files import leftovers

    pictures = [Path(target) for job in jobs for target in job.targets]
    for file in leftovers([*pictures, *tables]):
        with contextlib.suppress(OSError):
            file.unlink()


def _outcomes(jobs: list[Job], options: Options, many: BatchOptions, workers: int) -> Outcomes:
    from s2f_edge.batch import engines

    for folder in {Path(target).parent for job in jobs for target in job.targets}:
        _make(folder)
    if many.engine == "ray":
        return engines.on_ray(jobs, options, many.address, many.processes)
    return engines.local(jobs, options, min(workers, len(jobs)))


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"The folder {folder} cannot be created: {error.strerror or error}.") from None
    if not os.access(folder, os.W_OK):  # which would be the error of every recording
        raise OutputError(f"The folder {folder} cannot be written: Permission denied.")


def _end(progress: Progress, console: Console, table: Table | None = None) -> None:
    if table and not console.quiet:
        say(f"{progress.summary()} Table: {printable(str(table.path))}")
    elif progress.failed and progress.total > 1 and not console.as_json:
        say(f"{progress.failed} of {progress.total} failed.")
    if progress.failed:
        raise typer.Exit(progress.status if progress.new == progress.total == 1 else SOME_FAILED)
