"""Tables of made faces as a set of pictures: distances to real ones, and the thesis's own table 5.2."""

from __future__ import annotations

from typing import Any

import numpy as np

from s2f_train.evaluate.distribution import Spread, by_size, frechet_distance, kid_figure, thesis_protocol
from s2f_train.evaluate.identity_tables import SYSTEM
from s2f_train.evaluate.seen import Row, Scene
from s2f_train.evaluate.tables import Chart, Column, Figure, Table

THESIS_N = 30
SMALL = 2048  # under so many pictures a Fréchet distance says nothing alone
SIZES = (10, 20, 30, 50, 75, 100, 150, 200, 300, 500, 1000, 2000, 5000)
# Thesis of 2023, table 5.2. Its feature network is not named, so no figure here can be set beside them.
PRINTED = {
    "general": (114.44, 61.95, 0.245),
    "female": (126.37, 29.41, 0.399),
    "male": (129.30, 33.09, 0.209),
    "Wen et al.'s generator": (117.43, 59.49, 0.337),
}


def distance_table(scene: Scene, rows: list[Row], label: str) -> Table:
    """Fréchet and kernel distance to real faces, each beside that of real from real at the same number.

    Args:
        label: what the Fréchet distance in these features is called.
    """
    real, others, person = scene.real, scene.others, scene.subjects.face_person
    numbers: dict[str, int] = {}
    named = [face.identity for face in scene.subjects.others[: len(others.found)]]
    of_others = np.array([len(scene.subjects.people) + numbers.setdefault(name, len(numbers)) for name in named])
    columns = [
        SYSTEM, Column("n", "made", "count"), Column("m", "real", "count"),
        Column("kid", "kernel distance, ×1000", "figure", 2, "lower"),
        Column("kid_real", "real from real", "figure", 2),
        Column("fid", label, "number", _digits(label), "lower"),
        Column("fid_real", "real from real", "number", _digits(label)),
    ]  # fmt: skip
    table: list[dict[str, Any]] = []
    for row in rows:
        there = row.seen.there
        made = row.seen.features[there]
        beside: dict[str, Any] = {}
        if 2 <= len(made) <= len(others.features):
            # Real faces of other people in the place of the made ones.
            instead = others.features[: len(made)]
            beside["fid_real"] = frechet_distance(instead, real.features)
            beside["kid_real"] = _thousand(kid_figure(instead, real.features, of_others[: len(made)], person))
        if len(made) >= 2:
            beside["kid"] = _thousand(kid_figure(made, real.features, scene.person[there], person))
            beside["fid"] = frechet_distance(made, real.features)
        table.append({**row.start, "n": len(made), "m": len(real.features), **beside})
    note = (
        f"All pictures at {scene.side}x{scene.side}. The kernel distance (KID, times 1,000) has no bias and is the "
        f"figure to read; its interval is by jackknife over people. Under {SMALL:,} pictures the Fréchet distance is "
        "mostly bias: real from real is what as many real faces of other people score against the same ones. Where "
        "fewer are at hand, it is missing, and the Fréchet distance cannot be read."
    )
    return Table("distance", "Distance to real faces", note, columns, table)


def size_chart(scene: Scene, rows: list[Row], label: str) -> Chart | None:
    """How the Fréchet distance of the first system falls with the number of pictures; None where there are few."""
    row = next((row for row in rows if row.system.compared), None)
    if row is None:
        return None
    made = row.seen.features[row.seen.there]
    others = scene.others.features if len(scene.others.features) >= SIZES[0] else None
    most = min(len(made), len(scene.real.features), len(scene.real.features) // 2 if others is None else len(others))
    sizes = [size for size in SIZES if size < most] + [most]
    if most < SIZES[0]:
        return None
    points = by_size(made, scene.real.features, others, sizes, seed=scene.seed, person=scene.subjects.face_person)
    return Chart(
        "size", f"{label} by number of pictures",
        "The same faces, more and more of them: what falls is bias. Range over 20 draws.",
        "pictures", label, [str(point.n) for point in points],
        {row.system.name: [point.made for point in points], "real from real": [point.real for point in points]}, False,
    )  # fmt: skip


def thesis_table(scene: Scene, rows: list[Row], label: str) -> Table:
    """Table 5.2 as the thesis computed it: FID, L1 and cosine of 30 pictures; and what it leaves out."""
    digits = _digits(label)
    columns = [
        SYSTEM, Column("of", "voices of", "text"), Column("n", "pictures", "count"),
        Column("fid", f"{label}, at this number", "number", digits),
        Column("fid_sd", "± over draws", "number", digits),
        Column("fid_real", "real from real", "number", digits),
        Column("fid_full", "made, at all pictures", "figure", digits),
        Column("full_real", "real from real, at all", "figure", digits),
        Column("kid", "kernel distance of all, ×1000", "figure", 2, "lower"),
        Column("l1", "pixel L1", "number", 1), Column("l1_sd", "± over draws", "number", 1),
        Column("cosine", "cosine", "number", 3), Column("cosine_sd", "± over draws", "number", 3),
    ]  # fmt: skip
    wanted = {"male": ("men", "m"), "female": ("women", "f")}
    table: list[dict[str, Any]] = []
    for row in rows:
        if row.system.generator == "auto" or row.system.kind == "ceiling":
            continue
        of, gender = wanted.get(row.system.generator, ("all", ""))
        mine = row.seen.there & ((gender == "") | (scene.gender[scene.person] == gender))
        if mine.sum() >= 2:
            table.append({**row.start, "of": of, **_thesis_row(scene, row, mine, gender)})
    note = (
        f"What the thesis measured, on {THESIS_N} pictures: the mean of 20 draws and their standard deviation. Read "
        "the distance beside that of real faces from other real faces at the same number: so much of it is bias. The "
        "kernel distance of all pictures is the one to trust. L1 and cosine are of a made face and the speaker's "
        f"real one, L1 at {scene.real.size}."
    )
    return Table("thesis", "Table 5.2 of the thesis, by its own protocol", note, columns, table)


def printed_table() -> Table:
    """Table 5.2 as it stands in the thesis."""
    columns = [
        Column("system", "model", "text"), Column("fid", "FID", "number", 2), Column("l1", "pixel L1", "number", 2),
        Column("cosine", "cosine", "number", 3),
    ]  # fmt: skip
    table = [
        {"system": name, "_kind": "baseline", "fid": fid, "l1": l1, "cosine": cosine}
        for name, (fid, l1, cosine) in PRINTED.items()
    ]
    note = (
        f"Of {THESIS_N} faces of other people, by feature networks that the thesis does not name: nothing above can be "
        "set beside these figures. Two samples of one distribution have an FID of about 120 at this number."
    )
    return Table("thesis_printed", "Table 5.2 as it is printed in the thesis", note, columns, table, folded=True)


def _thesis_row(scene: Scene, row: Row, mine: np.ndarray[Any, Any], gender: str) -> dict[str, Any]:
    own = scene.subjects.own_face[mine]
    seen, real, person = row.seen[mine], scene.real[own], scene.person[mine]
    others = scene.others.features
    if gender:
        others = others[scene.others.readings.reads(np.full(len(others), gender)) == 1]
    found = thesis_protocol(
        seen.features, real.features, others if len(others) >= THESIS_N else None, seen.pixels, real.pixels,
        THESIS_N, seed=scene.seed, person=person,
    )  # fmt: skip
    kid = kid_figure(seen.features, real.features, person, person)
    spreads: dict[str, Spread] = {"fid": found.frechet, "l1": found.l1, "cosine": found.cosine}
    figures = {
        f"{name}{end}": getattr(s, field) for name, s in spreads.items() for end, field in (("", "mean"), ("_sd", "sd"))
    }
    figures |= {"fid_real": found.frechet_real.mean}
    return {"n": found.n, "fid_full": found.full, "full_real": found.full_real, "kid": _thousand(kid), **figures}


def _digits(label: str) -> int:
    """Of a Fréchet distance: in other features than Inception's it is small."""
    return 2 if label.startswith("FID") else 4


def _thousand(figure: Figure) -> Figure:
    low, high = (None if end is None else 1000 * end for end in (figure.low, figure.high))
    return Figure(1000 * figure.value, low, high, figure.n)
