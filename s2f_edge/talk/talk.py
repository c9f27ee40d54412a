"""A face that says a recording: its frames, one after the other, and the files that are made of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from s2f_edge.errors import PackError, UsageError
from s2f_edge.hearing import audio
from s2f_edge.hearing.features import SAMPLE_RATE, Float32s
from s2f_edge.hearing.spool import Spooled
from s2f_edge.marks import watermark
from s2f_edge.picture import Pixels, resized
from s2f_edge.results import Appearance, FaceResult, Voice
from s2f_edge.talk.animator import Animator
from s2f_edge.talk.gestures import Gestures
from s2f_edge.talk.motion import FRAME_RATE, Motion
from s2f_edge.terms import MAX_FPS, MAX_STRENGTH, MAX_TALK_SIZE, MIN_FPS, MIN_SIZE

if TYPE_CHECKING:
    from s2f_edge.marks.credentials import Credentials
    from s2f_edge.pipeline import Speech2Face

_PUSHED = SAMPLE_RATE  # samples that motion is given at once, so that the first frame comes soon
SPEECH_DBFS = -17.5  # level of the speech that motion was learnt from; a recording is brought to it
MOST_GAIN_DB = 50.0


@dataclass(frozen=True)
class TalkSettings:
    """How a face moves and is drawn; arguments of `Speech2Face.talk`."""

    seed: int = 0
    fps: float = 25
    size: int = 256
    head: float = 1.0
    blink: float = 1.0
    brows: float = 1.0

    def checked(self) -> TalkSettings:
        """Checks the ranges.

        Raises:
            UsageError: a setting is out of its range.
        """
        if not MIN_FPS <= self.fps <= MAX_FPS:  # NaN is no number between them
            raise UsageError(f"fps is {self.fps}; it must be from {MIN_FPS} to {MAX_FPS} frames a second.")
        if not MIN_SIZE <= self.size <= MAX_TALK_SIZE:
            raise UsageError(f"The size is {self.size} pixels; it must be from {MIN_SIZE} to {MAX_TALK_SIZE}.")
        for name in ("head", "blink", "brows"):
            if not 0 <= getattr(self, name) <= MAX_STRENGTH:
                raise UsageError(f"{name} is {getattr(self, name)}; it must be from 0 (none) to {MAX_STRENGTH}.")
        return self


# ----------------------------------------------------------------------- what moves a face


@dataclass(frozen=True)
class Parts:
    """What moves one face through one recording."""

    motion: Motion
    gestures: Gestures
    animator: Animator


def parts(model: Speech2Face, result: FaceResult, settings: TalkSettings, candidate: int = 0) -> Parts:
    """The parts for the face of a result, at rest.

    Args:
        candidate: which of the faces that the result's seed draws; 0 is that of the voice.

    Raises:
        PackError: the pack has nothing that moves a face.
    """
    manifest = model.pack.manifest
    if manifest.animator is None or manifest.renderer is None or not manifest.speaks:
        raise PackError(
            f"The faces of the pack {model.pack_name} do not speak: it has no motion network and animator. Take a pack "
            "with both, such as the default pack."
        )
    drawn = model.appearance(result.voice, gender=result.generator, samples=candidate + 1, seed=result.seed)
    appearance = Appearance(drawn.inner[candidate:], drawn.outer[candidate:], drawn.shape[candidate:])
    animator, renderer = model.network(manifest.animator.file), model.network(manifest.renderer)
    mean_shape = np.array(manifest.animator.mean_shape, np.float32)
    return Parts(
        Motion(model.motion_network(), speech_gain(result.voice)),
        Gestures(settings.seed, settings.head, settings.blink, settings.brows),
        Animator(animator, renderer, mean_shape, appearance),
    )


def speech_gain(voice: Voice) -> float:
    """What brings a recording to the level of the speech that motion was learnt from."""
    level = voice.quality.level_dbfs
    return float(10 ** (min(max(SPEECH_DBFS - level, -MOST_GAIN_DB), MOST_GAIN_DB) / 20))


# ---------------------------------------------------------------------------------- frames


@dataclass(frozen=True)
class TalkFrame:
    """A frame: its number from 0, the second at which it is seen, and uint8 (size, size, 3), RGB, marked."""

    index: int
    time: float
    pixels: Pixels


class Talk:
    """A face that says a recording, not yet drawn: iterate for its frames, or `save` a file.

    Each iteration hears the recording again and gives the same frames. Memory does not grow with its length. Use
    it as a context where the source was a pipe, so that its copy on the disk goes at once.

    Attributes:
        result: the face and what was heard of the voice, as of `infer`.
        settings: as they were given.
        candidate: which of the faces that the result's seed draws; 0 is that of the voice.
    """

    def __init__(
        self,
        model: Speech2Face,
        source: audio.Source,
        sample_rate: int | None,
        result: FaceResult,
        settings: TalkSettings,
        candidate: int = 0,
    ) -> None:
        self.result = replace(result, faces=result.faces[candidate : candidate + 1])
        self.settings = settings
        self.candidate = candidate
        self._model, self._source, self._sample_rate = model, source, sample_rate
        self._rate = Fraction(settings.fps).limit_denominator(1001)
        self.still: Pixels = self._marked(1.0)(result.face)

    @property
    def seconds(self) -> float:
        """Length of the recording in seconds."""
        return self.result.voice.quality.heard_s

    @property
    def rate(self) -> Fraction:
        """Frames a second."""
        return self._rate

    def __len__(self) -> int:
        """How many frames there are: the last one ends with the sound, or less than a frame after it."""
        return self._count(round(self.seconds * SAMPLE_RATE))

    def __iter__(self) -> Iterator[TalkFrame]:
        return self.frames()

    def __enter__(self) -> Talk:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Removes the copy of a pipe."""
        if isinstance(self._source, Spooled):
            self._source.close()

    def frames(self, tap: Callable[[Any, int], None] | None = None, mark: float = 1.0) -> Iterator[TalkFrame]:
        """The frames, as soon as the sound for each is heard.

        Args:
            mark: strength of the watermark, times that of a picture.
            tap: is given the recording's own sound, as of `audio.stream`; what comes before a frame belongs to it and
                to those after it.

        Raises:
            AudioError: the recording cannot be read any more.
        """
        marked = self._marked(mark)
        for index, picture in enumerate(self._moved(tap)):
            yield TalkFrame(index, float(index / self._rate), marked(picture))

    def _moved(self, tap: Callable[[Any, int], None] | None) -> Iterator[Pixels]:
        made = parts(self._model, self.result, self.settings, self.candidate)
        rows: list[tuple[Float32s, Any]] = []  # offsets and poses that are still needed
        first, heard, index = 0, 0, 0  # number of rows[0]; samples; the next frame

        def take(offsets: Float32s) -> None:
            rows.extend((row, made.gestures.next(row)) for row in offsets)

        def drawn(at: Fraction) -> Pixels:
            if at == 0:
                return self.result.face
            whole = min(math.floor(at) - first, len(rows) - 1)
            after, share = min(whole + 1, len(rows) - 1), float(at - math.floor(at))
            (offsets, pose), (next_offsets, next_pose) = rows[whole], rows[after]
            if share and after != whole:
                offsets, pose = (
                    offsets + np.float32(share) * (next_offsets - offsets),
                    pose + share * (next_pose - pose),
                )
            return made.animator.frame(offsets, pose)

        for block in audio.stream(self._source, self._sample_rate, tap=tap):
            for start in range(0, len(block), _PUSHED):
                heard += len(block[start : start + _PUSHED])
                take(made.motion.push(block[start : start + _PUSHED]))
                while (at := index * FRAME_RATE / self._rate) <= first + len(rows) - 2:
                    yield drawn(at)
                    index += 1
                done = max(0, min(math.floor(index * FRAME_RATE / self._rate) - first, len(rows) - 2))
                del rows[:done]
                first += done
        take(made.motion.finish())
        if not rows:
            take(np.zeros((1, 68, 2), np.float32))
        for left in range(index, self._count(heard)):
            yield drawn(left * FRAME_RATE / self._rate)

    def _count(self, samples: int) -> int:
        return max(1, math.ceil(samples * self._rate / SAMPLE_RATE))

    def _marked(self, strength: float) -> Callable[[Pixels], Pixels]:
        """What brings the animator's pictures to size, and adds the mark of the still."""
        size = self.settings.size
        if size < watermark.MIN_SIZE:
            return lambda picture: resized(picture, size)
        payload = watermark.make_payload(self.result.generator, self.result.pack_sha256)
        levels = watermark.mark_levels(resized(self.result.face, size), payload, strength)
        return lambda picture: watermark.add_levels(resized(picture, size), levels)

    # ------------------------------------------------------------------------------ files

    def save(
        self,
        target: str | Path | BinaryIO,
        format: str | None = None,
        *,
        credentials: Credentials | None = None,
        watch: Callable[[int], None] | None = None,
    ) -> tuple[str, ...]:
        """Makes a file of it: mp4 and webm with the recording as its sound, gif and webp without sound.

        A path gets its name when all of it is written. A binary file, such as a pipe, is written as frames come.

        Args:
            target: path or binary file.
            format: mp4, webm, gif or webp; None goes by the path's suffix.
            credentials: what signs mp4, gif and webp; None takes `credentials.default()` for a path. A binary file
                gets what is signed in one go at the end.
            watch: is called with the number of frames done.

        Returns:
            The layers in which the file says where it comes from: of metadata, watermark and c2pa.

        Raises:
            UsageError: another format, or one that cannot have this size, rate or length.
            RuntimeSetupError: mp4 or webm without the extra `media`.
            OutputError: it cannot be written.
        """
        from s2f_edge.talk.files import save

        return save(self, target, format, credentials, watch)

    def save_frames(self, folder: str | Path, watch: Callable[[int], None] | None = None) -> tuple[str, ...]:
        """Writes the frames into a new folder, as frame_000000.png and so on; arguments and errors of `save`."""
        from s2f_edge.talk.files import save_frames

        return save_frames(self, folder, watch)

    def to_dict(self) -> dict[str, Any]:
        """What is known of it, as plain JSON values."""
        asked = asdict(self.settings)
        return {"seconds": round(self.seconds, 3), "frames": len(self), **self.result.to_dict(), **asked}
