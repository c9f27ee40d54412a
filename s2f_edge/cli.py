"""The command `s2f-edge`. The only module of the runtime that prints."""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from s2f_edge import cli_files
from s2f_edge._version import __version__
from s2f_edge.errors import ProvenanceError, S2FError

NOTICE = "A plausible face for a voice. It is not the speaker and identifies nobody."
SOME_FAILED = 3

Facts = dict[str, Any]  # of one result, as --json prints them
Make = Callable[[str, str], Facts]
Lines = Callable[[Facts], str]


class _Commands(TyperGroup):
    """Ends a run that is cut short before typer does: its endings say too little, and have another status."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise typer.Exit(_interrupted()) from None
        except BrokenPipeError:
            raise typer.Exit(_reader_left()) from None


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help=f"Make a plausible face from a recording of a voice.\n\n{NOTICE}",
    epilog="Exit status: 0 all done; 2 usage; 3 some of several files failed; 10-12 unreadable sound; 20 not speech; "
    "21 too little speech; 30-32 model pack; 40-41 onnxruntime or device; 50 output; 51 no provenance; "
    "130 interrupted.",
)
pack_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Look at model packs.")
app.add_typer(pack_app, name="pack")


class Gender(StrEnum):
    auto = "auto"
    general = "general"
    male = "male"
    female = "female"


class Device(StrEnum):
    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class EmbeddingFormat(StrEnum):
    npy = "npy"
    json = "json"


FilesArgument = Annotated[
    list[str], typer.Argument(metavar="FILE...", help="Recordings, folders of them, or - for stdin.")
]
PackArgument = Annotated[Path | None, typer.Argument(metavar="[PACK]", help="Folder (default: the installed pack).")]
PackOption = Annotated[Path | None, typer.Option(help="Folder of a model pack (default: the one that is installed).")]
DeviceOption = Annotated[Device, typer.Option(help="auto takes CUDA where it is there; cuda insists on it.")]
ThreadsOption = Annotated[int | None, typer.Option(min=1, help="Threads of one network call (default: all cores).")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one line of JSON per file.")]
DenoiseOption = Annotated[bool, typer.Option("--denoise", help="Lower steady noise first; for noisy recordings only.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Replace a file that s2f-edge did not write; its own are always replaced.")
]


# ----------------------------------------------------------------------------- commands


def _version(wanted: bool) -> None:
    if wanted:
        print(f"s2f-edge {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what happens to standard error.")] = False,
) -> None:
    """Options of every command."""
    logging.basicConfig(level=logging.DEBUG if verbose else logging.ERROR, format="%(levelname)s %(name)s: %(message)s")


@app.command()
def infer(
    files: FilesArgument,
    gender: Annotated[Gender, typer.Option(help="Which generator; auto goes by the voice.")] = Gender.auto,
    out: Annotated[
        Path | None,
        typer.Option(
            help="PNG for one recording, a folder for several, - for stdout (default: NAME.face.png in this folder)."
        ),
    ] = None,
    samples: Annotated[int, typer.Option(min=1, max=64, help="How many candidates to draw.")] = 1,
    seed: Annotated[int | None, typer.Option(min=0, help="What candidates are drawn with (default: random).")] = None,
    grid: Annotated[bool, typer.Option("--grid", help="Candidates in one picture instead of one file each.")] = False,
    size: Annotated[int, typer.Option(min=16, max=4096, help="Width and height of a face in pixels.")] = 256,
    pack: PackOption = None,
    device: DeviceOption = Device.auto,
    threads: ThreadsOption = None,
    denoise: DenoiseOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    overwrite: OverwriteOption = False,
) -> None:
    """Make a plausible face for each recording."""
    from s2f_edge.pipeline import Speech2Face

    jobs, targets = _plan(files, out, ".face.png")
    model = Speech2Face(pack, device.value, threads)

    def make(source: str, target: str) -> Facts:
        result = model.infer(cli_files.source(source), gender=gender.value, samples=samples, seed=seed, denoise=denoise)
        if grid or samples == 1:
            pictures = {target: result.grid_png(size) if grid else result.png(size)}
        else:
            pictures = {cli_files.numbered(target, i): result.png(size, i) for i in range(samples)}
        cli_files.write_all(pictures, overwrite)
        return {"file": source, "pictures": list(pictures), **result.to_dict()}

    _run(jobs, targets, make, _infer_lines, as_json, quiet or "-" in targets)


@app.command()
def embed(
    files: FilesArgument,
    out: Annotated[
        Path | None,
        typer.Option(
            help="File for one recording, a folder for several, - for stdout (default: NAME.npy or NAME.json)."
        ),
    ] = None,
    form: Annotated[EmbeddingFormat, typer.Option("--format", help="npy (numpy) or json.")] = EmbeddingFormat.npy,
    pack: PackOption = None,
    device: DeviceOption = Device.auto,
    threads: ThreadsOption = None,
    denoise: DenoiseOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    overwrite: OverwriteOption = False,
) -> None:
    """Write the voice embedding of each recording: float32, of unit length."""
    from s2f_edge.pipeline import Speech2Face

    jobs, targets = _plan(files, out, f".{form.value}")
    model = Speech2Face(pack, device.value, threads)

    def make(source: str, target: str) -> Facts:
        voice = model.embed(cli_files.source(source), denoise=denoise)
        cli_files.write_all({target: cli_files.embedding_bytes(voice.embedding, form)}, overwrite)
        return {
            "file": source,
            "embedding": target,
            "length": len(voice.embedding),
            "speech_seconds": round(voice.quality.speech_s, 3),
            "gender": voice.gender,
            "male_probability": voice.male_probability,
            "warnings": [{"code": w.code, "message": w.message} for w in voice.warnings],
            "pack": model.pack_name,
            "pack_sha256": model.pack.sha256,
            "provider": voice.provider,
        }

    def lines(facts: Facts) -> str:
        seconds = f"{facts['speech_seconds']:.1f} s of speech"
        return f"{facts['file']} -> {facts['embedding']}\n  {facts['length']} numbers from {seconds}"

    _run(jobs, targets, make, lines, as_json, quiet or "-" in targets)


@app.command()
def inspect(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A recording, or - for stdin.")],
    out: Annotated[Path | None, typer.Option(help="PNG to write (default: NAME.inspect.png in this folder).")] = None,
    pack: PackOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    overwrite: OverwriteOption = False,
) -> None:
    """Draw what is heard: waveform, what the voice detector kept, log-mel, and the numbers."""
    from s2f_edge.inspection import listen
    from s2f_edge.inspection_picture import draw_inspection

    jobs, targets = _plan([file], out, ".inspect.png")

    def make(source: str, target: str) -> Facts:
        found = listen(cli_files.source(source), pack)
        cli_files.write_all({target: draw_inspection(found)}, overwrite)
        return {"file": source, "picture": target, **found.numbers()}

    def lines(facts: Facts) -> str:
        rows = [f"  {k}: {v}" for k, v in facts.items() if k not in ("file", "picture") and v not in (None, [])]
        return "\n".join([f"{facts['file']} -> {facts['picture']}", *rows])

    _run(jobs, targets, make, lines, as_json, quiet or "-" in targets)


@app.command()
def provenance(
    files: Annotated[list[Path], typer.Argument(metavar="PICTURE...", help="PNG files.")], as_json: JsonOption = False
) -> None:
    """Say where pictures come from, by what is written in them."""
    from s2f_edge.picture import read_provenance

    failed: S2FError | None = None
    for file in files:
        try:
            facts = read_provenance(file)
        except ProvenanceError as error:
            failed = error
            _report_error(str(file), error, as_json)
            continue
        if as_json:
            print(json.dumps({"file": str(file), **facts}))
        else:
            print(f"{file}:")
            for key, value in facts.items():
                print(f"  {key}: {value}")
    if failed:
        raise typer.Exit(failed.exit_status if len(files) == 1 else SOME_FAILED)


@pack_app.command("show")
def pack_show(folder: PackArgument = None, as_json: JsonOption = False) -> None:
    """Print what a pack is: networks, sizes, training, licence."""
    from s2f_edge.pack import MANIFEST, Pack

    with _errors(as_json):
        pack = Pack.open(folder)
        if as_json:
            written = json.loads((pack.folder / MANIFEST).read_text())
            print(json.dumps({"folder": str(pack.folder), "sha256": pack.sha256, **written}))
            return
    manifest = pack.manifest
    print(f"{manifest.name} {manifest.version}   {pack.folder}")
    print(f"  sha256      {pack.sha256}")
    print(f"  voice       {manifest.voice.network}, {manifest.voice.features}, {manifest.voice.embedding_size} numbers")
    print(f"  generators  {', '.join(manifest.generators)}")
    print(f"  noise       {manifest.noise}")
    print(f"  licence     {manifest.licence}")
    for file in manifest.files.values():
        largest = manifest.parity.get(file.name, {}).get("largest_difference")
        checked = f"   differs from torch by at most {largest:.1e}" if isinstance(largest, float) else ""
        print(f"  {file.name:24} {file.bytes / 1e6:7.2f} MB   opset {file.opset}{checked}")


@pack_app.command("verify")
def pack_verify(folder: PackArgument = None, as_json: JsonOption = False) -> None:
    """Check sizes, hashes, names and shapes of every file of a pack."""
    from s2f_edge.pack import Pack
    from s2f_edge.session import Network

    with _errors(as_json):
        pack = Pack.open(folder)
        for name in pack.manifest.files:
            Network(pack, name, "cpu")
            if not as_json:
                print(f"ok  {name}")
        if as_json:
            facts = {"pack": str(pack.folder), "sha256": pack.sha256, "files": list(pack.manifest.files), "ok": True}
            print(json.dumps(facts))


# ------------------------------------------------------------------------------ several


def _plan(files: list[str], out: Path | None, suffix: str) -> tuple[list[str], list[str]]:
    """What to read, and where each result goes."""
    with _errors(False):
        jobs = cli_files.jobs(files)
        return jobs, cli_files.targets(jobs, out, suffix)


def _run(jobs: list[str], targets: list[str], make: Make, lines: Lines, as_json: bool, quiet: bool) -> None:
    """Does every job; one that fails is reported and does not stop the rest."""
    failures: list[S2FError] = []
    logged = logging.getLogger().isEnabledFor(logging.DEBUG)  # a bar between lines of a log is no help
    shown = len(jobs) > 1 and not quiet and not logged and sys.stderr.isatty()
    # The position in it changes with every file, so that it is drawn anew after each line that is printed.
    bar = typer.progressbar(length=len(jobs), label="Recordings", show_pos=True, file=sys.stderr) if shown else None
    with bar or nullcontext():
        for job, target in zip(jobs, targets, strict=True):
            error, facts = None, Facts()
            try:
                facts = make(job, target)
            except S2FError as failed:
                error = failed
                failures.append(failed)
            if bar:
                _clear_line()
            if error:
                _report_error(job, error, as_json)
            elif as_json and target != "-":
                print(json.dumps(facts), flush=True)
            elif not quiet and not as_json:
                print(lines(facts), flush=True)
            if bar:
                bar.update(1)
    if failures:
        if len(jobs) > 1 and not as_json:
            print(f"{len(failures)} of {len(jobs)} failed.", file=sys.stderr)
        raise typer.Exit(failures[0].exit_status if len(jobs) == 1 else SOME_FAILED)


def _clear_line() -> None:
    """Takes the progress bar away, so that what is printed does not stand behind it."""
    blank = " " * (shutil.get_terminal_size().columns - 1)
    print(f"\r{blank}\r", end="", file=sys.stderr, flush=True)


def _infer_lines(facts: Facts) -> str:
    pictures = facts["pictures"]
    where = pictures[0] if len(pictures) == 1 else f"{pictures[0]} ... {pictures[-1]}"
    if facts["male_probability"] is None:
        voice = "gender not estimated"
    else:
        share = max(facts["male_probability"], 1 - facts["male_probability"])
        voice = (
            "the voice's gender is unsure"
            if facts["gender"] == "unsure"
            else f"the voice sounds {facts['gender']} ({share:.0%})"
        )
    rows = [
        f"{facts['file']} -> {where}",
        f"  {facts['speech_seconds']:.1f} s of speech in {facts['heard_seconds']:.1f} s; {voice}; "
        f"{facts['generator']} generator; {facts['timings_ms']['total']:.0f} ms on {facts['provider']}",
    ]
    if facts["samples"] > 1:
        rows.append(f"  {facts['samples']} candidates, seed {facts['seed']}")
    rows += [f"  warning: {warning['message']}" for warning in facts["warnings"]]
    return "\n".join(rows)


# -------------------------------------------------------------------------------- errors


def _report_error(name: str, error: S2FError, as_json: bool) -> None:
    if as_json:
        facts = {"file": name, "error": error.code, "message": str(error), "exit_status": error.exit_status}
        if reason := getattr(error, "reason", None):
            facts["reason"] = reason
        print(json.dumps(facts), flush=True)
    else:
        message = str(error)
        print(f"error: {message}" if message.startswith(name) else f"error: {name}: {message}", file=sys.stderr)


@contextmanager
def _errors(as_json: bool) -> Iterator[None]:
    """An error of ours becomes one sentence and its exit status."""
    try:
        yield
    except S2FError as error:
        if as_json:
            print(json.dumps({"error": error.code, "message": str(error), "exit_status": error.exit_status}))
        else:
            print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(error.exit_status) from None


def _interrupted() -> int:
    print("Interrupted; nothing half written is left.", file=sys.stderr)
    return 130


def _reader_left() -> int:
    """Nobody reads on: what is still to be printed goes nowhere, or Python complains of it at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in filter(None, (sys.stdout, sys.stderr)):  # None where it was closed from the start
        os.dup2(nowhere, stream.fileno())
    return 141


def main() -> None:
    """Entry point: no traceback reaches a user."""
    try:
        with _errors("--json" in sys.argv):
            try:
                app(standalone_mode=True)
            finally:
                if sys.stdout:
                    sys.stdout.flush()
    except KeyboardInterrupt:
        sys.exit(_interrupted())
    except BrokenPipeError:
        sys.exit(_reader_left())
    except typer.Exit as exit_:
        sys.exit(exit_.exit_code)
    except MemoryError:
        print("error: not enough memory for this recording.", file=sys.stderr)
        sys.exit(1)
    except Exception as error:  # a bug: still one sentence, and the way to its traceback
        logging.getLogger(__name__).debug("unexpected", exc_info=True)
        print(
            f"error: unexpected {type(error).__name__}: {error}. This is a fault of s2f-edge; run `s2f-edge -v ...` "
            "for details and report it.",
            file=sys.stderr,
        )
        sys.exit(1)


if __name__ == "__main__":
    main()
