"""Is it speech, and is it good enough? What a recording is, measured while it is read.

WebRTC's detector answers "something is there": white noise, a beep and a song are speech to
it. `SpeechMeter` therefore shows what the detector kept to the speech gate (speech_gate.py),
and measures level, clipping and signal-to-noise ratio. Memory does not grow with the recording.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from s2f_edge.errors import NotSpeechError, TooLittleSpeechError
from s2f_edge.hearing.features import HOP, LOGMEL_BINS, SAMPLE_RATE, WINDOW, Float32s, LogMelStream, logmel, repeat_to
from s2f_edge.hearing.speech_gate import LEAST_FRAMES, WINDOW_FRAMES, Kind, Windows

WORK_S = 8  # sound is collected up to this before it is worked on
HEARD_EVERY_S = 4  # of a recording without speech, one second in this many is looked at

LEVEL_FLOOR = -120.0  # dBFS
SILENCE_DBFS = -75.0  # the loudest 1 % of a silent recording is below
DEAD_DBFS = -95.0
QUIETEST_SHARE = 0.10  # frames that are taken for background noise
QUIETEST_BIAS_DB = 2.0  # the quietest tenth of steady noise is 1 dB (white) to 3 dB (pink) below its mean
CLIP_LEVEL = 0.999

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
        speech_s: seconds that the voice activity detector kept.
        snr_db: level of what was kept over the quietest tenth of the recording, in dB; None
            when that cannot be told (no speech, or less than a second heard).
        level_dbfs: RMS level of what was kept (of all, if nothing was), 0 = full scale.
        clipped_share: share of all samples that are at full scale.
        speech_probability: 0 to 1; speech from 0.5 on.
        kind: speech, silence, noise, tone, music or unclear.
        peak_dbfs: level of the loudest 1 % of all 10 ms frames.
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


class _Levels:
    """Distribution of the levels of 10 ms frames, in steps of 1 dB; DC is left out."""

    def __init__(self) -> None:
        self._rest = np.zeros(0, np.float32)
        self.counts = np.zeros(int(10 - LEVEL_FLOOR), np.int64)
        self.powers = np.zeros(len(self.counts))  # sum of the powers in each step

    def push(self, samples: Float32s) -> None:
        x = np.concatenate([self._rest, samples]) if len(self._rest) else samples
        count = len(x) // HOP
        frames = x[: count * HOP].reshape(count, HOP)
        means = frames.mean(axis=1, dtype=np.float64)
        power = np.maximum(np.einsum("ij,ij->i", frames, frames).astype(np.float64) / HOP - np.square(means), 1e-12)
        step = np.clip((_decibels(power) - LEVEL_FLOOR).astype(np.int64), 0, len(self.counts) - 1)
        self.counts += np.bincount(step, minlength=len(self.counts))
        self.powers += np.bincount(step, weights=power, minlength=len(self.counts))
        self._rest = x[count * HOP :].copy()

    def peak(self) -> float:
        """Level that 1 % of the frames reach, dBFS."""
        above = np.cumsum(self.counts[::-1])
        if above[-1] == 0:
            return LEVEL_FLOOR
        return LEVEL_FLOOR + len(self.counts) - 1 - float(np.searchsorted(above, max(1.0, 0.01 * above[-1])))

    def background(self) -> float | None:
        """Power of the background, from the quietest tenth of the frames; None if less than 1 s was heard."""
        total = int(self.counts.sum())
        if total < SAMPLE_RATE // HOP:
            return None
        wanted = QUIETEST_SHARE * total
        taken = np.clip(wanted - (np.cumsum(self.counts) - self.counts), 0, self.counts)
        quietest = float((self.powers / np.maximum(self.counts, 1) * taken).sum() / wanted)
        return float(quietest * 10.0 ** (QUIETEST_BIAS_DB / 10.0))


class SpeechMeter:
    """Measures a recording that arrives in blocks; the result does not depend on the cut.

    Call `push` with each block and with what `SpeechFinder.push` gave for that block, then
    `finish` once. State: at most some 10 s of sound and of frames, besides the last block.
    """

    def __init__(self) -> None:
        self._heard = 0
        self._clipped = 0
        self._levels = _Levels()
        self._all, self._kept = _Power(), _Power()
        self._voiced = Windows()
        self._stream = LogMelStream()
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
            frames: float32, (l, 64), what a `LogMelStream` of the caller gave for `voiced`; saves
                the meter that work. Given in all calls or in none.
        """
        # Copies, since the caller may use its buffers again. Work waits for several seconds of
        # sound: small blocks would cost several times as much.
        self._blocks.append(np.array(block, np.float32))
        self._parts.append(np.array(voiced, np.float32))
        if frames is not None:
            self._frames.append(np.array(frames, np.float32))
            self._frames_given = True
        self._waiting += len(block)
        if self._waiting >= WORK_S * SAMPLE_RATE:
            self._work()

    def flush(self) -> None:
        """Processes all buffered blocks now, so that finishing a copy stays cheap."""
        if self._blocks:
            self._work()

    def _work(self) -> None:
        block, voiced = _joined(self._blocks), _joined(self._parts)
        self._levels.push(block)
        self._all.push(block)
        self._kept.push(voiced)
        self._clipped += int(np.count_nonzero(np.abs(block) >= CLIP_LEVEL))
        if self._frames_given:
            self._voiced.push(np.concatenate([np.zeros((0, LOGMEL_BINS), np.float32), *self._frames]))
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
            frames = logmel(self._sample)
            self._unvoiced.judge(repeat_to(frames, WINDOW_FRAMES)[None, :WINDOW_FRAMES])
        self._sample = np.zeros(0, np.float32)

    def finish(self) -> SpeechQuality:
        """The result, once the recording has ended."""
        self._work()
        if self._heard % (HEARD_EVERY_S * SAMPLE_RATE) >= LEAST_FRAMES * HOP and self._unvoiced.count == 0:
            self._judge_sample()  # shorter than a second
        self._voiced.finish()
        peak = self._levels.peak()
        probability: float
        kind: Kind
        verdicts = [windows.verdict() for windows in (self._voiced, self._unvoiced) if windows.count]
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
        power = self._kept.mean() if self._kept.count else self._all.mean()
        return SpeechQuality(
            heard_s=self._heard / SAMPLE_RATE,
            speech_s=self._kept.count / SAMPLE_RATE,
            snr_db=self._snr(kind),
            level_dbfs=max(LEVEL_FLOOR, float(_decibels(power))),
            clipped_share=self._clipped / self._heard if self._heard else 0.0,
            speech_probability=probability,
            kind=kind,
            peak_dbfs=peak,
        )

    def _snr(self, kind: Kind) -> float | None:
        background = self._levels.background()
        if background is None or kind != "speech" or self._kept.count < LEAST_FRAMES * HOP:
            return None
        # A voice that never pauses leaves no background: what is measured then is its own quiet frames.
        speech = max(self._kept.mean() - background, 1e-12)
        return float(np.clip(_decibels(speech / max(background, 1e-12)), -10.0, 60.0))


class _Power:
    """Mean power of samples without their DC."""

    def __init__(self) -> None:
        self.count = 0
        self._sum = self._squares = 0.0

    def push(self, samples: Float32s) -> None:
        self.count += len(samples)
        self._sum += float(samples.sum(dtype=np.float64))
        self._squares += float(np.dot(samples, samples))

    def mean(self) -> float:
        return max(0.0, self._squares / self.count - (self._sum / self.count) ** 2) if self.count else 0.0


def _joined(pieces: list[Float32s]) -> Float32s:
    return pieces[0] if len(pieces) == 1 else np.concatenate([np.zeros(0, np.float32), *pieces])


def _decibels(power: Any) -> Any:
    return 10.0 * np.log10(np.maximum(power, 1e-12))
