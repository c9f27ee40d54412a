"""Tiny model packs with random weights, made without torch: the unit tests need no big file.

python tests/tiny_packs.py FOLDER     writes one to look at
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIZE = 8  # length of the embedding
OPSET = 17
# By front end: frequencies, axes to take the mean over, shape of the input.
SHAPES: dict[str, tuple[int, list[int], list[Any]]] = {
    "logmel-64": (64, [2], ["batch", 64, "frames"]),
    "melpower-40": (40, [1], ["batch", "frames", 40]),
    "fbank-80": (80, [1], ["batch", "frames", 80]),
    "stft-257": (257, [1, 3], ["batch", 2, 257, "frames"]),
}


def make_pack(
    folder: Path, features: str = "melpower-40", traits: bool = True, generators: str = "general male female"
) -> Path:
    """Writes a pack whose networks have the shapes of real ones and no meaning."""
    folder.mkdir(parents=True, exist_ok=True)
    models = {"voice.onnx": voice_model(features)}
    if traits:
        models["traits.onnx"] = traits_model()
    for seed, gender in enumerate(generators.split()):
        models[f"generator_{gender}.onnx"] = generator_model(seed)
    files = {}
    for name, model in models.items():
        data = model.SerializeToString()
        (folder / name).write_bytes(data)
        files[name] = entry(model, data)
    manifest = {
        "schema": 1,
        "name": "tiny",
        "version": "1",
        "licence": "public domain",
        "voice": {"file": "voice.onnx", "network": "tiny", "features": features, "embedding_size": SIZE},
        "traits": {"file": "traits.onnx", "unusual": 50.0, "strange": 100.0} if traits else None,
        "generators": {gender: f"generator_{gender}.onnx" for gender in generators.split()},
        "noise": 0.05,
        "files": files,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1))
    return folder


def entry(model: onnx.ModelProto, data: bytes) -> dict[str, Any]:
    """What the manifest says of a file."""
    return {
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "opset": OPSET,
        "inputs": [_tensor(value) for value in model.graph.input],
        "outputs": [_tensor(value) for value in model.graph.output],
    }


def _tensor(value: onnx.ValueInfoProto) -> dict[str, Any]:
    shape = [d.dim_value or None for d in value.type.tensor_type.shape.dim]
    return {"name": value.name, "dtype": "float32", "shape": shape}


def _model(
    nodes: list[onnx.NodeProto], inputs: dict[str, list], outputs: dict[str, list], weights: dict
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def put(manifest: Any, path: tuple[str, ...], value: Any) -> None:
    """Changes what stands at a path inside a manifest."""
    for key in path[:-1]:
        manifest = manifest[key]
    manifest[path[-1]] = value


def voice_model(features: str) -> onnx.ModelProto:
    """Mean square over time, a matrix product, L2 normalisation."""
    bins, axes, shape = SHAPES[features]
    rng = np.random.default_rng(11)
    # melpower is tiny (1e-3 and less): the bias keeps the embedding from depending on rounding alone
    weights = {
        "w": rng.normal(size=(bins, SIZE)).astype(np.float32),
        "b": rng.normal(size=SIZE).astype(np.float32) * 0.01,
    }
    nodes = [
        # squares: normalised log-mel has a mean of zero in every bin
        helper.make_node("Mul", ["features", "features"], ["squares"]),
        helper.make_node("ReduceMean", ["squares"], ["mean"], axes=axes, keepdims=0),
        helper.make_node("MatMul", ["mean", "w"], ["product"]),
        helper.make_node("Add", ["product", "b"], ["sum"]),
        helper.make_node("LpNormalization", ["sum"], ["embedding"], axis=1, p=2),
    ]
    return _model(nodes, {"features": shape}, {"embedding": ["batch", SIZE]}, weights)


def generator_model(seed: int) -> onnx.ModelProto:
    """A matrix product, tanh, and a reshape to a picture."""
    rng = np.random.default_rng(seed)
    weights = {
        "w": rng.normal(size=(SIZE, 3 * 64 * 64)).astype(np.float32),
        "shape": np.array([-1, 3, 64, 64], np.int64),
    }
    nodes = [
        helper.make_node("MatMul", ["embedding", "w"], ["flat"]),
        helper.make_node("Tanh", ["flat"], ["limited"]),
        helper.make_node("Reshape", ["limited", "shape"], ["face"]),
    ]
    return _model(nodes, {"embedding": ["batch", SIZE]}, {"face": ["batch", 3, 64, 64]}, weights)


def traits_model() -> onnx.ModelProto:
    """A sigmoid of the first number of the embedding, and a sum of squares."""
    weights = {
        "steep": np.array([20.0], np.float32),
        "first": np.eye(SIZE, 1, dtype=np.float32),
        "row": np.array([-1], np.int64),
    }
    nodes = [
        helper.make_node("MatMul", ["embedding", "first"], ["one"]),
        helper.make_node("Mul", ["one", "steep"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["probability"]),
        helper.make_node("Reshape", ["probability", "row"], ["male"]),
        helper.make_node("ReduceSumSquare", ["embedding"], ["surprise"], axes=[1], keepdims=0),
    ]
    outputs = {"male": ["batch"], "surprise": ["batch"]}
    return _model(nodes, {"embedding": ["batch", SIZE]}, outputs, weights)


if __name__ == "__main__":
    make_pack(Path(sys.argv[1]))
