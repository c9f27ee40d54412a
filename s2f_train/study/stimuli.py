"""What people see and hear: pictures on one frame, voices equally loud, in files whose names say nothing."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

from s2f_edge.hearing.features import SAMPLE_RATE, Float32s
from s2f_train.data.pictures import encoded
from s2f_train.evaluate.tables import Picture

LOUDNESS = 0.08  # root mean square of speech, of full scale 1
PEAK = 0.9
FADE = SAMPLE_RATE // 50
BEEP_HZ, BEEP_S, PAUSE_S = 660.0, 0.25, 0.35


class Media:
    """The folder of files. The same content is one file.

    Args:
        folder: exists.
        seed: goes into the names, so that they are not those of another study.
    """

    def __init__(self, folder: Path, seed: int):
        self._folder, self._seed = folder, seed

    def picture(self, picture: Picture) -> str:
        """The name of a PNG without any mark, uint8 (h, w, 3)."""
        return self._keep(encoded(Image.fromarray(picture), "PNG"), "png")

    def sound(self, samples: Float32s) -> str:
        """The name of a FLAC, of samples (n,), 16 kHz."""
        file = io.BytesIO()
        soundfile.write(file, samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
        return self._keep(file.getvalue(), "flac")

    def _keep(self, data: bytes, suffix: str) -> str:
        name = f"{hashlib.sha256(f'{self._seed} '.encode() + data).hexdigest()[:20]}.{suffix}"
        (self._folder / name).write_bytes(data)
        return name


def to_hear(speech: Float32s, seconds: float) -> Float32s:
    """The beginning of a voice, as loud as all others, float32 (n,), 16 kHz; its end is faded out."""
    cut = np.array(speech[: round(seconds * SAMPLE_RATE)], np.float32)
    level, peak = float(np.sqrt(np.mean(cut**2))), float(np.abs(cut).max(initial=0.0))
    cut *= min(LOUDNESS / max(level, 1e-6), PEAK / max(peak, 1e-6))
    fade = min(FADE, len(cut))
    cut[len(cut) - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)
    return cut


def beeps(count: int) -> Float32s:
    """Short tones to count, float32 (n,), 16 kHz."""
    t = np.arange(round(BEEP_S * SAMPLE_RATE)) / SAMPLE_RATE
    tone = 2 * LOUDNESS * np.sin(2 * np.pi * BEEP_HZ * t) * np.sin(np.pi * t / BEEP_S)
    pause = np.zeros(round(PAUSE_S * SAMPLE_RATE))
    return np.concatenate([pause, *([tone, pause] * count)]).astype(np.float32)
