"""How far sets of real photographs are from each other by `evaluate`'s distance, and what is changed about them.

    S2F_DATA=... python benchmarks/realism.py [--each 150] [--changed 60]

Reads `data/faces/faces.tar` with its faces.csv and `data/avspeech/avspeech.tar`; prints a row for each set: the
table of docs/evaluation.md. About 4,400 looks of 50 ms each.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from s2f_train.evaluate import photographs
from s2f_train.evaluate.cache import VectorCache
from s2f_train.evaluate.intervals import Floats
from s2f_train.evaluate.judging import judge_all
from s2f_train.evaluate.photographs import open_photographs
from s2f_train.evaluate.realism import MEASURES, Realism
from s2f_train.evaluate.set_distance import PhotographDistance, Weighted
from s2f_train.evaluate.tables import Figure, Picture
from s2f_train.prepare.align import read_picture

SETS = ["synth", "congress+members", "london", "gan2"]
VIEWS = ("s2f", "face", "photo")
END = -MEASURES - 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, default=150, help="pictures of a source, chosen by a seed")
    parser.add_argument("--changed", type=int, default=60, help="of each set that are changed")
    arguments = parser.parse_args()
    data = Path(os.environ["S2F_DATA"]) / "data"
    judge, cache = Realism(), VectorCache(Path("runs/cache/evaluate.sqlite"))
    photographs.MOST = arguments.each

    def look(pictures: list[Picture], what: str) -> Floats:
        return judge_all(judge, pictures, cache, 1, what)[:, :END].astype(np.float64)

    with tempfile.TemporaryDirectory() as place:
        faces = extracted(data / "faces" / "faces.tar", Path(place) / "faces")
        shutil.copy(data / "faces" / "faces.csv", faces)
        found = open_photographs(str(faces), SETS)
        clips = sorted(extracted(data / "avspeech" / "avspeech.tar", Path(place) / "av").rglob("*.s2f.jpg"))
        views = {
            view: [
                read_picture(Path(str(c).replace(".s2f.", f".{view}.")).read_bytes()) for c in clips[: arguments.each]
            ]
            for view in VIEWS
        }
    sets = {one.name: one for one in found.sets}
    features = {name: look(one.pictures, name) for name, one in sets.items()}
    far = PhotographDistance(features, {name: one.person for name, one in sets.items()}, 500)
    for name in sets:
        show(f"{name}, from the others", far.from_others(name))

    def weighted(pictures: list[Picture], what: str) -> Weighted:
        return far.weighted(look(pictures, what), [str(i) for i in range(len(pictures))], 9)

    for other in found.others:
        show(other.name, far.figure(weighted(other.pictures, other.name)))
    for view, pictures in views.items():
        show(f"AVSpeech {view}", far.figure(weighted(pictures, view)))
    for what, change in changes().items():
        each = [
            far.figure(weighted([change(p) for p in one.pictures[: arguments.changed]], what), but=name).value
            for name, one in sets.items()
        ]
        show(f"photographs, {what}", Figure(float(np.mean(each))))


def show(name: str, figure: Figure) -> None:
    ends = "" if figure.low is None else f" ({figure.low:.2f} to {figure.high:.2f})"
    print(f"{name:40} {figure.value:.2f}{ends}", flush=True)


def extracted(tar: Path, folder: Path) -> Path:
    with tarfile.open(tar) as pictures:
        pictures.extractall(folder, filter="data")
    return folder


def changes() -> dict[str, Callable[[Picture], Picture]]:
    """What is done to photographs, by its name."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:256, :256]

    def blurred(by: float) -> Callable[[Picture], Picture]:
        return lambda picture: np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(by)))

    def shrunk(side: int) -> Callable[[Picture], Picture]:
        def change(picture: Picture) -> Picture:
            small = Image.fromarray(picture).resize((side, side), Image.Resampling.LANCZOS)
            return np.asarray(small.resize(picture.shape[1::-1], Image.Resampling.BICUBIC))

        return change

    def jpeg(quality: int) -> Callable[[Picture], Picture]:
        def change(picture: Picture) -> Picture:
            file = io.BytesIO()
            Image.fromarray(picture).save(file, "JPEG", quality=quality)
            return read_picture(file.getvalue())

        return change

    def added(levels: Callable[[], Floats]) -> Callable[[Picture], Picture]:
        return lambda picture: np.clip(picture + levels(), 0, 255).astype(np.uint8)

    def grid(period: int) -> Floats:
        return 6 * (np.cos(2 * np.pi * x / period) + np.cos(2 * np.pi * y / period))[..., None]

    def stains(levels: float) -> Floats:
        coarse = Image.fromarray(rng.standard_normal((24, 24)).astype(np.float32))
        blobs = np.asarray(coarse.resize((256, 256), Image.Resampling.BICUBIC)) > 1
        return levels * blobs[..., None] * np.array([1.0, 0.2, -0.6])

    return {
        "as they are": lambda picture: picture,
        **{f"at {side} px": shrunk(side) for side in (128, 64)},
        **{f"blurred by {by} px": blurred(by) for by in (1, 2, 4)},
        **{f"JPEG of quality {quality}": jpeg(quality) for quality in (30, 10)},
        **{f"a grid of {period} px": added(lambda period=period: grid(period)) for period in (2, 4, 8)},
        **{f"stains of {levels} levels": added(lambda levels=levels: stains(levels)) for levels in (25, 50)},
        "noise of 10 levels": added(lambda: rng.normal(0, 10, (256, 256, 3))),
    }


if __name__ == "__main__":
    main()
