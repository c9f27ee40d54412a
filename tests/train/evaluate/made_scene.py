"""People, faces and judges without a network, so that every figure of an evaluation can be known beforehand."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from s2f_train.data.items import Identity
from s2f_train.data.store import Sample
from s2f_train.evaluate.attributes import Readings
from s2f_train.evaluate.cache import Vector, VectorCache
from s2f_train.evaluate.intervals import Bootstrap
from s2f_train.evaluate.looking import Judges
from s2f_train.evaluate.seen import JudgedPictures, Row, Scene
from s2f_train.evaluate.subjects import Subjects
from s2f_train.evaluate.systems import Kind, System
from s2f_train.evaluate.tables import Figure, Picture, Table
from tests.train.made_store import Person, _own, face_pixels

# -------------------------------------------------------------------------------- scenes


def seen(
    embeddings: Any, male: Any = 0.9, age: Any = 30.0, found: Any = True, features: Any = None, pixels: Any = 0
) -> JudgedPictures:
    """One value stands for all; features are the embeddings, if not given."""
    embeddings = np.asarray(embeddings, np.float64)
    count = len(embeddings)
    there = np.broadcast_to(np.asarray(found, bool), (count,)).copy()
    shade = np.broadcast_to(np.asarray(pixels, np.uint8).reshape(-1, 1, 1, 1), (count, 64, 64, 3))
    readings = Readings(*(np.broadcast_to(np.asarray(v, np.float64), (count,)).copy() for v in (male, age)), there)
    return JudgedPictures(
        embeddings, there, readings, embeddings if features is None else np.asarray(features, np.float64), shade
    )


def made_scene(
    genders: str,
    voices: int = 2,
    faces: int = 2,
    real: JudgedPictures | None = None,
    others: JudgedPictures | None = None,
    ages: Sequence[float | None] | None = None,
    per_voice: int = 20,
    draws: int = 200,
    seed: int = 0,
) -> Scene:
    """A person for each letter of `genders` ("m", "f" or "?"), whose face is the unit vector of their number.

    The first face of a person is the own face of all their voices.
    """
    count = len(genders)
    people = [
        Identity(f"P{i:02}", "" if g == "?" else g, ages[i] if ages else None, "test")  # type: ignore[arg-type]
        for i, g in enumerate(genders)
    ]
    person_v, person_f = np.repeat(np.arange(count), voices), np.repeat(np.arange(count), faces)
    some = [] if others is None else [_sample(f"o{i}", f"O{i}") for i in range(len(others.found))]
    subjects = Subjects(
        people,
        [_sample(f"v{i}", people[p].name) for i, p in enumerate(person_v)],
        person_v,
        [_sample(f"f{i}", people[p].name) for i, p in enumerate(person_f)],
        person_f,
        faces * person_v,
        [],
        np.full(count, -1),
        some,
        [],
    )
    if real is None:
        male = np.array([{"m": 0.9, "f": 0.1, "?": 0.5}[genders[p]] for p in person_f])
        real = seen(np.eye(count)[person_f], male)
    return Scene(
        subjects, real, others or seen(np.zeros((0, real.embeddings.shape[1]))), per_voice, seed,
        Bootstrap(count, draws, seed),
    )  # fmt: skip


def row(name: str, given: JudgedPictures, kind: Kind = "system", generator: str = "", note: str = "") -> Row:
    return Row(System(name, kind, [None] * len(given.found), generator), given, note)


def of(table: Table, system: str, **where: Any) -> dict[str, Any]:
    """The one row of a system."""
    (found,) = (r for r in table.rows if r["system"] == system and all(r[k] == v for k, v in where.items()))
    return found


def value(figure: Figure) -> float:
    assert isinstance(figure, Figure)
    return figure.value


def _sample(key: str, identity: str) -> Sample:
    return Sample(key, identity, "made", "", "", "none.tar", {})


# -------------------------------------------------------------------------------- judges of made stores


READER = "ab" * 32  # SHA-256 of what reads gender and age


class Knowing:
    """Tells by the colour of the skin which of some people of a made store is seen: exact on their own faces."""

    label = "Fréchet distance, made"
    same_person = 0.6

    def __init__(self, people: Sequence[Person], name: str = "knowing", weights: tuple[str, ...] = ()):
        self.name, self.weights = name, weights
        self.sha256 = hashlib.sha256(f"{name} {people}".encode()).hexdigest()
        self.people, self.asked = list(people), 0
        self._skins = np.array([_own(person.name).uniform(60, 240, 3) for person in people])

    def who(self, picture: Picture) -> Person:
        middle = slice(3 * picture.shape[0] // 8, picture.shape[0] // 2 + 4)
        colour = np.median(picture[middle, middle].reshape(-1, 3), axis=0)
        return self.people[int(np.square(self._skins - colour).sum(axis=1).argmin())]

    def look(self, picture: Picture) -> Vector:
        self.asked += 1
        one_hot = [person is self.who(picture) for person in self.people]
        return np.array([*one_hot, True], np.float32)


class Reading(Knowing):
    """Reads the gender and the age of the person whom it sees."""

    def look(self, picture: Picture) -> Vector:
        self.asked += 1
        person = self.who(picture)
        return np.array([{"m": 0.95, "f": 0.05, "": 0.5}[person.gender], person.age or 40.0, 1], np.float32)


def made_judges(people: Sequence[Person], cache: VectorCache | None = None, weights: tuple[str, ...] = ()) -> Judges:
    """All three by skin, in this process.

    Args:
        weights: of the recogniser, which is the network of features too.
    """
    knowing = Knowing(people, weights=weights)
    return Judges(knowing, Reading(people, "reading", (READER,)), knowing, cache or VectorCache(), jobs=1)


def asked(judges: Judges) -> int:
    """How many pictures were looked at."""
    return sum(judge.asked for judge in judges.all)  # type: ignore[attr-defined]


def portrait(name: str, seed: int = 0) -> NDArray[np.uint8]:
    """A picture of a person of a made store that the store does not hold."""
    return face_pixels(np.random.default_rng([seed, 99]), name)


# -------------------------------------------------------------------------------- voices that are taken for speech

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


def spoken(rng: np.random.Generator, name: str, count: int) -> NDArray[np.float32]:
    """As `made_store.speech`, but the runtime lets it pass: a part of an example, at the speaker's own speed."""
    own = _own(name)
    samples = _example("male" if own.random() < 0.5 else "female")
    samples = soxr.resample(samples, 16_000, 16_000 * own.uniform(0.9, 1.1))
    begin = int(rng.integers(len(samples)))
    sound: NDArray[np.float32] = np.resize(np.roll(samples, -begin), count)
    return sound


@functools.cache
def _example(name: str) -> NDArray[np.float32]:
    samples: NDArray[np.float32] = soundfile.read(EXAMPLES / f"{name}.wav", dtype="float32")[0]
    return samples
