"""Weights of an ONNX file kept as 16-bit floats: half the size on disk, the same network in float32 once loaded. And
the way back.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SMALL = 2048  # numbers; below that (biases, norms) there is nothing to save


def weights_as_float16(data: bytes) -> bytes:
    """Keeps large weights as float16, each with a cast to float32 that a runtime folds away when it loads the file.

    What says places in a picture (what a GridSample's grid is computed of) stays float32: there 11 bits are a part of a
    pixel.

    Raises:
        ValueError: a weight is beyond what float16 holds (65,504).
    """
    model = onnx.load_from_string(data)
    casts, places = [], _places(model.graph)
    for tensor in model.graph.initializer:
        if tensor.name in places or tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < SMALL:
            continue
        name, values = tensor.name, numpy_helper.to_array(tensor)
        largest = float(np.abs(values).max())
        if not largest <= float(np.finfo(np.float16).max):
            raise ValueError(
                f"{name} has a weight of {largest:g}, which float16 cannot hold; export without --float16."
            )
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.float16"))
        casts.append(helper.make_node("Cast", [tensor.name], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model)
    kept: bytes = model.SerializeToString()
    return kept


def _places(graph: onnx.GraphProto) -> set[str]:
    """Names of all that grids are computed of."""
    # What has its length alone in a grid is no part of it.
    makers = {name: node for node in graph.node if node.op_type != "Shape" for name in node.output}
    found: set[str] = set()
    waiting = [node.input[1] for node in graph.node if node.op_type == "GridSample"]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += makers[name].input if name in makers else []
    return found


def weights_as_float32(data: bytes) -> bytes:
    """Keeps weights that are float16 as float32, which holds them exactly; the casts go."""
    model = onnx.load_from_string(data)
    stored = {tensor.name: tensor for tensor in model.graph.initializer if tensor.data_type == TensorProto.FLOAT16}
    nodes = []
    renamed: dict[str, str] = {}
    for node in model.graph.node:
        if node.op_type != "Cast" or node.input[0] not in stored:
            node.input[:] = [renamed.get(name, name) for name in node.input]
            nodes.append(node)
            continue
        tensor = stored[node.input[0]]
        if tensor.data_type == TensorProto.FLOAT16:  # or else it has been cast before
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), node.output[0]))
        renamed[node.output[0]] = tensor.name
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model)
    kept: bytes = model.SerializeToString()
    return kept
