"""The speech gate and the quality report of `s2f_edge.hearing.quality`."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from s2f_edge.errors import NotSpeechError, TooLittleSpeechError
from s2f_edge.hearing.fbank import FbankStream, fbank
from s2f_edge.hearing.features import SAMPLE_RATE
from s2f_edge.hearing.quality import SpeechMeter, SpeechQuality, require_speech, warnings
from s2f_edge.hearing.speech_gate import window_statistics
from s2f_edge.hearing.vad import SpeechFinder

Sound = NDArray[np.float64]


def measure(samples: Sound, block: int | None = None, gain: float = 1.0, share_frames: bool = False) -> SpeechQuality:
    """Runs finder and meter over (n,) samples in blocks of `block` samples."""
    finder, meter, stream = SpeechFinder(gain), SpeechMeter(), FbankStream()
    x = samples.astype(np.float32)
    for start in range(0, len(x), block or max(1, len(x))):
        piece = x[start : start + (block or len(x))]
        voiced = finder.push(piece)
        if share_frames:
            meter.push(piece, voiced, stream.push(voiced))
        else:
            meter.push(piece, voiced)
    return meter.finish()


def seconds(length: float) -> Sound:
    return np.arange(int(length * SAMPLE_RATE)) / SAMPLE_RATE


def coloured(seed: int, length: float, slope: float, rms: float = 0.1) -> Sound:
    """Noise with power falling as frequency ** -slope."""
    spectrum = np.fft.rfft(np.random.default_rng(seed).normal(size=int(length * SAMPLE_RATE)))
    spectrum *= np.maximum(np.arange(len(spectrum)) / length, 20.0) ** (-slope / 2)
    x = np.fft.irfft(spectrum)
    return x / x.std() * rms


# ------------------------------------------------------------------- sounds that are no speech


def gusts(seed: int) -> Sound:
    t = seconds(6)
    return coloured(seed, 6, 1) * (1 + 0.8 * np.sin(2 * np.pi * 0.4 * t + seed))


def rain(seed: int) -> Sound:
    rng = np.random.default_rng(seed)
    drops = (rng.random(6 * SAMPLE_RATE) < 0.01) * rng.exponential(size=6 * SAMPLE_RATE)
    return 0.1 * np.convolve(drops, rng.normal(size=60) * np.exp(-np.arange(60) / 15))[: 6 * SAMPLE_RATE]


def hum(hz: float) -> Sound:
    t = seconds(6)
    return 0.2 * sum(np.sin(2 * np.pi * hz * k * t + k) / k for k in range(1, 30))


def fan(seed: int) -> Sound:
    t = seconds(6)
    return coloured(seed, 6, 1) + 0.05 * np.sin(2 * np.pi * 120 * t) + 0.03 * np.sin(2 * np.pi * 240 * t)


def sweep(low: float, high: float, period: float) -> Sound:
    t = seconds(6)
    hz = low * (high / low) ** (t % period / period)
    return 0.4 * np.sin(2 * np.pi * np.cumsum(hz) / SAMPLE_RATE)


def beeps(hz: float, on: float, off: float) -> Sound:
    t = seconds(6)
    return 0.4 * np.sin(2 * np.pi * hz * t) * (t % (on + off) < on)


def dtmf(seed: int) -> Sound:
    rng = np.random.default_rng(seed)
    t = seconds(0.2)
    out = []
    for _ in range(20):
        low, high = rng.choice([697, 770, 852, 941]), rng.choice([1209, 1336, 1477])
        out += [0.3 * (np.sin(2 * np.pi * low * t) + np.sin(2 * np.pi * high * t)), np.zeros(1600)]
    return np.concatenate(out)


def dial() -> Sound:
    t = seconds(6)
    return 0.2 * (np.sin(2 * np.pi * 350 * t) + np.sin(2 * np.pi * 440 * t))


def _note(name: str, hz: float, length: float, rng: np.random.Generator) -> Sound:
    t = seconds(length)
    ends = np.minimum(1, t / 0.01) * np.minimum(1, (length - t) / 0.03)
    if name == "organ":
        return ends * sum(np.sin(2 * np.pi * hz * k * t) / k for k in (1, 2, 3, 4, 6, 8))
    if name == "piano":
        return ends * sum(np.sin(2 * np.pi * hz * k * t) / k**1.3 * np.exp(-t * (1 + k)) for k in range(1, 9))
    if name == "strings":
        bent = t + 0.006 * np.sin(2 * np.pi * 5.5 * t) / (2 * np.pi * 5.5)
        return np.minimum(1, t / 0.12) * ends * sum(np.sin(2 * np.pi * hz * k * bent) / k for k in range(1, 13))
    if name == "bell":
        return ends * np.exp(-2 * t) * np.sin(2 * np.pi * hz * t + 3 * np.exp(-t) * np.sin(2 * np.pi * 3.5 * hz * t))
    string = rng.uniform(-1, 1, int(SAMPLE_RATE / hz))  # guitar: Karplus-Strong
    periods = []
    for _ in range(len(t) // len(string) + 1):
        periods.append(string)
        string = 0.498 * (string + np.roll(string, 1))
    return ends * np.concatenate(periods)[: len(t)]


def music(name: str, seed: int, drums: bool = False) -> Sound:
    """Eight seconds of chords and a tune at 100 beats a minute."""
    rng = np.random.default_rng(seed)
    out = np.zeros(9 * SAMPLE_RATE)
    scale = [0, 2, 4, 5, 7, 9, 11, 12]
    for beat in range(12):
        start = int(beat * 0.6 * SAMPLE_RATE)
        for hz, length in [(220 * 2 ** (rng.choice(scale) / 12), 0.6), (440 * 2 ** (rng.choice(scale) / 12), 0.6)] + [
            (110 * 2 ** ((chord + 12) / 12), 2.4) for chord in (0, 4, 7) if beat % 4 == 0
        ]:
            made = _note(name, hz, length, rng)
            out[start : start + len(made)] += made
        if drums:
            t = seconds(0.2)
            hit = np.sin(2 * np.pi * 60 * t) if beat % 2 else rng.normal(size=len(t))
            out[start : start + len(t)] += 2 * hit * np.exp(-t / 0.04)
    return 0.5 * out[: 8 * SAMPLE_RATE] / np.abs(out).max()


NOT_SPEECH: dict[str, tuple[str, Callable[[], Sound]]] = {
    "zeros": ("silence", lambda: np.zeros(5 * SAMPLE_RATE)),
    "dither": ("silence", lambda: np.random.default_rng(0).integers(-1, 2, 5 * SAMPLE_RATE) / 32768),
    "DC": ("silence", lambda: np.full(5 * SAMPLE_RATE, 0.2)),
    "DC near full scale": ("silence", lambda: np.full(5 * SAMPLE_RATE, 0.97)),
    "white noise": ("noise", lambda: coloured(1, 6, 0)),
    "pink noise": ("noise", lambda: coloured(2, 6, 1)),
    "brown noise": ("noise", lambda: coloured(3, 6, 2)),
    "quiet white noise": ("noise", lambda: coloured(4, 6, 0, rms=0.002)),
    "gusts": ("noise", lambda: gusts(5)),
    "rain": ("noise", lambda: rain(6)),
    "fan": ("noise", lambda: fan(7)),
    "tone 220 Hz": ("tone", lambda: 0.3 * np.sin(2 * np.pi * 220 * seconds(6))),
    "tone 1 kHz": ("tone", lambda: 0.3 * np.sin(2 * np.pi * 1000 * seconds(6))),
    "tone 4 kHz": ("tone", lambda: 0.3 * np.sin(2 * np.pi * 4000 * seconds(6))),
    "hum 50 Hz": ("tone", lambda: hum(50)),
    "hum 60 Hz": ("tone", lambda: hum(60)),
    "slow chirp": ("tone", lambda: sweep(100, 7000, 6)),
    "fast chirp": ("tone", lambda: sweep(300, 3000, 0.7)),
    "beeps": ("tone", lambda: beeps(1000, 0.2, 0.3)),
    "dial tone": ("tone", dial),
    "DTMF": ("tone", lambda: dtmf(8)),
    "organ": ("music", lambda: music("organ", 1)),
    "piano": ("music", lambda: music("piano", 2)),
    "strings": ("music", lambda: music("strings", 3)),
    "bells": ("music", lambda: music("bell", 4)),
    "guitar": ("music", lambda: music("guitar", 5)),
    "band": ("music", lambda: music("piano", 6, drums=True)),
}


@pytest.mark.parametrize("name", NOT_SPEECH)
def test_what_is_no_speech_is_refused_with_its_reason(name: str) -> None:
    reason, make = NOT_SPEECH[name]
    with pytest.raises(NotSpeechError) as caught:
        require_speech(measure(make()))
    assert caught.value.reason == reason


@pytest.mark.parametrize("name", ["white noise", "dial tone", "organ"])
def test_loudness_does_not_save_what_is_no_speech(name: str) -> None:
    for factor in (0.03, 0.3, 2.0):
        with pytest.raises(NotSpeechError):
            require_speech(measure(factor * NOT_SPEECH[name][1]()))


def test_the_message_says_what_was_found() -> None:
    with pytest.raises(NotSpeechError, match=r"sounds like noise.* 6\.0 s of sound is 0\.\d\d, and 0\.50 is needed\."):
        require_speech(measure(coloured(1, 6, 0)))
    with pytest.raises(NotSpeechError, match="silent: its loudest parts are at -120 dBFS"):
        require_speech(measure(np.zeros(SAMPLE_RATE)))


# ------------------------------------------------------------------------------ the measures


def same(a: SpeechQuality, b: SpeechQuality) -> None:
    assert a.kind == b.kind
    for exact in ("heard_s", "speech_s", "clipped_share", "peak_dbfs"):
        assert getattr(a, exact) == getattr(b, exact)
    assert a.speech_probability == pytest.approx(b.speech_probability, abs=1e-4)
    assert a.level_dbfs == pytest.approx(b.level_dbfs, abs=1e-3)
    assert (a.snr_db is None) == (b.snr_db is None)
    if a.snr_db is not None:
        assert a.snr_db == pytest.approx(b.snr_db, abs=0.01)


def voice_like(seed: int, length: float, gap: float = 0.12) -> Sound:
    """Vowels and consonants by formula: a pulse train with a wandering pitch through moving formants.

    Not a voice that anybody would believe, but it has syllables, glides, pauses and hisses.
    """
    rng = np.random.default_rng(seed)
    out: list[Sound] = []
    while sum(map(len, out)) < length * SAMPLE_RATE:
        t = seconds(float(rng.uniform(0.12, 0.3)))
        hz = rng.uniform(100, 160) * (1 + rng.uniform(-0.25, 0.25) * t / t[-1])
        phase = 2 * np.pi * np.cumsum(hz) / SAMPLE_RATE
        start, end = (np.array([rng.uniform(280, 800), rng.uniform(900, 2300), 2600]) for _ in range(2))
        vowel = np.zeros(len(t))
        for k in range(1, 40):
            where = (start[:, None] + (end - start)[:, None] * t / t[-1]) - k * hz
            vowel += (np.exp(-np.square(where / 110)) * np.array([[1.0], [0.5], [0.2]])).sum(axis=0) * np.sin(k * phase)
        hiss = np.diff(rng.normal(size=int(rng.uniform(0.04, 0.12) * SAMPLE_RATE) + 1))
        out += [0.03 * hiss * np.hanning(len(hiss)), 0.25 * vowel * np.abs(np.sin(np.pi * t / t[-1])) ** 0.5]
        out.append(np.zeros(int(rng.exponential(gap) * SAMPLE_RATE)))
    x = np.concatenate(out)[: int(length * SAMPLE_RATE)]
    return x + 1e-4 * rng.normal(size=len(x))


@pytest.mark.parametrize("name", ["voice", "organ", "white noise", "brown noise", "zeros", "beeps"])
def test_the_cut_into_blocks_does_not_matter(name: str) -> None:
    x = voice_like(1, 9.3) if name == "voice" else NOT_SPEECH[name][1]()
    whole = measure(x)
    for block in (160, 1000, 16_001):
        same(whole, measure(x, block))
    same(whole, measure(x, 4096, share_frames=True))


@pytest.mark.parametrize("block", [1600, 9 * SAMPLE_RATE])
def test_buffers_can_be_used_again(block: int) -> None:
    """Blocks that wait to be worked on, and those that are long enough to be worked on at once."""
    x = voice_like(3, 18.0).astype(np.float32)
    finder, meter, stream = SpeechFinder(), SpeechMeter(), FbankStream()
    for start in range(0, len(x), block):
        piece = x[start : start + block].copy()
        voiced = finder.push(piece).copy()
        frames = stream.push(voiced)
        meter.push(piece, voiced, frames)
        for buffer in (piece, voiced, frames):
            buffer[:] = 0.5
    same(measure(x), meter.finish())


def test_statistics_of_a_second_are_its_own_and_no_loudness() -> None:
    windows = fbank(voice_like(4, 13.1).astype(np.float32))[:1300].reshape(13, 100, 80)
    together = window_statistics(windows)
    alone = np.concatenate([window_statistics(window[None] + 3) for window in windows])
    np.testing.assert_allclose(together, alone, rtol=1e-3, atol=2e-3)
    assert np.abs(np.diff(together, axis=0)).max(axis=1).min() > 0.1


def test_measures_of_a_known_signal() -> None:
    x = np.concatenate([0.01 * coloured(1, 2, 0, 1.0), np.clip(voice_like(2, 6), -0.3, 0.3) / 0.3])
    quality = measure(x)
    assert quality.heard_s == 8.0
    assert 0.5 < quality.speech_s <= 8.0
    assert quality.clipped_share == pytest.approx(np.mean(np.abs(x) >= 0.999))
    tone = measure(0.1 * np.sin(2 * np.pi * 500 * seconds(3)) + 0.2)  # DC does not count
    assert tone.level_dbfs == pytest.approx(-23.0, abs=0.2)


def quality_of(**changes: object) -> SpeechQuality:
    values: dict[str, object] = {
        "heard_s": 10.0,
        "speech_s": 6.0,
        "snr_db": 30.0,
        "level_dbfs": -25.0,
        "clipped_share": 0.0,
        "speech_probability": 0.99,
        "kind": "speech",
        "peak_dbfs": -15.0,
    }
    return SpeechQuality(**{**values, **changes})  # type: ignore[arg-type]


def test_a_good_recording_passes_without_a_warning() -> None:
    require_speech(quality_of())
    assert warnings(quality_of()) == []
    assert warnings(quality_of(snr_db=None)) == []


def test_too_little_speech() -> None:
    with pytest.raises(TooLittleSpeechError) as caught:
        require_speech(quality_of(speech_s=0.7))
    assert (caught.value.found_s, caught.value.needed_s, caught.value.heard_s) == (0.7, 1.0, 10.0)
    require_speech(quality_of(speech_s=0.7), min_speech_s=0.5)
    with pytest.raises(NotSpeechError):  # what it is comes before how much of it there is
        require_speech(quality_of(speech_s=0.7, kind="music"))


@pytest.mark.parametrize(
    ("changes", "code", "text"),
    [
        ({"speech_s": 2.13}, "short-speech", "Only 2.1 s of speech; 3 s or more gives a steadier face."),
        ({"speech_s": 2.98}, "short-speech", "Only 2.9 s of speech; 3 s or more gives a steadier face."),
        ({"snr_db": 6.2}, "low-snr", "about 6 dB above the background"),
        ({"clipped_share": 0.012}, "clipping", "1.2 % of the samples are at full scale"),
        ({"level_dbfs": -52.0}, "quiet", "very quiet (-52 dBFS)"),
        ({"speech_probability": 0.61}, "unsure", "0.61"),
    ],
)
def test_warnings(changes: dict[str, object], code: str, text: str) -> None:
    (only,) = warnings(quality_of(**changes))
    assert only.code == code
    assert text in only.message


# -------------------------------------------------------------------------------- real speech


@pytest.fixture(scope="module")
def recordings() -> list[Sound]:
    """The first 6 s of every tenth recording of the LibriSpeech tar below S2F_DATA, (n,) each."""
    soundfile = pytest.importorskip("soundfile")
    root = os.environ.get("S2F_DATA")
    if not root:
        pytest.skip("S2F_DATA is not set: no recordings of real speech")
    path = Path(root) / "data" / "librispeech" / "librispeech.tar"
    with tarfile.open(path) as tar:
        names = sorted(name for name in tar.getnames() if name.endswith(".ogg"))[::10]
        sounds = []
        for name in names:
            member = tar.extractfile(name)
            assert member is not None
            sounds.append(soundfile.read(io.BytesIO(member.read()))[0][: 6 * SAMPLE_RATE])
    assert sounds, f"no ogg files in {path}"
    return sounds


def test_real_speech_passes(recordings: list[Sound]) -> None:
    for x in recordings:
        require_speech(measure(x))


def test_a_word_is_too_little(recordings: list[Sound]) -> None:
    for x in recordings[::4]:
        quality = measure(x[SAMPLE_RATE // 2 :][: int(0.7 * SAMPLE_RATE)])
        with pytest.raises(TooLittleSpeechError):
            require_speech(quality)
        assert "short-speech" in [warning.code for warning in warnings(quality)]


def test_real_speech_passes_in_noise_and_by_telephone(recordings: list[Sound]) -> None:
    refused = 0
    for i, x in enumerate(recordings[::2]):
        noisy = x + coloured(i, len(x) / SAMPLE_RATE, 0, rms=float(x.std()) * 10 ** (-10 / 20))[: len(x)]
        spectrum = np.fft.rfft(x)
        hz = np.fft.rfftfreq(len(x), 1 / SAMPLE_RATE)
        telephone = np.fft.irfft(spectrum * ((hz > 300) & (hz < 3400)), len(x))
        refused += sum(measure(y).kind != "speech" for y in (noisy, telephone))
    assert refused <= 0.02 * len(recordings)


def test_loudness_does_not_change_the_verdict(recordings: list[Sound]) -> None:
    for x in recordings[::10]:
        loud = measure(0.5 * x / np.abs(x).max())
        # The detector has an absolute threshold, so it hears the quiet one through a gain; the meter has none.
        quiet = measure(0.005 * x / np.abs(x).max(), gain=100.0)
        assert quiet.speech_s == pytest.approx(loud.speech_s, abs=0.1)
        assert quiet.speech_probability == pytest.approx(loud.speech_probability, abs=0.02)
        assert quiet.level_dbfs == pytest.approx(loud.level_dbfs - 40, abs=0.5)


def test_the_noise_estimate_follows_the_noise(recordings: list[Sound]) -> None:
    errors = []
    for i, x in enumerate(recordings[::5]):
        noise = coloured(i, len(x) / SAMPLE_RATE + 0.1, 1, rms=float(x.std()) * 10 ** (-10 / 20))[: len(x)]
        found = measure(x + noise).snr_db
        assert found is not None
        errors.append(found - 10.0)
    assert abs(np.median(errors)) < 3.0
