"""Made faces beside pictures of training as whole pictures, hair and ground included: what no judge of faces sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2f_train.data.frame import VIEW as PORTRAIT
from s2f_train.data.store import Sample, Store
from s2f_train.evaluate.framing import SMALL, Thumbnails
from s2f_train.evaluate.identity_tables import SYSTEM
from s2f_train.evaluate.intervals import Bootstrap, Floats, Ints
from s2f_train.evaluate.judging import judge_all
from s2f_train.evaluate.looking import Judges
from s2f_train.evaluate.matching import nearest
from s2f_train.evaluate.seen import Row, Scene
from s2f_train.evaluate.subjects import StoredPictures
from s2f_train.evaluate.tables import Column, Figure, Table

MOST_UNSEEN = 1000  # pictures that no training saw


@dataclass(frozen=True)
class WholePictures:
    """Made faces held against the pictures of training of a view.

    Attributes:
        view: such as "portrait".
        learnt: the pictures of training.
        framed: name of a system -> of each of its faces the distance to the nearest of them, and which that is; with
            the face of both on one frame.
        rows: of the table.
    """

    view: str
    learnt: list[Sample]
    framed: dict[str, tuple[Floats, Ints]]
    rows: list[dict[str, Any]]


def compare_whole(
    scene: Scene, rows: list[Row], learnt: list[Sample], view: str, store: Store, judges: Judges
) -> WholePictures | None:
    """Nearest pictures of training by the whole picture at 32x32, with the face on one frame and as it is.

    Beside made faces stand pictures of the view that no training saw: those of other splits.

    Args:
        learnt: pictures of training, of all views.

    Returns:
        None where none of the view was learnt.
    """
    known = [face for face in learnt if face.view == view]
    if not known:
        return None
    sources = {face.source for face in known}
    unseen = [
        f
        for f in store.faces
        if f.view == view and f.source in sources and store.identities[f.identity].split != "train"
    ]
    unseen = [unseen[i] for i in np.random.default_rng([scene.seed, 48]).permutation(len(unseen))[:MOST_UNSEEN]]

    def small(pictures: Any, framed: bool, what: str) -> Floats:
        return judge_all(Thumbnails(framed), pictures, judges.cache, judges.jobs, what)[:, :-1].astype(np.float64)

    # A portrait lies on the frame already.
    on_frame = view == PORTRAIT
    training = [small(StoredPictures(store, known), framed, f"{view}s of training") for framed in (not on_frame, False)]
    found: dict[str, tuple[Floats, Ints]] = {}
    table: list[dict[str, Any]] = []

    def add(start: dict[str, Any], far: list[Floats], person: Ints, draw: Bootstrap) -> None:
        cells: dict[str, Any] = {"view": view, "pictures": len(known)}
        for name, one in zip(("framed", "plain"), far, strict=True):
            cells[name] = draw.median(one, person)
            cells[f"{name}_least"] = Figure(float(one.min()), n=len(one))
        table.append({**start, **cells})

    for row in rows:
        pictures = [picture for picture in row.system.pictures if picture is not None]
        if not pictures:
            continue
        near = [
            nearest_whole(small(pictures, framed, f"{row.system.name}, whole"), training[not framed])
            for framed in (True, False)
        ]
        found[row.system.name] = near[0]
        add(row.start, [far for far, _ in near], scene.person[row.seen.there], scene.draw)
    if unseen:
        people = {name: i for i, name in enumerate(sorted({face.identity for face in unseen}))}
        near = [
            nearest_whole(
                small(StoredPictures(store, unseen), framed and not on_frame, f"{view}s unseen"), training[not framed]
            )
            for framed in (True, False)
        ]
        person = np.array([people[face.identity] for face in unseen], np.int64)
        draw = Bootstrap(len(people), scene.draw.draws, scene.seed)
        start = {"system": f"{view}s that no training saw", "_kind": "baseline", "_note": ""}
        add(start, [far for far, _ in near], person, draw)
    return WholePictures(view, known, found, table)


def nearest_whole(made: Floats, known: Floats) -> tuple[Floats, Ints]:
    """The nearest known picture (or its mirror image) of each generated one: root mean square difference, and which.

    Args:
        made, known: (n, 32 * 32 * 3) and (m, 32 * 32 * 3), 0 to 255.

    Returns:
        (n,) in levels of 256, and (n,).
    """
    mirrored: NDArray[np.float64] = made.reshape(-1, SMALL, SMALL, 3)[:, :, ::-1].reshape(made.shape)
    (far, which), (far_mirrored, which_mirrored) = nearest(made, known), nearest(mirrored, known)
    closer = far_mirrored < far
    return np.where(closer, far_mirrored, far) / np.sqrt(made.shape[1]), np.where(closer, which_mirrored, which)


def whole_table(wholes: list[WholePictures]) -> Table:
    """The table of all views."""
    columns = [
        SYSTEM, Column("view", "pictures of training", "text"), Column("pictures", "of these", "count"),
        Column("framed", "nearest, face on one frame, median", "figure", 1),
        Column("framed_least", "the smallest", "figure", 1),
        Column("plain", "nearest, as it is, median", "figure", 1),
        Column("plain_least", "the smallest", "figure", 1),
    ]  # fmt: skip
    note = (
        f"Root mean square difference of whole pictures at {SMALL}x{SMALL}, hair and ground too, in levels of 256, to "
        "the nearest picture of training or its mirror image; with the face of both on one frame, and as the pictures "
        "are. Made faces nearer to training than pictures that no training saw are suspect; smooth ones are nearer to "
        "everything, so look at the pairs."
    )
    return Table("copies_whole", "The nearest picture of training, hair and ground included", note, columns,
                 [row for whole in wholes for row in whole.rows])  # fmt: skip
