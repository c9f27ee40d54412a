"""Waveform to speech: WebRTC voice activity detection (docs/spec.md, section 1)."""

from __future__ import annotations

from dataclasses import dataclass

import _webrtcvad
import numpy as np
from numpy.typing import NDArray

from s2f_edge.hearing.features import PCM_SCALE, SAMPLE_RATE, Float32s

AGGRESSIVENESS = 2
FRAME = SAMPLE_RATE * 20 // 1000  # 320 samples = 20 ms
RING_FRAMES = 2  # 50 ms of padding hold two whole frames; 90 % of them is both


@dataclass(frozen=True)
class Speech:
    """The voiced part of a waveform.

    Attributes:
        samples: float32, (n,), 16 kHz: the voiced segments, joined.
        segments: int64, (k, 2): start and end of each in the waveform, in samples.
    """

    samples: Float32s
    segments: NDArray[np.int64]

    @property
    def seconds(self) -> float:
        return len(self.samples) / SAMPLE_RATE


class Detector:
    """WebRTC's detector, by the C module of webrtcvad: the Python one takes 20 ms to look up its own version."""

    def __init__(self) -> None:
        self._state = _webrtcvad.create()
        _webrtcvad.init(self._state)
        _webrtcvad.set_mode(self._state, AGGRESSIVENESS)

    def is_speech(self, pcm: bytes, sample_rate: int) -> bool:
        """Whether a frame of 10, 20 or 30 ms, int16 in the machine's order, is speech; earlier frames count."""
        return bool(_webrtcvad.process(self._state, sample_rate, pcm, len(pcm) // 2))


class SpeechFinder:
    """Finds voiced segments in a signal that arrives in blocks.

    `push` gives the samples that are known to belong to a segment by now; the result does
    not depend on how the signal is cut. Follows the collector of the published pipeline
    sample by sample: frames of 20 ms, a ring of two; a segment opens when the whole ring is
    voiced, with the ring's frames in it, and closes when the whole ring is unvoiced; a
    frame that ends with the last sample of the signal is not looked at. The detector has a
    memory and hears every frame once for each ring that it is in, so twice: with one
    hearing, segments come out otherwise.

    Args:
        gain: factor for what the detector hears (not for what is given back). The detector
            has an absolute threshold, so very quiet recordings need one above 1.
        start: where the signal begins in the recording, in samples; segments count from the recording's beginning.
        before: float32, (n,): sound before it, to which the detector gets used: it takes the first of any for speech.
    """

    def __init__(self, gain: float = 1.0, start: int = 0, before: Float32s | None = None) -> None:
        self._vad = Detector()
        self._gain = np.float32(gain * PCM_SCALE)
        self._rest = np.zeros(0, np.float32)
        self._before: tuple[bytes, Float32s] | None = None  # the ring's older frame
        self._open = False
        self._position = start  # first sample of the next frame
        self._segments: list[list[int]] = []
        if before is not None:
            pcm = self._pcm(before[len(before) % FRAME :])
            for at in range(0, len(pcm), 2 * FRAME):
                self._vad.is_speech(pcm[at : at + 2 * FRAME], SAMPLE_RATE)

    def _pcm(self, samples: Float32s) -> bytes:
        pcm: bytes = np.rint(np.clip(samples * self._gain, -32768, 32767)).astype("<i2").tobytes()
        return pcm

    def push(self, samples: Float32s) -> Float32s:
        """float32 (n,) -> float32 (m,), the voiced samples among those seen so far."""
        x = np.concatenate([self._rest, np.asarray(samples, np.float32)])
        count = max(0, (len(x) - 1) // FRAME)  # strictly inside: the published loop's `<`
        pcm = self._pcm(x[: count * FRAME])
        is_speech = self._vad.is_speech
        voiced: list[Float32s] = []
        older = self._before[0] if self._before else None
        begin = 0  # where an open segment goes on in x
        for start in range(0, count * FRAME, FRAME):
            heard = pcm[2 * start : 2 * (start + FRAME)]
            votes = -1 if older is None else is_speech(older, SAMPLE_RATE)
            votes += is_speech(heard, SAMPLE_RATE)  # of a ring that is not full it decides nothing, but is remembered
            full, older = older is not None, heard
            if full and votes == (0 if self._open else RING_FRAMES):
                self._open, older = not self._open, None
                if self._open:
                    if start == 0 and self._before:
                        voiced.append(self._before[1])
                    begin = max(0, start - FRAME)
                    self._segments.append([self._position + start - FRAME, 0])
                else:
                    voiced.append(x[begin : start + FRAME])
                    self._segments[-1][1] = self._position + start + FRAME
        end = count * FRAME
        if count:
            self._before = None if older is None else (older, x[end - FRAME : end].copy())
        if self._open:
            voiced.append(x[begin:end])
            self._segments[-1][1] = self._position + end
        self._position += end
        self._rest = x[end:].copy()
        return np.concatenate(voiced) if voiced else np.zeros(0, np.float32)

    @property
    def segments(self) -> NDArray[np.int64]:
        """int64, (k, 2): the segments so far, start and end in samples."""
        return np.array(self._segments, np.int64).reshape(-1, 2)


def find_speech(samples: Float32s, gain: float = 1.0) -> Speech:
    """The voiced part of a whole signal.

    Args:
        samples: float32, (n,), 16 kHz, in [-1, 1].
        gain: see `SpeechFinder`.
    """
    finder = SpeechFinder(gain)
    voiced = finder.push(samples)
    return Speech(voiced, finder.segments)


def parted(segments: NDArray[np.int64], spans: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Segments, parted by stretches of their joined samples.

    Args:
        segments: int64, (k, 2): start and end in the waveform, in samples.
        spans: int64, (m, 2): start and end of each stretch in the joined samples, in order.

    Returns:
        int64, (n, 2), twice: what is outside of the stretches, and what is in them.
    """
    if not len(spans):
        return segments, segments[:0]
    lengths = segments[:, 1] - segments[:, 0]
    starts = np.cumsum(lengths) - lengths
    edges = np.unique(np.concatenate([starts, [lengths.sum()], spans.ravel()]))
    at = edges[:-1]
    outside = np.searchsorted(spans[:, 0], at, "right") == np.searchsorted(spans[:, 1], at, "right")
    segment = np.searchsorted(starts, at, "right") - 1
    pieces: NDArray[np.int64] = np.stack([at, edges[1:]], axis=1) + (segments[:, 0] - starts)[segment][:, None]
    return pieces[outside], pieces[~outside]


QUIET_DBFS = -40.0  # below, the detector loses speech: it keeps 87 % at -20, 76 % at -50, 52 % at -60 dBFS
HEARING_DBFS = -26.0
MAX_GAIN_DB = 50.0
DEAD_DBFS = -90.0  # frames below are digital silence, and say nothing of the recording's level


def hearing_gain(samples: Float32s) -> float:
    """The gain with which the detector should hear a stretch of a recording.

    Args:
        samples: float32, (n,), 16 kHz.

    Returns:
        1.0 for sound of usual level, which is then treated exactly as the published
        pipeline does; up to 50 dB more for a quiet one. Digital silence gets 1.0.
    """
    return gain_of(level_of(samples))


def gain_of(level: float) -> float:
    """The gain for a level in dBFS."""
    if level >= QUIET_DBFS or level <= DEAD_DBFS:
        return 1.0
    return float(10.0 ** (min(HEARING_DBFS - level, MAX_GAIN_DB) / 20.0))


def level_of(samples: Float32s) -> float:
    """Level that a tenth of the frames reach, in dBFS; digital silence is left out."""
    count = len(samples) // FRAME
    powers = np.asarray(np.square(samples[: count * FRAME].reshape(count, FRAME)).mean(axis=1), np.float32)
    loud = powers[powers > 10.0 ** (DEAD_DBFS / 10.0)]
    if not len(loud):
        return -np.inf
    # np.percentile would do, and imports numpy.ma at its first call, which takes longer than all of this.
    ordered = np.sort(loud.astype(np.float64))
    below, share = divmod(0.9 * (len(ordered) - 1), 1.0)
    low, high = ordered[int(below)], ordered[min(int(below) + 1, len(ordered) - 1)]
    return 10.0 * float(np.log10(low + share * (high - low)))
