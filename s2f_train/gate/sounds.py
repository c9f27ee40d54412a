"""Sounds that the speech gate is fitted on and that are no speech: noise, tones and instruments by formula.

Music of many instruments is in gate_music.py, what a recording does to a sound in degrade.py.
"""

# numpy's own stubs give Any for most arithmetic below.
# mypy: disable-error-code="no-any-return"

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2f_edge.hearing.features import SAMPLE_RATE

Sound = NDArray[np.floating[Any]]
Rng = np.random.Generator

SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 4, 7, 9), (0, 3, 5, 6, 7, 10), tuple(range(12)))

# ------------------------------------------------------------------ sound by formula, (n,)


def fft_shape(x: Sound, gain: Callable[[Sound], Sound]) -> Sound:
    """Filters by a gain over frequency in Hz."""
    return np.fft.irfft(np.fft.rfft(x) * gain(np.fft.rfftfreq(len(x), 1 / SAMPLE_RATE)), len(x))


def coloured(rng: Rng, n: int, slope: float) -> Sound:
    """Noise with power falling as frequency ** -slope; 0 white, 1 pink, 2 brown. RMS 1."""
    x = fft_shape(rng.normal(size=n), lambda hz: np.maximum(hz, 20.0) ** (-slope / 2))
    return x / x.std()


def _slow(rng: Rng, n: int, hz: float) -> Sound:
    """A random curve that changes about `hz` times a second, RMS 1."""
    x = fft_shape(rng.normal(size=n), lambda f: 1.0 * ((f > 0) & (f < max(hz, 0.4))))
    return x / x.std()


def _formed(rng: Rng, n: int) -> Sound:
    x = coloured(rng, n, rng.uniform(0, 2))
    low, high = rng.uniform(20, 1500), rng.uniform(2000, 8000)
    return fft_shape(x, lambda hz: 1 / (1 + (low / np.maximum(hz, 1)) ** 4) / (1 + (hz / high) ** 6))


def noise_steady(rng: Rng, n: int) -> Sound:
    return coloured(rng, n, float(rng.choice([0, 1, 2, rng.uniform(-0.5, 2.5)])))


def noise_band(rng: Rng, n: int) -> Sound:
    return _formed(rng, n)


def noise_slow(rng: Rng, n: int) -> Sound:
    return _formed(rng, n) * np.exp(rng.uniform(0.3, 1.5) * _slow(rng, n, rng.uniform(0.1, 3)))


def noise_wind(rng: Rng, n: int) -> Sound:
    low, high = coloured(rng, n, 2.5), _formed(rng, n)
    gust = np.exp(rng.uniform(0.5, 1.5) * _slow(rng, n, rng.uniform(0.3, 5)))
    return low * gust + rng.uniform(0.05, 0.5) * high * gust**2


def noise_rain(rng: Rng, n: int) -> Sound:
    drops = np.zeros(n)
    where = rng.integers(n, size=int(n / SAMPLE_RATE * rng.uniform(20, 800)))
    drops[where] = rng.exponential(size=len(where)) * rng.choice([-1, 1], len(where))
    ring = np.exp(-np.arange(400) / rng.uniform(5, 80)) * np.cos(np.arange(400) * rng.uniform(0.2, 2.5))
    return np.convolve(drops, ring)[:n] * 3 + rng.uniform(0, 0.3) * noise_band(rng, n)


def noise_clicks(rng: Rng, n: int) -> Sound:
    x = np.zeros(n)
    regular = rng.random() < 0.5
    count = int(n / SAMPLE_RATE * rng.uniform(1, 15))
    where = np.linspace(0, n - 1, count + 1)[:-1].astype(int) if regular else rng.integers(n, size=count)
    ring = _formed(rng, 800) * np.exp(-np.arange(800) / rng.uniform(3, 150))
    for i in where:
        x[i : i + 800] += ring[: n - i] * rng.uniform(0.3, 1)
    return x / (np.abs(x).max() + 1e-9) + coloured(rng, n, 1) * 10 ** rng.uniform(-4, -1.5)


def noise_traffic(rng: Rng, n: int) -> Sound:
    x = coloured(rng, n, 2)
    t = np.arange(n) / SAMPLE_RATE
    for _ in range(int(rng.integers(1, 5))):
        passing = np.exp(-np.square((t - rng.uniform(0, t[-1])) / rng.uniform(0.5, 2)))
        x += passing * (2 * coloured(rng, n, rng.uniform(0.5, 1.5)) + _harmonics(t, rng.uniform(40, 120), 20, rng))
    return x


def noise_applause(rng: Rng, n: int) -> Sound:
    x = np.zeros(n)
    for _ in range(int(rng.integers(3, 40))):
        ring = _formed(rng, 600) * np.exp(-np.arange(600) / rng.uniform(30, 120))
        at, gap = rng.uniform(0, 0.4), rng.uniform(0.15, 0.4)
        while at * SAMPLE_RATE < n - 600:
            i = int(at * SAMPLE_RATE)
            x[i : i + 600] += ring * rng.uniform(0.5, 1)
            at += gap * rng.uniform(0.8, 1.2)
    return x


def _harmonics(t: Sound, hz: float, count: int, rng: Rng, fall: float = 1.0) -> Sound:
    x = np.zeros(len(t))
    for k in range(1, count + 1):
        if hz * k < 7900:
            x += rng.uniform(0.2, 1) / k**fall * np.sin(2 * np.pi * hz * k * t + rng.uniform(0, 7))
    return x


def noise_fan(rng: Rng, n: int) -> Sound:
    t = np.arange(n) / SAMPLE_RATE
    hum = _harmonics(t, rng.uniform(20, 200), int(rng.integers(2, 30)), rng)
    return _formed(rng, n) + rng.uniform(0.1, 1) * hum * (1 + 0.3 * np.sin(2 * np.pi * rng.uniform(0.5, 12) * t))


def tone_hum(rng: Rng, n: int) -> Sound:
    t = np.arange(n) / SAMPLE_RATE
    hum = _harmonics(t, float(rng.choice([50, 60])), int(rng.integers(1, 60)), rng, rng.uniform(0, 1.5))
    return hum + 10 ** rng.uniform(-4, -1.5) * coloured(rng, n, 1)


def _faint(rng: Rng, n: int) -> Sound:
    return 10 ** rng.uniform(-5, -1.3) * coloured(rng, n, rng.uniform(0, 2))


def tone_pure(rng: Rng, n: int) -> Sound:
    t = np.arange(n) / SAMPLE_RATE
    hz = np.exp(rng.uniform(np.log(60), np.log(7000)))
    wave = np.sin(2 * np.pi * hz * t)
    shape = rng.integers(4)
    wave = [wave, np.sign(wave), 2 * (hz * t % 1) - 1, wave + np.sin(2 * np.pi * rng.uniform(100, 4000) * t)][shape]
    return wave + _faint(rng, n)


def tone_chirp(rng: Rng, n: int) -> Sound:
    t = np.arange(n) / SAMPLE_RATE
    period = rng.uniform(0.3, 8)
    low, high = np.exp(rng.uniform(np.log(60), np.log(7000), 2))
    part = t % period / period
    if rng.random() < 0.5:
        part = np.abs(2 * part - 1)
    hz = low + (high - low) * part if rng.random() < 0.5 else low * (high / low) ** part
    phase = 2 * np.pi * np.cumsum(hz) / SAMPLE_RATE
    return sum(np.sin(k * phase) / k for k in range(1, int(rng.integers(2, 5)))) + _faint(rng, n)


def _gate(rng: Rng, n: int, on: float, off: float) -> Sound:
    t = np.arange(n) / SAMPLE_RATE
    return 1.0 * ((t + rng.uniform(0, on)) % (on + off) < on)


def tone_beeps(rng: Rng, n: int) -> Sound:
    return tone_pure(rng, n) * _gate(rng, n, rng.uniform(0.03, 1), rng.uniform(0.03, 1)) + _faint(rng, n)


def tone_dial(rng: Rng, n: int) -> Sound:
    t = np.arange(n) / SAMPLE_RATE
    pairs = [(350, 440), (425, 425), (440, 480), (480, 620), (400, 450)]
    a, b = pairs[rng.integers(len(pairs))]
    on, off = [(99, 1), (0.5, 0.5), (0.25, 0.25), (1, 4), (0.4, 0.2), (2, 4)][rng.integers(6)]
    return (np.sin(2 * np.pi * a * t) + np.sin(2 * np.pi * b * t)) * _gate(rng, n, on, off) + _faint(rng, n)


def _steps(rng: Rng, n: int, seconds: float, choose: Callable[[], float]) -> Sound:
    """A curve that holds a new random value every `seconds`."""
    size = max(1, int(seconds * SAMPLE_RATE))
    return np.repeat([choose() for _ in range(n // size + 1)], size)[:n]


def tone_dtmf(rng: Rng, n: int) -> Sound:
    length = rng.uniform(0.05, 0.4)
    t = np.arange(n) / SAMPLE_RATE
    low = _steps(rng, n, length, lambda: float(rng.choice([697, 770, 852, 941])))
    high = _steps(rng, n, length, lambda: float(rng.choice([1209, 1336, 1477, 1633])))
    x = np.sin(2 * np.pi * low * t) + np.sin(2 * np.pi * high * t)
    return x * (t % length < rng.uniform(0.4, 1) * length) + _faint(rng, n)


def tone_morse(rng: Rng, n: int) -> Sound:
    t = np.arange(n) / SAMPLE_RATE
    keyed = _steps(rng, n, rng.uniform(0.04, 0.12), lambda: float(rng.random() < 0.6))
    return np.sin(2 * np.pi * rng.uniform(400, 1200) * t) * keyed + _faint(rng, n)


def tone_fsk(rng: Rng, n: int) -> Sound:
    base = rng.uniform(500, 2000)
    hz = _steps(rng, n, rng.uniform(0.003, 0.05), lambda: base + float(rng.choice([0, 200, 1000])))
    return np.sin(2 * np.pi * np.cumsum(hz) / SAMPLE_RATE) + _faint(rng, n)


def tone_siren(rng: Rng, n: int) -> Sound:
    t = np.arange(n) / SAMPLE_RATE
    hz = rng.uniform(500, 1200) * (1 + rng.uniform(0.1, 0.5) * np.sin(2 * np.pi * rng.uniform(0.1, 5) * t))
    phase = 2 * np.pi * np.cumsum(hz) / SAMPLE_RATE
    return sum(np.sin(k * phase) / k**0.7 for k in range(1, 6)) + _faint(rng, n)


def tone_warble(rng: Rng, n: int) -> Sound:
    t = np.arange(n) / SAMPLE_RATE
    swing = np.sin(2 * np.pi * np.cumsum(rng.uniform(0.2, 8) * np.exp(0.3 * _slow(rng, n, 0.5))) / SAMPLE_RATE)
    if rng.random() < 0.5:
        swing = 2 / np.pi * np.arcsin(swing)
    hz = np.exp(rng.uniform(np.log(150), np.log(2500))) * 2 ** (rng.uniform(0.02, 1.0) * swing)
    phase, fall = 2 * np.pi * np.cumsum(hz) / SAMPLE_RATE, rng.uniform(0.3, 2)
    x = sum(rng.uniform(0.3, 1) * np.sin(k * phase) / k**fall for k in range(1, int(rng.integers(2, 12))))
    if rng.random() < 0.3:
        x = x * (1 + rng.uniform(0, 1) * np.sin(2 * np.pi * rng.uniform(0.5, 10) * t + rng.uniform(0, 7)))
    return x + _faint(rng, n)


def _melody(rng: Rng, n: int, note: Callable[[float, int], Sound], voices: int) -> Sound:
    """Random notes of `voices` parts; `note` makes one of a pitch in Hz and a length in samples."""
    x = np.zeros(n + 4 * SAMPLE_RATE)
    steps, beat = SCALES[rng.integers(len(SCALES))], 60 / rng.uniform(50, 190)
    for _ in range(voices):
        base, at = rng.uniform(60, 500), rng.uniform(0, beat)
        choices: list[list[float]] = [[0.25, 0.5], [0.5, 1], [1, 2, 4]]
        lengths = choices[rng.integers(3)]
        while at * SAMPLE_RATE < n:
            length = float(rng.choice(lengths)) * beat
            if rng.random() < 0.9:
                hz = base * 2 ** ((rng.choice(steps) + 12 * rng.integers(2)) / 12)
                made = note(float(hz), int(min(3.9, length * rng.uniform(0.8, 1.5)) * SAMPLE_RATE) + 200)
                i = int(at * SAMPLE_RATE)
                x[i : i + len(made)] += made * rng.uniform(0.4, 1)
            at += length
    return x[:n]


def _envelope(n: int, attack: float, fade: float) -> Sound:
    t = np.arange(n) / SAMPLE_RATE
    release = np.minimum(1, (n - np.arange(n)) / (0.02 * SAMPLE_RATE))
    return np.minimum(1, t / attack) * np.exp(-t / fade) * release


def music_additive(rng: Rng, n: int) -> Sound:
    attack, fade, fall, count = rng.uniform(0.003, 0.2), rng.uniform(0.1, 5), rng.uniform(0.3, 2), rng.integers(2, 20)
    vibrato, rate = rng.choice([0, 0, 0.005, 0.01]), rng.uniform(4, 7)

    def note(hz: float, size: int) -> Sound:
        t = np.arange(size) / SAMPLE_RATE
        bent = t + vibrato * np.sin(2 * np.pi * rate * t) / (2 * np.pi * rate)
        return _harmonics(bent, hz, int(count), rng, fall) * _envelope(size, attack, fade)

    return _melody(rng, n, note, int(rng.integers(1, 5)))


def music_fm(rng: Rng, n: int) -> Sound:
    ratio, depth, fade = float(rng.choice([0.5, 1, 1.4, 2, 3, 3.5])), rng.uniform(0.5, 8), rng.uniform(0.1, 3)

    def note(hz: float, size: int) -> Sound:
        t = np.arange(size) / SAMPLE_RATE
        swing = depth * np.exp(-t / fade) * np.sin(2 * np.pi * hz * ratio * t)
        return np.sin(2 * np.pi * hz * t + swing) * _envelope(size, 0.005, fade)

    return _melody(rng, n, note, int(rng.integers(1, 5)))


def music_plucked(rng: Rng, n: int) -> Sound:
    damping = rng.uniform(0.99, 0.9995)

    def note(hz: float, size: int) -> Sound:
        period = max(4, int(SAMPLE_RATE / hz))
        string, out = rng.uniform(-1, 1, period), []
        for _ in range(size // period + 1):  # Karplus-Strong, one period at a time
            out.append(string)
            string = damping * 0.5 * (string + np.roll(string, 1))
        return np.concatenate(out)[:size] * _envelope(size, 0.001, 5.0)

    return _melody(rng, n, note, int(rng.integers(1, 4)))


def music_drums(rng: Rng, n: int) -> Sound:
    step, x = int(15 / rng.uniform(70, 180) * SAMPLE_RATE), np.zeros(n + SAMPLE_RATE)
    t = np.arange(6000) / SAMPLE_RATE
    kick = np.sin(2 * np.pi * (50 * t + rng.uniform(2, 8) * (1 - np.exp(-t / 0.03)))) * np.exp(
        -t / rng.uniform(0.05, 0.2)
    )
    snare = (coloured(rng, 6000, 0) + np.sin(2 * np.pi * 190 * t)) * np.exp(-t / rng.uniform(0.03, 0.15))
    hat = np.diff(coloured(rng, 6001, 0)) * np.exp(-t / rng.uniform(0.01, 0.06))
    for sound, chance in ((kick, 0.35), (0.5 * snare, 0.2), (0.2 * hat, 0.6)):
        for i in np.flatnonzero(np.resize(rng.random(16) < chance, n // step)) * step:
            x[i : i + 6000] += sound * rng.uniform(0.6, 1)
    return x[:n] + _faint(rng, n)


def music_mixed(rng: Rng, n: int) -> Sound:
    tune = music_additive(rng, n) if rng.random() < 0.5 else music_fm(rng, n)
    drums = music_drums(rng, n)
    return tune / (tune.std() + 1e-9) + rng.uniform(0.2, 1.5) * drums / (drums.std() + 1e-9)


GENERATORS: dict[str, Callable[[Rng, int], Sound]] = {
    name.replace("_", "-"): maker
    for name, maker in sorted(globals().items())
    if name.startswith(("noise_", "tone_", "music_"))
}
HELD_GENERATORS = ("noise-applause", "noise-traffic", "tone-siren", "tone-morse", "music-plucked", "music-drums")
