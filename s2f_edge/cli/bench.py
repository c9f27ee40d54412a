"""`s2f-edge bench`: what this machine makes of voices, and what to choose."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from s2f_edge._version import __version__
from s2f_edge.cli import options as opt
from s2f_edge.cli.options import Facts
from s2f_edge.cli.progress import Bar, Progress
from s2f_edge.cores import cores
from s2f_edge.errors import DeviceError

if TYPE_CHECKING:
    from s2f_edge.bench.advice import Advice
    from s2f_edge.bench.measure import Bench, Choice, Measured

SecondsEachOption = Annotated[
    float, typer.Option(min=0.1, max=600.0, help="Measuring time per configuration; longer is more stable.")
]
ClipArgument = Annotated[
    Path | None, typer.Argument(metavar="[RECORDING]", help="Recording to measure with (default: a synthetic voice).")
]


def add_to(app: typer.Typer, console: Callable[[bool], Any]) -> None:
    """Adds the command. `console` makes what prints results and errors, given --json."""

    @app.command()
    def bench(
        recording: ClipArgument = None,
        pack: opt.PackOption = None,
        device: opt.DeviceOption = "auto",
        seconds_each: SecondsEachOption = 3.0,
        as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
        quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress bar.")] = False,
    ) -> None:
        """Measure how fast this machine makes faces, and recommend options.

        Measures single recordings with different numbers of threads, many recordings with one or several processes,
        the variants of the pack, and CUDA where available. Run it on an idle machine.
        """
        say = console(as_json)
        with say.errors():
            from s2f_edge.bench.advice import advice
            from s2f_edge.bench.measure import Bench, choices, has_cuda, machine, machine_facts

            found = Bench(recording, pack, device, seconds_each)
            planned = choices(found.pack, device, cores())
            measured, left_out = _all(found, planned, device, quiet)
            if device == "auto" and not has_cuda():
                left_out = ["CUDA, which this onnxruntime does not have."]
            advised = advice(measured, has_cuda())
            facts = {
                "tool": f"s2f-edge {__version__}",
                "machine": {**machine_facts(), "usable_cores": cores()},
                "recording": None if recording is None else str(recording),
                "pack": str(found.pack.folder),
                "pack_sha256": found.pack.sha256,
                "seconds_each": seconds_each,
                "measured": [facts_of(each) for each in measured],
                "left_out": left_out,
                "advice": [asdict(each) for each in advised],
            }
            say.result(facts, lambda _: [machine(), "", *_table(measured), "", *_advice_lines(advised, left_out)])


def _all(bench: Bench, planned: list[Choice], device: str, quiet: bool) -> tuple[list[Measured], list[str]]:
    """What was measured; and why CUDA was not, where it is installed and does not run."""
    measured, left_out = [], []
    progress = Progress(len(planned))
    with Bar(progress, not quiet, label="Measuring") as bar:
        for choice in planned:
            try:
                measured.append(bench.measure(choice))
            except DeviceError as error:
                if device == "cuda":
                    raise
                left_out = [str(error)]
            progress.new += 1
            bar.step()
    return measured, left_out


def _table(measured: list[Measured]) -> Iterator[str]:
    from s2f_edge.bench.advice import in_words
    from s2f_edge.bench.measure import MANY_S, ONE_S

    yield (
        f"{'':36}{'ms a face':>9}  {'half of them':>13}  {'faces/s':>8}  {'x real time':>11}  {'loading':>8}  "
        f"{'memory':>9}"
    )
    for each in measured:
        what = f"{MANY_S:g} s, many" if each.choice.many else f"{ONE_S:g} s, one"
        how = f"{in_words(each.choice)}, {each.precision}"
        first, median, third = each.ms
        half = f"{first:.1f}-{third:.1f}"
        memory = "" if each.peak_mib is None else f"{each.peak_mib:.0f} MiB"
        yield (
            f"{what:11} {how:24}{median:9.1f}  {half:>13}  {each.faces_per_s:8.1f}  {each.speech_per_s:11.0f}  "
            f"{each.load_s:6.2f} s  {memory:>9}".rstrip()
        )


def _advice_lines(advised: list[Advice], left_out: list[str]) -> Iterator[str]:
    for each in advised:
        yield each.text
        if each.options:
            yield f"    s2f-edge infer ... {shlex.join(each.options)}"
    yield from (f"Not measured: {reason}" for reason in left_out)


def facts_of(measured: Measured) -> Facts:
    """The fields of a measurement in JSON."""
    return {**asdict(measured), "speech_per_s": measured.speech_per_s}
