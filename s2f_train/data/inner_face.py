"""Where the inner face is on the mean shape: from the chin to above the brows."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFilter
from torch import Tensor, nn

from s2f_train.data.frame import MEAN_SHAPE, SIDE
from s2f_train.models.renderer import INNER_SIDE

ABOVE = 0.10  # how far above the brows it reaches, in units of the side
SOFT = 6  # pixels of 256: its edge
CHIN, BROWS = slice(0, 17), slice(17, 27)


def inner_mask(side: int = INNER_SIDE) -> Tensor:
    """From 0 to 1, symmetric: (1, 1, side, side)."""
    outline = np.concatenate([MEAN_SHAPE[CHIN], MEAN_SHAPE[BROWS][::-1] - np.array([0.0, ABOVE])]) * SIDE
    picture = Image.new("L", (SIDE, SIDE))
    ImageDraw.Draw(picture).polygon([(float(x), float(y)) for x, y in outline], fill=255)
    soft = np.asarray(picture.filter(ImageFilter.GaussianBlur(SOFT)), np.float32) / 255
    mask = torch.from_numpy(soft)[None, None]
    mask = (mask + mask.flip(3)) / 2
    return mask if side == SIDE else nn.functional.interpolate(mask, size=(side, side), mode="area")
