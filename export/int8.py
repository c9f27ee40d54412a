"""The voice network CAM++ with 8-bit products: where most of the work is, and where it does no harm.

The 2-D network at the beginning and most products that follow a norm compute with 8-bit numbers; the rest, a sixth of
the work, stays in float32: what weighs channels, what has several taps over time, and what ends each block of layers.
All is written as QuantizeLinear and DequantizeLinear, which onnxruntime then fuses into one node each, as it would at
every load, for as long as all else takes there. Other runtimes do not know its FusedConv.

Four things keep it accurate:

- A norm before a product is a layer of its own again. Inside the weights (`export.blocked`), it leaves channels of
  very different ranges, which no common scale fits.
- Channels are brought to like ranges: what is divided in one layer is multiplied in the next, which is the same
  function. How far is weighed, for each layer, against the weights, which it makes less alike.
- Ranges are the widest that real speech has.
- What rounding moves on average is taken back by the biases, layer by layer, from the front. The embedding is a mean
  over time, in which other errors cancel out.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from export.blocked import NotCamPlusPlus
from export.float16 import weights_as_float16
from export.int8_rounding import STEPS, expected_error, steps_of
from export.verify import open_session
from s2f_edge.hearing.features import Float32s
from s2f_edge.pack.network import onnxruntime

CALLED_WITH = 8  # windows
MOVED_BY = 64  # windows that biases are corrected on
SILENT = 0.03  # of the largest range: channels that few voices use are made for that much
SHARES = np.linspace(0.0, 1.0, 21)
SAME_SCALE = ("Relu", "Add", "MatMul")  # what a factor of a channel passes through


def quantised(data: bytes, windows: Float32s) -> bytes:
    """The int8 form of an exported CAM++.

    Args:
        data: as `export.to_onnx` writes it.
        windows: float32 (n, frames, 80) of speech, whose ranges the network is made for.

    Raises:
        NotCamPlusPlus: the graph is another network's, or is not rewritten (`export.blocked`).
    """
    network = _Network(data)
    network.take_norms_out()
    network.choose()
    network.equalise(windows)
    # Spread over all, so that all speakers are heard.
    network.correct(windows[np.linspace(0, len(windows) - 1, min(MOVED_BY, len(windows))).astype(int)])
    model = network.model(rounded=True)
    onnx.checker.check_model(model)
    return weights_as_float16(_fused(model.SerializeToString()))


def _fused(data: bytes) -> bytes:
    """The graph after those of onnxruntime's rewritings that are the same for all processors."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "made.onnx"
        options = onnxruntime().SessionOptions()
        options.log_severity_level = 3
        options.graph_optimization_level = onnxruntime().GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = str(made)
        onnxruntime().InferenceSession(data, options, providers=["CPUExecutionProvider"])
        model = onnx.load(made)
    kept = [each for each in model.opset_import if each.domain in {node.domain for node in model.graph.node}]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    fused: bytes = model.SerializeToString()
    return fused


class _Network:
    """The graph, its weights as float32, which convolutions are quantised, and the scale of what is between them."""

    def __init__(self, data: bytes) -> None:
        self.source = onnx.load_from_string(data)
        self.values = {tensor.name: numpy_helper.to_array(tensor) for tensor in self.source.graph.initializer}
        self.nodes: list[onnx.NodeProto] = []
        for node in self.source.graph.node:
            if node.op_type == "Cast" and node.input[0] in self.values:
                self.values[node.output[0]] = self.values[node.input[0]].astype(np.float32)
            elif node.op_type == "Mul" and all(name in self.values for name in node.input):
                self.values[node.output[0]] = self.values[node.input[0]] * self.values[node.input[1]]
            else:
                self.nodes.append(node)
        self.chosen: dict[str, onnx.NodeProto] = {}  # by the name of the result
        self.scales: dict[str, tuple[np.float32, int]] = {}  # step and zero point of tensors that are quantised
        self._index()

    def _index(self) -> None:
        self.maker = {name: node for node in self.nodes for name in node.output}
        self.takers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in self.nodes:
            for name in node.input:
                self.takers[name].append(node)

    # --------------------------------------------------------------------------------- form

    def take_norms_out(self) -> None:
        """Undoes what `export.blocked` does with a norm and a ReLU before a product: their scale is free again."""
        normed = [n for n in self.nodes if n.op_type == "Conv" and self._made_by(n.input[0]) in ("Max", "Min")]
        if not normed:
            raise NotCamPlusPlus(
                "The voice network is not CAM++ as `python -m export.to_onnx` writes it; there is no int8 of others."
            )
        for node in normed:
            limits: dict[str, NDArray[Any]] = {}
            source = node.input[0]
            while self._made_by(source) in ("Max", "Min"):
                limit = self.maker[source]
                limits[limit.op_type] = self.values[limit.input[1]].ravel()
                self.nodes.remove(limit)
                source = limit.input[0]
            least = limits["Max"]
            up = least > -1e38  # export.blocked.FAR
            corner = np.where(up, least, limits.get("Min", least)).astype(np.float64)
            sign = np.where(up, 1.0, -1.0)
            weights = self.values[node.input[1]]
            out, bias = node.output[0], self.values[node.input[2]] + weights[:, :, 0, 0].astype(np.float64) @ corner
            self._set(node.input[1], weights * sign[None, :, None, None])
            self._set(node.input[2], bias)
            parts = {
                "scale": sign,
                "shift": -corner * sign,
                "mean": np.zeros(len(sign)),
                "variance": np.ones(len(sign)),
            }
            for part, numbers in parts.items():
                self._set(f"{out}.{part}", numbers)
            norm = helper.make_node(
                "BatchNormalization", [source, *(f"{out}.{part}" for part in parts)], [f"{out}.norm"], epsilon=0.0
            )
            at = self.nodes.index(node)
            self.nodes[at:at] = [norm, helper.make_node("Relu", [f"{out}.norm"], [f"{out}.above"])]
            node.input[0] = f"{out}.above"
        self._index()

    def choose(self) -> None:
        """Convolutions over frequency but the first, of one channel, and the products that widen each layer.

        Not those that end a block: what they give is added to by all later layers, or is the embedding.
        """
        for node in self.nodes:
            if node.op_type != "Conv" or node.input[1] not in self.values:
                continue
            over_bins = _attribute(node, "kernel_shape")[0] > 1 or _attribute(node, "strides")[0] > 1
            norm = self.maker.get(self.maker[node.input[0]].input[0]) if node.input[0] in self.maker else None
            normed = norm is not None and norm.op_type == "BatchNormalization"
            taken = [taker.op_type for taker in self.takers[self._relu_of(node)]]
            if (over_bins and self.values[node.input[1]].shape[1] > 1) or (normed and "Conv" in taken):
                self.chosen[node.output[0]] = node
                if len(node.input) < 3:
                    node.input.append(f"{node.output[0]}.bias")
                    self._set(node.input[2], np.zeros(len(self.values[node.input[1]])))
        for node in self.chosen.values():
            for name in (node.input[0], self._relu_of(node) or node.output[0]):
                self.scales[name] = (np.float32(1), 0)

    def _made_by(self, name: str) -> str:
        return self.maker[name].op_type if name in self.maker else ""

    def _relu_of(self, node: onnx.NodeProto) -> str:
        takers = self.takers[node.output[0]]
        return takers[0].output[0] if len(takers) == 1 and takers[0].op_type == "Relu" else ""

    def _set(self, name: str, numbers: NDArray[Any]) -> None:
        self.values[name] = np.asarray(numbers, np.float32)

    # ------------------------------------------------------------------------------- ranges

    def equalise(self, windows: Float32s) -> None:
        """Brings channels to like ranges, then sets the scale of every tensor that is quantised."""
        heard = self._ranges(windows)
        for tensors in self._groups():
            factor = self._factor(tensors, heard)
            self._scale_channels(tensors, factor)
            for name in tensors & self.scales.keys():
                heard[name] = heard[name] / factor
        for name in self.scales:
            low, high = min(0.0, float(heard[name][0].min())), float(heard[name][1].max())
            step = max(high - low, 1e-12) / STEPS
            self.scales[name] = (np.float32(step), round(-low / step))

    def _ranges(self, windows: Float32s) -> dict[str, NDArray[np.float64]]:
        """Of each quantised tensor and channel: least, largest, and root of the mean square; float64 (3, channels)."""
        found: dict[str, list[NDArray[np.float64]]] = defaultdict(list)
        for name, part in self._run(self.model(rounded=False), list(self.scales), windows):
            axes = (0, *range(2, part.ndim))
            square = np.square(part, dtype=np.float64).mean(axes)
            found[name].append(np.stack([part.min(axes), part.max(axes), square]))
        ranges = {}
        for name, parts in found.items():
            low, high, square = np.stack(parts).transpose(1, 0, 2)
            ranges[name] = np.stack([low.min(0), high.max(0), np.sqrt(square.mean(0))])
        return ranges

    def _groups(self) -> list[set[str]]:
        """Tensors with quantised ones among them whose channels may be scaled alike, without another function."""
        group: dict[str, set[str]] = {}
        for node in self.nodes:
            if node.op_type in SAME_SCALE:
                joined = [*node.output, *(node.input[:1] if node.op_type == "MatMul" else node.input)]
                one = set().union(*(group.get(name, {name}) for name in joined))
                group.update(dict.fromkeys(one, one))
        groups = {id(one): one for one in group.values()}.values()
        return [one for one in groups if one & self.scales.keys() and all(map(self._may_be_scaled, one))]

    def _may_be_scaled(self, name: str) -> bool:
        makers, inside = ("Conv", "BatchNormalization", *SAME_SCALE), ("Conv", *SAME_SCALE)
        takers = self.takers[name]
        return self._made_by(name) in makers and all(
            n.op_type == "Add" or (n.op_type in inside and n.input[0] == name) for n in takers
        )

    def _scale_channels(self, tensors: set[str], factor: NDArray[np.float64]) -> None:
        """Divides the channels of a group, and multiplies them where it ends: the same function."""
        for name in tensors:
            maker = self.maker[name]
            if maker.op_type == "Conv":
                self._set(maker.input[1], self.values[maker.input[1]] / factor[:, None, None, None])
            if maker.op_type in ("Conv", "BatchNormalization"):
                for part in maker.input[2:3] if maker.op_type == "Conv" else maker.input[1:3]:
                    self._set(part, self.values[part] / factor)
            for taker in self.takers[name]:
                if taker.op_type == "Conv":
                    self._set(taker.input[1], self.values[taker.input[1]] * factor[None, :, None, None])

    def _factor(self, tensors: set[str], heard: dict[str, NDArray[np.float64]]) -> NDArray[np.float64]:
        """What to divide the channels of a group by: range^a / weight^(1-a), with the a of the least error."""
        positive = [name for name in tensors if name in self.scales and heard[name][0].min() >= 0.0]
        largest: NDArray[np.float64] = np.max([heard[name][1] for name in positive], axis=0)
        largest = np.maximum(largest, SILENT * largest.max())
        takers = [(name, node) for name in positive for node in self.takers[name] if node.output[0] in self.chosen]
        if not takers:
            return largest  # weights in float32 take any range
        weights = [self.values[node.input[1]].astype(np.float64) for _, node in takers]
        peak: NDArray[np.float64] = np.max([np.abs(each).max((0, 2, 3)) for each in weights], axis=0)
        peak = np.maximum(peak, 1e-3 * peak.max())
        factors: list[NDArray[np.float64]] = [largest**share / peak ** (1.0 - share) for share in SHARES]
        errors = [
            sum(
                expected_error(each, factor, largest, heard[name][2])
                for (name, _), each in zip(takers, weights, strict=True)
            )
            for factor in factors
        ]
        return factors[int(np.argmin(errors))]

    # ------------------------------------------------------------------------------- biases

    def correct(self, windows: Float32s) -> None:
        """Makes the mean of every channel after a quantised convolution what it is in float32, from the front."""
        wanted = self._means(self.model(rounded=False), list(self.chosen), windows)
        for name, node in self.chosen.items():
            found = self._means(self.model(rounded=True), [name], windows)
            self._set(node.input[2], self.values[node.input[2]] + wanted[name] - found[name])

    def _means(self, model: onnx.ModelProto, names: list[str], windows: Float32s) -> dict[str, NDArray[np.float64]]:
        """Of each channel, over all windows."""
        sums: dict[str, Any] = defaultdict(float)
        for name, part in self._run(model, names, windows):
            sums[name] += part.mean((2, 3), dtype=np.float64).sum(0)
        return {name: total / len(windows) for name, total in sums.items()}

    def _run(self, model: onnx.ModelProto, names: list[str], windows: Float32s) -> Iterator[tuple[str, Float32s]]:
        """What stands in some tensors, for some windows at a time."""
        del model.graph.output[:]
        model.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
        session = open_session(model.SerializeToString())
        for i in range(0, len(windows), CALLED_WITH):
            yield from zip(names, session.run(names, {"features": windows[i : i + CALLED_WITH]}), strict=True)

    # --------------------------------------------------------------------------------- file

    def model(self, rounded: bool) -> onnx.ModelProto:
        """The graph as it is now; `rounded` quantises what was chosen."""
        values, nodes = dict(self.values), list[onnx.NodeProto]()
        renamed: dict[str, str] = {}

        def add(op: str, inputs: list[str], output: str, **attributes: Any) -> None:
            nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))

        for node in self.nodes:
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            copy.input[:] = [renamed.get(name, name) for name in node.input]
            if rounded and node.output[0] in self.chosen:
                out, weights = node.output[0], values[node.input[1]]
                steps = steps_of(weights).astype(np.float32)
                both = steps * self.scales[node.input[0]][0]
                values[f"{out}.weight8"] = np.rint(weights / steps[:, None, None, None]).astype(np.int8)
                values[f"{out}.bias32"] = np.rint(values[node.input[2]] / both.astype(np.float64)).astype(np.int32)
                for i, (stored, by) in enumerate((("weight8", steps), ("bias32", both)), 1):
                    kept = f"{out}.{stored}"
                    values[f"{kept}.step"], values[f"{kept}.zero"] = by, np.zeros(len(by), values[kept].dtype)
                    add("DequantizeLinear", [kept, f"{kept}.step", f"{kept}.zero"], f"{kept}.float", axis=0)
                    copy.input[i] = f"{kept}.float"
            nodes.append(copy)
            for name in (name for name in node.output if rounded and name in self.scales):
                step, zero = self.scales[name]
                scale = [f"{name}.step", f"{name}.zero"]
                values[scale[0]], values[scale[1]] = np.array(step, np.float32), np.array(zero, np.uint8)
                add("QuantizeLinear", [name, *scale], f"{name}.8")
                add("DequantizeLinear", [f"{name}.8", *scale], f"{name}.float")
                renamed[name] = f"{name}.float"
        model = onnx.ModelProto()
        model.CopyFrom(self.source)
        used = {name for node in nodes for name in node.input}
        del model.graph.node[:], model.graph.initializer[:]
        model.graph.node.extend(nodes)
        model.graph.initializer.extend(
            numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in values.items() if name in used
        )
        return model


def _attribute(node: onnx.NodeProto, name: str) -> Any:
    return next(helper.get_attribute_value(a) for a in node.attribute if a.name == name)
