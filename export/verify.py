"""Is an ONNX file the same function as its torch module? At several lengths and batch sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from s2f_edge.hearing.features import Float32s
from s2f_edge.pack.network import described, onnxruntime

# Largest absolute difference allowed. Both sides compute in float32; what is left is the
# order of their sums. Faces are in [-1, 1], so 1e-3 is an eighth of a step of 8 bits.
TOLERANCE = 1e-3
# With weights kept as float16, which have 11 bits: two steps of 8 bits.
FLOAT16_TOLERANCE = 16e-3
SHAPE_TOLERANCE = 2e-3  # of points, in units of the side: half a pixel of 256
BATCHES = (1, 2, 5)


class ParityError(ValueError):
    """The exported file differs from the module."""


def verify(
    module: nn.Module, data: bytes, examples: list[dict[str, torch.Tensor]], tolerance: float = TOLERANCE
) -> dict[str, Any]:
    """Runs both on every example and compares every output.

    Args:
        module: in evaluation mode.
        data: the ONNX file.
        examples: named inputs, of different batch sizes and lengths.
        tolerance: largest absolute difference allowed; of points less, see `SHAPE_TOLERANCE`.

    Returns:
        What the manifest says of parity: examples run, largest difference, and per output
        the least cosine (vectors) or PSNR in dB (pictures).

    Raises:
        ParityError: an output has another shape, NaN, or differs by more than the tolerance.
    """
    session = open_session(data)
    names = [output.name for output in session.get_outputs()]
    largest = 0.0
    report: dict[str, Any] = {}
    for example in examples:
        with torch.inference_mode():
            wanted = module(**example)
        wanted = wanted if isinstance(wanted, tuple) else (wanted,)
        found = session.run(names, {name: tensor.numpy() for name, tensor in example.items()})
        for name, ours, theirs in zip(names, found, wanted, strict=True):
            reference = theirs.numpy()
            shapes = {key: tuple(tensor.shape) for key, tensor in example.items()}
            if ours.shape != reference.shape:
                raise ParityError(f"{name} has shape {ours.shape} for {shapes}; torch gives {reference.shape}.")
            difference = float(np.abs(ours - reference).max())
            allowed = min(tolerance, SHAPE_TOLERANCE) if name in ("shape", "offsets") else tolerance
            if not difference <= allowed:  # NaN fails too
                raise ParityError(
                    f"{name} differs from torch by {difference:.2e} for {shapes}; {allowed:g} is allowed."
                )
            largest = max(largest, difference)
            _judge(report, name, ours, reference)
    return {"examples": len(examples), "largest_difference": largest, **report}


def open_session(data: bytes) -> Any:
    """An onnxruntime session on the CPU."""
    options = onnxruntime().SessionOptions()
    options.log_severity_level = 3
    return onnxruntime().InferenceSession(data, options, providers=["CPUExecutionProvider"])


def _judge(report: dict[str, Any], name: str, ours: Float32s, reference: Float32s) -> None:
    """Adds the least cosine of embeddings or the least PSNR of pictures to the report."""
    if ours.ndim == 2:
        lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(reference, axis=1)
        cosine = float(((ours * reference).sum(axis=1) / np.maximum(lengths, 1e-12)).min())
        report[f"{name}_least_cosine"] = round(min(cosine, report.get(f"{name}_least_cosine", 1.0)), 7)
    elif ours.ndim == 4:
        error = float(np.square((ours - reference) * 127.5).mean())
        psnr = 10.0 * np.log10(255.0**2 / max(error, 1e-12))
        report[f"{name}_least_psnr_db"] = round(min(psnr, report.get(f"{name}_least_psnr_db", 999.0)), 1)


def tensors(data: bytes) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Names, types and shapes of inputs and outputs as onnxruntime sees them, for the manifest."""
    session = open_session(data)
    sides = []
    for side in (session.get_inputs(), session.get_outputs()):
        infos = [described(tensor) for tensor in side]
        sides.append([{"name": i.name, "dtype": i.dtype, "shape": list(i.shape)} for i in infos])
    return sides[0], sides[1]
