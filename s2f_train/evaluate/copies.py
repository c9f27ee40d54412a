"""Does a pack show people of its training? The nearest training picture of every made face."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2f_train.data.store import Sample, Store
from s2f_train.evaluate.identity_tables import SYSTEM
from s2f_train.evaluate.intervals import Bootstrap
from s2f_train.evaluate.looking import Judges
from s2f_train.evaluate.matching import distances, parts
from s2f_train.evaluate.seen import Row, Scene
from s2f_train.evaluate.subjects import StoredPictures
from s2f_train.evaluate.systems import System
from s2f_train.evaluate.tables import Column, Grid, Picture, Section, Table

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
NEAREST_PAIRS = 10


@dataclass(frozen=True)
class Faceless:
    """Faces that a pack made for held-out speakers of whom there is no picture.

    Attributes:
        name: of the row, such as "default: general, librispeech".
        pictures: uint8 (h, w, 3), each.
        speaker: (n,), a number from 0, whose voice each is of.
    """

    name: str
    pictures: list[Picture]
    speaker: Ints


def copies_section(
    scene: Scene, rows: list[Row], store: Store, judges: Judges, faceless: Sequence[Faceless] = ()
) -> Section:
    """Looks at all pictures of the training split, of the data sets that the people are of."""
    alike = {face.source for face in scene.subjects.faces}
    learnt = [f for f in store.faces if store.identities[f.identity].split == "train" and f.source in alike]
    text = (
        "A pack that has learnt pictures by heart makes faces that are nearer to pictures of training than to as many "
        "pictures that it never saw, and nearer than real faces of other people are."
    )
    if not learnt:
        return Section("Copies", f"{text} The store has no pictures of training of these data sets.", [])
    judged = judges.embed(StoredPictures(store, learnt), "training pictures")
    shown = [row for row in rows if row.system.compared]
    table = _table(scene, shown, learnt, judged, judges.recogniser.same_person)
    for more in faceless:
        made = judges.embed(more.pictures, more.name)
        table.rows.extend(_faceless_rows(scene, more, made, learnt, judged, judges.recogniser.same_person))
    return Section("Copies", text, [table, *_grids(scene, shown[:1], learnt, judged, store)])


def _table(scene: Scene, rows: list[Row], learnt: list[Sample], judged: Floats, threshold: float | None) -> Table:
    views = np.array([face.view for face in learnt])
    own_view = scene.subjects.faces[0].view
    real = Row(System("real faces", "baseline", []), scene.real)
    table: list[dict[str, Any]] = []
    for view in sorted(set(views)):
        pictures = judged[views == view]
        for row in [*rows, real]:
            there = row.seen.there
            person = (scene.subjects.face_person if row is real else scene.person)[there]
            made = row.seen.embeddings[there]
            far, _ = nearest(made, pictures)
            cells: dict[str, Any] = {"nearest": scene.draw.median(far, person)}
            if threshold:
                cells["same"] = scene.draw.mean((far < threshold).astype(np.float64), person)
            if view == own_view and len(pictures) >= len(scene.real.embeddings):
                cells |= _beside_unseen(scene, made, person, pictures)
            table.append({**row.start, "view": view, "pictures": len(pictures), **cells})
    columns = [
        SYSTEM,
        Column("view", "pictures of training", "text"),
        Column("pictures", "of these", "count"),
        Column("nearest", "distance to the nearest, median", "figure", 3),
        Column("same", "nearest within the threshold", "share figure", 1, "lower"),
        Column("some", "nearest of fewer of these", "figure", 3),
        Column("unseen", "nearest of as many unseen", "figure", 3),
    ]
    said = f" The judge calls two faces one person below {threshold:g}; of so many, somebody is." if threshold else ""
    note = (
        f"L2 distance of the judge's embeddings.{said} The last two columns: to as many pictures of training as there "
        "are real faces here, and to these real faces, which no training saw, without the speaker's own."
    )
    return Table("copies", "The nearest picture of training", note, columns, table)


def _faceless_rows(
    scene: Scene, more: Faceless, made: Floats, learnt: list[Sample], judged: Floats, threshold: float | None
) -> Iterator[dict[str, Any]]:
    draw = Bootstrap(int(more.speaker.max()) + 1, scene.draw.draws, scene.seed)
    views = np.array([face.view for face in learnt])
    for view in sorted(set(views)):
        far, _ = nearest(made, judged[views == view])
        row = {
            "system": more.name,
            "_kind": "system",
            "_note": "",
            "view": view,
            "pictures": int((views == view).sum()),
        }
        row["nearest"] = draw.median(far, more.speaker)
        if threshold:
            row["same"] = draw.mean((far < threshold).astype(np.float64), more.speaker)
        yield row


def _beside_unseen(scene: Scene, made: Floats, person: Ints, pictures: Floats) -> dict[str, Any]:
    count = len(scene.real.embeddings)
    some = pictures[np.random.default_rng([scene.seed, 31]).permutation(len(pictures))[:count]]
    unseen, _ = nearest(made, scene.real.embeddings, person, scene.subjects.face_person)
    return {
        "some": scene.draw.median(nearest(made, some)[0], person),
        "unseen": scene.draw.median(unseen, person),
    }


def nearest(
    made: Floats, known: Floats, made_person: Ints | None = None, known_person: Ints | None = None
) -> tuple[Floats, Ints]:
    """The L2 distance of each made face to the nearest known one, and which that is.

    Args:
        made, known: embeddings, (n, d) and (m, d).
        made_person, known_person: whose each is; with them, those of one person are passed over.
    """
    far, which = np.empty(len(made)), np.empty(len(made), np.int64)
    for part in parts(len(made), known.size):
        found = distances(made[part], known, "L2")
        if made_person is not None and known_person is not None:
            found[made_person[part][:, None] == known_person] = np.inf
        which[part], far[part] = found.argmin(axis=1), found.min(axis=1)
    return far, which


def _grids(scene: Scene, rows: list[Row], learnt: list[Sample], judged: Floats, store: Store) -> list[Grid]:
    """The nearest pairs of the first system, every picture of training once, with the speaker's own face beside."""
    if not rows:
        return []
    row, pictures, real = rows[0], StoredPictures(store, learnt), StoredPictures(store, scene.subjects.faces)
    own_view = scene.subjects.faces[0].view
    photographs = np.array([i for i, face in enumerate(learnt) if face.view == own_view], np.int64)
    voices = np.flatnonzero(row.seen.there)
    if not len(photographs):
        return []
    far, which = nearest(row.seen.embeddings[voices], judged[photographs])
    order = np.argsort(far, kind="stable")
    _, first = np.unique(which[order], return_index=True)
    lines = [
        (
            f"{far[i]:.3f}",
            [
                row.system.pictures[voices[i]],
                pictures[int(photographs[which[i]])],
                real[int(scene.subjects.own_face[voices[i]])],
            ],
        )
        for i in order[np.sort(first)[:NEAREST_PAIRS]].tolist()
    ]
    note = f"The made faces that are nearest to a {own_view} of training, each of these once, with the distance."
    columns = [row.system.name, f"{own_view} of training", "the speaker's real face"]
    return [Grid("copies_nearest", "The nearest pairs", note, columns, lines)]
