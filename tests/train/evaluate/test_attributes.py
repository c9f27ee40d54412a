"""Tables of gender and age counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from s2f_train.evaluate.attributes import Readings, age_band, age_row, gender_row
from s2f_train.evaluate.intervals import Bootstrap

NO = float("nan")


def readings(male: list[float], age: list[float] | None = None, found: list[bool] | None = None) -> Readings:
    return Readings(
        np.array(male, np.float64),
        np.array(age or [30.0] * len(male), np.float64),
        np.array(found or [True] * len(male)),
    )


def genders(letters: str) -> NDArray[np.str_]:
    """A letter a picture; "?" is not known."""
    return np.array(["" if letter == "?" else letter for letter in letters], np.str_)


def test_gender_row_by_hand() -> None:
    #                   m     m    m    m    m    f    f    f    not known
    seen = readings([0.99, 0.8, 0.6, 0.1, 0.9, 0.2, 0.9, 0.4, 0.9], found=[True] * 4 + [False] + [True] * 4)
    row = gender_row(seen, genders("mmmmmfff?"), np.array([0, 0, 1, 1, 2, 3, 3, 4, 5]), Bootstrap(6, 50))
    figures = {key: row.pop(key) for key in ("right", "balanced", "abstained")}
    assert row == {
        "pictures": 8,
        "men_male": 2, "men_female": 1, "men_abstained": 2,
        "women_male": 1, "women_female": 1, "women_abstained": 1,
    }  # fmt: skip
    # Where the judge is not sure it is still read, at 0.5; where there is no face nothing is right.
    assert figures["right"].value == pytest.approx(5 / 8)
    assert figures["balanced"].value == pytest.approx((3 / 5 + 2 / 3) / 2)
    assert figures["abstained"].value == pytest.approx(3 / 8)
    assert {figure.n for figure in figures.values()} == {8}
    assert all(figure.low <= figure.value <= figure.high for figure in figures.values())


def test_a_picture_stands_in_one_of_the_three() -> None:
    rng = np.random.default_rng(0)
    seen = Readings(rng.random(200), rng.random(200), rng.random(200) < 0.9)
    gender = rng.choice(["m", "f", ""], 200)
    row = gender_row(seen, gender, np.arange(200), Bootstrap(200, 0))
    for name, letter in (("men", "m"), ("women", "f")):
        counts = sum(row[f"{name}_{word}"] for word in ("male", "female", "abstained"))
        assert counts == (gender == letter).sum()
    assert row["pictures"] == (gender != "").sum()


@pytest.mark.parametrize(
    ("male", "abstained"),
    [(0.0, False), (0.3, False), (0.3001, True), (0.5, True), (0.6999, True), (0.7, False), (1.0, False)],
)
def test_between_which_probabilities_the_judge_abstains(male: float, abstained: bool) -> None:
    assert readings([male]).abstained.tolist() == [abstained]
    assert readings([male], found=[False]).abstained.tolist() == [True]


def test_what_is_read() -> None:
    seen = readings([0.9, 0.9, 0.51, 0.5, 0.1, 0.9, 0.1, NO], found=[True] * 5 + [False] * 3)
    right = seen.reads(genders("mfmffmff"))
    np.testing.assert_array_equal(right, [1, 0, 1, 1, 1, 0, 0, 0])
    np.testing.assert_array_equal(seen.reads(genders("????????")), [NO] * 8)


def test_right_goes_by_pictures_and_balanced_by_gender() -> None:
    seen = readings([0.99] * 95)
    row = gender_row(seen, genders("m" * 90 + "f" * 5), np.arange(95), Bootstrap(95, 100))
    assert row["right"].value == pytest.approx(90 / 95)
    assert row["balanced"].value == 0.5
    assert (row["balanced"].low, row["balanced"].high) == (0.5, 0.5)


def test_nobody_of_known_gender() -> None:
    row = gender_row(readings([0.9, 0.1]), genders("??"), np.array([0, 1]), Bootstrap(2, 20))
    assert row["pictures"] == row["men_male"] == row["women_female"] == 0
    for key in ("right", "balanced", "abstained"):
        assert np.isnan(row[key].value)
        assert row[key].n == 0


def test_rows_of_readings() -> None:
    seen = readings([0.1, 0.5, 0.9], [10, 20, 30], [True, False, True])
    part = seen[np.array([2, 0])]
    assert (part.male.tolist(), part.age.tolist(), part.found.tolist()) == ([0.9, 0.1], [30, 10], [True, True])


def test_age_row_by_hand() -> None:
    seen = readings([0.5] * 6, [20, 30, 40, 50, 60, 99], [True] * 5 + [False])
    label = np.array([22.0, 30, 36, NO, 70, 99])
    on_real = np.array([25.0, NO, 45, 50, 60, 30])
    row = age_row(seen, label, on_real, np.arange(6), Bootstrap(6, 50))
    assert row["pictures"] == 4
    assert row["error"].value == pytest.approx((2 + 0 + 4 + 10) / 4)
    assert row["correlation"].value == pytest.approx(np.corrcoef([20, 30, 40, 60], [22, 30, 36, 70])[0, 1])
    assert row["error_to_real"].value == pytest.approx((5 + 5 + 0 + 0) / 4)
    assert row["correlation_to_real"].value == pytest.approx(np.corrcoef([20, 40, 50, 60], [25, 45, 50, 60])[0, 1])
    assert row["mean"].value == pytest.approx(40)
    assert [row[key].n for key in ("error", "correlation", "error_to_real", "correlation_to_real", "mean")] == [
        4, 4, 4, 4, 5,
    ]  # fmt: skip


def test_a_perfect_judge_of_age() -> None:
    age = np.random.default_rng(0).uniform(1, 90, 40)
    row = age_row(readings([0.5] * 40, age.tolist()), age, age, np.arange(40) // 2, Bootstrap(20, 50))
    for key, value in (("error", 0), ("correlation", 1), ("error_to_real", 0), ("correlation_to_real", 1)):
        assert (row[key].value, row[key].low, row[key].high) == pytest.approx((value, value, value))


def test_no_ages_and_no_faces() -> None:
    age, unknown = [20.0, 30.0], np.full(2, NO)
    for seen, label in ((readings([0.5] * 2, age), unknown), (readings([0.5] * 2, age, [False] * 2), np.array(age))):
        row = age_row(seen, label, unknown, np.arange(2), Bootstrap(2, 20))
        assert row["pictures"] == 0
        for key in ("error", "correlation", "error_to_real", "correlation_to_real"):
            assert np.isnan(row[key].value)
            assert row[key].n == 0


@pytest.mark.parametrize(
    ("age", "band"),
    [
        (NO, ""), (float("inf"), ""), (0, "under 30"), (18, "under 30"), (29.99, "under 30"),
        (30, "30 to 60"), (44.9, "30 to 60"), (60, "30 to 60"), (60.1, "over 60"), (95, "over 60"), (116, "over 60"),
    ],
)  # fmt: skip
def test_age_band(age: float, band: str) -> None:
    assert age_band(age) == band
