"""Video with sound by PyAV: H.264 and AAC in mp4, VP9 and Opus in webm."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soxr

from s2f_edge.errors import OutputError, RuntimeSetupError, S2FError, UsageError
from s2f_edge.hearing.channels import Mixer
from s2f_edge.hearing.features import Float32s
from s2f_edge.picture import Pixels

# Baseline players: browsers, phones and QuickTime all decode 8-bit 4:2:0 of these.
_PICTURE: dict[str, tuple[str, dict[str, str]]] = {
    "mp4": ("libx264", {"crf": "18", "preset": "fast", "profile": "high"}),
    "webm": ("libvpx-vp9", {"crf": "26", "b": "0", "deadline": "realtime", "cpu-used": "6", "row-mt": "1"}),
}
_STREAMED = {"libx264": {"bf": "0", "rc-lookahead": "8"}}  # what is seen while it is made has to come soon
_SOUND = {"mp4": "aac", "webm": "libopus"}
_RATES = {"mp4": (16_000, 22_050, 24_000, 32_000, 44_100, 48_000), "webm": (48_000,)}
_BITS_A_CHANNEL = 64_000
_KEY_EVERY_S, _STREAMED_KEY_EVERY_S = 5, 2
_MP4 = {"movflags": "faststart"}
_STREAMED_MP4 = {"movflags": "frag_keyframe+delay_moov+default_base_moof+skip_trailer", "frag_duration": "500000"}
_XMP_BOX = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")  # of XMP in ISO media files
_BT709, _LIMITED = 1, 1  # ISO/IEC 23091-2, and FFmpeg's MPEG range
_THREADS = 2


class Sound:
    """The sound of a recording on its way into a video: `push` takes it, as a decoder gives it."""

    def __init__(self) -> None:
        self.blocks: deque[tuple[Any, int]] = deque()

    def push(self, block: Any, rate: int) -> None:
        """Takes float32 (n, channels) at so many Hz."""
        self.blocks.append((block, rate))


def write(
    target: Path | BinaryIO,
    form: str,
    frames: Iterable[Pixels],
    fps: Fraction,
    sound: Sound,
    texts: dict[str, str],
    xmp: str,
) -> None:
    """Writes a video. Sound and picture begin together; times are counted in whole frames and samples.

    Memory does not grow with its length.

    Args:
        target: a path, which is written with the index at the front; or a binary file that cannot seek, to which
            pieces go as they are made (fragments of mp4).
        form: mp4 or webm.
        frames: uint8 (height, width, 3), even on both sides.
        sound: what comes into it while a frame is made is heard from then on.
        texts: title, description and comment.
        xmp: for mp4, in a box of its own.

    Raises:
        RuntimeSetupError: PyAV is missing.
        UsageError: sides are odd.
        OutputError: it cannot be written.
    """
    av = library(form)
    streamed = not isinstance(target, Path)
    codec, settings = _PICTURE[form]
    settings = settings | (_STREAMED.get(codec, {}) if streamed else {})
    settings["g"] = str(math.ceil(fps * (_STREAMED_KEY_EVERY_S if streamed else _KEY_EVERY_S)))
    movflags = {"mp4": _STREAMED_MP4 if streamed else _MP4}.get(form, {})
    with _errors(av), _opened(av, target, form, movflags) as file:
        picture, track = None, None
        for index, pixels in enumerate(frames):
            if picture is None:
                picture = _picture(file, codec, settings, pixels, fps)
                track = _Track(file, form, sound) if sound.blocks else None
                file.metadata.update(texts)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            frame = frame.reformat(
                format="yuv420p", interpolation="BICUBIC", dst_colorspace="ITU709", src_color_range="JPEG",
                dst_color_range="MPEG",
            )  # fmt: skip
            frame.pts, frame.time_base = index, 1 / fps
            file.mux(picture.encode(frame))
            if track:
                track.until((index + 1) / fps)
        if picture is None:
            raise UsageError("A video needs a frame.")
        file.mux(picture.encode())
        if track:
            track.until(None)
    if form == "mp4":
        _add_xmp(target, xmp)


def library(form: str) -> Any:
    """PyAV.

    Raises:
        RuntimeSetupError: it is missing.
    """
    try:
        import av
        import av.logging
    except ImportError:
        raise RuntimeSetupError(
            f"{form} needs the extra media: pip install 's2f-edge[media]'. gif and webp, which have no sound, work "
            "without it."
        ) from None
    av.logging.set_level(None)
    return av


@contextmanager
def _errors(av: Any) -> Iterator[None]:
    try:
        yield
    except (S2FError, BrokenPipeError):
        raise
    except (OSError, av.FFmpegError) as error:
        raise OutputError(f"The video cannot be written: {getattr(error, 'strerror', None) or error}.") from error


@contextmanager
def _opened(av: Any, target: Path | BinaryIO, form: str, options: dict[str, str]) -> Iterator[Any]:
    file = av.open(str(target) if isinstance(target, Path) else _Pipe(target), "w", format=form, options=options)
    try:
        yield file
        file.close()
    except BaseException:
        with suppress(Exception):
            file.close()
        raise


class _Pipe:
    """A file for PyAV that cannot seek, whatever is behind it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, data: bytes) -> int:
        self._file.write(data)
        self._file.flush()
        return len(data)


def _picture(file: Any, codec: str, settings: dict[str, str], first: Pixels, fps: Fraction) -> Any:
    height, width, _ = first.shape
    if height % 2 or width % 2:
        raise UsageError(f"The frames are {width} x {height} pixels; a video needs even sides. Give another size.")
    stream = file.add_stream(codec, rate=fps, options=settings)
    context = stream.codec_context
    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
    context.time_base = 1 / fps
    context.thread_count = _THREADS
    context.color_primaries = context.color_trc = context.colorspace = _BT709
    context.color_range = _LIMITED
    return stream


class _Track:
    """The sound of a video: the recording's own rate and channels where the format has them.

    Other rates become the next higher one that it has; more than two channels become one.
    """

    def __init__(self, file: Any, form: str, sound: Sound) -> None:
        from av import AudioFrame

        first, rate = sound.blocks[0]
        self._file, self._frame = file, AudioFrame
        self._blocks = sound.blocks
        self._channels = first.shape[1] if first.shape[1] <= 2 else 1
        self._rate = next((each for each in _RATES[form] if each >= rate), _RATES[form][-1])
        self._layout = ("mono", "stereo")[self._channels - 1]
        self._stream = file.add_stream(_SOUND[form], rate=self._rate, layout=self._layout)
        self._stream.codec_context.bit_rate = _BITS_A_CHANNEL * self._channels
        self._mixer = Mixer()
        self._resampler: Any = None
        self._resampled_from = 0
        self._ready: deque[Float32s] = deque()
        self._done = 0  # samples encoded

    def until(self, time: Fraction | None) -> None:
        """Encodes what there is of the sound until a time in seconds; None: all of it, and the end."""
        while self._blocks:
            self._ready.extend(self._converted(*self._blocks.popleft()))
        if time is None and self._resampler:
            self._ready.append(self._resampler.resample_chunk(np.zeros((0, self._channels), np.float32), last=True))
        now = self._taken(None if time is None else math.floor(time * self._rate) - self._done)
        if len(now):
            frame = self._frame.from_ndarray(
                np.ascontiguousarray(now).reshape(1, -1), format="flt", layout=self._layout
            )
            frame.sample_rate, frame.pts, frame.time_base = self._rate, self._done, Fraction(1, self._rate)
            self._done += len(now)
            self._file.mux(self._stream.encode(frame))
        if time is None:
            self._file.mux(self._stream.encode())

    def _taken(self, count: int | None) -> Float32s:
        """So many samples of what is ready, or as many as there are."""
        left = sum(map(len, self._ready)) if count is None else count
        parts = [np.zeros((0, self._channels), np.float32)]
        while left > 0 and self._ready:
            head = self._ready.popleft()
            parts.append(head[:left])
            if len(head) > left:
                self._ready.appendleft(head[left:])
            left -= len(parts[-1])
        return np.concatenate(parts)

    def _converted(self, block: Any, rate: int) -> Iterator[Float32s]:
        """float32 (n, channels) at the track's rate."""
        wide = block
        if block.shape[1] != self._channels:
            mono = self._mixer(block, rate) if block.shape[1] > 2 else block.mean(axis=1)
            wide = np.repeat(mono[:, None], self._channels, axis=1)
        wide = np.clip(wide, -1.0, 1.0).astype(np.float32)
        if rate != self._resampled_from:
            if self._resampler:
                yield self._resampler.resample_chunk(np.zeros((0, self._channels), np.float32), last=True)
            self._resampled_from = rate
            same = rate == self._rate
            self._resampler = None if same else soxr.ResampleStream(rate, self._rate, self._channels, dtype="float32")
        yield self._resampler.resample_chunk(wide) if self._resampler else wide


def _add_xmp(target: Path | BinaryIO, xmp: str) -> None:
    """Adds a box at the end, where it moves nothing."""
    data = _XMP_BOX + xmp.encode()
    box = (8 + len(data)).to_bytes(4, "big") + b"uuid" + data
    if isinstance(target, Path):
        with target.open("ab") as file:
            file.write(box)
    else:
        target.write(box)
        target.flush()
