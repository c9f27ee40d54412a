"""Shared fixtures."""

from __future__ import annotations

import functools
import io
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

for library in ("OPENBLAS", "MKL"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")  # as in s2f_train/__main__.py, and before numpy is loaded

import hypothesis
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from tests.tiny_packs import make_pack

# No deadline: machines are noisy, and a slow example is no wrong one.
hypothesis.settings.register_profile("s2f", deadline=None)
hypothesis.settings.load_profile("s2f")

ROOT = Path(__file__).resolve().parent.parent
LONG = ("slow", "browser", "ray")

# Name -> (libsndfile's format, its subtype); these soundfile writes.
SOUNDFILE_FORMATS = {
    "wav-8": ("WAV", "PCM_U8"),
    "wav-16": ("WAV", "PCM_16"),
    "wav-24": ("WAV", "PCM_24"),
    "wav-32": ("WAV", "PCM_32"),
    "wav-float": ("WAV", "FLOAT"),
    "wav-double": ("WAV", "DOUBLE"),
    "wav-adpcm": ("WAV", "IMA_ADPCM"),
    "rf64": ("RF64", "PCM_16"),
    "w64": ("W64", "PCM_16"),
    "aiff": ("AIFF", "PCM_16"),
    "au": ("AU", "PCM_16"),
    "caf": ("CAF", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}
# Name -> (FFmpeg's container, its encoder); these PyAV writes.
MEDIA_FORMATS = {
    "m4a": ("ipod", "aac"),
    "aac": ("adts", "aac"),
    "webm": ("webm", "libopus"),
    "amr": ("amr", "libopencore_amrnb"),
    "3gp": ("3gp", "libopencore_amrnb"),
    "alac": ("ipod", "alac"),
    "mka": ("matroska", "aac"),
    "mkv-mp3": ("matroska", "libmp3lame"),
    "mov": ("mov", "aac"),
    "mp3-lame": ("mp3", "libmp3lame"),
    "ts": ("mpegts", "aac"),
    "wav-mp3": ("wav", "libmp3lame"),
    "wma": ("asf", "wmav2"),
}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Marks what the fixtures of a test tell of its needs. With several processes, files with long tests come first, so
    that no process waits long for another at the end."""
    for item in items:
        names = getattr(item, "fixturenames", ())
        if "s2f_data" in names:
            item.add_marker("data")
        if "browser" in names:
            item.add_marker("browser")
        if "device_folder" in names:  # npm
            item.add_marker("slow")
    if hasattr(config, "workerinput"):
        long = Counter(item.path for item in items if any(item.get_closest_marker(mark) for mark in LONG))
        tests = Counter(item.path for item in items)
        items.sort(key=lambda item: (-long[item.path], -tests[item.path]))


@pytest.fixture(scope="session")
def s2f_data() -> Path:
    """The folder that holds `golden/` and `data/`.

    Skips where the variable is unset, since the files are not part of the project. Where it
    is set, a file that is missing there is an error of the test that opens it, not a skip.
    """
    value = os.environ.get("S2F_DATA")
    if not value:
        pytest.skip("S2F_DATA is not set; it names the folder that holds golden/ and data/.")
    return Path(value)


def _encoded_media(name: str, samples: NDArray[np.float64], rate: int) -> bytes:
    import av

    container, encoder = MEDIA_FORMATS[name]
    try:
        codec = av.codec.Codec(encoder, "w")
    except ValueError:  # PyAV's error for an unknown encoder is one
        pytest.skip(f"This build of PyAV has no encoder {encoder}, so there is no {name} to decode.")
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    layout = {1: "mono", 2: "stereo", 8: "octagonal"}[channels]
    # Interleaved: PyAV reads past the list of planes where there are 8 or more.
    packed = np.ascontiguousarray(samples, np.float32).reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(packed, format="flt", layout=layout)
    frame.sample_rate = rate
    file = io.BytesIO()
    with av.open(file, "w", format=container) as media:
        track = media.add_stream(encoder, rate=rate)
        track.codec_context.layout = layout
        if encoder == "wmav2":
            track.codec_context.bit_rate = 64_000
        formats = codec.audio_formats
        assert formats is not None
        resampler = av.AudioResampler(format=formats[0].name, layout=layout, rate=rate)
        for converted in [*resampler.resample(frame), *resampler.resample(None)]:
            converted.pts = None
            media.mux(track.encode(converted))
        media.mux(track.encode(None))
    return file.getvalue()


@pytest.fixture(scope="session")
def encoded() -> Callable[[str, NDArray[np.float64], int], bytes]:
    """encode(name, samples (n,) or (n, channels), rate) -> the bytes of a file of that format."""

    def encode(name: str, samples: NDArray[np.float64], rate: int) -> bytes:
        if name in MEDIA_FORMATS:
            return _encoded_media(name, samples, rate)
        container, subtype = SOUNDFILE_FORMATS[name]
        file = io.BytesIO()
        soundfile.write(file, samples, rate, format=container, subtype=subtype)
        return file.getvalue()

    return encode


@pytest.fixture(scope="session")
def sound_file(encoded: Callable[[str, NDArray[np.float64], int], bytes]) -> Callable[[str], bytes]:
    """sound_file(name) -> 1 s of a 440 Hz tone in that format: mono, 16 kHz (amr: 8 kHz)."""

    @functools.cache
    def make(name: str) -> bytes:
        rate = 8000 if name == "amr" else 16_000
        return encoded(name, 0.5 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate), rate)

    return make


@pytest.fixture(scope="session")
def tiny_pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pack with random weights. Shared: a test that changes a pack makes its own."""
    return make_pack(tmp_path_factory.mktemp("tiny") / "pack")


@pytest.fixture(scope="session")
def tiny_drawn_pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a renderer."""
    return make_pack(tmp_path_factory.mktemp("tiny") / "drawn", renderer=True)


@pytest.fixture(scope="session")
def examples() -> Path:
    """The folder of the two synthetic clips."""
    return ROOT / "examples"
