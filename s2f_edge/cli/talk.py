"""`s2f-edge talk`: talking-head videos of the face of a voice."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Annotated, Any

import typer

from s2f_edge.batch.jobs import Job, file_format, plan
from s2f_edge.cli import options as opt
from s2f_edge.cli.options import Facts
from s2f_edge.cli.progress import Bar, Progress
from s2f_edge.errors import UsageError
from s2f_edge.terms import MAX_FPS, MAX_STRENGTH, MAX_TALK_SIZE, MIN_FPS, MIN_SIZE, VIDEOS, VideoFormat

OutOption = Annotated[
    str | None,
    typer.Option(
        "--out",
        metavar="PATH",
        help="Video file for one recording, folder/ for several, - for stdout, written as it is made (default: "
        "NAME.talk.mp4 here).",
    ),
]
FormatOption = Annotated[
    VideoFormat | None,
    typer.Option(
        "--format",
        help="mp4 and webm have the recording as their sound, and need the extra media; gif and webp are silent and "
        "need nothing (default: the suffix of --out, else mp4).",
    ),
]
FramesOption = Annotated[
    str | None,
    typer.Option(metavar="FOLDER", help="Write the frames as PNG files into a new folder, in place of a video."),
]
FpsOption = Annotated[float, typer.Option(min=MIN_FPS, max=MAX_FPS, help="Frames a second.")]
SizeOption = Annotated[int, typer.Option(min=MIN_SIZE, max=MAX_TALK_SIZE, help="Width and height in pixels.")]
SeedOption = Annotated[int, typer.Option(min=0, help="Random seed of blinks and movements of the head.")]


def _strength(what: str) -> Any:
    return typer.Option(min=0.0, max=MAX_STRENGTH, help=f"{what}: 0 is none, 1 usual, {MAX_STRENGTH} much.")


def add_to(app: typer.Typer, console: Callable[[bool, bool, bool], Any]) -> None:
    """Adds the command. `console` makes what prints results and errors, given --json, --quiet, and --out -."""

    @app.command()
    def talk(
        files: opt.ManyFilesArgument = None,
        gender: opt.GenderOption = "auto",
        out: OutOption = None,
        form: FormatOption = None,
        frames: FramesOption = None,
        fps: FpsOption = 25.0,
        size: SizeOption = 256,
        head: Annotated[float, _strength("Movement of the head")] = 1.0,
        blink: Annotated[float, _strength("Blinks")] = 1.0,
        brows: Annotated[float, _strength("Movement of the brows")] = 1.0,
        seed: SeedOption = 0,
        c2pa_certificate: opt.CertificateOption = None,
        c2pa_key: opt.KeyOption = None,
        pack: opt.PackOption = None,
        variant: opt.VariantOption = "auto",
        device: opt.DeviceOption = "auto",
        threads: opt.ThreadsOption = None,
        denoise: opt.DenoiseOption = False,
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
        """Make a talking-head video: a plausible face, lip-synced to the recording.

        The face is that of `infer`, and does not exist. No photograph can be given: this shows nobody saying what they
        did not say.
        """
        from s2f_edge.batch import recordings
        from s2f_edge.batch.talks import FRAMES, TalkOptions
        from s2f_edge.cli import batch

        say = console(as_json, quiet, out == "-")
        with say.errors():
            many = batch.BatchOptions(table, resume, retry, workers, engine, address)
            many.checked()
            written, suffix = file_format(out, form, VIDEOS)
            names = recordings.named(files, listed)
            skipped: dict[str, str] = {}
            if frames:
                if out or form or table:
                    raise UsageError("--frames cannot be combined with --out, --format or --table.")
                written, jobs = FRAMES, _folders(names, frames, skipped)
            else:
                jobs = plan(names, out, f".talk{suffix}", skipped=skipped)
            say.skipped(skipped)
            options = TalkOptions(
                pack=str(pack) if pack else None, variant=variant, device=device, threads=threads, gender=gender,
                seed=seed, denoise=denoise, size=size, form=written, c2pa_certificate=c2pa_certificate,
                c2pa_key=c2pa_key, overwrite=overwrite, fps=fps, head=head, blink=blink, brows=brows,
            )  # fmt: skip
            if count := many.workers(jobs, options):
                return batch.run(jobs, options, many, count, say, skipped, opt.talk_lines)
            maker = options.maker(once=len(jobs) == 1)

        def make(job: Job) -> Facts:
            with ExitStack() as shown:
                return maker.make(job, partial(_begun, shown, not quiet) if len(jobs) == 1 else None)

        return batch.run_here(jobs, make, opt.talk_lines, say)


def _folders(names: list[str], frames: str, skipped: dict[str, str]) -> list[Job]:
    """A folder of frames for each recording: of one, the folder itself."""
    jobs = plan(names, f"{frames.rstrip('/')}/", ".frames", skipped=skipped)
    return [Job(jobs[0].source, [frames])] if len(jobs) == 1 else jobs


def _begun(shown: ExitStack, wanted: bool, count: int) -> Callable[[int], None]:
    """Shows a bar of frames."""
    progress = Progress(count)
    bar = shown.enter_context(Bar(progress, wanted, label="Frames"))

    def done(frames: int) -> None:
        progress.new = frames
        bar.step()

    return done
