"""`s2f_edge.hearing.chosen`: which windows the voice network hears."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from s2f_edge.hearing import audio
from s2f_edge.hearing.chosen import ChosenWindows
from s2f_edge.hearing.fbank import FbankStream
from s2f_edge.hearing.features import SAMPLE_RATE, Float32s
from s2f_edge.hearing.frontend import FRONT_ENDS, Fbank80FrontEnd
from s2f_edge.listening import Listener


def numbered(count: int) -> NDArray[np.float32]:
    """Windows that say which one they are, all as clear as the others."""
    windows = np.ones((count, 4, 3), np.float32)
    windows[:, 0, 0] = np.arange(count)
    return windows


def heard(chosen: ChosenWindows) -> list[int]:
    return [int(window[0, 0]) for inputs, _ in chosen.inputs(iter(())) for window in inputs]


@given(
    count=st.integers(1, 700),
    most=st.integers(1, 40),
    cuts=st.lists(st.integers(1, 50), min_size=1, max_size=9),
    seed=st.integers(0, 9),
)
@settings(max_examples=100, deadline=None)
def test_as_many_as_may_be_one_of_each_part_however_they_come(
    count: int, most: int, cuts: list[int], seed: int
) -> None:
    windows = numbered(count)
    windows[:, 1:] *= np.random.default_rng(seed).random((count, 1, 1), np.float32)
    whole, parts = ChosenWindows(most, 8, 0.5), ChosenWindows(most, 8, 0.5)
    whole.push(windows)
    at = 0
    for i in range(count):
        if at < count:
            parts.push(windows[at : at + cuts[i % len(cuts)]])
            at += cuts[i % len(cuts)]
    found = heard(whole)
    assert found == heard(parts)
    assert len(found) == min(count, most)
    assert found == sorted(found)
    if count <= most:
        assert found == list(range(count))
    gaps = np.diff([-1, *found, count])
    assert gaps.max() <= 4 * -(-count // most)  # nowhere is much left out


def test_windows_are_evenly_spread_where_all_are_clear() -> None:
    for count in (31, 45, 60, 61, 100, 1800, 5000):
        chosen = ChosenWindows(30, 8, 1e-3)
        chosen.push(numbered(count))
        found = np.array(heard(chosen))
        halves = np.count_nonzero(found < count / 2)
        assert 13 <= halves <= 17, count
        assert np.diff(found).max() <= 2.2 * count / 30, count


def test_what_is_clear_is_taken_before_what_is_not() -> None:
    windows = numbered(400)
    windows[np.arange(400) % 5 != 3, 1:] = 0.0
    windows[:, 0, 0] = np.arange(400) / 400.0  # says which, and hardly counts
    chosen = ChosenWindows(20, 8, 0.5)
    chosen.push(windows)
    found = [round(float(window[0, 0]) * 400) for inputs, _ in chosen.inputs(iter(())) for window in inputs]
    assert [each % 5 for each in found] == [3] * 20


def test_no_more_is_kept_than_twice_what_is_chosen() -> None:
    chosen = ChosenWindows(10, 8)
    for window in numbered(1000):
        chosen.push(window[None])
        assert len(chosen._kept) <= 20
    assert chosen.count == 1000


@pytest.fixture(scope="module")
def speech(examples: Path) -> Float32s:
    """60 s of two voices in turn, all of which the gate takes for speech."""
    read = [audio.read(examples / f"{name}.wav").samples for name in ("male", "female")]
    return np.resize(np.concatenate(read), 60 * SAMPLE_RATE)


def speech_like(seconds: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(0)
    envelope = np.repeat(rng.random(seconds * 10), SAMPLE_RATE // 10)
    return (0.1 * envelope * rng.standard_normal(seconds * SAMPLE_RATE)).astype(np.float32)


@pytest.mark.parametrize("features", FRONT_ENDS)
@pytest.mark.parametrize("seconds", [1, 2, 3, 19, 20])
def test_up_to_the_limit_nothing_changes(speech: Float32s, features: str, seconds: int) -> None:
    """To the bit, and in the same batches."""
    x = speech[: seconds * SAMPLE_RATE]
    front_end = FRONT_ENDS[features]()
    limited, plain = Listener(features, 10), front_end
    for block in np.array_split(x, seconds):
        limited.take(block, block)
        plain.push(block)
    ours, theirs = list(limited.finish().windows), list(plain.inputs())
    assert len(ours) == len(theirs)
    for (one, weights), (other, other_weights) in zip(ours, theirs, strict=True):
        assert np.array_equal(one, other)
        assert np.array_equal(weights, other_weights)


def test_a_front_end_of_fbank_gives_the_gate_its_frames(speech: Float32s, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that they are computed once, and the gate says the same of them."""
    frames: list[int] = []
    computed = FbankStream._take

    def counted(stream: FbankStream, count: int) -> Float32s:
        frames.append(count)
        return computed(stream, count)

    monkeypatch.setattr(FbankStream, "_take", counted)
    found = {}
    for features in ("logmel-64", "fbank-80"):
        frames.clear()
        listener = Listener(features, gain=1.0)
        for block in np.array_split(speech, 7):
            listener.push(block)
        heard = listener.finish()
        list(heard.windows)
        found[features] = heard.quality
        assert sum(frames) <= listener.voiced // 160 + 1
    assert found["logmel-64"].speech_probability == pytest.approx(found["fbank-80"].speech_probability, abs=1e-4)
    assert found["logmel-64"].kind == found["fbank-80"].kind == "speech"


@pytest.mark.parametrize(("features", "seconds"), [("fbank-80", 2), ("stft-257", 6)])
def test_of_a_longer_recording_as_many_as_the_limit_are_heard(speech: Float32s, features: str, seconds: int) -> None:
    for most in (1, 3, 10, None):
        listener = Listener(features, most)
        listener.take(speech, speech)
        found = sum(len(inputs) for inputs, _ in listener.finish().windows)
        whole = 60 // seconds
        assert found == (whole if most is None else min(most, whole))


def test_memory_does_not_grow_with_speech_beyond_the_limit(speech: Float32s) -> None:
    """Five minutes are ten megabytes of features."""
    listener = Listener("fbank-80", 5)
    tracemalloc.start()
    for block in np.array_split(speech, 60):
        listener.take(block, block)
    before = tracemalloc.get_traced_memory()[0]
    for block in np.array_split(speech, 60) * 5:
        listener.take(block, block)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 1.5e6
    assert listener.chosen.count > 170


def test_noise_is_not_clear_and_sound_that_comes_and_goes_is() -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal(10 * SAMPLE_RATE).astype(np.float32)
    least = []
    for x in (noise, speech_like(10)):
        front_end = Fbank80FrontEnd()
        front_end.push(x)
        least.append(min(float(np.square(window).mean()) for inputs, _ in front_end.inputs() for window in inputs))
    assert least[0] < Fbank80FrontEnd.CLEAR < least[1]
