"""How large a store will be and how long it takes, from a few items of each source."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass

from s2f_train.prepare.item import Entry, Prepared
from s2f_train.prepare.plan import Plan
from s2f_train.prepare.worker import ItemWorker

TRIED = 12  # items of each source and kind
TAR_BLOCK = 512


@dataclass(frozen=True)
class Estimate:
    """Items of one source and kind, and what a sample of them says of all.

    `usable` is a share; `cpu_seconds` are of one core.
    """

    source: str
    kind: str
    items: int
    usable: float
    bytes: float
    hours: float
    cpu_seconds: float


def estimate(plan: Plan) -> list[Estimate]:
    """Makes some items of each source and keeps nothing.

    Raises:
        PrepareError: a package is missing.
    """
    groups: dict[tuple[str, str], list[Entry]] = defaultdict(list)
    for unit in plan.units:
        for entry in unit.entries:
            groups[entry.item.source, entry.item.kind].append(entry)
    worker = ItemWorker(plan.settings)
    try:
        return [_of_group(source, kind, entries, worker) for (source, kind), entries in sorted(groups.items())]
    finally:
        worker.stop()


def _of_group(source: str, kind: str, entries: list[Entry], worker: ItemWorker) -> Estimate:
    worker.make(entries[:1])  # loads what the first of a kind loads
    begun = time.monotonic()
    results = worker.make(entries[:TRIED])
    seconds = time.monotonic() - begun
    good = [made for made in results if isinstance(made, Prepared)]
    size = sum(2 * TAR_BLOCK + len(data) for made in good for data in made.members.values())
    share = len(entries) / len(results)
    return Estimate(
        source,
        kind,
        len(entries),
        len(good) / len(results),
        size * share,
        sum(made.seconds for made in good) / 3600 * share,
        seconds * share,
    )
