"""How fast a recipe trains here, and whether the data or the computing is the limit.

    python benchmarks/training.py wen2019 store=STORE voice=RUN
    python benchmarks/training.py --fit voice wen2019 store=STORE

Runs the fit's own steps on its own batches without a run folder: first it is left to warm up, then timed as it
runs (batches made in the background), then the two halves alone: drawing batches, and steps on one batch.
If drawing alone is faster than stepping alone, the computing is the limit.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).parents[1]))

from s2f_train.cli import fit
from s2f_train.config import find_recipe, load
from s2f_train.data.feed import batches
from s2f_train.fit.loop import on_device
from s2f_train.fit.processes import launch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", metavar="RECIPE")
    parser.add_argument("settings", nargs="*", metavar="key=value")
    parser.add_argument("--fit", choices=("voice", "gan"), default="gan")
    parser.add_argument("--steps", type=int, default=20, help="timed steps of each kind (default: 20)")
    parser.add_argument("--warm-up", type=int, default=5, help="steps before them (default: 5)")
    given = parser.parse_args()
    settings = load(given.fit, find_recipe(given.config), given.settings)
    fabric = launch(settings)
    task = fit.make_task(given.fit, settings, fabric)

    def wait() -> None:
        if fabric.device.type == "cuda":
            torch.cuda.synchronize()

    def rate(work: Callable[[int], Any], first: int) -> float:
        began = time.perf_counter()
        for step in range(first, first + given.steps):
            work(step)
        wait()
        return given.steps / (time.perf_counter() - began)

    end = given.warm_up + given.steps
    source = iter(batches(task.drawer, 0, end, task.workers))
    for step in range(given.warm_up):
        task.step(on_device(fabric, next(source)), step)
    wait()
    together = rate(lambda step: task.step(on_device(fabric, next(source)), step), given.warm_up)
    drawing = rate(task.drawer.draw, 0)
    batch = on_device(fabric, task.drawer.draw(0))
    computing = rate(lambda step: task.step(batch, step), 0)
    with FlopCounterMode(display=False) as counter:
        task.step(batch, 0)
    gflop = counter.get_total_flops() / 1e9

    on_gpu = fabric.device.type == "cuda"
    machine = torch.cuda.get_device_name() if on_gpu else f"CPU, {torch.get_num_threads()} threads"
    result = {
        "recipe": Path(given.config).stem,
        "fit": given.fit,
        "machine": machine,
        "precision": settings.precision,
        "batch": settings.batch,
        "gflop_a_step": round(gflop, 1),
        "steps_per_second": round(together, 3),
        "computing_alone": round(computing, 3),
        "drawing_alone": round(drawing, 2),
        "gflop_per_second": round(gflop * together, 1),
        "limit": "computing" if computing < drawing else "data",
    }
    for name, value in result.items():
        print(f"{name:18} {value}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
