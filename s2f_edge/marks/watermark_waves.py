"""The waves that a watermark is made of, and what marking and finding share."""

from __future__ import annotations

import hashlib
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from s2f_edge.errors import UsageError

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
Waves = NDArray[np.complex64]

PAYLOAD_BITS = 20
LOW, HIGH = 18, 38  # cycles per face: faces have little there, and JPEG leaves some of it at 128 pixels

_SEED = b"s2f-edge watermark 1"
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_MOST_PIXELS = 1024  # of a side that is turned into floats


class Carriers:
    """The carrier waves: frequencies in cycles per face, phases, and what each is for.

    A third of them, `sync`, is the same in every mark. Each other third has the signs of one
    of 1,024 biorthogonal words (Walsh functions of 512 and their negatives): 10 bits.

    SHAKE-256 draws phases and parts, so they are the same with every version of numpy.
    """

    WORD = 512

    def __init__(self) -> None:
        down, across = np.meshgrid(np.arange(-HIGH, HIGH + 1), np.arange(HIGH + 1), indexing="ij")
        radius = np.hypot(down, across)
        taken = (radius >= LOW) & (radius <= HIGH) & ((across > 0) | (down > 0))
        self.down, self.across = down[taken], across[taken]
        count = len(self.down)
        amplitude = radius[taken] ** -0.5
        self.amplitude = amplitude / np.sqrt(np.square(amplitude).sum() / 2)
        drawn = np.frombuffer(hashlib.shake_256(_SEED).digest(8 * count), "<u4") / 2.0**32
        self.phases: Waves = np.exp(2j * np.pi * drawn[:count]).astype(np.complex64)
        order = np.argsort(drawn[count:], kind="stable")
        third = count // 3
        self.sync, self.symbols = order[:third], (order[third : 2 * third], order[2 * third :])
        walsh = np.ones((1, 1), np.float32)
        while len(walsh) < self.WORD:
            walsh = np.block([[walsh, walsh], [walsh, -walsh]])
        self.walsh = walsh

    def with_payload(self, payload: int) -> Waves:
        """The phases as unit complex numbers, with the signs that a payload gives."""
        signs = np.ones(len(self.phases), np.float32)
        for symbol, part in zip((payload >> 10, payload & 1023), self.symbols, strict=True):
            word = self.walsh[symbol % self.WORD] * (1 - 2 * (symbol // self.WORD))
            signs[part] = word[np.arange(len(part)) % self.WORD]
        return self.phases * signs

    def read(self, agreement: Floats) -> tuple[Floats, NDArray[np.int64]]:
        """The best payload for how far waves agree with the phases: agreement of all waves, and payload.

        Args:
            agreement: (places, waves), of -1 to 1 times a weight.
        """
        total, payload = agreement[:, self.sync].sum(axis=1), np.zeros(len(agreement), np.int64)
        for part in self.symbols:
            chips = np.zeros((len(agreement), -(-len(part) // self.WORD) * self.WORD), np.float32)
            chips[:, : len(part)] = agreement[:, part]
            words = chips.reshape(len(agreement), -1, self.WORD).sum(axis=1) @ self.walsh
            best = np.abs(words).argmax(axis=1)
            value = np.take_along_axis(words, best[:, None], axis=1)[:, 0]
            total = total + np.abs(value)
            payload = payload << 10 | best | np.where(value < 0, self.WORD, 0)
        return total, payload

    def fields(self, waves: NDArray[Any], side: int, part: Any = slice(None)) -> Floats:
        """Sums of waves over a face of side x side steps; waves are complex (..., waves of the part)."""
        down, across = self.down[part], self.across[part]
        spectrum = np.zeros((*waves.shape[:-1], side, side // 2 + 1), waves.dtype)
        spectrum[..., down % side, across] = waves / 2
        edge = across == 0  # irfft2 wants both halves of this column
        spectrum[..., -down[edge] % side, 0] = waves[..., edge].conj() / 2
        return np.fft.irfft2(spectrum, (side, side), norm="forward").astype(np.float32, copy=False)


carriers = cache(Carriers)


def check_pixels(pixels: Pixels) -> None:
    """Checks that pixels are uint8 (height, width, 3) and not empty; raises UsageError."""
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise UsageError(f"The picture is {pixels.dtype} {pixels.shape}; it must be uint8 (height, width, 3).")


def turned(turns: NDArray[np.floating[Any]]) -> Waves:
    """Unit complex numbers with phases in turns; float32, several times as fast as float64."""
    angles = (2 * np.pi * turns).astype(np.float32)
    result = np.empty(angles.shape, np.complex64)
    np.cos(angles, out=result.real)
    np.sin(angles, out=result.imag)
    return result


def grey(pixels: Pixels, width: int, height: int) -> Floats:
    """The brightness, (height, width), of a picture made smaller."""
    image = Image.fromarray(pixels)
    factor = max(1, min(image.size) // _MOST_PIXELS)
    if factor > 1:
        image = image.reduce(factor)
    return resized(np.asarray(image, np.float32) @ _LUMA, width, height)


def resized(field: Floats, width: int, height: int) -> Floats:
    if field.shape == (height, width):
        return field
    image = Image.fromarray(np.ascontiguousarray(field, np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))


def box_mean(field: Floats, reach: int) -> Floats:
    """The mean of each place and `reach` places to every side."""
    count, mean = 2 * reach + 1, np.asarray(field, np.float64)
    for axis in (0, 1):
        edges = [(0, 0), (0, 0)]
        edges[axis] = (reach + 1, reach)
        sums = np.cumsum(np.pad(mean, edges, "edge"), axis=axis)
        length = sums.shape[axis]
        mean = (sums.take(range(count, length), axis) - sums.take(range(length - count), axis)) / count
    return mean.astype(np.float32)
