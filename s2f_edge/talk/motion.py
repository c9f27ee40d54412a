"""From sound to the motion of a face: how far each point is from where it rests, 25 times a second."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from s2f_edge.errors import ManifestError
from s2f_edge.hearing.fbank import FBANK_BINS, FbankStream
from s2f_edge.hearing.features import HOP, SAMPLE_RATE, Float32s
from s2f_edge.pack.network import Network
from s2f_edge.pack.pack import Pack

FRAME_RATE = 25
POINTS = 68  # landmarks of a face
_STEP = SAMPLE_RATE // FRAME_RATE  # samples of a frame
PER_FRAME = _STEP // HOP  # feature frames of a frame
# Frames that are made at a time. They are always the same ones, of the same pieces of sound, and so to the last bit
# what the whole gives: a product of matrices rounds otherwise with other rows.
_BLOCK = 5


class MotionNetwork:
    """The motion network of a pack, loaded; several recordings may be moved with it one after the other.

    Args:
        pack: which has one.
        device, threads: see `Network`.

    Raises:
        ManifestError: the pack has none.
    """

    def __init__(self, pack: Pack, device: str = "cpu", threads: int | None = 1) -> None:
        info = pack.manifest.motion
        if info is None:
            raise ManifestError(
                f"The pack {pack.folder} has no motion network, so its faces do not speak. Take a pack with one, such "
                "as the default pack."
            )
        self.before, self.after = info.before, info.after
        self._network = Network(pack, info.file, device, threads)

    def run(self, features: Float32s) -> Float32s:
        """float32 (before + 4 n + after, 80) to (n, 68, 2)."""
        return np.asarray(self._network.run({"features": features[None]})["offsets"][0], np.float32)


class Motion:
    """The motion of one recording; the result does not depend on how it is cut into blocks.

    Frame k lies at k/25 s, and there are as many frames as begin inside the recording. A frame is given once the sound
    that it needs is there, `delay_s` later at most. What is held does not grow with the recording.

    Args:
        network: of the pack.
        gain: of a quiet recording, see `vad.hearing_gain`.
    """

    def __init__(self, network: MotionNetwork, gain: float = 1.0) -> None:
        self._network = network
        self._gain = np.float32(gain)
        self._stream = FbankStream()
        self._rest = np.zeros(0, np.float32)  # not yet a block
        self._features = np.zeros((0, FBANK_BINS), np.float32)  # from `before` ahead of the next frame on
        self._samples = self._done = 0

    @property
    def delay_s(self) -> float:
        """From the sound of a frame to the frame, without the time of computing."""
        return (2 * _BLOCK * PER_FRAME + self._network.after) * HOP / SAMPLE_RATE

    def push(self, samples: Float32s) -> Float32s:
        """The next sound, float32 (n,), mono, 16 kHz, in [-1, 1], to the offsets of the frames that are ready.

        Returns:
            float32 (frames, 68, 2): from the neutral face with closed lips, in units of the distance between the eyes'
            centres, x to the right and y down in the upright frame of the face.
        """
        self._samples += len(samples)
        sound = np.concatenate([self._rest, np.asarray(samples, np.float32)])
        whole = len(sound) // (_BLOCK * _STEP) * _BLOCK * _STEP
        self._rest = sound[whole:].copy()
        moved = [np.zeros((0, POINTS, 2), np.float32)]
        for start in range(0, whole, _BLOCK * _STEP):
            self._add(self._stream.push(sound[start : start + _BLOCK * _STEP] * self._gain))
            ready = (len(self._features) - self._network.before - self._network.after) // PER_FRAME
            moved.append(self._blocks(max(0, ready) // _BLOCK))
        return np.concatenate(moved)

    def finish(self) -> Float32s:
        """The frames that are left; the last sound counts as if it went on."""
        self._add(self._stream.push(self._rest * self._gain))
        self._add(self._stream.finish())
        self._rest = self._rest[:0]
        left = -(-self._samples // _STEP) - self._done
        if left <= 0:
            return np.zeros((0, POINTS, 2), np.float32)
        blocks = -(-left // _BLOCK)
        wanted = self._network.before + blocks * _BLOCK * PER_FRAME + self._network.after
        missing = max(0, wanted - len(self._features))
        self._features = np.concatenate([self._features, np.repeat(self._features[-1:], missing, axis=0)])
        return self._blocks(blocks)[:left]

    def _add(self, features: Float32s) -> None:
        if len(features) and not len(self._features):  # the first sound counts as if it had gone on before
            features = np.concatenate([np.repeat(features[:1], self._network.before, axis=0), features])
        self._features = np.concatenate([self._features, features])

    def _blocks(self, count: int) -> Float32s:
        """The next so many blocks of frames."""
        network, step = self._network, _BLOCK * PER_FRAME
        length = network.before + step + network.after
        moved = [network.run(self._features[i * step : i * step + length]) for i in range(count)]
        if count:
            self._features = self._features[count * step :].copy()
            self._done += count * _BLOCK
        return np.concatenate([np.zeros((0, POINTS, 2), np.float32), *moved])


def motion_of(network: MotionNetwork, samples: NDArray[np.float32], gain: float = 1.0) -> Float32s:
    """The motion of a whole recording, float32 (frames, 68, 2), see `Motion`."""
    motion = Motion(network, gain)
    return np.concatenate([motion.push(samples), motion.finish()])
