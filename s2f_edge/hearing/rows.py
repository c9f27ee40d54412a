"""Features in their order, from which stretches that turn out to be no speech are taken out."""

from __future__ import annotations

import numpy as np

from s2f_edge.hearing.features import Float32s


class Rows:
    """Rows of features, each of which stands for as many voiced samples.

    Args:
        hop: those samples.
        shape: of a row.
    """

    def __init__(self, hop: int, *shape: int) -> None:
        self._hop = hop
        self._none = np.zeros((0, *shape), np.float32)
        self._pieces: list[Float32s] = []
        self._count = 0
        self._gone = 0  # rows that were before, and are taken out or forgotten
        self._ended = False

    def __len__(self) -> int:
        return self._count

    def push(self, rows: Float32s) -> None:
        """float32 (n, *shape)."""
        if not self._ended:
            self._pieces.append(rows)
            self._count += len(rows)

    def at(self, sample: int) -> int:
        """Which row a voiced sample is in."""
        return sample // self._hop - self._gone

    def cut(self, start: int, end: int | None) -> None:
        """Rows from a start on, as `FrontEnd.cut` gives them; the cost depends only on what comes after the start."""
        first, tail = self.at(start), [self._none]
        while self._pieces and self._count > first:
            tail.insert(1, self._pieces.pop())
            self._count -= len(tail[1])
        rows, before = np.concatenate(tail), self._count
        self.push(rows[: max(0, first - before)].copy())  # copies: slices would keep what is taken out
        if end is None:
            self._ended = True
        else:
            self.push(rows[self.at(end) - before :].copy())
            self._gone += self.at(end) - first

    def joined(self) -> Float32s:
        """All rows, float32 (n, *shape)."""
        if len(self._pieces) != 1:
            self._pieces = [np.concatenate([self._none, *self._pieces])]
        return self._pieces[0]

    def forget(self, count: int | None = None) -> None:
        """Lets the first rows go, or all."""
        count = self._count if count is None else count
        self._pieces = [self.joined()[count:].copy()] if count < self._count else []
        self._count -= count
        self._gone += count
