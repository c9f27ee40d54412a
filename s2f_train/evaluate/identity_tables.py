"""Tables of whom made faces are like: matching, retrieval, similarity, diversity."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2f_train.data.pictures import pixel_l1
from s2f_train.evaluate.matching import (
    METRICS,
    Ranks,
    cosines,
    galleries,
    gallery_of,
    joined,
    matched,
    ranks,
)
from s2f_train.evaluate.seen import SIZES, Row, Scene
from s2f_train.evaluate.systems import System
from s2f_train.evaluate.tables import Chart, Column, Figure, Table

SYSTEM = Column("system", "faces", "text")
RECALLS = (1, 2, 5, 10)
GALLERY, BLOCKS = 100, 3
MOST_QUERIES = 2000  # for the whole gallery, whose cost is queries times people
CHART_RECALLS = tuple(range(1, 11))

Rights = dict[tuple[bool, int], NDArray[np.float64]]


def rights(scene: Scene, row: Row) -> Rights:
    """(same gender, n) -> of each trial whether it is right, NaN where the system has no picture."""
    found: Rights = {}
    for key, trials in scene.trials.items():
        right = matched(np.nan_to_num(row.seen.embeddings), scene.real.embeddings, trials)
        found[key] = np.where(row.seen.there[trials.voice], right, np.nan)
    return found


def matching_table(scene: Scene, rows: list[Row]) -> tuple[Table, dict[str, Rights]]:
    """Is the speaker's face nearer than others'? Also what every trial gave, by the system's name."""
    columns = [SYSTEM, Column("voices", "voices", "count")]
    for same in (False, True):
        for n in SIZES:
            who = "same gender" if same else "all"
            columns.append(Column(f"{n}_{same}", f"1:{n}, {who}", better="higher"))
    table: list[dict[str, Any]] = []
    given = {}
    for row in rows:
        given[row.system.name] = found = rights(scene, row)
        figures = {
            f"{n}_{same}": scene.draw.mean(right, scene.person[scene.trials[same, n].voice])
            for (same, n), right in found.items()
        }
        table.append({**row.start, "voices": int(row.seen.there.sum()), **figures})
    chance = {f"{n}_{same}": Figure(1 / n, n=len(scene.trials[same, n].voice)) for same, n in scene.trials}
    _add_chance(table, chance)
    note = (
        "A trial is a voice, a real face of its speaker and real faces of n - 1 other people; it is right if, to the "
        "judge, the face made from the voice is nearest to the speaker's (cosine). With impostors of the same gender, "
        "gender no longer helps; there, people whose gender neither the data nor the judge surely tell are left out. "
        "After Wen et al. 2019."
    )
    return Table("matching", "Matching", note, columns, table), given


def difference_table(scene: Scene, rows: list[Row], given: dict[str, Rights]) -> Table | None:
    """Each system less each reference, and less the first system, trial by trial; None where there is one alone."""
    names = [row.system.name for row in rows if row.system.kind == "system"]
    references = [row.system.name for row in rows if row.system.kind == "reference"]
    pairs = [(name, other) for name in names for other in references]
    pairs += [(name, names[0]) for name in names[1:]]
    if not pairs:
        return None
    columns = [SYSTEM]
    columns += [Column(f"{n}_{same}", f"1:{n}, {'same gender' if same else 'all'}") for same, n in scene.trials]
    table = [
        {
            "system": f"{name} less {other}",
            "_kind": "system",
            **{
                f"{n}_{same}": scene.draw.mean(
                    given[name][same, n] - given[other][same, n], scene.person[scene.trials[same, n].voice]
                )
                for same, n in scene.trials
            },
        }
        for name, other in pairs
    ]
    note = (
        "Matching of one less that of the other on the same trials. Where the interval holds 0, these data do not tell "
        "them apart."
    )
    return Table("matching_difference", "Matching, one less the other", note, columns, table)


def retrieval_tables(scene: Scene, rows: list[Row]) -> tuple[list[Table], Chart]:
    """Where the speaker stands among all people; at a gallery of 100 and at the whole one, by three distances."""
    entries, whose = gallery_of(scene.real.embeddings, scene.subjects.face_person, len(scene.subjects.people))
    blocks = galleries(whose, GALLERY, BLOCKS, scene.seed)
    size = len(blocks[0])
    columns = [SYSTEM, Column("queries", "queries", "count")]
    columns += [Column(f"r{k}", f"R@{k}", better="higher") for k in RECALLS]
    columns.append(Column("median", "median rank", "figure", better="lower"))
    lines: dict[str, list[Figure | None]] = {}
    small: dict[str, list[dict[str, Any]]] = {metric: [] for metric in METRICS}
    whole: dict[str, list[dict[str, Any]]] = {metric: [] for metric in METRICS}
    for row in rows:
        here = row.seen.there
        made, person = row.seen.embeddings[here], scene.person[here]
        some = np.random.default_rng([scene.seed, 17]).permutation(len(made))[:MOST_QUERIES]
        for metric in METRICS:
            found = joined([ranks(made, person, entries, whose, block, metric) for block in blocks])
            small[metric].append({**row.start, **_ranked(scene, found)})
            if metric == METRICS[0] and row.system.compared:
                lines[row.system.name] = [scene.draw.mean(found.recall(k), found.person) for k in CHART_RECALLS]
            found = ranks(made[some], person[some], entries, whose, whose, metric)
            whole[metric].append({**row.start, **_ranked(scene, found)})
    how = "The entry of a person is the mean embedding of their real faces; the query is the face made from a voice."
    parted = f" {len(blocks)} disjoint galleries of {size} people." if len(blocks) > 1 else f" One gallery of {size}."
    tables = []
    for key, people, found_by in ((f"retrieval_{GALLERY}", size, small), ("retrieval_whole", len(whose), whole)):
        note = f"{how}{parted if found_by is small else ''} After Oh et al. 2019."
        for by, table in found_by.items():
            chance = {f"r{k}": Figure(min(1.0, k / people)) for k in RECALLS}
            _add_chance(table, {**chance, "median": Figure((people + 1) / 2)})
            whole_said = "whole gallery" if found_by is whole else "gallery"
            title, first = f"Retrieval, {whole_said} of {people}, by {by}", by == METRICS[0]
            tables.append(Table(f"{key}_{by}", title, note if first else "", columns, table, folded=not first))
    lines["chance"] = [Figure(min(1.0, k / size)) for k in CHART_RECALLS]
    chart = Chart(
        "recall", f"Found among the first k of {size}", f"R@k by {METRICS[0]}.", "k", "R@k",
        [str(k) for k in CHART_RECALLS], lines,
    )  # fmt: skip
    return tables, chart


def _add_chance(table: list[dict[str, Any]], chance: dict[str, Figure]) -> None:
    """The last of the baselines: before the ceiling."""
    place = sum(row["_kind"] != "ceiling" for row in table)
    table.insert(place, {"system": "chance", "_kind": "baseline", **chance})


def _ranked(scene: Scene, found: Ranks) -> dict[str, Any]:
    recalls = {f"r{k}": scene.draw.mean(found.recall(k), found.person) for k in RECALLS}
    return {"queries": len(found.person), **recalls, "median": scene.draw.median(found.rank, found.person)}


def similarity_table(scene: Scene, rows: list[Row]) -> Table:
    """How near a made face is to the speaker's real one, beside what another person's face scores."""
    columns = [
        SYSTEM,
        Column("cosine", "cosine, speaker", "figure", 3, "higher"),
        Column("cosine_wrong", "cosine, another", "figure", 3),
        Column("cosine_gain", "difference", "figure", 3, "higher"),
        Column("l1", "pixel L1, speaker", "figure", 1, "lower"),
        Column("l1_wrong", "pixel L1, another", "figure", 1),
        Column("found", "face found", "share figure", 1, "higher"),
    ]
    trials = scene.trials[False, SIZES[0]]
    wrong_of = trials.faces[:, 1]
    table = []
    for row in rows:
        seen, there, own = row.seen, row.seen.there, scene.subjects.own_face
        right = _where(there, cosines(np.nan_to_num(seen.embeddings), scene.real.embeddings[own]))
        wrong = cosines(np.nan_to_num(seen.embeddings[trials.voice]), scene.real.embeddings[wrong_of])
        wrong = _per_voice(_where(there[trials.voice], wrong), trials.voice, len(there))
        l1 = _where(there, pixel_l1(seen.pixels, scene.real.pixels, np.arange(len(own)), own))
        l1_wrong = _where(there[trials.voice], pixel_l1(seen.pixels, scene.real.pixels, trials.voice, wrong_of))
        person = scene.person
        table.append(
            {
                **row.start,
                "cosine": scene.draw.mean(right, person),
                "cosine_wrong": scene.draw.mean(wrong, person),
                "cosine_gain": scene.draw.mean(right - wrong, person),
                "l1": scene.draw.mean(l1, person),
                "l1_wrong": scene.draw.mean(l1_wrong, person[trials.voice]),
                "found": scene.draw.mean(_where(there, seen.found.astype(np.float64)), person),
            }
        )
    note = (
        "Cosine of the judge's embeddings and mean difference per pixel (0 to 255, at "
        f"{scene.real.size}) of a made face and a real one: the speaker's, and those of the impostors of the 1:2 "
        "trials. Only the difference says anything about the voice. Face found is the share of made faces in which the "
        "detector finds one; the others are cut where an aligned face lies, and none is left out."
    )
    return Table("similarity", "Similarity", note, columns, table)


def spread_table(scene: Scene, rows: list[Row]) -> Table:
    """How different the faces of different voices are."""
    columns = [
        SYSTEM,
        Column("cosine", "cosine, different people", "figure", 3, "lower"),
        Column("pixels", "spread of pixels", "number", 1, "higher"),
    ]
    table = []
    real = Row(System("real faces", "ceiling", []), scene.real)
    for row, person in [*((r, scene.person) for r in rows), (real, scene.subjects.face_person)]:
        there = row.seen.there
        table.append(
            {
                **row.start,
                "cosine": scene.draw.cosine_between(row.seen.embeddings[there], person[there]),
                "pixels": float(row.seen.pixels[there].astype(np.float64).std(axis=0).mean()),
            }
        )
    note = (
        "Mean cosine of the faces made for two different people (lower is more diverse), and the standard deviation of "
        f"a pixel over all faces, at {scene.real.size}. A system that always makes one face has 1 and 0."
    )
    return Table("diversity", "Diversity", note, columns, table)


def _where(there: NDArray[np.bool_], values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(there, values, np.nan)


def _per_voice(values: NDArray[np.float64], voice: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """The mean over the trials of each voice."""
    sums, counts = np.bincount(voice, values, count), np.bincount(voice, minlength=count)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
