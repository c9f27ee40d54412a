"""The portraits of a store in memory: pictures of 256 pixels with their 68 points."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from s2f_train.data.frame import MEAN_SHAPE, POINTS_MEMBER, SIDE
from s2f_train.data.pictures import read_face
from s2f_train.data.store import Sample, Store, StoreError


def load_portraits(store: Store, samples: list[Sample]) -> tuple[Tensor, Tensor]:
    """Portraits, decoded by all cores.

    Args:
        samples: faces of view "portrait".

    Returns:
        Pictures, uint8 (n, 3, 256, 256) RGB, 197 kB each; and points, float32 (n, 68, 2), x and y in units of the side.

    Raises:
        StoreError: there are no samples, one is no portrait, or one cannot be decoded.
    """
    if not samples:
        raise StoreError(f"{store.folder} has no such portraits: prepare it with --portraits.")
    others = [sample for sample in samples if POINTS_MEMBER not in sample.members]
    if others:
        raise StoreError(
            f"{store.folder}: {len(others)} of {len(samples)} faces are no portraits with points, such as "
            f"{others[0].key} of {others[0].source}; prepare with --portraits."
        )
    pictures = np.empty((len(samples), 3, SIDE, SIDE), np.uint8)
    points = np.empty((len(samples), *MEAN_SHAPE.shape), np.float32)

    def decode(row: int) -> None:
        sample = samples[row]
        try:
            pictures[row] = read_face(store, sample).transpose(2, 0, 1)
            points[row] = np.load(io.BytesIO(store.read(sample, POINTS_MEMBER)), allow_pickle=False)
        except StoreError:
            raise
        except (ValueError, EOFError) as error:  # another size, or a broken npy
            raise StoreError(f"{store.folder / sample.shard}: {sample.key} is no portrait ({error}).") from None

    with ThreadPoolExecutor() as pool:  # Pillow decodes outside Python's lock
        list(pool.map(decode, range(len(samples))))
    return torch.from_numpy(pictures), torch.from_numpy(points)
