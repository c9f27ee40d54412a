"""Sound as if recorded elsewhere: telephone, room, noise, codec, level."""

# numpy's own stubs give Any for most arithmetic below.
# mypy: disable-error-code="no-any-return"

from __future__ import annotations

import io
from typing import Any

import numpy as np
import soundfile

from s2f_edge.hearing.features import SAMPLE_RATE, Float32s
from s2f_train.gate.sounds import Rng, Sound, coloured, fft_shape

MP3_LEVELS = (0.6, 0.93)  # of libsndfile: 64 and 16 kbit/s at 16 kHz
CODEC_BLOCK = 4_096  # libsndfile's Vorbis overflows the stack when it is given a long recording at once


def telephone(x: Sound) -> Sound:
    """300 to 3,400 Hz."""
    return fft_shape(x, lambda hz: 1.0 * ((hz > 300) & (hz < 3400)))


def reverberate(rng: Rng, x: Sound) -> Sound:
    """A room of 0.2 to 0.8 s."""
    fade = rng.uniform(0.2, 0.8) / 6.9
    t = np.arange(int(0.8 * SAMPLE_RATE)) / SAMPLE_RATE
    room = rng.normal(size=len(t)) * np.exp(-t / fade) * 0.05
    room[0] = 1.0
    size = len(x) + len(room)
    return np.fft.irfft(np.fft.rfft(x, size) * np.fft.rfft(room, size), size)[: len(x)]


def add_noise(rng: Rng, x: Sound, snr_db: float) -> Sound:
    noise = coloured(rng, len(x), float(rng.integers(2)))
    return x + noise * x.std() * 10 ** (-snr_db / 20)


def vorbis(rng: Rng, x: Sound) -> Sound:
    """Through the codec that the speech has been through, so that its traces tell nothing."""
    return _compressed(x, "OGG", "VORBIS")


def mp3(rng: Rng, x: Sound) -> Sound:
    """Through MP3 of 16 to 64 kbit/s."""
    return _compressed(x, "MP3", "MPEG_LAYER_III", compression_level=rng.uniform(*MP3_LEVELS), bitrate_mode="CONSTANT")


def _compressed(x: Sound, container: str, codec: str, **how: Any) -> Sound:
    peak = np.abs(x).max() + 1e-9
    decoded, _ = through_codec((x / peak * 0.8).astype(np.float32), SAMPLE_RATE, container, codec, **how)
    fitted = np.zeros(len(x))
    fitted[: len(decoded)] = decoded[: len(x)]
    return fitted * peak / 0.8


def through_codec(samples: Float32s, rate: int, container: str, codec: str, **how: Any) -> tuple[Float32s, int]:
    """Sound and its rate after a codec of libsndfile, perhaps a little longer or shorter; `how` is for `SoundFile`."""
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", rate, 1, format=container, subtype=codec, **how) as written:
        for begin in range(0, len(samples), CODEC_BLOCK):
            written.write(samples[begin : begin + CODEC_BLOCK])
    file.seek(0)
    decoded, rate = soundfile.read(file, dtype="float32")
    return decoded, rate


def recorded(rng: Rng, x: Sound) -> Sound:
    """A made sound as if it had been recorded: codec, room, microphone, band, level."""
    x = x / (np.abs(x).max() + 1e-9) * 0.7
    chance = rng.random(6)
    if chance[0] < 0.3:
        x = reverberate(rng, x)
    if chance[1] < 0.4:
        tilt, bend = rng.uniform(-1, 1), rng.uniform(300, 3000)
        x = fft_shape(x, lambda hz: ((hz + bend) / bend) ** tilt)
    if chance[2] < 0.15:
        x = telephone(x)
    if chance[3] < 0.4:
        x = add_noise(rng, x, rng.uniform(10, 45))
    if chance[4] < 0.6:
        x = vorbis(rng, x)
    return x / (np.abs(x).max() + 1e-9) * 10 ** rng.uniform(-1.3, -0.05)


CONDITIONS = (
    "noise-10dB",
    "noise-5-40dB",
    "telephone",
    "telephone-noise",
    "room",
    "gain-0.1",
    "music-10dB",
    "short",
)


def degrade(condition: str, rng: Rng, x: Sound, music: Sound, start: int) -> Sound:
    """Speech in one of `CONDITIONS` ("clean" leaves it as it is); `start` is where the short piece begins."""
    match condition:
        case "noise-10dB":
            return add_noise(rng, x, 10)
        case "noise-5-40dB":
            return add_noise(rng, x, rng.uniform(5, 40))
        case "telephone":
            return telephone(x)
        case "telephone-noise":
            return telephone(add_noise(rng, x, rng.uniform(8, 30)))
        case "room":
            return reverberate(rng, x)
        case "gain-0.1":
            return 0.1 * x
        case "music-10dB":
            return x + music / (music.std() + 1e-9) * x.std() * 10 ** (-10 / 20)
        case "short":
            return x[start : start + int(1.8 * SAMPLE_RATE)]
    return x
