"""Everything that the judges saw: what the tables are computed from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2f_train.data.pictures import SIDE
from s2f_train.evaluate.attributes import Readings
from s2f_train.evaluate.intervals import Bootstrap
from s2f_train.evaluate.matching import Trials, draw_trials
from s2f_train.evaluate.subjects import Subjects
from s2f_train.evaluate.systems import System

SIZES = (2, 5, 10)  # faces a trial
SURE_LABEL = 0.8  # a judge's reading of real faces stands for a missing gender from here


@dataclass(frozen=True)
class JudgedPictures:
    """Pictures as the judges see them.

    Attributes:
        embeddings: float64 (n, d), by the recogniser; NaN where there is no picture.
        found: (n,), whether the recogniser found a face.
        readings: gender and age.
        features: float64 (n, k), of the network of the Fréchet and kernel distances.
        pixels: uint8 (n, side, side, 3), all of one evaluation of one side.
    """

    embeddings: NDArray[np.float64]
    found: NDArray[np.bool_]
    readings: Readings
    features: NDArray[np.float64]
    pixels: NDArray[np.uint8]

    @property
    def size(self) -> str:
        """Width and height of the pictures, such as "64x64"."""
        return f"{self.pixels.shape[2]}x{self.pixels.shape[1]}"

    @property
    def there(self) -> NDArray[np.bool_]:
        return np.isfinite(self.embeddings[:, 0])

    def __getitem__(self, rows: Any) -> JudgedPictures:
        return JudgedPictures(
            self.embeddings[rows], self.found[rows], self.readings[rows], self.features[rows], self.pixels[rows]
        )


@dataclass(frozen=True)
class Row:
    """A system in the tables.

    Attributes:
        system: with a picture for every voice, but for a ceiling.
        seen: the same pictures.
        note: why its figures are not to be compared; "" where they are.
    """

    system: System
    seen: JudgedPictures
    note: str = ""

    @property
    def start(self) -> dict[str, Any]:
        """What every table's row begins with."""
        return {"system": self.system.name, "_kind": self.system.kind, "_note": self.note}


@dataclass(frozen=True)
class Scene:
    """The people, their real faces as the judges see them, and what is drawn of them.

    Attributes:
        real: of `subjects.faces`.
        others: of real faces of other people, as many as `real` at most; may be empty.
        per_voice: trials a voice.
        seed: of the trials.
        draw: of the intervals.
        side: in pixels, at which the network of features sees all pictures.
    """

    subjects: Subjects
    real: JudgedPictures
    others: JudgedPictures
    per_voice: int
    seed: int
    draw: Bootstrap
    side: int = SIDE

    @cached_property
    def label(self) -> NDArray[np.str_]:
        """Each person's gender by the data's labels; "" where there is none."""
        return np.array([person.gender for person in self.subjects.people], dtype="<U1")

    @cached_property
    def gender(self) -> NDArray[np.str_]:
        """The label, or where there is none what the judge surely reads on the person's real faces.

        It chooses impostors and groups; what is called right or wrong goes by the label alone.
        """
        male = self.male_on_real
        sure = np.where(male >= SURE_LABEL, "m", np.where(male <= 1 - SURE_LABEL, "f", ""))
        return np.where(self.label == "", sure, self.label)

    @cached_property
    def male_on_real(self) -> NDArray[np.float64]:
        """The judge's mean probability of male on each person's real faces; NaN where it finds no face."""
        return self._on_real(self.real.readings.male)

    @cached_property
    def gender_on_real(self) -> NDArray[np.str_]:
        """The gender that the judge reads on each person's real faces; "" where it finds no face."""
        male = self.male_on_real
        return np.where(np.isnan(male), "", np.where(male > 0.5, "m", "f"))

    @cached_property
    def age(self) -> NDArray[np.float64]:
        """Each person's age by the data's labels; NaN where there is none."""
        return np.array([np.nan if p.age is None else p.age for p in self.subjects.people], np.float64)

    @cached_property
    def age_of_group(self) -> NDArray[np.float64]:
        """Each person's age by the data's labels, else what the judge reads on the real faces."""
        return np.where(np.isfinite(self.age), self.age, self.age_on_real)

    @cached_property
    def age_on_real(self) -> NDArray[np.float64]:
        """The judge's mean age on each person's real faces; NaN where it finds no face."""
        return self._on_real(self.real.readings.age)

    def _on_real(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        found, people = self.real.readings.found, len(self.subjects.people)
        person = self.subjects.face_person[found]
        sums, counts = np.bincount(person, values[found], people), np.bincount(person, minlength=people)
        return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)

    @cached_property
    def trials(self) -> dict[tuple[bool, int], Trials]:
        """(same gender, n) -> the trials."""
        subjects = self.subjects
        return {
            (same, n): draw_trials(
                subjects.voice_person, subjects.face_person, n, self.per_voice, self.seed,
                list(self.gender) if same else None,
            )
            for same in (False, True)
            for n in SIZES
        }  # fmt: skip

    @cached_property
    def real_of_voices(self) -> Row:
        """The real face beside each voice: what a judge reads on it is its ceiling."""
        return Row(System("real faces", "ceiling", []), self.real[self.subjects.own_face])

    @property
    def person(self) -> NDArray[np.int64]:
        """The person of each voice."""
        return self.subjects.voice_person
