"""An invisible mark in the brightness of a generated face, and finding it again.

The mark is a sum of waves of 18 to 38 cycles per face, in phases drawn from a public seed. A
third of the waves is the same in every mark and tells where the face lies and how large it is;
the others carry 20 bits. docs/watermark.md says what it survives. It is a label for honest
use: whoever reads this file can remove or forge it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from s2f_edge.errors import UsageError
from s2f_edge.marks.watermark_find import Mark, find, find_in
from s2f_edge.marks.watermark_waves import (
    PAYLOAD_BITS,
    Floats,
    Pixels,
    box_mean,
    carriers,
    check_pixels,
    grey,
    resized,
)
from s2f_edge.terms import GENERATORS

__all__ = [
    "IN_VIDEO",
    "MIN_SIZE",
    "Mark",
    "PayloadFields",
    "add_levels",
    "find",
    "find_in",
    "make_payload",
    "mark",
    "mark_levels",
    "read_payload",
]

MIN_SIZE = 256  # of a face that is marked; half of it is still found
VERSION = 1
IN_VIDEO = 1.1  # strength in what loses detail: H.264, VP9, few colours

_STRENGTH = 1.15  # root mean square on smooth, bright skin, in grey levels


@dataclass(frozen=True)
class PayloadFields:
    """The fields of a payload: version of the mark, generator, and 4 hex digits of the pack's sha256."""

    version: int
    generator: str
    pack: str


def make_payload(generator: str, pack_sha256: str) -> int:
    """20 bits: the mark's version (2), the generator (2), the start of the pack's sha256 (16).

    Raises:
        UsageError: no such generator, or no sha256 in hex.
    """
    if generator not in GENERATORS:
        raise UsageError(f"The generator is {generator!r}; it must be one of {', '.join(GENERATORS)}.")
    if not re.fullmatch("[0-9a-fA-F]{64}", pack_sha256):
        raise UsageError(f"The sha256 of a pack is 64 hex digits, not {pack_sha256[:80]!r}.")
    return VERSION << 18 | GENERATORS.index(generator) << 16 | int(pack_sha256[:4], 16)


def read_payload(payload: int) -> PayloadFields:
    """Splits a payload made by `make_payload`.

    Raises:
        UsageError: it made no such payload.
    """
    version, generator = payload >> 18, payload >> 16 & 3
    if version != VERSION or generator >= len(GENERATORS):
        raise UsageError(f"The payload {payload} is none that a mark of version {VERSION} carries.")
    return PayloadFields(version, GENERATORS[generator], f"{payload & 0xFFFF:04x}")


def mark(pixels: Pixels, payload: int) -> Pixels:
    """A copy of one face with a mark in it.

    Args:
        pixels: uint8 (side, side, 3), 256 or more.
        payload: 20 bits, see `make_payload`.

    Raises:
        UsageError: other pixels, or a payload out of range.
    """
    levels = mark_levels(pixels, payload)
    marked = np.empty_like(pixels)
    for top in range(0, len(pixels), 256):  # in strips, for the memory
        rows = slice(top, top + 256)
        marked[rows] = add_levels(pixels[rows], levels[rows])
    return marked


def mark_levels(pixels: Pixels, payload: int, strength: float = 1.0) -> NDArray[np.int16]:
    """What `mark` adds to a face: int16 (side, side, 1), in grey levels.

    A face that moves is marked with the levels of its first frame, so that the mark stays where it is.

    Args:
        pixels, payload: as of `mark`, with its errors.
        strength: times that of a picture; `IN_VIDEO` for what is to be found after a messenger packed it again.
    """
    check_pixels(pixels)
    side = len(pixels)
    if pixels.shape[1] != side or side < MIN_SIZE:
        raise UsageError(
            f"The picture is {pixels.shape[1]} x {side} pixels; a mark needs a square face of {MIN_SIZE} or more."
        )
    if not 0 <= payload < 1 << PAYLOAD_BITS:
        raise UsageError(f"The payload is {payload}; it must have {PAYLOAD_BITS} bits.")
    base = MIN_SIZE if side == MIN_SIZE else 2 * MIN_SIZE
    change = strength * _pattern(payload, base) * resized(_strength(pixels), base, base)
    return np.rint(resized(change, side, side)).astype(np.int16)[:, :, None]


def add_levels(pixels: Pixels, levels: NDArray[np.int16]) -> Pixels:
    """Pixels, uint8 (height, width, 3), with levels of `mark_levels` added."""
    return np.asarray(np.clip(pixels + levels, 0, 255), np.uint8)


def _strength(pixels: Pixels) -> Floats:
    """The strength of the mark at each place: more where the face changes, less where it is dark."""
    small = grey(pixels, 64, 64)
    mean = box_mean(small, 1)
    change = np.sqrt(np.maximum(box_mean(small * small, 1) - mean * mean, 0.0))
    strength = np.minimum(_STRENGTH + 0.05 * change, 1.25) * (0.6 + 0.4 * np.minimum(mean / 128, 1.0))
    strength *= np.clip((262 - mean) / 24, 0.4, 1.0)  # white shows it, and cuts half of it off
    # A large picture fills more of what one sees, and needs less.
    return box_mean(strength.astype(np.float32), 1) * np.float32(max(0.6, (MIN_SIZE / len(pixels)) ** 0.35))


@lru_cache(maxsize=16)
def _pattern(payload: int, side: int) -> Floats:
    """The mark on a face of `side` pixels, of root mean square 1."""
    waves = carriers()
    middle = np.exp(1j * np.pi * (waves.down + waves.across) / side)  # of the first pixel
    pattern = waves.fields(waves.amplitude * waves.with_payload(payload) * middle, side)
    pattern.flags.writeable = False
    return pattern
