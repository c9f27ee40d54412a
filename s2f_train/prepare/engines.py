"""Making the units of a plan on the cores of this machine, or on those of a Ray cluster.

Both engines are generators that give each unit when its shard is written, in any order; closed
early, they end what they have begun. The shards are the same bytes.
"""

from __future__ import annotations

import platform
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from pathlib import Path
from queue import SimpleQueue

from s2f_edge import processes
from s2f_edge.errors import ClusterError, RuntimeSetupError, WorkerError
from s2f_train.prepare.item import PrepareSettings
from s2f_train.prepare.unit import Tick, Unit, make_unit
from s2f_train.prepare.worker import ItemWorker, PrepareError


def local(
    units: Sequence[Unit], folder: Path, settings: PrepareSettings, jobs: int | None, tick: Tick
) -> Generator[Unit, None, None]:
    """Makes units with `jobs` worker processes (None: one for each core).

    Raises:
        PrepareError: see `make_unit`.
    """
    workers: list[ItemWorker] = []
    idle: SimpleQueue[ItemWorker] = SimpleQueue()

    def work(unit: Unit) -> Unit:
        worker = idle.get()
        try:
            make_unit(unit, folder, worker, tick)
        finally:
            idle.put(worker)
        return unit

    count = min(processes.at_most(jobs), len(units))
    with ThreadPoolExecutor(max(1, count)) as threads:  # they only wait for the processes and write
        futures = []
        try:
            for _ in range(count):
                workers.append(ItemWorker(settings))
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
    """Makes units as Ray tasks, on all nodes that see the data and `folder` under the same paths.

    Args:
        address, jobs: address and count of `processes.on_ray`.

    Raises:
        PrepareError: Ray is missing, no cluster answers, a node does not see `folder`; see also `make_unit`.
    """
    tasks = ((unit, (unit,)) for unit in units)
    shared = (str(folder.resolve()), settings)
    try:
        with closing(processes.on_ray(_on_node, tasks, shared, address, jobs)) as results:
            for unit, result in results:
                if isinstance(result, WorkerError):
                    raise PrepareError(f"{unit.shard} cannot be made in the cluster: {result}")
                if isinstance(result, Exception):
                    raise PrepareError(str(result))
                tick(*result)
                yield unit
    except (ClusterError, RuntimeSetupError) as error:
        raise PrepareError(str(error)) from None


def _on_node(unit: Unit, shared: tuple[str, PrepareSettings]) -> tuple[int, float, int]:
    """Runs in a Ray task; the arguments of `tick` for the whole unit."""
    folder, settings = Path(shared[0]), shared[1]
    if not (folder / unit.shard).parent.is_dir():
        raise PrepareError(f"{platform.node()} does not see {folder}: the store must be on a disk of all nodes.")
    ticks: list[tuple[int, float, int]] = []
    worker = ItemWorker(settings)
    try:
        make_unit(unit, folder, worker, lambda *done: ticks.append(done))
    finally:
        worker.stop()
    items, seconds, skipped = zip(*ticks, strict=True)
    return sum(items), sum(seconds), sum(skipped)
