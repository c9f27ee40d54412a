"""Two ways of one decoder: soundfile, and PyAV, which goes on where soundfile cannot, stops early or knows no format.

soundfile reads wav, flac, ogg (Vorbis, Opus), mp3 and the like; PyAV, with the extra `media`, reads what FFmpeg does.
All that can be decoded is given; what is missing is collected in `Missing`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from typing import Any, BinaryIO

import numpy as np
import soundfile
import soxr

from s2f_edge.errors import InvalidSamplesError, MissingDecoderError, UnreadableAudioError
from s2f_edge.hearing.containers import Layout
from s2f_edge.hearing.features import SAMPLE_RATE, Float32s
from s2f_edge.hearing.frames import AmrFrames, Gap
from s2f_edge.hearing.soundfile_reader import BLOCK_SECONDS, BLOCK_VALUES, Sound

log = logging.getLogger(__name__)

MAX_CHANNELS = 64

SLACK_S = 0.4  # codecs add or take away as much at the ends
EXACT_S, EXACT = 0.02, ("PCM", "FLOAT", "DOUBLE", "ALAW", "ULAW")  # but not these
PAUSE_S = 0.5  # shorter jumps of the clock are none of damage, but of recorders that leave silence out
CLOCKS = ("mov", "matroska", "asf", "caf", "aiff", "w64", "flac")  # containers whose length is no guess
MEDIA = "pip install 's2f-edge[media]'"

Blocks = Iterator[tuple[Any, int]]  # float32 (n, channels), and their rate in Hz
Said = list[tuple[str, str]]  # codes and sentences


def checked_channels(channels: int, name: str) -> None:
    if channels > MAX_CHANNELS:
        raise InvalidSamplesError(f"{name} has {channels} channels; at most {MAX_CHANNELS} can be.")


def decoded(piece: BinaryIO, built: Layout, name: str, gaps: list[Gap], notes: Said) -> Blocks:
    """Blocks of one piece of a recording, float32 (n, channels), each with its rate in Hz.

    Args:
        piece: a file.
        built: what its container says.
        name: of the recording, for messages.
        gaps: what is missing is added to it.
        notes: codes and sentences on which of several sounds was taken, and on what would read more.

    Raises:
        UnreadableAudioError: nothing of it can be decoded.
        MissingDecoderError: it needs PyAV, which is missing.
        InvalidSamplesError: too many channels.
    """
    try:
        sound = Sound(piece)
    except soundfile.LibsndfileError as error:
        log.debug("soundfile cannot read %s: %s", name, error)
        piece.seek(0)
        yield from _by_pyav(piece, built, name, gaps, notes)
        return
    known_s = sum(gap.seconds or 0.0 for gap in built.gaps)
    done_s = 0.0
    with sound:
        slack = EXACT_S if sound.subtype.startswith(EXACT) else SLACK_S
        rate, there = sound.samplerate, sound.frames if sound.frames < 1 << 62 else 0
        checked_channels(sound.channels, name)
        # Where frames were counted, and are more than soundfile will read, it is not asked at all.
        early = len(built.pieces) == 1 and there / rate < (built.seconds or 0.0) - slack
        if not (early and _pyav()):
            for block in sound.blocks():
                done_s += len(block) / rate
                yield block, rate
            wanted_s = (built.frames or there) / rate
            early |= done_s + known_s < wanted_s - slack or (sound.failed and not 0.0 < wanted_s <= done_s + slack)
        expected_s = (built.frames or there) / rate / built.share
        damaged_s = sound.damaged_s
    more: list[Gap] = []
    found_s = done_s
    if early and _pyav():
        piece.seek(0)
        found_s = 0.0
        with suppress(UnreadableAudioError):
            for block, rate in _by_pyav(piece, built, name, more, notes):
                fresh = block[max(0, round((done_s - found_s) * rate)) :]
                found_s += len(block) / rate
                if len(fresh):
                    yield fresh, rate
        found_s = max(found_s, done_s)
    elif early:
        notes.append(("missing-decoder", f"Perhaps more of it can be read after: {MEDIA}."))
    if not built.gaps:
        rest_s = expected_s - found_s - sum(gap.seconds or 0.0 for gap in more)
        if rest_s > slack:
            more = [*(gap for gap in more if gap.seconds is not None), Gap(found_s, rest_s)]
        if not more and damaged_s is not None:
            more = [Gap(damaged_s)]
        gaps += more


# -------------------------------------------------------------------------------- PyAV


def _pyav() -> Any:
    """PyAV, with its logs off; None where it is missing."""
    try:
        import av
        import av.logging
    except ImportError:
        return None
    av.logging.set_level(None)
    return av


def _by_pyav(piece: BinaryIO, built: Layout, name: str, gaps: list[Gap], notes: Said) -> Blocks:
    av = _pyav()
    if av is None:
        kind = {"mp4": "m4a/mp4"}.get(built.kind, built.kind)
        if kind:
            raise MissingDecoderError(f"{name} is {kind}, which needs a further decoder: {MEDIA}.")
        raise UnreadableAudioError(
            f"{name} is no sound that can be read. wav, flac, ogg, opus and mp3 can be; m4a, aac, webm, "
            f"amr, wma and more after: {MEDIA}.{_headerless(name)}"
        )
    if built.unfinished:
        raise UnreadableAudioError(
            f"{name} was never finished: an mp4 or m4a ends with its index, and this one has none. The recording was "
            "cut off; where the device still has it, let its recorder repair it."
        )
    if built.kind == "amr":
        frames: Any = AmrFrames(piece.read())
        context = _amr_context(av, frames.wide)
        yield from ((block, context.sample_rate) for block in _amr_blocks(av, frames, context))
        return
    try:
        media = _opened_by(av, piece)
        track = media.streams.audio[0]
        if len(media.streams.audio) > 1:
            media.close()
            index = _track_of_several(av, piece, notes)
            piece.seek(0)
            media = _opened_by(av, piece)
            track = media.streams.audio[index]
        if track.codec_context is None:
            raise UnreadableAudioError(f"{name} uses a codec that FFmpeg does not know; give wav, flac or mp3.")
        rate = track.codec_context.sample_rate
        checked_channels(track.codec_context.channels, name)
    except (UnreadableAudioError, InvalidSamplesError):
        raise
    except (av.FFmpegError, IndexError, ValueError) as error:
        why = "has no sound in it" if isinstance(error, IndexError) else "is no sound that can be read"
        raise UnreadableAudioError(
            f"{name} {why}; give wav, flac, ogg, opus, mp3, m4a, aac, webm, amr or wma.{_headerless(name)}"
        ) from None
    if not rate:
        raise UnreadableAudioError(f"{name} does not say how its sound is coded; it is cut off or damaged.")
    with media:
        for block in _Track(av, media, track, built, name, gaps).blocks():
            yield block, rate


def _track_of_several(av: Any, piece: BinaryIO, notes: Said) -> int:
    """The one that is marked as default; where none or several are, the first with speech."""
    piece.seek(0)
    with _opened_by(av, piece) as media:
        count = len(media.streams.audio)
        marked = [i for i, track in enumerate(media.streams.audio) if track.disposition & av.stream.Disposition.default]
    candidates = marked or list(range(count))
    chosen = next((i for i in candidates if len(candidates) == 1 or _speaks(av, piece, i)), candidates[0])
    why = "it is the default one" if len(marked) == 1 else "it is the first with speech"
    notes.append(("several-tracks", f"The file has {count} sound tracks; number {chosen + 1} was taken: {why}."))
    return chosen


def _speaks(av: Any, piece: BinaryIO, index: int) -> bool:
    """Whether there is speech in the first two minutes of a track."""
    from s2f_edge.hearing.gain import SpeechStream
    from s2f_edge.hearing.quality import SpeechMeter

    piece.seek(0)
    meter, heard_s = SpeechMeter(), 0.0
    speech = SpeechStream(meter.speaks)
    with suppress(UnreadableAudioError, InvalidSamplesError, av.FFmpegError), _opened_by(av, piece) as media:
        track = media.streams.audio[index]
        rate = track.codec_context.sample_rate
        for block in _Track(av, media, track, Layout(""), "", []).blocks():
            for pair in speech.push(soxr.resample(block.mean(axis=1), rate, SAMPLE_RATE)):
                meter.push(*pair)
            heard_s += len(block) / rate
            if heard_s > 120.0:
                break
    for pair in speech.finish():
        meter.push(*pair)
    return meter.finish().kind == "speech"


def _headerless(name: str) -> str:
    if not name.lower().endswith((".wav", ".raw", ".pcm")):
        return ""
    return " If it holds samples without a header, give them as a numpy array, or write a wav of them."


def _opened_by(av: Any, file: BinaryIO) -> Any:
    """A song's title in an odd encoding is no reason to refuse it; PyAV 19 sees to that without being told."""
    try:
        return av.open(file, metadata_errors="ignore")
    except TypeError:
        file.seek(0)
        return av.open(file)


def _amr_context(av: Any, wide: bool) -> Any:
    context = av.CodecContext.create("amrwb" if wide else "amrnb", "r")
    context.sample_rate, context.layout = 16_000 if wide else 8000, "mono"
    return context


def _amr_blocks(av: Any, frames: AmrFrames, context: Any) -> Iterator[Any]:
    """Speech frames decoded; pauses, which FFmpeg does not know, and what no frame can be, are silence or left out."""
    length = 320 if frames.wide else 160
    parts: list[Float32s] = []
    for frame in frames:
        if isinstance(frame, Gap):
            continue
        sound = []
        if frames.speaks(frame):
            with suppress(av.FFmpegError):
                sound = [made.to_ndarray().reshape(-1, 1) for made in context.decode(av.Packet(frame))]
        parts += sound or [np.zeros((length, 1), np.float32)]
        if len(parts) * AmrFrames.SECONDS >= BLOCK_SECONDS:
            yield np.concatenate(parts)
            parts = []
    if parts:
        yield np.concatenate(parts)


class _Track:
    """One track of an open file, packet by packet: what cannot be decoded is passed over, and told."""

    MOST_FAILURES = 20  # of the container itself, in a row

    def __init__(self, av: Any, media: Any, track: Any, built: Layout, name: str, gaps: list[Gap]) -> None:
        self._av, self._media, self._track, self._built, self._name, self._gaps = av, media, track, built, name, gaps
        self._context = track.codec_context
        self._rate = self._context.sample_rate
        self._amr = self._context.name in ("amrnb", "amrwb")
        self._clocked = media.format.name.startswith(CLOCKS)
        self._done = 0  # samples given
        self._clock: float | None = None  # when the last frame ended, as the container says
        self._lost = 0.0  # seconds since then that could not be decoded
        self._damaged = built.ragged
        if self._context.name == "flac":  # it would make noise of what does not match its checksum
            self._context.options = {"err_detect": "crccheck+explode"}

    def blocks(self) -> Iterator[Any]:
        """float32 (n, channels), interleaved: with more than 8 planes PyAV reads past their list and crashes."""
        parts: list[Any] = []
        for piece in self._pieces():
            if parts and parts[0].shape[1] != piece.shape[1]:
                yield np.concatenate(parts)
                parts = []
            parts.append(piece)
            if sum(map(len, parts)) >= min(BLOCK_SECONDS * self._rate, BLOCK_VALUES // piece.shape[1]):
                yield np.concatenate(parts)
                parts = []
        if parts:
            yield np.concatenate(parts)
        self._end()

    def _pieces(self) -> Iterator[Any]:
        kind, packed = None, self._av.AudioResampler(format="flt", rate=self._rate)
        frames = self._frames()
        while True:
            frame = next(frames, None)
            converted = []
            setup = frame and (frame.format.name, frame.layout.name, frame.sample_rate)
            try:
                if frame is None or kind != setup:
                    # The end, or a new setup within the stream, which a resampler would refuse.
                    converted, packed = (
                        packed.resample(None),
                        self._av.AudioResampler(format="flt", rate=self._rate),
                    )
                if frame is not None:
                    kind = setup
                    checked_channels(frame.layout.nb_channels, self._name)
                    converted += packed.resample(frame)
            except InvalidSamplesError:
                raise
            except (self._av.FFmpegError, ValueError) as error:
                self._failed(error, frame.samples / frame.sample_rate if frame else 0.0)
            for piece in converted:
                samples = piece.to_ndarray().reshape(-1, piece.layout.nb_channels)
                self._done += len(samples)
                yield samples
            if frame is None:
                return

    def _frames(self) -> Iterator[Any]:
        wide = self._context.name == "amrwb"
        context = _amr_context(self._av, wide) if self._amr else None
        for packet in self._packets():
            try:
                if self._amr and packet.size:
                    for block in _amr_blocks(self._av, AmrFrames(bytes(packet), wide), context):
                        frame = self._av.AudioFrame.from_ndarray(block.reshape(1, -1), "flt", "mono")
                        frame.sample_rate = self._rate
                        yield frame
                    continue
                for frame in packet.decode():
                    self._passed(frame)
                    yield frame
            except (self._av.FFmpegError, ValueError) as error:
                self._failed(error, float((packet.duration or 0) * (packet.time_base or Fraction(0))))

    def _packets(self) -> Iterator[Any]:
        failures = 0
        while failures < self.MOST_FAILURES:
            try:
                for packet in self._media.demux(self._track):
                    self._damaged |= bool(packet.is_corrupt)
                    failures = 0
                    yield packet
            except (self._av.FFmpegError, ValueError) as error:
                self._failed(error, 0.0)
                failures += 1
            else:
                return

    def _failed(self, error: Exception, seconds: float) -> None:
        log.debug("%s, at %.2f s: %s", self._name, self._done / self._rate, error)
        self._damaged = True
        self._lost += seconds

    def _passed(self, frame: Any) -> None:
        """Compares a frame's time with the end of the one before."""
        time = frame.time if self._clocked and frame.time is not None else self._clock
        jump = time - self._clock if time is not None and self._clock is not None else 0.0
        if jump > (EXACT_S if self._lost or self._context.name == "flac" else PAUSE_S):
            self._lost = max(self._lost, jump)
        if self._lost:
            self._tell(self._lost)
        self._clock = time + frame.samples / frame.sample_rate if time is not None else None
        self._lost = 0.0

    def _tell(self, seconds: float | None) -> None:
        if self._built.kind == "mp3" or (self._built.gaps and not self._clocked):
            return  # counted before
        self._gaps.append(Gap(self._done / self._rate, seconds))

    def _end(self) -> None:
        done_s = self._done / self._rate
        lost_s = sum(gap.seconds or 0.0 for gap in self._gaps)
        end_s = 0.0
        if self._clocked and self._track.duration:
            end_s = float(self._track.duration * self._track.time_base)
        elif self._clocked and self._media.duration and len(self._media.streams) == 1:
            end_s = self._media.duration / 1e6
        missing = end_s - done_s - lost_s
        if missing > (EXACT_S if self._context.name == "flac" else SLACK_S):
            self._gaps.append(Gap(done_s, missing))
        elif self._lost or (self._damaged and not self._gaps):
            self._tell(self._lost or None)
