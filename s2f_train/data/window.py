"""Which voices a step may draw from: all, or those of a few shards that change as the fit goes on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from s2f_train.data.store import Sample

Indices = NDArray[np.int64]


class ShardWindow:
    """A few shards at a time, so that a store may be larger than the disk, or come from elsewhere.

    The window is a function of the step alone, like everything that is drawn: it moves by one shard
    after as many steps as a shard has batches, through all shards in an order that is drawn anew in every pass.

    Args:
        samples: the voices, in the order of their indices.
        width: shards at a time; 0 is all.
        batch: voices a step.
        seed: of the orders.
    """

    def __init__(self, samples: list[Sample], width: int, batch: int, seed: int):
        of_shard: dict[str, list[int]] = {}
        for index, sample in enumerate(samples):
            of_shard.setdefault(sample.shard, []).append(index)
        self._names = sorted(of_shard)
        self._indices = [np.array(of_shard[name], np.int64) for name in self._names]
        self._all = np.arange(len(samples))
        self._width = width if width < len(self._names) else 0
        self._stay = max(1, round(len(samples) / len(self._names) / batch))
        self._seed = seed

    def at(self, step: int) -> tuple[Indices, str | None]:
        """The voices that a step may draw from, and the shard that will join them next."""
        if not self._width:
            return self._all, None
        first = step // self._stay
        joined = np.concatenate([self._indices[self._nth(first + i)] for i in range(self._width)])
        return joined, self._names[self._nth(first + self._width)]

    def _nth(self, n: int) -> int:
        count = len(self._names)
        order = np.random.default_rng([self._seed, 2, n // count]).permutation(count)
        return int(order[n % count])
