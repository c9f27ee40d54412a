"""Writes the single file of a pack, checked against the pipeline, and its form for ONNX Runtime Mobile."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from export.graphs import IR, OPSET
from export.single_file import judge, single_file
from s2f_edge.files import write_whole
from s2f_edge.hearing import audio
from s2f_edge.hearing.features import SAMPLE_RATE, Float32s
from s2f_edge.hearing.vad import find_speech
from s2f_edge.pack.pack import Pack

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
CUTS_S = (1.0, 1.55, 2.0, 3.7)  # shorter and longer than the windows of every front end
LONG_S, OTHER_S = 65.0, 5.0  # beyond the longest window of any; white noise before the speech


def write_single_file(
    pack: Pack, target: Path, generator: str = "auto", ort: bool = False, recordings: list[Path] | None = None
) -> dict[str, Any]:
    """Writes a pack as one file, once it gives the pipeline's faces.

    Args:
        target: file to write, NAME.onnx.
        generator: see `single_file`.
        ort: also writes NAME.ort and NAME.required_operators.config beside it.
        recordings: that it is compared on; None takes examples/.

    Returns:
        What was written and how it compares, as plain JSON values.

    Raises:
        ValueError: see `single_file`, or no recordings; ParityError is one.
        AudioError, PackError, OutputError: something cannot be read or written.
    """
    clips = speech_of(recordings or sorted(EXAMPLES.glob("*.wav")))
    data = single_file(pack, generator)
    files = {target: data}
    parity = {target.name: asdict(judge(data, pack, clips, generator))}
    if ort:
        converted, operators = ort_format(data)
        beside = target.with_suffix(".ort")
        parity[beside.name] = asdict(judge(converted, pack, clips, generator))
        files |= {beside: converted, target.with_suffix(".required_operators.config"): operators}
    for path, content in files.items():
        write_whole(path, content)
    return {
        "pack": f"{pack.manifest.name} {pack.manifest.version}",
        "pack_sha256": pack.sha256,
        "opset": OPSET,
        "ir_version": IR,
        "files": {
            str(path): {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for path, content in files.items()
        },
        "parity": parity,
    }


def speech_of(recordings: list[Path]) -> list[Float32s]:
    """Voiced sound, float32 at 16 kHz: speech of each recording, pieces of the first, and all in a loop after noise."""
    whole = [find_speech(audio.read(path).samples).samples for path in recordings]
    whole = [speech for speech in whole if len(speech) >= SAMPLE_RATE]
    if not whole:
        raise ValueError("There is no recording with a second of speech to compare with; name some with --speech.")
    pieces = [whole[0][: int(seconds * SAMPLE_RATE)] for seconds in CUTS_S]
    looped = np.resize(np.concatenate(whole), int(LONG_S * SAMPLE_RATE))
    other = int(OTHER_S * SAMPLE_RATE)
    looped[:other] = 0.05 * np.random.default_rng(0).standard_normal(other)
    return [*whole, *pieces, looped]


def ort_format(data: bytes) -> tuple[bytes, bytes]:
    """A model in ORT format, optimised for any processor, and the operators that a build of onnxruntime needs for it.

    The weights become float32: what is stored as 16-bit floats grows to twice the size, and loads faster.
    """
    from s2f_edge.pack.network import onnxruntime

    onnxruntime()  # with its telemetry off, before its tools load it
    from onnxruntime.tools.convert_onnx_models_to_ort import OptimizationStyle, convert_onnx_models_to_ort

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model.onnx").write_bytes(data)
        with _quiet():
            convert_onnx_models_to_ort(folder / "model.onnx", optimization_styles=[OptimizationStyle.Fixed])
        (config,) = folder.glob("model.required_operators*.config")
        lines = config.read_text("utf-8").splitlines()
        text = "\n".join(line for line in lines if name not in line) + "\n"
        return (folder / "model.ort").read_bytes(), text.encode()


@contextlib.contextmanager
def _quiet() -> Any:
    """The converter prints, and onnxruntime warns from C++, what says nothing about our file."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
