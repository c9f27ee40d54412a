"""What a face does while it speaks that the sound does not say: it blinks, moves its head a little, raises its brows.

The same seed gives the same gestures. The page has a twin of this module: service/web/device/gestures.js.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from s2f_edge.errors import UsageError
from s2f_edge.hearing.features import Float32s
from s2f_edge.pack.roles import POSE
from s2f_edge.terms import MAX_STRENGTH

BEGIN_S = 0.2  # from the still face to one that speaks
CLOSE_S, CLOSED_S, OPEN_S = 0.08, 0.04, 0.16  # of a blink
BETWEEN_S = (2.0, 6.0)  # blinks; people who talk blink about 17 times a minute
# Of the head: how far each part of the pose goes, and the slowest and fastest of its three waves in Hz.
SWAY = (0.012, 0.009, 0.022, 0.006, 0.004)
WAVES = (0.11, 0.47)
NOD, RAISE = 0.010, 1.0  # of a stressed sound: of the pitch, and of the brows
STRESS_S, USUAL_S, ACTIVE_S = 0.12, 1.2, 0.6  # over which openings of the mouth are averaged
STRESSED = 0.06  # opening over the usual that counts as full stress, in units of the distance of the eyes


class Gestures:
    """Gives the pose of one frame after the other.

    Args:
        seed: of the times of blinks and of the way of the head.
        head, blink, brows: from 0, none of it, over 1, to 2, twice as much (blinks: twice as often).
        fps: frames in a second.

    Raises:
        UsageError: one of them is out of its range.
    """

    def __init__(
        self, seed: int = 0, head: float = 1.0, blink: float = 1.0, brows: float = 1.0, fps: float = 25.0
    ) -> None:
        for name, value in (("head", head), ("blink", blink), ("brows", brows)):
            if not 0.0 <= value <= MAX_STRENGTH:
                raise UsageError(f"{name} is {value:g}; it must be from 0 to {MAX_STRENGTH}.")
        self._head, self._blink, self._brows, self._fps = head, blink, brows, fps
        self._random = uniform_numbers(seed)
        self._waves = [[self._wave() for _ in range(3)] for _ in SWAY]
        self._frame = 0
        self._fast = self._usual = self._active = 0.0
        self._next_blink = self._between() / 2

    def next(self, offsets: Float32s) -> Float32s:
        """The pose of the next frame, float32 (8,), see `roles.POSE`; that of the first is 0 but for `speaking`.

        Args:
            offsets: float32 (68, 2), of the points of that frame: an open mouth is what stress is read from.
        """
        t = self._frame / self._fps
        self._frame += 1
        opening = max(0.0, float(offsets[66, 1] - offsets[62, 1]))
        self._fast += (opening - self._fast) * self._share(STRESS_S)
        self._usual += (opening - self._usual) * self._share(USUAL_S)
        self._active += (float(opening > 0.02) - self._active) * self._share(ACTIVE_S)
        stress = min(1.0, max(0.0, (self._fast - self._usual) / STRESSED))
        begun = _smooth(t / 1.0)
        sway = self._head * begun * (0.4 + 0.6 * self._active)
        pose = np.zeros(len(POSE), np.float32)
        for i, (far, waves) in enumerate(zip(SWAY, self._waves, strict=True)):
            pose[i] = sway * far * sum(math.sin(speed * t + phase) - math.sin(phase) for speed, phase in waves) / 3
        pose[1] += self._head * begun * NOD * stress
        pose[5] = self._lids(t)
        pose[6] = self._brows * begun * RAISE * stress
        pose[7] = _smooth(t / BEGIN_S)
        return pose

    def _wave(self) -> tuple[float, float]:
        """Radians in a second, and the phase."""
        slow, fast = WAVES
        return 2 * math.pi * (slow + (fast - slow) * next(self._random)), 2 * math.pi * next(self._random)

    def _lids(self, t: float) -> float:
        if not self._blink:
            return 0.0
        since = t - self._next_blink
        if since < 0.0:
            return 0.0
        if since < CLOSE_S:
            return _smooth(since / CLOSE_S)
        if since < CLOSE_S + CLOSED_S:
            return 1.0
        if since < CLOSE_S + CLOSED_S + OPEN_S:
            return 1.0 - _smooth((since - CLOSE_S - CLOSED_S) / OPEN_S)
        self._next_blink += self._between()
        return 0.0

    def _between(self) -> float:
        """Seconds from one blink to the next: short pauses are more frequent than long ones."""
        low, high = BETWEEN_S
        return (low + (high - low) * math.pow(next(self._random), 1.6)) / max(self._blink, 1e-9)

    def _share(self, seconds: float) -> float:
        return 1.0 - math.exp(-1.0 / (seconds * self._fps))


def uniform_numbers(seed: int) -> Iterator[float]:
    """Numbers from 0 to 1, the same in Python and in JavaScript (mulberry32)."""
    state = seed & 0xFFFFFFFF
    while True:
        state = (state + 0x6D2B79F5) & 0xFFFFFFFF
        mixed = ((state ^ state >> 15) * (1 | state)) & 0xFFFFFFFF
        mixed = (mixed + ((mixed ^ mixed >> 7) * (61 | mixed) & 0xFFFFFFFF) & 0xFFFFFFFF) ^ mixed
        yield ((mixed ^ mixed >> 14) & 0xFFFFFFFF) / 4294967296


def _smooth(x: float) -> float:
    x = min(1.0, max(0.0, x))
    return x * x * (3 - 2 * x)
