"""Weights as whole numbers: near enough, smaller, and a file of standard operators."""

from __future__ import annotations

import gzip
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.float16 import weights_as_float16
from export.rounded import rounded, weights_rounded
from export.verify import open_session

ROWS, COLUMNS = 32, 64


def weights() -> Any:
    """As where a norm is inside of them: columns of ranges 100 times as large as others; one row and column of 0."""
    random = np.random.default_rng(0)
    made = random.standard_normal((ROWS, COLUMNS, 3)) * 10.0 ** random.uniform(-1, 1, (1, COLUMNS, 1))
    made[3] = made[:, 5] = 0
    return made.astype(np.float32)


@pytest.fixture(scope="module")
def half() -> bytes:
    """A convolution whose weights are float16; its bias is not."""
    kept = {"weights": weights(), "bias": np.linspace(-1, 1, ROWS, dtype=np.float32)}
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "weights", "bias"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, COLUMNS, 40])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, ROWS, 38])],
        [numpy_helper.from_array(value, name) for name, value in kept.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return weights_as_float16(model.SerializeToString())


def error(data: bytes, half: bytes) -> float:
    """Of the outputs, as a part of what they are, for inputs that even the columns out as a norm does."""
    made = weights()
    size = np.sqrt(np.square(made).mean((0, 2)))
    x = np.random.default_rng(1).standard_normal((1, COLUMNS, 40)) / np.where(size > 0, size, 1)[None, :, None]
    ours, theirs = (open_session(each).run(None, {"x": x.astype(np.float32)})[0] for each in (data, half))
    return float(np.sqrt(np.square(ours - theirs).mean() / np.square(theirs).mean()))


def test_each_bit_halves_the_error(half: bytes) -> None:
    found = {bits: error(weights_rounded(half, bits), half) for bits in (8, 10, 12)}
    assert 0.002 < found[8] < 0.01
    assert found[8] / 5 < found[10] < found[8] / 3
    assert found[10] / 5 < found[12] < found[10] / 3


def test_it_is_smaller_on_the_way_and_other_weights_stay(half: bytes) -> None:
    sent = {bits: len(gzip.compress(weights_rounded(half, bits), 6)) for bits in (8, 10)}
    assert sent[8] < sent[10] < 0.85 * len(gzip.compress(half, 6))
    model = onnx.load_from_string(weights_rounded(half, 10))
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    assert np.array_equal(numpy_helper.to_array(stored["bias"]), np.linspace(-1, 1, ROWS, dtype=np.float32))
    assert TensorProto.FLOAT16 not in {tensor.data_type for tensor in stored.values()}
    assert {node.domain for node in model.graph.node} == {""}


def test_numbers_fill_their_bits_and_nothing_is_lost_in_zeros() -> None:
    made = weights()
    numbers, row, column = rounded(made, 508)
    assert np.isfinite(row).all()
    assert np.isfinite(column).all()
    assert (np.abs(numbers).max((1, 2)) == np.where(np.arange(ROWS) == 3, 0, 508)).all()
    assert np.abs(numbers * row * column - made).max() <= 0.5 * (row * column).max() * 1.001
    matrix, *_ = rounded(made[:, :, 0], 127)
    assert matrix.shape == (ROWS, COLUMNS)
