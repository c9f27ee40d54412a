"""Draws the batches of a GAN: voices, what is random about them, and faces."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from s2f_edge.hearing.features import Float32s
from s2f_train.config import GanSettings
from s2f_train.data.crops import crops
from s2f_train.data.feed import Batch
from s2f_train.data.pairs import Pairs
from s2f_train.data.store import Store
from s2f_train.data.window import ShardWindow


@dataclass(frozen=True)
class GanDrawer:
    """Batches by step; every process draws the same numbers and takes its share.

    Attributes:
        windows: embeddings of the windows of each voice, where they are known already; else
            crops of the log-mel are drawn for the voice network.
        embedding_size: length of the embedding, for its noise.
    """

    store: Store
    pairs: Pairs
    settings: GanSettings
    embedding_size: int
    windows: list[Float32s] | None
    rank: int = 0
    world: int = 1

    @functools.cached_property
    def window(self) -> ShardWindow:
        return ShardWindow(self.pairs.voices, self.settings.window, self.settings.batch, self.settings.seed)

    def draw(self, step: int) -> Batch:
        """The batch of a step.

        Returns:
            voices, float16 (b, 64, frames), or embeddings, (b, d); classes (b,); targets (b,), indices of
            faces or -1; noise (b, d); real (b,) and real_classes (b,); mirrored (b,).
        """
        s = self.settings
        rng = np.random.default_rng([s.seed, 0, step])
        voices, next_shard = self.window.at(step)
        if next_shard:
            self.store.soon(next_shard)
        chosen = voices[rng.integers(len(voices), size=s.batch)]
        share = s.batch // self.world
        mine = slice(self.rank * share, (self.rank + 1) * share)
        frames = int(rng.integers(s.min_frames, s.max_frames + 1))
        starts, lengths = rng.random((2, s.batch))
        noise = s.noise * rng.standard_normal((s.batch, self.embedding_size))
        real = self.pairs.real[rng.integers(len(self.pairs.real), size=s.batch)]
        mirrored = rng.random(s.batch) < 0.5

        batch: Batch = {
            "classes": self.pairs.classes[chosen[mine]],
            "targets": self.pairs.targets[chosen[mine]],
            "noise": noise[mine].astype(np.float32),
            "real": real[mine, 0],
            "real_classes": real[mine, 1],
            "mirrored": mirrored[mine],
        }
        if self.windows is None:
            batch["voices"] = crops(self.store, [self.pairs.voices[i] for i in chosen[mine]], frames, starts[mine])
        else:
            rows = zip(chosen[mine], starts[mine], lengths[mine], strict=True)
            batch["embeddings"] = np.stack([_stretch(self.windows[i], start, length) for i, start, length in rows])
        return batch


def _stretch(windows: Float32s, start: float, length: float) -> Float32s:
    """The mean embedding of a stretch of the windows, of unit length."""
    count = 1 + int(length * len(windows))
    begin = int(start * (len(windows) - count + 1))
    mean = windows[begin : begin + count].mean(axis=0)
    unit: Float32s = mean / max(float(np.linalg.norm(mean)), 1e-12)
    return unit
