"""`fit talk`: the motion of a face from sound, learnt from talking heads."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from s2f_edge.hearing.fbank import fbank
from s2f_edge.talk.motion import POINTS
from s2f_train.config import MotionSettings, SettingsError
from s2f_train.data.store import Store
from s2f_train.data.talk_draws import TalkDrawer, shares_of
from s2f_train.data.talk_windows import (
    CLOSING,
    SILENT,
    VALID,
    TalkWindows,
    talk_windows,
    with_context,
)
from s2f_train.data.talks import (
    EYES,
    JAW,
    LIPS,
    LOWER_LIP,
    UPPER_LIP,
    Talk,
    opening,
    read_talk,
    speakers_of,
    split,
    talks_of,
)
from s2f_train.fit.loop import Task
from s2f_train.fit.optimisers import descend, make_optimiser
from s2f_train.fit.processes import dtype_of, synchronise_norms
from s2f_train.models.motion import MotionNetwork

CHECKED = 60  # sentences that are held out, and as many of speakers that are
SEEN = 4000  # frames whose points tell the directions
LEAST_MOTION = 0.012  # between lips that count as open, in units of the eyes' distance
SCALE = 10.0  # of the losses, so that they are about 1 at the beginning


class TalkTask(Task):
    """What the loop runs: see `loop.Task`."""

    settings: MotionSettings
    kind = "talk"
    name = "talk"

    def __init__(self, settings: MotionSettings, fabric: Fabric, for_plan: bool = False):
        self.settings = settings
        self.fabric = fabric
        self.store = Store.open(settings.store, settings.cache)
        talks = [t for t in talks_of(self.store) if not settings.sources or t.source in settings.sources]
        self.learnt, self.held = split(talks, settings.held_speakers, settings.held_share)
        if not self.learnt:
            raise SettingsError(f"held_speakers are {list(settings.held_speakers)}; no talk is left to learn from.")
        self.speakers = speakers_of(self.store, talks)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            network = self._network()
        own = {name: self.speakers[name] for name in {talk.identity for talk in self.learnt}}
        if for_plan:
            windows = TalkWindows.made_up(network.context)
        else:
            if fabric.local_rank == 0:  # the others take what it made
                talk_windows(self.store, self.learnt, own, network.context, settings)
            fabric.barrier()
            windows = talk_windows(self.store, self.learnt, own, network.context, settings)
        shares = shares_of(windows, [talk.identity for talk in self.learnt], settings.evenness)
        self.drawer = TalkDrawer(windows, shares, settings, fabric.global_rank, fabric.world_size)
        self.facts: dict[str, Any] = {
            "store": self.store.made_of,
            "talks": len(self.learnt),
            "speakers": len(own),
            "hours": round(sum(talk.seconds for talk in self.learnt) / 3600, 3),
            "held_speakers": list(settings.held_speakers),
            "held_share": settings.held_share,
        }
        network.directions.copy_(_directions(windows, shares, settings))
        self.dtype = dtype_of(settings.precision)
        self.motion = synchronise_norms(fabric, network.to(device=fabric.device, dtype=self.dtype))
        self.weight = _weights().to(device=fabric.device, dtype=self.dtype)
        self.networks = {"motion": self.motion}
        self.parameters = list(self.motion.parameters())
        self.optimisers = {"motion": make_optimiser(settings.optimiser, self.parameters, settings.rate)}
        self._checked: dict[str, list[Talk]] = {}

    def _network(self) -> MotionNetwork:
        s = self.settings
        return MotionNetwork(s.cosines, s.width, s.kernel, s.dilations, s.components, s.dropout)

    def step(self, batch: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        self.motion.train()
        with self.fabric.autocast():
            offsets = self.motion(batch["features"].to(self.dtype))
        wanted = batch["offsets"].to(self.dtype).view(offsets.shape)
        masks = batch["masks"].to(self.dtype)
        there, closing, silent = masks[..., VALID], masks[..., CLOSING], masks[..., SILENT]
        gap, wanted_gap = _opening(offsets), _opening(wanted)
        wrong = (offsets - wanted) * self.weight[:, None]
        open_lips = (gap - LEAST_MOTION).relu()
        s = self.settings
        losses = {
            "distance": _mean(wrong.abs().mean(dim=(2, 3)), there),
            "opening": _mean((gap - wanted_gap).abs(), there),
            "pace": _mean((wrong[:, 1:] - wrong[:, :-1]).abs().mean(dim=(2, 3)), there[:, 1:]),
            "closing": _mean(open_lips, closing),
            "silence": _mean(open_lips, silent),
        }
        total = (
            losses["distance"]
            + s.opening_weight * losses["opening"]
            + s.pace_weight * losses["pace"]
            + s.closing_weight * losses["closing"]
            + s.silence_weight * losses["silence"]
        )
        descend(self.fabric, self.optimisers["motion"], total, self.parameters, s.clip_gradient)
        return losses

    def check(self) -> dict[str, float]:
        """The correlation of the mouth's opening with the real one, of sentences and of speakers that are held out."""
        network = self._network()
        network.load_state_dict({name: tensor.cpu().float() for name, tensor in self.motion.state_dict().items()})
        network.eval()
        if not self._checked:
            few = {"sentence": [t for t in self.held if t.identity not in self.settings.held_speakers][:CHECKED]}
            few["speaker"] = [t for t in self.held if t.identity in self.settings.held_speakers][:CHECKED]
            self._checked = {
                name: [read_talk(self.store, sample, self.speakers[sample.identity]) for sample in some]
                for name, some in few.items()
                if some
            }
        return {f"valid_{name}_opening": _correlation(network, talks) for name, talks in self._checked.items()}


def _opening(offsets: Tensor) -> Tensor:
    return offsets[..., LOWER_LIP, 1] - offsets[..., UPPER_LIP, 1]


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    """Over the frames of a mask; 0 where it has none."""
    return SCALE * (values * mask).sum() / mask.sum().clamp(min=1)


def _weights() -> Tensor:
    """How much each point counts: (68,), 0 for the eyes, which blink on their own."""
    weight = torch.full((POINTS,), 0.3)
    weight[LIPS], weight[JAW], weight[EYES] = 3.0, 1.0, 0.0
    return weight


def _directions(windows: TalkWindows, shares: Any, settings: MotionSettings) -> Tensor:
    """Principal components of the weighted motion, (components, 136), each as long as the points move along it."""
    rng = np.random.default_rng(settings.seed)
    rows = np.sort(rng.choice(len(shares), SEEN // 10, p=shares))
    seen = windows.offsets[rows].astype(np.float64)[windows.masks[rows][..., VALID]]
    weight = np.repeat(np.sqrt(_weights().numpy().astype(np.float64)), 2)
    values, vectors = np.linalg.eigh((seen * weight).T @ (seen * weight) / max(len(seen), 1))
    best = np.argsort(values)[::-1][: settings.components]
    scaled = vectors[:, best].T * np.sqrt(np.maximum(values[best], 0))[:, None]
    return torch.from_numpy(np.where(weight, scaled / np.where(weight, weight, 1.0), 0.0)).float()


def _correlation(network: MotionNetwork, talks: list[Talk]) -> float:
    """Mean over talks of the correlation of the mouth's opening."""
    found = []
    for talk in talks:
        features = with_context(fbank(talk.samples), len(talk.offsets), network.context)
        with torch.inference_mode():
            said = network(torch.from_numpy(features[None]))[0].numpy()
        found.append(np.corrcoef(opening(said), opening(talk.offsets))[0, 1])
    return float(np.nan_to_num(np.mean(found)))
