"""Tiny model packs with random weights, made without torch: the unit tests need no big file.

python tests/tiny_packs.py FOLDER [renderer]     writes one to look at
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
LATENT = 5  # numbers that the voice does not say
APPEARANCE = {"inner": [3, 64, 64], "outer": [3, 16, 16], "shape": [68, 2]}
BEFORE, AFTER = 11, 6  # feature frames around a frame of the motion
SIDE = 256  # of a face that a renderer draws
OPSET = 17
# By front end: frequencies, axes to take the mean over, shape of the input.
SHAPES: dict[str, tuple[int, list[int], list[Any]]] = {
    "logmel-64": (64, [2], ["batch", 64, "frames"]),
    "melpower-40": (40, [1], ["batch", "frames", 40]),
    "fbank-80": (80, [1], ["batch", "frames", 80]),
    "stft-257": (257, [1, 3], ["batch", 2, 257, "frames"]),
}


def make_pack(
    folder: Path,
    features: str = "melpower-40",
    traits: bool = True,
    generators: str = "general male female",
    renderer: bool = False,
    motion: bool = False,
    windows: int | None = None,
) -> Path:
    """Writes a pack whose networks have the shapes of real ones and no meaning.

    Args:
        renderer: generators make appearances, and a renderer draws them; else they make pictures.
        motion: there is a motion network, see `motion_model`.
        windows: the most that the voice network hears; None says nothing of it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    models = {"voice.onnx": voice_model(features)}
    if traits:
        models["traits.onnx"] = traits_model()
    for seed, gender in enumerate(generators.split()):
        models[f"generator_{gender}.onnx"] = appearance_model(seed) if renderer else generator_model(seed)
    if renderer:
        models["renderer.onnx"] = renderer_model()
    if motion:
        models["motion.onnx"] = motion_model()
    files = {}
    for name, model in models.items():
        data = model.SerializeToString()
        (folder / name).write_bytes(data)
        files[name] = entry(model, data)
    manifest = {
        "schema": 2 if renderer else 1,
        "name": "tiny",
        "version": "1",
        "licence": "public domain",
        "voice": {"file": "voice.onnx", "network": "tiny", "features": features, "embedding_size": SIZE},
        "traits": {"file": "traits.onnx", "unusual": 50.0, "strange": 100.0} if traits else None,
        "generators": {gender: f"generator_{gender}.onnx" for gender in generators.split()},
        "noise": 0.0 if renderer else 0.05,
        "files": files,
    }
    if renderer:
        manifest["renderer"] = {"file": "renderer.onnx"}
    if motion:
        manifest["motion"] = {"file": "motion.onnx", "before": BEFORE, "after": AFTER}
    if windows:
        manifest["voice"]["windows"] = windows
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


def appearance_model(seed: int) -> onnx.ModelProto:
    """Matrix products of embedding and latent, tanh, and the shapes of an appearance. Sketches are of 4 x 4 patches:
    nobody would find a watermark in noise."""
    rng = np.random.default_rng(seed)
    lengths = [int(np.prod(shape)) for shape in APPEARANCE.values()]

    def rows(count: int) -> np.ndarray:
        patches = [np.kron(rng.normal(size=(count, 3, 4, 4)), np.ones((n, n))).reshape(count, -1) for n in (16, 4)]
        return np.concatenate([*patches, rng.normal(size=(count, lengths[-1]))], axis=1).astype(np.float32)

    weights = {
        "told": rows(SIZE),
        "moved": np.float32(0.3) * rows(LATENT),
        "lengths": np.array(lengths, np.int64),
        **{f"{name}.shape": np.array([-1, *shape], np.int64) for name, shape in APPEARANCE.items()},
    }
    nodes = [
        helper.make_node("MatMul", ["embedding", "told"], ["of_voice"]),
        helper.make_node("MatMul", ["latent", "moved"], ["of_chance"]),
        helper.make_node("Add", ["of_voice", "of_chance"], ["sum"]),
        helper.make_node("Tanh", ["sum"], ["limited"]),
        helper.make_node("Split", ["limited", "lengths"], [f"{name}.flat" for name in APPEARANCE], axis=1),
        *(helper.make_node("Reshape", [f"{name}.flat", f"{name}.shape"], [name]) for name in APPEARANCE),
    ]
    inputs = {"embedding": ["batch", SIZE], "latent": ["batch", LATENT]}
    return _model(nodes, inputs, {name: ["batch", *shape] for name, shape in APPEARANCE.items()}, weights)


def renderer_model() -> onnx.ModelProto:
    """The inner sketch over the outer one, enlarged, as bright as the first point lies to the right, and moved a little
    with GridSample, as real ones move it."""
    ends = np.linspace(-0.95, 0.95, SIDE, dtype=np.float32)
    weights = {
        "large": np.array([1, 1, 4, 4], np.float32),
        "larger": np.array([1, 1, 16, 16], np.float32),
        "none": np.zeros(0, np.float32),
        "half": np.array(0.4, np.float32),
        "first": np.array([1], np.int64),
        "zero": np.array([0], np.int64),
        "column": np.array([-1, 1, 1, 1], np.int64),
        "places": np.stack(np.meshgrid(ends, ends), axis=-1)[None],
    }
    nodes = [
        helper.make_node("Resize", ["inner", "none", "large"], ["inside"], mode="linear"),
        helper.make_node("Resize", ["outer", "none", "larger"], ["outside"], mode="linear"),
        helper.make_node("Add", ["inside", "outside"], ["both"]),
        helper.make_node("Slice", ["shape", "zero", "first", "first"], ["point"]),
        helper.make_node("Slice", ["point", "zero", "first", "two"], ["across"]),
        helper.make_node("Reshape", ["across", "column"], ["level"]),
        helper.make_node("Add", ["both", "level"], ["lit"]),
        helper.make_node("Mul", ["lit", "half"], ["dim"]),
        helper.make_node("Shape", ["shape"], ["count"], start=0, end=1),
        helper.make_node("Concat", ["count", "ones"], ["times"], axis=0),
        helper.make_node("Tile", ["places", "times"], ["grid"]),
        helper.make_node("GridSample", ["dim", "grid"], ["moved"], mode="bilinear", padding_mode="border"),
        helper.make_node("Clip", ["moved", "least", "most"], ["face"]),
    ]
    weights |= {
        "two": np.array([2], np.int64),
        "ones": np.array([1, 1, 1], np.int64),
        "least": np.array(-1, np.float32),
        "most": np.array(1, np.float32),
    }
    inputs = {name: ["batch", *shape] for name, shape in APPEARANCE.items()}
    return _model(nodes, inputs, {"face": ["batch", 3, SIDE, SIDE]}, weights)


def motion_model() -> onnx.ModelProto:
    """Points move with the mean level of the features around a frame, `BEFORE` and `AFTER` it: each one as it will."""
    rng = np.random.default_rng(5)
    ways = rng.normal(0, 1e-3, (136, 1, 1)) * rng.uniform(0.5, 1.5, (1, 80, BEFORE + 4 + AFTER))
    weights = {
        "ways": ways.astype(np.float32) / np.float32(80),
        "points": np.array([0, -1, 68, 2], np.int64),
    }
    nodes = [
        helper.make_node("Transpose", ["features"], ["bins"], perm=[0, 2, 1]),
        helper.make_node("Conv", ["bins", "ways"], ["moved"], strides=[4]),
        helper.make_node("Transpose", ["moved"], ["frames"], perm=[0, 2, 1]),
        helper.make_node("Reshape", ["frames", "points"], ["offsets"]),
    ]
    inputs = {"features": ["batch", "frames", 80]}
    return _model(nodes, inputs, {"offsets": ["batch", "frames_of_video", 68, 2]}, weights)


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
    make_pack(Path(sys.argv[1]), renderer="renderer" in sys.argv[2:])
