"""Making faces of many recordings in the processes of this machine, or of a Ray cluster.

Both engines are generators that give each recording with what became of it when it is done, in any order;
closed early, they end what they have begun. Only a few recordings are under way at a time, so that memory does
not grow with their number.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import lru_cache
from multiprocessing.connection import wait
from pathlib import Path
from time import monotonic
from typing import Any

from s2f_edge import processes
from s2f_edge._version import __version__
from s2f_edge.batch.jobs import Job
from s2f_edge.batch.make import Maker, Options, Outcome, Outcomes
from s2f_edge.errors import ClusterError, RuntimeSetupError, S2FError, WorkerError
from s2f_edge.processes import READY

AHEAD = 2  # recordings that a worker has: the next one lies there when one is done
STUCK_S = 1800.0  # no answer in this time means that none will come: a damaged file can do that to a decoder
STARTS = 3  # processes in a row that end before they are ready


# ----------------------------------------------------------------------- this machine


def local(jobs: Iterable[Job], options: Options, count: int) -> Outcomes:
    """Works with `count` processes, each with a model of its own.

    A process that ends while it works, since a decoder crashed or the system took it for its memory, costs
    the recording that it worked on; another one takes its place.

    Raises:
        PackError, DeviceError, CertificateError, RuntimeSetupError: no process can begin.
    """
    left, again = iter(jobs), deque[Job]()
    workers: list[_FaceWorker] = []
    failed = 0  # starts in a row
    try:
        workers += (_FaceWorker(options) for _ in range(processes.at_most(count)))
        while True:
            for worker in workers:
                worker.take(again, left)
            busy = [worker for worker in workers if worker.jobs]
            if not busy:
                return
            ready = wait([worker.connection for worker in busy], max(0.0, min(w.until for w in busy) - monotonic()))
            for worker in busy:
                if worker.connection not in ready and monotonic() < worker.until:
                    continue
                answer = worker.answer()
                if isinstance(answer, S2FError):
                    raise answer
                if answer == READY:
                    failed = 0
                elif answer is not None:
                    yield worker.jobs.popleft(), answer
                else:
                    why = worker.end()
                    if worker.ready:
                        job = worker.jobs.popleft()
                        yield job, _ended(f"The process that worked on it {why}.")
                    elif (failed := failed + 1) >= STARTS:
                        raise RuntimeSetupError(f"No worker process can be started: it {why}.")
                    again.extend(worker.jobs)
                    workers[workers.index(worker)] = _FaceWorker(options)
    finally:
        for worker in workers:
            worker.leave()
        for worker in workers:
            worker.stop()


def _ended(how: str) -> Outcome:
    return Outcome(WorkerError(how).to_dict(), [], 0.0)


class _FaceWorker(processes.WorkerProcess):
    """A process that makes faces."""

    def __init__(self, options: Options) -> None:
        threads = options.threads or 1  # of numpy, and of onnxruntime, which would take all cores in each process
        super().__init__(_outcome_of, replace(options, threads=threads), threads)
        self.jobs: deque[Job] = deque()  # given and not answered
        self.ready = False
        self.until = monotonic() + STUCK_S

    def take(self, again: deque[Job], left: Iterator[Job]) -> None:
        """Gives the process something to do."""
        while len(self.jobs) < AHEAD and (job := again.popleft() if again else next(left, None)):
            if not self.jobs:
                self.until = monotonic() + STUCK_S
            self.jobs.append(job)
            self.ask(job)

    def answer(self, patience_s: float = 0.0) -> Any:
        answer = super().answer(patience_s)
        self.ready |= answer == READY
        self.until = monotonic() + STUCK_S
        return answer


def _outcome_of(options: Options) -> Callable[[Job], Outcome]:
    maker = options.maker()
    maker.load()
    return maker.outcome


# ------------------------------------------------------------------------------- Ray


def on_ray(jobs: Iterable[Job], options: Options, address: str, count: int | None) -> Outcomes:
    """Works with Ray tasks, on all machines that see recordings and pictures under the same paths.

    A task gives its row to this process when its pictures are written, so that no recording has two rows.

    Args:
        address, count: of `processes.on_ray`.

    Raises:
        ClusterError: no cluster answers, or a machine of it does not see the files, or has another s2f-edge.
        RuntimeSetupError: Ray is missing.
    """
    tasks = ((job, (Job(*_absolute(job)), Path(job.source).exists())) for job in jobs)
    with closing(
        processes.on_ray(_on_node, tasks, (_with_absolute_paths(options), __version__), address, count)
    ) as results:
        for job, outcome in results:
            if isinstance(outcome, WorkerError):
                text = str(outcome).splitlines()[0]
                yield job, _ended(f"The process that worked on it ended each time: {text}")
                continue
            if isinstance(outcome, S2FError):
                raise outcome
            if isinstance(outcome, Exception):
                raise ClusterError(f"A machine of the cluster cannot do the work: {outcome}")
            if "error" not in outcome.facts:  # names as they were given, not those of the task
                outcome.facts.update(file=job.source, pictures=job.targets)
            yield job, outcome


def _absolute(job: Job) -> tuple[str, list[str]]:
    """A task runs in a folder of Ray's."""
    return os.path.abspath(job.source), [os.path.abspath(target) for target in job.targets]  # noqa: PTH100


def _with_absolute_paths(options: Options) -> Options:
    """Paths of files that every machine must have."""
    given = {"pack": options.pack, "c2pa_certificate": options.c2pa_certificate, "c2pa_key": options.c2pa_key}
    whole = {name: type(path)(os.path.abspath(path)) for name, path in given.items() if path is not None}  # noqa: PTH100
    return replace(options, threads=options.threads or 1, **whole)  # type: ignore[arg-type]


def _on_node(job: Job, there: bool, shared: tuple[Options, str]) -> Outcome:
    """Runs in a Ray task. `there`: whether the machine that began the run sees the recording."""
    options, version = shared
    if version != __version__:
        raise ClusterError(f"{_node()} has s2f-edge {__version__}; the run began with {version}. Install the same.")
    missing = [name for name in (job.source if there else None, *map(os.path.dirname, job.targets)) if name]
    unseen = next((name for name in missing if not Path(name).exists()), None)
    if unseen:
        raise ClusterError(
            f"{_node()} does not see {unseen}: recordings and pictures must be on a disk of all machines, under the "
            "same path."
        )
    return _maker(options).outcome(job)


@lru_cache(maxsize=1)
def _maker(options: Options) -> Maker:
    """One for each process, which Ray gives many tasks."""
    return options.maker()


def _node() -> str:
    return os.uname().nodename if hasattr(os, "uname") else "A machine"
