"""Long recordings: how near is what is made of the chosen windows to what all of them say, and what does it cost?

    OPENBLAS_NUM_THREADS=1 S2F_DATA=... python benchmarks/long.py [--count 40] [--minutes 5 10 20 60] [--windows 112]
        [--variant int8]
    OPENBLAS_NUM_THREADS=1 python benchmarks/long.py --examples --count 1 --minutes 10

Recordings of real speech, of speakers of LibriSpeech, RAVDESS and DSPSpeech with over a minute: clips in a random
order, again and again, each time at another speed (-4 to 4 %), level (-9 to 3 dB) and tilt of the spectrum, and pauses.
Half have two speakers, in turn or one after the other. Into parts of most come noise (0 to 20 dB below the speech),
silence, and music of synthetic chords, between the speech or under it. Each is heard twice, with all its windows and
with those that are chosen, in turn, on one thread; time is that of the processor. `--examples` makes the recordings of
the two voices of examples/, which says what they cost. Prints tables and, as its last line, JSON.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
from collections import defaultdict
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import soundfile
import soxr

from export.int8_renderer import decibels
from s2f_edge import Speech2Face
from s2f_edge.hearing.features import SAMPLE_RATE, Float32s
from s2f_train.data import s2f_data

CORPORA = ("librispeech", "ravdess", "dspspeech")
LEAST_S = 60.0  # of a speaker
EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def speakers(root: Path) -> dict[str, list[Float32s]]:
    """Speech of each speaker who has enough of it, at 16 kHz; of RAVDESS and DSPSpeech those that no fit has heard."""
    wanted = [clip for clip in s2f_data.clips(root) if clip.corpus in CORPORA]
    wanted = [clip for clip in wanted if clip.corpus == "librispeech" or s2f_data.held_out(clip)]
    found: dict[str, list[Float32s]] = defaultdict(list)
    for clip, sound in s2f_data.sounds(wanted):
        samples, rate = soundfile.read(io.BytesIO(sound), dtype="float32", always_2d=True)
        found[clip.speaker].append(soxr.resample(samples[:, 0], rate, SAMPLE_RATE))
    return {name: clips for name, clips in sorted(found.items()) if sum(map(len, clips)) >= LEAST_S * SAMPLE_RATE}


def examples() -> dict[str, list[Float32s]]:
    """The two voices of examples/."""
    return {name: [soundfile.read(EXAMPLES / f"{name}.wav", dtype="float32")[0]] for name in ("female", "male")}


def spoken(clips: list[Float32s], length: int, rng: np.random.Generator) -> Float32s:
    """So many samples of a speaker: float32 (length,)."""
    parts: list[Float32s] = []
    while sum(map(len, parts)) < length:
        for i in rng.permutation(len(clips)):
            speed = float(rng.uniform(0.96, 1.04))
            x = soxr.resample(clips[i], SAMPLE_RATE, SAMPLE_RATE / speed)
            tilt = float(rng.uniform(-0.4, 0.4))
            x = x + tilt * np.concatenate([np.zeros(1, np.float32), x[:-1]])
            x *= 10.0 ** (rng.uniform(-9, 3) / 20) * 0.07 / max(float(np.sqrt(np.square(x).mean())), 1e-4)
            pause = 1e-4 * rng.standard_normal(int(rng.exponential(0.8) * SAMPLE_RATE))
            parts += [x.astype(np.float32), pause.astype(np.float32)]
    return np.concatenate(parts)[:length]


def noise(length: int, rng: np.random.Generator) -> Float32s:
    """Coloured noise of unit power, float32 (length,)."""
    spectrum = np.fft.rfft(rng.standard_normal(length))
    spectrum /= np.maximum(np.arange(len(spectrum)), 1) ** rng.uniform(0.0, 0.8)
    made = np.fft.irfft(spectrum, length)
    return np.asarray(made / np.sqrt(np.square(made).mean()), np.float32)


def music(length: int, rng: np.random.Generator) -> Float32s:
    """Chords with harmonics and a beat, of unit power, float32 (length,)."""
    made, beat = np.zeros(length, np.float32), int(rng.uniform(0.35, 0.7) * SAMPLE_RATE)
    for start in range(0, length, beat):
        t = np.arange(min(beat, length - start)) / SAMPLE_RATE
        root = 110.0 * 2.0 ** (rng.choice([0, 2, 4, 5, 7, 9]) / 12)
        chord = sum(np.sin(2 * np.pi * root * ratio * h * t) / h for ratio in (1, 1.26, 1.5, 2) for h in (1, 2, 3, 4))
        made[start : start + len(t)] = chord * np.exp(-3.0 * t)
    return made / max(float(np.sqrt(np.square(made).mean())), 1e-6)


def recording(voices: list[list[Float32s]], minutes: float, rng: np.random.Generator) -> Float32s:
    """A recording of one speaker, or of two."""
    length, sounds = int(minutes * 60 * SAMPLE_RATE), []
    turn = rng.uniform(10, 90) if len(voices) > 1 and rng.random() < 0.7 else minutes * 60 / len(voices)
    number = 0
    while sum(map(len, sounds)) < length:
        x = spoken(voices[number % len(voices)], int(turn * SAMPLE_RATE), rng)
        number += 1
        for start in range(0, len(x), 20 * SAMPLE_RATE):
            part, kind = x[start : start + 20 * SAMPLE_RATE], rng.random()
            level = float(np.sqrt(np.square(part).mean()))
            if kind < 0.15:
                part += level * 10.0 ** (-rng.uniform(0, 20) / 20) * noise(len(part), rng)
            elif kind < 0.22:
                part += level * 10.0 ** (-rng.uniform(5, 20) / 20) * music(len(part), rng)
            sounds.append(part)
            if kind > 0.97:
                sounds.append(np.zeros(int(rng.uniform(1, 10) * SAMPLE_RATE), np.float32))
            elif kind > 0.94:
                sounds.append(0.07 * music(int(rng.uniform(3, 20) * SAMPLE_RATE), rng))
    return np.clip(np.concatenate(sounds)[:length], -1, 1)


def plan(count: int, minutes: list[float]) -> list[tuple[int, float, int]]:
    """(seed, minutes, speakers) of each recording: the shorter ones are more."""
    shares = np.array([1.0 / each for each in minutes])
    lengths = np.repeat(minutes, np.maximum(1, np.round(shares / shares.sum() * count).astype(int)))
    return [(seed, float(each), 1 + seed % 2) for seed, each in enumerate(lengths)]


def made(people: dict[str, list[Float32s]], seed: int, minutes: float, count: int) -> Float32s:
    """The recording of a seed."""
    rng = np.random.default_rng(seed)
    names = rng.choice(sorted(people), count, replace=False)
    return recording([people[name] for name in names], minutes, rng)


def compared(models: tuple[Speech2Face, Speech2Face], sound: Float32s) -> dict[str, Any]:
    """What two models say of a recording, the first of which hears all of it."""
    voices, took = [], []
    for model in models:
        began = process_time()
        voices.append(model.embed(sound, SAMPLE_RATE))
        took.append(process_time() - began)
    one, other = (model.face(voice, gender="general", seed=0).face for model, voice in zip(models, voices, strict=True))
    return {
        "speech_s": round(voices[0].quality.speech_s, 1),
        "cosine": round(float(voices[0].embedding @ voices[1].embedding), 5),
        "psnr_db": round(decibels(one.astype(np.float64) - other), 1),
        "same_gender": voices[0].gender == voices[1].gender,
        "all_s": round(took[0], 3),
        "chosen_s": round(took[1], 3),
        "stages_ms": {stage: round(ms) for stage, ms in voices[1].timings_ms.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=40, help="recordings, about")
    parser.add_argument("--minutes", type=float, nargs="+", default=[5, 10, 20, 60])
    parser.add_argument("--windows", type=int, help="to choose (default: as the pack says)")
    parser.add_argument("--examples", action="store_true", help="of the voices of examples/, without S2F_DATA")
    parser.add_argument("--variant", help="of the pack, for both (default: the pack itself)")
    given = parser.parse_args()
    people = examples() if given.examples else speakers(Path(os.environ["S2F_DATA"]))
    models = tuple(
        Speech2Face(device="cpu", variant=given.variant, threads=1, all_windows=every) for every in (True, False)
    )
    models[1].windows = given.windows or models[1].windows
    for model in models:
        model.infer(EXAMPLES / "male.wav", gender="general")  # warm
    rows = []
    for seed, minutes, count in plan(given.count, given.minutes):
        found = compared(models, made(people, seed, minutes, count))
        rows.append({"seed": seed, "minutes": minutes, "speakers": count, **found})
        print(f"{minutes:g} min, {count} speakers: {found}", flush=True)
    print("\n| minutes | " + " | ".join(rows[0]["stages_ms"]) + " |\n|---" + "|---" * len(rows[0]["stages_ms"]) + "|")
    for row in rows:
        print(f"| {row['minutes']:g} | " + " | ".join(f"{ms:,} ms" for ms in row["stages_ms"].values()) + " |")
    print(
        "\n| minutes | recordings | cosine >= 0.995 | cosine, least, median | face > 35 dB | least | chosen of all, s |"
    )
    print("|---|---|---|---|---|---|---|")
    for some in (*sorted(set(given.minutes)), None):
        part = [row for row in rows if some in (None, row["minutes"])]
        cosines, ratios = ([row[key] for row in part] for key in ("cosine", "psnr_db"))
        near, alike = np.mean(np.array(cosines) >= 0.995), np.mean(np.array(ratios) > 35)
        seconds = [statistics.median(row[key] for row in part) for key in ("chosen_s", "all_s")]
        print(
            f"| {some or 'all'} | {len(part)} | {near:.0%} | {min(cosines):.4f}, {statistics.median(cosines):.4f} | "
            f"{alike:.0%} | {min(ratios):.1f} dB | {seconds[0]:.2f} of {seconds[1]:.2f} |"
        )
    print(json.dumps({"windows": models[1].windows, "variant": models[1].variant, "recordings": rows}))


if __name__ == "__main__":
    main()
