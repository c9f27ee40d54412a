"""Sound through the codecs that training voices go through."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile

from s2f_edge.hearing.features import SAMPLE_RATE
from s2f_train.config import AugmentSettings
from s2f_train.data.augment import ELSEWHERE, augment
from s2f_train.data.degrade import MP3_LEVELS, mp3, through_codec, vorbis


@pytest.fixture(scope="module")
def tone() -> np.ndarray:
    t = np.arange(3 * SAMPLE_RATE) / SAMPLE_RATE
    return 0.3 * np.sin(2 * np.pi * 440 * t) * (1 + 0.5 * np.sin(2 * np.pi * 3 * t))


@pytest.mark.parametrize("codec", [mp3, vorbis])
def test_a_codec_keeps_length_and_level(codec: object, tone: np.ndarray) -> None:
    for loud in (1.0, 1e-3, 0.0):
        made = codec(np.random.default_rng(0), loud * tone)  # type: ignore[operator]
        assert made.shape == tone.shape
        assert np.abs(made).max() == pytest.approx(loud * np.abs(tone).max(), rel=0.1, abs=1e-9)
        if loud:
            assert not np.array_equal(made, loud * tone)
            # libsndfile does not take away the 1,105 samples that MP3 of a low rate begins with.
            late = [np.corrcoef(made[k:], tone[: len(tone) - k])[0, 1] for k in (0, 1105)]
            assert max(late) > 0.99


def test_mp3_has_the_rates_that_the_levels_promise(tone: np.ndarray) -> None:
    rates = []
    for level in MP3_LEVELS:
        file = io.BytesIO()
        noise = np.random.default_rng(0).normal(0, 0.1, 5 * SAMPLE_RATE)
        soundfile.write(
            file, noise, SAMPLE_RATE, format="MP3", subtype="MPEG_LAYER_III", compression_level=level,
            bitrate_mode="CONSTANT",
        )  # fmt: skip
        rates.append(8 * len(file.getvalue()) / 5e3)
    assert rates == pytest.approx([64, 16], rel=0.1)


@pytest.mark.slow
def test_a_long_recording_goes_through_a_codec() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 60 * SAMPLE_RATE).astype(np.float32)
    for container, codec in (("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III")):
        decoded, rate = through_codec(noise, SAMPLE_RATE, container, codec)
        assert rate == SAMPLE_RATE
        assert abs(len(decoded) - len(noise)) < 0.2 * SAMPLE_RATE
        assert np.abs(decoded[-SAMPLE_RATE:]).max() > 0.1


def test_the_codec_of_a_voice_is_drawn(tone: np.ndarray) -> None:
    sound, settings = tone.astype(np.float32), AugmentSettings(codec_share=1.0)
    cut = 0  # what MP3 of these rates cuts off, Vorbis keeps
    noise = np.random.default_rng(1).normal(0, 0.1, len(sound)).astype(np.float32)
    for seed in range(20):
        made = augment(np.random.default_rng(seed), noise, settings)
        power = np.abs(np.fft.rfft(made)) ** 2
        cut += power[-len(power) // 20 :].mean() < 1e-3 * power.mean()
    assert 3 < cut < 17


def test_elsewhere_is_each_time_another_place(tone: np.ndarray) -> None:
    sound = tone.astype(np.float32)
    made = [augment(np.random.default_rng(seed), sound, ELSEWHERE) for seed in range(8)]
    assert all(one.shape == sound.shape and np.isfinite(one).all() for one in made)
    assert len({one.tobytes() for one in made}) > 5
