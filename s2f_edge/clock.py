"""Milliseconds by stage, also of stages that work on blocks as they come."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

from numpy.typing import NDArray


class Clock:
    """Adds up milliseconds by stage."""

    def __init__(self, ms: dict[str, float] | None = None) -> None:
        self.ms = ms if ms is not None else {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        began = perf_counter()
        try:
            yield
        finally:
            self.ms[stage] = self.ms.get(stage, 0.0) + (perf_counter() - began) * 1e3

    def each(self, stage: str, items: Iterator[NDArray[Any]]) -> Iterator[NDArray[Any]]:
        """Passes items on; the time that each takes to come is the stage's."""
        while True:
            with self(stage):
                item = next(items, None)
            if item is None:
                return
            yield item
