"""Any recording to mono float32 at 16 kHz, block by block.

`containers` looks at how a file is built, `decoders` decode it, `channels` mix it. All of it is
streamed: memory does not grow with the length of the recording. Of a damaged file, all that can
be decoded is used, and `Notes` say what is missing.
"""

from __future__ import annotations

import io
import numbers
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soxr
from numpy.typing import NDArray

from s2f_edge.errors import InvalidSamplesError, UnreadableAudioError, UsageError
from s2f_edge.hearing.channels import FULL_SCALE, Mixer, peak_of
from s2f_edge.hearing.containers import layout
from s2f_edge.hearing.decoders import MAX_CHANNELS, decoded
from s2f_edge.hearing.features import SAMPLE_RATE, Float32s
from s2f_edge.hearing.frames import Gap
from s2f_edge.hearing.quality import QualityWarning
from s2f_edge.hearing.soundfile_reader import BLOCK_SECONDS, MAX_RATE
from s2f_edge.hearing.spool import Spooled

MIN_RATE = 8_000

FileSource = str | os.PathLike[str] | bytes | BinaryIO | Spooled
Source = FileSource | NDArray[Any]


@dataclass(frozen=True)
class Waveform:
    """Mono sound: float32 samples, (n,), in [-1, 1], their rate in Hz, and what is to be said about them."""

    samples: Float32s
    sample_rate: int = SAMPLE_RATE
    warnings: tuple[QualityWarning, ...] = ()

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.sample_rate


@dataclass
class Notes:
    """What is to be said about a recording, complete when its last block has come.

    Attributes:
        gaps: sound that is missing.
        said: codes and sentences on other things.
    """

    gaps: list[Gap] = field(default_factory=list)
    said: list[tuple[str, str]] = field(default_factory=list)

    def wrong_length(self, claimed_s: float, found_s: float) -> None:
        text = f"Its header says {claimed_s:.1f} s; the file has {found_s:.1f} s of sound, and all of it was used."
        self.said.append(("wrong-length", text))

    def take(self, told: Any) -> None:
        """Takes up the fields of notes that another process made, which nobody has to believe."""
        self.gaps += (Gap(float(at), None if much is None else float(much)) for at, much in told["gaps"][:1000])
        self.said += ((str(code)[:40], str(text)[:1000]) for code, text in told["said"][:20])

    def damage(self) -> str:
        """What is missing, in a sentence; empty if nothing is."""
        if not self.gaps:
            return ""
        gaps = sorted(self.gaps)
        total = sum(gap.seconds or 0.0 for gap in gaps)
        much = f"{'At least' if any(gap.seconds is None for gap in gaps) else 'About'} {total:.2f} s are missing"
        where = f"at {gaps[0].at_s:.1f} s"
        if len(places := dict.fromkeys(f"{gap.at_s:.1f} s" for gap in gaps)) > 1:
            where = f"in {len(places)} places from {gaps[0].at_s:.1f} s to {gaps[-1].at_s:.1f} s"
        much = much if total >= 0.005 else "Sound is missing"
        return f"{much} {where}: the file is cut off or damaged, or claims more than it has."

    def warnings(self) -> tuple[QualityWarning, ...]:
        damage = [("missing-sound", self.damage())] if self.gaps else []
        return tuple(QualityWarning(code, text) for code, text in dict.fromkeys([*damage, *self.said]))


def stream(
    source: Source,
    sample_rate: int | None = None,
    notes: Notes | None = None,
    tap: Callable[[Any, int], None] | None = None,
) -> Iterator[Float32s]:
    """Decodes a recording block by block.

    Args:
        source: a path, the bytes of a file, a binary file object (read from where it
            stands), or samples: int16, int32 or float in [-1, 1], (n,) or (n, channels).
        sample_rate: the rate of samples, in Hz; for arrays only, and needed there.
        notes: takes up what is missing of the recording, and which of several sounds was taken.
        tap: is given each block as it is decoded, float32 (n, channels), and its rate in Hz, before it is mixed.

    Yields:
        float32, (n,), mono, 16 kHz: the next block, of any length.

    Raises:
        UnreadableAudioError: no sound can be decoded from it.
        MissingDecoderError: it needs the extra `media`.
        InvalidSamplesError: a rate outside 8 to 192 kHz, too many channels, NaN, wrong type.
        UsageError: a rate is missing, or given for something that has its own.
    """
    notes = notes or Notes()
    if isinstance(source, np.ndarray):
        if sample_rate is None:
            raise UsageError("The samples have no rate; pass sample_rate= in Hz, such as 16000.")
        blocks = _array_blocks(source, _checked_rate(sample_rate))
    else:
        if isinstance(source, list | tuple) or hasattr(source, "__array__"):
            raise UsageError(
                f"The source is {type(source).__name__}; give a numpy array of samples (numpy.asarray makes one), "
                "or give a path, bytes or a binary file."
            )
        if sample_rate is not None:
            raise UsageError("sample_rate is for arrays; a file carries its own. Leave it out.")
        blocks = _file_blocks(source, notes)
    yield from _resampled(blocks if tap is None else _tapped(blocks, tap), notes)


def _tapped(blocks: Iterator[tuple[Any, int]], tap: Callable[[Any, int], None]) -> Iterator[tuple[Any, int]]:
    for block, rate in blocks:
        tap(block, rate)
        yield block, rate


def read(source: Source, sample_rate: int | None = None) -> Waveform:
    """The whole recording at once; see `stream` for arguments and errors."""
    notes = Notes()
    blocks = list(stream(source, sample_rate, notes))
    return Waveform(np.concatenate(blocks) if blocks else np.zeros(0, np.float32), warnings=notes.warnings())


def _checked_rate(rate: float) -> int:
    # The range comes before int(), which fails for NaN and infinity.
    if not isinstance(rate, numbers.Real) or not MIN_RATE <= rate <= MAX_RATE or rate != int(rate):
        raise InvalidSamplesError(f"The sample rate is {rate} Hz; it must be a whole number from 8000 to 192000.")
    return int(rate)


def _resampled(blocks: Iterator[tuple[Any, int]], notes: Notes) -> Iterator[Float32s]:
    """Blocks (n, channels) and their rates to mono blocks at 16 kHz, by a band-limited resampler (soxr)."""
    mixer = Mixer()
    resampler: Any = None
    rate = 0
    for block, block_rate in blocks:
        if block_rate != rate:
            if resampler:
                yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)
            rate = _checked_rate(block_rate)
            resampler = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32") if rate != SAMPLE_RATE else None
        mono = mixer(block, rate)
        if not np.isfinite(mono).all():
            raise InvalidSamplesError("The sound has NaN or infinite samples; write it again from its source.")
        yield resampler.resample_chunk(mono) if resampler else mono
    if resampler:
        yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)
    if mixer.said:
        notes.said.append(("channels", mixer.said))


# ------------------------------------------------------------------------------- arrays


def _array_blocks(samples: NDArray[Any], rate: int) -> Iterator[tuple[Any, int]]:
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
    wide = samples if samples.ndim == 2 else samples[:, None]
    for start in range(0, len(samples), step):
        with np.errstate(over="ignore"):
            block = wide[start : start + step].astype(np.float32)
        yield np.multiply(block, np.float32(scale)) if scale != 1.0 else block, rate


# -------------------------------------------------------------------------------- files


def _file_blocks(source: FileSource, notes: Notes) -> Iterator[tuple[Any, int]]:
    """Blocks of a file, (n, channels), and their rate. Which decoder: by what can read the content."""
    name, file = _opened(source)
    with file:
        if not file.read(1):
            raise UnreadableAudioError(f"{name} is empty (0 bytes); give a recording.")
        file.seek(0)
        built = layout(file)
        heard = 0.0
        problem: UnreadableAudioError | None = None
        for piece in built.pieces:
            piece.seek(0)
            gaps: list[Gap] = []
            before = heard
            try:
                for block, rate in decoded(piece, built, name, gaps, notes.said):
                    yield _sane(block, rate, heard, notes.gaps), rate
                    heard += len(block) / rate
            except UnreadableAudioError as error:
                problem = problem or error
                gaps = [Gap(0.0)] if len(built.pieces) > 1 else []
            notes.gaps += (Gap(before + gap.at_s, gap.seconds) for gap in gaps)
        notes.gaps += built.gaps
        if problem and not heard:
            raise problem
        if notes.gaps and not heard:
            raise UnreadableAudioError(
                f"{name} cannot be decoded, not even in part. It is cut off or damaged; write it again from its source."
            )
        if built.claimed_s is not None:
            notes.wrong_length(built.claimed_s, heard)


def _sane(block: Any, rate: int, at_s: float, gaps: list[Gap]) -> Any:
    """Without the few samples of float sound that damage has made huge. Where most are, it is in another unit."""
    bad = None if peak_of(block) <= FULL_SCALE else ~(np.abs(block) <= FULL_SCALE)
    if bad is None or not np.isfinite(block[bad]).any() or bad.mean() > 0.01:
        return block
    gaps.append(Gap(at_s + float(bad.any(axis=1).argmax()) / rate, float(bad.any(axis=1).sum()) / rate))
    return np.where(bad, np.float32(0.0), block)


def _working_folder() -> bool:
    try:
        return bool(Path.cwd())
    except FileNotFoundError:
        return False


def _opened(source: FileSource) -> tuple[str, BinaryIO]:
    """A name for messages, and a seekable binary file of our own."""
    if isinstance(source, bytes | bytearray | memoryview):
        return "The sound", io.BytesIO(source)
    if isinstance(source, Spooled):
        return "The sound", source.open()
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
            if not path.is_absolute() and not _working_folder():
                raise UnreadableAudioError(
                    f"{path} cannot be opened: the working folder is gone, deleted or moved. Give a whole path."
                ) from None
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
            raise UsageError("The file object is in text mode; open it in binary mode ('rb').")
        return "The sound", io.BytesIO(data)
    raise UsageError(f"The source is {type(source).__name__}; give a path, bytes, a binary file or a numpy array.")
