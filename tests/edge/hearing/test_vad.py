"""`s2f_edge.hearing.vad` against the golden file and a collector written anew over whole signals."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import webrtcvad
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from s2f_edge.hearing.gain import SpeechStream
from s2f_edge.hearing.vad import Speech, SpeechFinder, find_speech, hearing_gain

Sound = NDArray[np.float32]

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
SPEECH = ["speech_1688-142285-0003", "speech_3807-4923-0000"]


def vowels(seed: int, seconds: float = 3.0) -> Sound:
    """Voiced stretches and pauses: pulses at a pitch that glides, through formants, over faint noise."""
    rng = np.random.default_rng(seed)
    n = int(seconds * 16_000)
    t = np.arange(n) / 16_000
    pitch = 120 + 30 * np.sin(2 * np.pi * rng.uniform(0.5, 2) * t)
    phase = 2 * np.pi * np.cumsum(pitch) / 16_000
    x = np.zeros(n)
    for harmonic in range(1, 30):
        hz = harmonic * 120
        weight = sum(np.exp(-(((hz - f) / 150) ** 2)) for f in (600, 1300, 2500)) + 0.02
        x += weight * np.sin(harmonic * phase)
    syllables = np.repeat(rng.random(n // 1600 + 1) > 0.45, 1600)[:n]
    smooth = np.convolve(syllables, np.ones(320) / 320, mode="same")
    return (0.1 * x * smooth + 0.0005 * rng.normal(size=n)).astype(np.float32)


def collected(x: Sound) -> tuple[Sound, list[tuple[int, int]]]:
    """The published collector over a whole signal: frame indices and states, no queues of sound.

    Written from docs/spec.md, section 1, and the habits that the golden file shows: a frame that ends
    with the last sample is left out, and the detector hears both frames of the ring at
    every step.
    """
    vad = webrtcvad.Vad(2)
    pcm = np.round(np.clip(x * np.float32(32768), -32768, 32767)).astype(np.int16)

    def voiced(frame: int) -> bool:
        return vad.is_speech(pcm[frame * 320 : frame * 320 + 320].tobytes(), 16_000)

    segments: list[tuple[int, int]] = []
    ring: list[int] = []
    opened: int | None = None
    frame = 0
    while (frame + 1) * 320 < len(x):
        ring = [*ring[-1:], frame]
        heard = [voiced(f) for f in ring]
        if opened is None and heard == [True, True]:
            opened, ring = frame - 1, []
        elif opened is not None and heard == [False, False]:
            segments.append((opened * 320, (frame + 1) * 320))
            opened, ring = None, []
        frame += 1
    if opened is not None:
        segments.append((opened * 320, frame * 320))
    return np.concatenate([np.zeros(0, np.float32), *(x[a:b] for a, b in segments)]), segments


def pushed(finder: SpeechFinder, x: Sound, cuts: list[int]) -> Speech:
    borders = [0, *sorted(min(c, len(x)) for c in cuts), len(x)]
    return Speech(np.concatenate([finder.push(x[a:b]) for a, b in pairwise(borders)]), finder.segments)


@pytest.fixture(scope="module")
def golden(s2f_data: Path) -> dict[str, NDArray[Any]]:
    with np.load(s2f_data / "golden" / "logmel64.npz") as file:
        return {name: file[name] for name in file.files if name.split("/")[0] in SPEECH}


@pytest.mark.parametrize("name", SPEECH)
def test_voiced_samples_equal_the_golden_file(golden: dict[str, NDArray[Any]], name: str) -> None:
    speech = find_speech(golden[f"{name}/pcm"].astype(np.float32) / np.float32(32768))
    assert np.array_equal(speech.samples * 32768, golden[f"{name}/voiced"])
    lengths = speech.segments[:, 1] - speech.segments[:, 0]
    assert np.array_equal(lengths, golden[f"{name}/segment_samples"])
    assert speech.seconds == len(golden[f"{name}/voiced"]) / 16_000


@pytest.mark.parametrize("block", [1600, 4096, 50_000])
@pytest.mark.parametrize("name", SPEECH)
def test_real_speech_in_blocks_equals_the_golden_file(golden: dict[str, NDArray[Any]], name: str, block: int) -> None:
    x = golden[f"{name}/pcm"].astype(np.float32) / np.float32(32768)
    speech = pushed(SpeechFinder(), x, list(range(0, len(x), block)))
    assert np.array_equal(speech.samples * 32768, golden[f"{name}/voiced"])


def test_the_sound_made_here_has_several_segments() -> None:
    # The tests below would say little about a signal that is all speech or none.
    for seed in range(4):
        speech = find_speech(vowels(seed))
        assert len(speech.segments) >= 2
        assert 0.2 < speech.seconds < 2.8


@pytest.mark.parametrize("seed", range(8))
def test_equals_the_collector_over_the_whole_signal(seed: int) -> None:
    x = vowels(seed)
    samples, segments = collected(x)
    speech = find_speech(x)
    assert speech.segments.tolist() == [list(s) for s in segments]
    assert np.array_equal(speech.samples, samples)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 50), end=st.integers(1, 32_000), cuts=st.lists(st.integers(0, 32_000), max_size=15))
@pytest.mark.slow
def test_the_same_however_the_signal_is_cut(seed: int, end: int, cuts: list[int]) -> None:
    x = vowels(seed, 2.0)[:end]
    got, wanted = pushed(SpeechFinder(), x, cuts), find_speech(x)
    assert np.array_equal(got.samples, wanted.samples)
    assert np.array_equal(got.segments, wanted.segments)


@pytest.mark.parametrize("block", [1, 319, 320, 321, 640])
def test_the_same_in_equal_blocks(block: int) -> None:
    x = vowels(1, 1.0)
    got, wanted = pushed(SpeechFinder(), x, list(range(0, len(x), block))), find_speech(x)
    assert len(wanted.samples) > 0
    assert np.array_equal(got.samples, wanted.samples)
    assert np.array_equal(got.segments, wanted.segments)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 200), seconds=st.floats(0.1, 3.0))
def test_segments_are_in_order_and_say_where_the_samples_are(seed: int, seconds: float) -> None:
    x = vowels(seed, seconds)
    speech = find_speech(x)
    flat = speech.segments.ravel()
    assert speech.segments.dtype == np.int64
    assert speech.samples.dtype == np.float32
    assert (np.diff(flat)[::2] >= 640).all(), "a segment holds the two frames that opened it"
    assert (np.diff(flat)[1::2] >= 0).all()
    assert (flat % 320 == 0).all()
    assert not len(flat) or (flat[0] >= 0 and flat[-1] < len(x))
    cut_out = np.concatenate([np.zeros(0, np.float32), *(x[a:b] for a, b in speech.segments)])
    assert np.array_equal(speech.samples, cut_out)


@pytest.mark.parametrize("samples", [0, 1, 319, 320, 321, 640, 16_000])
def test_silence_of_any_length_has_no_speech(samples: int) -> None:
    speech = find_speech(np.zeros(samples, np.float32))
    assert len(speech.samples) == 0
    assert speech.segments.shape == (0, 2)
    assert speech.seconds == 0


def test_a_frame_that_ends_with_the_last_sample_is_not_looked_at() -> None:
    loud = vowels(1)
    start, end = find_speech(loud).segments[0]
    assert find_speech(loud[:end]).segments[0].tolist() == [start, end - 320]
    assert find_speech(loud[: end + 1]).segments[0].tolist() == [start, end]


def test_gain_finds_quiet_speech_and_gives_it_back_quiet() -> None:
    quiet = vowels(2) * np.float32(1e-3)
    assert find_speech(quiet).seconds == 0
    heard = find_speech(quiet, gain=1000.0)
    assert heard.seconds > 0.2
    assert np.abs(heard.samples).max() <= np.abs(quiet).max()


def test_overshoot_is_clipped_not_wrapped() -> None:
    # Wrapped to 16 bit, a loud vowel would be noise; and casting out of range is not defined.
    loud = vowels(3) * np.float32(20)
    assert np.abs(loud).max() > 1.0
    clipped = np.clip(loud, -1.0, 1.0)
    assert find_speech(clipped).seconds > 0.2
    assert np.array_equal(find_speech(loud).segments, find_speech(clipped).segments)


def test_what_is_given_back_is_a_copy() -> None:
    # A front end may hold it while the caller reuses its buffer.
    x = vowels(1)
    finder = SpeechFinder()
    voiced = finder.push(x)
    kept = voiced.copy()
    x[:] = 0
    assert len(kept) > 0
    assert np.array_equal(voiced, kept)


# ----------------------------------------------------------------------- recordings of any level


def _speech(examples: Path) -> NDArray[np.float32]:
    return soundfile.read(examples / "male.wav", dtype="float32")[0]


def _streamed(samples: NDArray[np.float32], sizes: list[int]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    stream, pairs, at = SpeechStream(), [], 0
    for size in [*sizes, len(samples)]:
        pairs += stream.push(samples[at : at + size])
        at += size
    pairs += stream.finish()
    return np.concatenate([p[0] for p in pairs]), np.concatenate([p[1] for p in pairs])


def test_a_stream_of_usual_level_is_the_plain_detector(examples: Path) -> None:
    samples = np.tile(_speech(examples), 4)
    heard, voiced = _streamed(samples, [1000, 200_000])
    assert np.array_equal(heard, samples)
    assert np.array_equal(voiced, find_speech(samples).samples)


@settings(max_examples=15, deadline=None)
@given(sizes=st.lists(st.integers(0, 300_000), max_size=6), gain=st.sampled_from([1.0, 0.01, 0.003]))
def test_a_stream_does_not_depend_on_the_cut(sizes: list[int], gain: float) -> None:
    samples = np.tile(_speech(EXAMPLES), 3) * np.float32(gain)
    heard, voiced = _streamed(samples, sizes)
    assert np.array_equal(heard, samples)
    assert np.array_equal(voiced, _streamed(samples, [])[1])


def test_a_quiet_recording_is_heard_louder_and_given_back_as_it_is(examples: Path) -> None:
    samples = _speech(examples)
    quiet = samples * np.float32(0.003)
    voiced = _streamed(quiet, [])[1]
    assert len(voiced) > 0.95 * len(find_speech(samples).samples)
    assert np.abs(voiced).max() <= np.abs(quiet).max()
    assert len(find_speech(quiet).samples) < 0.8 * len(voiced)  # which the plain detector does not


def test_a_recording_that_stays_quiet_is_not_held_for_ever() -> None:
    stream = SpeechStream()
    noise = (1e-3 * np.random.default_rng(0).standard_normal(16_000)).astype(np.float32)
    given = [sum(len(sound) for sound, _ in stream.push(noise)) for _ in range(70)]
    assert sum(given) == 70 * 16_000
    assert given[58] == 0 < given[59]  # a minute is held, no more


def test_gains() -> None:
    noise = np.random.default_rng(0).standard_normal(32_000).astype(np.float32)
    assert hearing_gain(np.zeros(16_000, np.float32)) == 1.0
    assert hearing_gain(noise[:100]) == 1.0
    assert hearing_gain(0.1 * noise) == 1.0
    assert 20 * np.log10(hearing_gain(np.float32(0.001) * noise)) == pytest.approx(34, abs=1)  # -60 to -26 dBFS
    assert 20 * np.log10(hearing_gain(np.float32(5e-5) * noise)) == pytest.approx(50, abs=0.1)  # the most
