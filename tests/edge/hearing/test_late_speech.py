"""Speech that comes late: what is before, between and after it neither hides it nor counts as it."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from s2f_edge import Speech2Face
from s2f_edge.errors import NotSpeechError, TooLittleSpeechError
from s2f_edge.hearing import audio
from s2f_edge.hearing.chosen import ChosenWindows
from s2f_edge.hearing.features import SAMPLE_RATE, Float32s
from s2f_edge.hearing.frontend import FRONT_ENDS
from s2f_edge.hearing.vad import find_speech
from s2f_edge.listening import Listener
from s2f_edge.live import LiveVoice
from s2f_edge.results import Voice
from tests.tiny_packs import make_pack

LONG_S = 70
TIME = np.arange(LONG_S * SAMPLE_RATE) / SAMPLE_RATE


def coloured(slope: float) -> Float32s:
    """Noise with power falling as frequency ** -slope."""
    spectrum = np.fft.rfft(np.random.default_rng(7).standard_normal(len(TIME)))
    spectrum *= np.maximum(np.arange(len(spectrum)) / LONG_S, 20.0) ** (-slope / 2)
    return np.fft.irfft(spectrum).astype(np.float32)


def hum(hz: float) -> Float32s:
    return np.sum([np.sin(2 * np.pi * hz * k * TIME + k) / k for k in range(1, 12)], axis=0, dtype=np.float32)


def ringing() -> Float32s:
    """A second of 425 Hz in five, as in most of Europe."""
    return (np.sin(2 * np.pi * 425 * TIME) * (TIME % 5 < 1)).astype(np.float32)


def on_hold() -> Float32s:
    """Chords of plucked notes, two in a second."""
    rng = np.random.default_rng(3)
    sound = np.zeros(len(TIME))
    t = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    for start in range(0, len(TIME) - SAMPLE_RATE, SAMPLE_RATE // 2):
        for step in rng.choice([0, 2, 4, 5, 7, 9, 11, 12], 3, replace=False):
            hz = 220 * 2 ** (step / 12)
            sound[start : start + SAMPLE_RATE] += sum(
                np.sin(2 * np.pi * hz * k * t) / k**1.3 * np.exp(-t * (1 + k)) for k in range(1, 8)
            )
    return sound.astype(np.float32)


SOUNDS: dict[str, Callable[[], Float32s]] = {
    "white noise": lambda: coloured(0),
    "pink noise": lambda: coloured(1),
    "hum of 50 Hz": lambda: hum(50),
    "hum of 100 Hz": lambda: hum(100),
    "ring tones": ringing,
    "music": on_hold,
}
PLACES = ("before", "between", "after")


@pytest.fixture(scope="module")
def model() -> Speech2Face:
    return Speech2Face(device="cpu", variant=None)


@pytest.fixture(scope="module")
def speech(examples: Path) -> Float32s:
    return audio.read(examples / "male.wav").samples


@pytest.fixture(scope="module")
def alone(model: Speech2Face, speech: Float32s) -> Voice:
    return model.embed(speech, SAMPLE_RATE)


@pytest.fixture(scope="module", params=SOUNDS)
def other(request: pytest.FixtureRequest) -> Float32s:
    """70 s of a sound at 0 dBFS."""
    made: Float32s = SOUNDS[request.param]()
    return made / np.float32(made.std())


def at(dbfs: float) -> np.float32:
    return np.float32(10 ** (dbfs / 20))


def put(place: str, speech: Float32s, other: Float32s) -> Float32s:
    parts = {"before": [other, speech], "between": [speech, other, speech], "after": [speech, other]}
    return np.concatenate(parts[place])


def check(voice: Voice, alone: Voice, times: int, borders: int) -> None:
    """It is the voice alone; at each border, up to a second may be counted wrongly."""
    assert float(voice.embedding @ alone.embedding) > 0.93
    assert -0.5 < voice.quality.speech_s - times * alone.quality.speech_s < borders + 0.1
    assert voice.quality.level_dbfs == pytest.approx(alone.quality.level_dbfs, abs=1.0)
    assert voice.quality.snr_db is not None
    assert voice.quality.snr_db > 20.0  # alone, it is 35 dB
    assert voice.gender == alone.gender
    assert not voice.warnings


@pytest.mark.parametrize("dbfs", [-70, -50, -30])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.slow
def test_a_minute_of_other_sound_neither_hides_speech_nor_counts(
    model: Speech2Face, speech: Float32s, alone: Voice, other: Float32s, place: str, dbfs: float
) -> None:
    voice = model.embed(put(place, speech, at(dbfs) * other), SAMPLE_RATE)
    check(voice, alone, 1 + (place == "between"), 1 + (place == "between"))
    assert voice.quality.heard_s > LONG_S


@pytest.mark.parametrize("level", [-50, -70])
@pytest.mark.slow
def test_quiet_speech_after_loud_sound(
    model: Speech2Face, speech: Float32s, alone: Voice, other: Float32s, level: float
) -> None:
    """The gain is not that of what came first."""
    quiet = speech * at(level - alone.quality.level_dbfs)
    voice = model.embed(put("before", quiet, at(-30) * other), SAMPLE_RATE)
    assert float(voice.embedding @ alone.embedding) > 0.9
    assert voice.quality.speech_s > 0.9 * alone.quality.speech_s
    assert voice.quality.speech_s < alone.quality.speech_s + 1.5
    assert voice.quality.level_dbfs < -35.0  # a quarter of a second of the loud sound may be in it


@pytest.mark.slow
def test_the_case_that_was_reported(model: Speech2Face, s2f_data: Path) -> None:
    voice = model.embed(s2f_data / "cases" / "late_speech.flac")
    assert 6.5 < voice.quality.speech_s < 8.5
    assert not voice.warnings


@pytest.mark.parametrize("sound", SOUNDS)
@pytest.mark.slow
def test_other_sound_alone_is_refused(sound: str) -> None:
    made = SOUNDS[sound]()
    listener = Listener("fbank-80")
    listener.push(at(-30) * made / made.std())
    quality = listener.finish().quality
    assert quality.kind != "speech"
    assert quality.heard_s == LONG_S


@pytest.mark.slow
def test_speech_without_other_sound_is_as_it_was(model: Speech2Face, speech: Float32s) -> None:
    """Pauses and a beginning of silence included."""
    pause = np.zeros(5 * SAMPLE_RATE, np.float32)
    samples = np.concatenate([pause, speech, pause, speech])
    listener, front_end = Listener("fbank-80"), FRONT_ENDS["fbank-80"]()
    listener.push(samples)
    heard, wanted = listener.finish(), find_speech(samples)
    front_end.push(wanted.samples)
    np.testing.assert_array_equal(heard.segments, wanted.segments)
    np.testing.assert_allclose(
        np.concatenate([inputs for inputs, _ in heard.windows]),
        np.concatenate([inputs for inputs, _ in front_end.inputs()]),
        atol=1e-3,  # features of other blocks are rounded otherwise
    )


@pytest.mark.slow
def test_what_counts_as_speech_is_heard(speech: Float32s) -> None:
    """A second of speech after a second of noise is too short to be decided; it is heard, or the recording refused."""
    noise = at(-20) * coloured(0) / np.float32(coloured(0).std())
    accepted = 0
    for noise_s, begin_s, speech_s in ((1.2, 3.0, 1.0), (1.5, 0.2, 0.8), (1.5, 1.5, 0.8), (1.0, 0.2, 1.9)):
        begin = int(begin_s * SAMPLE_RATE)
        voice = speech[begin : begin + int(speech_s * SAMPLE_RATE)]
        listener = Listener("fbank-80")
        listener.push(np.concatenate([noise[: int(noise_s * SAMPLE_RATE)], voice]))
        heard = listener.finish()
        if heard.quality.kind == "speech":
            accepted += 1
            assert heard.quality.speech_s < speech_s + 0.6
            assert all(np.abs(inputs).max() > 1 for inputs, _ in heard.windows)
    assert accepted


def parts(samples: Float32s, sizes: list[int]) -> Iterator[Float32s]:
    at, turn = 0, 0
    while at < len(samples):
        yield samples[at : at + sizes[turn % len(sizes)]]
        at, turn = at + sizes[turn % len(sizes)], turn + 1


@pytest.mark.parametrize("features", FRONT_ENDS)
@pytest.mark.slow
def test_the_cut_into_blocks_does_not_matter(speech: Float32s, features: str) -> None:
    samples = put("between", speech, at(-45) * SOUNDS["music"]())
    found = []
    for sizes in ([len(samples)], [1, 4000, 300_000]):
        listener = Listener(features)
        for part in parts(samples, sizes):
            listener.push(part)
        heard = listener.finish()
        found.append((heard.quality, heard.segments, np.concatenate([inputs for inputs, _ in heard.windows])))
    for quality, segments, windows in found[1:]:
        assert quality.speech_s == found[0][0].speech_s
        assert quality.snr_db == pytest.approx(found[0][0].snr_db, abs=1e-3)
        np.testing.assert_array_equal(segments, found[0][1])
        # Features of other blocks are rounded otherwise, which shows where there is hardly any sound.
        assert windows.shape == found[0][2].shape
        assert np.abs(windows - found[0][2]).mean() < 1e-4 * np.abs(windows).mean()
    assert (segments[:, 1] - segments[:, 0]).sum() == round(quality.speech_s * SAMPLE_RATE)


@pytest.mark.parametrize(("sound", "dbfs"), [("pink noise", -70), ("music", -30)])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.slow
def test_a_stream_ends_with_the_same(model: Speech2Face, speech: Float32s, sound: str, place: str, dbfs: float) -> None:
    made = SOUNDS[sound]()
    samples = put(place, speech, at(dbfs) * made / made.std())
    live = LiveVoice(model)
    for i, part in enumerate(parts(samples, [SAMPLE_RATE])):
        live.push(part)
        if i % 8 == 0:
            with suppress(NotSpeechError, TooLittleSpeechError):
                live.voice()
    whole, end = model.embed(samples, SAMPLE_RATE), live.voice(final=True)
    assert np.abs(end.embedding - whole.embedding).max() < 1e-4
    assert end.quality.speech_s == whole.quality.speech_s
    assert end.quality.snr_db == pytest.approx(whole.quality.snr_db, abs=1e-3)


@pytest.mark.parametrize(("features", "most"), [("fbank-80", 4), ("stft-257", 2)])
@pytest.mark.slow
def test_windows_are_chosen_of_the_speech_alone(speech: Float32s, features: str, most: int) -> None:
    """However the recording is cut: the gate decides earlier or later, and the choice stays the same."""
    music = at(-30) * SOUNDS["music"]()
    samples = np.concatenate([music, speech, speech, music, speech, music])
    everything = Listener(features)
    everything.push(samples)
    windows = np.concatenate([inputs for inputs, _ in everything.finish().windows])
    wanted = ChosenWindows(most, 8, FRONT_ENDS[features].CLEAR)
    wanted.push(windows[:-1])  # the last one overlaps its neighbour
    (expected,) = (inputs for inputs, _ in wanted.inputs(iter(())))
    assert len(expected) == most < len(windows) - 1
    for sizes in ([len(samples)], [SAMPLE_RATE], [1, 4000, 300_000]):
        listener = Listener(features, most)
        for part in parts(samples, sizes):
            listener.push(part)
        found = np.concatenate([inputs for inputs, _ in listener.finish().windows])
        assert found.shape == expected.shape
        assert np.abs(found - expected).mean() < 1e-4 * np.abs(expected).mean()


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.slow
def test_a_stream_ends_with_the_same_choice(tmp_path: Path, speech: Float32s, place: str) -> None:
    """While what comes first is heard with one gain, and the speech with another."""
    pack = make_pack(tmp_path / "pack", "fbank-80", windows=3)
    noise = at(-70) * coloured(1) / np.float32(coloured(1).std())
    samples = put(place, np.concatenate([speech, speech]), noise)
    model, everything = Speech2Face(pack, "cpu"), Speech2Face(pack, "cpu", all_windows=True)
    live = LiveVoice(model)
    for i, part in enumerate(parts(samples, [SAMPLE_RATE])):
        live.push(part)
        if i % 8 == 0:
            with suppress(NotSpeechError, TooLittleSpeechError):
                live.voice()
    whole = model.embed(samples, SAMPLE_RATE)
    assert np.abs(live.voice(final=True).embedding - whole.embedding).max() < 1e-4
    assert np.abs(everything.embed(samples, SAMPLE_RATE).embedding - whole.embedding).max() > 1e-3


@pytest.mark.slow
def test_a_stream_hears_late_speech_while_it_comes(model: Speech2Face, speech: Float32s, alone: Voice) -> None:
    noise = at(-70) * coloured(0) / np.float32(coloured(0).std())
    live = LiveVoice(model)
    live.push(noise)
    with pytest.raises(NotSpeechError):
        live.voice()
    live.push(speech[: 5 * SAMPLE_RATE])
    assert float(live.voice().embedding @ alone.embedding) > 0.85


@pytest.mark.slow
def test_memory_does_not_grow_with_what_is_no_speech(speech: Float32s) -> None:
    """A quarter of an hour of loud music is 58 MB of samples, and 29 MB of features."""
    music = at(-30) * SOUNDS["music"]()
    listener = Listener("fbank-80")
    tracemalloc.start()
    listener.push(music)
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(12):
        for part in parts(music, [SAMPLE_RATE]):
            listener.push(part)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    listener.push(speech)
    assert grown < 2e6
    assert 6.5 < listener.finish().quality.speech_s < 8.5
