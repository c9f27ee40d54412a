"""Recordings as people have them: cut, damaged, lying or joined files of every kind. One policy for all of them.

All that can be decoded is used, what is missing is a warning with its place, and FFmpeg reads no more of it.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from s2f_edge import Speech2Face
from s2f_edge.errors import InvalidSamplesError, MissingDecoderError, TooLittleSpeechError, UnreadableAudioError
from s2f_edge.hearing import audio
from s2f_edge.hearing.audio import Waveform

av = pytest.importorskip("av")

Make = Callable[[str], bytes]

PCM = ["wav-8", "wav-16", "wav-24", "wav-float", "rf64", "w64", "aiff", "au", "caf"]
RATES = {"amr": 8000, "3gp": 8000, "wma": 44_100}
INDEX_LAST = ["m4a", "alac", "mov", "3gp"]
FORMATS = [
    *PCM, "wav-adpcm", "wav-mp3", "flac", "ogg", "opus", "mp3", "mp3-lame", "m4a", "alac", "mov", "3gp", "aac", "webm",
    "mka", "mkv-mp3", "amr", "ts", "wma",
]  # fmt: skip


@pytest.fixture(scope="module")
def speech(examples: Path) -> NDArray[np.float64]:
    return np.asarray(soundfile.read(examples / "male.wav")[0])


@pytest.fixture(scope="module")
def make(encoded: Callable[[str, NDArray[np.float64], int], bytes], speech: NDArray[np.float64]) -> Make:
    """make(name) -> the example in that format."""
    made: dict[str, bytes] = {}

    def file(name: str) -> bytes:
        if name not in made:
            rate = RATES.get(name, 16_000)
            places = np.arange(0, len(speech), 16_000 / rate)
            made[name] = encoded(name, np.interp(places, np.arange(len(speech)), speech), rate)
        return made[name]

    return file


def by_ffmpeg(data: bytes) -> float:
    """Seconds that FFmpeg decodes, passing over what it cannot."""
    samples, rate = 0, 1
    try:
        with av.open(io.BytesIO(data)) as media:
            rate = media.streams.audio[0].codec_context.sample_rate
            for packet in media.demux(media.streams.audio[0]):
                try:
                    samples += sum(frame.samples for frame in packet.decode())
                except av.FFmpegError:
                    continue
    except av.FFmpegError:
        pass
    return samples / rate


def damaged(data: bytes, at: float = 0.5, count: int = 40) -> bytes:
    begin = int(at * len(data))
    return data[:begin] + bytes(byte ^ 0x5A for byte in data[begin : begin + count]) + data[begin + count :]


def codes(sound: Waveform) -> list[str]:
    return [warning.code for warning in sound.warnings]


def told(sound: Waveform) -> str:
    return " ".join(warning.message for warning in sound.warnings)


# ------------------------------------------------------------------------------ policy


@pytest.mark.parametrize("name", FORMATS)
def test_a_whole_file_is_read_whole_and_nothing_is_said(make: Make, name: str) -> None:
    sound = audio.read(make(name))
    assert sound.seconds == pytest.approx(7.42, abs=0.15)
    assert not sound.warnings


@pytest.mark.parametrize("share", [0.3, 0.67, 0.9])
@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.slow
def test_a_cut_file_gives_what_is_there_and_says_where_it_ends(make: Make, name: str, share: float) -> None:
    data = make(name)
    data = data[: int(share * len(data))]
    if name in INDEX_LAST:
        with pytest.raises(UnreadableAudioError, match="never finished"):
            audio.read(data)
        return
    sound = audio.read(data)
    assert 0.5 * share * 7.42 < sound.seconds < share * 7.42 + 0.2
    assert sound.seconds > by_ffmpeg(data) - 0.1
    assert codes(sound) == ["missing-sound"]
    assert f"at {sound.seconds:.1f} s" in told(sound) or f"{sound.seconds - 0.1:.1f} s" in told(sound) or (
        f"{sound.seconds + 0.1:.1f} s" in told(sound)
    )  # fmt: skip


@pytest.mark.parametrize("at", [0.3, 0.5, 0.8])
@pytest.mark.parametrize("name", FORMATS)
def test_damage_in_the_middle_costs_what_it_touches(make: Make, name: str, at: float) -> None:
    data = damaged(make(name), at)
    sound = audio.read(data)
    # FFmpeg makes noise of a FLAC frame that does not match its checksum, and loses up to 5 s of Matroska.
    assert sound.seconds > by_ffmpeg(data) - (0.6 if name == "flac" else 0.1)
    assert sound.seconds > (4.5 if name in ("webm", "mka", "mkv-mp3") else 6.0)
    if sound.seconds < audio.read(make(name)).seconds - 0.05 and name not in ("3gp", "wma"):
        assert codes(sound) == ["missing-sound"]
    assert set(codes(sound)) <= {"missing-sound"}


@pytest.mark.parametrize("name", ["wav-16", "flac", "ogg", "mp3", "m4a", "aac", "webm", "amr"])
def test_damage_anywhere_is_sound_or_a_reason(make: Make, name: str) -> None:
    data, refused = make(name), list[float]()
    for at in np.linspace(0.0, 0.99, 23):
        try:
            sound = audio.read(damaged(data, float(at), 200))
        except (UnreadableAudioError, MissingDecoderError):
            refused.append(float(at))
        else:
            assert sound.seconds < 9.0
    assert all(at < 0.1 for at in refused) or name == "m4a"


@pytest.mark.parametrize("name", ["flac", "ogg", "m4a", "aac"])
def test_the_damaged_place_is_told(make: Make, name: str) -> None:
    data = make(name)
    place = {"m4a": 0.51}.get(name, 0.5)
    begin = int(place * len(data))
    message = told(audio.read(data[:begin] + b"\x5a" * 600 + data[begin + 600 :]))
    assert any(f"{second / 10:.1f} s:" in message for second in range(25, 45)) or "places from 3" in message


def patched(data: bytes, at: int, number: int, order: str = "little", size: int = 4) -> bytes:
    return data[:at] + number.to_bytes(size, order) + data[at + size :]  # type: ignore[arg-type]


@pytest.mark.parametrize("claim", [0, 1000, 100_000, 0xFFFF_FFFF, 0x7FFF_FFFF, 0x8000_0000, 10**9])
@pytest.mark.parametrize("name", ["wav-16", "wav-float", "wav-adpcm"])
@pytest.mark.parametrize("media", [True, False])
def test_a_wav_with_a_wrong_length(
    make: Make, name: str, claim: int, media: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not media:
        monkeypatch.setitem(sys.modules, "av", None)
    data = make(name)
    if claim == 100_000 > len(data):
        claim = 20_000
    sound = audio.read(patched(data, data.index(b"data") + 4, claim))
    assert np.array_equal(sound.samples, audio.read(data).samples)
    wanted = {0: "wrong-length", 1000: "wrong-length", 10**9: "missing-sound"}.get(claim)
    wanted = "wrong-length" if claim in (100_000, 20_000) else wanted
    assert codes(sound) == ([wanted] if wanted else [])


@pytest.mark.parametrize("tail", [b"LIST\4\0\0\0abcd", b"\0" * 300, b"id3 \3\0\0\0abc", b"x"])
def test_chunks_after_the_sound_are_no_sound(make: Make, tail: bytes) -> None:
    data = make("wav-16")
    sound = audio.read(data + tail)
    assert np.array_equal(sound.samples, audio.read(data).samples)
    assert not sound.warnings


@pytest.mark.parametrize("claim", [0, 1000, 60_000])
def test_a_flac_that_says_too_little_or_nothing(make: Make, claim: int, monkeypatch: pytest.MonkeyPatch) -> None:
    data = make("flac")
    told_before = int.from_bytes(data[18:26], "big")
    sound = audio.read(patched(data, 18, told_before >> 36 << 36 | claim, "big", 8))
    assert np.array_equal(sound.samples, audio.read(data).samples)
    assert not sound.warnings
    monkeypatch.setitem(sys.modules, "av", None)
    assert np.array_equal(audio.read(data).samples, sound.samples)


def test_an_mp3_header_is_not_believed(make: Make) -> None:
    data = make("mp3-lame")
    place = max(data.find(b"Xing"), data.find(b"Info")) + 8
    for frames in (5, 50):
        assert audio.read(patched(data, place, frames, "big")).seconds > 7.3
    without = data[: place - 8] + b"\0" * 100 + data[place + 92 :]
    sound = audio.read(without)
    assert sound.seconds > 7.3
    assert not sound.warnings


def test_bw64_is_wav(make: Make) -> None:
    data = make("rf64")
    assert np.array_equal(audio.read(b"BW64" + data[4:]).samples, audio.read(data).samples)


@pytest.mark.parametrize("name", ["flac", "ogg", "opus", "mp3", "mp3-lame", "aac", "amr"])
@pytest.mark.parametrize("media", [True, False])
def test_files_in_a_row_are_one_recording(make: Make, name: str, media: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    data = make(name)
    one = audio.read(data).seconds
    if not media:
        monkeypatch.setitem(sys.modules, "av", None)
        if name in ("aac", "amr"):
            pytest.skip("PyAV alone reads it.")
    sound = audio.read(data * 3)
    if media or not name.startswith("mp3"):
        assert sound.seconds == pytest.approx(3 * one, abs=0.5)
        assert "missing-sound" not in codes(sound)
    else:
        assert "s2f-edge[media]" in told(sound)


def test_pieces_of_other_rates_and_channels(encoded: Callable[..., bytes], speech: NDArray[np.float64]) -> None:
    wide = np.repeat(np.stack([speech, speech], axis=1), 2, axis=0)
    for name in ("ogg", "flac"):
        sound = audio.read(encoded(name, speech, 16_000) + encoded(name, wide, 32_000))
        assert sound.seconds == pytest.approx(2 * 7.42, abs=0.05)


@pytest.mark.parametrize("marks", [(b"\x44" + b"\x11" * 5, b"\x7c"), (b"\x7c",)])
@pytest.mark.parametrize("name", ["amr", "3gp"])
def test_pauses_of_amr_are_no_damage(make: Make, name: str, marks: tuple[bytes, ...]) -> None:
    data = make("amr")
    size = 32 if data[6] == 0x3C else {0x04: 13, 0x0C: 14, 0x14: 16, 0x1C: 18, 0x24: 20, 0x2C: 21, 0x34: 27}[data[6]]
    frames = [data[at : at + size] for at in range(6, len(data), size)]
    with_pauses = data[:6] + b"".join([*frames[:100], *(marks * 25), *frames[100:]])
    if name == "3gp":
        target = io.BytesIO()
        with av.open(io.BytesIO(with_pauses)) as given, av.open(target, "w", format="3gp") as taken:
            track = taken.add_stream_from_template(given.streams.audio[0])
            for packet in given.demux(given.streams.audio[0]):
                if packet.dts is not None:
                    packet.stream = track
                    taken.mux(packet)
        with_pauses = target.getvalue()
    sound = audio.read(with_pauses)
    assert sound.seconds == pytest.approx(audio.read(data).seconds + 0.02 * 25 * len(marks), abs=0.05)
    assert not sound.warnings


def test_wide_amr_with_pauses() -> None:
    frame = bytes([0x04]) + np.random.default_rng(1).bytes(17)  # 6.60 kbit/s
    pause = bytes([0x4C]) + bytes(5)
    sound = audio.read(b"#!AMR-WB\n" + frame * 100 + pause * 10 + b"\x7c" * 40 + frame * 100)
    assert sound.seconds == pytest.approx(250 * 0.02)
    assert not sound.warnings


def test_samples_without_a_header_are_told_as_that(tmp_path: Path, speech: NDArray[np.float64]) -> None:
    path = tmp_path / "samples.wav"
    path.write_bytes((speech * 32_767).astype("<i2").tobytes())
    with pytest.raises(UnreadableAudioError, match="samples without a header"):
        audio.read(path)


def test_a_damaged_float_is_left_out_and_another_unit_is_not(make: Make) -> None:
    data = make("wav-float")
    begin = data.index(b"data") + 8 + 4 * 16_000
    sound = audio.read(data[:begin] + b"\x7f\x00\x00\x7f" * 5 + data[begin + 20 :])
    assert codes(sound) == ["missing-sound"]
    assert np.abs(sound.samples).max() < 1.0


def test_nothing_is_written_on_standard_error(make: Make, capfd: pytest.CaptureFixture[str]) -> None:
    for name in ("mp3", "mp3-lame", "aac", "m4a", "amr", "wav-mp3"):
        data = make(name)
        files = [data, data * 4, *(damaged(data, at) for at in (0.2, 0.4, 0.6, 0.8)), data[: len(data) // 2]]
        for file in files:
            try:
                audio.read(file)
            except UnreadableAudioError:
                assert name == "m4a"
    said = capfd.readouterr()
    assert said.err == ""
    assert said.out == ""


# --------------------------------------------------------------------------- the voice


def test_the_voice_has_the_warning(make: Make, tiny_pack: Path) -> None:
    model = Speech2Face(tiny_pack)
    data = make("flac")
    result = model.infer(data[: len(data) * 2 // 3], seed=1)
    assert "missing-sound" in [warning.code for warning in result.warnings]
    assert "missing-sound" in [warning["code"] for warning in result.to_dict()["warnings"]]
    assert not [w for w in model.embed(data).warnings if w.code == "missing-sound"]


def test_a_refusal_names_the_damage(make: Make, tiny_pack: Path) -> None:
    data = make("wav-16")
    with pytest.raises(TooLittleSpeechError, match="are missing at"):
        Speech2Face(tiny_pack).embed(data[: len(data) // 10])


def test_a_file_of_which_nothing_decodes(make: Make) -> None:
    data = make("wav-16")
    with pytest.raises(UnreadableAudioError, match="not even in part"):
        audio.read(data[:44])


# -------------------------------------------------------------------------- which sound


def two_tracks(first: NDArray[np.float64], second: NDArray[np.float64], default: int | None, container: str) -> bytes:
    """A file of two tracks, of which one, both (-1) or none (None) are marked as default."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as media:
        tracks = [media.add_stream("aac", rate=16_000) for _ in range(2)]
        for index, track in enumerate(tracks):
            track.codec_context.layout = "mono"
            wanted = default in (index, -1)
            track.disposition = av.stream.Disposition.default if wanted else av.stream.Disposition(0)
        for track, samples in zip(tracks, (first, second), strict=True):
            frame = av.AudioFrame.from_ndarray(samples.astype(np.float32)[None], format="fltp", layout="mono")
            frame.sample_rate = 16_000
            media.mux(track.encode(frame))
            media.mux(track.encode(None))
    return file.getvalue()


@pytest.mark.parametrize(("default", "speaks", "wanted"), [(0, 0, 1), (1, 1, 2), (1, 0, 2), (-1, 1, 2), (-1, 0, 1)])
def test_of_several_tracks(speech: NDArray[np.float64], default: int, speaks: int, wanted: int) -> None:
    hum = 0.1 * np.sin(2 * np.pi * 50 * np.arange(len(speech)) / 16_000)
    tracks = (speech, hum) if speaks == 0 else (hum, speech)
    sound = audio.read(two_tracks(*tracks, default, "matroska"))
    assert codes(sound) == ["several-tracks"]
    assert f"number {wanted} was taken" in told(sound)
    assert (np.abs(sound.samples).max() > 0.3) == (wanted == speaks + 1)


def correlation(a: NDArray[np.float32], b: NDArray[np.float64]) -> float:
    length = min(len(a), len(b))
    return float(abs(np.corrcoef(a[:length], b[:length])[0, 1]))


@pytest.mark.parametrize("rate", [16_000, 44_100])
@pytest.mark.parametrize("delay", [0, 20, 400, 8000])
@pytest.mark.parametrize("sign", [1, -1])
def test_channels_that_cancel_are_not_mixed(speech: NDArray[np.float64], rate: int, delay: int, sign: int) -> None:
    places = np.arange(0, len(speech), 16_000 / rate)
    mono = np.interp(places, np.arange(len(speech)), speech)
    other = sign * np.concatenate([np.zeros(delay), mono])[: len(mono)]
    sound = audio.read(np.stack([mono, other], axis=1), rate)
    alone = audio.read(mono, rate).samples
    assert correlation(sound.samples, alone) > 0.99
    assert codes(sound) == ([] if (delay, sign) == (0, 1) else ["channels"])


def test_usual_stereo_is_the_mean(speech: NDArray[np.float64]) -> None:
    rng = np.random.default_rng(0)
    for other in (0.3 * speech, np.zeros_like(speech), speech + 0.01 * rng.standard_normal(len(speech)),
                  np.roll(speech, 30_000)[::-1]):  # fmt: skip
        both = np.stack([speech, other], axis=1).astype(np.float32)
        sound = audio.read(both, 16_000)
        assert np.array_equal(sound.samples, both.mean(axis=1, dtype=np.float32))
        assert not sound.warnings


@pytest.mark.parametrize("channels", [2, 6])
def test_one_channel_with_the_voice_is_enough(speech: NDArray[np.float64], channels: int) -> None:
    rng = np.random.default_rng(0)
    time = np.arange(len(speech)) / 16_000
    wide = np.stack([0.2 * np.sin(2 * np.pi * 50 * time + i) + 0.1 * rng.standard_normal(len(speech))
                     for i in range(channels)], axis=1)  # fmt: skip
    wide[:, -1] = speech
    sound = audio.read(wide, 16_000)
    assert correlation(sound.samples, speech) > 0.99
    assert f"number {channels} was taken" in told(sound)


def test_the_voice_may_come_late_in_cancelling_channels(speech: NDArray[np.float64]) -> None:
    quiet = np.zeros((25 * 16_000, 2))
    sound = audio.read(np.concatenate([quiet, np.stack([speech, -speech], axis=1)]), 16_000)
    assert np.std(sound.samples[-len(speech) :]) == pytest.approx(np.std(speech), rel=0.1)


@pytest.mark.parametrize("level", [1.5, 12.0, 20.0, 30_000.0])
def test_float_files_are_treated_as_arrays_are(
    encoded: Callable[..., bytes], speech: NDArray[np.float64], level: float
) -> None:
    loud = (level * speech / np.abs(speech).max()).astype(np.float32)
    loud[np.abs(loud) > 0.5 * level] = level
    results = []
    for source, rate in ((encoded("wav-float", loud, 16_000), None), (loud, 16_000)):
        try:
            results.append(audio.read(source, rate).samples)
        except InvalidSamplesError as error:
            results.append(str(error))
    assert np.array_equal(results[0], results[1])
    assert isinstance(results[0], str) == (level > 16)
