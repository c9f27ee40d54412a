"""A video of a speaker -> the motion of its 68 points, on the clock of its sound; or why it cannot be used."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from s2f_edge.talk.motion import FRAME_RATE
from s2f_train.data.items import Place
from s2f_train.data.mouths import is_open, mouth_of
from s2f_train.prepare.face_mesh import IBUG68, FaceMesh
from s2f_train.prepare.head_pose import without_pose

RECIPE = 2  # raise it when the same video becomes another motion, or is left out for another reason

LEAST_EYES = 20.0  # pixels between the eyes: the lips of a smaller face move less than the points tremble
MOST_TURNED = 25.0  # degrees to the side: farther, half of the mouth is a guess of the landmarker
MOST_HIDDEN = 0.1  # share of the frames without a face; points are interpolated there
MOUTH_EVERY, MOST_MOUTHS = 3, 12  # frames from one mouth that may be kept to the next; how many are, of a video
MEDIA = "pip install 's2f-edge[media]'"


class TalkError(ValueError):
    """A video that can be read, but whose motion cannot be used."""


def motion_of(
    video: Place, sound: Place, mesh: FaceMesh, max_seconds: float
) -> tuple[NDArray[np.float32], list[Image.Image]]:
    """The points of the largest face, the head's motion taken away, and pictures of its open mouth.

    Args:
        video: a file, or a member of a tar.
        sound: where its sound is: in the same file, or in one of its own that begins with the first frame.
        mesh: finds the points.
        max_seconds: the rest is left out.

    Returns:
        float32 (frames, 68, 2), 25 frames a second, the first one at the first sample of the sound; see
        `head_pose.without_pose`. And pictures as `mouths.mouth_of` gives them, `MOST_MOUTHS` from all of the video.

    Raises:
        TalkError: there is no video or no face, the face is hidden too often, too small, or turned to the side.
        ModuleNotFoundError: PyAV is missing.
    """
    shown: list[float] = []
    now: list[Image.Image] = []
    found, mouths = [], []
    for seen in mesh.follow(_pictures(video, video == sound, max_seconds, shown, now)):
        if seen is not None:
            found.append((shown[-1], seen[0]))
            if len(found) % MOUTH_EVERY == 0:
                mouths.append(mouth_of(now[0], seen[0], seen[0][list(IBUG68), :2]))
    if len(found) < 2:
        raise TalkError("no face found")
    hidden = len(shown) - len(found)
    if hidden > MOST_HIDDEN * len(shown):
        raise TalkError(f"no face in {hidden} of {len(shown)} frames; {MOST_HIDDEN:.0%} is the most")
    points, apart, turned = without_pose(np.stack([points for _, points in found]).astype(np.float64))
    if apart < LEAST_EYES:
        raise TalkError(f"too small: {apart:.0f} pixels between the eyes, {LEAST_EYES:.0f} are needed")
    if turned > MOST_TURNED:
        raise TalkError(f"turned: {turned:.0f} degrees to the side, {MOST_TURNED:.0f} is the most")
    opened = [mouth for mouth in mouths if is_open(mouth)]
    kept = np.linspace(0, len(opened) - 1, min(len(opened), MOST_MOUTHS)).round().astype(int)
    moved = _at_rate(np.array([time for time, _ in found]), points, shown[-1])
    return moved, [opened[i] for i in kept]


def _at_rate(times: NDArray[np.float64], points: NDArray[np.float64], end: float) -> NDArray[np.float32]:
    """Points at 0, 1/25, 2/25 s and so on up to the last frame, by straight lines between those that were seen."""
    wanted = np.arange(int(end * FRAME_RATE + 0.5) + 1) / FRAME_RATE
    flat = points.reshape(len(points), -1)
    columns = [np.interp(wanted, times, column) for column in flat.T]
    return np.stack(columns, axis=1).reshape(-1, *points.shape[1:]).astype(np.float32)


def _pictures(
    video: Place, with_sound: bool, max_seconds: float, times: list[float], now: list[Image.Image]
) -> Iterator[Image.Image]:
    """The frames from the start of the sound on; before one is given, its time is added to `times`, and it is `now`."""
    try:
        import av
        import av.logging
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"Talking heads need PyAV: {MEDIA}") from error
    av.logging.set_level(None)
    try:
        whole = video.size is None and not video.offset
        with av.open(video.path if whole else io.BytesIO(video.read()), "r") as file:
            if not file.streams.video:
                raise TalkError("no video in the file")
            stream = file.streams.video[0]
            sounds = file.streams.audio
            clock = sounds[0] if with_sound and sounds else stream
            start = float((clock.start_time or 0) * (clock.time_base or 0))
            for frame in file.decode(stream):
                time = (frame.time or 0.0) - start
                if time >= max_seconds:
                    return
                if time >= 0:
                    times.append(time)
                    now[:] = [frame.to_image()]  # type: ignore[no-untyped-call]
                    yield now[0]
    except av.FFmpegError as error:
        if not times:
            raise TalkError(f"no video that can be read ({error})") from None
