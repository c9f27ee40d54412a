"""Voices as if recorded elsewhere, for training: noise, level, telephone, room, codec."""

from __future__ import annotations

import numpy as np

from s2f_edge.hearing.features import Float32s
from s2f_train.config import AugmentSettings
from s2f_train.data.degrade import add_noise, mp3, reverberate, telephone, vorbis
from s2f_train.gate.sounds import Rng, Sound

GAIN_DB = (-30.0, 12.0)
# Recordings as people have them: most with noise, many through a codec, a telephone or a room.
ELSEWHERE = AugmentSettings(
    noise_share=0.5, noise_db=(3.0, 25.0), gain_share=0.3, telephone_share=0.35, room_share=0.25, codec_share=0.6
)


def augment(rng: Rng, samples: Float32s, settings: AugmentSettings) -> Float32s:
    """Each kind with its share, in the order in which they happen to a voice.

    Args:
        samples: float32 (n,) at 16 kHz.

    Returns:
        float32 (n,), clipped to [-1, 1] as a recording would be.
    """
    x: Sound = samples.astype(np.float64)
    chance = rng.random(5)
    if chance[0] < settings.room_share:
        x = reverberate(rng, x)
    if chance[1] < settings.noise_share:
        x = add_noise(rng, x, rng.uniform(settings.noise_db[0], settings.noise_db[1]))
    if chance[2] < settings.gain_share:
        x = x * 10 ** (rng.uniform(*GAIN_DB) / 20)
    if chance[3] < settings.telephone_share:
        x = telephone(x)
    if chance[4] < settings.codec_share:
        x = (mp3 if rng.random() < 0.5 else vorbis)(rng, x)
    return np.clip(x, -1, 1).astype(np.float32)


def any_augmentation(settings: AugmentSettings) -> bool:
    s = settings
    return bool(s.noise_share or s.gain_share or s.telephone_share or s.room_share or s.codec_share)
