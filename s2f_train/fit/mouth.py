"""`fit mouth`: what draws teeth, tongue and dark between the lips of a face that speaks, for the animator.

It learns from photographs whose mouths are open: the inside is cut out, and it has to be drawn again from the lips and
the skin around it. Pixels shall be near to the photograph's, and a discriminator shall take the mouth for one.
"""

from __future__ import annotations

import copy
import logging
from collections import Counter
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn

from s2f_train.config import MouthSettings
from s2f_train.data.faces import as_pixels
from s2f_train.data.mouth_draws import MouthDrawer
from s2f_train.data.mouths import MOUTHS, Mouths, load_mouths
from s2f_train.data.store import Sample, Store, StoreError
from s2f_train.fit.loop import Task
from s2f_train.fit.losses import wide
from s2f_train.fit.optimisers import average_weights, descend, make_optimiser
from s2f_train.fit.processes import dtype_of, synchronise_norms
from s2f_train.models.animator import Animator
from s2f_train.models.mouth_critic import SHRINKS, MouthCritic
from s2f_train.models.sketch import as_input

log = logging.getLogger(__name__)

SHEET_MOUTHS = 24
CHECKED = 256
WIDE_OPEN = 300.0  # pixels of inside from which mouths are drawn equally often; those less open less often
EVEN = 0.4  # the share of a speaker grows with so low a power of the mouths that there are
LEAST_AREA = 30.0  # pixels: errors of small mouths count as those of one so large
AROUND = 0.02  # weight of the discriminator's judgement beside the mouth
ALONE = 200  # steps that pixels are learnt alone


class MouthTask(Task):
    """What the loop runs: see `loop.Task`."""

    settings: MouthSettings
    kind = "mouth"
    name = "mouth"
    planned = ALONE + 1

    def __init__(self, settings: MouthSettings, fabric: Fabric, for_plan: bool = False):
        self.settings, self.fabric = settings, fabric
        self.store = Store.open(settings.store, settings.cache)
        samples = self._samples("train")
        if not samples:
            raise StoreError(
                f"{self.store.folder} has no mouths in its training split: prepare portraits or talking heads with "
                "--landmarker."
            )
        mouths = load_mouths(self.store, samples)
        self.pictures, self.inside = torch.from_numpy(mouths.pictures), torch.from_numpy(mouths.inside)
        weights = drawn_how_often(mouths, settings.portrait_share)
        self.drawer = MouthDrawer(weights, settings, fabric.global_rank, fabric.world_size)
        self.held_out = self._held_out()
        self.facts: dict[str, Any] = {
            "store": self.store.made_of,
            "mouths": dict(sorted(Counter(sample.source for sample in mouths.samples).items())),
            "licence": self.store.facts.get("licence", "not stated"),
        }
        log.info("%d mouths of %d samples", len(weights), len(samples))
        self._build()

    def _samples(self, split: str) -> list[Sample]:
        found = [s for kind in ("faces", "voices") for s in self.store.of_split(split, kind, self.settings.sources)]
        return [sample for sample in found if MOUTHS in sample.members]

    def _held_out(self) -> tuple[Tensor, Tensor]:
        """Mouths for sheets and checks, of people that are kept from training where there are such."""
        samples = self._samples("test") or self._samples("valid") or self._samples("train")
        order = np.random.default_rng(self.settings.seed).permutation(len(samples))[:CHECKED]
        mouths = load_mouths(self.store, [samples[i] for i in order])
        chosen = np.random.default_rng(0).permutation(len(mouths.samples))[:CHECKED]
        return _as_floats(torch.from_numpy(mouths.pictures[chosen]), torch.from_numpy(mouths.inside[chosen]))

    def _build(self) -> None:
        s, self.dtype = self.settings, dtype_of(self.settings.precision)
        place: dict[str, Any] = {"device": self.fabric.device, "dtype": self.dtype}
        last: Any = torch.channels_last
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(s.seed)
            animator, critic = Animator(s.widths), MouthCritic(s.critic_width)
        place |= {"memory_format": last}
        self.painter = synchronise_norms(self.fabric, copy.deepcopy(animator.mouth).to(**place))
        self.critic = critic.to(**place)
        self.average = animator.to(self.fabric.device).requires_grad_(False)
        self.networks = {"animator": self.average, "training_mouth": self.painter, "mouth_critic": self.critic}
        self.painted_by, self.judged_by = list(self.painter.parameters()), list(self.critic.parameters())
        self.optimisers = {
            "mouth": make_optimiser("adam", self.painted_by, s.rate, (0.5, 0.99)),
            "critic": make_optimiser("adam", self.judged_by, s.rate, (0.0, 0.99)),
        }

    # ------------------------------------------------------------------------------- a step

    def step(self, batch: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        self.painter.train()
        real, inside = self._changed(batch)
        with self.fabric.autocast():
            drawn = self.painter(real.to(self.dtype), inside.to(self.dtype))
            made = real * (1 - inside) + wide(drawn) * inside
        area = inside.sum(dim=(1, 2, 3)).clamp(min=LEAST_AREA)
        figures = {"pixel": ((wide(drawn) - real).abs() * inside).sum(dim=(1, 2, 3)).div(3 * area).mean()}
        loss = figures["pixel"]
        if step >= ALONE:
            where = nn.functional.avg_pool2d(inside, SHRINKS) + AROUND
            figures |= self._critic_learns(real, made.detach(), inside, where)
            with self.fabric.autocast():
                judged = self.critic(made, inside)
            figures["adversarial"] = -_mean_where(judged, where)
            loss = loss + self.settings.adversarial_weight * figures["adversarial"]
        descend(self.fabric, self.optimisers["mouth"], loss, self.painted_by, self.settings.clip_gradient)
        average_weights(self.average.mouth, self.painter, self.settings.ema, step)
        return figures

    def _changed(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Mouths moved, stretched and lit as the batch says: (b, 3, h, w) in [-1, 1], (b, 1, h, w) from 0 to 1."""
        rows = batch["rows"].cpu()
        real, inside = _as_floats(self.pictures[rows].to(self.fabric.device), self.inside[rows].to(self.fabric.device))
        grid = nn.functional.affine_grid(batch["moves"], [*real.shape], align_corners=False)
        moved = nn.functional.grid_sample(
            torch.cat([real, inside], dim=1), grid, "bicubic", "reflection", align_corners=False
        )
        real, inside = moved[:, :3], moved[:, 3:].clamp(0.0, 1.0)
        real = ((real + 1) * batch["gains"][:, :, None, None] - 1).clamp(-1.0, 1.0)
        near = nn.functional.avg_pool2d(inside, 3, 1, 1)
        size = batch["size"][:, None, None, None]
        inside = torch.where(size > 0, (near * 3).clamp(max=1.0), inside)
        return real, torch.where(size < 0, (near * 2 - 1).clamp(min=0.0), inside)

    def _critic_learns(self, real: Tensor, made: Tensor, inside: Tensor, where: Tensor) -> dict[str, Tensor]:
        with self.fabric.autocast():
            seen, drawn = self.critic(real, inside), self.critic(made, inside)
        relu = nn.functional.relu
        figures = {
            "d_real": _mean_where(relu(1 - wide(seen)), where), "d_drawn": _mean_where(relu(1 + wide(drawn)), where)
        }  # fmt: skip
        descend(
            self.fabric, self.optimisers["critic"], figures["d_real"] + figures["d_drawn"], self.judged_by,
            self.settings.clip_gradient,
        )  # fmt: skip
        return figures

    # ------------------------------------------------------------------------------- sheets

    @torch.inference_mode()
    def _painted(self, real: Tensor, inside: Tensor) -> Tensor:
        self.average.eval()
        painter: Any = self.average.mouth
        drawn = torch.cat(
            [
                painter(a.to(self.fabric.device), b.to(self.fabric.device)).cpu()
                for a, b in zip(torch.split(real, SHEET_MOUTHS), torch.split(inside, SHEET_MOUTHS), strict=True)
            ]
        )
        return real * (1 - inside) + drawn * inside

    def check(self) -> dict[str, float]:
        """Held-out mouths: the pixels' error, and the sharpness relative to the photographs'."""
        real, inside = self.held_out
        drawn = self._painted(real, inside)
        error = ((drawn - real).abs() * inside).sum() / (3 * inside.sum()).clamp(min=1.0)
        return {"valid_pixel": float(error), "sharpness": _sharpness(drawn, inside) / _sharpness(real, inside)}

    def sheet(self) -> NDArray[Any]:
        """Rows: photographs, without the inside, and drawn again."""
        real, inside = (x[:SHEET_MOUTHS] for x in self.held_out)
        rows = [real, real * (1 - inside), self._painted(real, inside)]
        return np.concatenate([np.concatenate(list(as_pixels(row)), axis=1) for row in rows])


def drawn_how_often(mouths: Mouths, portrait_share: float) -> NDArray[np.float64]:
    """How often each mouth is drawn, (n,), of sum 1: wide ones more often, and no speaker far more than the others.

    Args:
        portrait_share: of those that are no talking heads', together.
    """
    weights = np.minimum(mouths.inside.reshape(len(mouths.inside), -1).sum(axis=1) / 255.0 / WIDE_OPEN, 1.0)
    speaking = np.array([sample.view == "" for sample in mouths.samples])
    people = np.array([sample.identity for sample in mouths.samples])
    for person in set(people[speaking].tolist()):
        own = speaking & (people == person)
        weights[own] *= own.sum() ** EVEN / max(weights[own].sum(), 1e-9)
    for group, share in ((~speaking, portrait_share), (speaking, 1 - portrait_share)):
        if group.any():
            weights[group] *= (share if group.sum() < len(group) else 1.0) / max(weights[group].sum(), 1e-9)
    found: NDArray[np.float64] = weights / weights.sum()
    return found


def _as_floats(pictures: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
    return as_input(pictures), inside.float() / 255


def _mean_where(values: Tensor, where: Tensor) -> Tensor:
    """The mean over a batch of each one's mean by weight."""
    return ((wide(values) * where).sum(dim=(1, 2, 3)) / where.sum(dim=(1, 2, 3))).mean()


def _sharpness(pictures: Tensor, inside: Tensor) -> float:
    """Differences of neighbouring pixels inside, on average."""
    grey = pictures.mean(dim=1, keepdim=True)
    both = inside[..., 1:] * inside[..., :-1]
    return float((grey.diff(dim=3).abs() * both).sum() / both.sum().clamp(min=1.0))
