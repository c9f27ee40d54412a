"""CAM++ as onnxruntime runs it fastest: its 1-D layers as matrix products over (steps, channels).

The graph that torch exports has convolutions over (channels, steps). Each copies its whole input into
another order before it multiplies, and a norm and a ReLU before it are two more passes over that input.
Here the same weights make

- of a 1x1 convolution one `Gemm` over (batch * steps, channels), its weights packed once, at loading;
- of the norm and ReLU before it, relu(s x + b) = s (max(x, c) - c) with c = -b / s, one `Max`: s goes
  into the rows of the weights, c into the bias (for s < 0 it is a `Min`);
- of a convolution of three taps one `Gemm` for all taps, whose three outputs are shifted and added up.

Tested against the graph it is made from by `export.verify`, as every exported file is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

FAR = np.float32(3e38)  # a limit that no value reaches


class NotCamPlusPlus(ValueError):
    """The graph has something that is not in CAM++."""


def channels_last(data: bytes) -> bytes:
    """Rewrites an exported CAM++; float16 weights stay so.

    Raises:
        NotCamPlusPlus: the graph is another network's.
    """
    model = onnx.load_from_string(data)
    _Rewriter(model).rewrite()
    onnx.checker.check_model(model)
    rewritten: bytes = model.SerializeToString()
    return rewritten


class _Rewriter:
    """Walks the nodes once. What torch has as (batch, channels, steps) is kept as (batch * steps, channels), or as
    (batch, steps, channels), or as both, made when first asked for.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.graph = model.graph
        self.stored = {tensor.name: tensor for tensor in self.graph.initializer}
        self.casts = {  # float32 name -> the float16 tensor it is cast from
            node.output[0]: self.stored[node.input[0]]
            for node in self.graph.node
            if node.op_type == "Cast" and node.input[0] in self.stored
        }
        for node in self.graph.node:  # torch keeps one of tensors that are equal, and names it again
            if node.op_type == "Identity" and node.input[0] in self.stored:
                self.stored[node.output[0]] = self.stored[node.input[0]]
            elif node.op_type == "Identity" and node.input[0] in self.casts:
                self.casts[node.output[0]] = self.casts[node.input[0]]
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: dict[str, onnx.TensorProto] = {}
        self.made: set[str] = set()  # what is made once and used often
        self.flat: dict[str, str] = {}
        self.deep: dict[str, str] = {}
        self.width: dict[str, int] = {}  # channels of a tensor that is in one of the two
        self.norms: dict[str, tuple[str, NDArray[np.float64], NDArray[np.float64]]] = {}  # input, scale, shift
        self.begin = ""  # where the 1-D layers begin

    def rewrite(self) -> None:
        for node in self.graph.node:
            known = node.output[0] in self.casts or node.output[0] in self.stored
            if not known and not self._take(node):
                self._keep(node)
        if not self.begin:
            raise NotCamPlusPlus(
                "The graph has no 1-D layers; only that of CAM++, as torch exports it, can be rewritten."
            )
        del self.graph.node[:], self.graph.initializer[:]
        self.graph.node.extend(self.nodes)
        self.graph.initializer.extend(self.tensors.values())

    # ------------------------------------------------------------------------------ pieces

    def _keep(self, node: onnx.NodeProto) -> None:
        for i, name in enumerate(node.input):
            tensor = self.casts.get(name) or self.stored.get(name)
            if tensor is None:
                continue
            self.tensors[tensor.name] = tensor
            if name not in self.casts:
                node.input[i] = tensor.name
            elif name not in self.made:
                self.made.add(name)
                self._add("Cast", [tensor.name], name, to=TensorProto.FLOAT)
        self.nodes.append(node)

    def _add(self, op: str, inputs: list[str], name: str, outputs: tuple[str, ...] = (), **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, inputs, list(outputs) or [name], name=name, **attributes))
        return name

    def _store(self, name: str, values: NDArray[Any]) -> str:
        self.tensors[name] = numpy_helper.from_array(np.ascontiguousarray(values), name)
        return name

    def _weights(self, name: str, values: NDArray[Any]) -> str:
        """Stores weights in the type they had; float16 gets its cast, which a runtime does once, at loading."""
        if values.dtype == np.float32:
            return self._store(name, values)
        return self._add("Cast", [self._store(f"{name}.float16", values)], name, to=TensorProto.FLOAT)

    def _value(self, name: str) -> NDArray[Any]:
        tensor = self.casts.get(name) or self.stored.get(name)
        if tensor is None:
            raise NotCamPlusPlus(
                f"{name} is not a stored weight; only the graph of CAM++, as torch exports it, can be rewritten."
            )
        return numpy_helper.to_array(tensor)

    def _ours(self, out: str, width: int, flat: str = "", deep: str = "") -> None:
        self.width[out] = width
        if flat:
            self.flat[out] = flat
        if deep:
            self.deep[out] = deep

    def _rows(self, name: str) -> str:
        """(batch * steps, channels)"""
        if name not in self.flat:
            shape = self._store(f"rows.{self.width[name]}", np.array([-1, self.width[name]], np.int64))
            self.flat[name] = self._add("Reshape", [self.deep[name], shape], f"{name}.rows")
        return self.flat[name]

    def _steps(self, name: str) -> str:
        """(batch, steps, channels)"""
        if name not in self.deep:
            shape = f"steps.{self.width[name]}"
            if shape not in self.made:
                self.made.add(shape)
                rest = self._store(f"{shape}.rest", np.array([-1, self.width[name]], np.int64))
                self._add("Concat", [self._batch(), rest], shape, axis=0)
            self.deep[name] = self._add("Reshape", [self.flat[name], shape], f"{name}.steps")
        return self.deep[name]

    def _batch(self) -> str:
        """The tensor (batch,)."""
        if "batch.size" not in self.made:
            self.made.add("batch.size")
            ends = [self._store(f"axis.{i}", np.array([i], np.int64)) for i in (0, 1)]
            self._add("Slice", [self._add("Shape", [self.begin], "whole.shape"), *ends], "batch.size")
        return "batch.size"

    # ------------------------------------------------------------------------------- layers

    def _take(self, node: onnx.NodeProto) -> bool:
        """Rewrites a node whose input is ours; False leaves it as it is."""
        kind, out, source = node.op_type, node.output[0], node.input[0] if node.input else ""
        if kind == "Conv" and _attribute(node, "strides") == [2]:
            if self.begin:
                raise NotCamPlusPlus("The graph has two strides; only CAM++, as torch exports it, can be rewritten.")
            self._keep(node)
            self.begin = out
            self._ours(
                out,
                self._value(node.input[1]).shape[0],
                deep=self._add("Transpose", [out], f"{out}.steps", perm=[0, 2, 1]),
            )
        elif source in self.norms:
            if kind == "Relu":
                self.norms[out] = self.norms[source]
            else:
                self._normed(node, *self.norms[source])
        elif source not in self.width:
            return False
        elif kind == "Shape":  # asked for the number of steps
            self._add(kind, [self.begin], out)
        elif kind == "BatchNormalization":
            gamma, beta, mean, variance = (self._value(name).astype(np.float64) for name in node.input[1:5])
            scale = gamma / np.sqrt(variance + _attribute(node, "epsilon"))
            self.norms[out] = (source, scale, beta - mean * scale)
        elif kind in ("Relu", "Sigmoid"):
            self._ours(out, self.width[source], flat=self._add(kind, [self._rows(source)], f"{out}.rows"))
        elif kind == "Conv" and _attribute(node, "kernel_shape") == [1]:
            weights = self._value(node.input[1])[:, :, 0].T
            self._product(
                out, self._rows(source), self._weights(f"{out}.weight", weights), weights.shape[1], self._bias(node)
            )
        elif kind == "Conv":
            self._taps(node)
        elif kind == "MatMul":  # with a matrix over steps: means, or one row a segment repeated
            turned = f"{node.input[1]}.turned"
            if turned not in self.made:
                self.made.add(turned)
                self._add("Transpose", [node.input[1]], turned, perm=[1, 0])
            product = self._add("MatMul", [turned, self._steps(source)], f"{out}.steps")
            self._ours(out, self.width[source], deep=product)
        elif kind == "Mul":
            self._ours(out, self.width[source], deep=self._add(kind, [*map(self._steps, node.input)], f"{out}.steps"))
        elif kind == "Concat":
            rows = self._add(kind, [*map(self._rows, node.input)], f"{out}.rows", axis=1)
            self._ours(out, sum(self.width[name] for name in node.input), flat=rows)
        elif kind == "ReduceMean":
            self._add(kind, [self._steps(source)], out, axes=[1], keepdims=0)
        else:
            raise NotCamPlusPlus(f"{kind} is not in CAM++; only its graph, as torch exports it, can be rewritten.")
        return True

    def _bias(self, node: onnx.NodeProto) -> NDArray[np.float64]:
        channels = self._value(node.input[1]).shape[0]
        return self._value(node.input[2]).astype(np.float64) if len(node.input) > 2 else np.zeros(channels)

    def _product(self, out: str, rows: str, weights: str, width: int, bias: NDArray[np.float64]) -> None:
        stored = self._store(f"{out}.bias", bias.astype(np.float32))
        self._ours(out, width, flat=self._add("Gemm", [rows, weights, stored], f"{out}.rows"))

    def _normed(self, node: onnx.NodeProto, source: str, scale: NDArray[Any], shift: NDArray[Any]) -> None:
        """Norm, ReLU and a 1x1 convolution."""
        if node.op_type != "Conv" or _attribute(node, "kernel_shape") != [1]:
            raise NotCamPlusPlus(
                f"{node.op_type} after a norm is not in CAM++; only its graph, as torch exports it, can be rewritten."
            )
        out, weights = node.output[0], self._value(node.input[1])[:, :, 0].T
        scale, corner = scale.astype(np.float32), (-shift / scale).astype(np.float32)
        up = scale > 0
        rows = self._add(
            "Max", [self._rows(source), self._store(f"{out}.least", np.where(up, corner, -FAR))], f"{out}.above"
        )
        if not up.all():
            rows = self._add("Min", [rows, self._store(f"{out}.most", np.where(up, FAR, corner))], f"{out}.below")
        # The scale stays apart from float16 weights, which it would round once more.
        factors = [self._weights(f"{out}.unscaled", weights), self._store(f"{out}.scale", scale[:, None])]
        bias = self._bias(node) - (corner.astype(np.float64) * scale) @ weights.astype(np.float64)
        self._product(out, rows, self._add("Mul", factors, f"{out}.weight"), weights.shape[1], bias)

    def _taps(self, node: onnx.NodeProto) -> None:
        """A convolution of three taps: all their products at once, then shifted by the dilation and added up."""
        source, out = node.input[0], node.output[0]
        weights, far = self._value(node.input[1]), _attribute(node, "dilations")[0]  # (out, in, taps)
        if weights.shape[2] != 3 or len(node.input) > 2:
            raise NotCamPlusPlus(f"{node.name} is not in CAM++; only its graph, as torch exports it, can be rewritten.")
        width, taps = weights.shape[0], f"{out}.taps"
        flat = self._weights(f"{out}.weight", weights.transpose(1, 2, 0).reshape(weights.shape[1], 3 * width))
        self._ours(taps, 3 * width, flat=self._add("MatMul", [self._rows(source), flat], taps))
        tap = [f"{out}.tap{i}" for i in range(3)]
        self._add("Split", [self._steps(taps)], f"{out}.split", (tap[0], tap[1], tap[2]), axis=2)
        later = self._store(f"later.{far}", np.array([0, far, 0, 0, -far, 0], np.int64))
        sooner = self._store(f"sooner.{far}", np.array([0, -far, 0, 0, far, 0], np.int64))
        shifted = [
            self._add("Pad", [tap[0], later], f"{out}.later"),
            tap[1],
            self._add("Pad", [tap[2], sooner], f"{out}.sooner"),
        ]
        self._ours(out, width, deep=self._add("Sum", shifted, f"{out}.steps"))


def _attribute(node: onnx.NodeProto, name: str) -> Any:
    return next(helper.get_attribute_value(a) for a in node.attribute if a.name == name)
