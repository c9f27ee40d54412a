"""Which way of finding landmarks lays faces on each other best, and what does it cost?

    python benchmarks/align.py --data $S2F_DATA [--pictures 300] [--sheet docs/alignment.png]

Each method finds landmarks in photos of speakers (AVSpeech) and in UTKFace, and the similarity to the places
that the same landmarks have in the normalised faces of Oh et al. cuts a face out. Two judges then find
landmarks anew in what was cut out, always within the same rectangle: dlib's 68 points (eyes, mouth) and 5
points (eyes, nose). A judge that made the alignment is no judge of it; look at the other. Figures of places are
in pixels of a face of 64, on the pictures in which all methods find a face:

    found      share of pictures
    ms         of processor time to find the landmarks
    eyes ...   how far from their mean place the landmarks are: root mean square
    sharp      energy of the gradient of the mean face: higher where faces lie on each other better
    turned     how far the cut-out moves when the photo is first turned, scaled and shifted at random: median, 95 %

HOG x1 and x2 look once, at the picture as it is or twice as large; HOG looks as `Aligner` does.
MTCNN takes part where `facenet_pytorch` can be imported, dlib's CNN on the first 20 pictures (its figures of
places are then left out). The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import process_time
from typing import Any

import dlib
import numpy as np
from PIL import Image, ImageDraw

from s2f_train.data.s2f_data import members
from s2f_train.prepare.align import LANDMARKS, Aligner, model_file, read_picture, resize_aligned, similarity, warp

Points = np.ndarray
Finder = Callable[[np.ndarray], Points | None]
FACE = dlib.rectangle(58, 77, 205, 225)  # where dlib's detector sees the face of a normalised face of SIDE
SIDE = 256  # of the cut-outs that the judges see
NORMALISED = 968  # pictures for the places of the landmarks: all
SLOW = 20  # pictures for the method that takes half a second for one

predictors = {
    5: dlib.shape_predictor(str(model_file(LANDMARKS))),
    68: dlib.shape_predictor(str(model_file("shape_predictor_68_face_landmarks.dat"))),
}


def landmarks(count: int, picture: np.ndarray, box: Any) -> Points:
    """dlib's 5 points; of its 68 the centres of the eyes, the tip of the nose and the corners of the mouth."""
    points = np.array([(point.x + 0.5, point.y + 0.5) for point in predictors[count](picture, box).parts()])
    if count == 5:
        return points
    return np.array([points[36:42].mean(axis=0), points[42:48].mean(axis=0), points[30], points[48], points[54]])


def hog(count: int, looks: tuple[tuple[int, float], ...] = Aligner.LOOKS) -> Finder:
    """dlib's HOG detector; `looks` are sides in pixels, or factors of the picture's where they are below 10."""
    aligner = Aligner()

    def find(picture: np.ndarray) -> Points | None:
        longer = max(picture.shape[:2])
        aligner.LOOKS = tuple((round(side * longer) if side < 10 else side, score) for side, score in looks)
        found = aligner.find(picture)
        return None if found is None else landmarks(count, *found[:2]) * longer / max(found[0].shape[:2])

    return find


def cnn() -> Finder:
    detector = dlib.cnn_face_detection_model_v1(str(model_file("mmod_human_face_detector.dat")))

    def find(picture: np.ndarray) -> Points | None:
        seen = np.asarray(Image.fromarray(picture).resize((320, 320), Image.Resampling.BICUBIC))
        found = detector(seen, 0)
        box = max((face.rect for face in found), key=lambda box: box.area(), default=None)
        return None if box is None else landmarks(5, seen, box) * len(picture) / 320

    return find


def mtcnn() -> Finder:
    import torch
    from facenet_pytorch import MTCNN

    torch.set_num_threads(1)
    detector = MTCNN(keep_all=True, min_face_size=60, select_largest=True)

    def find(picture: np.ndarray) -> Points | None:
        seen = Image.fromarray(picture).resize((320, 320), Image.Resampling.BICUBIC)
        points = detector.detect(seen, landmarks=True)[2]
        return None if points is None else (np.asarray(points[0], float) + 0.5) * len(picture) / 320

    return find


def methods() -> dict[str, Finder]:
    found = {
        "HOG, 5 points": hog(5),
        "HOG x1, 5 points": hog(5, ((1, 0.0),)),
        "HOG x2, 5 points": hog(5, ((2, 0.0),)),
        "HOG, 68 points": hog(68),
    }
    try:
        found["MTCNN"] = mtcnn()
    except ModuleNotFoundError as missing:
        print(f"without MTCNN: {missing}\n")
    return found


def pictures(data: Path, archive: str, suffix: str, count: int, seed: int = 0) -> list[np.ndarray]:
    files = [file for _, file in members(data / "data" / archive, suffix)]
    chosen = np.random.default_rng(seed).permutation(len(files))[:count]
    return [read_picture(files[index]) for index in sorted(chosen)]


def found_in(finder: Finder, images: list[np.ndarray]) -> tuple[list[Points | None], float]:
    began = process_time()
    points = [finder(image) for image in images]
    return points, (process_time() - began) / len(images) * 1e3


def spread(places: list[Points]) -> np.ndarray:
    """Root mean square distance from the mean place, of each landmark, in pixels of a face of 64."""
    return np.sqrt(np.var(places, axis=0).sum(axis=1)) * 64 / SIDE


def judged(images: list[np.ndarray], points: list[Points], template: Points) -> tuple[dict[str, float], np.ndarray]:
    """What the judges say of the cut-outs; and their mean."""
    faces = [warp(image, similarity(template * SIDE, at), SIDE) for image, at in zip(images, points, strict=True)]
    by_68 = spread([landmarks(68, face, FACE) for face in faces])
    fives = [landmarks(5, face, FACE) for face in faces]
    by_5 = spread([np.array([p[:2].mean(axis=0), p[2:4].mean(axis=0), p[4]]) for p in fives])
    mean = np.mean(faces, axis=0).astype(np.uint8)
    grey = np.asarray(Image.fromarray(mean).resize((64, 64), Image.Resampling.LANCZOS), float).mean(axis=2)[
        12:56, 12:52
    ]
    figures = {
        "eyes_by_68": by_68[:2].mean(),
        "mouth_by_68": by_68[3:].mean(),
        "eyes_by_5": by_5[:2].mean(),
        "nose_by_5": by_5[2],
        "sharp": np.square(np.diff(grey, axis=0)).mean() + np.square(np.diff(grey, axis=1)).mean(),
    }
    return {name: round(float(figure), 2) for name, figure in figures.items()}, mean


def turned(images: list[np.ndarray], finder: Finder, template: Points) -> tuple[float, float]:
    """How far the places of the template move when the picture is turned first: median and 95th percentile."""
    random, moved = np.random.default_rng(1), []
    for image in images:
        angle, scale, centre = math.radians(random.uniform(-15, 15)), random.uniform(0.85, 1.2), len(image) / 2
        turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        shift = centre - turn @ [centre, centre] + random.uniform(-8, 8, 2)
        copy = warp(image, np.column_stack([turn, shift]), len(image))
        before, after = finder(image), finder(copy)
        if before is None or after is None:
            continue
        one, other = (similarity(template * 64, at) for at in (before, after))
        places = template * 64 @ other[:, :2].T + other[:, 2]
        places = places @ turn.T + shift - (template * 64 @ one[:, :2].T + one[:, 2])
        moved.append(np.hypot(*places.T).mean() / math.sqrt(np.linalg.det(one[:, :2])))
    return float(np.median(moved)), float(np.quantile(moved, 0.95))


def covered(images: list[np.ndarray], zoom: float) -> float:
    aligner = Aligner(64, zoom)
    return float(np.mean([face.inside for image in images if (face := aligner(image))]))


def sheet(means: dict[str, dict[str, np.ndarray]]) -> Image.Image:
    """The mean faces: one row for each set of pictures, one column for each method; UTKFace zoomed to what it shows."""
    side, strip = 192, 18
    names = list(next(iter(means.values())))
    image = Image.new("RGB", (len(names) * side, len(means) * (side + strip)), "white")
    draw = ImageDraw.Draw(image)
    for row, (kind, faces) in enumerate(means.items()):
        for column, name in enumerate(names):
            corner = (column * side, row * (side + strip))
            draw.text((corner[0] + 4, corner[1] + 3), f"{name}: {kind}", fill="black")
            face = resize_aligned(faces[name], side, zoom=1.5 if kind == "UTKFace" else 1.0)
            image.paste(Image.fromarray(face), (corner[0], corner[1] + strip))
    return image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds data/")
    parser.add_argument("--pictures", type=int, default=300)
    parser.add_argument("--sheet", type=Path, help="PNG of the mean faces to write")
    arguments = parser.parse_args()

    load = partial(pictures, arguments.data)
    sets = {
        "photos": load("avspeech/avspeech.tar", ".photo.jpg", arguments.pictures),
        "UTKFace": load("utkface/utkface96.tar", ".jpg", arguments.pictures),
    }
    normalised = load("avspeech/avspeech.tar", ".face.jpg", NORMALISED)
    finders = methods()
    templates = {}
    for name, finder in finders.items():
        places = [at / len(face) for face in normalised if (at := finder(face)) is not None]
        templates[name] = np.mean(places, axis=0)
    results: dict[str, Any] = {"pictures": arguments.pictures}
    means: dict[str, dict[str, np.ndarray]] = {}
    for kind, images in sets.items():
        found = {name: found_in(finder, images) for name, finder in finders.items()}
        common = [i for i in range(len(images)) if all(points[i] is not None for points, _ in found.values())]
        print(f"{kind}: a face in {len(common)} of {len(images)} by all methods")
        print(f"  {'':30} found      ms | 68: eyes mouth | 5: eyes  nose | sharp | turned, 95 %")
        rows, means[kind] = {}, {}
        for name, (points, ms) in found.items():
            figures, means[kind][name] = judged(
                [images[i] for i in common], [at for i in common if (at := points[i]) is not None], templates[name]
            )
            median, worst = turned(images[: arguments.pictures // 3], finders[name], templates[name])
            share = sum(at is not None for at in points) / len(images)
            rows[name] = {"found": round(share, 3), "ms": round(ms, 1), **figures}
            rows[name] |= {"turned": round(median, 2), "turned_95": round(worst, 2)}
            print(
                f"  {name:30} {share:5.1%} {ms:7.1f} | {figures['eyes_by_68']:8.2f} {figures['mouth_by_68']:5.2f}"
                f" | {figures['eyes_by_5']:7.2f} {figures['nose_by_5']:5.2f} | {figures['sharp']:5.1f}"
                f" | {median:6.2f} {worst:5.2f}"
            )
        points, ms = found_in(cnn(), images[:SLOW])
        share = sum(at is not None for at in points) / len(points)
        rows["CNN, 5 points"] = {"found": round(share, 3), "ms": round(ms, 1)}
        print(f"  {'CNN, 5 points':30} {share:5.1%} {ms:7.1f} | on {len(points)} pictures")
        covers = {f"zoom {zoom}": round(covered(images, zoom), 3) for zoom in (1.0, 1.25, 1.5)}
        print("  share of the aligned face that the picture covers: ", covers, "\n")
        results[kind] = {**rows, "covered": covers}
    results["template"] = np.round(templates["HOG, 5 points"], 4).tolist()
    print(f"5 points in the normalised faces, in units of the side: {results['template']}")
    if arguments.sheet:
        sheet(means).save(arguments.sheet)
    print(json.dumps(results))


if __name__ == "__main__":
    main()
