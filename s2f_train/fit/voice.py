"""`fit voice`: the voice embedding network E.

Cross entropy over the speakers (docs/spec.md, section 3), and two more by settings: imitation of a public
speaker encoder, and regression to features of the face that is paired with a voice.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from s2f_edge.hearing.features import Float32s
from s2f_train.checkpoint import outside_networks
from s2f_train.config import VoiceSettings
from s2f_train.data.augment import any_augmentation
from s2f_train.data.embeddings import embed_once, windows_of
from s2f_train.data.faces import load_faces
from s2f_train.data.store import Sample, Store, StoreError
from s2f_train.data.voice_draws import VoiceDrawer
from s2f_train.evaluate.error_rate import equal_error_rate
from s2f_train.fit.loop import Task
from s2f_train.fit.losses import identity_loss, wide
from s2f_train.fit.optimisers import descend, make_optimiser
from s2f_train.fit.processes import dtype_of, synchronise_norms
from s2f_train.models.face import Classifier
from s2f_train.models.traits import mean_embedding
from s2f_train.models.voice import Head, VoiceEmbeddingNetwork, load_ge2e, unit
from s2f_train.regression.ridge import some
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
        teacher = _teacher(self.store, voices, settings, fabric, for_plan)
        pictures, paired = face_features(self.store, voices, settings)
        self.drawer = VoiceDrawer(
            self.store,
            voices,
            np.array([numbers[voice.identity] for voice in voices], np.int64),
            teacher,
            pictures,
            settings,
            fabric.global_rank,
            fabric.world_size,
        )
        self.facts: dict[str, Any] = {
            "store": self.store.made_of,
            "voices": len(voices),
            "speakers": len(speakers),
            "hours": round(sum(voice.seconds for voice in voices) / 3600, 2),
            "pairs": paired,
            "outside_networks": outside_networks(teacher=settings.teacher),
        }
        unheard = self.store.of_split("valid", sources=settings.sources)
        checked = few_of_each([voice for voice in unheard if "logmel.npy" in voice.members], CHECKED_A_SPEAKER)
        self.checked = checked[:CHECKED_VOICES]
        self._build(len(speakers), teacher.shape[1], pictures.shape[1])
        log.info("voice: %(voices)d voices of %(speakers)d speakers, %(hours).2f h", self.facts)

    def _build(self, speakers: int, teacher: int, components: int) -> None:
        s = self.settings
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(s.seed)
            voice: nn.Module = VoiceEmbeddingNetwork(s.channels, s.embedding_size)
            heads: dict[str, nn.Module] = {"speaker_head": Classifier(speakers, s.embedding_size)}
            if s.teacher_weight:
                heads["teacher_head"] = Head(s.embedding_size, teacher)
            if s.picture_weight:
                heads["picture_head"] = Head(s.embedding_size, components)
        if not s.speaker_weight:
            del heads["speaker_head"]
        self.dtype = dtype_of(s.precision)
        place: dict[str, Any] = {"device": self.fabric.device, "dtype": self.dtype}
        self.voice = synchronise_norms(self.fabric, voice.to(**place))
        self.networks = {"voice": self.voice, **{name: head.to(**place) for name, head in heads.items()}}
        self.parameters = [p for network in self.networks.values() for p in network.parameters()]
        self.optimisers = {"voice": make_optimiser(s.optimiser, self.parameters, s.rate)}
        if s.compile:
            cast(nn.Module, self.voice.model).compile()  # it is what `step` calls

    def step(self, batch: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        s = self.settings
        figures: dict[str, Tensor] = {}
        self.voice.train()
        total: Tensor | float = 0.0
        with self.fabric.autocast():
            pooled = wide(self.voice.model(batch["voices"].to(self.dtype)).mean(dim=2))  # type: ignore[operator]
            if s.speaker_weight:
                logits = wide(self.networks["speaker_head"](pooled))
                figures["speaker"] = identity_loss(logits, batch["classes"])
                figures["speaker_right"] = (logits.argmax(dim=1) == batch["classes"]).float().mean()
                total = total + s.speaker_weight * figures["speaker"]
            if s.teacher_weight:
                told = unit(wide(self.networks["teacher_head"](unit(pooled))))
                figures["teacher"] = (1 - (told * batch["teacher"].to(told.dtype)).sum(dim=1)).mean()
                total = total + s.teacher_weight * figures["teacher"]
            if s.picture_weight:
                seen = wide(self.networks["picture_head"](unit(pooled)))
                known = ~batch["pictures"].isnan().any(dim=1)
                error = (seen - batch["pictures"].nan_to_num(0.0).to(seen.dtype)).square().mean(dim=1)
                figures["picture"] = (error * known).mean()
                total = total + s.picture_weight * figures["picture"]
        assert isinstance(total, Tensor)  # the settings have a weight
        descend(self.fabric, self.optimisers["voice"], total, self.parameters, s.clip_gradient)
        return figures

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


def _teacher(store: Store, voices: list[Sample], settings: VoiceSettings, fabric: Fabric, for_plan: bool) -> Float32s:
    """The public encoder's embedding of every voice, (voices, 256); (voices, 0) without a teacher."""
    if not settings.teacher:
        return np.zeros((len(voices), 0), np.float32)
    encoder = load_ge2e(Path(settings.teacher))
    if for_plan:
        return np.ones((len(voices), encoder.settings["embedding_size"]), np.float32)
    windows = embed_once(store, voices, encoder, settings.cache, fabric)
    return torch.stack([mean_embedding(w) for w in windows]).numpy()


def face_features(store: Store, voices: list[Sample], settings: VoiceSettings) -> tuple[Float32s, int]:
    """Principal components of each voice's paired picture, in units of the first one's standard deviation.

    Returns:
        (voices, components), NaN where no picture is paired; (voices, 0) if the setting is off. And the pairs.

    Raises:
        StoreError: no voice has a picture of that view.
    """
    if not settings.picture_weight:
        return np.zeros((len(voices), 0), np.float32), 0
    faces = {face.clip: face for face in store.of_split("train", "faces") if face.view == settings.picture_view}
    rows = [i for i, voice in enumerate(voices) if voice.clip and voice.clip in faces]
    if len(rows) < 2:
        raise StoreError(f"{settings.store} has no voices with a {settings.picture_view!r} picture of the same clip.")
    pixels = load_faces(store, [faces[voices[i].clip] for i in rows]).flatten(1)
    learnt = pixels[some(len(rows), settings.seed)].float() / 255
    mean = learnt.mean(dim=0)
    _, values, directions = torch.linalg.svd(learnt - mean, full_matrices=False)
    kept = min(settings.components, len(learnt) - 1)
    # The first component's scale for all: the small ones matter less to a picture.
    projection = directions[:kept].T / (values[0] / len(learnt) ** 0.5)
    features = np.full((len(voices), kept), np.nan, np.float32)
    features[rows] = torch.cat([(part.float() / 255 - mean) @ projection for part in torch.split(pixels, 4096)]).numpy()
    return features, len(rows)
