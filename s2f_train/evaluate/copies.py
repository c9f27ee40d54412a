"""Does a pack show people of its training? The nearest training picture of every made face."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2f_train.data.frame import VIEW as PORTRAIT
from s2f_train.data.store import Sample, Store
from s2f_train.evaluate.identity_tables import SYSTEM
from s2f_train.evaluate.intervals import Bootstrap
from s2f_train.evaluate.looking import Judges
from s2f_train.evaluate.matching import nearest
from s2f_train.evaluate.seen import Row, Scene
from s2f_train.evaluate.subjects import StoredPictures
from s2f_train.evaluate.systems import System
from s2f_train.evaluate.tables import Column, Grid, Part, Picture, Section, Table
from s2f_train.evaluate.whole_pictures import WholePictures, compare_whole, whole_table

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
    """Looks at all pictures of the training split, of the data sets that the people are of, and at all portraits."""
    alike = {face.source for face in scene.subjects.faces}
    learnt = [
        f
        for f in store.faces
        if store.identities[f.identity].split == "train" and (f.source in alike or f.view == PORTRAIT)
    ]
    text = (
        "A pack that has memorised pictures makes faces that are nearer to pictures of training than to as many "
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
    parts: list[Part] = [table]
    wholes = [
        whole
        for view in _views_of(scene, learnt)
        if (whole := compare_whole(scene, shown, learnt, view, store, judges))
    ]
    if wholes:
        parts.append(whole_table(wholes))
    for row in shown[:1]:
        parts += _grids(scene, row, learnt, judged, store)
        parts += [_whole_grid(scene, row, whole, store) for whole in wholes]
    return Section("Copies", text, parts)


def _views_of(scene: Scene, learnt: list[Sample]) -> list[str]:
    """The views whose pictures are photographs: that of the real faces, and portraits, where there are some."""
    views = {face.view for face in learnt}
    return [view for view in dict.fromkeys([scene.subjects.faces[0].view, PORTRAIT]) if view in views]


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


def _grids(scene: Scene, row: Row, learnt: list[Sample], judged: Floats, store: Store) -> Iterator[Grid]:
    """The nearest pairs by the judge, of each view of photographs."""
    voices = np.flatnonzero(row.seen.there)
    for view in _views_of(scene, learnt) if len(voices) else ():
        photographs = np.array([i for i, face in enumerate(learnt) if face.view == view], np.int64)
        far, which = nearest(row.seen.embeddings[voices], judged[photographs])
        known = [learnt[int(i)] for i in photographs]
        key = "copies_nearest" if view == scene.subjects.faces[0].view else f"copies_nearest_{view}"
        note = f"The made faces that are nearest to a {view} of training, each of these once, with the distance."
        yield _pairs(scene, row, voices, far, which, known, store, (key, f"The nearest pairs, {view}", note, view), 3)


def _whole_grid(scene: Scene, row: Row, whole: WholePictures, store: Store) -> Grid:
    note = (
        f"The made faces whose whole picture, hair and ground too, is nearest to a {whole.view} of training at 32x32 "
        "(or to its mirror image), with the face of both on one frame: each of these once, with the mean difference."
    )
    head = (f"copies_whole_{whole.view}", f"The nearest pairs by the whole picture, {whole.view}", note, whole.view)
    voices, (far, which) = np.flatnonzero(row.seen.there), whole.framed[row.system.name]
    return _pairs(scene, row, voices, far, which, whole.learnt, store, head, 1)


def _pairs(
    scene: Scene, row: Row, voices: Ints, far: Floats, which: Ints, known: list[Sample], store: Store,
    head: tuple[str, str, str, str], digits: int,
) -> Grid:  # fmt: skip
    """Every picture of training once, with the speaker's own face beside; `head` is key, title, note and view."""
    pictures, real = StoredPictures(store, known), StoredPictures(store, scene.subjects.faces)
    order = np.argsort(far, kind="stable")
    _, first = np.unique(which[order], return_index=True)
    lines = [
        (
            f"{far[i]:.{digits}f}",
            [
                row.system.pictures[voices[i]],
                pictures[int(which[i])],
                real[int(scene.subjects.own_face[voices[i]])],
            ],
        )
        for i in order[np.sort(first)[:NEAREST_PAIRS]].tolist()
    ]
    key, title, note, view = head
    return Grid(key, title, note, [row.system.name, f"{view} of training", "the speaker's real face"], lines)
