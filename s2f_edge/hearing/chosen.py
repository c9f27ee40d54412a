"""Which windows of a recording the voice network hears: all of a short one, and of a long one some, evenly spread.

A voice is known after some minutes of speech. Windows come in their order; memory does not grow with their number. The
choice is for windows that are clear enough, not for the best: those would be of another kind than the recording.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from s2f_edge.hearing.features import Float32s


@dataclass(eq=False)
class Window:
    """A window that is kept.

    Attributes:
        quality: of its speech; the greater, the clearer, and the same for all that are clear enough.
        inputs: of the voice network, float32; None once there is an embedding.
        embedding: by the voice network, where it has heard the window already.
    """

    quality: float
    inputs: Float32s | None
    embedding: NDArray[np.float64] | None = None


class ChosenWindows:
    """Keeps windows, at most `most` of which are chosen.

    A long recording is a row of stretches of one length, and of each the first window that is clear is kept, or the
    clearest. Whenever there are twice as many stretches as windows to choose, each two become one. At the end,
    neighbours are joined so evenly that as many are left as windows may be chosen.

    Args:
        most: None chooses all.
        batch: windows that the network gets at a time.
        clear: as `FrontEnd.CLEAR`.

    Attributes:
        count: windows that have come.
    """

    def __init__(self, most: int | None, batch: int, clear: float = 0.0) -> None:
        self.most = most
        self.count = 0
        self._batch, self._clear = batch, clear
        self._kept: list[Window] = []
        self._stretch = 1  # windows in each

    @property
    def all(self) -> bool:
        """Whether one window more would still be chosen with all others."""
        return self.most is None or self.count < self.most

    def push(self, inputs: Float32s) -> None:
        """Takes the next windows: float32, (n, ...)."""
        for window in inputs:
            # A voice comes and goes in every band; noise fills what is between.
            quality = min(float(np.square(window).mean()), self._clear)
            if self.count % self._stretch == 0:
                if self.most is not None and len(self._kept) == 2 * self.most:
                    self._kept = [_best(self._kept[i : i + 2]) for i in range(0, len(self._kept), 2)]
                    self._stretch *= 2
                self._kept.append(Window(quality, window.copy()))
            elif quality > self._kept[-1].quality:
                self._kept[-1] = Window(quality, window.copy())
            self.count += 1

    def take(self, given: Iterator[tuple[Float32s, Float32s]]) -> None:
        """Takes the next windows, as `FrontEnd.committed` gives them."""
        for inputs, _ in given:
            self.push(inputs)

    def copy(self) -> ChosenWindows:
        """Another choice among the same windows, which goes on by itself; an embedding is that of both."""
        other = copy.copy(self)
        other._kept = self._kept.copy()
        return other

    def chosen(self) -> list[Window]:
        """The windows to hear, in their order."""
        if self.most is None or self.count <= self.most:
            return self._kept
        edges = -(-np.arange(self.most + 1) * len(self._kept) // self.most)
        return [_best(self._kept[start:end]) for start, end in pairwise(edges)]

    def inputs(self, rest: Iterator[tuple[Float32s, Float32s]]) -> Iterator[tuple[Float32s, Float32s]]:
        """What the voice network hears, as `FrontEnd.inputs` gives it.

        Args:
            rest: windows after those that were pushed; left out where not all windows are heard.
        """
        if not self.count:
            yield from rest
            return
        windows = [window.inputs for window in self.chosen() if window.inputs is not None]
        if self.all:
            windows += [window for inputs, _ in rest for window in inputs]
        for i in range(0, len(windows), self._batch):
            batch = np.stack(windows[i : i + self._batch])
            yield batch, np.ones(len(batch), np.float32)


def _best(windows: list[Window]) -> Window:
    return max(windows, key=lambda window: window.quality)
