"""Writing ONNX graphs as one writes numpy: values with operators, loops, branches, and whole networks put in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET, IR = 17, 8  # onnxruntime 1.13 and later, for phones and browsers too

Shape = Sequence[int | str]


class Value:
    """A tensor of a graph that is being written."""

    __array_ufunc__ = None  # so that numpy leaves `array - value` to this class

    def __init__(self, graph: Graph, name: str) -> None:
        self.graph, self.name = graph, name

    def _with(self, kind: str, other: Any, swapped: bool = False) -> Value:
        other = self.graph.value(other)
        return self.graph.op(kind, *((other, self) if swapped else (self, other)))

    def __add__(self, other: Any) -> Value:
        return self._with("Add", other)

    def __sub__(self, other: Any) -> Value:
        return self._with("Sub", other)

    def __rsub__(self, other: Any) -> Value:
        return self._with("Sub", other, swapped=True)

    def __mul__(self, other: Any) -> Value:
        return self._with("Mul", other)

    def __truediv__(self, other: Any) -> Value:
        """Whole numbers are divided as C does it."""
        return self._with("Div", other)

    def __mod__(self, other: Any) -> Value:
        return self._with("Mod", other)

    def __rmod__(self, other: Any) -> Value:
        return self._with("Mod", other, swapped=True)

    def __matmul__(self, other: Any) -> Value:
        return self._with("MatMul", other)

    def apply(self, kind: str, *others: Any, **attributes: Any) -> Value:
        """An operator by its name in ONNX, with this value as its first input."""
        return self.graph.op(kind, self, *map(self.graph.value, others), **attributes)

    def reduced(self, kind: str, *axes: int, keep: bool = False) -> Value:
        """Mean, Max and the like over axes (none: all of them)."""
        given: dict[str, Any] = {"axes": list(axes)} if axes else {}
        return self.graph.op(f"Reduce{kind}", self, keepdims=int(keep), **given)

    def mean(self, *axes: int, keep: bool = False) -> Value:
        return self.reduced("Mean", *axes, keep=keep)

    def sum(self, *axes: int, keep: bool = False) -> Value:
        """Its axes are an input, other than those of its siblings."""
        given = [self.graph.value(np.array(axes, np.int64))] if axes else []
        return self.graph.op("ReduceSum", self, *given, keepdims=int(keep))

    def cut(self, axis: int, start: Any, stop: Any, step: int = 1) -> Value:
        """A slice along one axis; start and stop may be values of shape (1,)."""
        ends = [v if isinstance(v, Value) else np.array([v], np.int64) for v in (start, stop)]
        return self.apply("Slice", *ends, np.array([axis], np.int64), np.array([step], np.int64))

    def shaped(self, *shape: int) -> Value:
        return self.apply("Reshape", np.array(shape, np.int64))

    def cast(self, kind: int) -> Value:
        return self.graph.op("Cast", self, to=kind)


class Graph:
    """A graph that is being written; inside `scan` and `either`, operators go into the branch that is open."""

    def __init__(self) -> None:
        self._outermost: list[onnx.NodeProto] = []
        self._nodes = self._outermost
        self._weights: dict[str, onnx.TensorProto] = {}
        self._small: dict[tuple[str, bytes, tuple[int, ...]], Value] = {}
        self._count = 0

    def _fresh(self, hint: str) -> str:
        self._count += 1
        return f"{hint}_{self._count}"

    def value(self, given: Any) -> Value:
        """A value as it is; a number or an array as a constant (numbers as float32)."""
        if isinstance(given, Value):
            return given
        array = np.asarray(given, np.float32 if isinstance(given, int | float) else None)
        array = array.astype(np.float32) if array.dtype == np.float64 else array
        key = (array.dtype.str, array.tobytes(), array.shape)
        if key not in self._small:
            name = self._fresh("constant")
            self._weights[name] = numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)
            self._small[key] = Value(self, name)
        return self._small[key]

    def whole(self, *numbers: int) -> Value:
        """int64, (n,)."""
        return self.value(np.array(numbers, np.int64))

    def op(self, kind: str, *inputs: Value, **attributes: Any) -> Value:
        return self.ops(kind, 1, *inputs, **attributes)[0]

    def ops(self, kind: str, outputs: int, *inputs: Value, **attributes: Any) -> list[Value]:
        """Adds an operator with several outputs."""
        names = [self._fresh(kind.lower()) for _ in range(outputs)]
        self._nodes.append(helper.make_node(kind, [value.name for value in inputs], names, **attributes))
        return [Value(self, name) for name in names]

    def joined(self, *parts: Any, axis: int = 0) -> Value:
        return self.op("Concat", *map(self.value, parts), axis=axis)

    def length(self, value: Value) -> Value:
        """Length of the first axis: int64, (1,)."""
        return value.apply("Shape", start=0, end=1)

    def range(self, count: Value) -> Value:
        """0 .. count-1 for a count of shape (1,): int64, (count,)."""
        limit = count.apply("Reshape", np.zeros(0, np.int64))
        return self.op("Range", self.value(np.int64(0)), limit, self.value(np.int64(1)))

    def scan(
        self,
        body: Callable[..., tuple[Value, ...]],
        sequences: Sequence[tuple[Value, int, Shape]],
        states: Sequence[tuple[Value, Shape]] = (),
        outputs: Sequence[Shape] = ((),),
    ) -> list[Value]:
        """Runs a body for each element of sequences along their first axis.

        Args:
            body: states and elements in; new states (of float32) and elements of the outputs back.
            sequences: each with the type and shape of its elements.
            states: at the start, with shapes.
            outputs: shapes of the elements, of float32.

        Returns:
            Final states, then the outputs' elements put together along a new first axis.
        """
        outside, self._nodes = self._nodes, []
        kinds = [(TensorProto.FLOAT, shape) for _, shape in states] + [(kind, shape) for _, kind, shape in sequences]
        inputs = [(self._fresh("element"), kind, shape) for kind, shape in kinds]
        made = body(*(Value(self, name) for name, _, _ in inputs))
        # Each output of a body is a name of its own, even if the body hands something through.
        made = tuple(self.op("Identity", value) for value in made)
        shapes = [*(shape for _, shape in states), *outputs]
        infos = [helper.make_tensor_value_info(v.name, TensorProto.FLOAT, s) for v, s in zip(made, shapes, strict=True)]
        graph = helper.make_graph(
            self._nodes, self._fresh("body"), [helper.make_tensor_value_info(*each) for each in inputs], infos
        )
        self._nodes = outside
        given = [value for value, _ in states] + [value for value, _, _ in sequences]
        return self.ops("Scan", len(infos), *given, body=graph, num_scan_inputs=len(sequences))

    def either(
        self,
        condition: Value,
        first: Callable[[], Value],
        second: Callable[[], Value],
        shape: Shape,
        kind: int = TensorProto.FLOAT,
    ) -> Value:
        """What one of two branches gives, of that shape; the other does not run."""
        branches = []
        for branch in (first, second):
            outside, self._nodes = self._nodes, []
            made = self.op("Identity", branch())
            info = helper.make_tensor_value_info(made.name, kind, shape)
            branches.append(helper.make_graph(self._nodes, self._fresh("branch"), [], [info]))
            self._nodes = outside
        return self.op("If", condition, then_branch=branches[0], else_branch=branches[1])

    def network(self, model: onnx.ModelProto, **inputs: Value) -> dict[str, Value]:
        """Puts a whole model in and gives its outputs.

        Its weights, and what is computed of weights alone, go outside of all branches, so that
        a runtime prepares them once.
        """
        prefix = self._fresh("net")
        renamed = {name: value.name for name, value in inputs.items()} | {"": ""}
        still: set[str] = set()
        for tensor in model.graph.initializer:
            renamed[tensor.name] = f"{prefix}.{tensor.name}"
            kept = TensorProto()
            kept.CopyFrom(tensor)
            kept.name = renamed[tensor.name]
            self._weights[kept.name] = kept
            still.add(tensor.name)
        for node in model.graph.node:
            ours = onnx.NodeProto()
            ours.CopyFrom(node)
            ours.name = f"{prefix}.{node.name}" if node.name else ""
            ours.input[:] = [renamed[name] for name in node.input]
            for name in node.output:
                renamed[name] = f"{prefix}.{name}" if name else ""
            ours.output[:] = [renamed[name] for name in node.output]
            if all(name in still for name in node.input):
                still.update(node.output)
                self._outermost.append(ours)
            else:
                self._nodes.append(ours)
        return {output.name: Value(self, renamed[output.name]) for output in model.graph.output}

    def model(
        self,
        inputs: Sequence[tuple[str, int, Shape]],
        outputs: Sequence[tuple[Value, str, int, Shape]],
        facts: dict[str, str],
    ) -> onnx.ModelProto:
        """The finished model, checked.

        Args:
            inputs: name, type and shape.
            outputs: value, name, type and shape.
            facts: metadata properties.
        """
        nodes = [*self._outermost]
        nodes += [helper.make_node("Identity", [value.name], [name]) for value, name, _, _ in outputs]
        graph = helper.make_graph(
            nodes,
            "s2f",
            [helper.make_tensor_value_info(*each) for each in inputs],
            [helper.make_tensor_value_info(name, kind, shape) for _, name, kind, shape in outputs],
            list(self._weights.values()),
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="s2f")
        model.ir_version = IR
        helper.set_model_props(model, facts)
        onnx.checker.check_model(model)
        return model


def matrix(array: NDArray[Any]) -> NDArray[np.float32]:
    """A matrix as it is stored in a graph."""
    return np.ascontiguousarray(array, np.float32)
