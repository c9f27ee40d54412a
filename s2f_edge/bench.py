"""What this machine makes of voices: times, rates and memory of the choices that a user has, and which to take.

Every figure is from processes of their own (bench_worker.py), which load the pack, warm up, and then make faces for as
long as they are told: from the bytes of a file to those of a picture.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import soundfile

from s2f_edge import audio, errors
from s2f_edge.batch_engines import THREADS
from s2f_edge.features import SAMPLE_RATE
from s2f_edge.pack import Pack, variants
from s2f_edge.pipeline import Speech2Face
from s2f_edge.session import chosen_providers, onnxruntime
from s2f_edge.vad import SpeechStream

SPEECH = Path(__file__).with_name("bench_speech.ogg")  # examples/male.wav, spoken by Flite
ONE_S, MANY_S = 10.0, 3.0  # length of a recording, where faces are made one at a time and where there are many
TIE = 0.05  # what differs by less is the same


@dataclass(frozen=True)
class Choice:
    """What a user can choose: one face at a time, or many recordings by several processes.

    Attributes:
        precision: of the pack's weights; None takes the pack as it is.
        threads: of each process.
    """

    many: bool
    workers: int
    threads: int
    device: str = "cpu"
    precision: str | None = None


@dataclass(frozen=True)
class Measured:
    """What a choice costs.

    Attributes:
        precision: of the weights.
        faces: that were made in the time.
        ms: of a face: first quartile, median, third quartile.
        faces_per_s: of all processes together.
        load_s: of the pack, by the slowest process.
        peak_mib: of all processes together; None where the system does not say.
    """

    choice: Choice
    precision: str
    faces: int
    ms: tuple[float, float, float]
    faces_per_s: float
    load_s: float
    peak_mib: float | None

    @property
    def speech_per_s(self) -> float:
        """Seconds of recordings that are heard in a second."""
        return self.faces_per_s * (MANY_S if self.choice.many else ONE_S)


def choices(pack: Pack, device: str, cores: int) -> list[Choice]:
    """What is worth measuring on a machine.

    Raises:
        DeviceError: cuda is asked for and is not there.
        PackError: a variant of the pack is damaged.
    """
    on_gpu = []
    if chosen_providers(device)[0] == "CUDAExecutionProvider":
        on_gpu = [Choice(False, 1, 1, "cuda"), Choice(True, 1, 1, "cuda")]
    if device == "cuda":
        return on_gpu
    some = sorted({1, cores, *(2**n for n in range(1, cores.bit_length()) if 2**n < cores)})
    found = [Choice(False, 1, threads) for threads in some]
    found += [Choice(True, 1, cores), *([Choice(True, cores, 1)] if cores > 1 else [])]
    for precision in variants(pack.folder):
        if precision != pack.manifest.weights:
            Pack.open(pack.folder, precision)
            found += [Choice(False, 1, threads, "cpu", precision) for threads in sorted({1, cores})]
            found.append(Choice(True, cores, 1, "cpu", precision))
    return found + on_gpu


class Bench:
    """Measures choices, on a recording that is made of the speech in another one.

    Args:
        clip: a recording; None takes the one that comes with s2f-edge.
        pack: folder; None takes the default pack.
        seconds: that each choice is measured for.

    Raises:
        AudioError: the recording cannot be read, or is not enough speech.
        PackError, DeviceError: see `Speech2Face`.
    """

    def __init__(self, clip: Path | None, pack: Path | None, device: str, seconds: float) -> None:
        self.pack = Pack.open(pack)
        self._seconds = seconds
        source = clip or SPEECH
        Speech2Face(self.pack.folder, "cuda" if device == "cuda" else "cpu").infer(source)  # what is wrong, is now
        stream = SpeechStream()
        parts = [stream.push(block)[1] for block in audio.stream(source)]
        self._speech = np.concatenate([*parts, stream.finish()[1]])

    def measure(self, choice: Choice) -> Measured:
        """Raises:
        S2FError: a process found that something is wrong.
        WorkerError: a process ended before its time.
        """
        with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
            recording = Path(folder) / "speech.wav"
            seconds = MANY_S if choice.many else ONE_S
            soundfile.write(recording, np.resize(self._speech, int(seconds * SAMPLE_RATE)), SAMPLE_RATE)
            how = {
                "pack": str(self.pack.folder),
                "precision": choice.precision,
                "device": choice.device,
                "threads": choice.threads,
            }
            words = [str(recording), str(self._seconds), json.dumps(how)]
            limits = {
                f"{name}_NUM_THREADS": str(choice.threads) for name in THREADS if choice.many
            }  # as infer --jobs does
            workers = [stack.enter_context(_worker(words, limits)) for _ in range(choice.workers)]
            ready = [_said(worker) for worker in workers]
            for worker in workers:
                _sent(worker)
            return _together(choice, ready, [_said(worker) for worker in workers])


@contextlib.contextmanager
def _worker(words: list[str], limits: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A process, which is gone afterwards, whatever happens. An interrupt is for its parent alone."""
    with tempfile.TemporaryFile("w+") as told:
        worker = subprocess.Popen(
            [sys.executable, "-m", "s2f_edge.bench_worker", *words],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=told, text=True, start_new_session=True,
            env={**os.environ, **limits},
        )  # fmt: skip
        try:
            yield worker
        except errors.WorkerError as error:
            worker.wait(10.0)
            told.seek(0)
            lines = told.read().strip().splitlines()
            raise errors.WorkerError(f"{error}{f' It said: {lines[-1]}' if lines else ''}") from None
        finally:
            worker.kill()
            worker.wait()
            for pipe in (worker.stdin, worker.stdout):
                with contextlib.suppress(OSError):
                    _there(pipe).close()


def _there(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None  # all are made with pipes
    return pipe


def _sent(worker: subprocess.Popen[str]) -> None:
    with contextlib.suppress(BrokenPipeError):  # what it says next tells why
        _there(worker.stdin).write("go\n")
        _there(worker.stdin).flush()


def _said(worker: subprocess.Popen[str]) -> dict[str, Any]:
    line = _there(worker.stdout).readline()
    if not line:
        raise errors.WorkerError("A process that was to be measured ended before its time; is there too little memory?")
    said: dict[str, Any] = json.loads(line)
    if "error" in said:
        error = Exception.__new__(getattr(errors, said["error"]))
        error.args = (said["message"],)
        raise error
    return said


def _together(choice: Choice, ready: list[dict[str, Any]], done: list[dict[str, Any]]) -> Measured:
    times = [ms for each in done for ms in each["ms"]]
    first, median, third = np.percentile(times, [25, 50, 75])
    peaks = [each["peak_mib"] for each in done]
    return Measured(
        choice=choice,
        precision=ready[0]["precision"],
        faces=len(times),
        ms=(float(first), float(median), float(third)),
        faces_per_s=sum(len(each["ms"]) / each["s"] for each in done),
        load_s=max(each["load_s"] for each in ready),
        peak_mib=None if None in peaks else sum(peaks),
    )


# -------------------------------------------------------------------------------- advice


@dataclass(frozen=True)
class Advice:
    """A sentence, and the options of the command that it is about."""

    text: str
    options: list[str]


def advice(found: list[Measured]) -> list[Advice]:
    """What to choose, by the figures alone. Of two that differ by less than a twentieth the cheaper one is taken:
    the processor, fewer threads, less memory.
    """
    plain = [m for m in found if m.choice.precision is None]
    one = _best([m for m in plain if not m.choice.many])
    many = _best([m for m in plain if m.choice.many])
    memory = f", {many.peak_mib:.0f} MiB" if many.peak_mib else ""
    rate = f"{many.faces_per_s:.1f} faces/s, {many.speech_per_s:.0f} s of recordings in a second{memory}"
    return [
        Advice(f"One face at a time: {one.ms[1]:.0f} ms for a recording of {ONE_S:g} s.", _options(one)),
        Advice(f"Many recordings: {rate}.", _options(many)),
        *_of_variants(found),
    ]


def _best(found: list[Measured]) -> Measured:
    def rate(measured: Measured) -> float:
        return measured.faces_per_s if measured.choice.many else 1e3 / measured.ms[1]

    def cost(measured: Measured) -> tuple[bool, int, float]:
        choice = measured.choice
        return choice.device == "cuda", choice.threads * choice.workers, measured.peak_mib or 0.0

    most = max(map(rate, found))
    return min((m for m in found if rate(m) >= most / (1.0 + TIE)), key=cost)


def _options(measured: Measured) -> list[str]:
    choice = measured.choice
    words = ["--device", choice.device] if choice.device == "cuda" else ["--threads", str(choice.threads)]
    return words + (["--jobs", str(choice.workers)] if choice.many else [])


def _of_variants(found: list[Measured]) -> Iterator[Advice]:
    """How fast each variant is beside the pack as it is, with the same threads and processes."""
    plain = {m.choice: m for m in found}
    for precision in dict.fromkeys(m.choice.precision for m in found if m.choice.precision):
        ours = [m for m in found if m.choice.precision == precision]
        times = []
        for m in ours:
            other = plain[replace(m.choice, precision=None)]
            times.append(m.faces_per_s / other.faces_per_s if m.choice.many else other.ms[1] / m.ms[1])
        said = ", ".join(f"{t:.2f} ({in_words(m.choice)})" for t, m in zip(times, ours, strict=True))
        yield Advice(
            f"{precision} makes almost the same faces (see `s2f-edge pack show`), so many times as fast: {said}."
            if max(times) > 1.0 + TIE
            else f"{precision} is no faster on this machine: {said} times.",
            ["--precision", precision],
        )


def in_words(choice: Choice) -> str:
    """Processes and threads, or the device."""
    if choice.device == "cuda":
        return "CUDA"
    threads = f"{choice.threads} thread{'s' * (choice.threads > 1)}"
    return f"{choice.workers} x {threads}" if choice.many else threads


def machine() -> str:
    """What times depend on: processor, cores, the widest instructions for 8-bit numbers, onnxruntime."""
    said = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    lines = dict(line.split(":", 1) for line in said.splitlines() if ":" in line)
    about = {name.strip(): value.strip() for name, value in lines.items()}
    flags = about.get("flags", "").split()
    widest = next((flag for flag in ("amx_int8", "avx512_vnni", "avx_vnni", "avx512bw", "avx2") if flag in flags), "")
    name = " ".join(filter(None, (about.get("model name") or platform.processor(), platform.machine(), widest)))
    return f"{name}, {os.cpu_count()} cores, onnxruntime {onnxruntime().__version__}"
