"""The renderer with 8-bit convolutions, where its pictures stay near those of the pack's.

Weights are rounded for each of their maps, to 7 bits, so that no product saturates on processors without instructions
for 8-bit numbers; what goes into a convolution has the range that it has on average on real appearances: what is beyond
is clipped, and the rest rounded less. The first convolution and those that end in a picture stay as they are: what they
round is seen at once. All is written as QuantizeLinear and DequantizeLinear, which any runtime reads.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from export.float16 import weights_as_float16, weights_as_float32
from export.verify import open_session
from s2f_edge.hearing.features import Float32s
from s2f_edge.pack.network import onnxruntime
from s2f_edge.pack.roles import APPEARANCE
from s2f_edge.results import Appearance

LEAST_PSNR_DB = 35.0  # below it a variant shares the pack's renderer
ENDS = (3, 7)  # maps of pictures, and of what the first convolution takes
HIGHEST_DB = 99.0  # of equal pictures


def quantised_renderer(data: bytes, appearances: Appearance) -> bytes:
    """The int8 form of an exported renderer.

    Args:
        data: as `export.to_onnx` writes it.
        appearances: whose ranges it is made for.
    """
    onnxruntime()  # with its telemetry off, before its tools load it
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left = iter(_each(appearances))

        def get_next(self) -> dict[str, Float32s] | None:
            return next(self._left, None)

    model = onnx.load_from_string(weights_as_float32(data))
    facts = {prop.key: prop.value for prop in model.metadata_props}
    with tempfile.TemporaryDirectory() as name:
        made = Path(name) / "made.onnx"
        with _quiet():
            quantize_static(
                model,
                made,
                Reader(),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=["Conv"],
                nodes_to_exclude=_ends(model),
                per_channel=True,
                reduce_range=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                extra_options={"CalibMovingAverage": True},
            )
        found = onnx.load(made)
    found.ir_version = model.ir_version  # the tool writes a newer one than it needs
    onnx.helper.set_model_props(found, facts)
    onnx.checker.check_model(found)
    return weights_as_float16(found.SerializeToString())


def psnr_db(ours: bytes, theirs: bytes, appearances: Appearance) -> list[float]:
    """PSNR between the pictures of two renderers, of each appearance."""
    sessions = [open_session(data) for data in (ours, theirs)]
    found = []
    for one in _each(appearances):
        a, b = (session.run(["face"], one)[0].astype(np.float64) for session in sessions)
        found.append(decibels((a - b) * 127.5))
    return found


def decibels(difference: NDArray[np.float64]) -> float:
    """PSNR of pictures of 8 bits that differ by so much."""
    error = float(np.square(difference).mean())
    return min(HIGHEST_DB, 10.0 * float(np.log10(255.0**2 / max(error, 1e-12))))


def _each(appearances: Appearance) -> list[dict[str, Float32s]]:
    """Inputs of one face each."""
    return [{name: getattr(appearances, name)[i : i + 1] for name in APPEARANCE} for i in range(len(appearances))]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The tool recommends to prepare the model, which the exporter has done."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _ends(model: onnx.ModelProto) -> list[str]:
    shapes = {tensor.name: tensor.dims for tensor in model.graph.initializer}
    convolutions: list[Any] = [node for node in model.graph.node if node.op_type == "Conv"]
    return [
        node.name for node in convolutions if shapes[node.input[1]][0] == ENDS[0] or shapes[node.input[1]][1] == ENDS[1]
    ]
