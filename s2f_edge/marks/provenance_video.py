"""What a video says of itself: tags, and a look at its first frames. Needs the extra `media`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from s2f_edge.errors import ProvenanceError
from s2f_edge.marks import watermark
from s2f_edge.marks.watermark import Mark
from s2f_edge.picture import Pixels

MEDIA_TYPES = {"mp4": "video/mp4", "webm": "video/webm"}
MAX_PIXELS = 9_000_000  # of a frame

_LOOKS, _EVERY = 16, 6  # frames that are looked at
_STILLS = (b"avif", b"avis", b"mif1", b"msf1", b"heic", b"heix")  # pictures in the same kind of file


@dataclass(frozen=True)
class Video:
    """A video, as far as its provenance goes: `format`, sides in pixels, `tags` by lower-case name, and `mark`."""

    format: str
    width: int
    height: int
    tags: Mapping[str, str]
    mark: Mark | None


def kind(head: bytes) -> str | None:
    """mp4 or webm, by the first 12 bytes of a file; None for what is neither."""
    if head[4:8] == b"ftyp" and head[8:12] not in _STILLS:
        return "mp4"
    return "webm" if head.startswith(b"\x1a\x45\xdf\xa3") else None


def look(name: str, file: BinaryIO, format: str, watermarks: bool = True) -> Video:
    """Looks at a video.

    Args:
        name: for messages.
        file: binary, which can seek.
        watermarks: whether to decode frames and look for the mark, in the first frame and in the mean of 16 frames
            of the first 4 seconds: a face moves, and its mark stays.

    Raises:
        ProvenanceError: PyAV is missing, or it is no video that can be read.
    """
    try:
        import av
        import av.logging
    except ImportError:
        raise ProvenanceError(f"{name} is a video; reading it needs pip install 's2f-edge[media]'.") from None
    av.logging.set_level(None)
    try:
        with av.open(file, metadata_errors="ignore") as media:
            stream = media.streams.video[0]
            width, height = stream.codec_context.width, stream.codec_context.height
            tags = {key.lower(): value for key, value in media.metadata.items()}
            if width * height <= MAX_PIXELS:
                return Video(format, width, height, tags, _mark(media, stream) if watermarks else None)
    except Exception:  # FFmpeg and PyAV raise errors of all kinds for hostile files
        raise ProvenanceError(f"{name} is not a readable video; give an mp4 or webm.") from None
    raise ProvenanceError(f"{name} has frames of more than {MAX_PIXELS // 1_000_000} megapixels; give a smaller copy.")


def _mark(media: Any, stream: Any) -> Mark | None:
    first: Pixels | None = None
    total = np.zeros((0,), np.uint16)
    seen = 0
    for index, frame in enumerate(media.decode(stream)):
        if index % _EVERY:
            continue
        pixels = frame.to_ndarray(format="rgb24")
        if first is None:
            first, total = pixels, np.zeros(pixels.shape, np.uint16)
        if pixels.shape == total.shape:
            total += pixels
            seen += 1
        if index >= (_LOOKS - 1) * _EVERY:
            break
    if first is None:
        return None
    return watermark.find_in([first, (total // max(seen, 1)).astype(np.uint8)])
