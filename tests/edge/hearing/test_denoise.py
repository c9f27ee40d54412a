"""Stationary noise reduction: what it lowers, what it leaves, and that blocks do not matter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from s2f_edge import Speech2Face
from s2f_edge.hearing import denoise
from s2f_edge.hearing.denoise import NoiseReducer

RATE = 16_000


def noise(seconds: float, level: float = 0.05, seed: int = 0) -> np.ndarray:
    return (level * np.random.default_rng(seed).standard_normal(int(seconds * RATE))).astype(np.float32)


@pytest.fixture(scope="module")
def speech(examples: Path) -> np.ndarray:
    return soundfile.read(examples / "female.wav", dtype="float32")[0]


def reduce_noise(x: np.ndarray) -> np.ndarray:
    reducer = NoiseReducer()
    return np.concatenate([reducer.push(x), reducer.finish()])


def power(x: np.ndarray) -> float:
    return float(np.square(x.astype(np.float64)).mean())


@pytest.mark.parametrize("length", [0, 1, 127, 128, 129, 383, 384, 511, 512, 513, 31_999, 32_000, 32_001, 70_000])
def test_the_length_stays(length: int) -> None:
    assert len(reduce_noise(noise(5)[:length])) == length


def test_without_subtraction_the_sound_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows and overlaps alone change nothing."""
    monkeypatch.setattr(denoise, "FLOOR", 1.0)
    x = noise(5.3)
    assert np.abs(reduce_noise(x) - x).max() < 1e-6


def test_steady_noise_is_lowered() -> None:
    x = noise(6)
    assert power(reduce_noise(x)) < 0.35 * power(x)  # more than 4.5 dB
    hum = (0.05 * np.sin(2 * np.pi * 100 * np.arange(6 * RATE) / RATE)).astype(np.float32)
    assert power(reduce_noise(hum)[RATE:-RATE]) < 0.1 * power(hum)


def test_speech_in_noise_comes_nearer_to_clean_speech(speech: np.ndarray) -> None:
    dirty = speech + noise(len(speech) / RATE, 0.02)[: len(speech)]
    before, after = power(dirty - speech), power(reduce_noise(dirty) - speech)
    assert after < 0.6 * before


def test_clean_speech_is_left_nearly_alone(speech: np.ndarray) -> None:
    assert power(reduce_noise(speech) - speech) < 0.01 * power(speech)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 20_000), max_size=12))
def test_any_cut_gives_the_same(cuts: list[int]) -> None:
    x = noise(6)
    reducer, out, at = NoiseReducer(), [], 0
    for size in cuts:
        out.append(reducer.push(x[at : at + size]))
        at += size
    out += [reducer.push(x[at:]), reducer.finish()]
    assert np.array_equal(np.concatenate(out), reduce_noise(x))


def test_silence_stays_silence() -> None:
    assert not reduce_noise(np.zeros(40_000, np.float32)).any()


def test_the_option_reaches_the_voice_network(speech: np.ndarray) -> None:
    """At 10 dB the default pack's voice network, which was trained with noise, does better without it."""
    model = Speech2Face(device="cpu", variant=None)
    dirty = speech + noise(len(speech) / RATE, np.sqrt(power(speech)) * 10 ** (-10 / 20))[: len(speech)]
    clean = model.embed(speech, RATE).embedding
    assert "denoise" in model.embed(dirty, RATE, denoise=True).timings_ms
    plain, reduced = model.embed(dirty, RATE).embedding, model.embed(dirty, RATE, denoise=True).embedding
    assert float(clean @ plain) > float(clean @ reduced) > 0.5
