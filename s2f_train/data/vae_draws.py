"""Draws the batches of the VAE branch: pictures, and the spectrograms of the voices that they belong to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from s2f_edge.hearing.features import HOP, WINDOW
from s2f_edge.hearing.stft import compressed
from s2f_train.config import VaeSettings
from s2f_train.data.crops import sound_crop
from s2f_train.data.feed import Batch
from s2f_train.data.store import Sample, Store


@dataclass(frozen=True)
class VaeDrawer:
    """Batches by step; every process draws the same numbers and takes its share.

    Attributes:
        voices: of the store, each with a picture.
        pictures: of each voice the faces of its clip, indices.
        classes: of each voice the number of its person.
    """

    store: Store
    voices: list[Sample]
    pictures: list[NDArray[np.int64]]
    classes: NDArray[np.int64]
    settings: VaeSettings
    rank: int = 0
    world: int = 1

    def draw(self, step: int) -> Batch:
        """The batch of a step.

        Returns:
            pictures (b,), indices of faces; classes (b,); mirrored (b,); when the encoder learns, also
            voices, float16 (b, 2, 257, frames), and noise, float32 (b, embedding).
        """
        s = self.settings
        rng = np.random.default_rng([s.seed, 0, step])
        chosen = rng.integers(len(self.voices), size=s.batch)
        frames = int(rng.integers(s.min_frames, s.max_frames + 1))
        starts, which = rng.random((2, s.batch))
        mirrored = rng.random(s.batch) < 0.5
        noise = rng.standard_normal((s.batch, s.embedding_size), np.float32)
        share = s.batch // self.world
        mine = slice(self.rank * share, (self.rank + 1) * share)
        taken = chosen[mine]
        batch: Batch = {
            "pictures": np.array(
                [self.pictures[i][int(w * len(self.pictures[i]))] for i, w in zip(taken, which[mine], strict=True)]
            ),
            "classes": self.classes[taken],
            "mirrored": mirrored[mine],
        }
        if step >= s.decoder_steps:
            rows = zip(taken, starts[mine], strict=True)
            batch["voices"] = np.stack([self.spectrogram(self.voices[i], frames, start) for i, start in rows])
            batch["noise"] = noise[mine]
        return batch

    def spectrogram(self, sample: Sample, frames: int, start: float) -> NDArray[np.float16]:
        """The spectrogram of a crop of the sound; a shorter sound is repeated (docs/spec.md, section 2)."""
        sound = sound_crop(self.store, sample, (frames - 1) * HOP + WINDOW, start)
        return compressed(sound).astype(np.float16)
