"""Is it the same face when the same person speaks again?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2f_edge import Speech2Face
from s2f_train.data.store import Sample, Store
from s2f_train.evaluate.hearing import hear_all, speech_of
from s2f_train.evaluate.identity_tables import SYSTEM
from s2f_train.evaluate.intervals import Bootstrap, Floats, Ints
from s2f_train.evaluate.looking import Judges
from s2f_train.evaluate.matching import cosines, pairs_of_people
from s2f_train.evaluate.seen import Row, Scene
from s2f_train.evaluate.systems import faces_of, main_generator
from s2f_train.evaluate.tables import Column, Table

HALVES_S = 4.0  # a recording of so much speech is also heard in two halves
MOST_VOICES = 300
PAIRS_A_PERSON = 10


@dataclass(frozen=True)
class _Faces:
    """Faces of which some belong together.

    Attributes:
        embeddings: (n, d), NaN where there is no face.
        unit: of each face what it belongs to: a person, or a recording. Pairs are of one unit.
        person: of each face, a number below the people of the bootstrap.
        source, gender: of each face its data set, and "m", "f" or "".
    """

    embeddings: NDArray[np.float64]
    unit: NDArray[np.int64]
    person: NDArray[np.int64]
    source: NDArray[np.str_]
    gender: NDArray[np.str_]

    @classmethod
    def of(cls, embeddings: NDArray[np.float64], samples: list[Sample], genders: Mapping[str, str]) -> _Faces:
        """Faces of samples of a store, each unit a person."""
        numbers: dict[str, int] = {}
        person = np.array([numbers.setdefault(s.identity, len(numbers)) for s in samples], np.int64)
        source = np.array([sample.source for sample in samples], np.str_)
        return cls(embeddings, person, person, source, np.array([genders[s.identity] for s in samples], np.str_))


def stability_table(
    scene: Scene, rows: list[Row], models: dict[str, Speech2Face], store: Store, judges: Judges, draws: int
) -> Table:
    """Packs on all voices of the split, also in halves; other systems on the voices that they have."""
    subjects, seed = scene.subjects, scene.seed
    genders: dict[str, str] = {name: person.gender for name, person in store.identities.items()}
    genders |= {person.name: str(g) for person, g in zip(subjects.people, scene.gender, strict=True)}
    found: list[dict[str, Any]] = []
    compared = {row.system.name for row in rows}
    voices = [*subjects.voices, *subjects.alone]
    for name, model in models.items():
        if f"{name}: {main_generator(model)}" in compared:
            found += _of_pack(name, model, voices, store, judges, genders, draws, seed)
    for row in rows:
        # Shuffled voices are left out: all voices of a person get the pictures of one other.
        told_by_voice = row.system.kind != "ceiling" and not row.system.name.startswith("shuffled")
        if told_by_voice and not row.system.generator:
            faces = _Faces.of(row.seen.embeddings, subjects.voices, genders)
            found.append({**row.start, **_pairs("two recordings", faces, draws, seed)})
    real = _pairs("two photographs", _Faces.of(scene.real.embeddings, subjects.faces, genders), draws, seed)
    found.append({"system": "real faces", "_kind": "ceiling", **real})
    columns = [
        SYSTEM,
        Column("what", "of one speaker", "text"),
        Column("people", "people", "count"),
        Column("pairs", "pairs", "count"),
        Column("within", "cosine, one speaker", "figure", 3, "higher"),
        Column("across", "cosine, two speakers", "figure", 3),
        Column("nearer", "the same speaker's is nearer", "share figure", 1, "higher"),
        Column("nearer_gender", "... where both are of one gender", "share figure", 1, "higher"),
    ]
    note = (
        "Cosine of two faces made from two recordings of one speaker, or from the two halves of one recording, beside "
        "faces of two speakers of the same data set. The last columns are how often the first is nearer than the "
        "second; 50 % is chance. A pack is tried on all voices of the split, with a real face or without."
    )
    return Table("stability", "Stability", note, columns, [row for row in found if row["pairs"]])


def _of_pack(
    name: str,
    model: Speech2Face,
    voices: list[Sample],
    store: Store,
    judges: Judges,
    genders: Mapping[str, str],
    draws: int,
    seed: int,
) -> list[dict[str, Any]]:
    voices = [voices[i] for i in np.random.default_rng([seed, 23]).permutation(len(voices))]
    count = Counter(voice.identity for voice in voices)
    # People with several voices first: they are what this is about.
    chosen = sorted(voices, key=lambda voice: count[voice.identity] == 1)[:MOST_VOICES]
    generator = main_generator(model)
    start = {"system": f"{name}: {generator}", "_kind": "system"}

    speech = (speech_of(store, voice) for voice in chosen)
    heard = hear_all(model, speech, judges.cache, f"more voices to {name}", len(chosen))
    made = judges.embed(faces_of(model, heard, generator), f"stability of {name}")
    whole = _pairs("two recordings", _Faces.of(made, chosen, genders), draws, seed)

    long = [voice for voice in voices if voice.seconds >= HALVES_S][: MOST_VOICES // 2]
    parted = (half for voice in long for half in np.array_split(speech_of(store, voice), 2))
    heard = hear_all(model, parted, judges.cache, f"halves to {name}", 2 * len(long))
    made = judges.embed(faces_of(model, heard, generator), f"halves of {name}")
    faces = _Faces.of(made, [voice for voice in long for _ in range(2)], genders)
    halves = _pairs("two halves of a recording", replace(faces, unit=np.arange(len(made)) // 2), draws, seed)
    return [{**start, **whole}, {**start, **halves}]


def _pairs(what: str, faces: _Faces, draws: int, seed: int) -> dict[str, Any]:
    """The cells of a row; `what` says how two faces of a unit differ."""
    draw = Bootstrap(int(faces.person.max(initial=-1)) + 1, draws, seed)
    first, second, other = _alike(faces, faces.source, seed)
    within, across = _cosines(faces, first, second, other)
    whose = faces.person[first]
    group = np.where(faces.gender == "", "", np.char.add(faces.source, faces.gender))
    of_gender = _alike(faces, group, seed)
    return {
        "what": what,
        "pairs": len(first),
        "people": len(np.unique(whose)),
        "within": draw.mean(within, whose),
        "across": draw.mean(across, whose),
        "nearer": draw.mean(_nearer(within, across), whose),
        "nearer_gender": draw.mean(_nearer(*_cosines(faces, *of_gender)), faces.person[of_gender[0]]),
    }


def _alike(faces: _Faces, group: NDArray[np.str_], seed: int) -> tuple[Ints, Ints, Ints]:
    """Two faces of a unit and one of another person, all of one group: two data sets differ by their microphones."""
    there = np.isfinite(faces.embeddings).all(axis=1) & (group != "")
    found = [np.zeros((3, 0), np.int64)]
    for name in np.unique(group[there]):
        mine = np.flatnonzero(there & (group == name))
        drawn = np.stack(pairs_of_people(faces.unit[mine], PAIRS_A_PERSON, seed))
        found.append(mine[drawn])
    first, second, other = np.concatenate(found, axis=1)
    kept = faces.person[first] != faces.person[other]
    return first[kept], second[kept], other[kept]


def _cosines(faces: _Faces, first: Ints, second: Ints, other: Ints) -> tuple[Floats, Floats]:
    """Of each first face with the second, and with the other."""
    chosen = faces.embeddings[first]
    return cosines(chosen, faces.embeddings[second]), cosines(chosen, faces.embeddings[other])


def _nearer(within: Floats, across: Floats) -> Floats:
    found: Floats = np.where(within == across, 0.5, within > across)
    return found
