"""The discriminator of `fit mouth`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

STRIDES = (1, 2, 1, 2, 1)
SHRINKS = 4  # a side of the map of judgements goes so often into that of the picture


class MouthCritic(nn.Module):
    """Judges each place of a picture of a mouth, with spectral norm (Miyato et al. 2018).

    Args:
        width: of the first maps; later ones are up to four times as wide.
    """

    def __init__(self, width: int = 32):
        super().__init__()
        self.settings: dict[str, Any] = {"width": width}
        layers: list[nn.Module] = []
        narrow = 4
        for wide, stride in zip((width, 2 * width, 3 * width, 4 * width, 4 * width), STRIDES, strict=True):
            layers += [spectral_norm(nn.Conv2d(narrow, wide, 3, stride, 1)), nn.LeakyReLU(0.2)]
            narrow = wide
        self.layers = nn.Sequential(*layers, spectral_norm(nn.Conv2d(narrow, 1, 3, 1, 1)))

    def forward(self, pictures: Tensor, inside: Tensor) -> Tensor:
        """(n, 3, h, w) in [-1, 1] and (n, 1, h, w) to (n, 1, h / 4, w / 4): high for photographs."""
        judged: Tensor = self.layers(torch.cat([pictures, inside * 2 - 1], dim=1))
        return judged
