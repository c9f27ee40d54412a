"""The commands `study make`, `study serve` and `study score`: people say how good faces are."""

from __future__ import annotations

import functools
import json as json_module
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from s2f_edge.interrupts import INTERRUPTED
from s2f_train.cli.evaluate import (
    PackOption,
    PicturesOption,
    ReferenceOption,
    StoreOption,
    named,
    named_pictures,
    pack_of,
)
from s2f_train.data.items import Split

if TYPE_CHECKING:
    from s2f_train.study.study import StudyTask

_whom = functools.partial(typer.Option, rich_help_panel="Voices and faces")
_asked = functools.partial(typer.Option, rich_help_panel="Questions")
Folder = Annotated[Path, typer.Argument(metavar="STUDY", help="Folder that `study make` wrote.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    study = typer.Typer(no_args_is_help=True, help="Let people judge faces: make a study, serve it, score it.")
    app.add_typer(study, name="study")
    for command in (make, serve, score):
        study.command()(command)


def make(
    store: StoreOption,
    out: Annotated[Path, typer.Option(metavar="STUDY", help="Folder of the study.")],
    pack: PackOption = None,
    pictures: PicturesOption = None,
    reference: ReferenceOption = None,
    generator: Annotated[
        str,
        typer.Option(metavar="NAME", help="Generator: general, male, female or auto (default: auto, else general)."),
    ] = "",
    split: Annotated[Split, _whom(help="Split of the store.")] = "test",
    view: Annotated[str, _whom(help="View of the store that holds the photographs.")] = "photo",
    source: Annotated[list[str] | None, _whom(metavar="NAME", help="Data sets of the store (default: all).")] = None,
    photographs: Annotated[
        str,
        _whom(metavar="STORE|FOLDER", help="Photographs beside made faces (default: those of other speakers)."),
    ] = "",
    photograph_set: Annotated[
        list[str] | None, _whom(metavar="NAME[+NAME]", help="Sets of these to use (default: all).")
    ] = None,
    voices: Annotated[int, _whom(min=2, help="Maximum number of voices, one per speaker.")] = 48,
    seconds: Annotated[float, _whom(min=1.0, max=60.0, help="Maximum seconds of a voice that people hear.")] = 8.0,
    zoom: Annotated[float, _whom(min=1.0, max=2.0, help="Magnification of faces; 1 shows hair and background.")] = 1.3,
    matches: Annotated[int, _asked(min=0, help="Questions per person: which of two faces goes with the voice?")] = 16,
    pairs: Annotated[int, _asked(min=0, help="Questions per person: which of two pictures is the photograph?")] = 12,
    ratings: Annotated[int, _asked(min=0, help="Ratings per person: realism, fit to the voice, appeal.")] = 12,
    checks: Annotated[int, _asked(min=0, max=5, help="Attention checks in each of the three.")] = 1,
    title: Annotated[str, _asked(help="Title of the page.")] = "Voices and faces",
    contact: Annotated[str, _asked(help="Contact in the consent text.")] = "",
    seed: Annotated[int, typer.Option(min=0, help="Random seed of every choice and order.")] = 0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what people would be asked; write nothing.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON only.")] = False,
) -> None:
    """Make a study from the voices and photographs of a store and the faces that systems make.

    Each person sees every system equally often, blind, in an order of their own. The folder holds photographs and
    voices of real people: read its README.md. A face from a voice is never an identification.
    """
    with _errors():
        from s2f_train.study import make as making

        settings = making.StudySettings(
            store=store, packs={n: pack_of(p) for n, p in named(pack, "pack")}, pictures=dict(named_pictures(pictures)),
            references=tuple(reference or ()), generator=generator, split=split, view=view,
            sources=tuple(source or ()), photographs=photographs, photograph_sets=tuple(photograph_set or ()),
            voices=voices, each=(matches, pairs, ratings), checks=checks, seconds=seconds, zoom=zoom,
            title=title, contact=contact, seed=seed,
        )  # fmt: skip
        if dry_run:
            planned = making.plan(settings)
            tasks, notes = planned.tasks, planned.notes
        else:
            study, notes = making.make(settings, out)
            tasks = study.tasks
    if json:
        said = {"study": None if dry_run else str(out), "tasks": [vars(task) for task in tasks], "notes": notes}
        typer.echo(json_module.dumps(said, ensure_ascii=False))
        return
    for note in notes:
        typer.echo(f"note: {note}")
    for task in tasks:
        typer.echo(_said(task))
    if not dry_run:
        typer.echo(f"study: {out}; edit its consent texts, then run `study serve {out}`")


def serve(
    study: Folder,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for other machines.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 chooses a free one.")] = 8001,
    people: Annotated[int, typer.Option(min=1, help="Maximum number of participants.")] = 1000,
) -> None:
    """Serve the page on which people take a study. Stop it with Ctrl-C; repeat the command to continue.

    Answers go to STUDY/answers.sqlite, each before it is acknowledged: no name, no address, no time of day.
    """
    with _errors("stopped; all answers are kept: the same command goes on"):
        try:
            from s2f_train.study import serve as serving
        except ModuleNotFoundError as error:
            raise SystemExit(
                f"error: serving needs more packages ({error.name} is missing); install the extra: "
                "pip install '.[serve]'"
            ) from None
        serving.serve(study, host, port, people, lambda address: print(f"study serves at {address}", flush=True))


def score(
    study: Folder,
    out: Annotated[Path | None, typer.Option(help="Folder of the report (default: STUDY/report).")] = None,
    everyone: Annotated[bool, typer.Option("--everyone", help="Include people who failed attention checks.")] = False,
    draws: Annotated[int, typer.Option(min=0, help="Bootstrap samples for agreement.")] = 1000,
    json: Annotated[bool, typer.Option("--json", help="Print report.json only.")] = False,
) -> None:
    """Write the report of a study: shares with intervals over people and voices, agreement, comparisons, power.

    The folder holds report.html, report.json, answers.csv and answers.json. The study may be running.
    """
    out = out or study / "report"
    with _errors():
        from s2f_train.study import score as scoring

        result = scoring.score(study, everyone, draws)
        scoring.write_score(result, out)
    if json:
        typer.echo((out / "report.json").read_bytes(), nl=False)
        return
    for warning in result.evaluation.warnings:
        typer.echo(f"note: {warning}")
    for value, what in result.evaluation.summary:
        typer.echo(f"{value:>10}  {what}")
    typer.echo(f"report: {out / 'report.html'}")


def _said(task: StudyTask) -> str:
    kinds = len(task.cells)
    return (
        f"{task.name}: {task.each} trials a person of {kinds} kinds, on {task.voices} voices; "
        f"{task.voices // task.each * kinds} people see every voice in every kind once"
    )


@contextmanager
def _errors(stopped: str = "stopped; nothing was written") -> Iterator[Any]:
    """Errors that are the user's to mend become one line."""
    from s2f_edge import S2FError
    from s2f_train.data.store import StoreError
    from s2f_train.evaluate.judging import JudgeError
    from s2f_train.evaluate.systems import EvaluateError
    from s2f_train.study.study import StudyError

    try:
        yield
    except (S2FError, StoreError, EvaluateError, JudgeError, StudyError, OSError, ModuleNotFoundError) as error:
        raise SystemExit(f"error: {error}") from None
    except KeyboardInterrupt:
        typer.echo(stopped, err=True)
        raise SystemExit(INTERRUPTED) from None
