"""Conditions of a recording are what their names say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from s2f_edge.hearing.features import SAMPLE_RATE, Float32s
from s2f_edge.hearing.vad import find_speech, hearing_gain
from s2f_train.evaluate.conditions import CLEAN, CODECS, CONDITIONS, NOISE, Condition, first_speech

BY_NAME = {condition.name: condition for condition in CONDITIONS}
KEEP_LENGTH = [condition for condition in CONDITIONS if not condition.seconds]


def changed(condition: Condition, samples: Float32s, seed: int = 0) -> Float32s:
    found = condition.change(samples, seed)
    assert found is not None
    return found


def names(conditions: list[Condition]) -> list[str]:
    return [condition.name for condition in conditions]


@pytest.fixture(scope="module")
def clip(examples: Path) -> Float32s:
    samples: Float32s = soundfile.read(examples / "female.wav", dtype="float32")[0]
    return samples


def decibels(power: float) -> float:
    return 10 * float(np.log10(power))


def band_power(samples: Float32s, low: float, high: float) -> float:
    power = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
    hz = np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE)
    return float(power[(hz >= low) & (hz < high)].mean())


def test_what_is_asked_for_is_there() -> None:
    assert names(NOISE) == ["20 dB", "10 dB", "5 dB", "0 dB"]
    assert [c.seconds for c in CONDITIONS if c.group == "duration"] == [1, 2, 3, 6, 10]
    assert {"telephone", "Vorbis", "mu-law 8 kHz", "GSM 6.10 8 kHz"} <= set(BY_NAME)
    assert len(BY_NAME) == len(CONDITIONS)
    if soundfile.check_format("MP3", "MPEG_LAYER_III"):
        assert "MP3" in names(CODECS)


@pytest.mark.parametrize("condition", KEEP_LENGTH, ids=names(KEEP_LENGTH))
def test_lengths_types_range_and_repeats(condition: Condition) -> None:
    rng = np.random.default_rng(1)
    for count in (1600, 16_001, 24_123):
        loud = np.clip(rng.standard_normal(count), -1, 1).astype(np.float32)
        made = changed(condition, loud, 5)
        assert made.dtype == np.float32
        assert made.shape == (count,)
        assert np.abs(made).max() <= 1
        np.testing.assert_array_equal(made, changed(condition, loud, 5))
    silence = changed(condition, np.zeros(8000, np.float32))
    assert np.abs(silence).max() < 1e-3


def test_clean_is_the_recording(clip: Float32s) -> None:
    np.testing.assert_array_equal(changed(CLEAN, clip), clip)


# -------------------------------------------------------------------------------- noise


@pytest.mark.parametrize("condition", NOISE, ids=names(NOISE))
@pytest.mark.parametrize("level", [0.1, 1.0])
def test_the_signal_to_noise_ratio_is_the_one_asked_for(condition: Condition, level: float, clip: Float32s) -> None:
    samples = (clip / np.abs(clip).max() * level).astype(np.float32)
    noisy = changed(condition, samples, 3)
    # Where it would clip all is made quieter: the gain is what the speech is multiplied with.
    gain = float(noisy @ samples / (samples @ samples))
    noise = noisy - gain * samples
    ratio = decibels(gain**2 * float(np.mean(samples**2)) / float(np.mean(noise**2)))
    assert ratio == pytest.approx(float(condition.name.split()[0]), abs=0.2)
    if level < 1:
        assert gain == pytest.approx(1, abs=0.03)


def test_noise_is_pink_and_drawn_by_the_seed(clip: Float32s) -> None:
    noise = changed(BY_NAME["0 dB"], clip, 1) - clip
    octaves = [decibels(band_power(noise, hz, 2 * hz)) for hz in (100, 200, 400, 800, 1600, 3200)]
    assert np.diff(octaves) == pytest.approx([-3] * 5, abs=1)
    other = changed(BY_NAME["0 dB"], clip, 2) - clip
    assert abs(np.corrcoef(noise, other)[0, 1]) < 0.05


# --------------------------------------------------------------------- telephone, codecs


def test_the_telephone_passes_its_band_and_nothing_else() -> None:
    noise = (0.1 * np.random.default_rng(0).standard_normal(64_000)).astype(np.float32)
    made = changed(BY_NAME["telephone"], noise)
    inside = band_power(made, 400, 3300) / band_power(noise, 400, 3300)
    assert decibels(inside) == pytest.approx(0, abs=0.3)
    for low, high in ((0, 280), (3450, 8000)):
        assert decibels(band_power(made, low, high) / band_power(noise, low, high)) < -40


@pytest.mark.parametrize("condition", CODECS, ids=names(CODECS))
def test_codecs_lose_something_and_keep_the_sound_in_its_place(condition: Condition, clip: Float32s) -> None:
    made = changed(condition, clip)
    assert not np.array_equal(made, clip)
    assert np.corrcoef(made, clip)[0, 1] > 0.9
    if "8 kHz" in condition.name:
        assert band_power(made, 4200, 8000) < 1e-3 * band_power(made, 300, 3400)


def test_vorbis_takes_a_long_recording() -> None:
    made = changed(BY_NAME["Vorbis"], (0.1 * np.random.default_rng(0).standard_normal(960_000)).astype(np.float32))
    assert len(made) == 960_000
    assert np.abs(made[-16_000:]).max() > 0.1


# ----------------------------------------------------------------------------- durations


@pytest.mark.parametrize("seconds", [1.0, 2.0, 3.0])
@pytest.mark.parametrize("level", [1.0, 1e-3])
def test_as_much_speech_is_found_as_the_name_says(seconds: float, level: float, clip: Float32s) -> None:
    samples = (clip * level).astype(np.float32)
    made = first_speech(samples, 0, seconds)
    assert made is not None
    np.testing.assert_array_equal(made, samples[: len(made)])
    assert seconds <= find_speech(made, hearing_gain(samples)).seconds <= seconds + 0.0201


def test_every_length_up_to_all_of_it(clip: Float32s) -> None:
    # A segment begins with two frames at once: a length that ends between them is where this can go wrong.
    all_of_it = find_speech(clip).seconds
    for hundredths in range(10, int(all_of_it * 100), 7):
        wanted = round(hundredths / 100 / 0.02) * 0.02
        made = first_speech(clip, 0, wanted)
        assert made is not None
        assert wanted - 1e-9 <= find_speech(made).seconds <= wanted + 0.0201


def test_too_little_speech_is_none(clip: Float32s) -> None:
    assert first_speech(clip, 0, 1000.0) is None
    assert first_speech(np.zeros(64_000, np.float32), 0, 1.0) is None
    assert first_speech(np.zeros(0, np.float32), 0, 1.0) is None
