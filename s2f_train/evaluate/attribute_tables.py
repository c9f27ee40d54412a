"""Tables of what a judge reads on made faces: gender, age, and both by group."""

from __future__ import annotations

from typing import Any

import numpy as np

from s2f_train.evaluate.attributes import BANDS, age_band, age_row, gender_row
from s2f_train.evaluate.identity_tables import SYSTEM, Rights
from s2f_train.evaluate.matching import cosines
from s2f_train.evaluate.seen import JudgedPictures, Row, Scene
from s2f_train.evaluate.tables import Column, Figure, Table

BESIDE = ("mean face of the gender", "shuffled voices")  # the baselines that groups are told by
COUNTS = [
    Column(f"{name}_{word}", f"{name} read as {read}", "count")
    for name in ("men", "women")
    for word, read in (("male", "men"), ("female", "women"), ("abstained", "neither"))
]


def gender_tables(scene: Scene, rows: list[Row]) -> list[Table]:
    """By the labels of the data, and by the flag of the male and the female generator."""
    free = [row for row in rows if not row.system.asked]
    label = scene.label[scene.person]
    on_real = scene.gender_on_real[scene.person]
    agreed = np.where(label == on_real, label, "")
    table = []
    for row in [*free, scene.real_of_voices]:
        there = row.seen.there
        found = gender_row(row.seen.readings, np.where(there, label, ""), scene.person, scene.draw)
        right = row.seen.readings.reads(np.where(there, agreed, ""))
        table.append({**row.start, **found, "agreed": scene.draw.mean(right, scene.person)})
    columns = [
        SYSTEM, Column("pictures", "pictures", "count"), *COUNTS,
        Column("right", "right", better="higher"),
        Column("balanced", "balanced", better="higher"),
        Column("abstained", "judge abstains", better="lower"),
        Column("agreed", "right where the judge agrees with the label on the real face", better="higher"),
    ]  # fmt: skip
    read = " AVSpeech's labels are a classifier's reading of the pictures." if _avspeech(scene) else ""
    counted = f"{int((label != '').sum())} of {len(label)} voices are of people whose gender the data say.{read}"
    note = (
        f"{counted} The judge abstains where it finds no face or its probability is between 30 and 70 %; right and "
        "balanced (the mean of men's and women's) read every face at 50 %, and no face is wrong. Real faces are the "
        "judge's own ceiling."
    )
    tables = [Table("gender", "Gender", note, columns, table)]
    flagged = [row for row in rows if row.system.asked]
    if flagged:
        tables.append(_flags(scene, flagged))
    return tables


def _flags(scene: Scene, rows: list[Row]) -> Table:
    table = []
    for row in rows:
        asked = np.full(len(scene.person), row.system.generator[0])
        readings = row.seen.readings
        own = scene.label[scene.person]
        against = np.where((own != "") & (own != asked), asked, "")
        table.append(
            {
                **row.start,
                "pictures": len(asked),
                "right": scene.draw.mean(readings.reads(asked), scene.person),
                "against": scene.draw.mean(readings.reads(against), scene.person),
                "abstained": scene.draw.mean(readings.abstained.astype(np.float64), scene.person),
            }
        )
    columns = [
        SYSTEM, Column("pictures", "pictures", "count"),
        Column("right", "read as asked, whoever speaks", better="higher"),
        Column("against", "... where a person of the other gender speaks", better="higher"),
        Column("abstained", "judge abstains", better="lower"),
    ]  # fmt: skip
    note = "The male and the female generator do as they are asked, so this measures the flag and not the voice."
    return Table("gender_flag", "Gender by the flag", note, columns, table)


def age_table(scene: Scene, rows: list[Row]) -> Table:
    """How old made faces look, beside the labels and beside what the judge reads on the real faces."""
    label, on_real = scene.age[scene.person], scene.age_on_real[scene.person]
    table = []
    for row in [*rows, scene.real_of_voices]:
        there = row.seen.there
        found = age_row(
            row.seen.readings,
            np.where(there, label, np.nan),
            np.where(there, on_real, np.nan),
            scene.person,
            scene.draw,
        )
        if row is scene.real_of_voices:
            found["error_to_real"] = found["correlation_to_real"] = None
        table.append({**row.start, **found})
    columns = [
        SYSTEM, Column("pictures", "pictures", "count"),
        Column("mean", "mean age read", "figure"),
        Column("error", "error to label, years", "figure", 1, "lower"),
        Column("correlation", "correlation with label", "figure", 2, "higher"),
        Column("error_to_real", "error to real face, years", "figure", 1, "lower"),
        Column("correlation_to_real", "correlation with real face", "figure", 2, "higher"),
    ]  # fmt: skip
    note = (
        "Age in years that the judge reads on made faces: mean absolute error and Pearson's correlation, to the label "
        "and to what the same judge reads on the real face."
    )
    if _avspeech(scene):
        note += " AVSpeech's ages are a classifier's reading of the normalised faces, and no better than that."
    return Table("age", "Age", note, columns, table)


def groups_table(scene: Scene, rows: list[Row], given: dict[str, Rights]) -> Table:
    """The figures for women, men and age groups separately: they show where a system serves some people worse."""
    age = scene.age_of_group[scene.person]
    bands = np.array([age_band(a) for a in age], dtype="<U16")
    gender, label = scene.gender[scene.person], scene.label[scene.person]
    groups = [("women", gender == "f"), ("men", gender == "m")]
    groups += [(f"age {band}", bands == band) for band in BANDS if (bands == band).any()]
    trials = scene.trials[False, 2]
    table: list[dict[str, Any]] = []
    for row in rows:
        if row.system.kind == "ceiling" or (row.system.kind == "baseline" and not row.system.name.startswith(BESIDE)):
            continue
        own = cosines(np.nan_to_num(row.seen.embeddings), scene.real.embeddings[scene.subjects.own_face])
        read = row.seen.readings.reads(label)
        right = given[row.system.name][False, 2]
        looks = bands_read(row.seen)
        for name, members in groups:
            of_group, band = members[trials.voice], name.removeprefix("age ") if name.startswith("age ") else ""
            as_band = np.where(row.seen.there, looks == band, np.nan)
            table.append(
                {
                    **row.start,
                    "group": name,
                    "voices": int(members.sum()),
                    "gender": _mean(scene, read[members], scene.person[members]),
                    "matching": _mean(scene, right[of_group], scene.person[trials.voice[of_group]]),
                    "below": _known(scene.draw.less_all(right, of_group, scene.person[trials.voice])),
                    "cosine": _mean(scene, own[members], scene.person[members]),
                    "of_age": _mean(scene, as_band[members], scene.person[members]) if band else None,
                    "faces_of_age": int(np.nansum(as_band)) if band else None,
                }
            )
    columns = [
        SYSTEM, Column("group", "group", "text"), Column("voices", "voices", "count"),
        Column("gender", "gender right", better="higher"),
        Column("matching", "matching 1:2, all", better="higher"),
        Column("below", "matching less that of all voices", better="higher"),
        Column("cosine", "cosine, speaker", "figure", 3, "higher"),
        Column("of_age", "made faces read as of this age", better="higher"),
        Column("faces_of_age", "of all made faces, so many", "count"),
    ]  # fmt: skip
    note = (
        "Groups by gender (label, or where there is none what the judge surely reads on the real face) and by age "
        "(label, or the judge's). Gender is right or wrong by the label alone. Small groups have wide intervals. "
        "Made faces read as of this age: of the group's voices, those whose face the judge of age reads so; then how "
        "many of the faces for all voices it reads so. 0 is a system without faces of that age."
    )
    return Table("groups", "By group", note, columns, table)


def _avspeech(scene: Scene) -> bool:
    return any(voice.source == "avspeech" for voice in scene.subjects.voices)


def without_faces_of(scene: Scene, rows: list[Row]) -> list[str]:
    """A sentence for each age of some of the speakers that a system makes no face of."""
    bands = np.array([age_band(age) for age in scene.age_of_group[scene.person]], dtype="<U16")
    return [
        f"{row.system.name} makes no face that the judge reads as {band}, for {int((bands == band).sum())} voices of "
        "people of that age."
        for row in rows
        if row.system.kind == "system"
        for band in BANDS
        if (bands == band).any() and not (bands_read(row.seen) == band).any()
    ]


def bands_read(seen: JudgedPictures) -> np.ndarray[Any, Any]:
    """The age band (of `BANDS`) that the judge reads in each picture; "" where it finds no face."""
    readings = seen.readings
    said = [age_band(age) if found else "" for age, found in zip(readings.age, readings.found, strict=True)]
    return np.array(said, dtype="<U16")


def _mean(scene: Scene, values: np.ndarray[Any, Any], person: np.ndarray[Any, Any]) -> Figure | None:
    return _known(scene.draw.mean(values, person))


def _known(figure: Figure) -> Figure | None:
    return figure if figure.n else None
