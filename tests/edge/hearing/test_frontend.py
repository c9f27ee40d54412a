"""`s2f_edge.hearing.frontend`: voiced samples to network inputs."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from s2f_edge.hearing.fbank import fbank
from s2f_edge.hearing.features import logmel, normalise_logmel, repeat_to
from s2f_edge.hearing.frontend import (
    FRONT_ENDS,
    INPUT_SHAPES,
    Fbank80FrontEnd,
    HighPass,
    LogMel64FrontEnd,
    MelPower40FrontEnd,
    Stft257FrontEnd,
)
from s2f_edge.hearing.melpower import melpower
from s2f_edge.hearing.stft import compressed_stft

Sound = NDArray[np.float32]
Window = tuple[NDArray[np.float32], NDArray[np.float32]]


def sound(samples: int, seed: int = 1) -> Sound:
    rng = np.random.default_rng(seed)
    t = np.arange(samples) / 16_000
    return (0.1 * np.sin(2 * np.pi * 300 * t * (1 + t)) + 0.03 * rng.normal(size=samples)).astype(np.float32)


def inputs(name: str, x: Sound, block: int | None = None) -> list[Window]:
    front_end = FRONT_ENDS[name]()
    for start in range(0, len(x), block or len(x)):
        front_end.push(x[start : start + (block or len(x))])
    return list(front_end.inputs())


# ------------------------------------------------------------------------------- all kinds


def test_every_front_end_has_an_input_shape() -> None:
    assert set(FRONT_ENDS) == set(INPUT_SHAPES) == {"logmel-64", "melpower-40", "fbank-80", "stft-257"}


def test_a_front_end_is_what_the_manifest_name_gives() -> None:
    assert FRONT_ENDS["logmel-64"] is LogMel64FrontEnd
    assert FRONT_ENDS["melpower-40"] is MelPower40FrontEnd
    assert FRONT_ENDS["fbank-80"] is Fbank80FrontEnd
    assert FRONT_ENDS["stft-257"] is Stft257FrontEnd


@pytest.mark.parametrize("name", FRONT_ENDS)
@pytest.mark.parametrize("samples", [16_000, 40_000, 16_000 * 12, 16_000 * 70])
def test_inputs_have_the_shape_that_is_said(name: str, samples: int) -> None:
    given_ = inputs(name, sound(samples))
    assert given_
    for batch, weights in given_:
        assert batch.dtype == weights.dtype == np.float32
        assert batch.flags.c_contiguous
        assert weights.shape == (len(batch),)
        assert (weights > 0).all()
        assert batch.ndim == len(INPUT_SHAPES[name])
        assert all(want in (None, have) for want, have in zip(INPUT_SHAPES[name], batch.shape, strict=True))


@pytest.mark.parametrize("name", FRONT_ENDS)
@pytest.mark.parametrize("block", [100, 1600, 17_777])
def test_the_same_however_the_sound_is_cut(name: str, block: int) -> None:
    x = sound(50_000)
    got, wanted = inputs(name, x, block), inputs(name, x)
    assert len(got) == len(wanted)
    for (one, weights), (other, other_weights) in zip(got, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)
        assert np.array_equal(weights, other_weights)


@pytest.mark.parametrize("gain", [0.1, 0.01, 3.0])
def test_loudness_does_not_change_logmel_inputs(gain: float) -> None:
    x = sound(48_000)
    ((plain, _),), ((scaled, _),) = inputs("logmel-64", x), inputs("logmel-64", x * np.float32(gain))
    assert np.abs(plain - scaled).max() < 1e-3


@pytest.mark.parametrize("gain", [0.1, 0.01, 3.0])
def test_loudness_does_not_change_melpower_inputs(gain: float) -> None:
    x = sound(48_000)
    ((plain, _),), ((scaled, _),) = inputs("melpower-40", x), inputs("melpower-40", x * np.float32(gain))
    assert (plain > 0).any()
    np.testing.assert_allclose(scaled, plain, rtol=1e-4)


@pytest.mark.parametrize("gain", [0.1, 0.01, 3.0])
def test_loudness_does_not_change_fbank_inputs(gain: float) -> None:
    x = sound(48_000)
    ((plain, _),), ((scaled, _),) = inputs("fbank-80", x), inputs("fbank-80", x * np.float32(gain))
    assert plain.std() > 1
    assert np.abs(plain - scaled).max() < 1e-3


@pytest.mark.parametrize("name", FRONT_ENDS)
def test_silence_gives_finite_inputs(name: str) -> None:
    for batch, _ in inputs(name, np.zeros(20_000, np.float32)):
        assert np.isfinite(batch).all()


# ------------------------------------------------------------------------------- logmel-64


@pytest.mark.parametrize("samples", [1, 16_000, 159_839, 159_840, 160_000, 300_000])
def test_logmel_up_to_a_minute_is_one_window(samples: int) -> None:
    x = sound(samples)
    ((batch, weights),) = inputs("logmel-64", x)
    frames = max(1000, samples // 160 + 1)
    assert batch.shape == (1, 64, frames)
    assert weights.tolist() == [frames]
    assert np.abs(batch[0].T - repeat_to(normalise_logmel(logmel(x)), 1000)).max() < 1e-5


@pytest.mark.parametrize(("frames", "windows"), [(6000, 1), (6001, 2), (12_000, 2), (12_001, 3), (20_000, 4)])
def test_logmel_beyond_a_minute_is_cut_into_equal_windows(frames: int, windows: int) -> None:
    x = sound((frames - 1) * 160)
    got = inputs("logmel-64", x)
    lengths = [batch.shape[2] for batch, _ in got]
    assert len(got) == windows
    assert sum(lengths) == frames
    assert max(lengths) <= 6000
    assert max(lengths) - min(lengths) <= 1
    assert [float(weights[0]) for _, weights in got] == lengths
    joined = np.concatenate([batch[0] for batch, _ in got], axis=1)
    assert np.abs(joined.T - normalise_logmel(logmel(x))).max() < 1e-5  # normalised over the clip, not the window


def test_logmel_input_equals_the_golden_file(s2f_data: Path) -> None:
    with np.load(s2f_data / "golden" / "logmel64.npz") as golden:
        names = [key.split("/")[0] for key in golden.files if key.endswith("/network_input")]
        assert len(names) == 7
        for name in names:
            pcm, wanted = golden[f"{name}/pcm"], golden[f"{name}/network_input"]
            ((batch, _),) = inputs("logmel-64", pcm.astype(np.float32) / np.float32(32768), block=12_345)
            assert batch[0].T.shape == wanted.shape
            assert np.abs(batch[0].T - wanted).max() < 1e-3, name


# ----------------------------------------------------------------------------- melpower-40


def resemblyzer_starts(samples: int) -> list[int]:
    """First frames of the windows, by the rule of Resemblyzer's compute_partial_slices.

    1.3 windows a second, a coverage of at least 0.75; in its own units: the coverage of the
    last window is counted in samples, not in frames.
    """
    frames = math.ceil((samples + 1) / 160)
    step = round(16_000 / 1.3 / 160)
    starts = list(range(0, max(1, frames - 160 + step + 1), step))
    coverage = (samples - starts[-1] * 160) / (160 * 160)
    if coverage < 0.75 and len(starts) > 1:
        starts.pop()
    return starts


def melpower_starts(samples: int) -> list[int]:
    return MelPower40FrontEnd()._starts(samples)


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 400_000))
def test_windows_start_where_resemblyzers_do(samples: int) -> None:
    assert melpower_starts(samples) == resemblyzer_starts(samples)


@pytest.mark.parametrize("windows", [1, 2, 5])
def test_a_last_window_needs_three_quarters_of_sound(windows: int) -> None:
    # Sample by sample about the border, where counting whole frames was once wrong.
    border = windows * 77 * 160 + 120 * 160
    for samples in range(border - 330, border + 330):
        assert melpower_starts(samples) == resemblyzer_starts(samples), samples
    assert len(melpower_starts(border - 1)) == windows
    assert len(melpower_starts(border)) == windows + 1


@pytest.mark.parametrize("samples", [1, 8000, 25_600, 31_520, 40_000, 120_000])
def test_melpower_windows_hold_the_frames_at_30_dbfs(samples: int) -> None:
    x = sound(samples)
    got = np.concatenate([batch for batch, _ in inputs("melpower-40", x)])
    high_pass = HighPass()  # has tests of its own, below
    x = np.concatenate([high_pass.push(x), high_pass.finish()])
    power = float(np.mean(x.astype(np.float64) ** 2))
    frames = melpower(x) * (10 ** (-30 / 10) / power)
    frames = np.concatenate([frames, np.zeros((200, 40))])  # the last window may run past the end
    starts = resemblyzer_starts(samples)
    assert got.shape == (len(starts), 160, 40)
    for window, start in zip(got, starts, strict=True):
        np.testing.assert_allclose(window, frames[start : start + 160], rtol=1e-4, atol=1e-12)


def test_melpower_windows_come_in_batches() -> None:
    samples = 16_000 * 60
    got = inputs("melpower-40", sound(samples))
    sizes = [len(batch) for batch, _ in got]
    assert sum(sizes) == len(resemblyzer_starts(samples))
    assert len(sizes) == 2
    assert sizes[0] == MelPower40FrontEnd.BATCH
    assert all((weights == 1).all() for _, weights in got)


# -------------------------------------------------------------------------------- fbank-80


def samples_for(frames: int) -> int:
    return 400 + (frames - 1) * 160


@pytest.mark.parametrize(
    ("frames", "starts"),
    [
        (200, [0]),
        (201, [0, 1]),
        (399, [0, 199]),
        (400, [0, 200]),
        (401, [0, 200, 201]),
        (650, [0, 200, 400, 450]),
    ],
)
def test_fbank_windows_stand_side_by_side_and_the_last_ends_with_the_clip(frames: int, starts: list[int]) -> None:
    x = sound(samples_for(frames) + 159)  # the last samples are no frame
    ((batch, given_),) = inputs("fbank-80", x)
    features = fbank(x)
    assert len(features) == frames
    assert given_.tolist() == [1.0] * len(starts)
    assert batch.shape == (len(starts), 200, 80)
    for window, start in zip(batch, starts, strict=True):
        wanted = features[start : start + 200].astype(np.float64)
        assert np.abs(window - (wanted - wanted.mean(axis=0))).max() < 1e-4


@pytest.mark.parametrize("samples", [1, 399, 400, 560, 8000, samples_for(199)])
def test_a_short_fbank_clip_is_repeated_to_one_window(samples: int) -> None:
    x = sound(samples)
    ((batch, weights),) = inputs("fbank-80", x)
    features = repeat_to(fbank(x), 200)
    assert batch.shape == (1, 200, 80)
    assert weights.tolist() == [1.0]
    assert np.abs(batch[0] - (features - features.mean(axis=0))).max() < 1e-4


def test_each_fbank_window_has_a_mean_of_its_own() -> None:
    # The same sound in both windows, the second time at twice the level; the last two frames hold something else.
    once = sound(32_000)
    ((batch, _),) = inputs("fbank-80", np.concatenate([once, 2 * once, once[:240]]))
    assert len(batch) == 2
    assert np.abs(batch.mean(axis=1)).max() < 1e-4
    assert np.abs(batch[0, :198] - batch[1, :198]).max() < 0.1


def test_no_sound_gives_one_fbank_window_of_zeros() -> None:
    ((batch, weights),) = Fbank80FrontEnd().inputs()
    assert batch.shape == (1, 200, 80)
    assert not batch.any()
    assert (weights > 0).all()


@pytest.mark.parametrize(("windows", "sizes"), [(8, [8]), (9, [8, 1]), (22, [8, 8, 6])])
def test_fbank_windows_come_in_batches(windows: int, sizes: list[int]) -> None:
    x = sound(samples_for(200 * windows - 50))
    got = inputs("fbank-80", x)
    assert [len(batch) for batch, _ in got] == sizes
    assert sum(float(weights.sum()) for _, weights in got) == windows
    assert np.abs(got[-1][0][-1] - (fbank(x)[-200:] - fbank(x)[-200:].mean(axis=0))).max() < 1e-4


# -------------------------------------------------------------------------------- high pass


def test_high_pass_is_the_recursion() -> None:
    from scipy.signal import lfilter

    x = (np.random.default_rng(2).standard_normal(10_007) + 0.5).astype(np.float32)
    keep = np.exp(-2 * np.pi * HighPass.CUTOFF_HZ / 16_000)
    mean = lfilter([1 - keep], [1, -keep], x.astype(np.float64), zi=[keep * x[0]])[0]
    high_pass = HighPass()
    assert np.abs(np.concatenate([high_pass.push(x), high_pass.finish()]) - (x - mean)).max() < 1e-5


def test_high_pass_takes_a_constant_away_from_the_first_sample_on() -> None:
    high_pass = HighPass()
    x = np.full(1000, 0.7, np.float32)
    assert np.abs(np.concatenate([high_pass.push(x), high_pass.finish()])).max() < 1e-5


@settings(max_examples=30, deadline=None)
@given(sizes=st.lists(st.integers(0, 700), max_size=8))
def test_high_pass_does_not_depend_on_the_cut(sizes: list[int]) -> None:
    x = (np.random.default_rng(3).standard_normal(3001) + 0.2).astype(np.float32)
    whole, cut, parts, at = HighPass(), HighPass(), [], 0
    for size in [*sizes, len(x)]:
        parts.append(cut.push(x[at : at + size]))
        at += size
    parts.append(cut.finish())
    wanted = np.concatenate([whole.push(x), whole.finish()])
    assert np.abs(np.concatenate(parts) - wanted).max() < 1e-5


# ------------------------------------------------------------------------------ stft-257


def test_spectra_are_those_of_windows_of_six_seconds() -> None:
    x = sound(16_000 * 15)
    windows = inputs("stft-257", x, block=1_234)
    starts = [0, 6 * 16_000, 9 * 16_000]
    assert len(windows) == 3
    for (window, weight), start in zip(windows, starts, strict=True):
        np.testing.assert_array_equal(window[0], compressed_stft(x[start : start + 6 * 16_000]))
        assert weight == 1.0


def test_a_short_clip_is_repeated_to_six_seconds() -> None:
    x = sound(16_000)
    ((window, _),) = inputs("stft-257", x)
    np.testing.assert_array_equal(window[0], compressed_stft(np.tile(x, 6)))
    assert len(inputs("stft-257", x[:0], block=1)) == 1


@pytest.mark.parametrize("name", FRONT_ENDS)
@pytest.mark.parametrize("kept", [1, 2, 4, 5, 6, 12, 17])
def test_what_is_committed_is_given_once_where_all_that_follows_is_taken_out(name: str, kept: int) -> None:
    x = sound(16_000 * 20)
    whole, coming = FRONT_ENDS[name](), FRONT_ENDS[name]()
    found = []
    for second in range(20):
        for front_end in (whole, coming):
            front_end.push(x[second * 16_000 : (second + 1) * 16_000])
        found += list(coming.committed(min(second, kept) * 16_000))
    for front_end in (whole, coming):
        front_end.cut(kept * 16_000, None)
    found += [*coming.committed(), *coming.inputs()]
    for one, other in zip(zip(*found, strict=True), zip(*whole.inputs(), strict=True), strict=True):
        np.testing.assert_array_equal(np.concatenate(one), np.concatenate(other))


def test_spectra_of_sound_that_is_still_coming_are_given_once() -> None:
    x = sound(16_000 * 20)
    front_end, found = Stft257FrontEnd(), []
    for start in range(0, len(x), 7_000):
        front_end.push(x[start : start + 7_000])
        found += [window for window, _ in front_end.committed()]
    found += [window for window, _ in front_end.inputs()]
    whole = [window for window, _ in inputs("stft-257", x)]
    np.testing.assert_array_equal(np.concatenate(found), np.concatenate(whole))
