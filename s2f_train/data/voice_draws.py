"""Draws the batches of the voice network: crops of voices, and their speakers."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2f_edge.hearing.features import HOP, Float32s, logmel, normalise_logmel
from s2f_train.config import VoiceSettings
from s2f_train.data.augment import any_augmentation, augment
from s2f_train.data.crops import crops, sound_crop
from s2f_train.data.feed import Batch
from s2f_train.data.store import BINS, Sample, Store
from s2f_train.data.window import ShardWindow


@dataclass(frozen=True)
class VoiceDrawer:
    """Batches by step; every process draws the same numbers and takes its share.

    Attributes:
        voices: of the store.
        classes: (voices,), the number of the speaker.
    """

    store: Store
    voices: list[Sample]
    classes: NDArray[np.int64]
    settings: VoiceSettings
    rank: int = 0
    world: int = 1

    @functools.cached_property
    def window(self) -> ShardWindow:
        return ShardWindow(self.voices, self.settings.window, self.settings.batch, self.settings.seed)

    def draw(self, step: int) -> Batch:
        """The batch of a step.

        Returns:
            voices (b, 64, frames), float16 or, augmented, float32; classes (b,).
        """
        s = self.settings
        rng = np.random.default_rng([s.seed, 0, step])
        voices_now, next_shard = self.window.at(step)
        if next_shard:
            self.store.soon(next_shard)
        chosen = voices_now[rng.integers(len(voices_now), size=s.batch)]
        frames = int(rng.integers(s.min_frames, s.max_frames + 1))
        starts = rng.random(s.batch)
        share = s.batch // self.world
        mine = range(self.rank * share, (self.rank + 1) * share)
        taken = chosen[mine.start : mine.stop]
        heard = [self.voices[i] for i in taken]
        voices: NDArray[np.floating[Any]]
        if any_augmentation(s):
            voices = np.empty((share, BINS, frames), np.float32)
            for row, sample, i in zip(voices, heard, mine, strict=True):
                row[:] = self._augmented(np.random.default_rng([s.seed, 1, step, i]), sample, frames, starts[i])
        else:
            voices = crops(self.store, heard, frames, starts[mine.start : mine.stop])
        return {"voices": voices, "classes": self.classes[taken]}

    def _augmented(self, rng: np.random.Generator, sample: Sample, frames: int, start: float) -> Float32s:
        """A crop of the sound, changed; its features are normalised as those of a clip of that length would be."""
        sound = sound_crop(self.store, sample, (frames - 1) * HOP, start)
        features: Float32s = normalise_logmel(logmel(augment(rng, sound, self.settings)))
        return features[:frames].T
