"""The generator: a voice embedding in, a 64x64 face out (docs/spec.md, section 3; thesis, figure 5.5)."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

# variant: (batch norm before each ReLU, tanh at the end)
VARIANTS = {"thesis2023": (True, True), "wen2019": (False, False), "wen2019-tanh": (False, True)}


class Generator(nn.Module):
    """Transposed convolutions from (embedding, 1, 1) to (3, 64, 64).

    Args:
        embedding_size: length of the voice embedding.
        channels: width after each of the five upsampling layers. The thesis's are the
            default; without norms their network has 12,191,875 parameters.
        variant: `thesis2023` has a batch norm before each ReLU and a tanh at the end;
            `wen2019` has neither, and its pictures are clipped to [-1, 1]; `wen2019-tanh` is
            what the thesis's server makes of Wen's weights: no norms, but the tanh.

    Wen's table prints kernels of 3x3; Wen's code and the thesis use 4x4, as here.
    """

    def __init__(
        self,
        embedding_size: int = 64,
        channels: tuple[int, ...] = (1024, 512, 256, 128, 64),
        variant: str = "thesis2023",
    ):
        super().__init__()
        if variant not in VARIANTS:
            raise ValueError(f"variant is {variant!r}; it must be one of {', '.join(VARIANTS)}.")
        if len(channels) != 5:
            raise ValueError(f"{len(channels)} widths for five upsampling layers (1 -> 4 -> 8 -> 16 -> 32 -> 64).")
        self.settings: dict[str, Any] = {
            "embedding_size": embedding_size,
            "channels": list(channels),
            "variant": variant,
        }
        norms, self.tanh = VARIANTS[variant]
        layers: list[nn.Module] = []
        narrow, stride, padding = embedding_size, 1, 0
        for wide in channels:
            layers.append(nn.ConvTranspose2d(narrow, wide, 4, stride, padding))
            if norms:
                layers.append(nn.BatchNorm2d(wide))
            layers.append(nn.ReLU(inplace=True))
            narrow, stride, padding = wide, 2, 1
        layers.append(nn.ConvTranspose2d(narrow, 3, 1))
        self.model = nn.Sequential(*layers)

    def forward(self, embedding: Tensor) -> Tensor:
        """float32 (batch, embedding), of unit length -> (batch, 3, 64, 64), RGB in [-1, 1]."""
        picture: Tensor = self.model(embedding[:, :, None, None])
        return picture.tanh() if self.tanh else picture.clamp(-1.0, 1.0)
