"""Is it speech, and is it good enough? What a recording is, measured while it is read.

WebRTC's detector answers "something is there": white noise, a beep and a song are speech to
it. `SpeechMeter` therefore shows what the detector kept to the speech gate (speech_gate.py),
which leaves out stretches that are something else, and measures level, clipping and signal-to-noise
ratio of the speech and what is around it. Of an hour, it remembers two megabytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2f_edge.errors import NotSpeechError, TooLittleSpeechError
from s2f_edge.hearing.fbank import FBANK_BINS, FbankStream, fbank
from s2f_edge.hearing.features import HOP, SAMPLE_RATE, WINDOW, Float32s, repeat_to
from s2f_edge.hearing.levels import LEVEL_FLOOR, SECOND, Levels, Power, decibels
from s2f_edge.hearing.speech_gate import LEAST_FRAMES, WINDOW_FRAMES, Kind, Windows
from s2f_edge.hearing.vad import parted

WORK_S = 8  # sound is collected up to this before it is worked on
HEARD_EVERY_S = 4  # of a recording without speech, one second in this many is looked at

SILENCE_DBFS = -75.0  # the loudest 1 % of a silent recording is below
DEAD_DBFS = -95.0

SHORT_SPEECH_S = 3.0
LOW_SNR_DB = 10.0
CLIPPED_SHARE = 0.001
QUIET_DBFS = -45.0
SURE_PROBABILITY = 0.8


# ------------------------------------------------------------------------ what is found


@dataclass(frozen=True)
class QualityWarning:
    """Something that makes the result worse but not impossible: a `code` to test for, a `message` to show."""

    code: str
    message: str


@dataclass(frozen=True)
class SpeechQuality:
    """Measurements of a recording.

    Attributes:
        heard_s: length of the recording in seconds.
        speech_s: seconds of speech: what the voice activity detector kept, without stretches that are no speech
            (with them, if nothing is speech).
        snr_db: level of the speech over the quietest tenth of what is around it, in dB; None
            when that cannot be told (no speech, or less than a second heard).
        level_dbfs: RMS level of the speech (of all, if the detector kept nothing), 0 = full scale.
        clipped_share: share of the samples around the speech that are at full scale.
        speech_probability: 0 to 1; speech from 0.5 on.
        kind: speech, silence, noise, tone, music or unclear.
        peak_dbfs: level of the loudest 1 % of the 10 ms frames around the speech.

    Around the speech are its pauses of up to 10 s, and a second beside it in longer ones; all, if there is no speech.
    """

    heard_s: float
    speech_s: float
    snr_db: float | None
    level_dbfs: float
    clipped_share: float
    speech_probability: float
    kind: Kind
    peak_dbfs: float

    def to_dict(self) -> dict[str, Any]:
        """Seconds and levels, as plain JSON values."""
        return {
            "speech_seconds": round(self.speech_s, 3),
            "heard_seconds": round(self.heard_s, 3),
            "snr_db": rounded(self.snr_db),
            "level_dbfs": rounded(self.level_dbfs),
        }


def rounded(value: float | None, digits: int = 4) -> float | None:
    """A number rounded for JSON; None stays None."""
    return None if value is None else round(float(value), digits)


def require_speech(quality: SpeechQuality, min_speech_s: float = 1.0, damage: str = "") -> None:
    """Checks that the recording is speech and long enough; an error names its damage too.

    Raises:
        NotSpeechError: silence, noise, a tone, music, or nothing that is clearly speech.
        TooLittleSpeechError: speech, but less than `min_speech_s` seconds.
    """
    if quality.heard_s == 0.0 or (quality.kind == "unclear" and quality.heard_s < min_speech_s):
        raise TooLittleSpeechError(quality.speech_s, min_speech_s, quality.heard_s, damage)
    after = f" {damage}" if damage else ""
    if quality.kind == "silence":
        loudest = f"its loudest parts are at {quality.peak_dbfs:.0f} dBFS"
        raise NotSpeechError("silence", f"The recording is silent: {loudest}.{after}")
    if quality.kind != "speech":
        sound = {
            "noise": "This sounds like noise, not like speech",
            "tone": "This sounds like a tone or beeps, not like speech",
            "music": "This sounds like music, not like speech",
        }.get(quality.kind, "This does not sound like speech")
        raise NotSpeechError(
            quality.kind,
            f"{sound}: the speech score of {quality.heard_s:.1f} s of sound is {quality.speech_probability:.2f}, "
            f"and 0.50 is needed.{after}",
        )
    if quality.speech_s < min_speech_s:
        raise TooLittleSpeechError(quality.speech_s, min_speech_s, quality.heard_s, damage)


def warnings(quality: SpeechQuality) -> list[QualityWarning]:
    """Warnings about the quality of an accepted recording."""
    found: list[QualityWarning] = []
    if quality.speech_s < SHORT_SPEECH_S:
        found.append(
            QualityWarning(
                "short-speech",
                # rounded down, so that 2.96 s does not become "only 3.0 s"
                f"Only {np.floor(quality.speech_s * 10) / 10:.1f} s of speech; "
                f"{SHORT_SPEECH_S:.0f} s or more gives a steadier face.",
            )
        )
    if quality.snr_db is not None and quality.snr_db < LOW_SNR_DB:
        found.append(
            QualityWarning(
                "low-snr",
                f"The voice is only about {max(0.0, quality.snr_db):.0f} dB above the background; "
                f"{LOW_SNR_DB:.0f} dB or more is better.",
            )
        )
    if quality.clipped_share > CLIPPED_SHARE:
        found.append(
            QualityWarning(
                "clipping",
                f"{100 * quality.clipped_share:.1f} % of the samples are at full scale; record at a lower level.",
            )
        )
    if quality.level_dbfs < QUIET_DBFS:
        found.append(
            QualityWarning(
                "quiet", f"The voice is very quiet ({quality.level_dbfs:.0f} dBFS); record closer to the microphone."
            )
        )
    if quality.kind == "speech" and quality.speech_probability < SURE_PROBABILITY:
        found.append(
            QualityWarning(
                "unsure",
                f"This may not be speech alone: its speech score is {quality.speech_probability:.2f} of 1.",
            )
        )
    return found


# --------------------------------------------------------------------------- the meter


class SpeechMeter:
    """Measures a recording that arrives in blocks; the result does not depend on the cut.

    Call `push` with each block and with what `SpeechFinder.push` gave for that block, then
    `finish` once. State: at most some 10 s of sound and of frames, besides the last block, and levels.
    """

    def __init__(self) -> None:
        self._heard = 0
        self._levels = Levels()
        self._all, self._kept = Power(), Power()
        self._voiced = Windows()
        self._stream = FbankStream()
        self._unvoiced = Windows()  # looks at the recording itself, as long as there is no speech in it
        self._sample = np.zeros(0, np.float32)  # the second that is being collected for it
        self._blocks: list[Float32s] = []  # given, but not yet worked on
        self._parts: list[Float32s] = []
        self._frames: list[Float32s] = []
        self._frames_given = False
        self._waiting = 0  # samples in the blocks

    def push(self, block: Float32s, voiced: Float32s, frames: Float32s | None = None) -> None:
        """Takes the next block.

        Args:
            block: float32, (n,), the next samples of the recording, 16 kHz, in [-1, 1].
            voiced: float32, (m,), what `SpeechFinder.push(block)` gave.
            frames: float32, (l, 80), what a `FbankStream` of the caller gave for `voiced`; saves
                the meter that work. Given whenever there are voiced samples, or never.
        """
        self._blocks.append(np.asarray(block, np.float32))
        self._parts.append(np.asarray(voiced, np.float32))
        if frames is not None:
            self._frames.append(frames)
            self._frames_given = True
        self._waiting += len(block)
        if self._waiting >= WORK_S * SAMPLE_RATE:
            self._work()
            return
        # Work waits for several seconds of sound: small blocks would cost several times as much. Copies, since the
        # caller may use its buffers again.
        for waiting in (self._blocks, self._parts, self._frames):
            waiting[-1:] = [each.copy() for each in waiting[-1:]]

    def flush(self) -> None:
        """Processes all buffered blocks now, so that finishing a copy stays cheap."""
        if self._blocks:
            self._work()

    @property
    def marks(self) -> list[bool]:
        """Whether each decided second of voiced sound is speech; the rest at the end follows the last one."""
        return self._voiced.marks

    def speaks(self) -> bool:
        """Whether there is speech for certain in what has come so far."""
        self.flush()
        return self._voiced.kept.count > 0

    def _work(self) -> None:
        block, voiced = _joined(self._blocks), _joined(self._parts)
        self._levels.push(block)
        self._all.push(block)
        self._kept.push(voiced)
        if self._frames_given:
            self._voiced.push(_joined(self._frames or [np.zeros((0, FBANK_BINS), np.float32)]))
        else:
            self._voiced.push(self._stream.push(voiced))
        if not self._voiced.whole:
            self._look(block)
        self._heard += len(block)
        self._blocks, self._parts, self._frames, self._waiting = [], [], [], 0

    def _look(self, block: Float32s) -> None:
        """Judges the first second of every four of the recording itself.

        Its result counts only if no whole window of voiced frames ever comes, and until
        then no block is left out; so it is the same for all cuts.
        """
        at, span, size = 0, HEARD_EVERY_S * SAMPLE_RATE, (WINDOW_FRAMES - 1) * HOP + WINDOW
        while at < len(block):
            place = (self._heard + at) % span
            if place >= size:
                at += span - place
                continue
            piece = block[at : at + size - place]
            self._sample = np.concatenate([self._sample, piece])
            at += len(piece)
            if len(self._sample) >= size:
                self._judge_sample()

    def _judge_sample(self) -> None:
        if np.any(self._sample):
            frames = fbank(self._sample)
            self._unvoiced.judge(repeat_to(frames, WINDOW_FRAMES)[None, :WINDOW_FRAMES])
        self._sample = np.zeros(0, np.float32)

    def finish(self, segments: NDArray[np.int64] | None = None) -> SpeechQuality:
        """The result, once the recording has ended.

        Args:
            segments: int64, (k, 2): what the voice detector kept, start and end in samples. None: levels are those of
                all of the recording, not of what is around its speech.
        """
        self.flush()
        if self._heard % (HEARD_EVERY_S * SAMPLE_RATE) >= LEAST_FRAMES * HOP and self._unvoiced.all.count == 0:
            self._judge_sample()  # shorter than a second
        self._voiced.finish()
        left_out = self.left_out()
        levels = self._levels.all()
        if segments is not None and self._voiced.kept.count:
            levels = self._levels.around(*parted(segments, left_out))
        peak = levels.peak()
        probability: float
        kind: Kind
        voiced = self._voiced.kept if self._voiced.kept.count else self._voiced.all
        verdicts = [tally.verdict() for tally in (voiced, self._unvoiced.all) if tally.count]
        if not self._voiced.whole and verdicts:
            # Less than a second is thin ground, so either of the two may call it speech: a voice
            # of which the detector kept too little is told that, not that it is music.
            probability, kind = max(verdicts)
        elif verdicts:
            probability, kind = verdicts[0]
        else:
            probability, kind = 0.0, "unclear"
        # Speech may be very quiet; below the second limit 16-bit samples hold nothing but rounding.
        if peak < DEAD_DBFS or (peak < SILENCE_DBFS and kind != "speech"):
            probability, kind = 0.0, "silence"
        speech, speech_power = self._kept.without(left_out)
        background = levels.background()
        snr_db = None
        if background is not None and kind == "speech" and speech >= LEAST_FRAMES * HOP:
            # A voice that never pauses leaves no background: what is measured then is its own quiet frames.
            ratio = max(speech_power - background, 1e-12) / max(background, 1e-12)
            snr_db = float(np.clip(decibels(ratio), -10.0, 60.0))
        power = speech_power if speech else self._all.without(left_out[:0])[1]
        return SpeechQuality(
            heard_s=self._heard / SAMPLE_RATE,
            speech_s=speech / SAMPLE_RATE,
            snr_db=snr_db,
            level_dbfs=max(LEVEL_FLOOR, float(decibels(power))),
            clipped_share=levels.clipped_share,
            speech_probability=probability,
            kind=kind,
            peak_dbfs=peak,
        )

    def left_out(self) -> NDArray[np.int64]:
        """int64, (k, 2): stretches of the voiced sound that are no speech, in samples of it; none if all is none."""
        if not self._voiced.kept.count:
            return np.zeros((0, 2), np.int64)
        changes = np.diff(np.array([True, *self._voiced.marks, True], np.int8))
        spans = np.stack([np.flatnonzero(changes < 0), np.flatnonzero(changes > 0)], axis=1) * SECOND
        if len(spans) and not self._voiced.marks[-1]:
            spans[-1, 1] = self._kept.count
        return spans


def _joined(pieces: list[Float32s]) -> Float32s:
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
