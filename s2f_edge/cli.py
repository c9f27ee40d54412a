"""The command `s2f-edge`. The only module of the runtime that prints."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from s2f_edge._version import __version__
from s2f_edge.errors import OutputError, ProvenanceError, S2FError, UsageError

NOTICE = "A plausible face for a voice. It is not the speaker and identifies nobody."
SOUNDS = {
    ".wav",
    ".flac",
    ".ogg",
    ".oga",
    ".opus",
    ".mp3",
    ".m4a",
    ".mp4",
    ".aac",
    ".webm",
    ".mka",
    ".amr",
    ".aiff",
    ".au",
}
SOME_FAILED = 3

app = typer.Typer(
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


PackOption = Annotated[Path | None, typer.Option(help="Folder of a model pack (default: the one that is installed).")]
DeviceOption = Annotated[Device, typer.Option(help="auto takes CUDA where it is there; cuda insists on it.")]
ThreadsOption = Annotated[int | None, typer.Option(min=1, help="Threads of one network call (default: all cores).")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one line of JSON per file.")]
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
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Recordings, folders of them, or - for stdin.")],
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
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    overwrite: OverwriteOption = False,
) -> None:
    """Make a plausible face for each recording."""
    from s2f_edge.pipeline import Speech2Face

    jobs = _jobs(files)
    targets = _targets(jobs, out, ".face.png")
    model = Speech2Face(pack, device.value, threads)

    def make(source: str, target: str) -> dict[str, Any]:
        result = model.infer(_source(source), gender=gender.value, samples=samples, seed=seed)
        if grid or samples == 1:
            pictures = {target: result.grid_png(size) if grid else result.png(size)}
        else:
            pictures = {_numbered(target, i): result.png(size, i) for i in range(samples)}
        _write_all(pictures, overwrite)
        return {"file": source, "pictures": list(pictures), **result.to_dict()}

    _run(jobs, targets, make, _infer_lines, as_json, quiet or "-" in targets)


@app.command()
def embed(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Recordings, folders of them, or - for stdin.")],
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
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    overwrite: OverwriteOption = False,
) -> None:
    """Write the voice embedding of each recording: float32, of unit length."""
    from s2f_edge.pipeline import Speech2Face

    jobs = _jobs(files)
    targets = _targets(jobs, out, f".{form.value}")
    model = Speech2Face(pack, device.value, threads)

    def make(source: str, target: str) -> dict[str, Any]:
        voice = model.embed(_source(source))
        _write_all({target: _embedding_bytes(voice.embedding, form)}, overwrite)
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

    def lines(facts: dict[str, Any]) -> str:
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
    from s2f_edge.inspection import draw_inspection, listen

    jobs = _jobs([file])
    targets = _targets(jobs, out, ".inspect.png")

    def make(source: str, target: str) -> dict[str, Any]:
        found = listen(_source(source), pack)
        _write_all({target: draw_inspection(found)}, overwrite)
        return {"file": source, "picture": target, **found.numbers()}

    def lines(facts: dict[str, Any]) -> str:
        rows = [f"{key}: {value}" for key, value in facts.items() if key not in ("file", "picture")]
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
def pack_show(
    folder: Annotated[
        Path | None, typer.Argument(metavar="[PACK]", help="Folder (default: the installed pack).")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Print what a pack is: networks, sizes, training, licence."""
    from s2f_edge.pack import MANIFEST, Pack

    with _errors(as_json):
        pack = Pack.open(folder)
        if as_json:
            print(
                json.dumps(
                    {
                        "folder": str(pack.folder),
                        "sha256": pack.sha256,
                        **json.loads((pack.folder / MANIFEST).read_text()),
                    }
                )
            )
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
def pack_verify(
    folder: Annotated[
        Path | None, typer.Argument(metavar="[PACK]", help="Folder (default: the installed pack).")
    ] = None,
    as_json: JsonOption = False,
) -> None:
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
            print(
                json.dumps(
                    {"pack": str(pack.folder), "sha256": pack.sha256, "files": list(pack.manifest.files), "ok": True}
                )
            )


# ------------------------------------------------------------------------------ several


def _jobs(files: list[str]) -> list[str]:
    """Files in the order given; a folder stands for the sound files under it."""
    found: list[str] = []
    with _errors(False):
        for name in files:
            path = Path(name)
            if name != "-" and path.is_dir():
                inside = sorted(str(p) for p in path.rglob("*") if p.suffix.lower() in SOUNDS and p.is_file())
                if not inside:
                    raise UsageError(f"{name} has no sound files; looked for {', '.join(sorted(SOUNDS))}.")
                found += inside
            else:
                found.append(name)
        if found.count("-") > 1:
            raise UsageError("- stands more than once; standard input can be read once.")
    return list(dict.fromkeys(found))


def _targets(jobs: list[str], out: Path | None, suffix: str) -> list[str]:
    """Where each result goes; `-` is standard output. No two are the same."""
    with _errors(False):
        if str(out) == "-":
            if len(jobs) > 1:
                raise UsageError(f"--out - is for one recording; there are {len(jobs)}. Give a folder.")
            return ["-"]
        ending = suffix[suffix.rindex(".") :]
        if out is not None and out.suffix.lower() == ending and not out.is_dir():
            if len(jobs) > 1:
                raise UsageError(f"--out {out} is one file; there are {len(jobs)} recordings. Give a folder.")
            return [str(out)]
        if out is not None and out.suffix and not out.exists() and len(jobs) == 1:
            raise UsageError(
                f"--out {out} ends with {out.suffix}; {ending} is what is written. Give *{ending} or a folder."
            )
    folder = out or Path()
    targets: list[str] = []
    taken: set[str] = set()
    for job in jobs:
        stem = "stdin" if job == "-" else Path(job).stem
        name, count = stem + suffix, 2
        while name.casefold() in taken:  # a.wav and a.mp3, or the same name in two folders
            name, count = f"{stem}-{count}{suffix}", count + 1
        taken.add(name.casefold())
        targets.append(str(folder / name))
    return targets


def _run(jobs: list[str], targets: list[str], make: Any, lines: Any, as_json: bool, quiet: bool) -> None:
    """Does every job; one that fails is reported and does not stop the rest."""
    failures: list[S2FError] = []
    shown = len(jobs) > 1 and not quiet and sys.stderr.isatty()
    bar: Any = typer.progressbar(length=len(jobs), label="Faces", file=sys.stderr) if shown else nullcontext()
    with bar:
        for job, target in zip(jobs, targets, strict=True):
            try:
                facts = make(job, target)
            except S2FError as error:
                failures.append(error)
                _report_error(job, error, as_json)
            else:
                if as_json and target != "-":
                    print(json.dumps(facts), flush=True)
                elif not quiet and not as_json:
                    print(lines(facts), flush=True)
            if shown:
                bar.update(1)
    if failures:
        if len(jobs) > 1 and not as_json:
            print(f"{len(failures)} of {len(jobs)} failed.", file=sys.stderr)
        raise typer.Exit(failures[0].exit_status if len(jobs) == 1 else SOME_FAILED)


def _infer_lines(facts: dict[str, Any]) -> str:
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


# ---------------------------------------------------------------------------- in and out


def _source(name: str) -> Any:
    return sys.stdin.buffer.read() if name == "-" else Path(name)


def _numbered(target: str, index: int) -> str:
    if target == "-":
        raise UsageError("--out - takes one picture; add --grid, or give a folder.")
    path = Path(target)
    stem = path.name.removesuffix("".join(path.suffixes[-2:])) if path.name.endswith(".face.png") else path.stem
    return str(path.with_name(f"{stem}.{index + 1:02d}{path.name[len(stem) :]}"))


def _write_all(files: dict[str, bytes], overwrite: bool) -> None:
    """Writes results; checks all of them before the first is written."""
    from s2f_edge.files import write_whole

    for target in files:
        if target != "-" and not overwrite:
            _check_free(Path(target))
    for target, data in files.items():
        if target == "-":
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        else:
            write_whole(Path(target), data)


def _check_free(path: Path) -> None:
    """A picture that s2f-edge wrote may be replaced; anything else only with --overwrite."""
    from s2f_edge.picture import read_provenance

    if path.is_dir():
        raise OutputError(f"{path} is a folder; give --out a file name, or the folder above it.")
    if not path.exists():
        return
    try:
        ours = "tool" in read_provenance(path)
    except ProvenanceError:
        ours = False
    if not ours:
        raise OutputError(f"{path} exists and is no picture of s2f-edge. Give another --out, or --overwrite.")


def _embedding_bytes(embedding: Any, form: EmbeddingFormat) -> bytes:
    import io

    import numpy as np

    if form is EmbeddingFormat.json:
        return (json.dumps([float(f"{v:.9g}") for v in embedding]) + "\n").encode()
    buffer = io.BytesIO()
    np.save(buffer, embedding)
    return buffer.getvalue()


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


def main() -> None:
    """Entry point: no traceback reaches a user."""
    try:
        with _errors("--json" in sys.argv):
            app(standalone_mode=True)
    except KeyboardInterrupt:
        print("Interrupted; nothing half written is left.", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)
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
