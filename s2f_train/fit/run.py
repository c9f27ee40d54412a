"""A run folder: everything that one fit writes.

runs/00012-gan-male/
  settings.toml       all settings, as they were used; `load` reads it again
  environment.json    versions, machine, commit, command
  log.txt             what was said
  stats.jsonl         figures, one line every `log_every` steps
  tensorboard/        the same for TensorBoard
  samples/            sheets of faces of the same voices, named by step
  checkpoints/        step-001000/ ...: everything to go on, and to export
"""

from __future__ import annotations

import importlib.metadata
import json
import logging
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from PIL import Image

from s2f_edge import __version__
from s2f_edge.errors import OutputError
from s2f_edge.files import write_whole
from s2f_train import checkpoint
from s2f_train.config import RunSettings
from s2f_train.recipes import as_toml

log = logging.getLogger(__name__)

PACKAGES = ("torch", "numpy", "lightning-fabric", "webdataset", "safetensors", "soundfile", "webrtcvad-wheels")


class RunError(ValueError):
    """A folder is no run, or not one to go on with."""


class RunFolder:
    """Writes what a fit has to say. Use `create` or `reopen`."""

    def __init__(self, path: Path, step: int | None = None):
        from torch.utils.tensorboard import SummaryWriter

        self.path = path
        self._events = SummaryWriter(str(path / "tensorboard"), purge_step=None if step is None else step + 1)
        self._log = _LogFile(path / "log.txt")
        self._log.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        logging.getLogger("s2f_train").addHandler(self._log)

    @classmethod
    def create(cls, root: Path, kind: str, name: str, settings: RunSettings) -> RunFolder:
        """Makes the next folder in `root`, such as 00012-gan-male."""
        root.mkdir(parents=True, exist_ok=True)
        while True:
            numbers = [int(p.name[:5]) for p in root.iterdir() if re.match(r"\d{5}-", p.name)]
            path = root / f"{max(numbers, default=-1) + 1:05d}-{name}"
            try:
                path.mkdir()
            except FileExistsError:  # another fit began at the same time
                continue
            break
        write_whole(path / "settings.toml", as_toml(kind, settings).encode())
        write_whole(path / "environment.json", json.dumps(environment(), indent=1).encode())
        return cls(path)

    @classmethod
    def reopen(cls, path: Path, step: int) -> RunFolder:
        """Goes on in a folder: figures of later steps than `step` will be made again, so they go."""
        stats = path / "stats.jsonl"
        if stats.exists():
            kept = [line for line in stats.read_text().splitlines() if _step_of(line) <= step]
            write_whole(stats, "".join(f"{line}\n" for line in kept).encode())
        return cls(path, step)

    def keep_settings(self, kind: str, settings: RunSettings) -> None:
        """Writes settings.toml anew: a run may go on with others."""
        write_whole(self.path / "settings.toml", as_toml(kind, settings).encode())

    def note(self, text: str) -> None:
        """A line of log.txt alone, if it can still be written."""
        with suppress(OSError):
            self._log.handle(logging.makeLogRecord({"msg": text}))

    def figures(self, step: int, figures: dict[str, float]) -> None:
        """One line of stats.jsonl, and the same for TensorBoard."""
        with self._writing():
            with (self.path / "stats.jsonl").open("a") as file:
                file.write(json.dumps({"step": step, **figures}) + "\n")
            for name, value in figures.items():
                self._events.add_scalar(name, value, step)

    def sheet(self, step: int, pixels: NDArray[Any]) -> None:
        """A picture, uint8 (h, w, 3), of what the networks make at a step."""
        folder = self.path / "samples"
        with self._writing():
            folder.mkdir(exist_ok=True)
            Image.fromarray(pixels).save(folder / f"{step:06d}.png")
            self._events.add_image("samples", pixels, step, dataformats="HWC")

    def checkpoint_at(self, step: int) -> Path:
        return self.path / "checkpoints" / f"step-{step:06d}"

    def forget_old(self, keep: int) -> None:
        """Removes all checkpoints but the newest `keep`."""
        for old in checkpoints(self.path)[:-keep]:
            checkpoint.remove(old)

    def close(self) -> None:
        logging.getLogger("s2f_train").removeHandler(self._log)
        for file in (self._events, self._log):
            with suppress(OSError):  # a full disk has been reported by what was written before
                file.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:  # of a write, it names no file
            raise OutputError(f"{self.path} cannot be written: {error.strerror or error}.") from None


class _LogFile(logging.FileHandler):
    """The log, whose errors are those of who logs; logging itself would print tracebacks and go on."""

    def handleError(self, record: logging.LogRecord) -> None:
        raise


def checkpoints(run: Path) -> list[Path]:
    """The checkpoints of a run, oldest first; what else lies beside them, such as a renamed copy, is none."""
    found = [path for path in (run / "checkpoints").glob("step-*") if re.fullmatch(r"step-\d+", path.name)]
    return sorted(found, key=lambda path: int(path.name.removeprefix("step-")))


def newest_checkpoint(path: Path) -> Path:
    """A checkpoint, given itself or its run.

    Raises:
        RunError: there is none.
    """
    if (path / "meta.json").exists():
        return path
    found = checkpoints(path)
    if not found:
        raise RunError(f"{path} is neither a checkpoint nor a run with one.")
    return found[-1]


def _step_of(line: str) -> float:
    """Of a line of stats.jsonl; infinite for one that was cut, as by a full disk."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")


def environment() -> dict[str, Any]:
    """What a run depends on and its settings do not say."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "missing"
    return {
        "s2f": __version__,
        "commit": _commit(),
        "command": sys.argv,
        "python": platform.python_version(),
        "machine": platform.platform(),
        "cores": os.cpu_count(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "packages": versions,
    }


def _commit() -> str:
    """The commit of this checkout, with "+" where files differ from it; "" where git knows nothing."""
    here = Path(__file__).parent
    try:
        answers = [
            subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, check=True, timeout=20).stdout
            for words in (["rev-parse", "--short=12", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        ]
    except (OSError, subprocess.SubprocessError):
        return ""
    return answers[0].strip() + ("+" if answers[1].strip() else "")
