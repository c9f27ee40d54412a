"""The faces of a store in memory: decoded once, drawn by their index."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from s2f_train.data.pictures import SIDE, read_face, resized
from s2f_train.data.store import Sample, Store

log = logging.getLogger(__name__)


def load_faces(store: Store, samples: list[Sample], side: int = SIDE) -> Tensor:
    """All pictures, uint8 (faces, side, side, 3) RGB: 12 kB each where the side is 64.

    Raises:
        StoreError: a picture cannot be decoded.
    """
    pixels = np.empty((len(samples), side, side, 3), np.uint8)

    def decode(row: int) -> None:
        pixels[row] = resized(read_face(store, samples[row]), side)

    with ThreadPoolExecutor() as pool:  # Pillow decodes outside Python's lock
        list(pool.map(decode, range(len(samples))))
    return torch.from_numpy(pixels)


def as_network_input(pixels: Tensor) -> Tensor:
    """uint8 (batch, 64, 64, 3) -> float32 (batch, 3, 64, 64) in [-1, 1]: (x - 127.5) / 127.5."""
    return (pixels.permute(0, 3, 1, 2).float() - 127.5) / 127.5


def as_pixels(pictures: Tensor) -> NDArray[np.uint8]:
    """The way back, rounded: uint8 (batch, 64, 64, 3)."""
    levels = (pictures.detach().float().cpu() * 127.5 + 127.5).round().clamp(0, 255)
    pixels: NDArray[np.uint8] = levels.byte().permute(0, 2, 3, 1).numpy()
    return pixels


def sheet(rows: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Rows of as many faces each, uint8 (faces, 64, 64, 3), as one picture."""
    return np.concatenate([np.concatenate(list(row), axis=1) for row in rows])
