"""Waveform to speech: WebRTC voice activity detection (SPEC section 1)."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
import webrtcvad
from numpy.typing import NDArray

from s2f_edge.features import PCM_SCALE, SAMPLE_RATE, Float32s

AGGRESSIVENESS = 2
FRAME = SAMPLE_RATE * 20 // 1000  # 320 samples = 20 ms
RING_FRAMES = 2  # 50 ms of padding hold two whole frames
RING_SHARE = 0.9  # a segment opens (closes) when more of the ring than this is voiced (unvoiced)


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
    """

    def __init__(self, gain: float = 1.0) -> None:
        self._vad = webrtcvad.Vad(AGGRESSIVENESS)
        self._gain = np.float32(gain * PCM_SCALE)
        self._rest = np.zeros(0, np.float32)
        self._ring: deque[tuple[bytes, Float32s]] = deque(maxlen=RING_FRAMES)
        self._open = False
        self._position = 0  # first sample of the next frame
        self._segments: list[list[int]] = []

    def push(self, samples: Float32s) -> Float32s:
        """float32 (n,) -> float32 (m,), the voiced samples among those seen so far."""
        x = np.concatenate([self._rest, np.asarray(samples, np.float32)])
        count = max(0, (len(x) - 1) // FRAME)  # strictly inside: the published loop's `<`
        pcm = np.rint(np.clip(x[: count * FRAME] * self._gain, -32768, 32767)).astype("<i2").tobytes()
        voiced: list[Float32s] = []
        for i in range(count):
            self._step(pcm[i * FRAME * 2 : (i + 1) * FRAME * 2], x[i * FRAME : (i + 1) * FRAME], voiced)
        self._rest = x[count * FRAME :].copy()
        return np.concatenate(voiced) if voiced else np.zeros(0, np.float32)

    def _step(self, pcm: bytes, frame: Float32s, voiced: list[Float32s]) -> None:
        self._ring.append((pcm, frame))
        self._position += FRAME
        speech_frames = sum(self._vad.is_speech(heard, SAMPLE_RATE) for heard, _ in self._ring)
        if self._open:
            voiced.append(frame)
            self._segments[-1][1] = self._position
            if len(self._ring) - speech_frames > RING_SHARE * RING_FRAMES:
                self._open = False
                self._ring.clear()
        elif speech_frames > RING_SHARE * RING_FRAMES:
            self._open = True
            voiced.extend(kept for _, kept in self._ring)
            self._segments.append([self._position - FRAME * len(self._ring), self._position])
            self._ring.clear()

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


QUIET_DBFS = -40.0  # below, the detector loses speech: it keeps 87 % at -20, 76 % at -50, 52 % at -60 dBFS
HEARING_DBFS = -26.0
MAX_GAIN_DB = 50.0


def hearing_gain(samples: Float32s) -> float:
    """The gain with which the detector should hear a recording that begins so.

    Args:
        samples: float32, (n,), 16 kHz: the first block, some seconds.

    Returns:
        1.0 for a recording of usual level, which is then treated exactly as the published
        pipeline does; up to 50 dB more for a quiet one. Digital silence gets 1.0.
    """
    count = len(samples) // FRAME
    if count == 0:
        return 1.0
    power = np.square(samples[: count * FRAME].reshape(count, FRAME)).mean(axis=1)
    level = 10.0 * np.log10(max(float(np.percentile(power, 90)), 1e-20))
    if level >= QUIET_DBFS or level < HEARING_DBFS - MAX_GAIN_DB - 20.0:
        return 1.0
    return float(10.0 ** (min(HEARING_DBFS - level, MAX_GAIN_DB) / 20.0))
