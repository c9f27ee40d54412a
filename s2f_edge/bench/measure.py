"""What this machine makes of voices: times, rates and memory of the choices that a user has.

Every figure is from processes of their own (worker.py), which load the pack, warm up, and then make faces for as
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
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
import soundfile

from s2f_edge.errors import WorkerError, from_dict
from s2f_edge.hearing import audio
from s2f_edge.hearing.features import SAMPLE_RATE
from s2f_edge.hearing.gain import SpeechStream
from s2f_edge.interrupts import started_apart
from s2f_edge.pack.network import chosen_providers, onnxruntime, settled_variant
from s2f_edge.pack.pack import Pack, variants
from s2f_edge.pack.processor import PRODUCTS, about, instructions
from s2f_edge.pipeline import Speech2Face
from s2f_edge.processes import threads_limited

SPEECH = Path(__file__).with_name("speech.ogg")  # examples/male.wav, spoken by Flite
ONE_S, MANY_S = 10.0, 3.0  # length of a recording, where faces are made one at a time and where there are many


@dataclass(frozen=True)
class Choice:
    """A configuration to measure: one face at a time, or many recordings with several processes.

    Attributes:
        variant: of the pack; None takes the pack as it is.
        threads: of each process.
    """

    many: bool
    workers: int
    threads: int
    device: str = "cpu"
    variant: str | None = None


@dataclass(frozen=True)
class Measured:
    """The measurements of one configuration.

    Attributes:
        precision: of the weights that ran, or light.
        faces: that were made in the time.
        ms: of a face: first quartile, median, third quartile.
        faces_per_s: of all processes together.
        load_s: of onnxruntime and the pack, by the slowest process.
        peak_mib: of all processes together; None where the system does not say.
        pack_mb: size of the pack's networks, in millions of bytes.
    """

    choice: Choice
    precision: str
    faces: int
    ms: tuple[float, float, float]
    faces_per_s: float
    load_s: float
    peak_mib: float | None
    pack_mb: float

    @property
    def speech_per_s(self) -> float:
        """Seconds of recordings that are heard in a second."""
        return self.faces_per_s * (MANY_S if self.choice.many else ONE_S)


def has_cuda() -> bool:
    """Whether this onnxruntime has CUDA, which the device auto then takes."""
    return chosen_providers("auto")[0] == "CUDAExecutionProvider"


def choices(pack: Pack, device: str, cores: int) -> list[Choice]:
    """The configurations to measure on a machine: first those of the variant that `infer` takes on its processor.

    Raises:
        DeviceError: cuda is asked for and is not there.
        PackError: a variant of the pack is damaged.
    """
    on_gpu = [Choice(False, 1, 1, "cuda"), Choice(True, 1, 1, "cuda")]
    if device == "cuda":
        chosen_providers(device)  # raises where it is not there
        return on_gpu
    some = sorted({1, cores, *(2**n for n in range(1, cores.bit_length()) if 2**n < cores)})
    usual = settled_variant(pack.folder, "auto", "cpu")
    found = [Choice(False, 1, threads, "cpu", usual) for threads in some]
    found += [Choice(True, 1, cores, "cpu", usual), *([Choice(True, cores, 1, "cpu", usual)] if cores > 1 else [])]
    for name in variants(pack.folder):
        variant = None if name == pack.manifest.weights else name
        if variant != usual:
            Pack.open(pack.folder, variant)
            found += [Choice(False, 1, threads, "cpu", variant) for threads in sorted({1, cores})]
            found.append(Choice(True, cores, 1, "cpu", variant))
    return found + (on_gpu if device == "auto" and has_cuda() else [])


class Bench:
    """Measures configurations on speech of a fixed length, cut or repeated from a recording.

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
        parts = [voiced for block in audio.stream(source) for _, voiced in stream.push(block)]
        self._speech = np.concatenate([*parts, *(voiced for _, voiced in stream.finish())])

    def measure(self, choice: Choice) -> Measured:
        """Measures one configuration.

        Raises:
            S2FError: a process failed with it.
            WorkerError: a process ended early.
        """
        with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
            recording = Path(folder) / "speech.wav"
            seconds = MANY_S if choice.many else ONE_S
            soundfile.write(recording, np.resize(self._speech, int(seconds * SAMPLE_RATE)), SAMPLE_RATE)
            options = {
                "pack": str(self.pack.folder),
                "variant": choice.variant,
                "device": choice.device,
                "threads": choice.threads,
            }
            arguments = [str(recording), str(self._seconds), json.dumps(options)]
            limits = threads_limited(choice.threads) if choice.many else {}  # as infer --jobs does
            workers = [stack.enter_context(_MeasuredProcess(arguments, limits)) for _ in range(choice.workers)]
            ready = [worker.message() for worker in workers]
            for worker in workers:
                worker.begin()
            return _combined(choice, ready, [worker.message() for worker in workers])


class _MeasuredProcess:
    """A process, which is gone when its context is left. An interrupt is for its parent alone.

    It finds modules where this process does: `-m` alone would look in the folder that the user is in first.
    """

    def __init__(self, arguments: list[str], limits: dict[str, str]) -> None:
        self._stderr = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "s2f_edge.bench.worker", *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._stderr, text=True, encoding="utf-8",
            **started_apart(), env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **limits},
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        for file in (self._process.stdin, self._process.stdout, self._stderr):
            with contextlib.suppress(OSError):
                _pipe(file).close()

    def begin(self) -> None:
        with contextlib.suppress(OSError):  # it has ended; what it says next tells why
            _pipe(self._process.stdin).write("go\n")
            _pipe(self._process.stdin).flush()

    def message(self) -> dict[str, Any]:
        """The next message of the process.

        Raises:
            S2FError: the message is an error.
            WorkerError: the process ended without a message.
        """
        line = _pipe(self._process.stdout).readline()
        if not line:
            text = "A process that was to be measured ended before its time; is there too little memory?"
            raise WorkerError(text + self._last_line())
        facts: dict[str, Any] = json.loads(line)
        if "error" in facts:
            raise from_dict(facts)
        return facts

    def _last_line(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10.0)
        self._stderr.seek(0)
        lines = self._stderr.read().strip().splitlines()
        return f" It said: {lines[-1]}" if lines else ""


def _pipe(file: IO[str] | None) -> IO[str]:
    assert file is not None  # all are made with pipes
    return file


def _combined(choice: Choice, ready: list[dict[str, Any]], done: list[dict[str, Any]]) -> Measured:
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
        pack_mb=ready[0]["pack_mb"],
    )


# ------------------------------------------------------------------------------- machine


def machine_facts() -> dict[str, str | int | None]:
    """What times depend on. The instructions are the widest for 8-bit numbers; "" where the system does not say."""
    has = instructions()
    return {
        "processor": about().get("model name") or platform.processor(),
        "architecture": platform.machine(),
        "instructions": next((each for each in (*PRODUCTS, "avx512bw", "avx2") if each in has), ""),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "onnxruntime": str(onnxruntime().__version__),
    }


def machine() -> str:
    """Processor, cores and onnxruntime in one line."""
    facts = machine_facts()
    name = " ".join(str(facts[each]) for each in ("processor", "architecture", "instructions") if facts[each])
    return f"{name}, {facts['cores']} cores, onnxruntime {facts['onnxruntime']}"
