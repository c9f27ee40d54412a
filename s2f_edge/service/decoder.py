"""Decoding in processes of their own, so that a hostile file takes nothing down but its own request.

A decoder is a child that reads sound or pictures from its standard input and writes samples or
a report to its standard output. It may use only so much memory, may write no file, and is killed when its
time is over; another one takes its place. Nothing that it sends is trusted: the parent reads
numbers and texts, never pickles.

    parent to child   WHOLE, its limits, a file                 a recording
                      PACKET, its limits, one Opus packet       of a stream
                      PICTURE, its limits, a file               whose provenance is asked for
    child to parent   SOUND, float32 samples                    any number of times
                      REPORT, JSON                              what a picture says, or what is missing of a file
                      DONE, nothing | FAILED, JSON              once for each message
"""

from __future__ import annotations

import json
import logging
import os
import queue
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import IO, Any

import numpy as np

from s2f_edge.errors import (
    DeadlineError,
    DecoderFailedError,
    InvalidSamplesError,
    MissingDecoderError,
    ProvenanceError,
    S2FError,
    TooLongError,
    UnreadableAudioError,
    from_dict,
)
from s2f_edge.hearing import audio
from s2f_edge.hearing.features import SAMPLE_RATE, Float32s
from s2f_edge.hearing.soundfile_reader import BLOCK_SECONDS
from s2f_edge.interrupts import started_apart

log = logging.getLogger(__name__)

WHOLE, PACKET, PICTURE = b"W", b"P", b"I"
SOUND, REPORT, DONE, FAILED = b"S", b"R", b"D", b"F"
HEAD_IN = struct.Struct("<cddQ")  # kind, seconds of sound, seconds of time, bytes that follow
HEAD_OUT = struct.Struct("<cQ")  # kind, bytes that follow
MOST_OUT = BLOCK_SECONDS * SAMPLE_RATE * 4 * 2  # bytes of one block, resampled; more is no answer of ours
MOST_PACKET_S = 0.12  # RFC 6716
OPUS_RATE = 48_000

LIMITS_MEMORY = sys.platform == "linux"
RAISED = (UnreadableAudioError, MissingDecoderError, InvalidSamplesError, TooLongError, ProvenanceError)


# ------------------------------------------------------------------------------- parent


class Decoder:
    """One child process. Not for two threads at once.

    Args:
        megabytes: memory that it may take beyond what it has when it starts.
    """

    def __init__(self, megabytes: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "s2f_edge.service.decoder", str(megabytes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # libraries write what they find in a file
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            **started_apart(),  # a terminal's Ctrl-C ends the service, which first finishes what it has begun
        )
        self._over = threading.Event()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def usable(self) -> bool:
        return self._process.poll() is None

    def whole(
        self, data: bytes, max_seconds: float, time_s: float, notes: audio.Notes | None = None
    ) -> Iterator[Float32s]:
        """Blocks of a recording, as `audio.stream` gives them.

        Args:
            data: a file.
            max_seconds: of sound.
            time_s: after which the child is killed.
            notes: takes up what is missing, as for `audio.stream`.

        Raises:
            AudioError: as `audio.stream`.
            TooLongError: more sound than `max_seconds`.
            DeadlineError: `time_s` are over.
            DecoderFailedError: the child ended without an answer.
        """
        yield from self._sound(self._ask(WHOLE, data, max_seconds, time_s, notes), max_seconds)

    def packet(self, data: bytes, time_s: float) -> Iterator[Float32s]:
        """Sound of the next Opus packet of a stream; arguments and errors as of `whole`."""
        yield from self._sound(self._ask(PACKET, data, 0.0, time_s), MOST_PACKET_S)

    def picture(self, data: bytes, time_s: float) -> dict[str, Any]:
        """What a picture says of its origin: `provenance.read(data).to_dict()`.

        Raises:
            ProvenanceError: no picture, or one that says nothing.
            DeadlineError, DecoderFailedError: as of `whole`.
        """
        message = json.loads(b"".join(self._ask(PICTURE, data, 0.0, time_s)))
        assert isinstance(message, dict)
        return message

    def kill(self) -> None:
        """Ends the child, whatever it does; may be called from another thread."""
        with suppress(OSError):
            self._process.kill()

    def close(self) -> None:
        """Kills the process and closes its pipes."""
        self.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                assert pipe
                pipe.close()

    def _sound(self, payloads: Iterator[bytes], max_seconds: float) -> Iterator[Float32s]:
        samples = 0
        for payload in payloads:
            block = np.frombuffer(payload, "<f4")
            samples += len(block)
            if samples > (max_seconds + 1.0) * SAMPLE_RATE:
                raise DecoderFailedError("The decoder gave more sound than was asked for.")
            yield block

    def _ask(
        self, kind: bytes, data: bytes, max_seconds: float, time_s: float, notes: audio.Notes | None = None
    ) -> Iterator[bytes]:
        watch = threading.Timer(max(0.0, time_s), self._time_is_over)
        watch.start()
        complete = False
        try:
            for answer, payload in self._conversation(kind, data, max_seconds, time_s):
                if answer == SOUND or kind == PICTURE:
                    yield payload
                elif notes is not None:
                    try:
                        notes.take(json.loads(payload))
                    except (ValueError, KeyError, TypeError):
                        raise EOFError("no notes of ours") from None
            complete = True
        except (OSError, EOFError) as error:
            self._process.wait()
            if self._over.is_set():
                raise DeadlineError(f"Decoding the sound took longer than {time_s:.0f} s; send less of it.") from None
            log.warning("A decoder ended with status %s.", self._process.returncode)
            raise DecoderFailedError(
                "The decoder crashed on this file; it is damaged or needs too much memory. "
                "Write it again, as wav or mp3."
            ) from error
        except S2FError:
            complete = True
            raise
        finally:
            watch.cancel()
            if not complete:  # what is left in the pipe would be taken for the next answer
                self.close()

    def _conversation(
        self, kind: bytes, data: bytes, max_seconds: float, time_s: float
    ) -> Iterator[tuple[bytes, bytes]]:
        ingoing, outgoing = self._process.stdin, self._process.stdout
        assert ingoing
        assert outgoing
        ingoing.write(HEAD_IN.pack(kind, max_seconds, time_s, len(data)))
        ingoing.write(data)
        ingoing.flush()
        while True:
            answer, length = HEAD_OUT.unpack(_exactly(outgoing, HEAD_OUT.size))
            if answer not in (SOUND, REPORT, DONE, FAILED) or length > MOST_OUT:
                raise EOFError("not a message of ours")
            payload = _exactly(outgoing, length)
            if answer == DONE:
                return
            if answer == FAILED:
                raise _error_of(payload)
            yield answer, payload

    def _time_is_over(self) -> None:
        self._over.set()
        self.kill()


class DecoderPool:
    """Decoders that are running and idle, for requests that take one each.

    Args:
        size: how many are kept ready.
        megabytes: see `Decoder`.
    """

    def __init__(self, size: int, megabytes: int) -> None:
        self._megabytes = megabytes
        self._closed = False
        if not LIMITS_MEMORY:
            log.warning("Decoders have no memory limit on this system; keep max_bytes and max_seconds small.")
        self._idle: queue.SimpleQueue[Decoder] = queue.SimpleQueue()
        self._busy: set[Decoder] = set()
        for _ in range(size):
            self._idle.put(Decoder(megabytes))

    def blocks(
        self, data: bytes, max_seconds: float, time_s: float, notes: audio.Notes | None = None
    ) -> Iterator[Float32s]:
        """Decodes with an idle decoder; arguments and errors of `Decoder.whole`."""
        with self._taken() as decoder:
            yield from decoder.whole(data, max_seconds, time_s, notes)

    def picture(self, data: bytes, time_s: float) -> dict[str, Any]:
        """Reads provenance with an idle decoder; arguments and errors of `Decoder.picture`."""
        with self._taken() as decoder:
            return decoder.picture(data, time_s)

    @contextmanager
    def _taken(self) -> Iterator[Decoder]:
        decoder = self._idle.get()
        try:
            if not decoder.usable:  # killed from outside while it was idle
                decoder.close()
                decoder = Decoder(self._megabytes)
            self._busy.add(decoder)
            yield decoder
        finally:
            self._busy.discard(decoder)
            if self._closed:
                decoder.close()
            else:  # the next one is started at once, so that it is ready when it is needed
                self._idle.put(decoder if decoder.usable else Decoder(self._megabytes))

    def close(self) -> None:
        """Ends all of them; requests that are still in one fail."""
        self._closed = True
        for decoder in list(self._busy):
            decoder.kill()
        while not self._idle.empty():
            self._idle.get().close()


def _exactly(pipe: IO[bytes], length: int) -> bytes:
    data = pipe.read(length)
    if len(data) < length:
        raise EOFError("the decoder ended")
    return data


def _error_of(payload: bytes) -> S2FError:
    with suppress(ValueError, KeyError, TypeError):
        message = json.loads(payload)
        error = from_dict({"error": message["error"], "message": str(message["message"])[:1000]})
        if isinstance(error, RAISED):
            return error
    return DecoderFailedError("The decoder crashed on this file. Convert it to wav or mp3.")


# -------------------------------------------------------------------------------- child


def _confine(megabytes: int) -> None:
    """Takes from this process what decoding does not need."""
    try:
        import resource
    except ImportError:  # Windows: the parent's clock alone
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    if LIMITS_MEMORY:
        pages = int(open("/proc/self/statm", "rb").read().split()[0])  # noqa: PTH123, SIM115
        limit = pages * resource.getpagesize() + (megabytes << 20)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


_watch: threading.Timer | None = None


def _alarm(seconds: float) -> None:
    """The kernel ends this process then, also where the parent is gone and this one hangs; 0 calls it off. On Windows
    a thread does it."""
    global _watch
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)
        return
    if _watch:
        _watch.cancel()
    _watch = threading.Timer(seconds, os._exit, (1,)) if seconds else None
    if _watch:
        _watch.daemon = True
        _watch.start()


def _answer(pipe: IO[bytes], kind: bytes, payload: bytes = b"") -> None:
    pipe.write(HEAD_OUT.pack(kind, len(payload)) + payload)
    pipe.flush()


def _whole(data: bytes, max_seconds: float, notes: audio.Notes) -> Iterator[Float32s]:
    left = int(max_seconds * SAMPLE_RATE)
    for block in audio.stream(data, notes=notes):
        left -= len(block)
        if left < 0:
            raise TooLongError(f"The recording is longer than {max_seconds:g} s; send a part of it.")
        for start in range(0, len(block), MOST_OUT // 4):
            yield block[start : start + MOST_OUT // 4]


class _Opus:
    """Opus packets as they come, to mono at 16 kHz."""

    def __init__(self) -> None:
        try:
            import av
        except ImportError:
            raise MissingDecoderError(
                "Opus packets need PyAV. Install the extra: pip install 's2f-edge[media]'; or send pcm16."
            ) from None
        self._av = av
        self._context: Any = av.CodecContext.create("opus", "r")
        self._context.sample_rate = OPUS_RATE
        self._context.layout = "mono"
        self._resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE)

    def __call__(self, data: bytes) -> Iterator[Float32s]:
        if data[:4] in (b"OggS", b"\x1a\x45\xdf\xa3", b"RIFF") or data[4:8] == b"ftyp":
            raise UnreadableAudioError("This is a file with a container. Send bare packets of Opus, no container.")
        try:
            for frame in self._context.decode(self._av.Packet(data)):
                for piece in self._resampler.resample(frame):
                    yield np.asarray(piece.to_ndarray(), np.float32).reshape(-1)
        except (self._av.FFmpegError, ValueError) as error:
            raise UnreadableAudioError(f"This is not an Opus packet ({error}). Send bare packets.") from None


def main() -> None:
    """The child: answers until its standard input ends."""
    ingoing = sys.stdin.buffer
    outgoing = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what a library prints is no answer
    with suppress(ImportError):
        import av

        av.logging.set_level(None)
    import soxr

    soxr.resample(np.zeros(16, np.float32), 48_000, SAMPLE_RATE)  # loads what the first request would load
    _confine(int(sys.argv[1]))
    opus: _Opus | None = None
    while head := ingoing.read(HEAD_IN.size):
        kind, max_seconds, time_s, length = HEAD_IN.unpack(head)
        _alarm(time_s + 1.0)
        data = ingoing.read(length)
        try:
            if kind == PICTURE:
                from s2f_edge.marks import provenance  # a library of 16 MB, which sound does not need

                _answer(outgoing, REPORT, json.dumps(provenance.read(data).to_dict()).encode())
            else:
                opus = opus or (_Opus() if kind == PACKET else None)
                notes = audio.Notes()
                for block in opus(data) if opus else _whole(data, max_seconds, notes):
                    _answer(outgoing, SOUND, np.ascontiguousarray(block, "<f4").tobytes())
                if notes.gaps or notes.said:
                    _answer(outgoing, REPORT, json.dumps(asdict(notes)).encode())
        except S2FError as error:
            _answer(outgoing, FAILED, json.dumps(error.to_dict()).encode())
        except MemoryError:
            _answer(outgoing, FAILED, b"{}")
        else:
            _answer(outgoing, DONE)
        _alarm(0.0)


if __name__ == "__main__":
    main()
