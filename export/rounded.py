"""Weights of an ONNX file kept as whole numbers of 8 to 15 bits, to be downloaded: in memory it is the same network."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from s2f_edge.hearing.features import Float32s


def weights_rounded(data: bytes, bits: int) -> bytes:
    """Rounds what a file keeps as float16; a runtime computes the weights of it when it loads the file.

    The first 8 bits are a tensor and the others another one, which compresses to little more than those bits.

    Args:
        data: a model whose large weights are float16 with a cast, as `export.float16` makes it; others stay.
        bits: of each number, 8 to 15.
    """
    model, fine = onnx.load_from_string(data), 2 ** (bits - 8)
    stored = {tensor.name: tensor for tensor in model.graph.initializer if tensor.data_type == TensorProto.FLOAT16}
    parts: dict[str, NDArray[Any]] = {".step": np.array(1 / fine, np.float32)} if fine > 1 else {}
    for name, tensor in stored.items():
        numbers, row, column = rounded(numpy_helper.to_array(tensor).astype(np.float32), 127 * fine)
        coarse = (numbers + fine // 2) // fine
        tensor.CopyFrom(numpy_helper.from_array(coarse.astype(np.int8), name))
        parts |= {f"{name}.row": row * np.float32(fine), f"{name}.column": column}
        if fine > 1:
            parts[f"{name}.fine"] = (numbers - coarse * fine).astype(np.int8)
    model.graph.initializer.extend(numpy_helper.from_array(part, name) for name, part in parts.items())
    nodes = [after for node in model.graph.node for after in _computed(node, set(stored), fine > 1)]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model)
    kept: bytes = model.SerializeToString()
    return kept


def rounded(weights: Float32s, most: int) -> tuple[NDArray[np.int64], Float32s, Float32s]:
    """Whole numbers, at most `most`, whose product with both scales is near the weights.

    A scale for each row is not enough: where a norm is inside the weights, columns have very different ranges.

    Args:
        weights: float32 of two dimensions or more: rows, columns, taps.

    Returns:
        int64 of the same shape, float32 (rows, 1, ...) and float32 (columns, 1, ...).
    """
    by_row, by_column = (tuple(i for i in range(weights.ndim) if i != axis) for axis in (0, 1))
    size = np.sqrt(np.square(weights).mean(by_row, keepdims=True))
    column = np.sqrt(np.square(weights / np.where(size > 0, size, 1)).mean(by_column, keepdims=True))
    column = np.where(column > 0, column, 1).astype(np.float32)
    row = np.abs(weights / column).max(by_row, keepdims=True) / most
    row = np.where(row > 0, row, 1).astype(np.float32)
    return np.rint(weights / column / row).astype(np.int64), row, column[0]


def _computed(node: onnx.NodeProto, names: set[str], fine: bool) -> list[onnx.NodeProto]:
    """A node, and behind the cast of such a tensor its sum and scales."""
    if node.op_type != "Cast" or node.input[0] not in names:
        return [node]
    name, out = node.input[0], node.output[0]
    number = node.output[0] = f"{out}.coarse"
    nodes = [node]
    if fine:
        nodes += [
            helper.make_node("Cast", [f"{name}.fine"], [f"{out}.fine"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [f"{out}.fine", ".step"], [f"{out}.rest"]),
            helper.make_node("Add", [number, f"{out}.rest"], [f"{out}.number"]),
        ]
        number = f"{out}.number"
    return [
        *nodes,
        helper.make_node("Mul", [number, f"{name}.row"], [f"{out}.rows"]),
        helper.make_node("Mul", [f"{out}.rows", f"{name}.column"], [out]),
    ]
