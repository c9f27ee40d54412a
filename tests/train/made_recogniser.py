"""The face network from elsewhere with random weights, in files such as npm's package has."""

from __future__ import annotations

import io
import itertools
import json
import tarfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[np.float16]]


def made_arrays() -> Arrays:
    """Weights as TensorFlow names and lays them out: height, width, inputs, outputs."""
    rng = np.random.default_rng(5)
    widths = [32, 64, 128, 128, 256, 256, *6 * [512], 1024, 1024]
    made: dict[str, NDArray[np.float64]] = {}

    def convolution(name: str, kernel: str, shape: tuple[int, ...], gain: float) -> None:
        made[f"{name}/{kernel}"] = rng.normal(0, gain, shape)
        made[f"{name}_bn/batchnorm_1/sub"] = rng.normal(0.5, 0.3, shape[2] if "depthwise" in kernel else shape[3])

    convolution("conv1", "convolution/merged_input", (3, 3, 3, 32), 0.01)
    for i, (narrow, wide) in enumerate(itertools.pairwise(widths), 1):
        convolution(f"conv_dw_{i}", "depthwise_kernel", (3, 3, narrow, 1), 0.4)
        made[f"conv_dw_{i}_bn/batchnorm_1/mul"] = rng.uniform(0.5, 1.5, narrow)
        convolution(f"conv_pw_{i}", "convolution/merged_input", (1, 1, narrow, wide), narrow**-0.5)
    for name, shape in (("feats", (1024, 256)), ("gender_pred", (256, 1)), ("age_pred", (256, 100))):
        made[f"{name}/kernel"] = rng.normal(0, shape[0] ** -0.5, shape)
        made[f"{name}/bias"] = rng.normal(0, 0.1, shape[1])
    made["conv1_relu/Cast"] = np.array(6.0)
    return {name: array.astype(np.float16) for name, array in made.items()}


def written(folder: Path, arrays: Arrays) -> Path:
    """faceres.json and faceres.bin as TensorFlow.js has them."""
    entries = [
        {"name": name, "shape": list(a.shape), "dtype": "float32", "quantization": {"dtype": "float16"}}
        for name, a in arrays.items()
    ]
    folder.mkdir(exist_ok=True)
    (folder / "faceres.json").write_text(json.dumps({"weightsManifest": [{"weights": entries}]}))
    (folder / "faceres.bin").write_bytes(b"".join(a.tobytes() for a in arrays.values()))
    return folder / "faceres.json"


def packed(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as package:
        for name, data in files.items():
            member = tarfile.TarInfo(f"package/models/{name}")
            member.size = len(data)
            package.addfile(member, io.BytesIO(data))
    return path


def made_package(folder: Path) -> Path:
    """The whole: human-models-3.0.4.tgz in a folder."""
    loose = written(folder / "faceres", made_arrays()).parent
    return packed(folder / "human-models-3.0.4.tgz", {file.name: file.read_bytes() for file in loose.iterdir()})
