"""What `--dry-run` prints: what a fit would learn from, and what a step costs."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from s2f_train.config import RunSettings
from s2f_train.fit.loop import Task
from s2f_train.recipes import as_toml

TRIED = 4  # voices of the step that is measured; costs grow with the batch


def plan(task: Task, settings: RunSettings) -> str:
    """Settings, data, parameters, FLOPs and memory of a step, as text.

    A step of four voices, with crops of mean length, is run on this machine's CPU and counted; FLOPs
    and activations are those, times the batch over four.

    Args:
        task: on the CPU, of one process. It is not to be used afterwards.
        settings: of the fit that is planned.
    """
    scale = settings.batch / TRIED / (settings.devices * settings.num_nodes)
    tried = dataclasses.replace(task.settings, batch=TRIED)
    if hasattr(tried, "min_frames") and hasattr(tried, "max_frames"):
        frames = (tried.min_frames + tried.max_frames) // 2
        tried = dataclasses.replace(tried, min_frames=frames, max_frames=frames)  # type: ignore[call-arg]
    drawer = dataclasses.replace(task.drawer, settings=tried)  # type: ignore[type-var]
    batch = {name: torch.from_numpy(array) for name, array in drawer.draw(task.planned).items()}
    activations = _Activations(p for network in task.networks.values() for p in network.parameters())
    hooks = torch.autograd.graph.saved_tensors_hooks(partial(_Kept, activations), lambda kept: kept.tensor)
    with FlopCounterMode(display=False) as counter, hooks:
        task.step(batch, task.planned)
    weights = {name: sum(p.numel() for p in network.parameters()) for name, network in task.networks.items()}
    parameter_bytes = sum(
        p.numel() * p.element_size() for network in task.networks.values() for p in network.parameters()
    )
    state_bytes = sum(_bytes(optimiser.state_dict()["state"]) for optimiser in task.optimisers.values())
    trained = sum(
        p.numel() * p.element_size() for o in task.optimisers.values() for g in o.param_groups for p in g["params"]
    )
    activation_bytes = activations.most * scale
    memory = parameter_bytes + state_bytes + trained + activation_bytes
    lines = [f"{task.name}: {settings.steps} steps of {settings.batch} voices", "", "Data"]
    lines += [
        f"  {name:22} {value}" for name, value in task.facts.items() if name not in ("traits", "licence", "store")
    ]
    lines += ["", "Parameters"]
    lines += [f"  {name:22} {count:>12,}" for name, count in weights.items()]
    lines += [
        "",
        "A step, in each process",
        f"  {'computing':22} {counter.get_total_flops() * scale / 1e9:,.1f} GFLOP",
        f"  {'memory':22} {memory / 1e6:,.0f} MB: weights {parameter_bytes / 1e6:,.0f}, "
        f"gradients {trained / 1e6:,.0f}, optimisers {state_bytes / 1e6:,.0f}, "
        f"activations about {activation_bytes / 1e6:,.0f}",
        "",
        "Settings",
        *(f"  {line}" for line in as_toml(task.kind, settings).splitlines()),
    ]
    return "\n".join(lines)


class _Activations:
    """Bytes that are kept for the way back, but for the weights: now, and at most."""

    def __init__(self, weights: Iterable[torch.Tensor]):
        self.now = self.most = 0
        self._weights = {w.untyped_storage().data_ptr() for w in weights}
        self._users: Counter[int] = Counter()  # of each storage: a tensor may be kept by several operations

    def add(self, storage: torch.UntypedStorage, users: int) -> None:
        place = storage.data_ptr()
        if place in self._weights:
            return
        before, self._users[place] = self._users[place], self._users[place] + users
        self.now += storage.nbytes() * (bool(self._users[place]) - bool(before))
        self.most = max(self.most, self.now)


class _Kept:
    """A tensor that an operation keeps until its gradient is computed."""

    def __init__(self, activations: _Activations, tensor: torch.Tensor):
        self.tensor, self._activations = tensor, activations
        activations.add(tensor.untyped_storage(), 1)

    def __del__(self) -> None:
        self._activations.add(self.tensor.untyped_storage(), -1)


def _bytes(state: dict[Any, dict[str, Any]]) -> int:
    return sum(
        value.numel() * value.element_size()
        for entries in state.values()
        for value in entries.values()
        if isinstance(value, torch.Tensor)
    )
