"""The section of how much made faces look like photographs: distance and sharpness, and the sets among themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from s2f_train.evaluate.identity_tables import SYSTEM
from s2f_train.evaluate.intervals import Array, Floats
from s2f_train.evaluate.judging import Judge, judge_all
from s2f_train.evaluate.looking import Judges
from s2f_train.evaluate.photographs import Photographs, PhotographSet
from s2f_train.evaluate.realism import MEASURES
from s2f_train.evaluate.seen import Row, Scene
from s2f_train.evaluate.set_distance import PhotographDistance, as_figure, drawn_weights
from s2f_train.evaluate.subjects import StoredPictures, some
from s2f_train.evaluate.tables import Column, Figure, Picture, Section, Table

MOST_FACES = 300  # of a system
BLURS = (1, 2, 4)  # deviations in pixels of the frame
MOST_BLURRED = 60  # photographs of a set
BESIDE = ("random face", "mean face")  # the baselines that stand here too
TITLE = "Realism"
NEEDED = (
    "Not measured. It takes photographs that no training saw: give --photographs a store with faces of view portrait, "
    "of which those outside of the split train are taken, or a folder of pictures. Then the distance of the faces from "
    "photographs, their sharpness, and a page on which people tell them apart stand here."
)


@dataclass(frozen=True)
class _Close:
    """Faces close by: features (n, d), sharpness (n, 2) of face and rest, found (n,), whose each is (n,)."""

    features: Floats
    sharp: Floats
    found: Floats
    person: Array


def realism_section(
    scene: Scene, rows: Sequence[Row], photographs: Photographs, judge: Judge, judges: Judges, real: StoredPictures
) -> Section:
    """What made faces have of photographs, at 256 pixels.

    Args:
        rows: systems and baselines; those whose name does not begin with one of `BESIDE` are passed over.
        judge: a `Realism`, whose vectors end in `MEASURES` numbers and whether a face was found.
        judges: their cache and their processes.
        real: the real faces of the scene.
    """

    def close(pictures: Sequence[Picture], person: Any, what: str) -> _Close:
        vectors = judge_all(judge, pictures, judges.cache, judges.jobs, what).astype(np.float64)
        end = vectors.shape[1] - MEASURES - 1
        return _Close(vectors[:, :end], vectors[:, end:-1], vectors[:, -1], np.asarray(person))

    sets = {one.name: close(one.pictures, one.person, f"photographs: {one.name}") for one in photographs.sets}
    far = PhotographDistance(
        {name: one.features for name, one in sets.items()},
        {name: one.person.tolist() for name, one in sets.items()},
        scene.draw.draws,
        scene.seed,
    )
    sharp = _Sharpness(list(sets.values()), far.draws, scene.seed)
    some_of = some(np.random.default_rng([scene.seed, 44]), range(len(scene.person)), MOST_FACES)
    table: list[dict[str, Any]] = []

    def add(start: dict[str, Any], faces: _Close, distance: Figure | None = None) -> None:
        if len(faces.features) < 2:
            return
        shown = distance or far.figure(far.weighted(faces.features, faces.person))
        ratios = sharp.figures(faces)
        found = Figure(float(faces.found.mean()), n=len(faces.found))
        table.append(
            {
                **start, "n": len(faces.found), "distance": _or_none(shown), "sharp": ratios[0],
                "sharp_rest": ratios[1], "found": found,
            }
        )  # fmt: skip

    for row in rows:
        if row.system.compared or row.system.name.startswith(BESIDE):
            mine = [i for i in some_of if row.system.pictures[i] is not None]
            pictures = [picture for i in mine if (picture := row.system.pictures[i]) is not None]
            add(row.start, close(pictures, scene.person[mine], f"{row.system.name}, close by"))
    for blur in BLURS:
        start = {"system": f"photographs blurred, sigma {blur} px", "_kind": "baseline", "_note": ""}
        few = [_few(one, scene.seed) for one in photographs.sets]
        blurred = [close([_blurred(p, blur) for p in s.pictures], s.person, f"photographs, blur {blur}") for s in few]
        each = [
            far.values(far.weighted(one.features, one.person), but=s.name) for one, s in zip(blurred, few, strict=True)
        ]
        add(start, _joined(blurred), as_figure(np.mean(each, axis=0), sum(len(one.found) for one in blurred)))
    for other in photographs.others:
        named = {"system": f"set {other.name}, not counted", "_kind": "baseline", "_note": ""}
        add(named, close(other.pictures, other.person, f"photographs: {other.name}"))
    own = {"system": "real faces of these people", "_kind": "ceiling", "_note": ""}
    places = scene.subjects.own_face[some_of]
    add(own, close([real[int(i)] for i in places], scene.person[some_of], "real faces, close by"))
    for name, one in sets.items():
        start = {"system": f"photographs: {name}, from the others", "_kind": "ceiling", "_note": ""}
        add(start, one, far.from_others(name))
    parts = [_table(table, far, judge, photographs)]
    if len(sets) > 1:
        parts.append(_between(far))
    return Section(TITLE, " ".join(photographs.notes), parts)


class _Sharpness:
    """The mean variance of the Laplacian, as a share of the mean of the sets of photographs."""

    def __init__(self, sets: list[_Close], draws: int, seed: int):
        self._draws, self._seed = draws, seed
        self._photographs = np.mean([self._means(one, 50 + i) for i, one in enumerate(sets)], axis=0)

    def figures(self, faces: _Close) -> list[Figure]:
        """Sharpness of the face and of the rest; NaN where photographs have none."""
        made, beside = self._means(faces, 0), self._photographs
        ratios = np.where(beside > 0, made / np.where(beside > 0, beside, 1), np.nan)
        return [as_figure(ratios[:, k], len(faces.found)) for k in range(MEASURES)]

    def _means(self, faces: _Close, stream: int) -> Floats:
        weights = drawn_weights(faces.person, self._draws, [self._seed, stream])
        found: Floats = weights @ faces.sharp / weights.sum(axis=1, keepdims=True)
        return found


def _table(rows: list[dict[str, Any]], far: PhotographDistance, judge: Judge, photographs: Photographs) -> Table:
    columns = [
        SYSTEM, Column("n", "pictures", "count"),
        Column("distance", "distance from photographs", "figure", 2, "lower"),
        Column("sharp", "sharpness of the face", "figure", 2),
        Column("sharp_rest", "sharpness of hair and all else", "figure", 2),
        Column("found", "face found", "share figure", 1, "higher"),
    ]  # fmt: skip
    named = ", ".join(f"{name} ({len(one.features)})" for name, one in far.sets.items())
    note = (
        f"Photographs: {photographs.origin}: {named}. Every face is brought to one frame of 256x256 by its 68 points. "
        "Distance: kernel distance (KID's kernel, unbiased) of features of the face without hair and ground, by the "
        f"middle layers of {judge.name}; the mean over the sets, in units of {far.unit_is}. "
        "Sharpness: variance of the Laplacian, photographs are 1; noise and grids are sharp too, so read it beside the "
        "distance. A picture that is smaller than the frame is enlarged, and blurred by that. Intervals from drawing "
        "people anew, those of the voices and those of the photographs."
    )
    return Table("realism", "Distance from photographs, and sharpness", note, columns, rows)


def _between(far: PhotographDistance) -> Table:
    columns = [Column("system", "set", "text"), *(Column(name, name, "figure", 2) for name in far.sets)]
    rows = [
        {"system": one, "_kind": "ceiling", **{other: far.between(one, other) for other in far.sets if other != one}}
        for one in far.sets
    ]
    note = "The same distance of one set from each other set: how far real pictures of other origins are apart."
    return Table("realism_sets", "Sets of photographs among themselves", note, columns, rows, folded=True)


def _few(one: PhotographSet, seed: int) -> PhotographSet:
    places = some(np.random.default_rng([seed, 45]), range(len(one.pictures)), MOST_BLURRED)
    return PhotographSet(one.name, [one.pictures[i] for i in places], [one.person[i] for i in places])


def _blurred(picture: Picture, deviation: float) -> Picture:
    return np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(deviation)))


def _joined(parts: list[_Close]) -> _Close:
    return _Close(
        np.concatenate([one.features for one in parts]), np.concatenate([one.sharp for one in parts]),
        np.concatenate([one.found for one in parts]),
        np.array(list(chain.from_iterable([f"{i} {who}" for who in one.person] for i, one in enumerate(parts)))),
    )  # fmt: skip


def _or_none(figure: Figure) -> Figure | None:
    return figure if np.isfinite(figure.value) else None
