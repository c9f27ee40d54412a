"""Making faces of many recordings in the processes of this machine, or of a Ray cluster.

Both engines are generators that give each recording with what became of it when it is done, in any order;
closed early, they end what they have begun. Only a few recordings are under way at a time, so that memory does
not grow with their number.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import lru_cache
from multiprocessing.connection import Connection, wait
from pathlib import Path
from time import monotonic
from typing import Any

from s2f_edge._version import __version__
from s2f_edge.batch.jobs import Job
from s2f_edge.batch.make import Maker, Options, Outcome, error_facts
from s2f_edge.errors import ClusterError, RuntimeSetupError, S2FError, WorkerError
from s2f_edge.interrupts import children_without_ctrl_c
from s2f_edge.stdio import silence

AHEAD = 2  # recordings that a worker has: the next one lies there when one is done
STUCK_S = 1800.0  # no answer in this time means that none will come: a damaged file can do that to a decoder
STARTS = 3  # processes in a row that end before they are ready
THREADS = ("OMP", "OPENBLAS", "MKL")

Outcomes = Generator[tuple[Job, Outcome], None, None]


# ----------------------------------------------------------------------- this machine


def local(jobs: Iterable[Job], options: Options, count: int) -> Outcomes:
    """Works with `count` processes, each with a model of its own.

    A process that ends while it works, since a decoder crashed or the system took it for its memory, costs
    the recording that it worked on; another one takes its place.

    Raises:
        PackError, DeviceError, CertificateError, RuntimeSetupError: no process can begin.
    """
    left = _Left(jobs)
    workers: list[_Worker] = []
    failed = 0  # starts in a row
    try:
        workers += (_Worker(options) for _ in range(count))
        while True:
            for worker in workers:
                worker.take(left)
            busy = [worker for worker in workers if worker.jobs]
            if not busy:
                return
            ready = wait([worker.connection for worker in busy], max(0.0, min(w.until for w in busy) - monotonic()))
            for worker in busy:
                answered = worker.connection in ready
                if not answered and monotonic() < worker.until:
                    continue
                answer = worker.answer() if answered else None
                if isinstance(answer, S2FError):
                    raise answer
                if answer == _READY:
                    failed = 0
                elif answer is not None:
                    yield worker.jobs.popleft(), answer
                else:
                    why = worker.end("did not answer and was killed" if not answered else None)
                    if worker.ready:
                        job = worker.jobs.popleft()
                        yield job, Outcome(error_facts(WorkerError(f"The process that worked on it {why}.")), [], 0.0)
                    elif (failed := failed + 1) >= STARTS:
                        raise RuntimeSetupError(f"No worker process can be started: it {why}.")
                    left.again(worker.jobs)
                    workers[workers.index(worker)] = _Worker(options)
    finally:
        for worker in workers:
            worker.leave()
        for worker in workers:
            worker.stop()


class _Left:
    """What is still to be done."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._jobs = iter(jobs)
        self._again: deque[Job] = deque()

    def again(self, jobs: Iterable[Job]) -> None:
        self._again.extend(jobs)

    def next(self) -> Job | None:
        return self._again.popleft() if self._again else next(self._jobs, None)


_READY = "ready"


class _Worker:
    """A process that makes faces."""

    def __init__(self, options: Options) -> None:
        context = multiprocessing.get_context("spawn")  # fork is not safe beside threads
        self.jobs: deque[Job] = deque()  # given and not answered
        self.ready = False
        self.until = monotonic() + STUCK_S
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, options), daemon=True)
        try:
            with children_without_ctrl_c(), _few_threads(options.threads):
                self._process.start()
        except OSError as error:
            raise RuntimeSetupError(f"No worker process can be started: {error.strerror}.") from None
        theirs.close()  # so that its end is seen here

    def take(self, left: _Left) -> None:
        """Gives the process something to do."""
        while len(self.jobs) < AHEAD and (job := left.next()):
            if not self.jobs:
                self.until = monotonic() + STUCK_S
            self.jobs.append(job)
            with suppress(OSError):  # it has ended, which `answer` will tell
                self.connection.send(job)

    def answer(self) -> Any:
        """The next message of the process; None if it has ended."""
        try:
            answer = self.connection.recv()
        except (EOFError, OSError):
            return None
        self.ready |= answer == _READY
        self.until = monotonic() + STUCK_S
        return answer

    def end(self, why: str | None = None) -> str:
        """Waits for the end of the process and returns how it ended; kills it first where `why` is given."""
        if why:
            self._process.kill()
        self._process.join()
        self.connection.close()
        code = self._process.exitcode or 0
        return why or (f"ended with status {code}" if code >= 0 else f"was ended by {signal.Signals(-code).name}")

    def leave(self) -> None:
        """Terminates the process, which removes its partial files."""
        self.connection.close()
        self._process.terminate()

    def stop(self) -> None:
        """Waits up to 5 s for the end of the process, then kills it."""
        self._process.join(5.0)
        self._process.kill()
        self._process.join()


def _serve(connection: Connection, options: Options) -> None:
    """Runs in the process. What it sends first is `_READY`, or an error."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # for Windows
    signal.signal(signal.SIGTERM, _leave)
    try:
        try:
            maker = Maker(options)
            maker.load()
        except S2FError as error:
            connection.send(error)
            return
        connection.send(_READY)
        while True:
            connection.send(maker.outcome(connection.recv()))
    except (EOFError, OSError):  # the parent is gone
        return


def _leave(*_: object) -> None:
    """The parent asks for the end. What is being written is taken away on the way out."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    silence(sys.stderr)  # a decoder that reads by a callback would print this exception, and go on
    raise SystemExit(0)


@contextmanager
def _few_threads(count: int | None) -> Iterator[None]:
    """numpy reads this in a process's first moment."""
    names = [f"{name}_NUM_THREADS" for name in THREADS]
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, str(count or 1)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


# ------------------------------------------------------------------------------- Ray


def on_ray(jobs: Iterable[Job], options: Options, address: str, count: int | None) -> Outcomes:
    """Works with Ray tasks of one core each, on all machines that see recordings and pictures under the same paths.

    A task whose process or machine ends is done anew, up to three times. It gives its row to this process
    when its pictures are written, so that no recording is told of twice.

    Args:
        address: "auto", the cluster that this machine belongs to; "local", a new one of `count` cores
            on this machine; or "ray://HOST:PORT".

    Raises:
        ClusterError: no cluster answers, or a machine of it does not see the files, or has another s2f-edge.
        RuntimeSetupError: Ray is missing.
    """
    try:
        import ray
    except ImportError:
        raise RuntimeSetupError("--engine ray needs Ray: pip install 's2f-edge[cluster]'.") from None
    alone: dict[str, Any] = {"num_cpus": count, "include_dashboard": False} if address == "local" else {}
    on_end = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.WARNING, **alone)
    except (ConnectionError, ImportError, RuntimeError, ValueError) as error:
        raise ClusterError(
            f"No Ray cluster at {address!r} ({error}). Start one with `ray start --head`, or use --address local."
        ) from None
    signal.signal(signal.SIGTERM, on_end)  # Ray's own prints a stack and exits without tidying up
    try:
        yield from _ray_outcomes(ray, jobs, options)
    finally:
        ray.shutdown()  # ends the tasks of this run, and the cluster if it is our own


def _ray_outcomes(ray: Any, jobs: Iterable[Job], options: Options) -> Outcomes:
    task = ray.remote(num_cpus=1, max_retries=3)(_on_node)
    shared = ray.put((_everywhere(options), __version__))
    left = iter(jobs)
    running: dict[Any, Job] = {}
    while True:
        # Twice the cores: no machine waits for the next recording, and the plan is not copied into the cluster at once.
        while len(running) < 2 * max(1, int(ray.cluster_resources().get("CPU", 1))) and (job := next(left, None)):
            there = Path(job.source).exists()
            running[task.remote(Job(*_absolute(job)), there, shared)] = job
        if not running:
            return
        done, _ = ray.wait(list(running), num_returns=1)
        for reference in done:
            job = running.pop(reference)
            try:
                outcome = ray.get(reference)
            except ray.exceptions.RayTaskError as error:
                cause = error.cause
                if isinstance(cause, S2FError):
                    raise cause from None
                raise ClusterError(f"A machine of the cluster cannot do the work: {cause}") from None
            except ray.exceptions.RayError as error:
                text = str(error).splitlines()[0]
                outcome = Outcome(
                    error_facts(WorkerError(f"The process that worked on it ended each time: {text}")), [], 0.0
                )
            if "error" not in outcome.facts:  # names as they were given, not those of the task
                outcome.facts.update(file=job.source, pictures=job.targets)
            yield job, outcome


def _absolute(job: Job) -> tuple[str, list[str]]:
    """A task runs in a folder of Ray's."""
    return os.path.abspath(job.source), [os.path.abspath(target) for target in job.targets]  # noqa: PTH100


def _everywhere(options: Options) -> Options:
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
    return Maker(options)


def _node() -> str:
    return os.uname().nodename if hasattr(os, "uname") else "A machine"
