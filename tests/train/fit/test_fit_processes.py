"""Fits of two processes, on CPUs by gloo, against the same fit in one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from tests.train.fit.fit_tools import begin, figures, newest_run, one_thread, s2f_train, tensors

ROOT = Path(__file__).resolve().parents[3]
TOGETHER = ["devices=2", "accelerator=cpu"]
TORCHRUN = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
# Double precision: sums of shares differ from sums of the whole in their last bits only. Adam makes 3e-9 of
# that for a bias before a batch norm, whose gradient is nothing but those bits.
LARGEST = 1e-7
# Name -> what is fitted, in two processes and in one.
FITS = {
    "thesis2023": ["gan", "variant=thesis2023", "ema=0.9", "view=s2f", "pixel_weight=1.0", "precision=64-true"],
    "wen2019": ["gan", "variant=wen2019", "optimiser=adam", "precision=64-true"],
    "voice": ["voice", "optimiser=sgd", "noise_share=0.5", "clip_gradient=5.0", "precision=64-true"],
}
STEPS = 4
STOPPED = "thesis2023"  # the one that Ctrl-C ends


@dataclass
class Started:
    """A command that runs while other tests do."""

    process: subprocess.Popen[bytes]
    runs: Path
    errors: Path

    def end(self) -> int:
        """Waits; gives the exit status."""
        return self.process.wait(120)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with one_thread():
        yield begin(tmp_path_factory.mktemp("fits"))


@pytest.fixture(scope="module")
def started(place: Path) -> Iterator[dict[str, Started]]:
    """The three fits in two processes each, by Fabric's launcher or by torchrun."""
    found = {}
    for name, (kind, *given) in FITS.items():
        launcher = TORCHRUN if name == "voice" else []
        runs, errors = place / f"two-{name}", place / f"two-{name}.txt"
        steps = f"steps={100_000 if name == STOPPED else STEPS}"
        words = [kind, str(place / "recipe.toml"), f"runs={runs}", steps, "keep=99", *TOGETHER, *given]
        with errors.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", *launcher, "s2f_train", "fit", *words],
                stdout=file, stderr=file, cwd=ROOT, start_new_session=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
            )  # fmt: skip
        found[name] = Started(process, runs, errors)
    yield found
    for each in found.values():
        if each.process.poll() is None:
            os.killpg(each.process.pid, signal.SIGKILL)


def assert_close(one: Path, two: Path, step: int) -> None:
    first, second = (tensors(run / "checkpoints" / f"step-{step:06d}") for run in (one, two))
    assert first.keys() == second.keys()
    apart = {name: float((first[name].double() - second[name].double()).abs().max()) for name in first}
    assert max(apart.values()) < LARGEST, {name: value for name, value in apart.items() if value >= LARGEST}
    assert any(tensor.dtype == torch.float64 for tensor in first.values())


def alone(place: Path, name: str, *words: str) -> Path:
    """The same fit in one process; gives its run."""
    kind, *given = FITS[name]
    runs = place / f"one-{name}"
    result = s2f_train("fit", kind, place / "recipe.toml", f"runs={runs}", "keep=99", *given, *words)
    assert result.exit_code == 0, result.output
    return newest_run(runs)


@pytest.mark.slow
def test_ctrl_c_stops_both_and_one_goes_on(place: Path, started: dict[str, Started]) -> None:
    fit = started[STOPPED]
    until = time.monotonic() + 100
    while not list(fit.runs.glob("*/stats.jsonl")):
        assert fit.process.poll() is None, fit.errors.read_text()
        assert time.monotonic() < until
        time.sleep(0.1)
    os.killpg(fit.process.pid, signal.SIGINT)  # as a terminal does: to both
    assert fit.end() == 130, fit.errors.read_text()
    said = fit.errors.read_text()
    assert "Traceback" not in said
    assert "--resume goes on" in said
    two = newest_run(fit.runs)
    last = int(max(path.name for path in (two / "checkpoints").iterdir()).removeprefix("step-"))
    assert last == figures(two)[-1]["step"]
    one = alone(place, STOPPED, f"steps={last + 2}")
    assert_close(one, two, last)
    assert s2f_train("fit", "gan", "--resume", two, f"steps={last + 2}", "devices=1").exit_code == 0
    assert_close(one, two, last + 2)


@pytest.mark.parametrize("name", ["wen2019", "voice"])
@pytest.mark.slow
def test_two_processes_compute_what_one_does(place: Path, started: dict[str, Started], name: str) -> None:
    one = alone(place, name)
    assert started[name].end() == 0, started[name].errors.read_text()
    two = newest_run(started[name].runs)
    assert_close(one, two, STEPS)
    assert len(list(started[name].runs.glob("0*"))) == 1  # one of the two writes
    for mine, theirs in zip(figures(one), figures(two), strict=True):
        assert mine == pytest.approx(theirs, abs=1e-5)
