"""What the voice embeddings of the training speakers tell before a generator learns from them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from s2f_train.config import RunSettings
from s2f_train.data.embeddings import embed_once
from s2f_train.data.store import Sample, Store, StoreError
from s2f_train.models.projected import ProjectedEncoder
from s2f_train.models.traits import WEIGHT_DECAY, VoiceTraits, mean_embedding
from s2f_train.models.voice import unit

COPIES = 3  # of each voice as if recorded elsewhere, from which the gender is learnt too
CLIPS_A_SPEAKER = 3  # for gender and typicality: a speaker with many clips is no more typical
TRAIT_DIRECTIONS = 64


@dataclass(frozen=True)
class SpeakerVoices:
    """Embeddings of up to three clips of each training speaker of all genders; `of` makes them."""

    store: Store
    encoder: nn.Module
    cache: Path | None  # None: for a plan, which needs the shapes alone
    fabric: Fabric
    samples: list[Sample]  # the clips
    embeddings: Tensor  # (clips, embedding), of unit length
    male: Tensor  # (clips,): 1, 0, or NaN where it is not known

    @classmethod
    def of(
        cls, store: Store, settings: RunSettings, encoder: nn.Module, fabric: Fabric, for_plan: bool = False
    ) -> SpeakerVoices:
        samples = few_of_each(store.of_split("train", sources=settings.sources), CLIPS_A_SPEAKER)
        # In the order of the names, so that clips of one speaker stand together.
        samples.sort(key=lambda voice: voice.identity)
        if not samples:
            known = ", ".join(sorted({voice.source for voice in store.voices})) or "none"
            raise StoreError(f"{store.folder} has no voices to train with; its sources are {known} (setting: sources).")
        cache = None if for_plan else settings.cache
        male = [{"m": 1.0, "f": 0.0, "": float("nan")}[store.identities[voice.identity].gender] for voice in samples]
        embeddings = torch.stack([mean_embedding(w) for w in _embedded(store, samples, encoder, cache, fabric)])
        return cls(store, encoder, cache, fabric, samples, embeddings, torch.tensor(male))

    def windows_of(self, samples: list[Sample]) -> list[Tensor]:
        """Embeddings of the windows of voices, each (windows, embedding)."""
        return _embedded(self.store, samples, self.encoder, self.cache, self.fabric)

    def projected_encoder(self, directions: int) -> ProjectedEncoder:
        """The encoder with its embeddings brought to the directions in which these speakers differ.

        Raises:
            StoreError: there are no more voices than directions.
        """
        if len(self.embeddings) <= directions:
            raise StoreError(
                f"{len(self.embeddings)} voices are too few for {directions} directions: lower the setting directions."
            )
        return ProjectedEncoder.fit(self.encoder, self.embeddings, directions)

    def elsewhere(self) -> Tensor | None:
        """The clips of known gender as if recorded elsewhere, (copies, clips, embedding); None for stored features."""
        known = [sample for sample, male in zip(self.samples, self.male.tolist(), strict=True) if male == male]
        if self.encoder.features == "logmel-64" or not known:
            return None
        copies = (
            _embedded(self.store, known, self.encoder, self.cache, self.fabric, copy) for copy in range(1, COPIES + 1)
        )
        return torch.stack([torch.stack([mean_embedding(w) for w in windows]) for windows in copies])

    def traits(
        self, weight_decay: float = WEIGHT_DECAY, copies: Tensor | None = None
    ) -> tuple[VoiceTraits, dict[str, Any]] | None:
        """Gender and typicality, fitted, with how well; None where a gender is missing.

        Args:
            weight_decay: of the gender.
            copies: what `elsewhere` gives: the gender is learnt from these too, women and men alike in each source.
        """
        known = ~self.male.isnan()
        if min((self.male == 1).sum(), (self.male == 0).sum()) < 2:
            return None
        directions = min(TRAIT_DIRECTIONS, len(self.embeddings) // 4, self.embeddings.shape[1])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            traits = VoiceTraits(self.embeddings.shape[1], directions)
            sources = [sample.source for sample in self.samples] if copies is not None else ()
            traits.fit(self.embeddings, self.male, weight_decay, sources=sources, copies=copies)
            surprise = unseen_surprise(self.embeddings, directions)
        with torch.no_grad():
            male, _ = traits(self.embeddings)
        right = ((male[known] > 0.5) == (self.male[known] > 0.5)).float().mean()
        quantiles = torch.quantile(surprise, torch.tensor([0.5, 0.95, 0.99])).tolist()
        names = ("surprise_p50", "surprise_p95", "surprise_p99")
        return traits.eval(), {"right": float(right), **dict(zip(names, quantiles, strict=True))}


def few_of_each(voices: list[Sample], most: int) -> list[Sample]:
    """At most so many voices of each speaker: the first ones, speaker by speaker."""
    taken: dict[str, list[Sample]] = {}
    for voice in voices:
        mine = taken.setdefault(voice.identity, [])
        if len(mine) < most:
            mine.append(voice)
    return [voice for mine in taken.values() for voice in mine]


def _embedded(
    store: Store, samples: list[Sample], encoder: nn.Module, cache: Path | None, fabric: Fabric, copy: int = 0
) -> list[Tensor]:
    """Embeddings of the windows of voices; of a plan, made-up ones."""
    if cache is None:
        size = int(encoder.settings["embedding_size"])  # type: ignore[index]
        return list(unit(torch.randn(len(samples), size))[:, None])
    return embed_once(store, samples, encoder, cache, fabric, copy)


def unseen_surprise(embeddings: Tensor, directions: int, folds: int = 5) -> Tensor:
    """The surprise of each embedding to traits fitted without its neighbours: what a new speaker gets."""
    found = torch.zeros(len(embeddings))
    # Rows of one speaker stand together, so folds are stretches and not every fifth row.
    fold = torch.arange(len(embeddings)) * folds // len(embeddings)
    for i in range(folds):
        traits = VoiceTraits(embeddings.shape[1], directions)
        traits.fit(embeddings[fold != i], torch.full((int((fold != i).sum()),), float("nan")))
        with torch.no_grad():
            found[fold == i] = traits(embeddings[fold == i])[1]
    return found
