"""What a judge reads on made faces: gender and age, beside the labels and beside what it reads on real faces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2f_train.evaluate.intervals import Bootstrap

UNSURE = 0.3, 0.7  # between these probabilities of male a judge abstains
YOUNG, OLD = 30, 60  # years: under the first, and over the second
BANDS = (f"under {YOUNG}", f"{YOUNG} to {OLD}", f"over {OLD}")


@dataclass(frozen=True)
class Readings:
    """What a judge of attributes says of pictures.

    Attributes:
        male: (n,), probability.
        age: (n,), years.
        found: (n,), whether a face was found.
    """

    male: NDArray[np.float64]
    age: NDArray[np.float64]
    found: NDArray[np.bool_]

    def __getitem__(self, rows: Any) -> Readings:
        return Readings(self.male[rows], self.age[rows], self.found[rows])

    @property
    def abstained(self) -> NDArray[np.bool_]:
        """No face was found, or it may be of either gender."""
        unsure: NDArray[np.bool_] = (self.male > UNSURE[0]) & (self.male < UNSURE[1])
        return unsure | ~self.found

    def reads(self, gender: NDArray[np.str_]) -> NDArray[np.float64]:
        """Whether each is read as `gender` ("m" or "f"): 1 or 0, NaN where gender is "". No face is no gender."""
        right = ((self.male > 0.5) == (gender == "m")) & self.found
        found: NDArray[np.float64] = np.where(gender == "", np.nan, right)
        return found


def gender_row(
    readings: Readings, gender: NDArray[np.str_], person: NDArray[np.int64], draw: Bootstrap
) -> dict[str, Any]:
    """A row of the gender table, on the pictures whose person's gender is known.

    Returns:
        pictures; the 2x2 counts men_male, men_female, women_male, women_female, with men_abstained and
        women_abstained beside (a picture stands in one of the three of its gender); `right` and
        `balanced` (the mean of men's and women's), where every picture counts and is read at 0.5; `abstained`.
    """
    known = gender != ""
    readings, gender, person = readings[known], gender[known], person[known]
    row: dict[str, Any] = {"pictures": len(gender)}
    read = np.where(readings.abstained, "", np.where(readings.male > 0.5, "m", "f"))
    for name, who in (("men", "m"), ("women", "f")):
        for word, as_what in (("male", "m"), ("female", "f"), ("abstained", "")):
            row[f"{name}_{word}"] = int(((gender == who) & (read == as_what)).sum())
    right = readings.reads(gender)
    row["right"] = draw.mean(right, person)
    row["balanced"] = draw.balanced(right, gender, person)
    row["abstained"] = draw.mean(readings.abstained.astype(np.float64), person)
    return row


def age_row(
    readings: Readings,
    label: NDArray[np.float64],
    on_real: NDArray[np.float64],
    person: NDArray[np.int64],
    draw: Bootstrap,
) -> dict[str, Any]:
    """A row of the age table.

    Args:
        label: of each picture's person, NaN where it is not known.
        on_real: what the judge reads on the real face, NaN where it finds none.
    """
    age = np.where(readings.found, readings.age, np.nan)
    return {
        "pictures": int(np.isfinite(age + label).sum()),
        "error": draw.mean(np.abs(age - label), person),
        "correlation": draw.correlation(age, label, person),
        "error_to_real": draw.mean(np.abs(age - on_real), person),
        "correlation_to_real": draw.correlation(age, on_real, person),
        "mean": draw.mean(age, person),
    }


def age_band(age: float) -> str:
    """The one of `BANDS` that an age in years is in, both ends in the middle one; "" where it is not known."""
    if not np.isfinite(age):
        return ""
    return BANDS[0] if age < YOUNG else BANDS[1] if age <= OLD else BANDS[2]
