"""The loop that every fit runs in: batches, steps, figures, sheets, checkpoints, and stopping well."""

from __future__ import annotations

import logging
import math
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.optim import Optimizer

from s2f_train import checkpoint
from s2f_train.config import RunSettings
from s2f_train.data.feed import Batch, Drawer, batches
from s2f_train.fit.processes import mean_over_processes
from s2f_train.fit.run import RunFolder

log = logging.getLogger(__name__)

AGREE_EVERY = 10  # steps between two times that several processes ask each other whether to stop
SAME_REQUEST_S = 1.0  # torchrun passes on the Ctrl-C that the terminal has sent to all processes already
ADVICE = "Checkpoints of the run are from before that. Lower the rate, or set clip_gradient."


class NotFiniteError(FloatingPointError):
    """A loss, or a weight, became NaN or infinite."""


class Task:
    """What is fitted, and how a step goes; the loop does the rest.

    Attributes:
        settings: of the fit.
        kind: "voice", "gan" or "vae".
        name: of the run folder, such as "gan-male".
        networks: all that a checkpoint holds, frozen ones too.
        optimisers: by name; the loop sets their rates.
        drawer: of the batches; `workers` processes run it, or a thread if that is 0.
        facts: what a checkpoint says of the training beside the step.
        planned: the step whose cost `--dry-run` tells.
    """

    settings: RunSettings
    kind: str
    name: str
    networks: dict[str, nn.Module]
    optimisers: dict[str, Optimizer]
    drawer: Drawer
    workers: int = 0
    planned: int = 0
    facts: dict[str, Any]

    def step(self, batch: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        """One step of every optimiser; gives the figures to keep, scalars."""
        raise NotImplementedError

    def check(self) -> dict[str, float]:
        """Figures that are worth their time only every `sample_every` steps."""
        return {}

    def finish(self) -> None:
        """Called after the last step, before its checkpoint, in every process: for what is fitted to the networks."""

    def sheet(self) -> NDArray[Any] | None:
        """A picture of what the networks make now, uint8 (h, w, 3)."""
        return None


def fit(task: Task, fabric: Fabric, folder: RunFolder | None, start: int = 0) -> bool:
    """Runs the steps from `start` to the end of the settings.

    Args:
        folder: None in all processes but the first.

    Returns:
        Whether the end was reached; False after Ctrl-C or SIGTERM, with a checkpoint of the last step.

    Raises:
        NotFiniteError: a loss or a weight is NaN or infinite. The newest checkpoint is from before it.
        OSError: the disk is full; the newest checkpoint is whole.
    """
    settings = task.settings
    window = _Window()
    with _stop_requests() as stop, _Progress(task, start, fabric.is_global_zero) as progress:
        source = iter(batches(task.drawer, start, settings.steps, task.workers))
        for step in range(start, settings.steps):
            began = time.perf_counter()
            drawn = next(source)
            waited = time.perf_counter() - began
            for optimiser in task.optimisers.values():
                _set_rate(optimiser, settings, step)
            window.add(task.step(on_device(fabric, drawn), step), waited)
            done = step + 1
            stopping = _all_agree(fabric, stop.asked, done) and done < settings.steps
            last = stopping or done == settings.steps
            saving = last or done % settings.save_every == 0
            if saving or done % settings.log_every == 0 or done % settings.sample_every == 0:
                figures = window.read(fabric, done)
                if folder and (last or done % settings.sample_every == 0):
                    figures |= task.check()
                    picture = task.sheet()
                    if picture is not None:
                        folder.sheet(done, picture)
                if folder:
                    folder.figures(done, figures)
                progress.show(done, figures)
                if saving:
                    _require_finite(task, done)
                    if done == settings.steps:
                        task.finish()
                    if folder:
                        _save(task, folder, done)
                    fabric.barrier()
                window.start_clock()  # sheets, checks and checkpoints are no part of a step
            if stopping:
                log.info("stopped after step %d; --resume goes on", done)
                return False
    return True


def on_device(fabric: Fabric, batch: Batch) -> dict[str, Tensor]:
    """The arrays of a batch as tensors where the networks are; the copy does not wait."""
    tensors = {name: torch.from_numpy(array) for name, array in batch.items()}
    if fabric.device.type == "cuda":
        tensors = {name: t.pin_memory().to(fabric.device, non_blocking=True) for name, t in tensors.items()}
    return tensors


def _set_rate(optimiser: Optimizer, settings: RunSettings, step: int) -> None:
    share = 1.0
    if settings.schedule == "cosine":
        share = 0.5 * (1 + math.cos(math.pi * step / settings.steps))
    elif settings.schedule == "decay":
        share = 0.95 ** (step // 10_000)
    for group in optimiser.param_groups:
        group["lr"] = group["initial_lr"] * share


def _require_finite(task: Task, step: int) -> None:
    """The losses of a step say nothing of what its own update made of the weights."""
    tensors = [t for network in task.networks.values() for t in network.state_dict().values() if t.is_floating_point()]
    if not all(bool(t.isfinite().all()) for t in tensors):  # on more than one device
        raise NotFiniteError(f"The weights after step {step} are NaN or infinite. {ADVICE}")


def _save(task: Task, folder: RunFolder, step: int) -> None:
    facts = {"fit": task.kind, "step": step, "run": folder.path.name, **task.facts}
    checkpoint.save(folder.checkpoint_at(step), task.networks, facts, task.optimisers)
    folder.forget_old(task.settings.keep)


def _all_agree(fabric: Fabric, asked: bool, step: int) -> bool:
    """Whether to stop now: several processes must do so at the same step, or they would wait for ever."""
    if fabric.world_size == 1:
        return asked
    if step % AGREE_EVERY:
        return False
    votes = torch.tensor(float(asked), device=fabric.device)
    return bool(mean_over_processes(fabric, votes) > 0)


class _Window:
    """Figures since the last line: their means, how often they were not finite, and where the time went."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._broken: Tensor | None = None
        self._steps = 0
        self.start_clock()

    def start_clock(self) -> None:
        self._waited = 0.0
        self._began = time.perf_counter()

    def add(self, figures: dict[str, Tensor], waited: float) -> None:
        # Summed where they are: reading a figure on every step would make a GPU wait for Python.
        together = torch.stack([value.detach().float() for value in figures.values()])
        bad = (~together.isfinite()).any().float()
        self._broken = bad if self._broken is None else self._broken + bad
        for name, value in zip(figures, together, strict=True):
            self._sums[name] = self._sums[name] + value if name in self._sums else value.clone()
        self._steps += 1
        self._waited += waited

    def read(self, fabric: Fabric, step: int) -> dict[str, float]:
        assert self._broken is not None
        values = torch.stack([*self._sums.values(), self._broken * self._steps]) / self._steps
        values = mean_over_processes(fabric, values)
        *means, broken = values.tolist()
        if broken or not all(map(math.isfinite, means)):
            raise NotFiniteError(
                f"The losses of {max(1, round(broken))} of the {self._steps} steps up to step {step} are NaN or "
                f"infinite. {ADVICE}"
            )
        seconds = max(time.perf_counter() - self._began, 1e-9)
        figures = dict(zip(self._sums, means, strict=True))
        figures["steps_per_second"] = self._steps / seconds
        figures["data_share"] = self._waited / seconds
        self._reset()
        return figures


class _StopRequest:
    asked = False
    since = 0.0


@contextmanager
def _stop_requests() -> Iterator[_StopRequest]:
    """Ctrl-C and SIGTERM ask for a stop after the step; a second Ctrl-C stops at once."""
    request = _StopRequest()

    def ask(number: int, frame: FrameType | None) -> None:
        if not request.asked:
            request.asked, request.since = True, time.monotonic()
        elif number == signal.SIGINT and time.monotonic() - request.since > SAME_REQUEST_S:
            raise KeyboardInterrupt

    before = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, ask)
    except ValueError:  # not the main thread: whoever runs us there handles signals
        pass
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Progress:
    """A bar on a terminal, lines elsewhere; nothing from other processes than the first."""

    def __init__(self, task: Task, start: int, first: bool):
        self._task, self._first = task, first
        self._bar: Progress | None = None
        if first and sys.stderr.isatty():
            from rich.console import Console

            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[figures]}"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=Console(stderr=True),
            )
            self._row = self._bar.add_task(task.name, total=task.settings.steps, completed=start, figures="")

    def __enter__(self) -> _Progress:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar:
            self._bar.stop()

    def show(self, step: int, figures: dict[str, float]) -> None:
        speed = figures["steps_per_second"]
        said = ", ".join(f"{k} {v:.3f}" for k, v in figures.items() if k not in ("steps_per_second", "data_share"))
        if self._bar:
            self._bar.update(self._row, completed=step, figures=f"{speed:.1f} steps/s")
        elif self._first:
            left = (self._task.settings.steps - step) / speed
            log.info(
                "%s step %d/%d: %s; %.1f steps/s, %.0f %% waiting for data, %d:%02d left",
                self._task.name, step, self._task.settings.steps, said, speed, 100 * figures["data_share"],
                left // 60, left % 60,
            )  # fmt: skip
