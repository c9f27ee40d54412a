"""How good the picture of a speaking face is: sharp at the mouth, still where nothing moves, and one person.

The faces are those of voices, moved by points of real speakers or by what a network says of their sound.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from s2f_edge.errors import AudioError
from s2f_edge.hearing.audio import read
from s2f_edge.picture import Pixels
from s2f_edge.pipeline import Speech2Face
from s2f_edge.talk.animator import Animator
from s2f_edge.talk.gestures import Gestures
from s2f_edge.talk.motion import motion_of
from s2f_edge.talk.talk import TalkSettings, parts
from s2f_train.data.mouths import BOX
from s2f_train.data.store import Sample, Store
from s2f_train.data.talks import SOUND
from s2f_train.evaluate.judging import FaceFeatures
from s2f_train.evaluate.tables import Column, Section, Table

OPENED = 0.06  # units of the distance of the eyes between the lips: from here on, the mouth is taken to be open
QUIET = (slice(0, 96), slice(0, 256))  # rows and columns of a frame that no mouth moves: hair, forehead, ground
EVERY = 5  # frames from one that the recogniser sees to the next
PICTURED = 12  # clips at most, as many of each speaker as there can be
NOTE = (
    "The face of each clip's own voice, moved by its sound. Mouth: sharpness around the open mouth, as a share of the "
    "still's. Flicker: mean change from frame to frame above the eyes, in levels of 256, with head, lids "
    "and brows at rest. Identity: cosine of the recogniser's embeddings of the frames with the still's."
)


@dataclass(frozen=True)
class PictureFigures:
    """Figures of one face and one recording.

    Attributes:
        sharpness: of the mouth while it is open, as a share of the still's.
        flicker: mean change from frame to frame, in levels of 256, where nothing moves if the head does not.
        identity: least and median cosine of the recogniser's embeddings of frames with that of the still.
    """

    sharpness: float
    flicker: float
    identity: tuple[float, float]


def frames(animator: Animator, offsets: NDArray[np.float32], gestures: Gestures) -> Iterator[Pixels]:
    """Every frame of a video, uint8 (256, 256, 3), for offsets (frames, 68, 2)."""
    for row in offsets:
        yield animator.frame(row, gestures.next(row))


def picture_figures(
    animator: Animator, offsets: NDArray[np.float32], recogniser: FaceFeatures, seed: int = 0
) -> PictureFigures:
    """Figures of a face that is moved by offsets, (frames, 68, 2); the first frame is the still."""
    moving = list(frames(animator, offsets, Gestures(seed)))
    calm = list(frames(animator, offsets, Gestures(seed, head=0.0, blink=0.0, brows=0.0)))
    opened = offsets[:, 66, 1] - offsets[:, 62, 1] > OPENED
    sharp = [mouth_sharpness(frame) for frame, is_open in zip(calm, opened, strict=True) if is_open]
    steps = [np.abs(b[QUIET].astype(int) - a[QUIET]).mean() for a, b in pairwise(calm)]
    seen = [_unit(recogniser.look(frame)[:-1]) for frame in moving[::EVERY]]
    alike = [float(seen[0] @ each) for each in seen[1:]]
    return PictureFigures(
        float(np.mean(sharp)) / mouth_sharpness(calm[0]) if sharp else float("nan"),
        float(np.mean(steps)) if steps else 0.0,
        (min(alike), float(np.median(alike))) if alike else (float("nan"), float("nan")),
    )


def mouth_sharpness(frame: Pixels) -> float:
    """Mean size of the differences of neighbouring pixels around the mouth, in levels of 256."""
    x, y, width, height = BOX
    middle = frame[y + height // 4 : y + 3 * height // 4, x + width // 4 : x + 3 * width // 4].mean(axis=2)
    return float(np.abs(np.diff(middle, axis=0)).mean() + np.abs(np.diff(middle, axis=1)).mean())


def sheet(rows: Sequence[Sequence[Pixels]], sounds: Sequence[NDArray[np.float32]], wave: int = 48) -> Pixels:
    """Frames of several faces side by side, each row under the waveform of its sound: uint8 (h, w, 3).

    Args:
        rows: of frames of one size, the same number in each.
        sounds: float32 (n,), what is spoken from the first frame of a row to its last.
        wave: height of a waveform in pixels.
    """
    made = []
    for row, sound in zip(rows, sounds, strict=True):
        width = sum(frame.shape[1] for frame in row)
        made += [_waveform(sound, width, wave), np.concatenate(list(row), axis=1)]
    return np.concatenate(made)


def _waveform(sound: NDArray[np.float32], width: int, height: int) -> Pixels:
    """Loudest and softest samples of each column, dark on white."""
    drawn = np.full((height, width, 3), 255, np.uint8)
    top = max(float(np.abs(sound).max()), 1e-6) if len(sound) else 1.0
    for column, part in enumerate(np.array_split(sound, width)):
        if len(part):
            low, high = (round((1 - float(end) / top) / 2 * (height - 1)) for end in (part.max(), part.min()))
            drawn[low : high + 1, column] = 60
    return drawn


def _unit(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-9), np.float32)


def picture_section(
    name: str, model: Speech2Face, store: Store, samples: Sequence[Sample], recogniser: FaceFeatures
) -> Section:
    """Figures of the pictures that a pack makes of clips, each by the face of its own voice."""
    network = model.motion_network()
    rows = []
    for sample in _of_every_speaker(samples)[:PICTURED]:
        sound = store.read(sample, SOUND)
        try:
            result = model.infer(sound, seed=0)
        except AudioError:  # of too little speech no face is made
            continue
        offsets = motion_of(network, read(sound).samples)
        figures = picture_figures(parts(model, result, TalkSettings()).animator, offsets, recogniser)
        rows.append(
            {
                "clip": sample.key,
                "mouth": figures.sharpness,
                "flicker": figures.flicker,
                "least": figures.identity[0],
                "median": figures.identity[1],
            }
        )
    columns = [
        Column("clip", "clip", "text"),
        Column("mouth", "mouth", "number", 2),
        Column("flicker", "flicker", "number", 3, "lower"),
        Column("least", "identity, least", "number", 3, "higher"),
        Column("median", "identity, median", "number", 3, "higher"),
    ]
    return Section(f"Picture of {name}", NOTE, [Table("pictures", f"{len(rows)} clips", "", columns, rows)])


def _of_every_speaker(samples: Sequence[Sample]) -> list[Sample]:
    """The samples, the first of every speaker before the second of any."""
    seen: dict[str, int] = {}
    turns = []
    for sample in samples:
        seen[sample.identity] = seen.get(sample.identity, -1) + 1
        turns.append(seen[sample.identity])
    return [samples[i] for i in np.argsort(turns, kind="stable")]
