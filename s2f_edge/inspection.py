"""What is heard in a recording, measured: waveform, voice detector, log-mel, numbers.

The recording is read once, block by block, and may be anything: this is for looking at sound
that is refused, too. Kept are the lowest and highest sample of every 10 ms, the segments of the
voice detector and a log-mel picture of limited width; the samples are not. As in the pipeline,
the front end keeps its features of the speech. `inspection_picture` draws it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2f_edge.errors import NotSpeechError, TooLittleSpeechError
from s2f_edge.hearing import audio
from s2f_edge.hearing.features import HOP, LOGMEL_BINS, SAMPLE_RATE, Float32s, LogMelStream
from s2f_edge.hearing.quality import SpeechQuality, rounded
from s2f_edge.listening import Listener
from s2f_edge.pipeline import Speech2Face
from s2f_edge.results import Voice

MAX_COLUMNS = 4096  # of the log-mel picture; one that grows beyond is averaged to half


@dataclass(frozen=True)
class Inspection:
    """The measurements of a recording.

    Attributes:
        envelope: float32, (n, 2): lowest and highest sample of every 10 ms, full scale = 1.
        segments: int64, (k, 2): what the voice detector kept, start and end in samples at 16 kHz.
        logmel: float16, (columns, 64): natural-log mel energies of the whole recording.
        column_s: seconds that a column of `logmel` stands for.
        quality: level, signal-to-noise ratio, kind of sound.
        voice: what the pack says about the voice; None where the recording is refused.
        refusal: why it is refused; None where it is accepted.
        pack: name and version of the pack.
    """

    envelope: Float32s
    segments: NDArray[np.int64]
    logmel: NDArray[np.float16]
    column_s: float
    quality: SpeechQuality
    voice: Voice | None
    refusal: NotSpeechError | TooLittleSpeechError | None
    pack: str

    @property
    def kept_share(self) -> float:
        """Share of the recording that the voice detector kept."""
        return self.quality.speech_s / self.quality.heard_s if self.quality.heard_s else 0.0

    def numbers(self) -> dict[str, Any]:
        """Everything but the curves, as plain JSON values."""
        found, voice = self.quality, self.voice.to_dict() if self.voice else {}
        return {
            **found.to_dict(),
            "kept_share": rounded(self.kept_share),
            "segments": len(self.segments),
            "clipped_share": rounded(found.clipped_share, 6),
            "kind": found.kind,
            "speech_probability": rounded(found.speech_probability),
            **{name: voice.get(name) for name in ("gender", "male_probability", "surprise")},
            "warnings": [warning["message"] for warning in voice.get("warnings", [])],
            "refused": str(self.refusal) if self.refusal else None,
            "refused_code": self.refusal.code if self.refusal else None,
            "pack": self.pack,
        }


def listen(
    source: audio.Source, pack: Path | None = None, sample_rate: int | None = None, variant: str | None = "auto"
) -> Inspection:
    """Measures a recording of any sound, in one pass.

    Args:
        source: path, bytes of a file, binary file object, or numpy samples.
        pack: folder of the model pack that estimates gender; None takes the default pack.
        sample_rate: of numpy samples, in Hz.
        variant: of the pack, see `Speech2Face`.

    Raises:
        PackError, RuntimeSetupError: the pack cannot be opened.
        UnreadableAudioError, MissingDecoderError, InvalidSamplesError: the recording cannot be
            read. Sound that is not speech, or too little of it, raises nothing.
    """
    model = Speech2Face(pack, "cpu", variant=variant)
    listener = Listener(model.pack.manifest.voice.features, model.windows)
    envelope, stream, columns = _Envelope(), LogMelStream(), _Columns()
    notes = audio.Notes()
    for block in audio.stream(source, sample_rate, notes):
        listener.push(block)
        envelope.push(block)
        columns.push(stream.push(block))
    columns.push(stream.finish())
    heard = listener.finish()
    voice, refusal = None, None
    try:
        voice = model.voice_of(heard.quality, heard.windows, notes=notes)
    except (NotSpeechError, TooLittleSpeechError) as error:
        refusal = error
    logmel, column_s = columns.finish()
    return Inspection(
        envelope.finish(), heard.segments, logmel, column_s, heard.quality, voice, refusal, model.pack_name
    )


class _Envelope:
    """Lowest and highest sample of every 10 ms of a signal that arrives in blocks."""

    def __init__(self) -> None:
        self._rest = np.zeros(0, np.float32)
        self._parts: list[Float32s] = [np.zeros((0, 2), np.float32)]

    def push(self, samples: Float32s) -> None:
        x = np.concatenate([self._rest, samples])
        frames = x[: len(x) // HOP * HOP].reshape(-1, HOP)
        self._parts.append(np.stack([frames.min(axis=1), frames.max(axis=1)], axis=1))
        self._rest = x[frames.size :].copy()

    def finish(self) -> Float32s:
        """float32, (ceil(samples / 160), 2)."""
        last = [[self._rest.min(), self._rest.max()]] if len(self._rest) else np.zeros((0, 2))
        return np.concatenate([*self._parts, np.array(last, np.float32)])


class _Columns:
    """Log-mel frames, averaged so far that there are never more than `MAX_COLUMNS`, whatever the cut."""

    def __init__(self) -> None:
        self._step = 1  # frames in a column
        self._columns = np.zeros((0, LOGMEL_BINS), np.float32)
        self._rest = self._columns  # frames of the column that has begun

    def push(self, frames: Float32s) -> None:
        """float32 (n, 64)."""
        x = np.concatenate([self._rest, frames])
        whole = len(x) // self._step * self._step
        fresh = x[:whole].reshape(-1, self._step, LOGMEL_BINS).mean(axis=1)
        self._columns, self._rest = np.concatenate([self._columns, fresh]), x[whole:].copy()
        while len(self._columns) > MAX_COLUMNS:
            pairs = len(self._columns) // 2 * 2
            # A column without a partner begins a wider one: as many frames as it had.
            self._rest = np.concatenate([np.repeat(self._columns[pairs:], self._step, axis=0), self._rest])
            self._columns = self._columns[:pairs].reshape(-1, 2, LOGMEL_BINS).mean(axis=1)
            self._step *= 2

    def finish(self) -> tuple[NDArray[np.float16], float]:
        """float16 (columns, 64), and the seconds that a column stands for."""
        last = self._rest.mean(axis=0, keepdims=True) if len(self._rest) else self._rest
        return np.concatenate([self._columns, last]).astype(np.float16), self._step * HOP / SAMPLE_RATE
