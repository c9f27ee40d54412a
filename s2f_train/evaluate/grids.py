"""Rows of faces to look at: voice by voice, the nearest and the farthest, and where the gender is wrong."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from s2f_train.data.store import Store
from s2f_train.evaluate.attributes import age_band
from s2f_train.evaluate.matching import cosines
from s2f_train.evaluate.seen import Row, Scene
from s2f_train.evaluate.subjects import StoredPictures
from s2f_train.evaluate.tables import Grid, Picture, Sheet

SHEET = 64  # voices of a sheet
VOICES = 16  # rows of the grid of all kinds of voices
ENDS = 4  # rows of the nearest, of the middle, of the farthest
FAILURES = 24


def grids(scene: Scene, rows: list[Row], store: Store) -> Iterator[Grid]:
    """Voices chosen by the seed; the best, the median and the worst; the wrong genders, by group."""
    compared = [row for row in rows if row.system.compared]
    # The real face first, then what others made, then ours.
    compared.sort(key=lambda row: row.system.kind != "reference")
    first = min((row for row in rows if row.system.compared), key=lambda row: bool(row.note))
    real = StoredPictures(store, scene.subjects.faces)
    columns = ["real face", *(row.system.name for row in compared)]

    def shown(voice: int, said: str) -> tuple[str, list[Picture | None]]:
        return said, [real[scene.subjects.own_face[voice]], *(row.system.pictures[voice] for row in compared)]

    order = np.random.default_rng([scene.seed, 29]).permutation(len(scene.person))
    chosen: list[int] = sorted(order[:VOICES].tolist())
    yield Grid(
        "voices", "Voice by voice", "Voices chosen by the seed, not by how well they came out.", columns,
        [shown(voice, _who(scene, voice)) for voice in chosen],
    )  # fmt: skip

    near = cosines(first.seen.embeddings, scene.real.embeddings[scene.subjects.own_face])
    ranked: list[int] = np.argsort(-near, kind="stable").tolist()
    middle = max(0, len(ranked) // 2 - ENDS // 2)
    parts = (("best", ranked[:ENDS]), ("median", ranked[middle : middle + ENDS]), ("worst", ranked[-ENDS:]))
    yield Grid(
        "ends", "The best, the median and the worst",
        f"By the judge's cosine of {first.system.name} and the real face.", columns,
        [shown(v, f"{name}, {near[v]:.2f}: {_who(scene, v)}") for name, part in parts for v in part],
    )  # fmt: skip

    label, age = scene.label[scene.person], scene.age_of_group[scene.person]
    failed = np.flatnonzero(first.seen.readings.reads(label) == 0).tolist()
    women, men = (sorted((v for v in failed if label[v] == g), key=lambda v: float(age[v])) for g in ("f", "m"))
    half = FAILURES // 2
    wrong = [*women[: max(half, FAILURES - len(men))], *men[: max(half, FAILURES - len(women))]]
    if wrong:
        yield Grid(
            "wrong", "Where the gender is read wrong",
            f"Of {first.system.name}, by the labels, which are wrong now and then; women first, then by age.",
            columns, [shown(v, _who(scene, v)) for v in wrong],
        )  # fmt: skip


def sheets(scene: Scene, rows: list[Row]) -> Iterator[Sheet]:
    """The faces of each system for the same voices, chosen by the seed, as large as they are."""
    order = np.random.default_rng([scene.seed, 30]).permutation(len(scene.person))
    chosen = sorted(order[:SHEET].tolist())
    for i, row in enumerate(row for row in rows if row.system.compared):
        pictures = [picture for voice in chosen if (picture := row.system.pictures[voice]) is not None]
        sizes = {f"{picture.shape[1]}x{picture.shape[0]}" for picture in pictures}
        size = ", ".join(sorted(sizes))
        said = f"{len(pictures)} voices chosen by the seed, the same for each system; pictures of {size}."
        yield Sheet(f"sheet {row.system.name}", f"{row.system.name}, voice by voice", said, pictures, folded=i > 0)


def _who(scene: Scene, voice: int) -> str:
    """Group, not name: "woman, 30 to 44"."""
    person = scene.person[voice]
    gender = {"m": "man", "f": "woman", "": "gender not known"}[str(scene.gender[person])]
    band = age_band(float(scene.age_of_group[person]))
    return f"{gender}, {band}" if band else gender
