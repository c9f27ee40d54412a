"""Any recording to mono float32 at 16 kHz, block by block.

soundfile reads wav, flac, ogg (Vorbis, Opus) and mp3; PyAV, with the extra `media`, reads
m4a, aac, webm, amr and whatever else FFmpeg knows. Decoding, mixing to mono and resampling
are streamed: memory does not grow with the length of the recording.
"""

from __future__ import annotations

import io
import logging
import numbers
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from s2f_edge.errors import InvalidSamplesError, MissingDecoderError, UnreadableAudioError, UsageError
from s2f_edge.hearing.features import SAMPLE_RATE, Float32s

log = logging.getLogger(__name__)

MIN_RATE, MAX_RATE = 8_000, 192_000
MAX_CHANNELS = 64
BLOCK_SECONDS = 10  # of the source
BLOCK_VALUES = BLOCK_SECONDS * MAX_RATE * 2  # 15 MB at most: a few kB may hold 64 channels at 192 kHz

Source = str | os.PathLike[str] | bytes | BinaryIO | NDArray[Any]


@dataclass(frozen=True)
class Waveform:
    """Mono sound: float32 samples, (n,), in [-1, 1], and their rate in Hz."""

    samples: Float32s
    sample_rate: int = SAMPLE_RATE

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.sample_rate


def stream(source: Source, sample_rate: int | None = None) -> Iterator[Float32s]:
    """Decodes a recording block by block.

    Args:
        source: a path, the bytes of a file, a binary file object (read from where it
            stands), or samples: int16, int32 or float in [-1, 1], (n,) or (n, channels).
        sample_rate: the rate of samples, in Hz; for arrays only, and needed there.

    Yields:
        float32, (n,), mono, 16 kHz: the next block, of any length.

    Raises:
        UnreadableAudioError: no sound can be decoded from it, or decoding broke off.
        MissingDecoderError: it needs the extra `media`.
        InvalidSamplesError: a rate outside 8 to 192 kHz, too many channels, NaN, wrong type.
        UsageError: a rate is missing, or given for something that has its own.
    """
    if isinstance(source, np.ndarray):
        if sample_rate is None:
            raise UsageError("The samples have no rate; pass sample_rate= in Hz, such as 16000.")
        rate = _checked_rate(sample_rate)
        blocks = _array_blocks(source, rate)
    else:
        if sample_rate is not None:
            raise UsageError("sample_rate is for arrays; a file carries its own. Leave it out.")
        blocks, rate = _file_blocks(source)
    yield from _resampled(blocks, _checked_rate(rate))


def read(source: Source, sample_rate: int | None = None) -> Waveform:
    """The whole recording at once; see `stream` for arguments and errors."""
    blocks = list(stream(source, sample_rate))
    return Waveform(np.concatenate(blocks) if blocks else np.zeros(0, np.float32))


def _checked_rate(rate: float) -> int:
    # The range comes before int(), which fails for NaN and infinity.
    if not isinstance(rate, numbers.Real) or not MIN_RATE <= rate <= MAX_RATE or rate != int(rate):
        raise InvalidSamplesError(f"The sample rate is {rate} Hz; it must be a whole number from 8000 to 192000.")
    return int(rate)


def _resampled(blocks: Iterator[Float32s], rate: int) -> Iterator[Float32s]:
    """Mono blocks at `rate` to mono blocks at 16 kHz, by a band-limited resampler (soxr)."""
    resampler = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32") if rate != SAMPLE_RATE else None
    for block in blocks:
        if not np.isfinite(block).all():
            raise InvalidSamplesError("The sound has NaN or infinite samples; write it again from its source.")
        yield resampler.resample_chunk(block) if resampler else block
    if resampler:
        yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)


# ------------------------------------------------------------------------------- arrays


def _array_blocks(samples: NDArray[Any], rate: int) -> Iterator[Float32s]:
    if samples.ndim not in (1, 2):
        raise InvalidSamplesError(f"The samples have shape {samples.shape}; it must be (n,) or (n, channels).")
    if samples.ndim == 2 and not 1 <= samples.shape[1] <= MAX_CHANNELS:
        hint = " Transpose it: channels come last." if 1 <= samples.shape[0] <= MAX_CHANNELS else ""
        raise InvalidSamplesError(
            f"The samples have shape {samples.shape}, so {samples.shape[1]} channels; 1 to {MAX_CHANNELS} can be.{hint}"
        )
    if samples.dtype == np.int16:
        scale = 2.0**-15
    elif samples.dtype == np.int32:
        scale = 2.0**-31
    elif samples.dtype.kind == "f":
        scale = 1.0
    else:
        raise InvalidSamplesError(f"The samples are {samples.dtype}; give int16, int32 or float in [-1, 1].")
    step = BLOCK_SECONDS * rate
    for start in range(0, len(samples), step):
        block = samples[start : start + step]
        # Float sound may overshoot 1 a little (lossy codecs do); far above, it is in another unit.
        if scale == 1.0 and block.size and np.abs(block).max() > 16.0:
            raise InvalidSamplesError(
                f"Float samples reach {np.abs(block).max():.0f}; they must be in [-1, 1]. Divide by their full scale."
            )
        yield _mono(block, scale)


def _mono(block: NDArray[Any], scale: float = 1.0) -> Float32s:
    if block.ndim == 2:
        block = block[:, 0] if block.shape[1] == 1 else block.mean(axis=1, dtype=np.float32)
    return np.multiply(block, np.float32(scale), dtype=np.float32) if scale != 1.0 else block.astype(np.float32)


# -------------------------------------------------------------------------------- files


def _file_blocks(source: str | os.PathLike[str] | bytes | BinaryIO) -> tuple[Iterator[Float32s], int]:
    """Mono blocks of a file, and their rate. Which decoder: by what can read the content."""
    name, file = _opened(source)
    try:
        head = file.read(16)
        if not head:
            raise UnreadableAudioError(f"{name} is empty (0 bytes); give a recording.")
        file.seek(0)
        try:
            sound = soundfile.SoundFile(file)
        except soundfile.LibsndfileError as error:
            log.debug("soundfile cannot read %s: %s", name, error)
        else:
            return _soundfile_blocks(sound, file, name), sound.samplerate
        file.seek(0)
        return _pyav_blocks(file, name, head)
    except BaseException:
        file.close()
        raise


def _opened(source: str | os.PathLike[str] | bytes | BinaryIO) -> tuple[str, BinaryIO]:
    """A name for messages, and a seekable binary file of our own."""
    if isinstance(source, bytes | bytearray | memoryview):
        return "The sound", io.BytesIO(source)
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        try:
            if path.is_dir():
                raise UnreadableAudioError(f"{path} is a folder; give a sound file.")
            # By descriptor: a file object that knows its name makes soundfile take any x.raw
            # for headerless sound, and FFmpeg guess by the suffix.
            file = os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0)), "rb")
            if file.seekable():
                return str(path), file
            with file:  # a pipe, such as /dev/stdin: decoders must be able to rewind
                return str(path), io.BytesIO(file.read())
        except FileNotFoundError:
            raise UnreadableAudioError(f"{path} does not exist; check the path.") from None
        except OSError as error:
            raise UnreadableAudioError(f"{path} cannot be opened: {error.strerror}.") from None
        except UnreadableAudioError:
            raise
        except ValueError as error:  # a null byte or a lone surrogate in the path
            raise UnreadableAudioError(f"{str(path)!r} cannot be opened: {error}.") from None
    if hasattr(source, "read"):
        try:
            data = source.read()
        except UnicodeDecodeError:
            data = None  # text mode, and the content is no text
        if not isinstance(data, bytes):
            raise UsageError("The file object gives text; open it in binary mode ('rb').")
        return "The sound", io.BytesIO(data)
    raise UsageError(f"The source is {type(source).__name__}; give a path, bytes, a binary file or a numpy array.")


def _checked_channels(channels: int, name: str) -> None:
    if channels > MAX_CHANNELS:
        raise InvalidSamplesError(f"{name} has {channels} channels; at most {MAX_CHANNELS} can be.")


def _soundfile_blocks(sound: soundfile.SoundFile, file: BinaryIO, name: str) -> Iterator[Float32s]:
    _checked_channels(sound.channels, name)
    done = 0
    frames = min(BLOCK_SECONDS * sound.samplerate, BLOCK_VALUES // sound.channels)
    with file, sound:
        while True:
            try:
                block = sound.read(frames, dtype="float32", always_2d=True)
            except soundfile.LibsndfileError as error:
                raise UnreadableAudioError(
                    f"{name} cannot be decoded beyond {done / sound.samplerate:.1f} s ({error.error_string}). "
                    "It is cut off or damaged; write it again from its source."
                ) from None
            if not len(block):
                return
            done += len(block)
            yield _mono(block)


def _looks_like_media(head: bytes) -> str | None:
    """The name of a container that PyAV can read and soundfile cannot, by its first bytes."""
    if head[4:8] == b"ftyp":
        return "m4a/mp4"
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return "webm/mkv"
    if head[:5] == b"#!AMR":
        return "amr"
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:
        return "aac"
    return None


def _pyav_blocks(file: BinaryIO, name: str, head: bytes) -> tuple[Iterator[Float32s], int]:
    container = _looks_like_media(head)
    try:
        import av
    except ImportError:
        if container:
            raise MissingDecoderError(
                f"{name} is {container}, which needs a further decoder: pip install 's2f-edge[media]'."
            ) from None
        raise UnreadableAudioError(
            f"{name} is no sound that can be read. wav, flac, ogg, opus and mp3 can be; m4a, aac, webm "
            "and amr after: pip install 's2f-edge[media]'."
        ) from None
    try:
        media = _opened_by(av, file)
        track = media.streams.audio[0]
        if track.codec_context is None:
            raise UnreadableAudioError(f"{name} uses a codec that FFmpeg does not know; give wav, flac or mp3.")
        rate, channels = track.codec_context.sample_rate, track.codec_context.channels
    except UnreadableAudioError:
        raise
    except (av.FFmpegError, IndexError, ValueError) as error:
        why = "has no sound in it" if isinstance(error, IndexError) else "is no sound that can be read"
        raise UnreadableAudioError(f"{name} {why}; give wav, flac, ogg, opus, mp3, m4a, aac, webm or amr.") from None
    _checked_channels(channels, name)
    return _pyav_decoded(av, media, track, file, name, rate), rate


def _opened_by(av: Any, file: BinaryIO) -> Any:
    """A song's title in an odd encoding is no reason to refuse it; PyAV 19 sees to that without being told."""
    try:
        return av.open(file, metadata_errors="ignore")
    except TypeError:
        file.seek(0)
        return av.open(file)


def _pyav_decoded(av: Any, media: Any, track: Any, file: BinaryIO, name: str, rate: int) -> Iterator[Float32s]:
    parts: list[Float32s] = []
    held = done = 0
    kind, packed = None, av.AudioResampler(format="flt", rate=rate)
    with file, media:
        frames = media.decode(track)
        while True:
            try:
                frame = next(frames, None)
                converted = []
                if frame is None or kind != (frame.format.name, frame.layout.name, frame.sample_rate):
                    # The end, or a new setup within the stream, which a resampler would refuse.
                    converted, packed = packed.resample(None), av.AudioResampler(format="flt", rate=rate)
                if frame is not None:
                    kind = frame.format.name, frame.layout.name, frame.sample_rate
                    _checked_channels(frame.layout.nb_channels, name)
                    converted += packed.resample(frame)
            except InvalidSamplesError:
                raise
            except (av.FFmpegError, ValueError) as error:
                raise UnreadableAudioError(
                    f"{name} cannot be decoded beyond {done / rate:.1f} s ({getattr(error, 'strerror', error)}). "
                    "It is cut off or damaged; write it again from its source."
                ) from None
            for piece in converted:
                # Interleaved, not planar: with more than 8 planes PyAV reads past their list and crashes.
                parts.append(_mono(piece.to_ndarray().reshape(-1, piece.layout.nb_channels)))
                held += len(parts[-1])
                done += len(parts[-1])
            if held >= BLOCK_SECONDS * rate or (frame is None and held):
                yield np.concatenate(parts)
                parts, held = [], 0
            if frame is None:
                return
