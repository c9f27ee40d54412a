"""`fit light`: a light voice network that says what the network of a pack says, for the generators of that pack."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from s2f_edge.pack.network import Network
from s2f_edge.pack.pack import Pack
from s2f_train.config import LightSettings, SettingsError
from s2f_train.data.embeddings import windows_of
from s2f_train.data.heard_windows import HeardWindows, heard_windows
from s2f_train.data.light_draws import LightDrawer
from s2f_train.data.store import Store, StoreError
from s2f_train.fit.loop import Task
from s2f_train.fit.losses import wide
from s2f_train.fit.optimisers import descend, make_optimiser
from s2f_train.fit.processes import dtype_of, synchronise_norms
from s2f_train.models.light import LightEncoder
from s2f_train.models.traits import mean_embedding
from s2f_train.models.voice import unit
from s2f_train.regression.speakers import few_of_each

CHECKED_VOICES = 200  # of the validation split


class LightTask(Task):
    """What the loop runs: see `loop.Task`."""

    settings: LightSettings
    kind = "light"
    name = "light"

    def __init__(self, settings: LightSettings, fabric: Fabric, for_plan: bool = False):
        self.settings = settings
        self.fabric = fabric
        if not settings.pack:
            raise SettingsError("pack is not set: give the folder of the pack whose voice network is imitated.")
        self.store = Store.open(settings.store, settings.cache)
        voices = self.store.of_split("train", sources=settings.sources)
        if not voices:
            raise StoreError(f"{settings.store} has no voices in its training split.")
        self.store.require(voices, "flac", "Prepare with another --keep, or set sources.")
        self.pack = Pack.open(Path(settings.pack))
        if self.pack.manifest.voice.features != LightEncoder.features:
            raise StoreError(
                f"{settings.pack} hears {self.pack.manifest.voice.features}; the light network hears "
                f"{LightEncoder.features}."
            )
        if for_plan:
            heard = HeardWindows.made_up(self.pack.manifest.voice.embedding_size)
        else:
            if fabric.local_rank == 0:  # the others take what it made
                heard_windows(self.store, voices, self.pack, settings)
            fabric.barrier()
            heard = heard_windows(self.store, voices, self.pack, settings)
        self.drawer = LightDrawer(heard, settings, fabric.global_rank, fabric.world_size)
        self.checked = few_of_each(self.store.of_split("valid", sources=settings.sources), 1)[:CHECKED_VOICES]
        self._told: list[Tensor] = []
        self.facts: dict[str, Any] = {
            "store": self.store.made_of,
            "voices": len(voices),
            "speakers": len({voice.identity for voice in voices}),
            "hours": round(sum(voice.seconds for voice in voices) / 3600, 2),
            "pack": {"name": self.pack.manifest.name, "version": self.pack.manifest.version, "of": self.pack.sha256},
        }
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            network = self._network()
        self.dtype = dtype_of(settings.precision)
        network = network.to(device=fabric.device, dtype=self.dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.voice = synchronise_norms(fabric, network)
        self.networks = {"voice": self.voice}
        self.parameters = list(self.voice.parameters())
        self.optimisers = {"voice": make_optimiser(settings.optimiser, self.parameters, settings.rate)}

    def _network(self) -> LightEncoder:
        s = self.settings
        return LightEncoder(s.stem, s.width, s.narrow, s.dilations, s.last, self.pack.manifest.voice.embedding_size)

    def step(self, batch: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        self.voice.train()
        with self.fabric.autocast():
            pooled = self.voice.pooled(batch["features"].to(self.dtype))  # type: ignore[operator]
        said = unit(wide(pooled))
        told = batch["embeddings"].to(said.dtype)
        distance = (1 - (said * told).sum(dim=1)).mean()
        descend(self.fabric, self.optimisers["voice"], distance, self.parameters, self.settings.clip_gradient)
        return {"distance": distance}

    def check(self) -> dict[str, float]:
        """The cosine of whole voices' embeddings, by both networks, of speakers that neither fit has heard."""
        if not self.checked:
            return {}
        network = self._network()
        network.load_state_dict({name: tensor.cpu().float() for name, tensor in self.voice.state_dict().items()})
        network.eval()
        if not self._told:
            theirs = _AsModule(self.pack)
            self._told = [mean_embedding(torch.from_numpy(windows_of(self.store, v, theirs))) for v in self.checked]
        ours = [mean_embedding(torch.from_numpy(windows_of(self.store, v, network))) for v in self.checked]
        said, told = torch.stack(ours), torch.stack(self._told)
        cosines = (said * told).sum(dim=1)
        return {"valid_cosine": float(cosines.quantile(0.5)), "valid_cosine_p5": float(cosines.quantile(0.05))}


class _AsModule(torch.nn.Module):
    """A pack's voice network, called as a module of torch."""

    def __init__(self, pack: Pack) -> None:
        super().__init__()
        self.features, self.kind = pack.manifest.voice.features, pack.manifest.voice.network
        self._network = Network(pack, pack.manifest.voice.file, "cpu", 1)

    def forward(self, features: Tensor) -> Tensor:
        return torch.from_numpy(self._network.run({"features": features.numpy()})["embedding"])
