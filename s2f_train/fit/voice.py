"""`fit voice`: the voice embedding network E, by the cross entropy over speakers (docs/spec.md, section 3)."""

from __future__ import annotations

import logging
from typing import Any, cast

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from s2f_train.config import VoiceSettings
from s2f_train.data.augment import any_augmentation
from s2f_train.data.embeddings import windows_of
from s2f_train.data.store import Store, StoreError
from s2f_train.data.voice_draws import VoiceDrawer
from s2f_train.evaluate.error_rate import equal_error_rate
from s2f_train.fit.loop import Task
from s2f_train.fit.losses import identity_loss, wide
from s2f_train.fit.optimisers import descend, make_optimiser
from s2f_train.fit.processes import dtype_of, synchronise_norms
from s2f_train.models.face import Classifier
from s2f_train.models.voice import VoiceEmbeddingNetwork
from s2f_train.regression.speakers import few_of_each

log = logging.getLogger(__name__)

CHECKED_A_SPEAKER = 4
CHECKED_VOICES = 400  # of the validation split, for the equal error rate


class VoiceTask(Task):
    """What the loop runs: see `loop.Task`."""

    settings: VoiceSettings
    kind = "voice"
    name = "voice"

    def __init__(self, settings: VoiceSettings, fabric: Fabric, for_plan: bool = False):
        self.settings = settings
        self.fabric = fabric
        self.workers = settings.workers
        self.store = Store.open(settings.store, settings.cache, int(settings.room_gb * 1e9))
        voices = self.store.of_split("train", sources=settings.sources)
        speakers = sorted({voice.identity for voice in voices})
        if len(speakers) < 2:
            raise StoreError(f"{settings.store} has {len(speakers)} speakers in its training split; two are needed.")
        self.store.require(
            voices,
            "flac" if any_augmentation(settings) else "logmel.npy",
            "Augmentation needs sound, a fit without it log-mels: set the shares or sources accordingly, or prepare "
            "with another --keep.",
        )
        numbers = {name: number for number, name in enumerate(speakers)}
        self.drawer = VoiceDrawer(
            self.store,
            voices,
            np.array([numbers[voice.identity] for voice in voices], np.int64),
            settings,
            fabric.global_rank,
            fabric.world_size,
        )
        self.facts: dict[str, Any] = {
            "store": self.store.made_of,
            "voices": len(voices),
            "speakers": len(speakers),
            "hours": round(sum(voice.seconds for voice in voices) / 3600, 2),
        }
        unheard = self.store.of_split("valid", sources=settings.sources)
        checked = few_of_each([voice for voice in unheard if "logmel.npy" in voice.members], CHECKED_A_SPEAKER)
        self.checked = checked[:CHECKED_VOICES]
        self._build(len(speakers))
        log.info("voice: %(voices)d voices of %(speakers)d speakers, %(hours).2f h", self.facts)

    def _build(self, speakers: int) -> None:
        s = self.settings
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(s.seed)
            voice: nn.Module = VoiceEmbeddingNetwork(s.channels, s.embedding_size)
            self.head = Classifier(speakers, s.embedding_size)
        self.dtype = dtype_of(s.precision)
        place: dict[str, Any] = {"device": self.fabric.device, "dtype": self.dtype}
        self.voice = synchronise_norms(self.fabric, voice.to(**place))
        self.networks = {"voice": self.voice, "speaker_head": self.head.to(**place)}
        self.parameters = [p for network in self.networks.values() for p in network.parameters()]
        self.optimisers = {"voice": make_optimiser(s.optimiser, self.parameters, s.rate)}
        if s.compile:
            cast(nn.Module, self.voice.model).compile()  # it is what `step` calls

    def step(self, batch: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        self.voice.train()
        with self.fabric.autocast():
            pooled = wide(self.voice.model(batch["voices"].to(self.dtype)).mean(dim=2))  # type: ignore[operator]
            logits = wide(self.head(pooled))
            loss = identity_loss(logits, batch["classes"])
        descend(self.fabric, self.optimisers["voice"], loss, self.parameters, self.settings.clip_gradient)
        return {"speaker": loss, "speaker_right": (logits.argmax(dim=1) == batch["classes"]).float().mean()}

    def check(self) -> dict[str, float]:
        """The equal error rate on voices of the validation split, whose speakers E has not heard."""
        if len({voice.identity for voice in self.checked}) < 2:
            return {}
        network = VoiceEmbeddingNetwork(self.settings.channels, self.settings.embedding_size)
        network.load_state_dict({name: tensor.cpu() for name, tensor in self.voice.state_dict().items()})
        network.eval()
        embeddings = np.concatenate([windows_of(self.store, voice, network)[:1] for voice in self.checked])
        names = np.array([voice.identity for voice in self.checked])
        sources = np.array([voice.source for voice in self.checked])
        rows, columns = np.triu_indices(len(names), 1)
        # Two data sets are told apart by their microphones: only pairs within one say something of voices.
        within = sources[rows] == sources[columns]
        rows, columns = rows[within], columns[within]
        scores = (embeddings @ embeddings.T)[rows, columns]
        rate = equal_error_rate(scores, names[rows] == names[columns])
        return {} if np.isnan(rate) else {"valid_equal_error_rate": rate}
