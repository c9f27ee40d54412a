"""Making the units of a plan on the cores of this machine, or on those of a Ray cluster.

Both engines are generators that give each unit when its shard is written, in any order; closed
early, they end what they have begun. The shards are the same bytes.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from s2f_train.prepare.item import PrepareSettings
from s2f_train.prepare.unit import Tick, Unit, make_unit
from s2f_train.prepare.worker import PrepareError, Worker


def local(
    units: Sequence[Unit], folder: Path, settings: PrepareSettings, jobs: int | None, tick: Tick
) -> Generator[Unit, None, None]:
    """Makes units with `jobs` worker processes (None: one for each core).

    Raises:
        PrepareError: see `make_unit`.
    """
    workers: list[Worker] = []
    idle: SimpleQueue[Worker] = SimpleQueue()

    def work(unit: Unit) -> Unit:
        worker = idle.get()
        try:
            make_unit(unit, folder, worker, tick)
        finally:
            idle.put(worker)
        return unit

    count = min(jobs or os.cpu_count() or 1, len(units))
    with ThreadPoolExecutor(max(1, count)) as threads:  # they only wait for the processes and write
        futures = []
        try:
            for _ in range(count):
                workers.append(Worker(settings))
                idle.put(workers[-1])
            futures = [threads.submit(work, unit) for unit in units]
            for future in as_completed(futures):
                yield future.result()
        finally:
            for future in futures:
                future.cancel()
            for worker in workers:
                worker.stop()


def on_ray(
    units: Sequence[Unit], folder: Path, settings: PrepareSettings, address: str, jobs: int | None, tick: Tick
) -> Generator[Unit, None, None]:
    """Makes units as Ray tasks of one core each, on all nodes that see the data and `folder` under the same paths.

    Args:
        address: "auto", the cluster that this machine belongs to; "local", a new one of `jobs` cores
            on this machine; or "ray://HOST:PORT".

    Raises:
        PrepareError: Ray is missing, no cluster answers, a node does not see `folder`; see also `make_unit`.
    """
    try:
        import ray
    except ImportError:
        raise PrepareError("--engine ray needs Ray: pip install 's2f-edge[cluster]'.") from None
    own = address == "local"
    on_end = signal.getsignal(signal.SIGTERM)
    try:
        alone: dict[str, Any] = {"num_cpus": jobs, "include_dashboard": False} if own else {}
        ray.init(address, log_to_driver=False, logging_level=logging.WARNING, **alone)
    except (ConnectionError, ImportError, RuntimeError, ValueError) as error:
        raise PrepareError(
            f"No Ray cluster at {address!r} ({error}). Start one with `ray start --head`, or use --address local."
        ) from None
    signal.signal(signal.SIGTERM, on_end)  # Ray's own prints a stack and exits without tidying up
    try:
        yield from _ray_results(ray, units, folder, settings, tick)
    finally:
        ray.shutdown()  # ends the tasks of this run, and the cluster if it is our own


def _ray_results(
    ray: Any, units: Sequence[Unit], folder: Path, settings: PrepareSettings, tick: Tick
) -> Generator[Unit, None, None]:
    task = ray.remote(num_cpus=1, max_retries=3)(_on_node)
    shared = ray.put((str(folder.resolve()), settings))
    left = iter(units)
    running: dict[Any, Unit] = {}
    while True:
        # Twice the cores: no node waits for the next unit, and the plan is not copied into the cluster at once.
        while len(running) < 2 * max(1, int(ray.cluster_resources().get("CPU", 1))) and (unit := next(left, None)):
            running[task.remote(unit, shared)] = unit
        if not running:
            return
        done, _ = ray.wait(list(running), num_returns=1)
        for reference in done:
            unit = running.pop(reference)
            try:
                tick(*ray.get(reference))
            except ray.exceptions.RayTaskError as error:
                raise PrepareError(str(error.cause)) from None
            except ray.exceptions.RayError as error:
                raise PrepareError(f"{unit.shard} cannot be made in the cluster: {error}") from None
            yield unit


def _on_node(unit: Unit, shared: tuple[str, PrepareSettings]) -> tuple[int, float, int]:
    """Runs in a Ray task; what `tick` is told of the whole unit."""
    folder, settings = Path(shared[0]), shared[1]
    if not (folder / unit.shard).parent.is_dir():
        raise PrepareError(f"{os.uname().nodename} does not see {folder}: the store must be on a disk of all nodes.")
    told: list[tuple[int, float, int]] = []
    worker = Worker(settings)
    try:
        make_unit(unit, folder, worker, lambda *done: told.append(done))
    finally:
        worker.stop()
    items, seconds, skipped = zip(*told, strict=True)
    return sum(items), sum(seconds), sum(skipped)
