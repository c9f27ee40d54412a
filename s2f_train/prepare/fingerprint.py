"""Telling that two portraits are the same picture, also where one was resized or encoded again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from s2f_train.prepare.align import Picture

# A difference hash: is each cell of 17x16 lighter than its left neighbour? 9x8 cells do not do for faces on one frame:
# of 45,000 pairs of different portraits some differ in 2 of 64 bits, as many as copies do.
SIDE = 16
# Copies of 80 portraits, shrunk to half, enlarged, cut or encoded at quality 40, differ by 4 bits (95th percentile 12).
# Of 11 million pairs of 4,786 portraits, those of different people differ by 18 and more.
MOST_BITS = 12
# Levels of 256, mean over 32x32 cells. Copies differ by 0.8 to 1.8 (99th percentile 3.9), two photos of a person in the
# same studio, whose bits may be near, by 2.8 to 9.
MOST_DIFFERENCE = 4.0
CELLS = 32
_ROWS = 256  # that are compared with all others at once


def fingerprint(pixels: Picture) -> str:
    """The difference hash of a portrait, uint8 (256, 256, 3): 256 bits as hexadecimal digits. A mirror has another."""
    small = Image.fromarray(pixels).convert("L").resize((SIDE + 1, SIDE), Image.Resampling.LANCZOS)
    grey = np.asarray(small, np.int16)
    return np.packbits(grey[:, 1:] > grey[:, :-1]).tobytes().hex()


def near_pairs(prints: Sequence[str]) -> list[tuple[int, int]]:
    """Which fingerprints differ by `MOST_BITS` at most: pairs of indices, the smaller first. Compares all with all."""
    if not prints:
        return []
    data = np.frombuffer(bytes.fromhex("".join(prints)), np.uint8).reshape(len(prints), -1)
    signs = 2 * np.unpackbits(data, axis=1).astype(np.float32) - 1
    pairs: list[tuple[int, int]] = []
    for begin in range(0, len(signs), _ROWS):
        bits = (signs.shape[1] - signs[begin : begin + _ROWS] @ signs[begin:].T) / 2
        rows, columns = np.nonzero(np.triu(bits <= MOST_BITS, 1))
        pairs += [(begin + int(i), begin + int(j)) for i, j in zip(rows, columns, strict=True)]
    return pairs


def look_the_same(one: Picture, other: Picture) -> bool:
    """Whether two portraits, uint8 (256, 256, 3), differ by no more than encoding and resizing do."""
    return float(np.abs(_cells(one) - _cells(other)).mean()) <= MOST_DIFFERENCE


def _cells(pixels: Picture) -> NDArray[np.float32]:
    return np.asarray(Image.fromarray(pixels).resize((CELLS, CELLS), Image.Resampling.LANCZOS), np.float32)
