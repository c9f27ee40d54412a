"""`fit appearance`: from the embedding of a frozen voice network to the appearance of a face, for all three generators.

A kernel ridge regression says, of any voice, which sketch and which shape go with it. It is learnt from pictures that
go with voices, gender apart. Given a face recogniser, the faces are moved until it sees in them what it sees in
photographs of the speakers, as far as voices tell that and portraits are like that. A step teaches small networks a
batch of it. What a voice does not say follows the model of photographs that a run of `fit renderer` brings
(`models.sketch`).
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn

from s2f_edge.terms import GENERATORS
from s2f_train import checkpoint
from s2f_train.config import AppearanceSettings, SettingsError
from s2f_train.data.appearance_draws import AppearanceDrawer
from s2f_train.data.faces import as_pixels, load_faces
from s2f_train.data.frame import VIEW
from s2f_train.data.portrait_attributes import attributes_of
from s2f_train.data.store import Sample, Store, StoreError
from s2f_train.data.textures import (
    READ_SIDE,
    Textures,
    mean_shape,
    portrait_textures,
    spoken_textures,
    symmetric_shapes,
)
from s2f_train.evaluate.progress import each
from s2f_train.evaluate.user_networks import OnnxRecogniser
from s2f_train.fit.gan import load_voice
from s2f_train.fit.loop import Task
from s2f_train.fit.optimisers import descend, make_optimiser
from s2f_train.fit.processes import dtype_of
from s2f_train.fit.run import newest_checkpoint
from s2f_train.models.appearance_generator import AppearanceGenerator
from s2f_train.models.projected import ProjectedEncoder
from s2f_train.models.projected_critics import ProjectedFeatures, efficientnet_weights
from s2f_train.models.renderer import Renderer
from s2f_train.models.sketch import FARTHEST, Numbers, SketchSpace, as_input, limited
from s2f_train.models.traits import VoiceTraits, mean_embedding
from s2f_train.models.voice import unit
from s2f_train.regression.gender_apart import GenderApart
from s2f_train.regression.likeness import Likeness
from s2f_train.regression.older import FEWEST, Older
from s2f_train.regression.photographs import Photographs
from s2f_train.regression.ridge import Ridge, some
from s2f_train.regression.speakers import SpeakerVoices
from s2f_train.regression.teacher import EXCESS, EXCESS_ELSEWHERE, Seen, Teacher

log = logging.getLogger(__name__)

SHAPE_NUMBERS = 16  # principal components of the shapes that voices tell
ASKED = {"general": 0.0, "male": 1.2, "female": -1.2}  # surer than most voices sound
SHEET_FACES = 12
# Of the gender that is heard in training. By cross-validation it tells more genders right, 97.5 %, than the traits of a
# pack, 97.0 %, whose probabilities are truer.
HEARD_DECAY = 60.0
DRAWN = 1500  # faces from which it is learnt how the recogniser sees them
ROAMING = 0.6  # by how many standard deviations their numbers differ from those that voices tell
SEEN_SHRINKAGE = 1.0  # of the regressions of what is seen in photographs; by matching voices of the dev split to them
PORTRAITS = 3000  # from which it is learnt what is usual
AT_ONCE = 16


class AppearanceTask(Task):
    """What the loop runs: see `loop.Task`."""

    settings: AppearanceSettings
    kind = "appearance"
    name = "appearance"

    def __init__(self, settings: AppearanceSettings, fabric: Fabric, for_plan: bool = False):
        self.settings, self.fabric = settings, fabric
        store = Store.open(settings.store, settings.cache)
        self.space, self.renderer, outside = _load_renderer(settings.renderer)
        recogniser = OnnxRecogniser(Path(settings.recogniser)) if settings.recogniser else None
        features, portraits = self._portraits(store) if recogniser else (None, [])
        voice, theirs = load_voice(settings.voice, store)
        speakers = SpeakerVoices.of(store, settings, voice, fabric, for_plan)
        if settings.directions and not isinstance(voice, ProjectedEncoder):
            voice = speakers.projected_encoder(settings.directions)
            speakers = SpeakerVoices.of(store, settings, voice, fabric, for_plan)
        traits, heard = speakers.traits(copies=speakers.elsewhere()), speakers.traits(HEARD_DECAY)
        if traits is None or heard is None:
            raise StoreError(f"{store.folder} has too few voices of known gender: two women and two men are needed.")
        voices = store.of_split("train", "voices", settings.sources)
        embeddings = torch.stack([mean_embedding(w) for w in speakers.windows_of(voices)])
        clips = {voice.clip: i for i, voice in enumerate(voices) if voice.clip}
        pictures = self._pictures(store, clips)
        rows = torch.tensor([clips[s.clip] for s in pictures.samples])
        ages = [store.identities[sample.identity].age for sample in pictures.samples]
        known_ages = torch.tensor([float("nan") if age is None else float(age) for age in ages])
        self.teachers = self._teachers(embeddings[rows], pictures, known_ages, heard[0])
        self._build(voice, traits[0], embeddings)
        if recogniser and features and not for_plan:
            usual = self._usual(store, portraits, features)
            self._liken(recogniser, store, voices, clips, embeddings, heard[0], usual)
            theirs = theirs | checkpoint.outside_networks(
                recogniser=settings.recogniser, efficientnet=efficientnet_weights()
            )
        self.drawer = AppearanceDrawer(embeddings.numpy(), settings, fabric.global_rank, fabric.world_size)
        self.facts: dict[str, Any] = {
            "store": store.made_of,
            "voices": len(voices),
            "pairs": len(pictures.samples),
            "noise": 0.0,
            "licence": store.facts.get("licence", "not stated"),
            "outside_networks": {**outside, **theirs},
            "traits": traits[1],
        }
        log.info("%d voices, %d pairs", len(voices), len(pictures.samples))

    def _pictures(self, store: Store, clips: dict[str, int]) -> Textures:
        found = _paired(store, self.settings.view, clips)
        found = [found[i] for i in some(len(found), self.settings.seed).tolist()]
        pictures = spoken_textures(store, found)
        if len(pictures.samples) < 3:
            raise StoreError(
                f"{store.folder} has {len(pictures.samples)} pictures of view {self.settings.view!r} with a face and a "
                "voice of the same clip in its training split; 3 are needed (setting: view)."
            )
        return pictures

    def _teachers(
        self, embeddings: Tensor, pictures: Textures, ages: Tensor, traits: VoiceTraits
    ) -> dict[str, Teacher]:
        """A regression for each generator, from the same pairs."""
        s, space = self.settings, self.space
        told = torch.cat([space(as_input(t)).inner[:, : space.told] for t in torch.split(pictures.pixels, 256)])
        shapes = symmetric_shapes(pictures.shapes).flatten(1)
        with torch.no_grad():
            male = traits(embeddings)[0] > 0.5
        # From the middle of women's and men's: that is laid onto the middle of the photographs.
        told, shapes = (x - (x[male].mean(dim=0) + x[~male].mean(dim=0)) / 2 for x in (told, shapes))
        self.shape_basis = torch.linalg.svd(shapes, full_matrices=False)[2][:SHAPE_NUMBERS]
        self.shape_scale = (shapes @ self.shape_basis.T).std(dim=0).clamp_min(1e-6)
        values = torch.cat([told, shapes @ self.shape_basis.T / self.shape_scale], dim=1)
        stretch = torch.full(values.shape[1:], s.stretch)
        stretch[space.told :] = s.shape_stretch
        apart = GenderApart.fit(embeddings, values, traits, 0.0, s.gender_stretch)
        rest = apart.rest_of_faces(values, embeddings)
        voices = apart.rest_of_voices(embeddings)
        ridge = Ridge.fit(voices, rest, s.shrinkage)
        said = ridge.stretched(voices, stretch)
        older = Older.fit(rest[:, : space.told], ages, said[:, : space.told], s.age_stretch)
        older = older.widened(values.shape[1])  # the shape is left
        return {gender: Teacher(ridge, stretch, older, replace(apart, asked=asked)) for gender, asked in ASKED.items()}

    def _build(self, voice: nn.Module, traits: VoiceTraits, embeddings: Tensor) -> None:
        s, space = self.settings, self.space
        size, told = embeddings.shape[1], space.told + len(self.shape_basis) + 1
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(s.seed)
            mix, centre = _own_latents(embeddings, s.own_directions, space.latent)
            basis, mean = self._basis()
            made = {}
            for gender in GENERATORS:
                generator = AppearanceGenerator(size, space.latent, told, space.told, s.hidden)
                for buffer, value in (("mix", mix), ("mix_mean", centre), ("basis", basis), ("mean", mean)):
                    getattr(generator, buffer).copy_(value)
                made[f"generator_{gender}"] = generator
        self.dtype = dtype_of(s.precision)
        place: dict[str, Any] = {"device": self.fabric.device, "dtype": self.dtype}
        self.generators = {name: network.to(**place) for name, network in made.items()}
        self.networks: dict[str, nn.Module] = {
            "voice": voice.eval().requires_grad_(False), "traits": traits, **self.generators, "renderer": self.renderer,
        }  # fmt: skip
        self.parameters = [p for network in self.generators.values() for p in network.parameters()]
        self.optimisers = {"generators": make_optimiser("adam", self.parameters, s.rate)}
        self._shown = embeddings[
            torch.from_numpy(np.random.default_rng(s.seed).permutation(len(embeddings))[:SHEET_FACES])
        ]

    @torch.no_grad()
    def _liken(
        self,
        recogniser: OnnxRecogniser,
        store: Store,
        samples: list[Sample],
        clips: dict[str, int],
        embeddings: Tensor,
        traits: VoiceTraits,
        usual: Photographs,
    ) -> None:
        """Gives the teachers what a recogniser sees: in photographs of the speakers, and in faces drawn at random."""
        s, generator = self.settings, copy.deepcopy(self.generators["generator_general"]).cpu().float()
        found = _paired(store, s.photographs, clips)
        if len(found) < 3:
            raise StoreError(
                f"{store.folder} has {len(found)} pictures of view {s.photographs!r} with a voice of the same clip in "
                "its training split; the recogniser needs 3 (setting: photographs)."
            )

        def seen(pictures: NDArray[np.uint8], what: str) -> Tensor:
            rows = [recogniser.look(picture)[:-1] for picture in each(pictures, what, len(pictures))]
            return nn.functional.normalize(torch.from_numpy(np.stack(rows)))

        photographs = seen(load_faces(store, found, READ_SIDE).numpy(), "photographs of the speakers")
        voices = embeddings[torch.tensor([clips[f.clip] for f in found])]
        likeness = self._likeness(voices, generator, seen)
        ridge = Ridge.fit(voices, photographs, SEEN_SHRINKAGE)
        ages = [store.identities[face.identity].age for face in found]
        known = torch.tensor([age is not None for age in ages])
        years = None
        if known.sum() >= FEWEST:
            aged = torch.tensor([[float(age)] for age in ages if age is not None])
            years = Ridge.fit(voices[known], aged, SEEN_SHRINKAGE)
        apart = GenderApart.fit(voices, photographs, traits, 0.0, s.likeness_stretch)
        first = Seen(likeness, ridge, apart, usual, years, generator)
        excess, source = self._excess(first, embeddings, samples, {face.clip for face in found}, traits)
        for teacher in self.teachers.values():
            asked = teacher.apart.asked
            parts = tuple(replace(part, asked=asked) for part in excess)
            teacher.seen = replace(first, apart=replace(apart, asked=asked), excess=parts, source=source)

    def _excess(
        self, seen: Seen, embeddings: Tensor, samples: list[Sample], photographed: set[str], traits: VoiceTraits
    ) -> tuple[list[GenderApart], Ridge]:
        """For each data set with enough voices of both genders: what its faces have more of; and what tells it."""
        found, rows = [], []
        for source in sorted({sample.source for sample in samples}):
            inside = torch.tensor([sample.source == source for sample in samples])
            voices = embeddings[inside]
            men = int((traits(voices)[0] > 0.5).sum())
            if min(men, len(voices) - men) < FEWEST:
                continue
            here = any(sample.clip in photographed for sample in samples if sample.source == source)
            unlike = seen.differences(self.teachers["general"].rest(voices), voices)
            found.append(GenderApart.fit(voices, unlike, traits, 0.0, EXCESS if here else EXCESS_ELSEWHERE))
            rows.append(inside.float())
        chosen = some(len(embeddings), self.settings.seed)
        shares = torch.stack(rows, dim=1) if rows else torch.zeros(len(embeddings), 1)
        return found, Ridge.fit(embeddings[chosen], shares[chosen], SEEN_SHRINKAGE)

    def _likeness(
        self, voices: Tensor, generator: AppearanceGenerator, seen: Callable[[NDArray[np.uint8], str], Tensor]
    ) -> Likeness:
        """How the recogniser sees faces that differ from those of voices at random."""
        rng = torch.Generator().manual_seed(self.settings.seed)
        some_voices = voices[torch.randint(len(voices), (DRAWN,), generator=rng)]
        told = self.teachers["general"](some_voices)
        roaming = ROAMING * told.std(dim=0)
        roaming[-1] = 0  # the gender stays
        told = told + roaming * torch.randn(told.shape, generator=rng)
        own = generator.own(some_voices)
        own = own + ROAMING * torch.randn(own.shape, generator=rng)
        parts = list(zip(torch.split(told, AT_ONCE), torch.split(own, AT_ONCE), strict=True))
        drawn = [
            as_pixels(self.renderer(*generator.appearance(*part)))
            for part in each(parts, "drawn faces, 16 at once", len(parts))
        ]
        numbers, beside = limited(told[:, :-1], FARTHEST), torch.cat([told[:, -1:], own], dim=1)
        return Likeness.fit(numbers, beside, seen(np.concatenate(drawn), "what is seen in them"))

    def _portraits(self, store: Store) -> tuple[ProjectedFeatures, list[Sample]]:
        """What `_usual` needs, so that what is missing is told before voices are embedded."""
        found = [face for face in store.of_split("train", "faces") if face.view == VIEW]
        if not found:
            raise StoreError(
                f"{store.folder} has no portraits in its training split, which the recogniser needs beside: prepare it "
                "with --portraits."
            )
        chosen = np.random.default_rng(self.settings.seed).permutation(len(found))[:PORTRAITS]
        try:
            return ProjectedFeatures(), [found[i] for i in np.sort(chosen)]
        except ModuleNotFoundError as error:
            raise SettingsError(str(error)) from None

    @torch.no_grad()
    def _usual(self, store: Store, found: list[Sample], features: ProjectedFeatures) -> Photographs:
        """The numbers of portraits of the store."""
        portraits = portrait_textures(store, found)
        attributes = attributes_of(store, found, portraits.pixels, mean_shape(), features)
        if len(set(attributes.male.tolist())) < 2:
            raise StoreError(f"{store.folder} has portraits of one gender alone; the recogniser needs both beside.")
        inner = torch.cat([self.space(as_input(part)).inner for part in torch.split(portraits.pixels, 256)])
        shapes = symmetric_shapes(portraits.shapes).flatten(1) - self.space.shape_mean
        numbers = torch.cat([inner[:, : self.space.told], shapes @ self.shape_basis.T / self.shape_scale], dim=1)
        return Photographs.fit(limited(numbers, FARTHEST), attributes.male, attributes.age)

    @torch.no_grad()
    def _basis(self) -> tuple[Tensor, Tensor]:
        """What a generator makes of its numbers, which is linear: a row for each number, and what 0 gives."""
        s, space = self.settings, self.space
        sizes = [space.told, len(self.shape_basis), 1, space.told, space.latent]
        rows = torch.cat([torch.zeros(1, sum(sizes)), torch.eye(sum(sizes))])
        told, shapes, male, hint, latent = torch.split(rows, sizes, dim=1)
        numbers, shape = space.joined(told, hint, male[:, 0], latent)
        # The detail of the inner face and of the shape has a scale of its own: more of it is more variety, and less of
        # what the voice says.
        inner, plain = numbers.inner.clone(), space.joined(told, hint, male[:, 0], torch.zeros_like(latent))
        inner = plain[0].inner + s.detail * (inner - plain[0].inner)
        outer = plain[0].outer + s.hair * (numbers.outer - plain[0].outer)
        side = plain[0].side + s.light * (numbers.side - plain[0].side)
        drawn = space.drawn(Numbers(inner, side, outer))
        shape = s.detail * shape.flatten(1) + (shapes * self.shape_scale) @ self.shape_basis + space.shape_mean
        made = torch.cat([drawn[0].flatten(1), drawn[1].flatten(1), shape], dim=1)
        return made[1:] - made[:1], made[0]

    # ------------------------------------------------------------------------------- a step

    def step(self, batch: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        mixed = unit(batch["embeddings"].lerp(batch["partners"], batch["mix"][:, None]) + batch["noise"])
        figures, total = {}, torch.zeros((), device=self.fabric.device)
        for gender, teacher in self.teachers.items():
            generator: Any = self.generators[f"generator_{gender}"]
            generator.train()
            wanted = teacher(mixed)
            found = generator.told(mixed.to(self.dtype))
            error = (found - wanted.to(found)).square().mean()
            figures[gender] = error / wanted.var(dim=0).mean().to(error)  # the share that is not explained
            total = total + figures[gender]
        descend(self.fabric, self.optimisers["generators"], total, self.parameters, self.settings.clip_gradient)
        return figures

    def sheet(self) -> NDArray[Any]:
        """Faces of the same voices: a row for each generator, and one of other candidates of the first."""
        latent = torch.randn(len(self._shown), self.space.latent, generator=torch.Generator().manual_seed(1))
        rows = []
        with torch.inference_mode():
            for name, noise in [*((name, latent * 0) for name in self.generators), ("generator_general", latent)]:
                generator = copy.deepcopy(self.generators[name]).cpu().float().eval()
                rows.append(as_pixels(self.renderer(*generator(self._shown, noise))))
        return np.concatenate([np.concatenate(list(row), axis=1) for row in rows])


def _paired(store: Store, view: str, clips: dict[str, int]) -> list[Sample]:
    """The training pictures of a view that go with these clips."""
    return [face for face in store.of_split("train", "faces") if face.view == view and face.clip in clips]


def _own_latents(embeddings: Tensor, directions: int, latent: int) -> tuple[Tensor, Tensor]:
    """A matrix, (embedding, latent), that makes normal numbers of embeddings: each voice has its own hair and light.

    They follow the directions in which voices differ most, so that two recordings of one voice have nearly the same.
    """
    centre = embeddings.mean(dim=0)
    _, values, rows = torch.linalg.svd(embeddings - centre, full_matrices=False)
    kept = min(directions, len(values))
    whitened = rows[:kept].T / (values[:kept] / len(embeddings) ** 0.5).clamp_min(1e-6)
    turn = torch.linalg.qr(torch.randn(latent, kept)).Q.T if kept <= latent else torch.randn(kept, latent)
    return whitened @ turn * (latent / kept) ** 0.5, centre


def _load_renderer(source: str) -> tuple[SketchSpace, Renderer, dict[str, str]]:
    if not source:
        raise SettingsError("renderer is not set: give a run of `fit renderer`, or a checkpoint of one.")
    networks, facts = checkpoint.load(newest_checkpoint(Path(source)))
    space, renderer = networks.get("sketch"), networks.get("renderer")
    if not isinstance(space, SketchSpace) or not isinstance(renderer, Renderer):
        raise SettingsError(f"renderer: {source} is not a run of `fit renderer`; it has {', '.join(networks)}.")
    return space, renderer, facts.get("outside_networks", {})
