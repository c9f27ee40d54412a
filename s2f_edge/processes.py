"""Work in other processes: those of this machine, which may die of it, and the tasks of a Ray cluster."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from s2f_edge.cores import cores
from s2f_edge.errors import ClusterError, RuntimeSetupError, S2FError, WorkerError
from s2f_edge.interrupts import children_without_ctrl_c
from s2f_edge.stdio import silence

READY = "ready"
MOST_ON_WINDOWS = 60  # processes that can be waited for at once

T = TypeVar("T")
Begin = Callable[[Any], Callable[[Any], Any]]


# ----------------------------------------------------------------------- this machine


def at_most(count: int | None) -> int:
    """How many processes there may be: as many as are asked for; of None, one a core."""
    count = count or cores()
    return min(count, MOST_ON_WINDOWS) if sys.platform == "win32" else count


class WorkerProcess:
    """A process that answers what it is asked, in that order.

    Decoders are C code that reads files of unknown origin: they may crash, hang, or be ended by the system for
    the memory they take. That costs the question, and the process.

    Args:
        begin: called in the process; what it gives makes an answer of each question.
        given: its argument.
        threads: that numpy may take there.

    Attributes:
        connection: on which answers come. The first is READY, or an S2FError that `begin` raised.

    Raises:
        RuntimeSetupError: no process can be started.
    """

    def __init__(self, begin: Begin, given: Any, threads: int = 1) -> None:
        context = multiprocessing.get_context("spawn")  # fork is not safe beside threads
        self._stuck = False
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, begin, given), daemon=True)
        try:
            with children_without_ctrl_c(), _few_threads(threads):
                self._process.start()
        except OSError as error:
            raise RuntimeSetupError(f"No worker process can be started: {error.strerror}.") from None
        theirs.close()  # so that its end is seen here

    def ask(self, question: Any) -> None:
        """Sends a question; it waits there until those before it are answered."""
        with suppress(OSError):  # it has ended, which `answer` will tell
            self.connection.send(question)

    def answer(self, patience_s: float = 0.0) -> Any:
        """The next answer; None where none comes in this time, or the process has ended."""
        try:
            self._stuck = not self.connection.poll(patience_s)
            return None if self._stuck else self.connection.recv()
        except (EOFError, OSError):
            return None

    def end(self) -> str:
        """After an answer that was None, sees to it that the process is gone; how it went."""
        if self._stuck:
            self._process.kill()
        self._process.join()
        self.connection.close()
        if self._stuck:
            return "did not answer and was killed"
        code = self._process.exitcode or 0
        return f"ended with status {code}" if code >= 0 else f"was ended by {signal.Signals(-code).name}"

    def leave(self) -> None:
        """Terminates the process, which removes its partial files."""
        self.connection.close()
        self._process.terminate()

    def stop(self) -> None:
        """Waits up to 5 s for the end of the process, then kills it."""
        self._process.join(5.0)
        self._process.kill()
        self._process.join()

    def kill(self) -> None:
        """Ends the process at once; another thread that waits for an answer gets None."""
        self._process.kill()


def _serve(connection: Connection, begin: Begin, given: Any) -> None:
    """Runs in the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # for Windows
    signal.signal(signal.SIGTERM, _leave)
    try:
        try:
            answer = begin(given)
        except S2FError as error:
            connection.send(error)
            return
        connection.send(READY)
        while True:
            connection.send(answer(connection.recv()))
    except (EOFError, OSError):  # the parent is gone
        return


def _leave(*_: object) -> None:
    """The parent asks for the end. What is being written is taken away on the way out."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    silence(sys.stderr)  # a decoder that reads by a callback would print this exception, and go on
    raise SystemExit(0)


def threads_limited(count: int) -> dict[str, str]:
    """The environment of a process whose numpy takes so many threads; it reads this in its first moment."""
    return {f"{name}_NUM_THREADS": str(count) for name in ("OMP", "OPENBLAS", "MKL")}


_starting = threading.Lock()


@contextmanager
def _few_threads(count: int) -> Iterator[None]:
    limits = threads_limited(count)
    with _starting:
        before = {name: os.environ.get(name) for name in limits}
        os.environ.update(limits)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


# ------------------------------------------------------------------------------- Ray


def on_ray(
    work: Callable[..., Any], tasks: Iterable[tuple[T, tuple[Any, ...]]], shared: Any, address: str, count: int | None
) -> Generator[tuple[T, Any], None, None]:
    """Works with Ray tasks of one core each. One whose process or machine ends is done anew, up to three times.

    Args:
        work: takes the arguments of a task, and `shared`.
        tasks: what each is known by, and its arguments; taken when there is room for them.
        shared: is copied to each machine once.
        address: "auto", the cluster that this machine belongs to; "local", a new one of `count` cores
            on this machine; or "ray://HOST:PORT".

    Returns:
        Each with its result when it is done, in any order: what it returned or raised; a WorkerError where its
        process ended each time. Closed early, it ends what it has begun.

    Raises:
        ClusterError: no cluster answers.
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
        yield from _ray_results(ray, work, iter(tasks), shared)
    finally:
        ray.shutdown()  # ends the tasks of this run, and the cluster if it is our own


def _ray_results(
    ray: Any, work: Callable[..., Any], left: Iterator[tuple[T, tuple[Any, ...]]], shared: Any
) -> Generator[tuple[T, Any], None, None]:
    task, everywhere = ray.remote(num_cpus=1, max_retries=3)(work), ray.put(shared)
    running: dict[Any, T] = {}
    while True:
        # Twice the cores: no machine waits for the next task, and the plan is not copied into the cluster at once.
        while len(running) < 2 * max(1, int(ray.cluster_resources().get("CPU", 1))) and (each := next(left, None)):
            running[task.remote(*each[1], everywhere)] = each[0]
        if not running:
            return
        done, _ = ray.wait(list(running), num_returns=1)
        for reference in done:
            try:
                result = ray.get(reference)
            except ray.exceptions.RayTaskError as error:
                result = error.cause
            except ray.exceptions.RayError as error:
                result = WorkerError(str(error))
            yield running.pop(reference), result
