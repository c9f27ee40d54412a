"""What the container of a recording says, before anything is decoded: its pieces, its length, and where it is damaged.

Chunks, pages and frames are walked over, not decoded: that costs a hundredth of decoding, and finds what decoders
pass over in silence. What is said here is compared with what decodes; it never takes the place of it.
"""

from __future__ import annotations

import io
import mmap
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from s2f_edge.hearing.frames import AmrFrames, Gap, counted

MAX_CHUNKS = 10_000
UNKNOWN_LENGTH = 0x7FFF_0000  # bytes: recorders that write into a pipe claim this much or more
TS_PACKET = 188  # bytes
PADDING = 4096  # bytes after the last chunk that are no sound


class _Part(io.RawIOBase):
    """A file that consists of `head` and of the bytes from `start` to `end` of another one, which stays open."""

    def __init__(self, file: BinaryIO, start: int, end: int, head: bytes) -> None:
        self._file, self._start, self._head = file, start, head
        self._size, self._at = len(head) + end - start, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = max(0, offset + (0, self._at, self._size)[whence])
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        count = max(0, min(len(buffer), self._size - self._at))
        if self._at < len(self._head):
            data = self._head[self._at : self._at + count]
        else:
            self._file.seek(self._start + self._at - len(self._head))
            data = self._file.read(count)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def _part(file: BinaryIO, start: int, end: int, head: bytes = b"") -> BinaryIO:
    return io.BufferedReader(_Part(file, start, end, head), 1 << 16)


@dataclass
class Layout:
    """How a file is built.

    Attributes:
        kind: wav, flac, ogg, mp3, aac, amr, mp4 or other ones; empty where the first bytes say nothing.
        pieces: one file each, one after the other.
        frames: how many samples of each channel a header says that there are, if one says it.
        share: of the sound's bytes that a header says, this much is there.
        seconds: how much sound the frames or pages hold, where they were counted.
        gaps: damaged places.
        claimed_s: what a header says instead of what is there, where that is too little.
        unfinished: an mp4 without its index.
        ragged: it ends within a packet.
    """

    kind: str
    pieces: list[BinaryIO] = field(default_factory=list)
    frames: int | None = None
    share: float = 1.0
    seconds: float | None = None
    gaps: list[Gap] = field(default_factory=list)
    claimed_s: float | None = None
    unfinished: bool = False
    ragged: bool = False


def layout(file: BinaryIO) -> Layout:
    """Walks over a file, which is then at some other place."""
    head = file.read(16)
    try:
        found = _walked(file, head, file.seek(0, io.SEEK_END))
    except (IndexError, ValueError, struct.error):  # cut off within a header
        found = Layout("")
    found.pieces = found.pieces or [file]
    return found


def _walked(file: BinaryIO, head: bytes, size: int) -> Layout:
    if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64") and head[8:12] == b"WAVE":
        return _wav(file, head[:4], size)
    if head[:4] == b"FORM" and head[8:11] == b"AIF":
        return Layout("aiff", frames=_aiff_frames(file, size))
    if head[:4] == b".snd":
        return Layout("au", frames=_au_frames(file))
    if head == b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00":
        return Layout("w64", frames=_w64_frames(file, size))
    if head[4:8] == b"ftyp":
        return Layout("mp4", unfinished=not any(name == b"moov" and end <= size for name, end in _boxes(file)))
    if head[:1] == b"\x47" and size > 1000 and size % TS_PACKET:
        return Layout("ts", ragged=True)
    if head[:4] == b"OggS":
        return _ogg(file, _content(file))
    if head[:4] == b"fLaC":
        return _flac(file, _content(file))
    if head[:5] == b"#!AMR" and head[:7] != b"#!AMR_M":
        return Layout("amr", gaps=list(AmrFrames(_content(file)).gaps()))
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return Layout("webm/mkv")
    if head[:3] == b"ID3" or (len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0):
        kind, seconds, gaps = counted(_content(file)) or ("", None, [])
        return Layout(kind, seconds=seconds, gaps=gaps)
    return Layout("")


def _content(file: BinaryIO) -> Any:
    """All bytes of a file, of which a large one is not read into memory."""
    if isinstance(file, io.BytesIO):
        return file.getvalue()
    try:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError):
        file.seek(0)
        return file.read()


# ------------------------------------------------------------------------------ chunks


def _chunks(file: BinaryIO, at: int, size: int, order: str = "<") -> Iterator[tuple[bytes, int, int]]:
    """Name, first byte and length of each chunk of a RIFF or IFF file."""
    for _ in range(MAX_CHUNKS):
        file.seek(at)
        head = file.read(8)
        if len(head) < 8 or at >= size:
            return
        name, length = head[:4], struct.unpack(f"{order}I", head[4:])[0]
        yield name, at + 8, length
        at += 8 + length + length % 2


def _wav(file: BinaryIO, magic: bytes, size: int) -> Layout:
    order = ">" if magic == b"RIFX" else "<"
    setup, long_length = b"", None
    for name, start, length in _chunks(file, 12, size, order):
        file.seek(start)
        if name == b"ds64":
            long_length = struct.unpack("<8xQ", file.read(16).ljust(16, b"\0"))[0]
        elif name == b"fmt ":
            setup = file.read(min(length, 4096))
        elif name == b"data":
            break
    else:
        return Layout("wav")
    if len(setup) < 16:
        return Layout("wav")
    rate, step = struct.unpack(f"{order}8xIH", setup[:14])
    if long_length and length == 0xFFFF_FFFF:
        length = long_length
    there = size - start
    short = length < there - PADDING and not _only_chunks(file, start + length, size, order)
    known = length < UNKNOWN_LENGTH or long_length
    found = Layout("wav", share=min(1.0, max(1, there) / length) if known and length else 1.0)
    if known and length and not there:
        found.gaps.append(Gap(0.0))
    if short and rate and step:
        found.claimed_s = length / step / rate
    if short or magic == b"BW64":
        # A header that claims all there can be: decoders then read up to the end.
        bare = b"fmt " + struct.pack(f"{order}I", len(setup)) + setup + b"data\xff\xff\xff\xff"
        head = (b"RIFX" if magic == b"RIFX" else b"RIFF") + b"\xff\xff\xff\xffWAVE" + bare
        found.pieces = [_part(file, start, size if short else min(size, start + length), head)]
    return found


def _only_chunks(file: BinaryIO, at: int, size: int, order: str) -> bool:
    """Whether chunks follow, or padding, and no sound."""
    for begin in {at, at + at % 2}:  # some writers leave out the byte that makes a length even
        name, start, length = next(_chunks(file, begin, size, order), (b"\0", 0, 0))
        if all(32 <= byte < 127 for byte in name) and start + length <= size:
            return True
    file.seek(at)
    return not any(file.read(1 << 20))


def _aiff_frames(file: BinaryIO, size: int) -> int | None:
    for name, start, _ in _chunks(file, 12, size, ">"):
        if name == b"COMM":
            file.seek(start + 2)
            return int.from_bytes(file.read(4), "big")
    return None


def _au_frames(file: BinaryIO) -> int | None:
    file.seek(8)
    length, encoding, _, channels = struct.unpack(">IIII", file.read(16).ljust(16, b"\0"))
    wide = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}.get(encoding)
    return length // (wide * channels) if wide and channels and length < UNKNOWN_LENGTH else None


def _w64_frames(file: BinaryIO, size: int) -> int | None:
    at, step = 40, 0
    while at + 24 <= size:
        file.seek(at)
        head = file.read(40)
        length = int.from_bytes(head[16:24], "little")
        if head[:4] == b"fmt ":
            step = int.from_bytes(head[36:38], "little")
        if head[:4] == b"data":
            return (length - 24) // step if step else None
        at += max(24, length + -length % 8)
    return None


def _boxes(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Name and end of each outer box of an mp4."""
    at = 0
    for _ in range(MAX_CHUNKS):
        file.seek(at)
        head = file.read(16)
        if len(head) < 8:
            return
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        yield head[4:8], at + length
        if length < 8:
            return
        at += length


# -------------------------------------------------------------------------------- FLAC


def _flac(file: BinaryIO, data: Any) -> Layout:
    """Pieces begin with a marker and a first block of 34 bytes, whose number of samples decoders do not get to see:
    they would stop there."""
    begins, at = [0], 4
    while (at := data.find(b"fLaC", at)) >= 0:
        if data[at + 4 : at + 8] in (b"\0\0\0\x22", b"\x80\0\0\x22"):
            begins.append(at)
        at += 4
    if len(data) < 42:
        return Layout("flac")
    found = Layout("flac")
    for start, end in zip(begins, [*begins[1:], len(data)], strict=True):
        told = int.from_bytes(data[start + 18 : start + 26], "big")
        head = data[start : start + 18] + (told >> 36 << 36).to_bytes(8, "big")
        found.pieces.append(_part(file, start + 26, end, head))
        found.frames = (told & 0xF_FFFF_FFFF or None) if len(begins) == 1 else None
    return found


# --------------------------------------------------------------------------------- Ogg

_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def _page_sum(page: bytes) -> bytes:
    """Ogg's CRC-32 has the polynomial of zlib's, with bits the other way round and nothing inverted."""
    found = zlib.crc32(page.translate(_REVERSED), 0xFFFF_FFFF) ^ 0xFFFF_FFFF
    return found.to_bytes(4, "big").translate(_REVERSED)


def _ogg_rate(packet: bytes) -> int:
    """Of the clock of a sound track, in Hz; 0 for others."""
    if packet[:7] == b"\x01vorbis":
        return int.from_bytes(packet[12:16], "little")
    if packet[:8] == b"OpusHead":
        return 48_000
    if packet[:8] == b"Speex   ":
        return int.from_bytes(packet[36:40], "little")
    if packet[:5] == b"\x7fFLAC":
        return int.from_bytes(packet[27:30], "big") >> 4
    return 0


def _ogg(file: BinaryIO, data: Any) -> Layout:
    """Pages: a piece begins where one with a first packet follows one without."""
    found = Layout("ogg", seconds=0.0)
    begins: list[int] = []
    rates: dict[bytes, int] = {}
    before_s = last_s = 0.0  # of the pieces before; of the last page in this one
    at, lost, inside, summed = 0, 0, True, 0
    while (at := data.find(b"OggS", begin := at)) >= 0 and summed < 4 * len(data):
        lost += at - begin
        head = data[at : at + 27]
        count = head[26] if len(head) == 27 else 255
        size = 27 + count + sum(data[at + 27 : at + 27 + count])
        page = data[at : at + size]
        summed += size
        if len(page) < size or _page_sum(page[:22] + b"\0\0\0\0" + page[26:]) != page[22:26]:
            lost += 4  # the marker, and look behind it for the next one
            at += 4
            continue
        serial, granule = page[14:18], int.from_bytes(page[6:14], "little", signed=True)
        if page[5] & 2:
            if inside:
                begins.append(at)
                before_s, last_s, rates, inside = before_s + last_s, 0.0, {}, False
            rates[serial] = _ogg_rate(page[27 + count :])
        else:
            inside = True
            if rates.get(serial) and granule >= 0:
                now_s = granule / rates[serial]
                if lost:
                    found.gaps.append(Gap(before_s + last_s, max(0.0, now_s - last_s) * lost / (lost + size)))
                last_s, lost = max(last_s, now_s), 0
        at += size
    lost += len(data) - begin
    if lost and data[-128:-125] != b"TAG":
        found.gaps.append(Gap(before_s + last_s))
    found.seconds = before_s + last_s
    if len(begins) > 1:
        found.pieces = [_part(file, start, end) for start, end in zip(begins, [*begins[1:], len(data)], strict=True)]
    return found
