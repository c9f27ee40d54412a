"""From sound to the motion of a face: filter banks in, where the 68 points go out, 25 times a second."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from s2f_edge.hearing.fbank import FBANK_BINS
from s2f_edge.talk.motion import PER_FRAME, POINTS

STEM = 5  # kernel of the two layers that halve the rate
AHEAD = 1  # of a block's kernel, how many taps lie ahead
LOUD = 12.0  # of the features, whose deviation is about 4: to numbers about 0
FLOOR = 3.0  # what is softer is as silent as digital silence


class MotionNetwork(nn.Module):
    """Convolutions over time without padding, so that sound in pieces gives what the whole gives.

    The bins are first taken to their cosines, the lower of which tell the throat and the mouth rather than the pitch.

    Args:
        cosines: how many are kept.
        width: channels.
        kernel: taps of a block.
        dilations: of the blocks; their number is that of the blocks.
        components: directions in which points move together.
        dropout: share of the activations that training leaves out.
    """

    features = "fbank-80"
    kind = "motion"

    def __init__(
        self,
        cosines: int = 32,
        width: int = 128,
        kernel: int = 5,
        dilations: tuple[int, ...] = (1, 2, 4),
        components: int = 16,
        dropout: float = 0.2,
    ):
        super().__init__()
        self.settings: dict[str, Any] = {
            "cosines": cosines,
            "width": width,
            "kernel": kernel,
            "dilations": list(dilations),
            "components": components,
            "dropout": dropout,
        }
        bins = torch.arange(FBANK_BINS) + 0.5
        waves = torch.cos(math.pi / FBANK_BINS * bins * torch.arange(cosines)[:, None]) / 10.0
        self.spectrum = nn.Linear(FBANK_BINS, cosines, bias=False)
        with torch.no_grad():
            self.spectrum.weight.copy_(waves / 4.0)
        self.stem = nn.Sequential(
            nn.Conv1d(cosines, width, STEM, 2), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(dropout),
            nn.Conv1d(width, width, STEM, 2), nn.BatchNorm1d(width), nn.ReLU(),
        )  # fmt: skip
        self.blocks = nn.ModuleList(_Block(width, kernel, dilation, dropout) for dilation in dilations)
        self.said = nn.Conv1d(width, components, 1)
        self.directions: Tensor
        self.register_buffer("directions", torch.zeros(components, 2 * POINTS))

    @property
    def context(self) -> tuple[int, int]:
        """Feature frames that the motion of a video frame needs: before its first one, and after its last one."""
        blocks = [block.context for block in self.blocks if isinstance(block, _Block)]
        before, after = (PER_FRAME * sum(context[i] for context in blocks) for i in (0, 1))
        return before + 7, after + 2

    def forward(self, features: Tensor) -> Tensor:
        """Features, (batch, before + 4 n + after, 80), to offsets, (batch, n, 68, 2).

        Frame k lies at k/25 s of the sound whose feature frame 0 comes after `before` others.
        """
        x = self.spectrum(features.clamp(min=FLOOR) - LOUD).transpose(1, 2)
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        offsets: Tensor = self.said(x).transpose(1, 2) @ self.directions
        return offsets.view(offsets.shape[0], offsets.shape[1], POINTS, 2)


class _Block(nn.Module):
    def __init__(self, width: int, kernel: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.context = (kernel - 1 - AHEAD) * dilation, AHEAD * dilation
        self.layers = nn.Sequential(
            nn.Conv1d(width, width, kernel, dilation=dilation), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(dropout),
            nn.Conv1d(width, width, 1),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        before, after = self.context
        added: Tensor = x[:, :, before:-after] + self.layers(x)
        return added
