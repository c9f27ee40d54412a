"""`fit vae`: the thesis's VAE branch after Oh et al. 2019.

First the face decoder: F makes a feature of a face, the decoder the face of the feature. F is VGG-Face, frozen, where
its weights are given; else a small network that learns with the decoder. Then the voice encoder: it gives the mean and
the variance of a latent for a voice, and one drawn from them shall be the feature of the clip's face. A VAE-GAN lets
the decoder go on learning, by a discriminator and Wen's identity loss on its pictures.
"""

from __future__ import annotations

import copy
import logging
import math
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from s2f_train import checkpoint
from s2f_train.config import SettingsError, VaeSettings
from s2f_train.data.faces import as_network_input, as_pixels, load_faces, sheet
from s2f_train.data.store import Sample, Store, StoreError
from s2f_train.data.vae_draws import VaeDrawer
from s2f_train.fit.loop import Task
from s2f_train.fit.losses import edge_loss, fake_loss, identity_loss, pixel_loss, real_loss, wide
from s2f_train.fit.optimisers import descend, make_optimiser
from s2f_train.fit.processes import dtype_of, synchronise_norms
from s2f_train.fit.run import newest_checkpoint
from s2f_train.models.face import Classifier, Discriminator, FaceEmbeddingNetwork
from s2f_train.models.speech2face import FaceDecoder, SpeechEncoder
from s2f_train.models.vgg_face import FEATURE, SIDE, VggFace, load_vgg_face
from s2f_train.models.voice import unit
from s2f_train.regression.speakers import SpeakerVoices

log = logging.getLogger(__name__)

SHEET_FACES = 12
TEMPERATURE = 2.0  # of the distillation, as in Oh et al.
SPREAD_DECAY = 0.99  # of the running mean of the posterior's spread


class VaeTask(Task):
    """What the loop runs: see `loop.Task`."""

    settings: VaeSettings
    drawer: VaeDrawer
    kind = "vae"
    name = "vae-general"

    def __init__(self, settings: VaeSettings, fabric: Fabric, for_plan: bool = False):
        self.settings = settings
        self.fabric = fabric
        self.store = store = Store.open(settings.store, settings.cache, int(settings.room_gb * 1e9))
        voices, faces, pictures, classes = paired(store, settings)
        side = settings.decoder_side * 2 ** len(settings.decoder_channels)
        self.faces = load_faces(store, faces, side).to(fabric.device)
        self.planned = settings.decoder_steps
        self.drawer = VaeDrawer(store, voices, pictures, classes, settings, fabric.global_rank, fabric.world_size)
        people = int(classes.max()) + 1
        self._build(side, people)
        self.facts: dict[str, Any] = {
            "store": store.made_of,
            "voices": len(voices),
            "faces": len(faces),
            "people": people,
            "views": list(settings.views),
            "face_features": "VGG-Face" if settings.face_weights else "a small face network, trained with the decoder",
            "noise": 0.05,  # until the encoder has learnt
            "licence": store.facts.get("licence", "not stated"),
            "outside_networks": checkpoint.outside_networks(face=settings.face_weights),
        }
        self._sheet = self._for_sheet()
        log.info("%s: %d voices, %d faces of %d people", self.name, len(voices), len(faces), people)

    def _build(self, side: int, people: int) -> None:
        s = self.settings
        self.dtype = dtype_of(s.precision)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(s.seed)
            encoder = SpeechEncoder(s.channels, s.hidden, s.embedding_size)
            decoder = FaceDecoder(
                s.embedding_size, s.decoder_hidden, s.decoder_base, s.decoder_side, s.decoder_channels
            )
            self.who: nn.Module | None = None
            if s.face_weights:
                face: nn.Module = load_vgg_face(s.face_weights)
                self._require(side == SIDE, f"VGG-Face sees faces of {SIDE} pixels")
                self._require(s.embedding_size == FEATURE, f"its feature has {FEATURE} numbers")
            else:
                self._require(side == 64, "the small face network sees faces of 64 pixels")
                face = FaceEmbeddingNetwork(s.face_channels, s.embedding_size)
                self.who = Classifier(people, s.embedding_size)
            critic = FaceEmbeddingNetwork(s.face_channels, 64) if s.has_critics else None
        place: dict[str, Any] = {"device": self.fabric.device, "dtype": self.dtype}
        if s.start:
            own = {"voice": encoder, "generator_general": decoder, "face": face}
            _begin_with(Path(s.start), own | ({"who": self.who} if self.who else {}))
        last: dict[str, Any] = {**place, "memory_format": torch.channels_last}
        self.encoder = synchronise_norms(self.fabric, encoder.to(**last))
        self.decoder, self.face = decoder.to(**last), face.to(**last)
        self.networks = {"voice": self.encoder, "generator_general": self.decoder, "face": self.face}
        self.decoded_by = list(self.decoder.parameters())
        learning = list(self.decoded_by)
        if self.who:
            self.who = self.networks["who"] = self.who.to(**place)
            learning += [*self.face.parameters(), *self.who.parameters()]
        self.first, self.heard_by = learning, list(self.encoder.parameters())
        self.optimisers: dict[str, Optimizer] = {
            "decoder": make_optimiser(s.optimiser, learning, s.rate, s.betas),
            "encoder": make_optimiser(s.optimiser, self.heard_by, s.rate, s.betas),
        }
        self.critic: nn.Module | None = None
        if critic:
            self.critic = synchronise_norms(self.fabric, critic.to(**last))
            self.real, self.identity = Discriminator(64).to(**place), Classifier(people, 64).to(**place)
            self.networks |= {"critic": self.critic, "discriminator": self.real, "classifier": self.identity}
            self.judged_by = [p for n in (self.critic, self.real, self.identity) for p in n.parameters()]
            self.optimisers["critics"] = make_optimiser(s.optimiser, self.judged_by, s.rate, s.betas)

    def _require(self, true: bool, what: str) -> None:
        if not true:
            raise SettingsError(
                f"The decoder does not fit: {what}. Set decoder_side, decoder_channels, embedding_size."
            )

    # ------------------------------------------------------------------------------- a step

    def step(self, batch: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        pictures = self._pictures(batch)
        if step < self.settings.decoder_steps:
            return self._decoder_learns(pictures, batch["classes"])
        return self._encoder_learns(pictures, batch, step - self.settings.decoder_steps)

    def _pictures(self, batch: dict[str, Tensor]) -> Tensor:
        pictures = as_network_input(self.faces[batch["pictures"]]).to(self.dtype)
        pictures = torch.where(batch["mirrored"][:, None, None, None], pictures.flip(3), pictures)
        return pictures.contiguous(memory_format=torch.channels_last)

    def _decoder_learns(self, pictures: Tensor, classes: Tensor) -> dict[str, Tensor]:
        s = self.settings
        self.decoder.train()
        if self.who:
            self.face.train()
        figures: dict[str, Tensor] = {}
        with self.fabric.autocast():
            feature = unit(wide(self.face(pictures)))
            made = self.decoder(feature.to(self.dtype))
            everyone = torch.ones(len(made), dtype=self.dtype, device=made.device)
            figures["decoder_pixel"] = pixel_loss(wide(made), pictures, everyone)
            loss = figures["decoder_pixel"]
            if s.edge_weight:
                figures["decoder_edge"] = edge_loss(wide(made), pictures, everyone)
                loss = loss + s.edge_weight * figures["decoder_edge"]
            if self.who:
                figures["people"] = identity_loss(wide(self._people(feature)), classes)
                loss = loss + s.people_weight * figures["people"]
        descend(self.fabric, self.optimisers["decoder"], loss, self.first, s.clip_gradient)
        return figures

    def _encoder_learns(self, pictures: Tensor, batch: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        s = self.settings
        self.face.eval()
        encoder = cast(SpeechEncoder, self.encoder).train()
        figures: dict[str, Tensor] = {}
        with self.fabric.autocast():
            with torch.no_grad():
                wanted = unit(wide(self.face(pictures)))
            mean, log_variance = map(wide, encoder.posterior(batch["voices"].to(self.dtype)))
            spread = (0.5 * log_variance).exp()
            latent = unit(mean + spread * batch["noise"])
            loss = s.kl_weight * min(1.0, (step + 1) / s.kl_steps) * kl(mean, log_variance, figures)
            with torch.no_grad():
                ours = self.decoder.activations(wanted.to(self.dtype))
            figures["activation"] = (wide(self.decoder.activations(latent.to(self.dtype))) - wide(ours)).abs().mean()
            figures["feature"] = (latent - wanted).square().sum(1).mean()
            figures["distillation"] = distillation(self._people(latent), self._people(wanted).detach())
            loss = loss + s.activation_weight * figures["activation"] + s.feature_weight * figures["feature"]
            loss = loss + s.distillation_weight * figures["distillation"]
            if s.pixel_weight or s.has_critics:
                made = self.decoder(latent.to(self.dtype))
                everyone = torch.ones(len(made), dtype=self.dtype, device=made.device)
                figures["pixel"] = pixel_loss(wide(made), pictures, everyone)
                loss = loss + s.pixel_weight * figures["pixel"]
        learning = list(self.heard_by)
        if self.critic:
            self._critics_learn(pictures, made.detach(), batch["classes"], figures)
            with self.fabric.autocast():
                judged = self.critic(made)
                figures["g_real"] = real_loss(wide(self.real(judged)))
                figures["g_identity"] = identity_loss(wide(self.identity(judged)), batch["classes"])
                loss = loss + s.adversarial_weight * figures["g_real"] + s.identity_weight * figures["g_identity"]
            self.optimisers["decoder"].zero_grad(set_to_none=True)
            learning += self.decoded_by
        descend(self.fabric, self.optimisers["encoder"], loss, learning, s.clip_gradient)
        if self.critic:
            self.optimisers["decoder"].step()
        self.decoder.zero_grad(set_to_none=True)
        with torch.no_grad():
            size = spread.square().mean().sqrt() / mean.norm(dim=1).mean().clamp_min(1e-6)
            encoder.spread.lerp_(size.to(encoder.spread.dtype), 1.0 - SPREAD_DECAY if step else 1.0)
        self.facts["noise"] = round(min(float(encoder.spread), 10.0), 6)
        figures["spread"] = size
        return figures

    def _critics_learn(self, pictures: Tensor, made: Tensor, classes: Tensor, figures: dict[str, Tensor]) -> None:
        assert self.critic
        with self.fabric.autocast():
            seen, judged = self.critic(pictures), self.critic(made)
            figures["d_real"], figures["d_fake"] = real_loss(wide(self.real(seen))), fake_loss(wide(self.real(judged)))
            figures["c_real"] = identity_loss(wide(self.identity(seen)), classes)
            loss = figures["d_real"] + figures["d_fake"] + figures["c_real"]
        descend(self.fabric, self.optimisers["critics"], loss, self.judged_by, self.settings.clip_gradient)

    def finish(self) -> None:
        """What the encoder's embeddings say of the gender, from all voices of the split, with or without pictures."""
        encoder = copy.deepcopy(self.encoder).to("cpu", torch.float32).eval()
        traits = SpeakerVoices.of(self.store, self.settings, encoder, self.fabric).traits()
        if traits:
            self.networks["traits"], self.facts["traits"] = traits

    def _people(self, feature: Tensor) -> Tensor:
        """Logits over people, of a feature."""
        if isinstance(self.face, VggFace):
            return wide(self.face.people(feature.to(self.dtype)))
        assert self.who
        return wide(self.who(feature.to(self.dtype) * math.sqrt(feature.shape[1])))

    # ------------------------------------------------------------------------------- sheets

    def _for_sheet(self) -> tuple[Tensor, Tensor]:
        """A crop of each of some voices, and their pictures."""
        drawer, rng = self.drawer, np.random.default_rng(self.settings.seed)
        chosen = rng.permutation(len(drawer.voices))[:SHEET_FACES]
        spectrograms = np.stack([drawer.spectrogram(drawer.voices[i], self.settings.max_frames, 0.0) for i in chosen])
        pictures = self.faces[torch.from_numpy(np.array([drawer.pictures[i][0] for i in chosen]))]
        return torch.from_numpy(spectrograms).to(self.fabric.device), pictures

    def sheet(self) -> NDArray[Any]:
        """From above: the pictures of some clips, what the decoder makes of their features, of the voices' means, and
        of two latents that are drawn for each voice."""
        voices, pictures = self._sheet
        for network in (self.encoder, self.decoder, self.face):
            network.eval()
        with torch.inference_mode():
            wanted = unit(self.face(as_network_input(pictures).to(self.dtype)))
            mean, log_variance = cast(SpeechEncoder, self.encoder).posterior(voices.to(self.dtype))
            generator = torch.Generator().manual_seed(self.settings.seed)
            rows = [pictures.cpu().numpy(), as_pixels(self.decoder(wanted)), as_pixels(self.decoder(unit(mean)))]
            for _ in range(2):
                noise = torch.randn(mean.shape, generator=generator).to(mean)
                rows.append(as_pixels(self.decoder(unit(mean + (0.5 * log_variance).exp() * noise))))
        return sheet(rows)


def _begin_with(start: Path, own: dict[str, nn.Module]) -> None:
    """Takes the weights of another run into networks of the same shapes."""
    folder = newest_checkpoint(start)
    networks, _ = checkpoint.load(folder)
    for name, network in own.items():
        given = networks.get(name)
        if given is None or given.settings != network.settings:
            has = "has none" if given is None else f"has {given.settings}"
            raise SettingsError(f"start: {name} shall be {network.settings}, but {folder} {has}.")
        network.load_state_dict(given.state_dict())


def kl(mean: Tensor, log_variance: Tensor, figures: dict[str, Tensor]) -> Tensor:
    """Divergence of N(mean, variance) from N(0, 1), summed over the latent, mean over the batch."""
    figures["kl"] = 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).sum(1).mean()
    return figures["kl"]


def distillation(ours: Tensor, wanted: Tensor) -> Tensor:
    """Oh et al.'s: cross entropy of two distributions over people, both softened by the temperature."""
    p = functional.softmax(wanted / TEMPERATURE, dim=1)
    return -(p * functional.log_softmax(ours / TEMPERATURE, dim=1)).sum(1).mean()


def paired(
    store: Store, settings: VaeSettings
) -> tuple[list[Sample], list[Sample], list[NDArray[np.int64]], NDArray[np.int64]]:
    """Voices of the training split that have pictures of the same clip, or else of the same person.

    Returns:
        The voices; the faces; of each voice the indices of its faces; of each voice the number of its person.

    Raises:
        StoreError: there are none.
    """
    faces = [f for f in store.of_split("train", "faces", settings.sources) if f.view in settings.views]
    of_clip: dict[str, list[int]] = {}
    of_person: dict[str, list[int]] = {}
    for index, face in enumerate(faces):
        of_person.setdefault(face.identity, []).append(index)
        if face.clip:
            of_clip.setdefault(face.clip, []).append(index)
    voices, pictures = [], []
    for voice in store.of_split("train", "voices", settings.sources):
        found = of_clip.get(voice.clip) or of_person.get(voice.identity)
        if found:
            voices.append(voice)
            pictures.append(np.array(found, np.int64))
    if not voices:
        views = sorted({face.view for face in store.faces})
        raise StoreError(
            f"{settings.store}: no voice of the training split has a picture of the views {', '.join(settings.views)}; "
            f"its pictures are {', '.join(views) or 'none'} (setting: views)."
        )
    numbers = {name: number for number, name in enumerate(sorted({voice.identity for voice in voices}))}
    return voices, faces, pictures, np.array([numbers[voice.identity] for voice in voices], np.int64)
