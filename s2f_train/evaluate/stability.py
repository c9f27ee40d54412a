"""Is it the same face when the same person speaks again?"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2f_edge import Speech2Face
from s2f_train.data.store import Sample, Store
from s2f_train.evaluate.hearing import hear_all, speech_of
from s2f_train.evaluate.identity_tables import SYSTEM
from s2f_train.evaluate.intervals import Bootstrap
from s2f_train.evaluate.looking import Judges
from s2f_train.evaluate.matching import cosines, pairs_of_people
from s2f_train.evaluate.seen import Row, Scene
from s2f_train.evaluate.systems import faces_of, main_generator
from s2f_train.evaluate.tables import Column, Table

HALVES_S = 4.0  # a recording of so much speech is also heard in two halves
MOST_VOICES = 300
PAIRS_A_PERSON = 10


def stability_table(
    scene: Scene, rows: list[Row], models: dict[str, Speech2Face], store: Store, judges: Judges, draws: int
) -> Table:
    """Packs on all voices of the split, also in halves; other systems on the voices that they have."""
    found: list[dict[str, Any]] = []
    voices = [*scene.subjects.voices, *scene.subjects.alone]
    compared = {row.system.name for row in rows}
    for name, model in models.items():
        if f"{name}: {main_generator(model)}" in compared:
            found += _of_pack(name, model, voices, store, judges, draws, scene.seed)
    for row in rows:
        if row.system.kind == "reference" or (row.system.kind == "system" and not row.system.generator):
            found.append(
                {**row.start, **_pairs("two recordings", row.seen.embeddings, scene.person, scene.draw, scene.seed)}
            )
    real = _pairs("two photographs", scene.real.embeddings, scene.subjects.face_person, scene.draw, scene.seed)
    found.append({"system": "real faces", "_kind": "ceiling", **real})
    columns = [
        SYSTEM,
        Column("what", "of one speaker", "text"),
        Column("people", "people", "count"),
        Column("pairs", "pairs", "count"),
        Column("within", "cosine, one speaker", "figure", 3, "higher"),
        Column("across", "cosine, two speakers", "figure", 3),
        Column("nearer", "the same speaker's is nearer", "share figure", 1, "higher"),
    ]
    note = (
        "Cosine of two faces made from two recordings of one speaker, or from the two halves of one recording, beside "
        "faces of two speakers. The last column is how often the first is nearer than the second; 50 % is chance."
    )
    return Table("stability", "Stability", note, columns, [row for row in found if row["pairs"]])


def _of_pack(
    name: str, model: Speech2Face, voices: list[Sample], store: Store, judges: Judges, draws: int, seed: int
) -> list[dict[str, Any]]:
    voices = [voices[i] for i in np.random.default_rng([seed, 23]).permutation(len(voices))]
    count = Counter(voice.identity for voice in voices)
    # People with several voices first: they are what this is about.
    chosen = sorted(voices, key=lambda voice: count[voice.identity] == 1)[:MOST_VOICES]
    numbers = {identity: i for i, identity in enumerate(dict.fromkeys(voice.identity for voice in chosen))}
    person = np.array([numbers[voice.identity] for voice in chosen], np.int64)
    generator = main_generator(model)
    start = {"system": f"{name}: {generator}", "_kind": "system"}

    speech = (speech_of(store, voice) for voice in chosen)
    heard = hear_all(model, speech, judges.cache, f"more voices to {name}", len(chosen))
    made = judges.embed(faces_of(model, heard, generator), f"stability of {name}")
    found = [{**start, **_pairs("two recordings", made, person, Bootstrap(len(numbers), draws, seed), seed)}]

    long = [voice for voice in voices if voice.seconds >= HALVES_S][: MOST_VOICES // 2]
    halves = (half for voice in long for half in np.array_split(speech_of(store, voice), 2))
    heard = hear_all(model, halves, judges.cache, f"halves to {name}", 2 * len(long))
    made = judges.embed(faces_of(model, heard, generator), f"halves of {name}")
    numbered = np.repeat(np.arange(len(long)), 2)
    draw = Bootstrap(len(long), draws, seed)
    return [*found, {**start, **_pairs("two halves of a recording", made, numbered, draw, seed)}]


def _pairs(
    what: str, embeddings: NDArray[np.float64], person: NDArray[np.int64], draw: Bootstrap, seed: int
) -> dict[str, Any]:
    """The cells of faces of which some are of one person.

    Args:
        what: how two faces of a person differ.
        embeddings: (n, d), NaN where there is no face.
        person: of each face, a number below the people of `draw`.
    """
    there = np.flatnonzero(np.isfinite(embeddings).all(axis=1))
    first, second, other = pairs_of_people(person[there], PAIRS_A_PERSON, seed)
    faces, whose = embeddings[there], person[there][first]
    within, across = cosines(faces[first], faces[second]), cosines(faces[first], faces[other])
    return {
        "what": what,
        "pairs": len(first),
        "people": len(np.unique(whose)),
        "within": draw.mean(within, whose),
        "across": draw.mean(across, whose),
        "nearer": draw.mean(np.where(within == across, 0.5, within > across), whose),
    }
