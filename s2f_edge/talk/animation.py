"""Moving pictures without sound, by Pillow alone: GIF, WebP, and folders of PNG files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import GifImagePlugin, Image

from s2f_edge.errors import UsageError
from s2f_edge.picture import FACTS_CHUNK, XMP_CHUNK, Pixels, Provenance, png, texts

MAX_WEBP_FRAMES = 15_000  # Pillow holds the whole file
MAX_GIF_FPS = 50  # players show what is faster at 10 frames a second

_COLOURS = 255  # and one for what stays as it was
_SEEN, _SEEN_BYTES = 50, 16 << 20  # frames that the palette is made of
_BAYER = np.array([[0, 2], [3, 1]])
for _ in range(2):
    _BAYER = np.block([[4 * _BAYER, 4 * _BAYER + 2], [4 * _BAYER + 3, 4 * _BAYER + 1]])
_DITHER = 8.0  # grey levels between the lightest and the darkest of the pattern


def write_gif(file: BinaryIO, frames: Iterable[Pixels], fps: Fraction, provenance: Provenance) -> None:
    """Writes a GIF, frame by frame: memory does not grow with its length.

    One palette for all, and a dither that stays where it is, so that nothing flickers; of each frame, what changes.

    Args:
        frames: uint8 (height, width, 3).

    Raises:
        UsageError: more than 50 frames a second.
    """
    if fps > MAX_GIF_FPS:
        raise UsageError(
            f"gif shows at most {MAX_GIF_FPS} frames a second, not {float(fps):g}; give a lower fps, or mp4."
        )
    left = iter(frames)
    first = next(left)
    seen = [first, *islice(left, min(_SEEN, _SEEN_BYTES // first.nbytes))]
    palette = _palette(seen[:: max(1, len(seen) // 5)])
    pattern = np.resize((_BAYER + 0.5) / _BAYER.size - 0.5, (8, 8)) * _DITHER
    height, width, _ = first.shape
    dither = np.tile(pattern, (-(-height // 8), -(-width // 8)))[:height, :width, None]
    before: NDArray[np.uint8] | None = None
    for index, pixels in enumerate(chain(seen, left)):
        even = np.clip(pixels + dither, 0, 255).astype(np.uint8)
        now = np.array(Image.fromarray(even).quantize(palette=palette, dither=Image.Dither.NONE))
        now[now == _COLOURS] = 0  # the same colour, and not what stays as it was
        rows, columns = (slice(0, height), slice(0, width)) if before is None else _changed(now != before)
        part = now[rows, columns].copy()
        if before is None:
            head, _ = GifImagePlugin.getheader(
                _indexed(part, palette), info={"loop": 0, "comment": texts(provenance)[FACTS_CHUNK].encode()}
            )
            file.write(b"".join(head))
        else:
            part[part == before[rows, columns]] = _COLOURS
        hundredths = round(100 * (index + 1) / fps) - round(100 * index / fps)
        data = GifImagePlugin.getdata(
            _indexed(part, palette), (columns.start, rows.start), duration=10 * hundredths, transparency=_COLOURS,
            disposal=1,
        )  # fmt: skip
        file.write(b"".join(data))
        before = now
    file.write(b";")


def _palette(samples: list[Pixels]) -> Image.Image:
    made = Image.fromarray(np.concatenate(samples)).quantize(
        _COLOURS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE
    )
    colours = (made.getpalette() or [])[: 3 * _COLOURS]
    palette = Image.new("P", (1, 1))
    palette.putpalette(colours + colours[:3] * (256 - len(colours) // 3))  # none that another would be taken for
    return palette


def _changed(differs: NDArray[np.bool_]) -> tuple[slice, slice]:
    """The rows and columns that hold all that differs; one pixel where nothing does, which keeps the time."""
    down, across = np.flatnonzero(differs.any(axis=1)), np.flatnonzero(differs.any(axis=0))
    if not len(down):
        return slice(0, 1), slice(0, 1)
    return slice(int(down[0]), int(down[-1]) + 1), slice(int(across[0]), int(across[-1]) + 1)


def _indexed(part: NDArray[np.uint8], palette: Image.Image) -> Image.Image:
    image = Image.frombytes("P", (part.shape[1], part.shape[0]), np.ascontiguousarray(part).tobytes())
    image.putpalette(palette.getpalette() or [])
    return image


def write_webp(file: BinaryIO, frames: Iterable[Pixels], count: int, fps: Fraction, provenance: Provenance) -> None:
    """Writes an animated WebP. Pillow holds the packed frames until the end.

    Args:
        frames: uint8 (height, width, 3), `count` of them.

    Raises:
        UsageError: more than 15,000 frames.
    """
    if count > MAX_WEBP_FRAMES:
        raise UsageError(
            f"webp can have {MAX_WEBP_FRAMES:,} frames, since all of it is held in memory; this has {count:,}. Give "
            "mp4 or gif, or a lower fps."
        )
    ends = [round(1000 * (index + 1) / fps) for index in range(count)]
    _Pulled(iter(frames), count).save(
        file, "WEBP", save_all=True, duration=np.diff([0, *ends]).tolist(), loop=0, quality=85, method=0, kmin=0,
        kmax=0, xmp=texts(provenance)[XMP_CHUNK].encode(),
    )  # fmt: skip


class _Pulled(Image.Image):
    """An image of many frames, each of which is made when Pillow goes to it."""

    format = "WEBP"

    def __init__(self, frames: Iterator[Pixels], count: int) -> None:
        super().__init__()
        self.n_frames = count
        self._left = frames
        self._at = -1
        self.seek(0)

    def seek(self, frame: int) -> None:
        if frame == self._at + 1:  # Pillow goes back at the end, when there is nothing more to see
            image = Image.fromarray(next(self._left))
            self._mode, self._size, self.im, self._at = image.mode, image.size, image.im, frame

    def tell(self) -> int:
        return self._at


def write_pngs(folder: Path, frames: Iterable[Pixels], provenance: Provenance) -> None:
    """Writes frame_000000.png and so on into a folder that is there."""
    for index, pixels in enumerate(frames):
        (folder / f"frame_{index:06}.png").write_bytes(png(pixels, provenance))


def text_facts(provenance: Provenance) -> dict[str, str]:
    """What a video's tags say of its origin: title, description, and the facts as JSON in the comment."""
    entries = texts(provenance)
    return {
        "title": provenance.notice,
        "description": f"{provenance.notice}; made by {provenance.tool}; {provenance.digital_source_type}",
        "comment": entries[FACTS_CHUNK],
    }
