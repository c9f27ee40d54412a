"""The command `s2f-edge`. The only module of the runtime that prints."""

from __future__ import annotations

import sys

try:
    import gc
    import json
    import logging
    import os
    from collections.abc import Iterator
    from contextlib import contextmanager
    from dataclasses import dataclass
    from typing import Annotated, Any

    import typer
    from typer.core import TyperGroup

    from s2f_edge import stdio
    from s2f_edge._version import __version__
    from s2f_edge.batch import recordings
    from s2f_edge.batch.jobs import Job, embedding_bytes, file_format, plan, write_all
    from s2f_edge.batch.make import Options
    from s2f_edge.cli import batch, bench, serve, talk
    from s2f_edge.cli import options as opt
    from s2f_edge.cli.options import Facts, printable
    from s2f_edge.errors import (
        CertificateError,
        OutOfResourcesError,
        OutputError,
        ProvenanceError,
        S2FError,
        UsageError,
    )
except KeyboardInterrupt:  # this takes long enough to be interrupted
    print("Interrupted; no partial files are left.", file=sys.stderr)
    raise SystemExit(130) from None

NOTICE = "A plausible face for a voice. It is not the speaker and identifies nobody."


@contextmanager
def _cut_short() -> Iterator[None]:
    """Ends a run that is cut short before typer does: its endings say too little, and have another status."""
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(_interrupted()) from None
    except BrokenPipeError:
        raise typer.Exit(_reader_left()) from None


class _Commands(TyperGroup):
    def make_context(self, *arguments: Any, **options: Any) -> Any:
        with _cut_short():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: Any) -> Any:
        with _cut_short():
            return super().invoke(ctx)


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help=f"Make a plausible face from a recording of a voice.\n\n{NOTICE}",
    epilog="Exit status: 0 success; 2 usage; 3 some of several files failed; 10-12 unreadable audio; 20 not speech; "
    "21 too little speech; 30-32 model pack; 40-45 onnxruntime, device, certificate, cluster, worker or memory; "
    "50 output; 51 no provenance; 130 interrupted.",
)
pack_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Show and verify model packs.")
app.add_typer(pack_app, name="pack")


# ----------------------------------------------------------------------------- commands


def _version(wanted: bool) -> None:
    if wanted:
        print(f"s2f-edge {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Write a debug log to standard error.")] = False,
) -> None:
    """Options of every command."""
    try:
        os.getcwd()  # noqa: PTH109
    except FileNotFoundError:
        with _Console(False).errors():
            raise UsageError("The working folder is gone: deleted or moved. Change into one that is there.") from None
    logging.basicConfig(level=logging.DEBUG if verbose else logging.ERROR, format="%(levelname)s %(name)s: %(message)s")


@app.command()
def infer(
    files: opt.ManyFilesArgument = None,
    gender: opt.GenderOption = "auto",
    out: opt.OutFaceOption = None,
    samples: opt.SamplesOption = 1,
    seed: opt.SeedOption = None,
    grid: opt.GridOption = False,
    size: opt.SizeOption = 256,
    form: opt.PictureFormatOption = None,
    c2pa_certificate: opt.CertificateOption = None,
    c2pa_key: opt.KeyOption = None,
    pack: opt.PackOption = None,
    variant: opt.VariantOption = "auto",
    device: opt.DeviceOption = "auto",
    threads: opt.ThreadsOption = None,
    denoise: opt.DenoiseOption = False,
    all_windows: opt.AllWindowsOption = False,
    as_json: opt.JsonOption = False,
    quiet: opt.QuietOption = False,
    overwrite: opt.OverwriteOption = False,
    listed: opt.ListOption = None,
    table: opt.TableOption = None,
    resume: opt.ResumeOption = False,
    retry: opt.RetryOption = False,
    workers: opt.JobsOption = None,
    engine: opt.EngineOption = "local",
    address: opt.AddressOption = "auto",
) -> None:
    """Make a plausible face for each recording."""
    console = _Console(as_json, quiet, out == "-")
    with console.errors():
        many = batch.BatchOptions(table, resume, retry, workers, engine, address)
        many.checked()
        written, suffix = file_format(out, form)
        names = recordings.named(files, listed)
        skipped: dict[str, str] = {}
        jobs = plan(names, out, f".face{suffix}", 1 if grid else samples, skipped)
        console.skipped(skipped)
        options = Options(
            pack=str(pack) if pack else None, variant=variant, device=device,
            threads=threads, gender=gender, samples=samples, seed=seed, denoise=denoise, all_windows=all_windows,
            grid=grid, size=size, form=written, c2pa_certificate=c2pa_certificate, c2pa_key=c2pa_key,
            overwrite=overwrite,
        )  # fmt: skip
        if count := many.workers(jobs, options):
            return batch.run(jobs, options, many, count, console, skipped)
        maker = options.maker(once=len(jobs) == 1)

    return batch.run_here(jobs, maker.make, opt.infer_lines, console)


@app.command()
def embed(
    files: opt.FilesArgument,
    out: opt.OutEmbeddingOption = None,
    form: opt.FormatOption = "npy",
    pack: opt.PackOption = None,
    variant: opt.VariantOption = "auto",
    device: opt.DeviceOption = "auto",
    threads: opt.ThreadsOption = None,
    denoise: opt.DenoiseOption = False,
    all_windows: opt.AllWindowsOption = False,
    as_json: opt.JsonOption = False,
    quiet: opt.QuietOption = False,
    overwrite: opt.OverwriteOption = False,
) -> None:
    """Write the voice embedding of each recording: float32, unit length."""
    from s2f_edge.pipeline import Speech2Face

    console = _Console(as_json, quiet, out == "-")
    with console.errors():
        skipped: dict[str, str] = {}
        jobs = plan(files, out, f".{form}", skipped=skipped)
        console.skipped(skipped)
        model = Speech2Face(pack, device, threads, variant, all_windows, once=len(jobs) == 1)

    def make(job: Job) -> Facts:
        voice = model.embed(recordings.sound(job.source), denoise=denoise)
        write_all({job.targets[0]: embedding_bytes(voice.embedding, form)}, overwrite)
        return {"file": job.source, "embedding": job.targets[0], **opt.embed_facts(voice, model)}

    batch.run_here(jobs, make, opt.embed_lines, console)


@app.command()
def inspect(
    file: opt.FileArgument,
    out: opt.OutInspectionOption = None,
    pack: opt.PackOption = None,
    variant: opt.VariantOption = "auto",
    as_json: opt.JsonOption = False,
    quiet: opt.QuietOption = False,
    overwrite: opt.OverwriteOption = False,
) -> None:
    """Draw a recording as it is analysed: waveform, detected speech, log-mel spectrogram and measurements."""
    from s2f_edge.inspection import listen
    from s2f_edge.inspection_picture import draw_inspection

    console = _Console(as_json, quiet, out == "-")
    with console.errors():
        jobs = plan([file], out, ".inspect.png")

    def make(job: Job) -> Facts:
        found = listen(recordings.sound(job.source), pack, variant=variant)
        write_all({job.targets[0]: draw_inspection(found)}, overwrite)
        return {"file": job.source, "picture": job.targets[0], **found.numbers()}

    batch.run_here(jobs, make, opt.inspect_lines, console)


@app.command()
def provenance(files: opt.PicturesArgument, trust: opt.TrustOption = None, as_json: opt.JsonOption = False) -> None:
    """Show the origin of pictures and videos: metadata, watermark and content credentials."""
    from s2f_edge.marks.provenance import read

    console = _Console(as_json)
    failed: S2FError | None = None
    for file in files:
        try:
            found = read(file, trust)
            if not found.found:
                raise ProvenanceError(found.verdict)
        except (ProvenanceError, CertificateError) as error:
            failed = error
            console.failure(error, str(file))
        else:
            console.result({"file": str(file), **found.to_dict()}, opt.provenance_lines)
    if failed:
        raise typer.Exit(failed.exit_status if len(files) == 1 else batch.SOME_FAILED)


@pack_app.command("show")
def pack_show(folder: opt.PackArgument = None, as_json: opt.JsonOption = False) -> None:
    """Show the networks, sizes, variants, training and licence of a pack."""
    from s2f_edge.pack.manifest import MANIFEST
    from s2f_edge.pack.pack import every_variant

    console = _Console(as_json)
    with console.errors():
        pack, *inside = every_variant(folder)
        read = {each.sha256: json.loads((each.folder / MANIFEST).read_text("utf-8")) for each in (pack, *inside)}
        found = {
            each.manifest.weights: {"folder": str(each.folder), "sha256": each.sha256, **read[each.sha256]["variant"]}
            for each in inside
        }
        facts = {"folder": str(pack.folder), "sha256": pack.sha256, **read[pack.sha256], "variants": found}
        console.result(facts, lambda _: [*opt.pack_lines(pack), *opt.variant_lines(pack, inside)])


@pack_app.command("verify")
def pack_verify(folder: opt.PackArgument = None, as_json: opt.JsonOption = False) -> None:
    """Check the size, hash, tensor names and shapes of every file of a pack and its variants."""
    from s2f_edge.pack.network import Network
    from s2f_edge.pack.pack import every_variant

    with _Console(as_json).errors():
        pack, *inside = every_variant(folder)
        files = [(each, name) for each in (pack, *inside) for name in each.manifest.files]
        names = [name if each is pack else f"{each.folder.name}/{name}" for each, name in files]
        for (each, name), shown in zip(files, names, strict=True):
            Network(each, name, "cpu")
            if not as_json:
                print(f"ok  {shown}")
        if as_json:
            print(json.dumps({"pack": str(pack.folder), "sha256": pack.sha256, "files": names, "ok": True}))


# ------------------------------------------------------------------------------ results


@dataclass(frozen=True)
class _Console:
    """Prints results and errors, as lines or JSON; on standard error where a file takes standard output."""

    as_json: bool
    quiet: bool = False
    out_taken: bool = False

    def result(self, facts: Facts, lines: batch.Lines) -> None:
        if self.as_json:
            self._json(facts)
        elif not self.quiet and not self.out_taken:
            print("\n".join(map(printable, lines(facts))), flush=True)

    def failure(self, error: S2FError, name: str | None = None) -> None:
        message = str(error)
        if self.as_json:
            self._json(({} if name is None else {"file": name}) | error.to_dict())
        else:
            of = "" if name is None or message.startswith(name) else f"{name}: "
            print(printable(f"error: {of}{message}"), file=sys.stderr)

    def skipped(self, files: dict[str, str]) -> None:
        """What was left out of folders, once."""
        if files and not self.quiet:
            print(printable(recordings.left_out(files)), file=sys.stderr)

    def _json(self, facts: Facts) -> None:
        print(json.dumps(facts), file=sys.stderr if self.out_taken else sys.stdout, flush=True)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """An error of ours becomes one sentence and its exit status."""
        try:
            yield
        except (S2FError, MemoryError, RuntimeError, ImportError) as error:
            known = error if isinstance(error, S2FError) else OutOfResourcesError.of(error)
            if known is None:
                raise
            self.failure(known)
            raise typer.Exit(known.exit_status) from None


serve.add_to(app, lambda: _Console(False).errors())
bench.add_to(app, lambda as_json: _Console(as_json))
talk.add_to(app, _Console)


# ------------------------------------------------------------------------------ endings


def _last_words(text: str, status: int) -> int:
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        stdio.silence(sys.stderr)
    return status


def _interrupted() -> int:
    return _last_words("Interrupted; no partial files are left.", 130)


def _reader_left() -> int:
    stdio.silence(sys.stdout, sys.stderr)
    return 141


def _unprintable(error: OSError) -> int:
    """A full disk behind standard output, or one that is open for reading only."""
    stdio.silence(sys.stdout)
    return _last_words(f"error: Standard output cannot be written: {error.strerror or error}.", OutputError.exit_status)


def main() -> None:
    """Entry point: no traceback reaches a user."""
    # numpy's threads spin on cores that onnxruntime's wait for: without them a clip of 10 s takes a tenth less.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        stdio.prepare_streams()
        try:
            app(standalone_mode=True)
        finally:
            if sys.stdout:
                sys.stdout.flush()
            gc.freeze()  # or Python looks through all its objects several times before it ends: 20 ms
    except KeyboardInterrupt:
        sys.exit(_interrupted())
    except BrokenPipeError:
        sys.exit(_reader_left())
    except typer.Exit as exit_:
        sys.exit(exit_.exit_code)
    except MemoryError:
        sys.exit(_last_words("error: Memory has run out.", OutOfResourcesError.exit_status))
    except Exception as error:
        if isinstance(error, OSError) and error.filename is None:  # reading and writing files have errors of their own
            sys.exit(_reader_left() if stdio.reader_left(error) else _unprintable(error))
        # A bug: still one sentence, and the way to its traceback.
        logging.getLogger(__name__).debug("unexpected", exc_info=True)
        text = f"error: unexpected {type(error).__name__}: {error}. This is a bug in s2f-edge; run `s2f-edge -v ...` "
        sys.exit(_last_words(f"{text}for details and report it.", 1))
