"""Pictures of a store as arrays: decoded, brought to a size, compared pixel by pixel."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from s2f_train.data.store import Sample, Store, StoreError

Picture = NDArray[np.uint8]
SIDE = 64  # of the pictures that networks make
AT_ONCE = 512  # pairs that are compared in memory together


def read_face(store: Store, face: Sample) -> Picture:
    """A face of a store as it is kept, uint8 (h, w, 3) RGB.

    Raises:
        StoreError: it cannot be decoded.
    """
    try:
        with Image.open(io.BytesIO(store.read(face, "png" if "png" in face.members else "jpg"))) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError) as error:  # Pillow's two for a broken PNG
        raise StoreError(f"{store.folder / face.shard}: {face.key} cannot be decoded ({error}).") from None


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """A picture as a file of a kind such as "PNG", with Pillow's options."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def resized(picture: Picture, side: int = SIDE) -> Picture:
    """uint8 (side, side, 3)."""
    if picture.shape[:2] == (side, side):
        return picture
    return np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.LANCZOS))


def laplacian(picture: Picture) -> NDArray[np.float64]:
    """The Laplacian of the grey picture, in levels of 256: (h, w, 3) to (h - 2, w - 2)."""
    grey = np.asarray(Image.fromarray(picture).convert("L"), np.float64)
    beside = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    return np.asarray(beside - 4 * grey[1:-1, 1:-1])


def pixel_l1(a: Picture, b: Picture, rows_a: NDArray[np.int64], rows_b: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean difference per pixel, 0 to 255, of pictures `rows_a` of a with `rows_b` of b, uint8 (n, h, w, 3)."""
    found = np.empty(len(rows_a))
    for begin in range(0, len(found), AT_ONCE):
        part = slice(begin, begin + AT_ONCE)
        difference = a[rows_a[part]].astype(np.int16) - b[rows_b[part]]
        found[part] = np.abs(difference).mean(axis=(1, 2, 3))
    return found
