"""Windows of talking heads for training: filter banks of sound that was changed, and the motion that goes with it.

Made once for all steps of a fit, since reading and changing sound takes longer than a step. Sound that is played faster
is of another throat and another pitch, and its motion is as much faster.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

from s2f_edge.hearing.fbank import FBANK_BINS, fbank
from s2f_edge.hearing.features import SAMPLE_RATE, Float32s
from s2f_edge.talk.motion import FRAME_RATE
from s2f_train.config import MotionSettings
from s2f_train.data.augment import augment
from s2f_train.data.store import Sample, Store
from s2f_train.data.talks import CLOSED, Speaker, Talk, frames_at, opening, read_talk
from s2f_train.folders import written_whole
from s2f_train.gate.sounds import fft_shape

log = logging.getLogger(__name__)

FRAMES = 75  # of a window: three seconds
NAMES = ("features", "offsets", "masks")
VALID, SILENT, CLOSING = range(3)  # columns of the masks


@dataclass(frozen=True)
class TalkWindows:
    """Windows of `FRAMES` video frames.

    Attributes:
        features: float16 (n, before + 4 frames + after, 80).
        offsets: float16 (n, frames, 136), of the size that all speakers have together.
        masks: bool (n, frames, 3): there is a frame; it is silent; lips close in it for p, b or m.
        of: int64 (n,), the number of the talk.
    """

    features: NDArray[np.float16]
    offsets: NDArray[np.float16]
    masks: NDArray[np.bool_]
    of: NDArray[np.int64]

    @classmethod
    def read(cls, folder: Path) -> TalkWindows:
        features, offsets, masks = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in NAMES)
        return cls(features, offsets, masks, np.load(folder / "of.npy"))

    @classmethod
    def made_up(cls, context: tuple[int, int]) -> TalkWindows:
        """One of zeros, for a step whose cost is to be told."""
        return cls(
            np.zeros((1, sum(context) + 4 * FRAMES, FBANK_BINS), np.float16),
            np.zeros((1, FRAMES, 136), np.float16),
            np.ones((1, FRAMES, 3), bool),
            np.zeros(1, np.int64),
        )


def with_context(features: Float32s, frames: int, context: tuple[int, int]) -> Float32s:
    """Features for so many video frames, whose ends are repeated as far as the network looks."""
    before, after = context
    wanted = np.arange(-before, 4 * frames + after)
    return features[np.clip(wanted, 0, len(features) - 1)]


def talk_windows(
    store: Store, talks: list[Sample], speakers: dict[str, Speaker], context: tuple[int, int], settings: MotionSettings
) -> TalkWindows:
    """Makes the windows, or takes them from an earlier fit with the same talks and settings."""
    facts = {name: value for name, value in asdict(settings).items() if name in _MATTERS}
    digest = hashlib.sha256(json.dumps([store.facts, [s.key for s in talks], context, facts]).encode())
    folder = settings.cache / f"talks-{digest.hexdigest()[:20]}"
    if not folder.exists():
        log.info("making %d versions of %d talks", settings.versions, len(talks))
        amount = float(np.exp(np.mean([np.log(speaker.amount) for speaker in speakers.values()])))
        with written_whole(folder, lambda _: False) as made:
            _make(made, store, talks, speakers, amount, context, settings)
    return TalkWindows.read(folder)


_MATTERS = {
    "seed", "versions", "speed_share", "speed", "tilt_share", "noise_share", "noise_db", "gain_share",
    "telephone_share", "room_share", "codec_share",
}  # fmt: skip


def _make(
    folder: Path, store: Store, talks: list[Sample], speakers: dict[str, Speaker], amount: float,
    context: tuple[int, int], settings: MotionSettings,
) -> None:  # fmt: skip
    # How many windows there will be is known only when the sound was played faster: rooms are made for the most.
    counts = [-(-round(s.seconds / settings.speed[0] * FRAME_RATE + 1) // FRAMES) for s in talks]
    most = sum(counts) * settings.versions
    shapes = {
        "features": ((most, sum(context) + 4 * FRAMES, FBANK_BINS), np.float16),
        "offsets": ((most, FRAMES, 136), np.float16),
        "masks": ((most, FRAMES, 3), np.bool_),
    }
    arrays = {
        name: np.lib.format.open_memmap(folder / f"{name}.npy", "w+", dtype, shape)
        for name, (shape, dtype) in shapes.items()
    }
    of: list[int] = []
    for number, sample in enumerate(talks):
        speaker = speakers[sample.identity]
        talk = read_talk(store, sample, speaker)
        for version in range(settings.versions):
            rng = np.random.default_rng([settings.seed, number, version])
            for window in _windows(rng, talk, amount / speaker.amount, context, settings, version):
                for name, value in zip(NAMES, window, strict=True):
                    arrays[name][len(of)] = value
                of.append(number)
        if number % 100 == 99:
            log.info("%d of %d talks heard", number + 1, len(talks))
    np.save(folder / "of.npy", np.array(of))


def _windows(
    rng: np.random.Generator, talk: Talk, scale: float, context: tuple[int, int], s: MotionSettings, version: int
) -> list[tuple[Float32s, Float32s, NDArray[np.bool_]]]:
    """The windows of one version of a talk; the first version is the talk as it is."""
    sound, speed = talk.samples, 1.0
    if version and rng.random() < s.speed_share:
        speed = float(np.exp(rng.uniform(*np.log(s.speed))))
        sound = soxr.resample(sound, SAMPLE_RATE * speed, SAMPLE_RATE, "MQ")
    if version:
        if rng.random() < s.tilt_share:  # another microphone
            power, bend = rng.uniform(-1, 1), rng.uniform(300, 3000)
            tilted = fft_shape(sound.astype(np.float64), lambda hz: ((hz + bend) / bend) ** power)
            sound = (tilted * (sound.std() / (tilted.std() + 1e-9))).astype(np.float32)
        sound = augment(rng, sound, s)
    times = np.arange(int((len(talk.offsets) - 1) / speed) + 1) * speed
    low = np.minimum(times.astype(int), len(talk.offsets) - 1)
    high, part = np.minimum(low + 1, len(talk.offsets) - 1), (times - low)[:, None, None].astype(np.float32)
    offsets = scale * (talk.offsets[low] * (1 - part) + talk.offsets[high] * part)
    masks = np.ones((len(times), 3), bool)
    masks[:, SILENT] = talk.silent[low] & talk.silent[high]
    masks[:, CLOSING] = False
    gaps = opening(offsets)
    for time in talk.closures:
        near = frames_at(time / speed, len(times))
        if near and gaps[near.start : near.stop].min() < CLOSED:
            masks[near.start + int(gaps[near.start : near.stop].argmin()), CLOSING] = True
    count = -(-len(times) // FRAMES)
    fill = count * FRAMES - len(times)
    features = with_context(fbank(sound), count * FRAMES, context)
    offsets = np.concatenate([offsets.reshape(len(times), -1), np.zeros((fill, 136), np.float32)])
    masks = np.concatenate([masks, np.zeros((fill, 3), bool)])
    return [
        (features[4 * k : 4 * (k + FRAMES) + sum(context)], offsets[k : k + FRAMES], masks[k : k + FRAMES])
        for k in range(0, count * FRAMES, FRAMES)
    ]
