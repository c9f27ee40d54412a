"""soundfile, read from beginning to end, and what libmpg123 says meanwhile."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any, BinaryIO

import soundfile

log = logging.getLogger(__name__)

MAX_RATE = 192_000
BLOCK_SECONDS = 10  # of the source
BLOCK_VALUES = BLOCK_SECONDS * MAX_RATE * 2  # 15 MB at most: a few kB may hold 64 channels at 192 kHz


class Sound(soundfile.SoundFile):  # type: ignore[misc]
    """Reads from beginning to end: after each block soundfile would seek to where it is, which MP3 does not survive."""

    def __init__(self, file: BinaryIO) -> None:
        self.failed = False  # before its end
        self.damaged_s: float | None = None  # where about libmpg123 complained
        with _stderr_kept():
            super().__init__(file)

    def seekable(self) -> bool:
        return False

    def blocks(self) -> Iterator[Any]:
        frames = min(BLOCK_SECONDS * self.samplerate, BLOCK_VALUES // self.channels)
        mpeg = self.format == "MP3" or self.subtype.startswith("MPEG")
        done = 0
        while True:
            try:
                silent: AbstractContextManager[list[bytes]] = _stderr_kept() if mpeg else nullcontext([])
                with silent as said:
                    block = self.read(frames, dtype="float32", always_2d=True)
            except soundfile.LibsndfileError as error:
                log.debug("soundfile stops: %s", error)
                self.failed = True
                return
            # Where a file was cut out of a longer one, the first frame has too few bits, which is no damage.
            if any(b"error" in line and (done or b"part2_3" not in line) for line in said) and self.damaged_s is None:
                self.damaged_s = done / self.samplerate
            if not len(block):
                return
            done += len(block)
            yield block


_stderr_lock = threading.Lock()


@contextmanager
def _stderr_kept() -> Iterator[list[bytes]]:
    """Keeps what libmpg123 writes on standard error; what others write meanwhile is written afterwards. Nothing is
    kept by Python 3.11 on Windows, whose pipes always block."""
    said: list[bytes] = []
    if not hasattr(os, "set_blocking"):
        yield said
        return
    with _stderr_lock:
        try:
            before = os.dup(2)
        except OSError:  # closed
            yield said
            return
        reader, writer = os.pipe()
        try:
            os.set_blocking(writer, False)  # what does not fit in is lost, and nothing waits
            os.dup2(writer, 2)
            yield said
        finally:
            os.dup2(before, 2)
            os.close(writer)
            os.close(before)
            with os.fdopen(reader, "rb") as pipe:
                lines = pipe.read().splitlines(keepends=True)
            said += [line for line in lines if _of_mpg123(line)]
            if others := b"".join(line for line in lines if not _of_mpg123(line)):
                with suppress(OSError):
                    os.write(2, others)


def _of_mpg123(line: bytes) -> bool:
    return b"mpg123" in line or line.startswith((b"Warning: ", b"Note: "))
