"""`fit renderer`: what draws a photograph from a sketch of a face, as a projected GAN.

Portraits are drawn on the mean shape and written down as numbers (`models.sketch`); the renderer learns to draw them
from their sketches. One step:

1. the sketches of portraits, jittered, some cut to their first numbers, and imagined ones (numbers as voices tell them,
   with hair, light and details of the Gaussian model) through the renderer;
2. the discriminators learn to tell photographs from drawn faces (hinge);
3. the renderer learns: the discriminators shall take its faces for photographs; their numbers shall be those that were
   asked for; pixels and features of a portrait's face shall be near to the portrait's.

The first `half_steps` are at 128 pixels, the others at 256.
"""

from __future__ import annotations

import copy
import dataclasses
import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer

from s2f_train import checkpoint
from s2f_train.config import RendererSettings, SettingsError
from s2f_train.data import landmarks
from s2f_train.data.faces import as_pixels
from s2f_train.data.frame import VIEW
from s2f_train.data.inner_face import inner_mask
from s2f_train.data.portrait_attributes import attributes_of
from s2f_train.data.portrait_filters import has_plain_ground, is_grey, wears_glasses, without_screen
from s2f_train.data.renderer_draws import RendererDrawer
from s2f_train.data.store import Sample, Store, StoreError
from s2f_train.data.textures import Textures, mean_shape, portrait_textures, spoken_textures
from s2f_train.evaluate.distribution import kid
from s2f_train.fit.loop import Task
from s2f_train.fit.losses import wide
from s2f_train.fit.optimisers import average_weights, descend, make_optimiser
from s2f_train.fit.processes import dtype_of, synchronise_norms
from s2f_train.fit.run import newest_checkpoint
from s2f_train.models.projected_critics import ProjectedCritics, ProjectedFeatures, efficientnet_weights
from s2f_train.models.renderer import SIDE, Renderer
from s2f_train.models.sketch import Numbers, SketchSpace, as_input

log = logging.getLogger(__name__)

SHEET_FACES = 12
KID_FACES = 240  # at most, of each side
CUT_WEIGHT = 0.3  # of pixels and features of a portrait whose sketch was cut: there the renderer is free
IMAGINED_OUTER = 0.5  # of the outer numbers of imagined faces: their hair need not be just that
COMPARED = slice(1, 3)  # the features by which faces are compared: strides 4 and 8
PLAIN_WEIGHT = 2.0  # of a portrait on plain ground in the model of sketches: what voices get stands on such
BUSY_SHARE = 0.1  # other portraits are drawn so much less often still: critics that see many want things on plain ones
VOICE_VIEWS = ("s2f", "face")  # pictures that go with voices, in the order of preference


class RendererTask(Task):
    """What the loop runs: see `loop.Task`."""

    settings: RendererSettings
    kind = "renderer"
    name = "renderer"

    def __init__(self, settings: RendererSettings, fabric: Fabric, for_plan: bool = False):
        self.settings, self.fabric = settings, fabric
        self.store = Store.open(settings.store, settings.cache)
        try:
            outside = checkpoint.outside_networks(landmarks=landmarks.weights(), efficientnet=efficientnet_weights())
            self.features = ProjectedFeatures()
        except ModuleNotFoundError as error:
            raise SettingsError(str(error)) from None
        samples = self._portraits("train")
        portraits = portrait_textures(self.store, samples)
        attributes = attributes_of(self.store, samples, portraits.pixels, mean_shape(), self.features)
        pixels, screens = without_screen(portraits.pixels)
        plain, glasses = has_plain_ground(pixels), wears_glasses(pixels)
        weights = attributes.weights() * torch.where(plain, PLAIN_WEIGHT, 1.0)
        weights[is_grey(pixels) | glasses] = 0.0
        log.info("%d portraits: %d screens made grey, %d with glasses not drawn, %d on plain ground",
                 len(pixels), int(screens.sum()), int(glasses.sum()), int(plain.sum()))  # fmt: skip
        spoken, self.women = self._spoken()
        self.space = SketchSpace(*settings.sketch)
        self.space.fit(
            mean_shape(), inner_mask(), pixels, portraits.shapes, weights, attributes.male, plain,
            None if spoken is None else spoken.pixels,
        )  # fmt: skip
        del portraits  # as large as what is kept
        self.portraits = pixels
        self.told, self.spoken_male = self._told(spoken)
        sizes = self.space.settings
        self.drawer = RendererDrawer(
            _shares(weights * torch.where(plain, 1.0, BUSY_SHARE)), len(self.told), self.women,
            (sizes["inner"], sizes["side"], sizes["outer"], sizes["latent"]),
            settings, fabric.global_rank, fabric.world_size,
        )  # fmt: skip
        self.facts: dict[str, Any] = {
            "store": self.store.made_of,
            "portraits": _counts(samples),
            "faces with voices": len(self.told),
            "screens made grey": int(screens.sum()),
            "with glasses, not drawn": int(glasses.sum()),
            "estimated": attributes.estimated,
            "licence": self.store.facts.get("licence", "not stated"),
            "outside_networks": outside,
        }
        self._shown = self._for_sheets(SHEET_FACES if for_plan else KID_FACES)
        self._build()

    def _portraits(self, split: str) -> list[Sample]:
        found = [s for s in self.store.of_split(split, "faces", self.settings.sources) if s.view == VIEW]
        if not found and split == "train":
            raise StoreError(
                f"{self.store.folder} has no portraits in its training split: prepare it with --portraits."
            )
        return found

    def _spoken(self) -> tuple[Textures | None, int]:
        """Faces of training that go with voices and whose gender is known, women first; how many are women's."""
        for view in VOICE_VIEWS:
            faces = [f for f in self.store.of_split("train", "faces") if f.view == view]
            by_gender = [[f for f in faces if self.store.identities[f.identity].gender == g] for g in ("f", "m")]
            if all(by_gender):
                textures = spoken_textures(self.store, [*by_gender[0], *by_gender[1]])
                women = sum(self.store.identities[s.identity].gender == "f" for s in textures.samples)
                if 0 < women < len(textures.samples):
                    return textures, women
        return None, 0

    def _told(self, spoken: Textures | None) -> tuple[Tensor, Tensor]:
        """The numbers of faces that go with voices, (n, told), from the middle of both genders; -1 or 1, (n,)."""
        if spoken is None:
            return torch.zeros(0, self.space.told), torch.zeros(0)
        told = torch.cat([self.space(as_input(t)).inner[:, : self.space.told] for t in torch.split(spoken.pixels, 256)])
        middle = (told[: self.women].mean(dim=0) + told[self.women :].mean(dim=0)) / 2
        male = torch.ones(len(told))
        male[: self.women] = -1.0
        return told - middle, male

    def _build(self) -> None:
        s, self.dtype = self.settings, dtype_of(self.settings.precision)
        place: dict[str, Any] = {"device": self.fabric.device, "dtype": self.dtype}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(s.seed)
            renderer, critics = Renderer(s.down, s.up), ProjectedCritics(hidden=s.critic_width)
        renderer.set_frame(self.space.points, self.space.mask)
        if s.start:
            _start_from(Path(s.start), renderer, critics)
        last: Any = torch.channels_last
        self.renderer = synchronise_norms(self.fabric, renderer.to(**place, memory_format=last))  # type: ignore[call-overload]
        self.critics = critics.to(**place, memory_format=last)  # type: ignore[call-overload]
        self.features = self.features.to(**place, memory_format=last)  # type: ignore[call-overload]
        self.space = self.space.to(self.fabric.device)
        self.told, self.spoken_male = self.told.to(self.fabric.device), self.spoken_male.to(self.fabric.device)
        self.average = copy.deepcopy(self.renderer).requires_grad_(False)
        if s.compile:
            self.renderer.compile()
            self.critics.compile()
        self.networks = {
            "renderer": self.average, "sketch": self.space, "training_renderer": self.renderer, "critics": self.critics
        }  # fmt: skip
        self.drawn_by, self.judged_by = list(self.renderer.parameters()), list(self.critics.parameters())
        self.optimisers: dict[str, Optimizer] = {
            "renderer": make_optimiser(s.optimiser, self.drawn_by, s.rate, s.betas),
            "critics": make_optimiser(s.optimiser, self.judged_by, s.rate, s.betas),
        }
        small = nn.functional.interpolate(inner_mask(SIDE), size=SIDE // 2, mode="area")
        self.masks = {True: small.to(self.fabric.device), False: inner_mask(SIDE).to(self.fabric.device)}

    # ------------------------------------------------------------------------------- a step

    def step(self, batch: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        s, half = self.settings, step < self.settings.half_steps
        torch.manual_seed(hash((s.seed, step, self.fabric.global_rank)))  # of the renderer's noise
        self.renderer.train()
        real = self._real(batch, half)
        with torch.no_grad():
            numbers = self.space(real)
            kept = torch.arange(numbers.inner.shape[1], device=real.device) < batch["kept"][:, None]
            cut = (batch["kept"] < numbers.inner.shape[1])[:, None]
            given, wanted = self._given(batch, numbers, kept, cut)
            inner, outer = self.space.drawn(given)
        with self.fabric.autocast():
            drawn = self.renderer.texture(inner.to(self.dtype), outer.to(self.dtype), half)  # type: ignore[operator]
            with torch.no_grad():
                seen, mixed = self.features(real.to(self.dtype))
            seen_drawn, mixed_drawn = self.features(drawn)
            figures = self._critics_learn(mixed, [f.detach() for f in mixed_drawn])
            adversarial = -wide(self.critics(mixed_drawn)).mean()
        count = len(real)
        free = torch.where(cut[:, 0], CUT_WEIGHT, 1.0)[:, None, None, None].to(real.device)
        figures["adversarial"] = adversarial
        figures["sketch"], figures["outer"] = self._sketch_losses(wide(drawn), wanted, kept, cut, count)
        mask = self.masks[half]
        figures["pixel"] = ((wide(drawn)[:count] - real).abs() * mask * free).sum() / (3 * count * mask.sum())
        distances = [
            ((wide(a)[:count] - wide(b)).abs() * free).mean() / wide(b).abs().mean()
            for a, b in zip(seen_drawn[COMPARED], seen[COMPARED], strict=True)
        ]
        figures["feature"] = torch.stack(distances).mean()
        loss = (
            s.adversarial_weight * adversarial
            + s.sketch_weight * figures["sketch"]
            + s.outer_weight * figures["outer"]
            + s.pixel_weight * figures["pixel"]
            + s.feature_weight * figures["feature"]
        )
        descend(self.fabric, self.optimisers["renderer"], loss, self.drawn_by, s.clip_gradient)
        average_weights(self.average, self.renderer, s.ema, step)
        return figures

    def _real(self, batch: dict[str, Tensor], half: bool) -> Tensor:
        """Portraits, mirrored, brighter or darker, a little coloured: (b, 3, side, side)."""
        pictures = as_input(self.portraits[batch["rows"].cpu()].to(self.fabric.device))
        pictures = torch.where(batch["mirrored"][:, None, None, None], pictures.flip(3), pictures)
        pictures = ((pictures + 1) * batch["gains"][:, :, None, None] - 1).clamp(-1.0, 1.0)
        if half:
            pictures = nn.functional.interpolate(pictures, scale_factor=0.5, mode="area")
        return pictures.contiguous(memory_format=torch.channels_last)

    def _given(self, batch: dict[str, Tensor], numbers: Numbers, kept: Tensor, cut: Tensor) -> tuple[Numbers, Numbers]:
        """The numbers from which faces are drawn, and those that the faces shall have."""
        sizes = [numbers.inner.shape[1], numbers.side.shape[1], numbers.outer.shape[1]]
        inner, side, outer = torch.split(batch["jitter"], sizes, dim=1)
        given = Numbers(
            (numbers.inner + inner) * kept, numbers.side.masked_fill(cut, 0.0) + side, numbers.outer + outer
        )
        if "first" not in batch:
            return given, numbers
        mix = batch["mix"][:, None]
        told = (mix * self.told[batch["first"]] + (1 - mix) * self.told[batch["second"]]) * batch["stretch"][:, None]
        imagined, _ = self.space.completed(told, self.spoken_male[batch["first"]], batch["latent"])
        return _joined(given, imagined), _joined(numbers, imagined)

    def _sketch_losses(
        self, drawn: Tensor, wanted: Numbers, kept: Tensor, cut: Tensor, count: int
    ) -> tuple[Tensor, Tensor]:
        """How far the sketches of drawn faces are from those that were asked for, inner and outer."""
        found = self.space(drawn)
        inner, side, outer = found.inner - wanted.inner, found.side - wanted.side, found.outer - wanted.outer
        inner = torch.cat([inner[:count] * kept, inner[count:]])
        side = torch.cat([side[:count].masked_fill(cut, 0.0), side[count:]])
        outer = torch.cat([outer[:count], IMAGINED_OUTER * outer[count:]])
        differences = self.space.differences(Numbers(inner, side, outer))
        area = 3 * self.space.mask.sum() * len(drawn)
        return differences[0].abs().sum() / area, differences[1].abs().mean()

    def _critics_learn(self, real: list[Tensor], drawn: list[Tensor]) -> dict[str, Tensor]:
        seen, made = wide(self.critics(real)), wide(self.critics(drawn))
        figures = {"d_real": nn.functional.relu(1 - seen).mean(), "d_drawn": nn.functional.relu(1 + made).mean()}
        loss = figures["d_real"] + figures["d_drawn"]
        with torch.autocast(self.fabric.device.type, enabled=False):
            descend(self.fabric, self.optimisers["critics"], loss, self.judged_by, self.settings.clip_gradient)
        return figures

    # ------------------------------------------------------------------------------- sheets

    def _for_sheets(self, count: int) -> dict[str, Tensor]:
        """Pictures and sketches of portraits kept from training, and of as many imagined faces: `count` for `check`."""
        samples = self._portraits("test") or self._portraits("valid") or self._portraits("train")
        rng = np.random.default_rng(self.settings.seed)
        chosen = [samples[i] for i in rng.permutation(len(samples))[:count]]
        pictures, _ = without_screen(portrait_textures(self.store, chosen).pixels)
        numbers = self.space(as_input(pictures[:SHEET_FACES]))
        cut = dataclasses.replace(
            numbers, inner=numbers.inner * (torch.arange(numbers.inner.shape[1]) < self.space.told),
            side=torch.zeros_like(numbers.side),
        )  # fmt: skip
        shown = [numbers, cut]
        self._imagined: tuple[Tensor, Tensor] | None = None
        if len(self.told):
            rows = torch.from_numpy(rng.choice(len(self.told), max(len(chosen), SHEET_FACES)))
            latent = torch.from_numpy(rng.standard_normal((len(rows), self.space.latent)).astype(np.float32))
            stretch = sum(self.settings.stretch) / 2
            imagined = self.space.completed(stretch * self.told[rows], self.spoken_male[rows], 0.7 * latent)[0]
            self._imagined = self.space.drawn(imagined)
            shown.append(imagined[:SHEET_FACES])
        self._held_out = self._seen(as_input(pictures)).numpy()
        sketches = [self.space.drawn(each) for each in shown]
        return {
            "pictures": as_input(pictures[:SHEET_FACES]),
            "inner": torch.cat([inner for inner, _ in sketches]),
            "outer": torch.cat([outer for _, outer in sketches]),
        }

    def check(self) -> dict[str, float]:
        """KID of imagined faces from portraits that are kept from training, with features that train the critics too.

        Its course is worth something, its height is not: `evaluate` has a network of its own.
        """
        if self._imagined is None or len(self._held_out) < 2:
            return {}
        drawn = self._drawn(*self._imagined)
        return {"kid": kid(self._seen(drawn).numpy(), self._held_out)}

    def _drawn(self, inner: Tensor, outer: Tensor) -> Tensor:
        """What the average of the weights draws of sketches, float32 on the processor."""
        self.average.eval()
        place: dict[str, Any] = {"device": self.fabric.device, "dtype": self.dtype}
        parts = zip(torch.split(inner, SHEET_FACES), torch.split(outer, SHEET_FACES), strict=True)
        with torch.inference_mode():
            return torch.cat([self.average.texture(a.to(**place), b.to(**place)).float().cpu() for a, b in parts])  # type: ignore[operator]

    def _seen(self, pictures: Tensor) -> Tensor:
        """The mean of the last feature maps over a picture: (n, 320)."""
        where = next(self.features.parameters())
        with torch.inference_mode():
            maps = [self.features.unmixed(part.to(where))[-1] for part in torch.split(pictures, SHEET_FACES)]
            return torch.cat([x.mean(dim=(2, 3)).float().cpu() for x in maps])

    def sheet(self) -> NDArray[Any]:
        """Rows: portraits; their sketches; what is drawn of these; of their first numbers alone; imagined faces."""
        drawn = self._drawn(self._shown["inner"], self._shown["outer"])
        sketches = nn.functional.interpolate(self._shown["inner"][: len(self._shown["pictures"])], size=SIDE)
        rows = [self._shown["pictures"], sketches, *torch.split(drawn, SHEET_FACES)]
        return np.concatenate([np.concatenate(list(as_pixels(row)), axis=1) for row in rows])


def _joined(a: Numbers, b: Numbers) -> Numbers:
    return Numbers(*(torch.cat(pair) for pair in zip(dataclasses.astuple(a), dataclasses.astuple(b), strict=True)))


def _shares(weights: Tensor) -> NDArray[np.float64]:
    found: NDArray[np.float64] = (weights.double() / weights.double().sum()).numpy()
    return found


def _counts(samples: list[Sample]) -> dict[str, int]:
    return {name: sum(s.source == name for s in samples) for name in sorted({s.source for s in samples})}


def _start_from(path: Path, renderer: Renderer, critics: ProjectedCritics) -> None:
    """Takes what fits of another run's renderer, as it was trained, and its discriminators."""
    theirs, _ = checkpoint.load(newest_checkpoint(path))
    found = theirs.get("training_renderer", theirs.get("renderer"))
    if found is None:
        raise SettingsError(f"start: {path} has no renderer; it has {', '.join(theirs)}.")
    for ours, other in ((renderer, found), (critics, theirs.get("critics"))):
        if other is not None:
            state = ours.state_dict()
            fitting = {k: v for k, v in other.state_dict().items() if k in state and v.shape == state[k].shape}
            ours.load_state_dict(state | fitting)
