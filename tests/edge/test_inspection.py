"""What `s2f_edge.inspection` measures in a recording, and how `s2f_edge.inspection_picture` draws it."""

from __future__ import annotations

import io
import json
import tracemalloc
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from s2f_edge import inspection, inspection_picture
from s2f_edge._version import __version__
from s2f_edge.errors import (
    NotSpeechError,
    PackNotFoundError,
    TooLittleSpeechError,
    UnreadableAudioError,
    UsageError,
)
from s2f_edge.hearing import quality
from s2f_edge.hearing.audio import Notes
from s2f_edge.hearing.features import Float32s, logmel
from s2f_edge.hearing.quality import QualityWarning, SpeechQuality
from s2f_edge.hearing.vad import find_speech, hearing_gain
from s2f_edge.inspection import MAX_COLUMNS, listen
from s2f_edge.inspection_picture import draw_inspection
from s2f_edge.marks.provenance import read_metadata
from s2f_edge.pipeline import MIN_SPEECH_S, Speech2Face
from s2f_edge.results import Voice

RATE = 16_000
UNUSUAL = QualityWarning("unusual-voice", "This voice is unlike those that were trained on. " + "It is long. " * 12)


class Model:
    """In place of `Speech2Face`: a pack that says of any voice that it is a woman's."""

    male = 0.03

    def __init__(self, pack: Path | None, device: str, variant: str | None = None) -> None:
        voice = SimpleNamespace(features="logmel-64")
        self.pack = SimpleNamespace(manifest=SimpleNamespace(voice=voice))
        self.windows = None
        self.pack_name = "made-for-tests 1.0"

    def voice_of(
        self, measured: SpeechQuality, windows: Iterable[tuple[Float32s, Float32s]], notes: Notes | None = None
    ) -> Voice:
        quality.require_speech(measured, MIN_SPEECH_S)
        ((features, _),) = windows
        assert features.shape[1] == 64
        warnings = (*quality.warnings(measured), UNUSUAL)
        return Voice(np.ones(8, np.float32), measured, self.male, 1.25, warnings, {}, "none")


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> type[Model]:
    monkeypatch.setattr(inspection, "Speech2Face", Model)
    return Model


def speech(seconds: float, seed: int = 3) -> NDArray[np.float32]:
    """A voice-like sound that the gate takes for speech: buzz, formants that move, syllables, hiss between them."""
    rng = np.random.default_rng(seed)
    n = int(seconds * RATE)
    t = np.arange(n) / RATE
    vowels = np.array([(730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480), (570, 840, 2410)])
    knots = np.arange(0, seconds + 0.4, 0.19) + rng.uniform(-0.05, 0.05, len(np.arange(0, seconds + 0.4, 0.19)))
    chosen = vowels[rng.integers(len(vowels), size=len(knots))]
    pitch = 125 + 22 * np.sin(2 * np.pi * 0.45 * t) + np.interp(t, knots, rng.normal(0, 14, len(knots)))
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    voice = np.zeros(n)
    for k in range(1, 30):
        hz = k * pitch
        peaks = [np.interp(t, knots, chosen[:, f]) for f in range(3)]
        gain = sum(np.exp(-(((hz - peak) / (90 + 50 * f)) ** 2)) * 0.6**f for f, peak in enumerate(peaks))
        voice += (gain + 0.01) * np.sin(k * phase) / k**0.3
    beat = np.interp(t, knots, rng.uniform(0.5, 1, len(knots))) * np.clip(np.sin(2 * np.pi * 4.1 * t) + 0.75, 0, 1)
    hiss = np.diff(rng.normal(size=n + 1)) * np.clip(-np.sin(2 * np.pi * 4.1 * t) - 0.8, 0, 1) * 0.8
    pause = np.interp(t % 1.9, [0, 1.45, 1.5, 1.85, 1.9], [1, 1, 0, 0, 1])
    x = (voice * beat + hiss) * pause
    return (0.1 * x / x.std() + 1e-4 * rng.normal(size=n)).astype(np.float32)


def noise(seconds: float) -> NDArray[np.float32]:
    return (0.1 * np.random.default_rng(0).normal(size=int(seconds * RATE))).astype(np.float32)


SOUNDS = {
    "speech": speech(6.0),
    "short": speech(1.2),
    "little": speech(0.7),
    "noise": noise(3.0),
    "silence": np.zeros(3 * RATE, np.float32),
    "one-sample": np.ones(1, np.float32),
    "nothing": np.zeros(0, np.float32),
}


def picture(data: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


# ------------------------------------------------------------------------------ numbers


def test_accepted_speech(model: type[Model]) -> None:
    found = listen(SOUNDS["speech"], sample_rate=RATE)
    numbers = json.loads(json.dumps(found.numbers(), allow_nan=False))
    assert numbers == found.numbers()
    assert numbers["refused"] is None, numbers
    assert numbers["kind"] == "speech"
    assert numbers["heard_seconds"] == 6.0
    assert 1.0 < numbers["speech_seconds"] <= 6.0
    assert numbers["kept_share"] == pytest.approx(numbers["speech_seconds"] / 6.0, abs=1e-3)
    assert numbers["segments"] == len(found.segments) > 0
    assert (numbers["gender"], numbers["male_probability"], numbers["surprise"]) == ("female", 0.03, 1.25)
    assert numbers["pack"] == "made-for-tests 1.0"
    assert numbers["warnings"][-1] == UNUSUAL.message


@pytest.mark.parametrize(
    ("name", "kind", "code"),
    [
        ("noise", "noise", "not-speech"),
        ("silence", "silence", "not-speech"),
        ("nothing", "silence", "too-little-speech"),
        ("little", "speech", "too-little-speech"),
    ],
)
def test_refused_sound_is_measured_all_the_same(model: type[Model], name: str, kind: str, code: str) -> None:
    numbers = listen(SOUNDS[name], sample_rate=RATE).numbers()
    json.dumps(numbers, allow_nan=False)
    assert (numbers["kind"], numbers["refused_code"]) == (kind, code), numbers
    assert numbers["refused"].endswith(".")
    assert numbers["heard_seconds"] == len(SOUNDS[name]) / RATE
    assert numbers["gender"] is numbers["male_probability"] is None


def test_gender_is_unsure_in_the_middle(model: type[Model], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "male", 0.6)
    found = listen(SOUNDS["speech"], sample_rate=RATE)
    assert found.numbers()["gender"] == "unsure"
    assert dict(inspection_picture._cells(found))["The voice sounds"] == "unsure: male (60%)"


def test_unreadable_sound_and_missing_pack(model: type[Model], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(UnreadableAudioError):
        listen(tmp_path / "none.wav")
    monkeypatch.undo()
    with pytest.raises(PackNotFoundError):
        listen(SOUNDS["noise"], tmp_path, RATE)


# ------------------------------------------------------------------------------- curves


def test_curves_are_those_of_the_whole_recording(model: type[Model]) -> None:
    x = np.concatenate([SOUNDS["speech"], np.zeros(RATE // 2 + 50, np.float32), SOUNDS["speech"]])
    found = listen(x, sample_rate=RATE)  # longer than a block
    frames = [x[i : i + 160] for i in range(0, len(x), 160)]
    np.testing.assert_array_equal(found.envelope, [[f.min(), f.max()] for f in frames])
    np.testing.assert_array_equal(found.segments, find_speech(x, hearing_gain(x)).segments)
    np.testing.assert_array_equal(found.logmel, logmel(x).astype(np.float16))
    assert found.column_s == 0.01


@pytest.mark.parametrize("block", [7, 1000, 5001, 30_000])
def test_columns_do_not_depend_on_the_cut(block: int) -> None:
    frames = np.random.default_rng(1).normal(size=(30_001, 64)).astype(np.float32)
    columns = inspection._Columns()
    for start in range(0, len(frames), block):
        columns.push(frames[start : start + block])
    found, seconds = columns.finish()
    assert seconds == 0.08
    assert len(found) == -(-30_001 // 8) <= MAX_COLUMNS + 1
    wanted = [frames[i : i + 8].mean(axis=0) for i in range(0, len(frames), 8)]
    np.testing.assert_allclose(found, wanted, atol=2e-3)


@pytest.mark.slow
def test_memory_does_not_follow_the_samples(model: type[Model], monkeypatch: pytest.MonkeyPatch) -> None:
    def blocks(source: Any, sample_rate: int | None = None, notes: Any = None) -> Any:
        yield from (np.roll(block, i) for i in range(60))

    block = np.zeros(10 * RATE, np.float32)
    block[::4000] = 0.5
    monkeypatch.setattr(inspection.audio, "stream", blocks)
    listen("any")  # fills the caches
    tracemalloc.start()
    try:
        found = listen("any")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.quality.heard_s == 600
    assert len(found.logmel) <= MAX_COLUMNS + 1
    assert peak < 25e6  # the samples are 38 MB


# ------------------------------------------------------------------------------ picture


@pytest.mark.parametrize("name", SOUNDS)
@pytest.mark.parametrize("width", [480, 1200])
def test_nothing_is_cut_off(model: type[Model], name: str, width: int) -> None:
    pixels = picture(draw_inspection(listen(SOUNDS[name], sample_rate=RATE), width))
    assert pixels.shape[1] == width
    assert 500 < pixels.shape[0] < 1600
    for border in (pixels[:4], pixels[-4:], pixels[:, :4], pixels[:, -3:]):
        assert (border == inspection_picture.PAPER).all()


def test_kept_and_left_out_have_their_colours(model: type[Model]) -> None:
    def colours(name: str) -> set[tuple[int, ...]]:
        found = listen(SOUNDS[name], sample_rate=RATE)
        page = inspection_picture._Page(1200, found.quality.heard_s)
        page.waveform(found)
        panel = np.asarray(page.image)[page.y - 190 : page.y - 10, inspection_picture.LEFT : -inspection_picture.RIGHT]
        return {tuple(int(v) for v in colour) for colour in np.unique(panel.reshape(-1, 3), axis=0)}

    assert {
        inspection_picture.KEPT,
        inspection_picture.LEFT_OUT,
        inspection_picture.KEPT_PAPER,
        inspection_picture.LEFT_OUT_PAPER,
    } <= colours("speech")
    assert inspection_picture.KEPT_PAPER not in colours("silence")


def test_a_tone_is_bright_where_its_label_is(model: type[Model]) -> None:
    tone = (0.3 * np.sin(2 * np.pi * 2000 * np.arange(2 * RATE) / RATE)).astype(np.float32)
    found = listen(tone, sample_rate=RATE)
    page = inspection_picture._Page(1200, 2.0)
    page.spectrum(found)
    panel = np.asarray(page.image)[page.y - 256 : page.y, 600].astype(int).sum(axis=1)
    assert abs(int(panel.argmax()) - 256 * (1 - inspection_picture._height(2000))) <= 4


def test_the_palette_is_even_in_lightness() -> None:
    value = inspection_picture._palette() / 255.0
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    lightness = 116 * np.cbrt(linear @ [0.2126, 0.7152, 0.0722]) - 16
    steps = np.diff(lightness[::15])  # smooths the rounding to 8 bits
    assert steps.min() > 0.6 * steps.mean()
    assert steps.max() < 1.6 * steps.mean()


def test_the_command_knows_its_own_picture(model: type[Model]) -> None:
    data = draw_inspection(listen(SOUNDS["short"], sample_rate=RATE))
    assert read_metadata(data) == {"tool": f"s2f-edge {__version__}", "kind": "inspection"}
    with Image.open(io.BytesIO(data)) as image:
        assert image.info["Software"] == f"s2f-edge {__version__}"


def test_width_has_limits(model: type[Model]) -> None:
    found = listen(SOUNDS["nothing"], sample_rate=RATE)
    for width in (479, 4097):
        with pytest.raises(UsageError, match="480 to 4096"):
            draw_inspection(found, width)


@pytest.mark.parametrize("seconds", [0.011, 0.3, 1, 6, 59.9, 60, 185, 3599, 3600, 40_000, 300_000])
def test_time_axis(seconds: float) -> None:
    columns, labels = inspection_picture._Page(1200, seconds)._ticks()
    assert len(set(labels)) == len(labels) == len(columns)
    assert labels[0] in ("0 s", "0:00", "0:00:00")
    assert 0 <= min(columns) <= max(columns) < 1200 - inspection_picture.LEFT - inspection_picture.RIGHT
    assert all(b - a >= inspection_picture.TICK_GAP - 1 for a, b in pairwise(columns))
    if seconds >= 0.3:
        assert len(labels) >= 2


def test_long_words_are_wrapped() -> None:
    words = "a " + "w" * 300 + " end"
    lines = inspection_picture._wrapped(words, 15, 200)
    assert "".join(lines).replace(" ", "") == words.replace(" ", "")
    assert all(inspection_picture._font(15).getlength(line) <= 200 for line in lines)


# ------------------------------------------------------------------------ with a real pack


def test_a_pack_says_the_same_as_in_the_pipeline(tiny_pack: Path) -> None:
    found = listen(SOUNDS["speech"], tiny_pack, RATE)
    wanted = Speech2Face(tiny_pack, "cpu").embed(SOUNDS["speech"], RATE)
    assert found.voice is not None
    np.testing.assert_array_equal(found.voice.embedding, wanted.embedding)
    assert found.voice.male_probability == wanted.male_probability is not None
    assert found.voice.surprise == wanted.surprise is not None
    assert (found.quality, found.voice.warnings) == (wanted.quality, wanted.warnings)
    assert found.voice.provider == wanted.provider
    assert found.numbers()["pack"] == "tiny 1"
    draw_inspection(found)


def test_a_pack_refuses_the_same_as_in_the_pipeline(tiny_pack: Path) -> None:
    model = Speech2Face(tiny_pack, "cpu")
    for name in ("noise", "little", "nothing"):
        with pytest.raises((NotSpeechError, TooLittleSpeechError)) as wanted:
            model.embed(SOUNDS[name], RATE)
        found = listen(SOUNDS[name], tiny_pack, RATE)
        assert found.voice is None
        assert str(found.refusal) == str(wanted.value)
