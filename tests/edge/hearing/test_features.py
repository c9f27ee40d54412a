"""`hearing.features` and `hearing.fbank` against slow references, published libraries and a golden file.

The references here are written from the specification, frame by frame in float64, and use
nothing of the modules but constants' names.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from s2f_edge.hearing.fbank import FbankStream, fbank, fbank_filters
from s2f_edge.hearing.features import LogMelStream, logmel, logmel_filters, normalise_logmel, repeat_to
from s2f_edge.hearing.melpower import MelPowerStream, melpower, melpower_filters
from s2f_edge.hearing.mfcc import mfcc
from s2f_edge.hearing.stft import compressed_stft, stft

Sound = NDArray[np.float32]
Reference = NDArray[np.float64]
Stream = LogMelStream | MelPowerStream | FbankStream

ALL_STREAMS: dict[str, Callable[[], Stream]] = {
    "logmel-64": LogMelStream,
    "melpower-40": MelPowerStream,
    "fbank-80": FbankStream,
}

# Around one frame (400), one hop (160) and their sums; around 256 frames, where the module
# starts a new matrix product; and odd ones.
AWKWARD = [1, 2, 159, 160, 161, 319, 320, 399, 400, 401, 559, 560, 561, 719, 720, 721, 1000, 15999, 16000, 16001]
CHUNK_EDGES = [255 * 160 + 399, 255 * 160 + 400, 255 * 160 + 401, 256 * 160 + 400, 256 * 160 + 401, 512 * 160 + 401]


def sound(samples: int, seed: int = 1, level: float = 0.1) -> Sound:
    """A sweep in pink-like noise: energy in every band, steady in none."""
    rng = np.random.default_rng(seed)
    t = np.arange(samples) / 16_000
    noise = np.cumsum(rng.normal(size=samples)) * 0.02 + rng.normal(size=samples) * 0.3
    noise -= np.linspace(0, noise[-1] - noise[0], samples)  # a walk, but back to where it began
    return (level * (np.sin(2 * np.pi * (150 * t + 700 * t**2)) + noise)).astype(np.float32)


def cut(x: Sound, cuts: list[int]) -> list[Sound]:
    """x in blocks, with borders at `cuts` (any order, double ones give empty blocks)."""
    borders = [0, *sorted(min(c, len(x)) for c in cuts), len(x)]
    return [x[a:b] for a, b in pairwise(borders)]


def streamed(stream: Stream, blocks: list[Sound]) -> Sound:
    return np.concatenate([*(stream.push(block) for block in blocks), stream.finish()])


# --------------------------------------------------------------- logmel-64, slow reference


def reference_logmel_bank() -> Reference:
    """(513, 64), triangle by triangle and bin by bin (docs/spec.md, section 2)."""

    def mel(hz: float) -> float:
        return 2595 * math.log10(1 + hz / 700)

    step = (mel(7200) - mel(20)) / 65
    edges_hz = [700 * (10 ** ((mel(20) + i * step) / 2595) - 1) for i in range(66)]
    edges = [round(hz * 1024 / 16000) for hz in edges_hz]
    bank = np.zeros((513, 64))
    for i in range(64):
        low, centre, high = edges[i : i + 3]
        height = 2 / ((high - low) * 16000 / 1024)
        for k in range(low, high + 1):
            if k <= centre:
                share = (k - low) / (centre - low) if centre > low else 1.0
            else:
                share = (high - k) / (high - centre)
            bank[k, i] = height * share
    return bank


def reference_logmel(x: Sound) -> Reference:
    """log-mel, one frame at a time, float64."""
    bank = reference_logmel_bank()
    window = [0.54 - 0.46 * math.cos(2 * math.pi * i / 399) for i in range(400)]
    scaled = x.astype(np.float64) * 32768
    rows = []
    before = 0.0
    for i in range(math.floor(len(x) / 160 + 1)):
        frame = scaled[i * 160 : i * 160 + 400]
        if len(frame) < 400:
            frame = np.resize(frame, 400)  # repeats what is left; zeros where nothing is
        emphasised = frame - 0.97 * np.concatenate([[before], frame[:-1]])
        before = frame[-1]
        power = np.abs(np.fft.fft(emphasised * window, 1024)[:513]) ** 2
        rows.append(np.log(np.maximum(power @ bank, 1e-5)))
    return np.array(rows)


def test_logmel_filters_are_the_specified_triangles() -> None:
    filters, reference = logmel_filters(), reference_logmel_bank()
    assert filters.shape[1] == 64
    assert np.abs(filters - reference[: len(filters)]).max() < 1e-12
    assert not reference[len(filters) :].any(), "bins with weight were left out"


@pytest.mark.parametrize("samples", AWKWARD + CHUNK_EDGES)
def test_logmel_equals_the_slow_reference(samples: int) -> None:
    x = sound(samples, seed=samples)
    got, wanted = logmel(x), reference_logmel(x)
    assert got.dtype == np.float32
    assert got.shape == wanted.shape == (samples // 160 + 1, 64)
    assert np.abs(got - wanted).max() < 1e-3


@pytest.mark.parametrize("level", [1e-6, 1e-4, 1.0, 3.0])
def test_logmel_equals_the_slow_reference_at_any_level(level: float) -> None:
    x = sound(8000, level=level)
    assert np.abs(logmel(x) - reference_logmel(x)).max() < 1e-3


@settings(max_examples=40, deadline=None)
@given(samples=st.integers(1, 3000), seed=st.integers(0, 2**16))
def test_logmel_equals_the_slow_reference_at_random_lengths(samples: int, seed: int) -> None:
    x = sound(samples, seed)
    assert np.abs(logmel(x) - reference_logmel(x)).max() < 1e-3


def test_logmel_of_a_click_at_every_place_near_the_borders_of_frames() -> None:
    # A single sample shows which frames it falls in, and so each off-by-one at a border.
    for place in [0, 1, 159, 160, 161, 399, 400, 401, 1598, 1599]:
        x = np.zeros(1600, np.float32)
        x[place] = 0.5
        assert np.abs(logmel(x) - reference_logmel(x)).max() < 1e-3, place


def test_logmel_of_silence_is_the_floor() -> None:
    assert np.allclose(logmel(np.zeros(16000, np.float32)), math.log(1e-5), atol=1e-5)


# ----------------------------------------------------------------------------- golden file

GOLDEN_NAMES = [
    *(f"chirp{n}" for n in (400, 401, 559, 560, 561, 16000, 16001, 16159)),
    "quiet",
    "zeros",
    "speech_1688-142285-0003",
    "speech_3807-4923-0000",
]
GOLDEN_WITHOUT_NETWORK_INPUT = {"chirp400", "chirp401", "chirp559", "chirp560", "chirp561"}


@pytest.fixture(scope="module")
def golden(s2f_data: Path) -> dict[str, NDArray[Any]]:
    with np.load(s2f_data / "golden" / "logmel64.npz") as file:
        return {name: file[name] for name in file.files}


def test_the_golden_file_holds_the_names_tested_here(golden: dict[str, NDArray[Any]]) -> None:
    assert {key.split("/")[0] for key in golden} == set(GOLDEN_NAMES)


@pytest.mark.parametrize("name", GOLDEN_NAMES)
def test_logmel_equals_the_golden_file(golden: dict[str, NDArray[Any]], name: str) -> None:
    wanted = golden[f"{name}/logmel"]
    pcm = golden[f"{name}/pcm"].astype(np.float32) / np.float32(32768)
    got = logmel(pcm)
    assert got.shape == wanted.shape
    assert np.abs(got - wanted).max() < 1e-3


@pytest.mark.parametrize("name", sorted(set(GOLDEN_NAMES) - GOLDEN_WITHOUT_NETWORK_INPUT))
def test_network_input_equals_the_golden_file(golden: dict[str, NDArray[Any]], name: str) -> None:
    wanted = golden[f"{name}/network_input"]
    pcm = golden[f"{name}/pcm"].astype(np.float32) / np.float32(32768)
    got = repeat_to(normalise_logmel(logmel(pcm)), 1000)
    assert got.dtype == np.float32
    assert got.shape == wanted.shape
    assert np.abs(got - wanted).max() < 1e-3


# ---------------------------------------------------------------- normalisation, repetition


def reference_normalised(features: NDArray[Any]) -> Reference:
    x = features.astype(np.float64)
    return (x - x.mean(axis=0)) / (x.std(axis=0) + np.finfo(np.float32).eps)


@pytest.mark.parametrize("frames", [2, 100, 1023, 1024, 1025, 5000])
def test_normalised_logmel_equals_float64(frames: int) -> None:
    features = np.random.default_rng(frames).normal(7.0, 2.5, (frames, 64)).astype(np.float32)
    got = normalise_logmel(features)
    assert got.dtype == np.float32
    assert np.abs(got - reference_normalised(features)).max() < 1e-4


def test_normalised_logmel_of_an_hour_keeps_its_mean() -> None:
    # Where float32 sums run over all 360,000 frames, the mean is off by far more than this.
    features = np.random.default_rng(0).normal(11.0, 0.5, (360_000, 4)).astype(np.float32)
    got = normalise_logmel(features)
    assert np.abs(got.mean(axis=0, dtype=np.float64)).max() < 1e-5
    assert np.abs(got.std(axis=0, dtype=np.float64) - 1).max() < 1e-5


def test_normalisation_leaves_its_argument_as_it_is() -> None:
    features = logmel(sound(8000))
    before = features.copy()
    normalise_logmel(features)
    assert np.array_equal(features, before)


@pytest.mark.parametrize("gain", [0.1, 0.01])
def test_loudness_does_not_change_normalised_logmel(gain: float) -> None:
    x = sound(48_000)
    loud, quiet = logmel(x), logmel(x * np.float32(gain))
    assert np.abs(loud - quiet).min() > 1.0, "the gain must show before the normalisation"
    assert np.abs(normalise_logmel(loud) - normalise_logmel(quiet)).max() < 1e-3


@pytest.mark.parametrize(("have", "want"), [(1, 5), (3, 10), (400, 1000), (999, 1000), (1000, 1000), (1001, 1000)])
def test_repeat_to(have: int, want: int) -> None:
    features = np.arange(have * 2, dtype=np.float32).reshape(have, 2)
    got = repeat_to(features, want)
    assert len(got) == max(have, want)
    assert all(np.array_equal(got[i], features[i % have]) for i in range(len(got)))


# --------------------------------------------------------------------------------- streams


@settings(max_examples=30, deadline=None)
@given(samples=st.integers(1, 9000), cuts=st.lists(st.integers(0, 9000), max_size=12))
@pytest.mark.parametrize(
    ("stream", "whole"), [(LogMelStream, logmel), (MelPowerStream, melpower), (FbankStream, fbank)]
)
def test_a_stream_gives_the_same_however_it_is_cut(
    stream: Callable[[], Stream], whole: Callable[[Sound], Sound], samples: int, cuts: list[int]
) -> None:
    x = sound(samples)
    got, wanted = streamed(stream(), cut(x, cuts)), whole(x)
    assert got.shape == wanted.shape
    # Not bit for bit: the matrix product of the BLAS library sums in another order for other sizes.
    close = np.isclose(got, wanted, rtol=1e-4, atol=1e-5)
    if stream is FbankStream:
        # Plain logarithms show the rounding of bins that have a millionth of their frame's loudest, or less.
        faint = wanted < wanted.max(axis=1, keepdims=True, initial=-np.inf) - np.log(1e6)
        close |= faint & np.isclose(got, wanted, rtol=1e-4, atol=2e-3)
    assert close.all(), np.abs(got - wanted).max()


@pytest.mark.parametrize("block", [1, 160, 399, 400, 401])
@pytest.mark.parametrize("name", ALL_STREAMS)
def test_a_stream_in_equal_blocks_gives_the_same(name: str, block: int) -> None:
    x = sound(1777)
    got = streamed(ALL_STREAMS[name](), [x[i : i + block] for i in range(0, len(x), block)])
    np.testing.assert_allclose(got, streamed(ALL_STREAMS[name](), [x]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "bins"), [("logmel-64", 64), ("melpower-40", 40), ("fbank-80", 80)])
def test_a_stream_that_heard_nothing_gives_no_frames(name: str, bins: int) -> None:
    assert ALL_STREAMS[name]().finish().shape == (0, bins)
    assert streamed(ALL_STREAMS[name](), [np.zeros(0, np.float32)] * 3).shape == (0, bins)


@pytest.mark.parametrize("name", ALL_STREAMS)
def test_a_stream_keeps_no_more_than_a_frame_of_samples(name: str) -> None:
    stream = ALL_STREAMS[name]()
    for _ in range(5):
        stream.push(sound(16_000))
        assert stream._samples.base is None or len(stream._samples.base) <= 560  # a view would keep its block alive
        assert len(stream._samples) <= 560


@pytest.mark.parametrize("name", ALL_STREAMS)
def test_a_stream_does_not_change_what_it_is_given(name: str) -> None:
    x = sound(4000)
    before = x.copy()
    streamed(ALL_STREAMS[name](), [x])
    assert np.array_equal(x, before)


# ----------------------------------------------------------------------------- melpower-40


def reference_melpower_bank() -> Reference:
    """(201, 40): Slaney's scale is linear to 1 kHz in 15 mel, then 27 mel for each factor 6.4."""

    def hz(mel: float) -> float:
        return mel * 200 / 3 if mel < 15 else 1000 * 6.4 ** ((mel - 15) / 27)

    top = 15 + 27 * math.log(8) / math.log(6.4)
    edges = [hz(top * i / 41) for i in range(42)]
    bank = np.zeros((201, 40))
    for i in range(40):
        low, centre, high = edges[i : i + 3]
        for k in range(201):
            f = k * 40.0
            if low < f <= centre:
                bank[k, i] = (f - low) / (centre - low)
            elif centre < f < high:
                bank[k, i] = (high - f) / (high - centre)
        bank[:, i] *= 2 / (high - low)
    return bank


def reference_melpower(x: Sound) -> Reference:
    bank = reference_melpower_bank()
    window = [0.5 - 0.5 * math.cos(2 * math.pi * i / 400) for i in range(400)]
    padded = np.concatenate([np.zeros(200), x.astype(np.float64), np.zeros(600)])
    rows = []
    for i in range(math.ceil((len(x) + 200) / 160)):
        power = np.abs(np.fft.fft(padded[i * 160 : i * 160 + 400] * window)[:201]) ** 2
        rows.append(power @ bank)
    return np.array(rows)


def relative(got: NDArray[Any], wanted: NDArray[Any], floor: float = 1e-6) -> float:
    """Largest difference, relative to each value, or to `floor` of the largest where that is more."""
    return float((np.abs(got - wanted) / np.maximum(np.abs(wanted), floor * np.abs(wanted).max())).max())


def test_melpower_filters_are_slaneys() -> None:
    assert np.abs(melpower_filters() - reference_melpower_bank()).max() < 1e-12


@pytest.mark.parametrize("samples", AWKWARD + CHUNK_EDGES)
def test_melpower_equals_the_slow_reference(samples: int) -> None:
    x = sound(samples, seed=samples)
    got, wanted = melpower(x), reference_melpower(x)
    assert got.dtype == np.float32
    assert got.shape == wanted.shape
    assert relative(got, wanted) < 1e-3


def test_melpower_equals_librosa() -> None:
    # golden/melpower40.npz was made once with librosa 0.11.0 and numpy 2.4.6, like so:
    #   rng = numpy.random.default_rng(20231); n = 16037; t = numpy.arange(n) / 16000
    #   y = 0.3 * sin(2 pi (200 t + 900 t ** 2)) + 0.05 * rng.normal(size=n), rounded to 16 bit: pcm
    #   mel = librosa.feature.melspectrogram(
    #       y=pcm.astype(float32) / 32768, sr=16000, n_fft=400, hop_length=160, n_mels=40).T
    with np.load(Path(__file__).parents[2] / "golden" / "melpower40.npz") as file:
        pcm, wanted = file["pcm"], file["mel"]
    got = melpower(pcm.astype(np.float32) / np.float32(32768))
    # librosa ends with the frame centred on the last hop; the module with the last that touches the signal.
    assert wanted.shape == (101, 40)
    assert len(got) >= len(wanted)
    assert relative(got[: len(wanted)], wanted, floor=1e-9) < 1e-4


# -------------------------------------------------------------------------------- fbank-80


def reference_fbank_bank() -> Reference:
    """(256, 80): triangles of height 1, straight in mel; the bin at 8,000 Hz is left out."""

    def mel(hz: float) -> float:
        return 1127 * math.log(1 + hz / 700)

    step = (mel(8000) - mel(20)) / 81
    bank = np.zeros((256, 80))
    for i in range(80):
        low, centre, high = (mel(20) + (i + j) * step for j in range(3))
        for k in range(256):
            place = mel(k * 31.25)
            if low < place <= centre:
                bank[k, i] = (place - low) / (centre - low)
            elif centre < place < high:
                bank[k, i] = (high - place) / (high - centre)
    return bank


def reference_fbank(x: Sound) -> Reference:
    """Kaldi's steps in Kaldi's order, one frame at a time, float64."""
    bank = reference_fbank_bank()
    window = [(0.5 - 0.5 * math.cos(2 * math.pi * i / 399)) ** 0.85 for i in range(400)]
    scaled = x.astype(np.float64) * 32768
    if len(x) < 400:
        scaled = np.concatenate([scaled, np.zeros(400 - len(x))])
    rows = []
    for i in range(1 + (len(scaled) - 400) // 160):
        frame = scaled[i * 160 : i * 160 + 400]
        frame = frame - frame.mean()
        emphasised = frame - 0.97 * np.concatenate([frame[:1], frame[:-1]])
        power = np.abs(np.fft.fft(emphasised * window, 512)[:256]) ** 2
        rows.append(np.log(np.maximum(power @ bank, 2.0**-23)))
    return np.array(rows)


def test_fbank_filters_are_kaldis() -> None:
    assert np.abs(fbank_filters() - reference_fbank_bank()).max() < 1e-9


@pytest.mark.parametrize("samples", AWKWARD + CHUNK_EDGES)
def test_fbank_equals_the_slow_reference(samples: int) -> None:
    x = sound(samples, seed=samples)
    got, wanted = fbank(x), reference_fbank(x)
    assert got.dtype == np.float32
    assert got.shape == wanted.shape == (max(1, 1 + (samples - 400) // 160), 80)
    assert np.abs(got - wanted).max() < 1e-3


@pytest.mark.parametrize("level", [1e-6, 1e-4, 1.0, 3.0])
def test_fbank_equals_the_slow_reference_at_any_level(level: float) -> None:
    x = sound(8000, level=level)
    assert np.abs(fbank(x) - reference_fbank(x)).max() < 1e-3


def test_fbank_of_a_click_at_every_place_near_the_borders_of_frames() -> None:
    for place in [0, 1, 159, 160, 161, 398, 399, 400, 401, 1518, 1519]:
        x = np.zeros(1600, np.float32)
        x[place] = 0.5
        # At the very end of a frame a click is heard through the mean alone, far above the highest bands.
        assert np.abs(fbank(x) - reference_fbank(x)).max() < 5e-3, place


@pytest.mark.parametrize("offset", [0.0, 0.02, -0.5])
def test_fbank_of_silence_is_the_floor_whatever_its_offset(offset: float) -> None:
    x = np.full(16_000, round(offset * 32_768) / 32_768, np.float32)
    assert np.array_equal(fbank(x), np.full((98, 80), np.log(np.float32(2.0**-23))))


def test_fbank_does_not_hear_a_constant_offset() -> None:
    x = sound(8000)
    assert np.abs(fbank(x + np.float32(0.3)) - fbank(x)).max() < 0.01


def test_fbank_equals_kaldi_native_fbank() -> None:
    # golden/fbank80.npz was made once with kaldi-native-fbank 1.23.0 and numpy 2.4.6, like so:
    #   rng = numpy.random.default_rng(20232); n = 24037; t = numpy.arange(n) / 16000
    #   glottis = sum(sin(2 pi k (130 * t + 20 * t ** 2)) / k for k in range(1, 40))
    #   y = 0.15 * glottis * abs(sin(2 pi 2 t)) + 0.003 * rng.normal(size=n) + 0.02
    #   y[9000:11000] = 0.02; y[16000:18000] = 0; rounded to 16 bit: pcm
    #   options = FbankOptions(), with frame_opts.samp_freq = 16000, frame_opts.dither = 0, mel_opts.num_bins = 80
    #   fbank = every frame of OnlineFbank(options) after accept_waveform(16000, pcm.tolist()) and input_finished()
    with np.load(Path(__file__).parents[2] / "golden" / "fbank80.npz") as file:
        pcm, wanted = file["pcm"], file["fbank"]
    assert wanted.shape == (148, 80)
    assert (wanted.max(axis=1) < -15.9).sum() == 21, "frames of silence, with an offset and without, are part of it"
    got = fbank(pcm.astype(np.float32) / np.float32(32768))
    assert got.shape == wanted.shape
    assert np.abs(got - wanted).max() < 1e-3


# ------------------------------------------------------------------------------------ mfcc


@pytest.mark.parametrize("samples", [1, 399, 400, 401, 559, 560, 561, 16000, 16001])
@pytest.mark.parametrize("options", [{}, {"coefficients": 20, "filters": 40, "fft_size": 1024, "lifter": 0}])
def test_mfcc_equals_python_speech_features(samples: int, options: dict[str, int]) -> None:
    import python_speech_features  # here, so that the other tests run without it; this one must fail

    x = sound(samples) * 32768
    theirs = {
        "numcep": options.get("coefficients", 13),
        "nfilt": options.get("filters", 26),
        "nfft": options.get("fft_size", 512),
        "ceplifter": options.get("lifter", 22),
    }
    wanted = python_speech_features.mfcc(x, winfunc=np.hamming, **theirs)
    got = mfcc(x, **options)
    assert got.shape == wanted.shape
    assert np.abs(got - wanted).max() < 1e-3


def test_mfcc_of_silence_equals_python_speech_features() -> None:
    import python_speech_features

    x = np.zeros(4000, np.float32)
    assert np.abs(mfcc(x) - python_speech_features.mfcc(x, winfunc=np.hamming)).max() < 1e-3


def test_normalised_mfcc_has_mean_0_and_deviation_1() -> None:
    plain, got = mfcc(sound(32_000)), mfcc(sound(32_000), normalise=True)
    assert got.shape == plain.shape
    assert np.abs(plain.mean(axis=0)).max() > 1
    assert np.abs(got.mean(axis=0)).max() < 1e-4
    assert np.abs(got.std(axis=0) - 1).max() < 1e-4


# ------------------------------------------------------------------------------------ stft


@pytest.mark.parametrize("samples", [400, 401, 559, 560, 561, 16000, 96000])
def test_stft_equals_scipy(samples: int) -> None:
    import scipy.signal

    x = sound(samples)
    window = scipy.signal.get_window("hann", 400, fftbins=True)
    # scipy divides by the sum of the window.
    _, _, wanted = scipy.signal.stft(
        x.astype(np.float64), window=window, nperseg=400, noverlap=240, nfft=512, boundary=None, padded=False
    )
    wanted = wanted * window.sum()
    got = stft(x)
    assert got.dtype == np.complex64
    assert got.shape == wanted.shape == (257, 1 + (samples - 400) // 160)
    assert np.abs(got - wanted).max() < 1e-4


def test_stft_needs_one_window() -> None:
    with pytest.raises(ValueError, match="at least 400"):
        stft(np.zeros(399, np.float32))


@pytest.mark.parametrize("samples", [1, 399, 16_000, 95_999, 96_000, 96_001, 120_000])
def test_compressed_stft(samples: int) -> None:
    x = sound(samples)
    got = compressed_stft(x)
    assert got.shape == (2, 257, 598)
    assert got.dtype == np.float32

    six_seconds = np.concatenate([x] * math.ceil(96_000 / samples))[:96_000].astype(np.float64)
    window = [0.5 - 0.5 * math.cos(2 * math.pi * i / 400) for i in range(400)]
    for frame in (0, 1, 300, 597):
        spectrum = np.fft.rfft(six_seconds[frame * 160 : frame * 160 + 400] * window, 512)
        for channel, part in zip(got[:, :, frame], (spectrum.real, spectrum.imag), strict=True):
            # Undone, because the power law makes much of the rounding of values near zero.
            assert np.abs(np.sign(channel) * np.abs(channel.astype(np.float64)) ** (1 / 0.3) - part).max() < 1e-4
            assert np.array_equal(np.sign(channel[np.abs(part) > 1e-4]), np.sign(part[np.abs(part) > 1e-4]))
