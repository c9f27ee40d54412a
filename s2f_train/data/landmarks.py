"""Where things are in aligned faces: chin, brows, eyes, nose and mouth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from s2f_train.prepare.align import LANDMARKS_68, Aligner, Picture, model_file, points_of

# 300-W's 68 points, a file of face-recognition-models: not for commercial use.
LANDMARKS = LANDMARKS_68
# Of each of the 68 points, which is its counterpart in the mirror: chin, brows, nose, eyes, mouth.
MIRRORED = (
    *range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1), 45, 44, 43, 42, 47, 46, 39, 38, 37, 36,
    41, 40, *range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), 67, 66, 65,
)  # fmt: skip
SIDE = 256  # to which pictures are enlarged before a face is looked for


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
        found[i] = True
        points[i] = torch.from_numpy(points_of(predictor, *face)).float() / torch.tensor(face[0].shape[1::-1])
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
