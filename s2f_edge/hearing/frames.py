"""Frames without a container: of MP3, of AAC, and of AMR."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

MAX_DAMAGE = 1 << 20  # bytes: where no frame is found in so many, none is looked for


class Gap(NamedTuple):
    """Sound that is missing: from where on, in seconds, and how much; None where nobody knows."""

    at_s: float
    seconds: float | None = None


# ------------------------------------------------------------------------- MPEG and ADTS


class _Frame(NamedTuple):
    size: int
    seconds: float
    kind: tuple[int, int]  # what all frames of a file have in common


@lru_cache(maxsize=1)
def _mpeg_table() -> dict[int, _Frame]:
    """The second and third byte of a frame, as a number -> the frame."""
    bitrates = {  # kbit/s: (MPEG-1, layer), (MPEG-2 and 2.5, layer)
        (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
        (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
        (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
        (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
        (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    }
    bitrates[2, 3] = bitrates[2, 2]
    found = {}
    for second in range(0xE0, 0x100):
        version, layer = {3: 1, 2: 2, 0: 4}.get(second >> 3 & 3, 0), 4 - (second >> 1 & 3)
        if not version or layer == 4:
            continue
        for third in range(0x10, 0xF0):
            if third & 0x0C == 0x0C:
                continue
            rate = (44_100, 48_000, 32_000)[third >> 2 & 3] // version
            kbps = bitrates[min(version, 2), layer][(third >> 4) - 1]
            samples = 384 if layer == 1 else 576 if layer == 3 and version > 1 else 1152
            slot = 4 if layer == 1 else 1
            size = (samples // 8 * kbps * 1000 // rate // slot + (third >> 1 & 1)) * slot
            found[second << 8 | third] = _Frame(size, samples / rate, (second & 0xFE, third & 0x0C))
    return found


def _mpeg_frame(data: Any, at: int) -> _Frame | None:
    return _mpeg_table().get(data[at + 1] << 8 | data[at + 2]) if data[at] == 0xFF else None


def _adts_frame(data: Any, at: int) -> _Frame | None:
    if data[at] != 0xFF or data[at + 1] & 0xF6 != 0xF0:
        return None
    index, size = data[at + 2] >> 2 & 15, (data[at + 3] & 3) << 11 | data[at + 4] << 3 | data[at + 5] >> 5
    if index > 12 or size < 7:
        return None
    rates = (96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8000, 7350)
    return _Frame(size, 1024 * ((data[at + 6] & 3) + 1) / rates[index], (data[at + 1] & 8, data[at + 2] & 0xFC))


def _tag_size(data: Any, at: int) -> int:
    """Bytes of a tag that begins here, 0 where none does."""
    head = bytes(data[at : at + 32])
    if head[:3] == b"ID3" and len(head) > 9:
        return 10 + sum((int(byte) & 0x7F) << 7 * (3 - i) for i, byte in enumerate(head[6:10]))
    if head[:3] == b"TAG":
        return 128
    if head[:8] == b"APETAGEX" and len(head) > 23:
        size = int.from_bytes(head[12:16], "little")
        return 32 + (size if head[23] & 0x20 else 0)
    return len(data) - at if head[:11] == b"LYRICSBEGIN" else 0


def counted(data: Any) -> tuple[str, float, list[Gap]] | None:
    """Frames of an MP3 or of AAC without a container, counted; what lies between them is damaged.

    Returns:
        mp3 or aac, the seconds of all frames, and damaged places; None where no frames follow one another: tags alone,
        or a file that is damaged from its first frame on, which decoders look into for themselves.
    """
    start = 0
    while size := _tag_size(data, start):
        start += size
    frame_at = _adts_frame if data[start + 1 : start + 2] and data[start + 1] & 0xF6 == 0xF0 else _mpeg_frame
    if not _in_step(data, start, frame_at):
        return None
    gaps: list[Gap] = []
    declared_s, seconds, at = None, 0.0, start
    if frame_at is _mpeg_frame:
        declared_s, at = _declared(data, start)
    frames = 0
    while at + 7 <= len(data):
        frame = frame_at(data, at)
        if frame and at + frame.size <= len(data):
            at, seconds, frames = at + frame.size, seconds + frame.seconds, frames + 1
            continue
        if frame and at + frame.size > len(data):
            break  # of which the end is missing
        if size := _tag_size(data, at):
            at += size
            continue
        again = at + 1
        while (again := data.find(b"\xff", again, at + MAX_DAMAGE)) >= 0 and not _in_step(data, again, frame_at):
            again += 1
        again = len(data) if again < 0 else again
        if again < len(data) or any(data[at:again]):
            gaps.append(Gap(seconds, (again - at) * seconds / max(1, at - start) if again < len(data) else None))
        at = again
    rest_s = (declared_s or 0.0) - seconds - sum(gap.seconds or 0.0 for gap in gaps)
    if rest_s > 0.1 or len(data) - at > 0:
        gaps = [gap for gap in gaps if gap.seconds is not None]
        gaps.append(Gap(seconds, rest_s if rest_s > 0.1 else None))
    return "mp3" if frame_at is _mpeg_frame else "aac", seconds, gaps


def _in_step(data: Any, at: int, frame_at: Callable[[Any, int], _Frame | None], count: int = 3) -> bool:
    """Whether frames of one kind follow one another here."""
    kind = None
    for _ in range(count):
        if at + 7 > len(data):
            return kind is not None
        frame = frame_at(data, at)
        if frame is None or kind not in (None, frame.kind):
            return False
        at, kind = at + frame.size, frame.kind
    return True


def _declared(data: Any, at: int) -> tuple[float | None, int]:
    """Seconds that a first frame without sound says, and where the next one begins."""
    frame = _mpeg_frame(data, at)
    assert frame
    page = data[at : at + min(frame.size, 200)]
    for marker in (b"Xing", b"Info", b"VBRI"):
        if (place := page.find(marker)) >= 0:
            count = page[place + 14 : place + 18] if marker == b"VBRI" else page[place + 8 : place + 12]
            told = marker == b"VBRI" or page[place + 7] & 1
            return int.from_bytes(count, "big") * frame.seconds if told else None, at + frame.size
    return None, at


# --------------------------------------------------------------------------------- AMR


class AmrFrames:
    """Frames of AMR, of 20 ms each: in a file with its marker, or in a packet without one.

    Args:
        data: bytes.
        wide: AMR-WB; None looks at the marker.
    """

    SIZES = ((12, 13, 15, 17, 19, 20, 26, 31, 5, 6, 5, 5, -1, -1, -1, 0), (17, 23, 32, 36, 40, 46, 50, 58, 60, 5, -1, -1, -1, -1, 0, 0))  # fmt: skip  # noqa: E501
    SECONDS = 0.02

    def __init__(self, data: Any, wide: bool | None = None) -> None:
        self._data = data
        self._start = 0 if wide is not None else 9 if data[:9] == b"#!AMR-WB\n" else 6
        self.wide = self._start == 9 if wide is None else wide
        self._sizes = self.SIZES[self.wide]

    def __iter__(self) -> Iterator[bytes | Gap]:
        """Frames, and places that are none."""
        at, seconds = self._start, 0.0
        while at < len(self._data):
            if self._data[at] == 0x23:  # of another file after this one; no frame begins with it
                at += 9 if self._data[at : at + 9] == b"#!AMR-WB\n" else 6 * (self._data[at : at + 6] == b"#!AMR\n")
            size = self._size(at) if at < len(self._data) else 0
            if size and at + size <= len(self._data):
                yield self._data[at : at + size]
                at, seconds = at + size, seconds + self.SECONDS
                continue
            end = min(len(self._data), at + MAX_DAMAGE)
            again = next((i for i in range(at + 1, end) if self._in_step(i)), len(self._data))
            whole = again < len(self._data)
            lost = max(1, round((again - at) / (1 + self._sizes[7 if not self.wide else 8]))) * self.SECONDS
            yield Gap(seconds, lost if whole else None)
            at, seconds = again, seconds + (lost if whole else 0.0)

    def gaps(self) -> Iterator[Gap]:
        return (part for part in self if isinstance(part, Gap))

    def speaks(self, frame: bytes) -> bool:
        """Whether a frame is speech, and no pause."""
        return frame[0] >> 3 & 15 < 8 + self.wide

    def _size(self, at: int) -> int:
        first = self._data[at]
        return 1 + self._sizes[first >> 3 & 15] if not first & 0x83 else 0

    def _in_step(self, at: int) -> bool:
        for _ in range(4):
            if at >= len(self._data):
                return True
            if not (size := self._size(at)):
                return False
            at += size
        return True
