"""What stands above and beside a report: the tiles of the first system, and the list of all trials."""

from __future__ import annotations

import csv
import io

import numpy as np

from s2f_train.evaluate.identity_tables import Rights
from s2f_train.evaluate.seen import Row, Scene
from s2f_train.evaluate.tables import Figure, Section, Table
from s2f_train.evaluate.voices import VoiceTrial

# (table, column, what it is called), of the tiles.
TILES = (
    ("matching", "2_False", "matching 1:2, all"),
    ("matching", "2_True", "matching 1:2, same gender"),
    ("retrieval_100_cosine", "r10", "R@10"),
    ("gender", "right", "gender right"),
    ("distance", "kid", "kernel distance to real faces, x1000"),
    ("realism", "distance", "distance from photographs, whose sets are 1 apart"),
)


def summary(scene: Scene, rows: list[Row], sections: list[Section]) -> list[tuple[str, str]]:
    """The figures of the first system as (words, what it is)."""
    tables = {part.key: part for section in sections for part in section.parts if isinstance(part, Table)}
    first = next((row.system.name for row in rows if row.system.compared), None)
    heard = len(np.unique(scene.person))
    tiles = [(str(heard), "people"), (str(len(scene.person)), "voices")]
    for key, column, what in TILES:
        if key not in tables:
            continue
        kind = next(c.kind for c in tables[key].columns if c.key == column)
        for row in tables[key].rows:
            figure = row.get(column)
            if row["system"] != first or not isinstance(figure, Figure):
                continue
            if np.isfinite(figure.value):
                of = f", {tables[key].title[0].lower()}{tables[key].title[1:]}" if key.startswith("retrieval") else ""
                tiles.append((words(figure, kind == "share figure"), f"{what}{of}: {first}"))
    return tiles


def trials_csv(scene: Scene, given: dict[str, Rights], voices: dict[str, list[VoiceTrial]]) -> bytes:
    """Every trial: which faces for which voice, and what each system got; then the pairs of voices.

    Args:
        given: name of a system -> what it got.
        voices: name of a pack -> its pairs.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["protocol", "impostors", "n", "voice", "speaker", "others", *given, "score"])
    subjects = scene.subjects
    for (same, n), trials in scene.trials.items():
        kind = "same gender" if same else "all"
        got = [rights[same, n] for rights in given.values()]
        for row, (voice, faces) in enumerate(zip(trials.voice, trials.faces, strict=True)):
            keys = [subjects.faces[face].key for face in faces]
            said = ["" if np.isnan(right[row]) else f"{right[row]:g}" for right in got]
            writer.writerow(["matching", kind, n, subjects.voices[voice].key, keys[0], " ".join(keys[1:]), *said, ""])
    empty = [""] * len(given)
    for name, pairs in voices.items():
        for pair in pairs:
            protocol = f"voices to {name}, {pair.condition}" if pair.condition else f"voices to {name}"
            kind = "same speaker" if pair.same else "another speaker"
            writer.writerow([protocol, kind, 2, pair.enrolled, pair.tested, "", *empty, f"{pair.score:.6f}"])
    return file.getvalue().encode()


def words(figure: Figure, share: bool) -> str:
    """A figure with its interval as text."""
    scale, digits, unit = (100, 1, " %") if share else (1, 2, "")
    said = f"{scale * figure.value:.{digits}f}{unit}"
    if figure.low is None or figure.high is None:
        return said
    return f"{said} ({scale * figure.low:.{digits}f} to {scale * figure.high:.{digits}f})"
