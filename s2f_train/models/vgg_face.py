"""VGG-Face (Parkhi et al. 2015), VGG-16: a face to the 4096 numbers of its layer fc7.

The weights are the user's to bring, for their terms: torch7's VGG_FACE.t7, or safetensors with this module's names.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from s2f_train.models.torch7 import Torch7Error, Torch7Object, read_t7

WIDTHS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
SIDE = 224
FEATURE = 4096
PEOPLE = 2622


class VggFace(nn.Module):
    """VGG-16. 145,002,878 parameters with the last layer of 2,622 people.

    Args:
        widths: of the convolutions, block by block.
        hidden: of fc6 and fc7, the length of the face feature.
        people: outputs of fc8.
        side: of the input.
    """

    def __init__(
        self,
        widths: tuple[tuple[int, ...], ...] = WIDTHS,
        hidden: int = FEATURE,
        people: int = PEOPLE,
        side: int = SIDE,
    ):
        super().__init__()
        self.settings: dict[str, Any] = {
            "widths": [list(block) for block in widths], "hidden": hidden, "people": people, "side": side,
        }  # fmt: skip
        layers: list[nn.Module] = []
        narrow = 3
        for block in widths:
            for wide in block:
                layers += [nn.Conv2d(narrow, wide, 3, padding=1), nn.ReLU(inplace=True)]
                narrow = wide
            layers.append(nn.MaxPool2d(2))
            side //= 2
        self.convolutions = nn.Sequential(*layers)
        self.fc6 = nn.Linear(narrow * side * side, hidden)
        self.fc7 = nn.Linear(hidden, hidden)
        self.fc8 = nn.Linear(hidden, people)

    def forward(self, pictures: Tensor) -> Tensor:
        """RGB (batch, 3, side, side) in [-1, 1], (x - 127.5) / 127.5 -> fc7, (batch, hidden), after its ReLU."""
        maps = self.convolutions(pictures).flatten(1)
        return torch.relu(self.fc7(torch.relu(self.fc6(maps))))

    def people(self, feature: Tensor) -> Tensor:
        """fc8 of a face feature: (batch, people), which the distillation compares."""
        told: Tensor = self.fc8(feature)
        return told


def load_vgg_face(path: str | Path, network: VggFace | None = None) -> VggFace:
    """The network with the weights of a file.

    Args:
        path: `.t7`, with the layers in the order of the network, or `.safetensors` with this module's names.
        network: to load into; the published sizes by default.

    Raises:
        ValueError: the file cannot be read, or its weights are of other shapes.
    """
    network = network or VggFace()
    path = Path(path)
    if path.suffix == ".safetensors":
        try:
            network.load_state_dict(load_file(path))
        except (SafetensorError, RuntimeError, OSError) as error:
            raise ValueError(f"{path} has no weights of VGG-Face with these sizes: {error}") from None
        return network.eval().requires_grad_(False)
    try:
        layers = _layers(read_t7(path))
    except (Torch7Error, OSError) as error:
        raise ValueError(str(error)) from None
    ours = [module for module in network.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
    if len(layers) != len(ours):
        raise ValueError(f"{path} has {len(layers)} layers with weights; VGG-16 has {len(ours)}.")
    with torch.no_grad():
        for number, (module, (weight, bias)) in enumerate(zip(ours, layers, strict=True), 1):
            # torch7 keeps some kernels flat.
            if weight.size != module.weight.numel() or bias.size != module.bias.numel():  # type: ignore[union-attr]
                raise ValueError(
                    f"{path}: layer {number} has weights {weight.shape}; needed are {tuple(module.weight.shape)}."
                )
            module.weight.copy_(torch.from_numpy(weight.astype(np.float32)).reshape(module.weight.shape))
            module.bias.copy_(torch.from_numpy(bias.astype(np.float32)).reshape(-1))  # type: ignore[union-attr]
    return network.eval().requires_grad_(False)


def _layers(thing: Any) -> list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
    """Weight and bias of every module that has both, in the order in which they run."""
    if isinstance(thing, Torch7Object):
        thing = thing.content
    if not isinstance(thing, dict):
        return []
    weight, bias = thing.get("weight"), thing.get("bias")
    if isinstance(weight, np.ndarray) and isinstance(bias, np.ndarray) and weight.size:
        return [(weight, bias)]
    inside = thing.get("modules", thing)
    inside = inside.content if isinstance(inside, Torch7Object) else inside
    if not isinstance(inside, dict):
        return []
    numbered = sorted((key, value) for key, value in inside.items() if isinstance(key, int))
    return [layer for _, module in numbered for layer in _layers(module)]
