"""The commands `prepare` and `store`: data sets to a store, and what is in one."""

from __future__ import annotations

import functools
import json
import signal
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from s2f_edge.interrupts import INTERRUPTED
from s2f_edge.terms import Engine
from s2f_train.data.items import Keep, SplitRule

if TYPE_CHECKING:
    from s2f_train.data.items import Source
    from s2f_train.data.store import Store
    from s2f_train.prepare.plan import Plan
    from s2f_train.prepare.unit import Unit

FACE_SIZES = (64, 224)
OPTIONAL = ("avspeech_times", "portraits_csv", "clips_csv", "words_csv")  # what a data set can do without


def _source(metavar: str, text: str) -> Any:
    return typer.Option(metavar=metavar, help=text, rich_help_panel="Data sets, one or more")


_choice = functools.partial(typer.Option, rich_help_panel="Selection")
_running = functools.partial(typer.Option, rich_help_panel="Running")


def register(app: typer.Typer) -> None:
    """Adds the two commands."""
    app.command()(prepare)
    app.command()(store)


def prepare(
    out: Annotated[Path, typer.Option(metavar="STORE", help="Folder of the store; finished shards in it are kept.")],
    voxceleb1: Annotated[Path | None, _source("DIR", "VoxCeleb1 audio. Needs --vox1-meta.")] = None,
    vox1_meta: Annotated[Path | None, _source("CSV", "vox1_meta.csv.")] = None,
    voxceleb2: Annotated[Path | None, _source("DIR", "VoxCeleb2 audio. Needs --vox2-meta.")] = None,
    vox2_meta: Annotated[Path | None, _source("CSV", "vox2_meta.csv.")] = None,
    vggface: Annotated[Path | None, _source("DIR", "VGGFace or VGGFace2: a folder of pictures per person.")] = None,
    wen_fbank: Annotated[
        Path | None, _source("DIR", "Log-mels of Wen et al. 2019. Needs --wen-faces and --vox1-meta.")
    ] = None,
    wen_faces: Annotated[Path | None, _source("DIR", "Aligned faces of Wen et al. 2019.")] = None,
    avspeech: Annotated[Path | None, _source("DIR", "AVSpeech: clips with pictures, or full recordings.")] = None,
    avspeech_times: Annotated[Path | None, _source("CSV", "AVSpeech's csv, for full recordings.")] = None,
    librispeech: Annotated[Path | None, _source("DIR", "LibriSpeech.")] = None,
    utkface: Annotated[Path | None, _source("DIR|TAR", "UTKFace pictures.")] = None,
    portraits: Annotated[Path | None, _source("DIR|TAR", "Portraits: large pictures of heads.")] = None,
    portraits_csv: Annotated[
        Path | None, _source("CSV", "Metadata of the portraits: name, source, gender, age, identity.")
    ] = None,
    talking_heads: Annotated[
        Path | None, _source("DIR|TAR", "Videos of speakers, with their sound or beside it. Needs --landmarker.")
    ] = None,
    landmarker: Annotated[
        Path | None, _source("TASK", "MediaPipe's face_landmarker.task; with --portraits also finds open mouths.")
    ] = None,
    clips_csv: Annotated[Path | None, _source("CSV", "Speakers of the videos: clip, speaker, gender.")] = None,
    words_csv: Annotated[Path | None, _source("CSV", "Words of the videos: clip, start_s, end_s, word.")] = None,
    s2f_data: Annotated[Path | None, _source("DIR", "The S2F_DATA folder, which holds data/.")] = None,
    split: Annotated[SplitRule, _choice(help="Assign identities to splits by a hash or by first letter.")] = "hash",
    keep: Annotated[Keep, _choice(help="What to store of voices: sound, log-mel features, or both.")] = "both",
    max_seconds: Annotated[float, _choice(min=1.0, help="Maximum seconds of speech per voice.")] = 60.0,
    face_size: Annotated[int, _choice(help="Width and height of faces in pixels: 64 or 224.")] = 64,
    zoom: Annotated[
        float,
        _choice(
            min=1.0,
            max=3.0,
            help="How closely faces are cropped: 1 is the whole head, as in Oh et al.; UTKFace needs 1.5.",
        ),
    ] = 1.0,
    voices_per_identity: Annotated[int | None, _choice(min=1, help="Maximum number of voices (random).")] = None,
    faces_per_identity: Annotated[int | None, _choice(min=1, help="Maximum number of faces (random).")] = None,
    limit: Annotated[int | None, _choice(min=1, help="Use only the first items of each source, to try it out.")] = None,
    seed: Annotated[int, _choice(help="Random seed of the order of items.")] = 0,
    shard_items: Annotated[
        int | None, _choice(min=1, help="Items per shard (default: 512 voices, 4096 faces).")
    ] = None,
    engine: Annotated[Engine, _running(help="On this machine, or on a Ray cluster (extra cluster).")] = "local",
    jobs: Annotated[int | None, _running(min=1, help="Worker processes (default: all cores).")] = None,
    address: Annotated[
        str,
        _running(
            help="Ray address: auto (the running cluster), local (a new one) or ray://HOST:PORT. All nodes must see "
            "the store, the data and this checkout under the same paths."
        ),
    ] = "auto",
    replace: Annotated[bool, _running("--replace", help="Remove shards made from other data or settings.")] = False,
    dry_run: Annotated[bool, _running("--dry-run", help="Count items, estimate size and time; write nothing.")] = False,
) -> None:
    """Turn data sets into a store for training: WebDataset shards with an index and a report.

    Repeat the command to continue an interrupted run.
    """
    given = dict(locals())  # not a context's params: before 0.29, typer has paths there as strings

    from s2f_train.data.items import SourceError
    from s2f_train.data.store import StoreError
    from s2f_train.prepare.item import PrepareSettings
    from s2f_train.prepare.plan import Choice, plan
    from s2f_train.prepare.worker import PrepareError

    if face_size not in FACE_SIZES:
        _fail(f"--face-size is {face_size}; it must be 64 or 224.", 2)
    choice = Choice(split, seed, shard_items, voices_per_identity, faces_per_identity, limit)
    settings = PrepareSettings(keep, max_seconds, face_size, zoom, str(landmarker.absolute()) if landmarker else "")
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # a cluster that takes the machine back
    try:
        planned = plan(read_sources(given), choice, settings)
        if dry_run:
            _estimate(planned)
        else:
            _run(planned, out, engine, jobs, address, replace)
    except SourceError as error:
        _fail(str(error), 2)
    except (PrepareError, StoreError, FileExistsError) as error:
        _fail(str(error))
    except KeyboardInterrupt:
        _fail("stopped. Finished shards stay; the same command goes on.", INTERRUPTED)
    finally:
        signal.signal(signal.SIGTERM, before)


def store(
    folder: Annotated[Path, typer.Argument(metavar="STORE", help="Folder of a store.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print store.json.")] = False,
) -> None:
    """Show the contents of a store, check that it is complete, and rewrite its report."""
    from s2f_train.data.store import Store, StoreError
    from s2f_train.prepare import store_report

    try:
        opened = Store.open(folder)
        page = store_report.write(opened)
    except (StoreError, OSError) as error:
        _fail(str(error))
    typer.echo(json.dumps(opened.facts) if as_json else f"{_summary(opened)}\nReport: {page}")


def read_sources(given: dict[str, Any]) -> list[Source]:
    """The data sets that the options name.

    Raises:
        SourceError: none is named, an option misses another, or a folder is not what it should be.
    """
    from s2f_train.data.items import SourceError
    from s2f_train.prepare.sources.avspeech import avspeech
    from s2f_train.prepare.sources.librispeech import librispeech
    from s2f_train.prepare.sources.portraits import portraits
    from s2f_train.prepare.sources.s2f_tars import s2f_tars
    from s2f_train.prepare.sources.talking_heads import talking_heads
    from s2f_train.prepare.sources.utkface import utkface
    from s2f_train.prepare.sources.vggface import vggface
    from s2f_train.prepare.sources.voxceleb import voxceleb1, voxceleb2
    from s2f_train.prepare.sources.wen import wen

    # What names the data set -> its reader, and what else that takes.
    readers: dict[str, tuple[Callable[..., Source | list[Source]], tuple[str, ...]]] = {
        "voxceleb1": (voxceleb1, ("vox1_meta",)),
        "voxceleb2": (voxceleb2, ("vox2_meta",)),
        "vggface": (vggface, ()),
        "wen_fbank": (wen, ("wen_faces", "vox1_meta")),
        "avspeech": (avspeech, ("avspeech_times",)),
        "librispeech": (librispeech, ()),
        "utkface": (utkface, ()),
        "portraits": (portraits, ("portraits_csv",)),
        "talking_heads": (talking_heads, ("landmarker", "clips_csv", "words_csv")),
        "s2f_data": (s2f_tars, ()),
    }
    sources: list[Source] = []
    for name, (read, others) in readers.items():
        absent = [other for other in others if given[other] is None and other not in OPTIONAL]
        if given[name] is not None:
            if absent:
                raise SourceError(f"{_option(name)} needs {' and '.join(map(_option, absent))} too.")
            found = read(given[name], *(given[other] for other in others))
            sources += found if isinstance(found, list) else [found]
    for name, other in (
        ("wen_fbank", "wen_faces"),
        ("avspeech", "avspeech_times"),
        ("portraits", "portraits_csv"),
        ("talking_heads", "clips_csv"),
        ("talking_heads", "words_csv"),
    ):
        if given[other] is not None and given[name] is None:
            raise SourceError(f"{_option(other)} needs {_option(name)} too.")
    if given["landmarker"] is not None and given["talking_heads"] is None and given["portraits"] is None:
        raise SourceError("--landmarker needs --talking-heads or --portraits too.")
    if not sources:
        raise SourceError(f"No data set is given: name one or more with {', '.join(map(_option, readers))}.")
    return sources


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _run(planned: Plan, out: Path, engine: Engine, jobs: int | None, address: str, replace: bool) -> None:
    from s2f_train.data.store import Store
    from s2f_train.prepare import engines
    from s2f_train.prepare.build import is_finished, missing, prepare
    from s2f_train.prepare.progress import PrepareProgress

    todo = missing(planned, out, replace)
    if not todo and is_finished(planned, out):
        typer.echo(f"Nothing to do: {_summary(Store.open(out))}")
        return
    count = sum(len(unit.entries) for unit in todo)
    kept = planned.count("voice") + planned.count("face") - count
    typer.echo(
        f"{planned.count('voice'):,} voices and {planned.count('face'):,} faces; {kept:,} are there already.", err=True
    )

    def make(units: Sequence[Unit]) -> Generator[Unit, None, None]:
        if engine == "ray":
            return engines.on_ray(units, out, planned.settings, address, jobs, progress.tick)
        return engines.local(units, out, planned.settings, jobs, progress.tick)

    with PrepareProgress(count) as progress:
        made = prepare(planned, out, make, todo)
    typer.echo(f"{_summary(made)}\nReport: {out / 'report.html'}")


def _estimate(planned: Plan) -> None:
    from s2f_train.prepare.estimate import estimate

    rows = estimate(planned)
    for row in rows:
        hours = f", {row.hours:,.1f} h of speech" if row.kind == "voice" else ""
        typer.echo(
            f"{row.source}: {row.items:,} {row.kind}s, about {row.bytes / 1e6:,.0f} MB{hours}, "
            f"{row.cpu_seconds / 3600:,.2f} h of one core; {row.usable:.0%} of those tried can be used"
        )
    size, cpu = sum(row.bytes for row in rows), sum(row.cpu_seconds for row in rows)
    typer.echo(f"In all about {size / 1e9:,.2f} GB and {cpu / 3600:,.2f} h of one core.")


def _summary(store: Store) -> str:
    counts = store.facts["counts"]
    return (
        f"{store.folder} has {counts['voices']:,} voices ({counts['hours']:,.2f} h of speech) and {counts['faces']:,} "
        f"faces of {counts['identities']:,} identities; {counts['skipped']:,} items were left out."
    )


def _fail(message: str, status: int = 1) -> NoReturn:
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(status)
