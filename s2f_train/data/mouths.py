"""Pictures of open mouths, on the frame of portraits, with where the inside of each is. No torch here."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from s2f_train.data.frame import MEAN_SHAPE, SIDE
from s2f_train.data.pictures import encoded
from s2f_train.data.store import Sample, Store, StoreError
from s2f_train.prepare.align import similarity

MOUTHS = "mouths.webp"  # the member of a sample: mouths side by side, the inside as the alpha channel
BOX = (72, 144, 112, 96)  # x, y, width and height in pixels of the frame: where mouths are
LEAST_INSIDE = 40  # pixels of the frame between the lips, below which a mouth shows nothing
RIGID = slice(27, 48)  # of the 68 points: nose and eyes, which do not move with the lips
# The inner lips among MediaPipe's 478 points, once round.
INNER_LIPS = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95)
OVERSAMPLED = 8  # for a soft edge of the inside


@dataclass(frozen=True)
class Mouths:
    """Mouths in memory.

    Attributes:
        pictures: uint8 (n, 3, 96, 112), RGB.
        inside: uint8 (n, 1, 96, 112), 255 between the lips.
        samples: which of the store's samples each is of.
    """

    pictures: NDArray[np.uint8]
    inside: NDArray[np.uint8]
    samples: list[Sample]


def mouth_of(picture: Image.Image, mesh: NDArray[np.float32], points: NDArray[np.float32]) -> Image.Image:
    """The mouth of a face, 112x96 RGBA.

    Args:
        picture: RGB, of any size.
        mesh: (478, 2 or 3), MediaPipe's points in pixels.
        points: (68, 2), the same face's 68 points.
    """
    onto = similarity(points[RIGID].astype(np.float64), MEAN_SHAPE[RIGID].astype(np.float64) * SIDE)
    x, y, width, height = BOX
    back = np.linalg.inv(onto[:, :2])
    corner = back @ (np.array([x, y]) - onto[:, 2])
    crop = picture.transform(
        (width, height), Image.Transform.AFFINE, tuple(np.column_stack([back, corner]).ravel()),
        Image.Resampling.BICUBIC,
    )  # fmt: skip
    lips = mesh[list(INNER_LIPS), :2].astype(np.float64)
    line = (lips @ onto[:, :2].T + onto[:, 2] - np.array([x, y])) * OVERSAMPLED
    inside = Image.new("L", (width * OVERSAMPLED, height * OVERSAMPLED))
    ImageDraw.Draw(inside).polygon([(float(a), float(b)) for a, b in line], fill=255)
    crop.putalpha(inside.resize((width, height), Image.Resampling.BOX))
    return crop


def is_open(mouth: Image.Image) -> bool:
    """Whether anything is to be seen between the lips."""
    return float(np.asarray(mouth.getchannel("A"), np.float32).sum()) / 255 >= LEAST_INSIDE


def as_member(mouths: list[Image.Image]) -> bytes:
    """Mouths as a sample of the store keeps them."""
    width, height = BOX[2:]
    strip = Image.new("RGBA", (width * len(mouths), height))
    for i, mouth in enumerate(mouths):
        strip.paste(mouth, (i * width, 0))
    return encoded(strip, "WEBP", quality=92, exact=True)


def load_mouths(store: Store, samples: list[Sample]) -> Mouths:
    """All mouths of samples.

    Raises:
        StoreError: a member is no strip of mouths.
    """
    strips, owners = [], []
    for sample in samples:
        try:
            with Image.open(io.BytesIO(store.read(sample, MOUTHS))) as file:
                strip = np.asarray(file.convert("RGBA"))
        except (OSError, ValueError) as error:
            raise StoreError(f"{store.folder / sample.shard}: {sample.key} has no mouths ({error}).") from None
        count, left = divmod(strip.shape[1], BOX[2])
        if left or strip.shape[0] != BOX[3]:
            raise StoreError(f"{store.folder / sample.shard}: {sample.key} has mouths of another size; prepare anew.")
        strips.append(strip.reshape(BOX[3], count, BOX[2], 4).transpose(1, 3, 0, 2))
        owners += [sample] * count
    whole = np.concatenate(strips) if strips else np.zeros((0, 4, BOX[3], BOX[2]), np.uint8)
    return Mouths(np.ascontiguousarray(whole[:, :3]), np.ascontiguousarray(whole[:, 3:]), owners)
