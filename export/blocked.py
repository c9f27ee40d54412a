"""CAM++ as onnxruntime runs it fastest: its layers over time in two dimensions, its norms in the weights.

The graph that torch exports has convolutions over (channels, steps). onnxruntime has fast ones, whose data and
weights lie in blocks of channels, for pictures only; for others it copies the input into another order, then
multiplies. So the same layers are written as ones over pictures of one row. And a norm and a ReLU before a
convolution, two more passes over all channels, become one: relu(s x + b) = s (max(x, c) - c) with c = -b / s; s
goes into the weights and c into the bias of the convolution. (For s < 0 it is a minimum instead.)

Compared with the graph it is made from by `export.verify`, as every exported file is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

FAR = np.float32(3e38)  # a limit that no value reaches


class NotCamPlusPlus(ValueError):
    """The graph is not that of CAM++."""


def blocked(data: bytes) -> bytes:
    """Rewrites an exported CAM++; float16 weights stay so.

    Raises:
        NotCamPlusPlus: the graph is another network's, or has been rewritten already.
    """
    model = onnx.load_from_string(data)
    _Rewriter(model).rewrite()
    onnx.checker.check_model(model)
    rewritten: bytes = model.SerializeToString()
    return rewritten


class _Rewriter:
    """Walks the nodes once. Between the convolution with a stride and the mean over time, all is 4-D."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.graph = model.graph
        self.stored = {tensor.name: tensor for tensor in self.graph.initializer}
        for node in self.graph.node:  # what is cast from float16; and torch keeps one of tensors that are equal
            if node.op_type in ("Cast", "Identity") and node.input[0] in self.stored:
                self.stored[node.output[0]] = self.stored[node.input[0]]
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: dict[str, onnx.TensorProto] = {}
        self.norms: dict[str, tuple[str, NDArray[np.float64], NDArray[np.float64]]] = {}  # input, scale, shift
        self.made: set[str] = set()
        self.begin = self.first = ""  # the result of the convolution with a stride, and of the ReLU after it

    def rewrite(self) -> None:
        for node in self.graph.node:
            if node.output[0] not in self.stored and not self._take(node):
                self._keep(node)
        if not self.norms or not self.begin:
            raise NotCamPlusPlus("The graph is not that of CAM++ as torch exports it; no other can be rewritten.")
        del self.graph.node[:], self.graph.initializer[:]
        self.graph.node.extend(self.nodes)
        self.graph.initializer.extend(self.tensors.values())

    # ------------------------------------------------------------------------------ pieces

    def _add(self, op: str, inputs: list[str], name: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def _store(self, name: str, values: NDArray[Any]) -> str:
        self.tensors[name] = numpy_helper.from_array(np.ascontiguousarray(values), name)
        return name

    def _weights(self, name: str, values: NDArray[Any], scale: NDArray[Any] | None = None) -> str:
        """Stores weights in the type they had, a scale apart from float16, which would round once more; a runtime
        casts and multiplies once, at loading.
        """
        if name in self.made:
            return name
        self.made.add(name)
        if values.dtype == np.float32:
            return self._store(name, values if scale is None else values * scale)
        stored = self._store(f"{name}.float16", values)
        cast = self._add("Cast", [stored], name if scale is None else f"{name}.cast", to=TensorProto.FLOAT)
        return cast if scale is None else self._add("Mul", [cast, self._store(f"{name}.scale", scale)], name)

    def _value(self, name: str) -> NDArray[Any]:
        return numpy_helper.to_array(self.stored[name])

    def _keep(self, node: onnx.NodeProto) -> None:
        for name in node.input:
            if name in self.stored:
                self._weights(name, self._value(name))
        self.nodes.append(node)

    # ------------------------------------------------------------------------------- layers

    def _take(self, node: onnx.NodeProto) -> bool:
        """Rewrites a layer over time; False leaves a node as it is."""
        kind, out, source = node.op_type, node.output[0], node.input[0] if node.input else ""
        if kind == "BatchNormalization":
            gamma, beta, mean, variance = (self._value(name).astype(np.float64) for name in node.input[1:5])
            scale = gamma / np.sqrt(variance + _attribute(node, "epsilon"))
            self.norms[out] = (source, scale, beta - mean * scale)
        elif source in self.norms and kind == "Relu":
            self.norms[out] = self.norms[source]
        elif source in self.norms:
            self._normed(node, *self.norms[source])
        elif kind == "Conv" and len(_attribute(node, "kernel_shape")) == 1:
            if _attribute(node, "strides") != [1]:
                source = self._add("Unsqueeze", [source, self._store("row", np.array([2]))], f"{source}.picture")
                self.begin = out
            self._convolution(node, source, self._weights(f"{out}.weight", self._value(node.input[1])[:, :, None]))
        elif kind == "Relu" and source == self.begin:
            self._keep(node)
            self.first = out
        elif kind == "Shape" and source == self.first:  # asked for the number of steps
            self._add(kind, [self._add("Squeeze", [source, self._store("row", np.array([2]))], f"{source}.flat")], out)
        elif kind == "ReduceMean":
            self._add(kind, [source], out, axes=[2, 3], keepdims=0)
        else:
            return False
        return True

    def _convolution(self, node: onnx.NodeProto, source: str, weights: str, bias: str = "") -> None:
        (taps,), (stride,), (far,) = (_attribute(node, name) for name in ("kernel_shape", "strides", "dilations"))
        before, after = _attribute(node, "pads")
        biases = [bias] if bias else [self._weights(name, self._value(name)) for name in node.input[2:]]
        self._add(
            "Conv", [source, weights, *biases], node.output[0],
            kernel_shape=[1, taps], strides=[1, stride], dilations=[1, far], pads=[0, before, 0, after],
        )  # fmt: skip

    def _normed(self, node: onnx.NodeProto, source: str, scale: NDArray[Any], shift: NDArray[Any]) -> None:
        """Norm, ReLU and a convolution of one tap."""
        if node.op_type != "Conv" or _attribute(node, "kernel_shape") != [1]:
            raise NotCamPlusPlus(f"{node.op_type} after a norm is not in CAM++; no other graph can be rewritten.")
        out, weights = node.output[0], self._value(node.input[1])  # (out, in, 1)
        scale, corner = scale.astype(np.float32), (-shift / scale).astype(np.float32)
        up = scale > 0
        least = self._store(f"{out}.least", np.where(up, corner, -FAR)[:, None, None])
        source = self._add("Max", [source, least], f"{out}.above")
        if not up.all():
            most = self._store(f"{out}.most", np.where(up, FAR, corner)[:, None, None])
            source = self._add("Min", [source, most], f"{out}.below")
        bias = -(weights[:, :, 0].astype(np.float64) @ (corner.astype(np.float64) * scale))
        if len(node.input) > 2:
            bias += self._value(node.input[2])
        kernel = self._weights(f"{out}.weight", weights[..., None], scale[None, :, None, None])
        self._convolution(node, source, kernel, self._store(f"{out}.bias", bias.astype(np.float32)))


def _attribute(node: onnx.NodeProto, name: str) -> Any:
    return next(helper.get_attribute_value(a) for a in node.attribute if a.name == name)
