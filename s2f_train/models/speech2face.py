"""The VAE branch after Oh et al. 2019: a voice encoder with a variational head, and a face decoder."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from s2f_train.models.voice import unit

KERNEL = 4
POOLED = (2, 3, 4, 5)  # convolutions, counted from 0, after which the frequencies are halved
STRIDED = (7, 8)  # convolutions of stride 2


class SpeechEncoder(nn.Module):
    """The voice encoder of thesis figure 4.3: a complex spectrogram to a face feature.

    Nine convolutions of 4x4, each with ReLU and then batch norm, the order of the thesis's table (Oh et al. print "CONV
    BN" alone); the mean over time; two linear layers. The table leaves open, and this network has:

    - padding: such that a convolution of stride 1 keeps the size (one before, two after) and one of stride 2 halves it;
    - 2x1 max pooling: of frequencies, as the mean over time at the end says which axis is which;
    - after that mean the frequencies that are left stand side by side;
    - the input of the first linear layer follows from that: with 257 frequencies, 4 x 512.

    The variational head (thesis 2.7) gives a mean and a log-variance of each number of the feature. What a pack uses is
    the mean, of unit length: the decoder sees only directions.

    Args:
        channels: width of each convolution. The thesis's are the default.
        hidden: width of the first linear layer.
        embedding_size: length of the face feature.
        bins: frequencies of the input.
    """

    features = "stft-257"
    kind = "oh-cnn"

    def __init__(
        self,
        channels: tuple[int, ...] = (64, 64, 128, 128, 128, 256, 512, 512, 512),
        hidden: int = 4096,
        embedding_size: int = 4096,
        bins: int = 257,
    ):
        super().__init__()
        if len(channels) != 9:
            raise ValueError(f"{len(channels)} widths for the nine convolutions of the voice encoder.")
        self.settings: dict[str, Any] = {
            "channels": list(channels), "hidden": hidden, "embedding_size": embedding_size, "bins": bins,
        }  # fmt: skip
        layers: list[nn.Module] = []
        narrow, height = 2, bins
        for number, wide in enumerate(channels):
            if number in STRIDED:
                layers.append(nn.Conv2d(narrow, wide, KERNEL, stride=2, padding=1))
                height //= 2
            else:
                layers += [nn.ZeroPad2d((1, 2, 1, 2)), nn.Conv2d(narrow, wide, KERNEL)]
            layers += [nn.ReLU(inplace=True), nn.BatchNorm2d(wide)]
            if number in POOLED:
                layers.append(nn.MaxPool2d((2, 1)))
                height //= 2
            narrow = wide
        self.convolutions = nn.Sequential(*layers)
        self.hidden = nn.Linear(height * narrow, hidden)
        self.mean = nn.Linear(hidden, embedding_size)
        self.log_variance = nn.Linear(hidden, embedding_size)
        self.spread: Tensor
        # Of latents, in lengths of their mean: a running mean over training, which a pack draws its candidates with.
        self.register_buffer("spread", torch.zeros(()))

    def posterior(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """float32 (batch, 2, 257, frames) -> mean and log-variance of the latent, (batch, embedding) each."""
        maps: Tensor = self.convolutions(features)
        hidden = torch.relu(self.hidden(maps.mean(dim=3).flatten(1)))
        return self.mean(hidden), self.log_variance(hidden).clamp(-12.0, 4.0)

    def forward(self, features: Tensor) -> Tensor:
        """float32 (batch, 2, 257, frames) -> the posterior's mean, (batch, embedding), of unit length."""
        return unit(self.posterior(features)[0])


class FaceDecoder(nn.Module):
    """The face decoder of thesis figure 4.6: a face feature to a picture.

    Two linear layers, transposed convolutions of 6x6 that double the side, a convolution of 1x1 and a sigmoid, whose
    result is brought to [-1, 1] as all generators of a pack give it.

    Args:
        embedding_size: length of the face feature.
        hidden: width of the first linear layer.
        base: channels of the first map.
        side: its height and width.
        channels: width after each transposed convolution. The thesis's, with its side of 14, give 224x224.
    """

    def __init__(
        self,
        embedding_size: int = 4096,
        hidden: int = 1000,
        base: int = 256,
        side: int = 14,
        channels: tuple[int, ...] = (128, 64, 32, 32),
    ):
        super().__init__()
        self.settings: dict[str, Any] = {
            "embedding_size": embedding_size, "hidden": hidden, "base": base, "side": side, "channels": list(channels),
        }  # fmt: skip
        self.mlp = nn.Sequential(
            nn.Linear(embedding_size, hidden), nn.ReLU(), nn.Linear(hidden, base * side * side), nn.ReLU()
        )
        layers: list[nn.Module] = []
        narrow = base
        for wide in channels:
            layers += [nn.ConvTranspose2d(narrow, wide, 6, stride=2, padding=2), nn.ReLU()]
            narrow = wide
        layers += [nn.Conv2d(narrow, 3, 1), nn.Sigmoid()]
        self.texture_gen = nn.Sequential(*layers)
        self._map = (base, side, side)

    def activations(self, feature: Tensor) -> Tensor:
        """Activations of the first layer, which Oh et al. compare for two features: (batch, hidden)."""
        first: Tensor = self.mlp[:2](feature)
        return first

    def forward(self, embedding: Tensor) -> Tensor:
        """float32 (batch, embedding) -> (batch, 3, side, side), RGB in [-1, 1]."""
        picture: Tensor = self.texture_gen(self.mlp(embedding).unflatten(1, self._map))
        return 2.0 * picture - 1.0
