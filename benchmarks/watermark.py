"""What the watermark survives, what it costs, and how often it is seen where it isn't.

    OPENBLAS_NUM_THREADS=1 python benchmarks/watermark.py [--data $S2F_DATA] [--faces 1000] [--large 300]
        [--limits 200] [--photos 3000] [--jobs 2] [--picture docs/watermark.png]

Faces are the default pack's, for embeddings of LibriSpeech's speakers (without --data of the two example clips) with
the pack's noise, by all three generators, each with a payload of its own at random. A mark counts as found where `find`
returns one, and as right where the payload is the one that was put in. Columns:

    found, right   share of the pictures
    score          least and median, in standard deviations of chance; 9.36 is needed

Attacks that the mark must survive come first, then those that show its limits (on fewer faces of 256 pixels). False
alarms are counted on unmarked faces, and with --data on photos of speakers, on normalised faces, on smooth faces by
another network, and on UTKFace enlarged to 256. The last line is JSON.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from s2f_edge.marks.watermark import find, mark
from s2f_edge.marks.watermark_find import LOG10_ALARM, strongest
from s2f_edge.picture import grid
from s2f_edge.pipeline import Speech2Face
from s2f_train.data.s2f_data import members

Pixels = np.ndarray
Attack = Callable[[Pixels, np.random.Generator], Pixels]
CLIPS = 120


def resize(pixels: Pixels, width: int, height: int | None = None) -> Pixels:
    return np.asarray(Image.fromarray(pixels).resize((width, height or width), Image.Resampling.BICUBIC))


def by(pixels: Pixels, factor: float) -> Pixels:
    return resize(pixels, round(pixels.shape[1] * factor), round(pixels.shape[0] * factor))


def coded(pixels: Pixels, quality: int, kind: str = "JPEG") -> Pixels:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, quality=quality)
    return np.asarray(Image.open(file).convert("RGB"))


def crop(pixels: Pixels, left: float, top: float, right: float, bottom: float) -> Pixels:
    height, width, _ = pixels.shape
    return pixels[
        round(top * height) : height - round(bottom * height), round(left * width) : width - round(right * width)
    ]


def one_side(pixels: Pixels, random: np.random.Generator) -> Pixels:
    return crop(pixels, *np.eye(4)[random.integers(4)] * 0.05)


def lit(pixels: Pixels, contrast: float, brightness: float) -> Pixels:
    return np.clip(np.rint((pixels - 128.0) * contrast + 128 + brightness), 0, 255).astype(np.uint8)


def turned(pixels: Pixels, degrees: float) -> Pixels:
    image = Image.fromarray(pixels).rotate(degrees, Image.Resampling.BICUBIC, fillcolor=(255, 255, 255))
    return np.asarray(image)


def blurred(pixels: Pixels, radius: float) -> Pixels:
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(radius)))


def noisy(pixels: Pixels, random: np.random.Generator, sigma: float) -> Pixels:
    return np.clip(np.rint(pixels + random.normal(0, sigma, pixels.shape)), 0, 255).astype(np.uint8)


ATTACKS: dict[str, Attack] = {
    "none": lambda p, r: p,
    "JPEG 75": lambda p, r: coded(p, 75),
    "WebP 80": lambda p, r: coded(p, 80, "WEBP"),
    "half": lambda p, r: by(p, 0.5),
    "double": lambda p, r: by(p, 2),
    "x 0.5 to 2": lambda p, r: by(p, r.uniform(0.5, 2)),
    "half, JPEG 75": lambda p, r: coded(by(p, 0.5), 75),
    "5 % off every side": lambda p, r: crop(p, 0.05, 0.05, 0.05, 0.05),
    "5 % off one side": one_side,
    "... every side, x 0.5 to 2, JPEG 75": lambda p, r: coded(by(crop(p, *[0.05] * 4), r.uniform(0.5, 2)), 75),
    "... every side, half, JPEG 75": lambda p, r: coded(by(crop(p, *[0.05] * 4), 0.5), 75),
    "... one side, x 0.5 to 2, JPEG 75": lambda p, r: coded(by(one_side(p, r), r.uniform(0.5, 2)), 75),
    "... one side, made square, JPEG 75": lambda p, r: coded(
        resize(one_side(p, r), round(len(p) * r.uniform(0.5, 2))), 75
    ),
    "contrast and brightness +-30 %": lambda p, r: lit(p, r.uniform(0.7, 1.3), r.uniform(-40, 40)),
}
LIMITS: dict[str, Attack] = {
    "JPEG 50": lambda p, r: coded(p, 50),
    "JPEG 30": lambda p, r: coded(p, 30),
    "half, JPEG 60": lambda p, r: coded(by(p, 0.5), 60),
    "half, WebP 80": lambda p, r: coded(by(p, 0.5), 80, "WEBP"),
    "to 110 pixels": lambda p, r: resize(p, 110),
    "to 110 pixels, JPEG 75": lambda p, r: coded(resize(p, 110), 75),
    "to 96 pixels": lambda p, r: resize(p, 96),
    "to 80 pixels": lambda p, r: resize(p, 80),
    "10 % off every side": lambda p, r: crop(p, *[0.1] * 4),
    "10 % off every side, half, JPEG 75": lambda p, r: coded(by(crop(p, *[0.1] * 4), 0.5), 75),
    "15 % off every side": lambda p, r: crop(p, *[0.15] * 4),
    "20 % off every side": lambda p, r: crop(p, *[0.2] * 4),
    "a margin of 10 % of white": lambda p, r: np.pad(p, ((26, 26), (26, 26), (0, 0)), constant_values=255),
    "turned by 0.5 degrees": lambda p, r: turned(p, 0.5),
    "turned by 1 degree": lambda p, r: turned(p, 1),
    "turned by 2 degrees": lambda p, r: turned(p, 2),
    "mirrored": lambda p, r: p[:, ::-1].copy(),
    "noise of 8 grey levels": lambda p, r: noisy(p, r, 8),
    "blurred by 1 pixel": lambda p, r: blurred(p, 1),
    "blurred by 2 pixels": lambda p, r: blurred(p, 2),
    "blurred by 4 pixels": lambda p, r: blurred(p, 4),
    "a margin of 20 % of white": lambda p, r: np.pad(p, ((51, 51), (51, 51), (0, 0)), constant_values=255),
    "through 64 pixels": lambda p, r: resize(resize(p, 64), 256),
}


def faces(data: Path | None, count: int) -> Pixels:
    """uint8 (count, 64, 64, 3) by all generators, in a random order."""
    pipeline = Speech2Face()
    if data:
        clips: list[Any] = [file for _, file in members(data / "data" / "librispeech" / "librispeech.tar", ".ogg")]
        clips = clips[:: max(1, len(clips) // CLIPS)][:CLIPS]
    else:
        clips = sorted((Path(__file__).parent.parent / "examples").glob("*.wav"))
    generators = sorted(pipeline.pack.manifest.generators)
    each = -(-count // (len(clips) * len(generators)))
    made = []
    for clip in clips:
        voice = pipeline.embed(clip)
        for generator in generators:
            for start in range(0, each, 64):
                samples = min(64, each - start)
                made.append(pipeline.face(voice, gender=generator, samples=samples, seed=start + len(made)).faces)
    return np.random.default_rng(0).permutation(np.concatenate(made))[:count]


def attacked(job: tuple[int, Pixels], size: int, attacks: dict[str, str]) -> dict[str, Any]:
    """Scores of one face after each attack; its PSNR and the milliseconds of marking and finding."""
    number, face = job
    random = np.random.default_rng([size, number])
    payload, plain = int(random.integers(1 << 20)), resize(face, size)
    began = perf_counter()
    marked = mark(plain, payload)
    ms = (perf_counter() - began) * 1e3
    error = np.mean(np.square(marked.astype(float) - plain))
    results: dict[str, Any] = {"psnr": 10 * np.log10(255**2 / error), "mark_ms": ms, "attacks": {}}
    for name in attacks:
        picture = {**ATTACKS, **LIMITS}[name](marked, random)
        began = perf_counter()
        best = strongest(picture)
        ms = (perf_counter() - began) * 1e3
        found = best is not None and best.log10_false_alarm <= LOG10_ALARM
        results["attacks"][name] = (best.score if best else 0.0, found, found and best.payload == payload, ms)
    return results


def attacks_table(size: int, pictures: Pixels, attacks: dict[str, Attack], pool: ProcessPoolExecutor) -> dict[str, Any]:
    jobs = pool.map(partial(attacked, size=size, attacks=dict.fromkeys(attacks, "")), enumerate(pictures), chunksize=4)
    results = list(jobs)
    psnr = [result["psnr"] for result in results]
    finds = [result["attacks"][name][3] for result in results for name in attacks if result["attacks"][name][1]]
    summary: dict[str, Any] = {
        "faces": len(results),
        "psnr_min": round(min(psnr), 1),
        "psnr_mean": round(float(np.mean(psnr)), 1),
        "mark_ms": round(median(result["mark_ms"] for result in results), 1),
        "find_ms": round(median(finds), 1),
    }
    print(
        f"{size} pixels, {len(results)} faces: PSNR {summary['psnr_mean']} dB (least {summary['psnr_min']}), mark "
        f"{summary['mark_ms']} ms, find {summary['find_ms']} ms"
    )
    print(f"  {'':36}   found    right   score")
    rows = {}
    for name in attacks:
        scores, found, right, _ = zip(*(result["attacks"][name] for result in results), strict=True)
        rows[name] = {
            "found": float(np.mean(found)),
            "right": float(np.mean(right)),
            "score_min": round(min(scores), 1),
            "score_median": round(median(scores), 1),
        }
        row = rows[name]
        print(f"  {name:36} {row['found']:7.2%} {row['right']:8.2%}   {row['score_min']:4} {row['score_median']:5}")
    print(flush=True)
    return {**summary, "attacks": rows}


def grids(pictures: Pixels) -> dict[str, Any]:
    """Grids as they are, halved and as JPEG 75, and cropped; and each face cut out with 2 % of margin."""
    rows: dict[str, list[bool]] = {"whole": [], "half, JPEG 75": [], "every face cut out": [], "5 % off every side": []}
    for payload, count in enumerate((2, 3, 4, 5, 6, 7, 9, 10, 12, 16, 25, 36, 49, 64)):
        cells = [mark(resize(face, 256), payload) for face in np.roll(pictures, -64 * payload, axis=0)[:count]]
        marked = grid(cells)

        def right(picture: Pixels, payload: int = payload) -> bool:
            found = find(picture)
            return found is not None and found.payload == payload

        rows["whole"].append(right(marked))
        rows["half, JPEG 75"].append(right(coded(by(marked, 0.5), 75)))
        rows["5 % off every side"].append(right(crop(marked, *[0.05] * 4)))
        columns = (marked.shape[1] + 8) // 264
        for i in range(count):
            left, top = max(0, i % columns * 264 - 5), max(0, i // columns * 264 - 5)
            rows["every face cut out"].append(right(marked[top : top + 266, left : left + 266]))
    print("grids of 2 to 64 faces of 256 pixels")
    for name, found in rows.items():
        print(f"  {name:36} {sum(found)} of {len(found)}")
    print(flush=True)
    return {name: [sum(found), len(found)] for name, found in rows.items()}


def looked_at(source: bytes | Pixels, size: int | None) -> tuple[float, float]:
    """Score and milliseconds of a picture without a mark."""
    pixels = np.asarray(Image.open(io.BytesIO(source)).convert("RGB")) if isinstance(source, bytes) else source
    if size:
        pixels = resize(pixels, size)
    began = perf_counter()
    best = strongest(pixels)
    return (best.score if best else 0.0), (perf_counter() - began) * 1e3


def false_alarms(data: Path | None, unmarked: Pixels, photos: int, pool: ProcessPoolExecutor) -> dict[str, Any]:
    sets: dict[str, tuple[list[Any], int | None]] = {
        "unmarked faces, 256": (list(unmarked), 256),
        "unmarked faces, 1024": (list(unmarked[:200]), 1024),
    }
    if data:
        tar = data / "data" / "avspeech" / "avspeech.tar"
        for name, suffix in (("photos", ".photo.jpg"), ("normalised faces", ".face.jpg"), ("Oh's faces", ".s2f.jpg")):
            sets[name] = ([file for _, file in members(tar, suffix)], None)
        utk = [file for _, file in members(data / "data" / "utkface" / "utkface96.tar", ".jpg")]
        sets["UTKFace, 256"] = (utk[:: max(1, len(utk) // max(photos, 1))][:photos], 256)
    print(f"without a mark: {'':20} pictures  false alarms  score: highest, 99 %, median     ms")
    rows = {}
    for name, (sources, size) in sets.items():
        scores, ms = zip(*pool.map(partial(looked_at, size=size), sources, chunksize=16), strict=True)
        log10 = 13 - np.square(scores) / 2 / np.log(10)
        rows[name] = {
            "pictures": len(scores),
            "false_alarms": int(np.sum(log10 <= LOG10_ALARM)),
            "score_max": round(max(scores), 2),
            "score_99": round(float(np.quantile(scores, 0.99)), 2),
            "score_median": round(median(scores), 2),
            "find_ms": round(median(ms), 1),
        }
        row = rows[name]
        print(
            f"  {name:34} {row['pictures']:8} {row['false_alarms']:13} {row['score_max']:15} {row['score_99']:6}"
            f" {row['score_median']:7} {row['find_ms']:7}",
            flush=True,
        )
    return rows


def sheet(pictures: Pixels) -> Image.Image:
    """Faces without and with a mark, and the difference 30 times as strong."""
    rows = []
    for face in pictures[:3]:
        plain = resize(face, 256)
        marked = mark(plain, 0x41234)
        change = np.clip(128 + 30.0 * (marked.astype(float) - plain), 0, 255).astype(np.uint8)
        rows.append(np.hstack([plain, marked, change]))
    return Image.fromarray(np.vstack(rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="the folder that holds data/")
    parser.add_argument("--faces", type=int, default=1000, help="of 256 pixels")
    parser.add_argument("--large", type=int, default=300, help="faces of 512 and of 1024 pixels")
    parser.add_argument("--limits", type=int, default=200, help="faces for the limits")
    parser.add_argument("--photos", type=int, default=3000, help="of UTKFace")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--picture", type=Path, help="PNG of marked faces to write")
    arguments = parser.parse_args()

    made = faces(arguments.data, arguments.faces)
    if arguments.picture:
        sheet(made).save(arguments.picture)
    print(f"{platform.machine()}, {arguments.jobs} jobs at a time on {os.cpu_count()} cores\n")
    results: dict[str, Any] = {}
    with ProcessPoolExecutor(arguments.jobs) as pool:
        results["256"] = attacks_table(256, made, ATTACKS, pool)
        for size in (512, 1024):
            results[str(size)] = attacks_table(size, made[: arguments.large], ATTACKS, pool)
        print("limits")
        results["limits"] = attacks_table(256, made[: arguments.limits], LIMITS, pool)
        results["grids"] = grids(made)
        results["without"] = false_alarms(arguments.data, made, arguments.photos, pool)
    print(json.dumps(results))


if __name__ == "__main__":
    main()
