"""Finding a watermark: where its face lies, how large it is, and what it says.

A scan tries extents (sizes of the picture in faces) and, by a Fourier transform, all shifts, and looks for the waves
that all marks share. The best places are judged by all waves, with the payload that fits best.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from s2f_edge.marks.watermark_waves import HIGH, Floats, Pixels, Waves, box_mean, carriers, check_pixels, grey, turned

_Extents = tuple[float, float]
_Found = tuple[float, int, _Extents, tuple[float, float]]

LOG10_ALARM = -6.0  # chance that a picture without a mark seems to have one

_SIDE = 128  # pixels that are looked at, at most, and steps of a face's shift
_REACH = 3  # pixels around one, for what is smooth and what is strong
_SMALLEST = 84  # pixels of a side; fewer don't hold the waves
_EXTENTS = np.linspace(0.875, 1.1, 19).tolist()  # side of the picture in faces: crops, and margins
_MORE_EXTENTS = [*np.linspace(0.7, 0.8625, 14).tolist(), *np.linspace(1.1125, 1.3, 16).tolist()]
_TWO_SCALES = [(down, across) for down in _EXTENTS[1:14] for across in _EXTENTS[1:14]]
_CANDIDATES = 24
_CELLS = 2  # of a grid that are looked at
_SURE = 14.0  # a score; below, the face may lie elsewhere, and some of the payload be wrong
_REFINED = 7.5, 12.0  # scores that refining is for: it adds 1 at most
# How many places and payloads a search may come upon, in tens: 128² shifts with 50 + 13² pairs of extents and in 2
# cells of each of 15 grids, and some thousand when refined, all with 2**20 payloads.
_LOG10_TRIALS = 13.0


@dataclass(frozen=True)
class Mark:
    """A detected watermark.

    Attributes:
        payload: what it says, 20 bits; `read_payload` reads them.
        score: correlation in standard deviations of what chance gives.
        log10_false_alarm: bound on the chance of such a score in a picture without a mark.
        box: left, top, width and height of the face in pixels of the picture; a cropped face
            reaches past its edges.
    """

    payload: int
    score: float
    log10_false_alarm: float
    box: tuple[float, float, float, float]


def find(pixels: Pixels) -> Mark | None:
    """The mark in a picture of a face or of a grid of faces, or None.

    A grid is found where the picture is all of it; its faces say the same, and one is told.

    Args:
        pixels: uint8 (height, width, 3).

    Raises:
        UsageError: other pixels.
    """
    best = strongest(pixels)
    return best if best and best.log10_false_alarm <= LOG10_ALARM else None


def find_in(looks: Sequence[Pixels]) -> Mark | None:
    """The mark in several looks at one video, such as a frame and the mean of frames; the surest look counts.

    Args:
        looks: uint8 (height, width, 3); those after a look that leaves no doubt are not searched.

    Raises:
        UsageError: other pixels.
    """
    best: Mark | None = None
    for pixels in looks:
        found = strongest(pixels)
        best = max(filter(None, (best, found)), key=lambda mark: mark.score, default=None)
        if best and best.score >= _SURE:
            break
    if best is None or best.log10_false_alarm + math.log10(len(looks)) > LOG10_ALARM:
        return None
    return best


def strongest(pixels: Pixels) -> Mark | None:
    """The best match with a mark, even by chance; None where a side has fewer than 84 pixels. For measurements."""
    check_pixels(pixels)
    height, width, _ = pixels.shape
    if min(height, width) < _SMALLEST:
        return None
    single = max(height, width) <= 2 * min(height, width)
    whole = [_Part.of(pixels, 0, 0, width, height)] if single else []
    # The whole face first, then what was cut; grids; what was also made wider or narrower; larger crops and margins.
    looks = chain(
        ((part, [(1.0, 1.0)]) for part in whole if abs(width - height) * 50 <= width),
        ((part, _one_scale(width, height, _EXTENTS)) for part in whole),
        ((part, [extents]) for part, extents in _cells(pixels)),
        ((part, _TWO_SCALES) for part in whole),
        ((part, _one_scale(width, height, _MORE_EXTENTS)) for part in whole),
    )
    best: Mark | None = None
    for part, extents in looks:
        found = part.search(extents)
        if best is None or found.score > best.score:
            best = found
        if best.score >= _SURE:
            break
    return best


def _one_scale(width: int, height: int, extents: Sequence[float]) -> list[_Extents]:
    """Extents of a picture that was cut, and resized with its shape kept."""
    longer = max(width, height)
    return [(height / longer * extent, width / longer * extent) for extent in extents]


def _cells(pixels: Pixels) -> Iterator[tuple[_Part, _Extents]]:
    """The first faces of each grid that a picture of this shape may be, and how many faces they measure."""
    height, width, _ = pixels.shape
    for columns in range(2, 9):
        for rows in (columns, columns - 1):
            across, down = _cell(width, columns), _cell(height, rows)
            if min(across, down) < _SMALLEST or not 0.97 < across / down < 1.03:
                continue
            part_width, part_height = round(across), round(down)
            for column in range(min(columns, _CELLS)):
                left = round(column * across * 33 / 32)
                yield _Part.of(pixels, left, 0, part_width, part_height), (part_height / down, part_width / across)


def _cell(length: int, count: int) -> float:
    """Side of a face where `count` fill a length, with gaps of a 32nd between."""
    return length * 32 / (33 * count - 1)


@dataclass(frozen=True)
class _Part:
    """A part of a picture in which one face is sought."""

    field: Floats  # brightness without what is smooth, evened out
    left: int
    top: int
    width: int
    height: int

    @classmethod
    def of(cls, pixels: Pixels, left: int, top: int, width: int, height: int) -> _Part:
        cut = pixels[top : top + height, left : left + width]
        small = grey(cut, min(width, _SIDE), min(height, _SIDE))
        small = small - box_mean(small, _REACH)
        return cls(small / np.sqrt(box_mean(small * small, _REACH) + 1.0), left, top, width, height)

    def search(self, extents: Sequence[_Extents]) -> Mark:
        """The best place of a face; extents are height and width of the part in faces."""
        best = max(self._judge(*place, 1 / 3 / _SIDE) for place in self._scan(extents))
        for step in (0.5, 0.25, 0.125) if _REFINED[0] < best[0] < _REFINED[1] else ():
            best = self._refine(best, step)
        score, payload, (down, across), (y, x) = best
        # Chernoff's bound for a sum of cosines of random phases, whatever their weights: chance <= exp(-score²/2).
        log10 = min(0.0, _LOG10_TRIALS - score * score / 2 / math.log(10))
        width, height = self.width / across, self.height / down
        left, top = self.left + self.width / 2 - x * width, self.top + self.height / 2 - y * height
        return Mark(payload, score, log10, (float(left), float(top), float(width), float(height)))

    def _scan(self, extents: Sequence[_Extents]) -> list[tuple[_Extents, tuple[float, float]]]:
        """The pairs of extents and shifts at which the waves that all marks share agree best."""
        waves, best = carriers(), []
        for down in sorted({down for down, _ in extents}):
            seen = [across for one, across in extents if one == down]
            found = self._waves(down, seen)[:, waves.sync]
            power = np.sqrt(np.square(np.abs(found)).sum(axis=1) / 2) + 1e-9
            # The face's place in the picture is minus the place in the field.
            fields = waves.fields(found * waves.phases[waves.sync].conj(), _SIDE, waves.sync).reshape(len(seen), -1)
            for across, places, scale in zip(seen, fields, power, strict=True):
                at = int(places.argmax())
                shift = (-(at // _SIDE) / _SIDE % 1.0, -(at % _SIDE) / _SIDE % 1.0)
                best.append((float(places[at] / scale), (down, across), shift))
        return [(pair, shift) for _, pair, shift in sorted(best)[-_CANDIDATES:]]

    def _refine(self, best: _Found, step: float) -> _Found:
        """A better place near, with extents up to `step` of the scan's steps away."""
        _, _, (down, across), shift = best
        away = step * (_EXTENTS[1] - _EXTENTS[0])
        near = [(down + y * away, across + x * away) for y in (-1, 0, 1) for x in (-1, 0, 1)]
        return max(best, *(self._judge(extents, shift, step / 3 / _SIDE) for extents in near))

    def _judge(self, extents: _Extents, shift: tuple[float, float], step: float) -> _Found:
        """Score and payload of a face with these extents, at the best of 9 shifts up to `step` faces away."""
        waves = carriers()
        found = self._waves(extents[0], [extents[1]])[0]
        shifts = [(shift[0] + y * step, shift[1] + x * step) for y in (-1, 0, 1) for x in (-1, 0, 1)]
        turns = turned(-np.asarray(shifts) @ [waves.down, waves.across])
        total, payloads = waves.read((turns * (found * waves.phases.conj())).real)
        best = int(total.argmax())
        score = float(total[best] / (np.sqrt(np.square(np.abs(found)).sum() / 2) + 1e-9))
        return score, int(payloads[best]), extents, shifts[best]

    def _waves(self, down: float, acrosses: Sequence[float]) -> Waves:
        """The part's waves, (widths, waves), where it is `down` faces high and so many wide; weaker where strong."""
        waves, (height, width) = carriers(), self.field.shape
        cycles = np.arange(-HIGH, HIGH + 1)
        rows, columns = (np.arange(n) / n + 0.5 / n - 0.5 for n in (height, width))
        one = turned(np.outer(cycles, -rows * down))
        other = turned(np.outer(-columns, np.outer(acrosses, cycles[HIGH:])))
        product = one @ (self.field @ other)
        found = product.reshape(len(one), len(acrosses), HIGH + 1)[waves.down + HIGH, :, waves.across].T
        return np.asarray(found / np.sqrt(np.abs(found) + 1e-9), np.complex64)
