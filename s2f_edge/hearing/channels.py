"""Several channels to one: their mean, unless they cancel each other in it, or one of them drowns the voice."""

from __future__ import annotations

from typing import Any

import numpy as np

from s2f_edge.errors import InvalidSamplesError
from s2f_edge.hearing.features import Float32s

FULL_SCALE = 16.0  # float sound may overshoot 1 a little (lossy codecs do); far above, it is in another unit
AUDIBLE = 1e-3  # of the loudest channel's power: a channel below has no part in this
IN_PHASE = 0.9  # correlation from which channels add up
CLEARLY = 0.1  # more alike than as they are
SAME_SOUND = 0.7  # correlation at some delay from which two channels are one sound
LOOK_S = 2.0
ENOUGH = 3  # blocks in which channels were found to be as usual; after them only a weak mix is looked into
WEAK = 0.75  # of the power that channels without anything in common would have
STEADY_DB, LIVELY_DB = 6.0, 15.0  # between loud and quiet moments: noise and hum are below, speech is above


def peak_of(block: Any) -> float:
    """The largest magnitude; NaN where there is one."""
    return float(np.maximum(block.max(), -block.min())) if block.size else 0.0


class Mixer:
    """Blocks of one recording, one after the other. Once a channel is chosen, it stays until others sound better."""

    def __init__(self) -> None:
        self.said = ""  # which channel was taken, and why
        self._chosen: list[int] | None = None
        self._fine = 0  # blocks with a voice in which nothing was wrong

    def __call__(self, block: Any, rate: int) -> Float32s:
        """float32 (n, channels) -> float32 (n,).

        Raises:
            InvalidSamplesError: values far beyond full scale.
        """
        peak = peak_of(block)
        if np.isfinite(peak) and peak > FULL_SCALE:
            raise InvalidSamplesError(
                f"Float samples reach {peak:.0f}; they must be in [-1, 1]. Divide by their full scale."
            )
        channels = block.shape[1]
        if channels == 1:
            return np.ascontiguousarray(block[:, 0])
        if peak > 0.0 and np.isfinite(peak):
            mixed = np.asarray(block.mean(axis=1, dtype=np.float32))
            self._look(block, mixed, rate)
            if self._chosen is None:
                return mixed
        if self._chosen is None or max(self._chosen) >= channels:
            return np.asarray(block.mean(axis=1, dtype=np.float32))
        return np.asarray(block[:, self._chosen].mean(axis=1, dtype=np.float32))

    def _look(self, block: Any, mixed: Any, rate: int) -> None:
        if self._fine >= ENOUGH:
            some = block[::16].ravel()
            if np.dot(mixed, mixed) / len(mixed) > WEAK * np.dot(some, some) / len(some) / block.shape[1]:
                return
        powers = np.einsum("ij,ij->j", block, block) / len(block)
        heard = np.flatnonzero(powers > AUDIBLE * powers.max())
        if len(heard) < 2:
            return
        moving = [_liveliness(block[:, channel], rate) for channel in heard]
        lively = [int(channel) for channel, db in zip(heard, moving, strict=True) if db > LIVELY_DB]
        if lively and min(moving) < STEADY_DB:
            best, why = max(lively, key=lambda channel: powers[channel]), "another one is steady noise"
        elif _cancels(block, heard, powers, rate):
            best, why = int(powers.argmax()), "they cancel each other when mixed"
        else:
            self._fine += bool(lively)
            return
        if self._chosen is None or self._chosen[0] not in heard:
            self._chosen = [best]
            self.said = f"Of {block.shape[1]} channels, number {best + 1} was taken: {why}."


def _liveliness(channel: Any, rate: int) -> float:
    """How much louder the loud moments (20 ms) of a channel are than the quiet ones, in dB."""
    step = rate // 50
    frames = channel[: len(channel) // step * step].reshape(-1, step)
    if len(frames) < 25:
        return LIVELY_DB / 2 + STEADY_DB / 2  # too short to tell
    levels = np.sort(np.einsum("ij,ij->i", frames, frames))
    low, high = levels[len(levels) // 10], levels[len(levels) * 9 // 10]
    return float(10.0 * np.log10((high + 1e-20) / (low + 1e-20)))


def _cancels(block: Any, heard: Any, powers: Any, rate: int) -> bool:
    """Whether channels are one sound, upside down or later: their mean has holes, or is nothing."""
    first = int(powers.argmax())
    length = min(len(block), int(LOOK_S * rate))
    loudest = 0
    for other in (int(channel) for channel in heard if channel != first):
        together = np.dot(block[:, first], block[:, other]) / np.sqrt(powers[first] * powers[other]) / len(block)
        if together >= IN_PHASE:
            continue
        if not loudest and len(block) > length:
            pieces = block[: len(block) // length * length, first].reshape(-1, length)
            loudest = int(np.einsum("ij,ij->i", pieces, pieces).argmax()) * length + 1
        begin = max(0, loudest - 1)
        a, b = block[begin : begin + length, first], block[begin : begin + length, other]
        size = 1 << (2 * length - 1).bit_length()
        shifted = np.fft.irfft(np.fft.rfft(a, size) * np.conj(np.fft.rfft(b, size)), size)
        shifted /= np.sqrt(np.dot(a, a) * np.dot(b, b)) + 1e-20
        at = int(np.abs(shifted).argmax())
        if abs(shifted[at]) >= max(SAME_SOUND, shifted[0] + CLEARLY):
            return True
    return False
