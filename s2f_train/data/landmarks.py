"""Where things are in aligned faces: chin, brows, eyes, nose and mouth, and where the head ends above."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from s2f_train.prepare.align import LANDMARKS_68, Aligner, Picture, model_file

# 300-W's 68 points, a file of face-recognition-models: not for commercial use.
LANDMARKS = LANDMARKS_68
# Of each of the 68 points, which is its counterpart in the mirror: chin, brows, nose, eyes, mouth.
MIRRORED = (
    *range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1), 45, 44, 43, 42, 47, 46, 39, 38, 37, 36,
    41, 40, *range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), 67, 66, 65,
)  # fmt: skip
NOSE = slice(27, 31)  # its bridge, which lies on the axis of the face
SIDE = 256  # to which pictures are enlarged before a face is looked for
# The head's outline: along rays from the middle of the face, from its right over its top to its left. Not further down,
# where hair ends in many ways, and a mean of them would fold.
RAYS = 9
FIRST_DEGREES, LAST_DEGREES = -150.0, -30.0
CENTRE = (0.507, 0.55)  # of the rays; units of the side, as everywhere here
SHORTEST, LONGEST, STEPS = 0.15, 0.75, 121
GROUND = 0.25  # how dark the head is at least, where 1 is black; the ground is white


def find_landmarks(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """The 68 points (Kazemi and Sullivan 2014, as dlib has it) of faces that are on one frame.

    Args:
        pictures: uint8 (n, h, w, 3) RGB.

    Returns:
        Points, float32 (n, 68, 2), x and y in units of the side; and whether a face was found, bool (n,). Points of
        the others are 0.

    Raises:
        ModuleNotFoundError: dlib or its file is missing.
    """
    aligner, predictor = _open()
    large = nn.functional.interpolate(
        pictures.permute(0, 3, 1, 2).float(), (SIDE, SIDE), mode="bicubic", align_corners=False
    )
    points = torch.zeros(len(pictures), len(MIRRORED), 2)
    found = torch.zeros(len(pictures), dtype=torch.bool)
    for i, picture in enumerate(large.round().clamp(0, 255).byte().permute(0, 2, 3, 1)):
        pixels: Picture = np.ascontiguousarray(picture.numpy())
        face = aligner.find(pixels)
        if face is None:
            continue
        seen, box, _ = face
        found[i] = True
        parts = [(point.x + 0.5, point.y + 0.5) for point in predictor(seen, box).parts()]
        points[i] = torch.tensor(parts) / torch.tensor([seen.shape[1], seen.shape[0]])
    return points, found


def weights() -> Path:
    """The file of the landmarks, for which dlib is there too.

    Raises:
        ModuleNotFoundError: one of them is missing.
    """
    _open()
    return model_file(LANDMARKS)


def _open() -> tuple[Aligner, Any]:
    aligner = Aligner(SIDE)  # tells where dlib is missing
    import dlib

    return aligner, dlib.shape_predictor(str(model_file(LANDMARKS)))


def outline(pictures: Tensor) -> Tensor:
    """Where a head on white ground ends, (n, `RAYS`, 2), x and y in units of the side.

    Args:
        pictures: float32 (n, 3, h, w) in [-1, 1].
    """
    angles = torch.linspace(math.radians(FIRST_DEGREES), math.radians(LAST_DEGREES), RAYS)
    rays = torch.stack([angles.cos(), angles.sin()], dim=1)
    lengths = torch.linspace(SHORTEST, LONGEST, STEPS)
    centre = torch.tensor(CENTRE)
    along = centre + rays[:, None] * lengths[:, None]
    dark = (1 - pictures.mean(dim=1, keepdim=True)) / 2
    grid = (2 * along - 1).expand(len(pictures), *along.shape)
    head = nn.functional.grid_sample(dark, grid, align_corners=False)[:, 0] > GROUND
    last = (head * torch.arange(STEPS)).amax(dim=2)
    # Single hairs and stains: each end is the middle one of three neighbours.
    padded = nn.functional.pad(lengths[last][:, None], (1, 1), mode="replicate")[:, 0]
    ends = padded.unfold(1, 3, 1).median(dim=2).values
    return centre + ends[:, :, None] * rays
