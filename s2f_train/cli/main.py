"""`python -m s2f_train`: train networks from a checkout."""

from __future__ import annotations

import logging

import typer

from s2f_train.cli import evaluate, fit, prepare, study

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)
prepare.register(app)
fit.register(app)
evaluate.register(app)
study.register(app)


@app.callback()
def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
