"""`s2f_edge.hearing.audio`: every format, rate and kind of source, and clear errors for the rest."""

from __future__ import annotations

import io
import os
import sys
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from s2f_edge.errors import (
    AudioError,
    InvalidSamplesError,
    MissingDecoderError,
    S2FError,
    UnreadableAudioError,
    UsageError,
)
from s2f_edge.hearing import audio
from s2f_edge.hearing.audio import Waveform

Encode = Callable[[str, NDArray[np.float64], int], bytes]
SoundFile = Callable[[str], bytes]

LOSSLESS = ["wav-8", "wav-16", "wav-24", "wav-32", "wav-float", "wav-double", "flac"]
LOSSY = ["ogg", "opus", "mp3"]
MEDIA = ["m4a", "aac", "webm", "amr"]
RATES = [8000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000, 192_000]


def tone(rate: int, hz: float = 1000.0, seconds: float = 1.0, level: float = 0.5) -> NDArray[np.float64]:
    return level * np.sin(2 * np.pi * hz * np.arange(int(rate * seconds)) / rate)


def middle(samples: NDArray[np.float32]) -> NDArray[np.float64]:
    """Half a second without the ends, where resamplers and codecs settle."""
    assert len(samples) >= 14_000
    start = len(samples) // 2 - 4000
    return samples[start : start + 8000].astype(np.float64)


def level_at(samples: NDArray[np.float32], hz: float) -> float:
    """The amplitude of a tone in the middle of the sound, by projection on it."""
    x = middle(samples)
    return float(np.abs(np.exp(-2j * np.pi * hz * np.arange(len(x)) / 16_000) @ x) * 2 / len(x))


def rest_beside(samples: NDArray[np.float32], hz: float) -> float:
    """Root mean square of what is not the tone."""
    x = middle(samples)
    waves = np.exp(2j * np.pi * hz * np.arange(len(x)) / 16_000)
    basis = np.stack([waves.real, waves.imag], axis=1)
    return float(np.std(x - basis @ np.linalg.lstsq(basis, x, rcond=None)[0]))


# --------------------------------------------------------------------------------- formats


@pytest.mark.parametrize(
    ("name", "step"),
    [("wav-8", 2**-7), ("wav-16", 2**-15), ("wav-24", 2**-23), ("wav-float", 2**-23), ("flac", 2**-15)],
)
def test_lossless_formats_give_the_samples(encoded: Encode, name: str, step: float) -> None:
    x = tone(16_000)
    got = audio.read(encoded(name, x, 16_000))
    assert got.samples.dtype == np.float32
    assert got.samples.shape == x.shape
    assert got.sample_rate == 16_000
    assert got.seconds == 1.0
    assert np.abs(got.samples - x).max() <= step


@pytest.mark.parametrize("name", LOSSLESS + LOSSY + MEDIA)
def test_every_format_keeps_the_tone(sound_file: SoundFile, name: str) -> None:
    got = audio.read(sound_file(name)).samples
    assert got.dtype == np.float32
    assert got.ndim == 1
    assert 15_500 <= len(got) <= 18_500  # codecs add up to a few of their frames
    # The speech codec keeps the pitch, but the level only roughly.
    assert level_at(got, 440) == pytest.approx(0.5, rel=0.25 if name == "amr" else 0.05)


@pytest.mark.parametrize("rate", RATES)
def test_every_rate_keeps_frequency_and_level(encoded: Encode, rate: int) -> None:
    got = audio.read(encoded("wav-24", tone(rate), rate)).samples
    assert abs(len(got) - 16_000) <= 1
    assert level_at(got, 1000) == pytest.approx(0.5, abs=1e-3)
    assert rest_beside(got, 1000) < 1e-3


@pytest.mark.parametrize("rate", [22_050, 44_100, 48_000, 96_000, 192_000])
def test_what_is_above_8_khz_is_gone_and_not_folded_down(rate: int) -> None:
    assert np.std(middle(audio.read(tone(rate, hz=10_000.0), rate).samples)) < 1e-3


@pytest.mark.parametrize(("name", "rate"), [("mp3", 44_100), ("ogg", 44_100), ("opus", 48_000), ("m4a", 44_100)])
def test_lossy_formats_at_their_usual_rates(encoded: Encode, name: str, rate: int) -> None:
    x = tone(rate)
    got = audio.read(encoded(name, np.stack([x, x], axis=1), rate)).samples
    assert level_at(got, 1000) == pytest.approx(0.5, rel=0.05)


@pytest.mark.parametrize("name", ["wav-16", "wav-float", "flac", "ogg"])
@pytest.mark.parametrize("channels", [1, 2, 8])
def test_channels_are_averaged(encoded: Encode, name: str, channels: int) -> None:
    # A tone in the first channel only, so that each way to mix but the mean has another level.
    x = np.zeros((16_000, channels))
    x[:, 0] = tone(16_000)
    got = audio.read(encoded(name, x, 16_000)).samples
    assert level_at(got, 1000) == pytest.approx(0.5 / channels, rel=0.05)


@pytest.mark.parametrize("name", ["m4a", "aac", "webm"])
def test_channels_of_media_are_averaged(encoded: Encode, name: str) -> None:
    x = np.stack([tone(16_000), np.zeros(16_000)], axis=1)
    assert level_at(audio.read(encoded(name, x, 16_000)).samples, 1000) == pytest.approx(0.25, rel=0.05)


def test_media_with_many_channels(encoded: Encode) -> None:
    # Planar frames of 8 channels and more made PyAV 18 read past its list of planes: a crash.
    x = np.stack([tone(16_000)] * 8, axis=1)
    got = audio.read(encoded("m4a", x, 16_000)).samples
    assert level_at(got, 1000) == pytest.approx(0.5, rel=0.05)


@pytest.mark.parametrize("second_channels", [1, 2])
@pytest.mark.parametrize("second_rate", [16_000, 44_100])
def test_media_that_change_their_setup_midway(encoded: Encode, second_rate: int, second_channels: int) -> None:
    # A broadcast does it; adts has no header of the whole, so two files in a row are such a file.
    first = encoded("aac", tone(16_000), 16_000)
    second = encoded("aac", np.stack([tone(second_rate, 500.0)] * second_channels, axis=1), second_rate)
    got = audio.read(first + second).samples
    alone = len(audio.read(first).samples), len(audio.read(second).samples)
    assert abs(len(got) - sum(alone)) < 2500
    assert level_at(got[: alone[0]], 1000) == pytest.approx(0.5, rel=0.05)
    assert level_at(got[-alone[1] :], 500) == pytest.approx(0.5, rel=0.05)


# --------------------------------------------------------------------------------- sources


def test_path_text_bytes_and_file_objects_are_the_same(sound_file: SoundFile, tmp_path: Path) -> None:
    data = sound_file("flac")
    path = tmp_path / "tone.flac"
    path.write_bytes(data)
    wanted = audio.read(data).samples
    assert len(wanted) == 16_000
    with path.open("rb") as file:
        sources: list[Any] = [path, str(path), bytearray(data), memoryview(data), io.BytesIO(data), file]
        for source in sources:
            assert np.array_equal(audio.read(source).samples, wanted), type(source)


def test_a_file_object_is_read_from_where_it_stands(sound_file: SoundFile) -> None:
    file = io.BytesIO(b"something else" + sound_file("wav-16"))
    file.seek(len(b"something else"))
    assert len(audio.read(file).samples) == 16_000


@pytest.mark.parametrize("name", ["wav-16", "ogg", "m4a", "webm"])
@pytest.mark.parametrize("suffix", [".raw", ".mp3", ".txt", ".wav", ""])
def test_the_content_counts_and_not_the_name(sound_file: SoundFile, tmp_path: Path, name: str, suffix: str) -> None:
    path = tmp_path / f"misnamed{suffix}"
    path.write_bytes(sound_file(name))
    assert level_at(audio.read(path).samples, 440) == pytest.approx(0.5, rel=0.05)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="This system has no named pipes.")
def test_a_pipe_can_be_read(sound_file: SoundFile, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(sound_file("wav-16"),), daemon=True)
    writer.start()
    assert len(audio.read(pipe).samples) == 16_000
    writer.join(10)


@pytest.mark.parametrize("dtype", ["int16", "int32", "float32", "float64", "float16"])
@pytest.mark.parametrize("channels", [None, 1, 2, 8])
def test_arrays(dtype: str, channels: int | None) -> None:
    x = tone(16_000) if channels is None else np.stack([tone(16_000)] * channels, axis=1)
    scale = {"int16": 2.0**15, "int32": 2.0**31}.get(dtype, 1.0)
    got = audio.read((x * scale).astype(dtype), 16_000).samples
    assert got.dtype == np.float32
    assert np.abs(got - tone(16_000)).max() < (1e-3 if dtype == "float16" else 2**-14)


@pytest.mark.parametrize("rate", RATES)
def test_arrays_at_every_rate(rate: int) -> None:
    got = audio.read(tone(rate), np.int64(rate)).samples
    assert level_at(got, 1000) == pytest.approx(0.5, abs=1e-3)


def test_the_ends_of_integer_samples() -> None:
    assert audio.read(np.array([-32768, 32767, 0], np.int16), 16_000).samples.tolist() == [-1.0, 32767 / 32768, 0.0]
    assert audio.read(np.array([-(2**31), 2**30], np.int32), 16_000).samples.tolist() == [-1.0, 0.5]


def test_an_array_is_neither_changed_nor_shared() -> None:
    x = tone(16_000).astype(np.float32)
    before = x.copy()
    got = audio.read(x, 16_000).samples
    got[:] = 0
    assert np.array_equal(x, before)


@pytest.mark.parametrize("rate", [8000, 16_000, 48_000])
def test_no_samples_give_no_samples(rate: int) -> None:
    got = audio.read(np.zeros(0, np.float32), rate)
    assert got.samples.shape == (0,)
    assert got.seconds == 0


def test_a_waveform_knows_its_length() -> None:
    assert Waveform(np.zeros(8000, np.float32)).seconds == 0.5
    assert Waveform(np.zeros(8000, np.float32), 8000).seconds == 1.0


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_blocks_join_without_a_seam(rate: int) -> None:
    # 25 s is more than two blocks; at a seam the tone would jump.
    blocks = list(audio.stream(tone(rate, seconds=25.0), rate))
    assert sum(len(block) > 0 for block in blocks) >= 3
    whole = np.concatenate(blocks)
    assert abs(len(whole) - 25 * 16_000) <= 1
    wanted = tone(16_000, seconds=25.0)[: len(whole)]
    assert np.abs(whole - wanted[: len(whole)])[1000:-1000].max() < 1e-3


@pytest.mark.parametrize("name", ["flac", "ogg", "aac"])
def test_long_files_come_in_blocks(encoded: Encode, name: str) -> None:
    blocks = list(audio.stream(encoded(name, tone(8000, 440.0, 25.0), 8000)))
    assert len(blocks) >= 3
    assert max(len(block) for block in blocks) < 12 * 16_000
    whole = np.concatenate(blocks)
    assert 24.9 < len(whole) / 16_000 < 25.5
    assert level_at(whole, 440) == pytest.approx(0.5, rel=0.05)


# ------------------------------------------------------------------------------ extra media


@pytest.mark.parametrize("name", MEDIA)
def test_without_pyav_media_need_the_extra(sound_file: SoundFile, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    data = sound_file(name)
    monkeypatch.setitem(sys.modules, "av", None)  # what an import of a missing package comes to
    with pytest.raises(MissingDecoderError, match=r"s2f-edge\[media\]"):
        audio.read(data)


@pytest.mark.parametrize("name", LOSSLESS + LOSSY)
def test_without_pyav_the_usual_formats_are_read(
    sound_file: SoundFile, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    data = sound_file(name)
    monkeypatch.setitem(sys.modules, "av", None)
    assert level_at(audio.read(data).samples, 440) == pytest.approx(0.5, rel=0.05)


def test_without_pyav_nonsense_is_unreadable_and_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UnreadableAudioError, match=r"s2f-edge\[media\]"):
        audio.read(b"These are words and no sound.")


# ---------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"These are words and no sound.\n" * 50, "no sound"),
        (np.random.default_rng(5).bytes(5000), "no sound"),
        (b"\0" * 5000, "no sound"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 100, "no sound"),
        (b"R", "no sound"),
        (b"RIFF", "no sound"),
    ],
)
def test_content_that_is_no_sound(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "thing.wav"
    path.write_bytes(content)
    with pytest.raises(UnreadableAudioError, match=message):
        audio.read(content)
    with pytest.raises(UnreadableAudioError, match=r"thing\.wav"):
        audio.read(path)


def test_a_folder_and_a_missing_path_are_said_to_be_that(tmp_path: Path) -> None:
    with pytest.raises(UnreadableAudioError, match="folder"):
        audio.read(tmp_path)
    with pytest.raises(UnreadableAudioError, match="does not exist"):
        audio.read(tmp_path / "nowhere.wav")
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(UnreadableAudioError, match="cannot be opened"):
        audio.read(tmp_path / "file" / "below.wav")


@pytest.mark.parametrize("path", ["null\0byte.wav", "long" * 2000, "lone\ud800surrogate"])
def test_paths_that_no_system_takes(path: str) -> None:
    with pytest.raises(UnreadableAudioError):
        audio.read(path)


@pytest.mark.parametrize("name", LOSSLESS + LOSSY + MEDIA)
def test_a_truncated_file_is_decoded_in_part_or_a_clear_error(sound_file: SoundFile, name: str) -> None:
    data = sound_file(name)
    whole = len(audio.read(data).samples)
    messages: list[str] = []
    for end in [1, 4, 8, 12, 16, 20, 40, 44, 45, 60, 100, len(data) // 4, len(data) // 2, len(data) - 1]:
        try:
            got = audio.read(data[:end]).samples
        except AudioError as error:
            messages.append(str(error))
        else:
            # Codecs may conceal what is missing, but not by much.
            assert len(got) <= whole + 4000, end
            assert np.isfinite(got).all(), end
    assert messages, "a single byte is no sound in any format"
    assert all(len(message) > 20 for message in messages)


@pytest.mark.parametrize("name", ["wav-16", "wav-24", "wav-float"])
def test_half_a_wav_gives_half_the_sound(sound_file: SoundFile, name: str) -> None:
    data = sound_file(name)
    got = audio.read(data[: len(data) // 2]).samples
    assert abs(len(got) - 8000) < 100
    assert np.array_equal(got, audio.read(data).samples[: len(got)])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_samples_that_are_not_finite(encoded: Encode, rate: int, bad: float) -> None:
    x = tone(rate)
    x[500] = bad
    for samples in (x, x.astype(np.float32), np.stack([x, x], axis=1)):
        with pytest.raises(InvalidSamplesError):
            audio.read(samples, rate)
    with pytest.raises(InvalidSamplesError, match="NaN"):
        audio.read(encoded("wav-float", x, rate))


def test_a_bad_sample_in_a_late_block_is_found() -> None:
    x = np.zeros(16_000 * 25, np.float32)
    x[-1] = np.nan
    with pytest.raises(InvalidSamplesError, match="NaN"):
        audio.read(x, 16_000)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int64", "bool", "complex64", "object", "U4"])
def test_samples_of_the_wrong_type(dtype: str) -> None:
    with pytest.raises(InvalidSamplesError, match="int16, int32 or float"):
        audio.read(np.zeros(16_000, dtype), 16_000)


@pytest.mark.parametrize("shape", [(), (2, 16_000, 1), (16_000, 0), (16_000, 65)])
def test_samples_of_the_wrong_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidSamplesError, match="shape"):
        audio.read(np.zeros(shape, np.float32), 16_000)


@pytest.mark.parametrize("channels", [1, 2, 8])
def test_channels_first_is_told_how_to_turn(channels: int) -> None:
    with pytest.raises(InvalidSamplesError, match="Transpose"):
        audio.read(np.zeros((channels, 16_000), np.float32), 16_000)


def test_float_samples_in_the_range_of_integers() -> None:
    with pytest.raises(InvalidSamplesError, match=r"\[-1, 1\]"):
        audio.read(tone(16_000, level=32_768.0), 16_000)
    assert np.abs(audio.read(tone(16_000, level=1.2), 16_000).samples).max() > 1.1  # an overshoot is let through


def test_an_array_needs_a_rate_and_a_file_has_its_own(sound_file: SoundFile) -> None:
    with pytest.raises(UsageError, match="sample_rate="):
        audio.read(tone(16_000))
    with pytest.raises(UsageError, match="Leave it out"):
        audio.read(sound_file("wav-16"), 16_000)


@pytest.mark.parametrize(
    "rate", [7999, 192_001, 0, -16_000, 16_000.5, float("nan"), float("inf"), True, "16000", "fast", [16_000]]
)
def test_rates_that_cannot_be(rate: Any) -> None:
    with pytest.raises(InvalidSamplesError, match="8000 to 192000"):
        audio.read(tone(16_000), rate)


@pytest.mark.parametrize("rate", [4000, 7999, 192_001])
def test_a_file_with_a_rate_that_cannot_be(encoded: Encode, rate: int) -> None:
    with pytest.raises(InvalidSamplesError, match="8000 to 192000"):
        audio.read(encoded("wav-16", tone(rate), rate))


def test_a_file_with_too_many_channels(encoded: Encode) -> None:
    with pytest.raises(InvalidSamplesError, match="65 channels"):
        audio.read(encoded("wav-16", np.zeros((100, 65)), 16_000))


def test_file_objects_in_text_mode(sound_file: SoundFile, tmp_path: Path) -> None:
    path = tmp_path / "tone.wav"
    path.write_bytes(sound_file("wav-16") + b"\xff\xff")  # no valid UTF-8
    sources: list[Any] = [io.StringIO("words")]
    with path.open(encoding="utf-8") as as_utf8, path.open(encoding="latin-1") as as_latin:
        for source in [*sources, as_utf8, as_latin]:
            with pytest.raises(UsageError, match="binary mode"):
                audio.read(source)


@pytest.mark.parametrize("source", [None, 5, [0.0, 0.1], {"path": "x"}])
def test_sources_of_no_known_kind(source: Any) -> None:
    with pytest.raises(UsageError, match="give a path"):
        audio.read(source)


# --------------------------------------------------------------------------------- resources


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="Open files cannot be counted on this system.")
def test_files_are_closed_after_errors_and_when_a_stream_is_left(
    sound_file: SoundFile, encoded: Encode, tmp_path: Path
) -> None:
    def count() -> int:
        return len(list(Path("/dev/fd").iterdir()))

    contents = {
        "words": b"no sound" * 100,
        "slow": encoded("wav-16", tone(4000), 4000),
        "wide": encoded("wav-16", np.zeros((100, 65)), 16_000),
        "cut": sound_file("m4a")[:2000],
        "long": encoded("flac", tone(8000, 440.0, 25.0), 8000),
        "m4a": encoded("m4a", tone(8000, 440.0, 25.0), 8000),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    before = count()
    for name in contents:
        for _ in range(5):
            blocks = audio.stream(tmp_path / name)
            try:
                next(blocks)
            except S2FError:
                assert name not in ("long", "m4a")
            else:
                assert name in ("long", "m4a")
            del blocks
    assert count() == before


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length(tmp_path: Path) -> None:
    path = tmp_path / "long.flac"
    second = (np.stack([tone(48_000), tone(48_000, 500.0)], axis=1) * 32_767).astype(np.int16)
    with soundfile.SoundFile(path, "w", 48_000, 2, "PCM_16", format="FLAC") as file:
        for _ in range(600):
            file.write(second)
    samples = 0
    tracemalloc.start()
    try:
        for block in audio.stream(path):
            samples += len(block)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert abs(samples - 600 * 16_000) <= 1
    # All of it would be 230 MB as stereo float32 and 38 MB as the mono result.
    assert 1e6 < peak < 30e6


@pytest.mark.slow
def test_memory_does_not_grow_with_the_channels(encoded: Encode) -> None:
    # 26 kB of silence (12 s) in 64 channels at 192 kHz once took 600 MB.
    data = encoded("ogg", np.zeros((192_000 * 2, 64)), 192_000)
    assert len(data) < 100_000
    tracemalloc.start()
    try:
        samples = sum(len(block) for block in audio.stream(data))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert abs(samples - 2 * 16_000) <= 1
    assert peak < 60e6  # the whole would be 98 MB
