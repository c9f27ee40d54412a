"""Every table on made people, whose figures are known on paper."""

from __future__ import annotations

import dataclasses
from math import comb
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from s2f_train.evaluate.attribute_tables import age_table, gender_tables, groups_table, without_faces_of
from s2f_train.evaluate.cache import VectorCache
from s2f_train.evaluate.distribution import frechet_distance, kid, kid_figure
from s2f_train.evaluate.identity_tables import (
    difference_table,
    matching_table,
    retrieval_tables,
    similarity_table,
    spread_table,
)
from s2f_train.evaluate.picture_tables import PRINTED, distance_table, printed_table, size_chart, thesis_table
from s2f_train.evaluate.seen import JudgedPictures, Row, Scene
from s2f_train.evaluate.stability import PAIRS_A_PERSON, stability_table
from s2f_train.evaluate.tables import Table
from tests.train.evaluate.made_scene import made_scene, of, row, seen, value

TEN = "m" * 10 + "f" * 10
NAN = float("nan")


def own(scene: Scene) -> JudgedPictures:
    """The speaker's own real face."""
    return scene.real[scene.subjects.own_face]


def of_the_gender(scene: Scene) -> JudgedPictures:
    """The same face for all men and the same for all women: the mean of theirs."""
    men = scene.label == "m"
    return seen(np.where(men[scene.person][:, None], men, ~men).astype(float))


def gaussian(count: int, width: int = 4, seed: int = 0, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng([5, seed]).standard_normal((count, width)) + shift


# -------------------------------------------------------------------------------- matching


def test_perfect_faces_are_always_matched() -> None:
    scene = made_scene(TEN)
    table, given = matching_table(scene, [row("perfect", own(scene))])
    found = of(table, "perfect")
    assert found["voices"] == 40
    for n in (2, 5, 10):
        for same in (False, True):
            figure = found[f"{n}_{same}"]
            assert (figure.value, figure.low, figure.high, figure.n) == (1, 1, 1, 40 * 20)
            assert (given["perfect"][same, n] == 1).all()
            assert value(of(table, "chance")[f"{n}_{same}"]) == 1 / n


def test_a_face_that_tells_the_gender_alone_scores_what_it_must() -> None:
    scene = made_scene(TEN, per_voice=300)
    table, _ = matching_table(scene, [row("gender", of_the_gender(scene))])
    found = of(table, "gender")
    # Of the others 9 are of the gender and 10 are not; k of the gender among the impostors leave a guess of 1 / (1+k).
    for n in (2, 5, 10):
        on_paper = sum(comb(9, k) * comb(10, n - 1 - k) / comb(19, n - 1) / (1 + k) for k in range(n))
        assert value(found[f"{n}_False"]) == pytest.approx(on_paper, abs=0.012)
        assert value(found[f"{n}_True"]) == pytest.approx(1 / n, abs=1e-12)
    assert value(found["2_False"]) == pytest.approx(14.5 / 19, abs=0.012)  # 76.3 %
    assert value(found["5_False"]) == pytest.approx(0.3935, abs=0.012)


def test_the_wrong_face_is_never_matched() -> None:
    scene = made_scene("mfmf")
    away = np.eye(4)[(scene.person + 1) % 4] - np.eye(4)[scene.person]
    table, _ = matching_table(scene, [row("wrong", seen(away))])
    assert value(of(table, "wrong")["2_False"]) == 0


def test_too_few_people_for_a_trial_have_no_figure() -> None:
    scene = made_scene("mmf")
    table, _ = matching_table(scene, [row("perfect", own(scene))])
    found = of(table, "perfect")
    assert [value(found[f"{n}_False"]) for n in (2, 5)] == [1, pytest.approx(NAN, nan_ok=True)]
    assert found["2_True"].n == 2 * 2 * 20  # the woman has nobody to be taken for
    assert found["5_False"].n == 0


def test_a_gap_is_no_trial() -> None:
    scene = made_scene("mfmf", voices=1)
    gap = own(scene)
    gap.embeddings[2] = NAN
    table, given = matching_table(scene, [row("oracle", gap, "ceiling")])
    found = of(table, "oracle")
    assert found["voices"] == 3
    assert (found["2_False"].value, found["2_False"].n) == (1, 3 * 20)
    of_gap = scene.trials[False, 2].voice == 2
    assert np.isnan(given["oracle"][False, 2]).tolist() == of_gap.tolist()


def test_a_system_less_itself_is_nothing() -> None:
    scene = made_scene(TEN)
    noise = seen(gaussian(40, 20))
    rows = [
        row("ours", noise),
        row("perfect", own(scene)),
        row("theirs", noise, "reference"),
        row("gender", of_the_gender(scene), "reference"),
        row("mean", noise, "baseline"),
    ]
    _, given = matching_table(scene, rows)
    table = difference_table(scene, rows, given)
    assert table
    assert [r["system"] for r in table.rows] == [
        *(f"{one} less {other}" for one in ("ours", "perfect") for other in ("theirs", "gender")),
        "perfect less ours",
    ]
    for n in (2, 5, 10):
        for same in (False, True):
            zero = of(table, "ours less theirs")[f"{n}_{same}"]
            assert (zero.value, zero.low, zero.high) == (0, 0, 0)
        better = of(table, "perfect less gender")[f"{n}_True"]
        assert [better.value, better.low, better.high] == pytest.approx([1 - 1 / n] * 3)
    assert difference_table(scene, rows[:1], given) is None
    assert difference_table(scene, rows[2:], given) is None


# -------------------------------------------------------------------------------- retrieval


def tables_by_key(tables: list[Table]) -> dict[str, Table]:
    return {table.key: table for table in tables}


@pytest.mark.parametrize("metric", ["cosine", "L2", "L1"])
def test_retrieval(metric: str) -> None:
    scene = made_scene("mfmf", voices=3)
    after = 0.5 * np.eye(4)[scene.person] + 0.8 * np.eye(4)[(scene.person + 1) % 4]  # second, by each distance
    rows = [row("perfect", own(scene)), row("second", seen(after)), row("same", seen(np.ones((12, 4))))]
    tables, chart = retrieval_tables(scene, rows)
    for gallery in ("100", "whole"):
        table = tables_by_key(tables)[f"retrieval_{gallery}_{metric}"]
        found = {name: of(table, name) for name in ("perfect", "second", "same", "chance")}
        recalls = {name: [value(r[f"r{k}"]) for k in (1, 2, 5, 10)] for name, r in found.items()}
        assert recalls == {
            "perfect": [1, 1, 1, 1],
            "second": [0, 1, 1, 1],
            "same": [0.25, 0.5, 1, 1],  # four as near as each other
            "chance": [0.25, 0.5, 1, 1],
        }
        assert {name: value(r["median"]) for name, r in found.items()} == {
            "perfect": 1, "second": 2, "same": 2.5, "chance": 2.5,
        }  # fmt: skip
        assert found["perfect"]["queries"] == 12
    assert [value(f) for f in chart.lines["perfect"] if f] == [1] * 10
    assert [value(f) for f in chart.lines["chance"] if f] == [0.25, 0.5, 0.75] + [1] * 7


@pytest.mark.slow
def test_galleries_of_a_hundred_are_disjoint() -> None:
    scene = made_scene("mf" * 125, voices=1, faces=1)
    tables, _ = retrieval_tables(scene, [row("perfect", own(scene)), row("same", seen(np.ones((250, 250))))])
    hundred, whole = (tables_by_key(tables)[f"retrieval_{key}_cosine"] for key in ("100", "whole"))
    assert of(hundred, "perfect")["queries"] == 200  # two galleries; 50 people are left
    assert of(whole, "perfect")["queries"] == 250
    assert "of 100" in hundred.title
    assert "250" in whole.title
    assert value(of(hundred, "same")["r5"]) == pytest.approx(0.05)
    assert value(of(whole, "same")["r5"]) == pytest.approx(0.02)
    assert value(of(hundred, "chance")["median"]) == 50.5
    assert value(of(whole, "same")["median"]) == 125.5


def test_the_entry_of_a_person_is_the_mean_of_their_faces() -> None:
    # Ann's faces lie at right angles to each other; what lies between them is hers, though Bob's is near to each.
    real = seen([[1, 0, 0], [0, 1, 0], [0.8, 0.1, 0.6], [0.8, 0.1, 0.6]])
    scene = made_scene("fm", voices=1, real=real)
    tables, _ = retrieval_tables(scene, [row("between", seen([[1, 1, 0], [0.8, 0.1, 0.6]]))])
    assert value(of(tables_by_key(tables)["retrieval_whole_cosine"], "between")["r1"]) == 1


# -------------------------------------------------------------------------------- similarity, diversity


def two(made: JudgedPictures) -> tuple[Scene, Row]:
    scene = made_scene("mf", voices=1, faces=1, real=seen([[1, 0], [0, 1]], pixels=[90, 20]))
    return scene, row("ours", made)


def test_similarity_by_hand() -> None:
    scene, ours = two(seen([[0.6, 0.8], [0, 2]], found=[True, False], pixels=[100, 50]))
    found = of(similarity_table(scene, [ours]), "ours")
    expected = {
        "cosine": (0.6 + 1) / 2,
        "cosine_wrong": (0.8 + 0) / 2,
        "cosine_gain": 0.4,
        "l1": (10 + 30) / 2,
        "l1_wrong": (80 + 40) / 2,
        "found": 0.5,
    }
    assert {key: value(found[key]) for key in expected} == pytest.approx(expected)


def test_a_gap_counts_in_no_similarity() -> None:
    scene, ours = two(seen([[0.6, 0.8], [NAN, NAN]], found=[True, False], pixels=[100, 0]))
    found = of(similarity_table(scene, [ours]), "ours")
    expected = {"cosine": 0.6, "cosine_wrong": 0.8, "cosine_gain": -0.2, "l1": 10, "l1_wrong": 80, "found": 1}
    assert {key: value(found[key]) for key in expected} == pytest.approx(expected)


def test_one_face_for_all_has_no_diversity() -> None:
    scene = made_scene("mfmf", voices=3)
    table = spread_table(scene, [row("one", seen(np.tile([3.0, 4, 0, 0], (12, 1)), pixels=77))])
    one, real = of(table, "one"), of(table, "real faces")
    figure = one["cosine"]
    assert [figure.value, figure.low, figure.high] == pytest.approx([1, 1, 1])
    assert one["pixels"] == 0
    assert value(real["cosine"]) == 0  # at right angles to each other


def test_diversity_by_hand() -> None:
    scene = made_scene("mf", voices=2)
    # Two voices of a person are alike, which counts for nothing; between people the cosine is 0.6.
    made = seen([[1, 0], [1, 0], [0.6, 0.8], [0.6, 0.8]], pixels=[0, 0, 200, 200])
    found = of(spread_table(scene, [row("ours", made)]), "ours")
    assert value(found["cosine"]) == pytest.approx(0.6)
    assert found["pixels"] == pytest.approx(100)


# -------------------------------------------------------------------------------- gender, age, groups


def test_gender_by_hand() -> None:
    real = seen(np.eye(6), male=[0.9, 0.9, 0.1, 0.1, 0.1, 0.5])
    scene = made_scene("mmmff?", voices=1, faces=1, real=real)
    # Read right; unsure and at 0.5 wrong; right, but the label is not the judge's; no face; unsure and right; no label.
    made = seen(np.eye(6), male=[0.9, 0.4, 0.8, 0.1, 0.4, 0.9], found=[1, 1, 1, 0, 1, 1])
    (table,) = gender_tables(scene, [row("ours", made)])
    found = of(table, "ours")
    counts = {key: number for key, number in found.items() if key.startswith(("men_", "women_", "pictures"))}
    assert counts == {
        "pictures": 5, "men_male": 2, "men_female": 0, "men_abstained": 1,
        "women_male": 0, "women_female": 0, "women_abstained": 2,
    }  # fmt: skip
    assert value(found["right"]) == pytest.approx(3 / 5)
    assert value(found["balanced"]) == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert value(found["abstained"]) == pytest.approx(3 / 5)
    assert value(found["agreed"]) == pytest.approx(2 / 4)
    assert found["agreed"].n == 4
    ceiling = of(table, "real faces")
    assert (ceiling["pictures"], value(ceiling["right"])) == (5, pytest.approx(4 / 5))
    assert "5 of 6 voices" in table.note


def test_the_flag_is_apart_from_the_voice() -> None:
    scene = made_scene("mff?", voices=1)
    made = seen(np.eye(4), male=[0.9, 0.9, 0.1, 0.6])
    table, flags = gender_tables(scene, [row("general", made), row("ours", made, generator="male")])
    assert [r["system"] for r in table.rows] == ["general", "real faces"]
    (found,) = flags.rows
    assert (found["system"], found["pictures"]) == ("ours", 4)
    assert value(found["right"]) == pytest.approx(3 / 4)
    assert (value(found["against"]), found["against"].n) == (0.5, 2)  # the two women
    assert value(found["abstained"]) == pytest.approx(1 / 4)


def test_no_labels_at_all() -> None:
    scene = made_scene("????", real=seen(np.eye(4).repeat(2, axis=0), male=[0.9] * 4 + [0.5] * 4))
    assert scene.gender.tolist() == ["m", "m", "", ""]  # where the judge is sure
    rows = [row("ours", own(scene))]
    (table,) = gender_tables(scene, rows)
    assert of(table, "ours")["pictures"] == 0
    assert np.isnan(value(of(table, "ours")["right"]))
    _, given = matching_table(scene, rows)
    groups = groups_table(scene, rows, given)
    assert [(r["group"], r["voices"]) for r in groups.rows] == [("women", 0), ("men", 4), ("age 30 to 60", 8)]
    assert all(r["gender"] is None for r in groups.rows)
    assert [r["matching"] if r["matching"] is None else value(r["matching"]) for r in groups.rows] == [None, 1, 1]


def test_one_gender_alone() -> None:
    scene = made_scene("mmm")
    rows = [row("ours", own(scene))]
    (table,) = gender_tables(scene, rows)
    found = of(table, "ours")
    assert (found["women_male"], found["women_female"]) == (0, 0)
    assert value(found["balanced"]) == value(found["right"]) == 1
    matching, _ = matching_table(scene, rows)
    assert value(of(matching, "ours")["2_True"]) == 1


def test_age_by_hand() -> None:
    real = seen(np.eye(3), age=[22, 44, 60])
    scene = made_scene("mfm", voices=1, faces=1, real=real, ages=[20, 40, None])
    table = age_table(scene, [row("ours", seen(np.eye(3), age=[25, 30, 70]))])
    assert [r["system"] for r in table.rows] == ["ours", "real faces"]
    found = of(table, "ours")
    assert found["pictures"] == 2
    expected = {
        "mean": (25 + 30 + 70) / 3,
        "error": (5 + 10) / 2,
        "correlation": 1,  # two points, both rising
        "error_to_real": (3 + 14 + 10) / 3,
        "correlation_to_real": 820 / (1216.667 * 728) ** 0.5,
    }
    assert {key: value(found[key]) for key in expected} == pytest.approx(expected, abs=1e-4)
    ceiling = of(table, "real faces")
    assert value(ceiling["error"]) == 3
    assert ceiling["error_to_real"] is None


def test_groups_add_up() -> None:
    scene = made_scene("mmmfff?", voices=3, ages=[17, 20, 35, 50, 62, None, 29])
    made = seen(np.eye(7)[scene.person] + gaussian(21, 7), male=np.random.default_rng(0).random(21))
    rows = [row("ours", made), row("mean face", made, "baseline"), row("shuffled voices (ours)", made, "baseline")]
    rows.append(row("oracle", made, "ceiling"))
    matching, given = matching_table(scene, rows)
    table = groups_table(scene, rows, given)
    assert {r["system"] for r in table.rows} == {"ours", "shuffled voices (ours)"}
    table = dataclasses.replace(table, rows=[r for r in table.rows if r["system"] == "ours"])
    voices = {r["group"]: r["voices"] for r in table.rows}
    assert voices == {
        "women": 9, "men": 9, "age under 30": 9, "age 30 to 60": 9, "age over 60": 3,
    }  # fmt: skip
    ages = [r for r in table.rows if r["group"].startswith("age")]
    for key, whole in (
        ("matching", of(matching, "ours")["2_False"]),
        ("cosine", of(similarity_table(scene, rows), "ours")["cosine"]),
    ):
        figures = [r[key] for r in ages]
        assert sum(f.n for f in figures) == whole.n
        assert sum(f.value * f.n for f in figures) / whole.n == pytest.approx(whole.value)
    (gender,) = gender_tables(scene, rows)
    right = of(gender, "ours")["right"]
    by_gender = [r["gender"] for r in table.rows if r["group"] in ("women", "men")]
    assert sum(f.value * f.n for f in by_gender) / 18 == pytest.approx(right.value)


# -------------------------------------------------------------------------------- distances


def crowd_of(count: int, others: int = 0) -> Scene:
    """So many people with one voice and one face, whose features are normal; and so many others."""
    other = seen(gaussian(others, seed=2)) if others else None
    return made_scene("mf" * (count // 2), voices=1, faces=1, real=seen(gaussian(count, seed=1)), others=other)


def test_faces_of_other_people_have_no_kernel_distance() -> None:
    scene = crowd_of(80, others=80)
    rows = [row("others", seen(gaussian(80, seed=3))), row("far", seen(gaussian(80, seed=3, shift=1.0)))]
    table = distance_table(scene, rows, "Fréchet distance")
    others, far = of(table, "others"), of(table, "far")
    assert (others["n"], others["m"]) == (80, 80)
    assert others["kid"].low < 0 < others["kid"].high
    assert others["kid_real"].low < 0 < others["kid_real"].high
    assert far["kid"].low > others["kid"].high
    assert far["kid_real"] == others["kid_real"]
    # Two normal samples of one distribution, at the same number: the same bias, well away from that of another one.
    assert 0.5 < others["fid"] / others["fid_real"] < 2
    assert far["fid"] > 2 * far["fid_real"]


def test_distances_by_hand() -> None:
    scene = made_scene("mf", voices=1, faces=1, real=seen([[0.0], [0.0]]))
    found = of(distance_table(scene, [row("ours", seen([[1.0], [1.0]]))], "FID"), "ours")
    # The kernel is (1 + 1)^3 = 8 among ours, 1 among the real, 1 across: 8 + 1 - 2, times 1,000.
    assert value(found["kid"]) == pytest.approx(7000)
    assert found["fid"] == pytest.approx(1)  # the means' distance
    assert not {"kid_real", "fid_real"} & found.keys()  # there are no others
    scene = crowd_of(40)
    moved = seen(scene.real.features + np.array([1, 2, 0, 2]))
    assert of(distance_table(scene, [row("moved", moved)], "FID"), "moved")["fid"] == pytest.approx(1 + 4 + 4)


def test_real_from_real_is_at_the_same_number() -> None:
    """Other people's faces in the place of the made ones: the same real faces, and as many."""

    def first(count: int) -> JudgedPictures:
        return seen(np.where(np.arange(40)[:, None] < count, gaussian(40), NAN))

    scene = crowd_of(40, others=30)
    found = of(distance_table(scene, [row("ours", first(25))], "FID"), "ours")
    assert found["fid_real"] == pytest.approx(frechet_distance(scene.others.features[:25], scene.real.features))
    assert value(found["kid_real"]) == pytest.approx(1000 * kid(scene.others.features[:25], scene.real.features))
    # Those that are the others themselves score the same.
    features = np.concatenate([scene.others.features[:25], np.full((15, 4), NAN)])
    same = of(distance_table(scene, [row("others", seen(features))], "FID"), "others")
    assert same["fid"] == same["fid_real"]
    # Fewer others than made faces: nothing is said, rather than at another number.
    assert "fid_real" not in of(distance_table(scene, [row("ours", first(31))], "FID"), "ours")


def test_faces_of_one_other_person_are_not_independent() -> None:
    """Six faces each of ten others say as much as ten."""
    scene = crowd_of(60)
    person = np.repeat(np.arange(10), 6)
    features = gaussian(10, seed=2)[person] + 0.01 * gaussian(60, seed=4)
    faces = [dataclasses.replace(scene.subjects.faces[0], key=f"o{i}", identity=f"O{p}") for i, p in enumerate(person)]
    subjects = dataclasses.replace(scene.subjects, others=faces)
    scene = dataclasses.replace(scene, subjects=subjects, others=seen(features))
    found = of(distance_table(scene, [row("ours", seen(gaussian(60)))], "FID"), "ours")["kid_real"]
    real = scene.real.features[: found.n]
    right = kid_figure(real, features[: found.n], np.arange(found.n), 1000 + person[: found.n])
    assert right.low is not None
    assert right.high is not None
    assert found.high - found.low > 0.9e3 * (right.high - right.low)


def test_an_oracle_of_one_person_has_no_distance() -> None:
    scene = crowd_of(20)
    one = seen(np.where(np.arange(20)[:, None] == 3, gaussian(20), NAN))
    assert of(distance_table(scene, [row("oracle", one, "ceiling")], "FID"), "oracle")["n"] == 1


def test_the_bias_by_size() -> None:
    scene = crowd_of(40, others=36)
    chart = size_chart(scene, [row("mean", seen(np.ones((40, 4))), "baseline"), row("ours", seen(gaussian(40)))], "FID")
    assert chart
    assert chart.steps == ["10", "20", "30", "36"]
    made, real = ([value(f) for f in line if f] for line in chart.lines.values())
    assert list(chart.lines) == ["ours", "real from real"]
    assert made[0] > made[-1]  # what falls is bias
    assert real[0] > real[-1]
    alone = size_chart(crowd_of(40), [row("ours", seen(gaussian(40)))], "FID")
    assert alone
    assert alone.steps == ["10", "20"]  # two halves of the real ones
    assert size_chart(crowd_of(18), [row("ours", seen(gaussian(18)))], "FID") is None
    assert size_chart(scene, [row("mean", seen(np.ones((40, 4))), "baseline")], "FID") is None


# -------------------------------------------------------------------------------- the thesis


def test_the_thesis_table_by_hand() -> None:
    real = seen([[1, 0], [0, 1], [1, 0], [0, 1]])
    others = seen(gaussian(60, 2), male=[0.9, 0.1] * 30)
    scene = made_scene("mmff", voices=1, faces=1, real=real, others=others)
    made = seen([[1, 0], [1, 0], [0.6, 0.8], [0, 1]], pixels=[10, 20, 30, 60])
    rows = [row("general", made, generator="general"), row("men", made, generator="male")]
    rows += [row("women", made, generator="female"), row("s2f", made, "reference"), row("auto", made, generator="auto")]
    table = thesis_table(scene, rows, "FID")
    assert [r["system"] for r in table.rows] == ["general", "men", "women", "s2f"]
    for name, of_whom, n, l1, cosine in (
        ("general", "all", 4, 30, (1 + 0 + 0.6 + 1) / 4),
        ("men", "men", 2, 15, 0.5),
        ("women", "women", 2, 45, 0.8),
        ("s2f", "all", 4, 30, 0.65),
    ):
        found = of(table, name)
        assert (found["of"], found["n"]) == (of_whom, n)
        assert (found["l1"], found["cosine"]) == (pytest.approx(l1), pytest.approx(cosine))
        assert found["l1_sd"] == pytest.approx(0, abs=1e-9)  # all of them in each draw
    printed = printed_table()
    for name, (fid, l1, cosine) in PRINTED.items():
        found = of(printed, name)
        assert (found["fid"], found["l1"], found["cosine"]) == (fid, l1, cosine)
    assert of(printed, "general")["fid"] == 114.44


def test_the_thesis_draws_thirty() -> None:
    scene = crowd_of(60, others=40)
    shades = np.arange(60, dtype=np.uint8)  # real ones are 0: the mean difference of all is 29.5
    made = seen(gaussian(60, seed=3), pixels=shades)
    table = thesis_table(scene, [row("ours", made, generator="general"), row("men", made, generator="male")], "FID")
    ours, men = of(table, "ours"), of(table, "men")
    assert (ours["n"], men["n"]) == (30, 30)
    # Standard error of 30 of 60 without replacement: 17.3 / 30 ** 0.5 * (30 / 59) ** 0.5 = 2.25, of 20 draws' mean 0.5.
    assert ours["l1"] == pytest.approx(29.5, abs=2)
    assert ours["l1_sd"] == pytest.approx(2.25, rel=0.5)
    assert men["l1"] == pytest.approx(29)  # 0, 2, ... 58: the men are 30
    assert ours["fid"] > ours["fid_full"].value  # the bias
    assert ours["fid_full"].n == 60
    assert ours["kid"].low < 0 < ours["kid"].high


@pytest.mark.parametrize("genders", ["mf", "mmmf", "mff"])
def test_the_thesis_table_of_very_few(genders: str) -> None:
    scene = made_scene(genders, voices=2)
    rows = [row(name, own(scene), generator=name) for name in ("general", "male", "female")]
    assert of(thesis_table(scene, rows, "FID"), "general")["n"] == 2 * len(genders)


# -------------------------------------------------------------------------------- stability


def stability(scene: Scene, *rows: Row) -> Table:
    from tests.train.evaluate.made_scene import made_judges

    store: Any = SimpleNamespace(identities={})
    return stability_table(scene, list(rows), {}, store, made_judges([], VectorCache()), 100)


def test_a_stable_face_is_nearer_within_than_across() -> None:
    scene = made_scene("mfmfmf", voices=3, faces=2)
    near = np.eye(6)[scene.person] + 0.1 * gaussian(18, 6)
    table = stability(
        scene,
        row("stable", own(scene), "reference"),
        row("nearly", seen(near)),
        row("one face", seen(np.ones((18, 6)))),
        row("pack", seen(near), generator="general"),
        row("mean", seen(near), "baseline"),
    )
    assert [r["system"] for r in table.rows] == ["stable", "nearly", "one face", "mean", "real faces"]
    stable, nearly, one = (of(table, name) for name in ("stable", "nearly", "one face"))
    assert (stable["pairs"], stable["people"]) == (6 * 3, 6)
    assert [value(stable[key]) for key in ("within", "across", "nearer")] == pytest.approx([1, 0, 1])
    assert [value(one[key]) for key in ("within", "across", "nearer")] == pytest.approx([1, 1, 0.5])
    assert nearly["within"].low > nearly["across"].high
    assert value(nearly["nearer"]) > 0.95
    assert value(nearly["nearer_gender"]) > 0.9
    real = of(table, "real faces")
    assert (real["what"], real["pairs"], real["_kind"]) == ("two photographs", 6, "ceiling")


def test_at_most_so_many_pairs_a_person() -> None:
    scene = made_scene("mf", voices=6, faces=1)
    table = stability(scene, row("theirs", own(scene)))
    assert of(table, "theirs")["pairs"] == 2 * PAIRS_A_PERSON  # of 15 each
    assert [r["system"] for r in table.rows] == ["theirs"]  # one photograph each: no pairs


def test_one_recording_each_has_no_pairs() -> None:
    scene = made_scene("mfm", voices=1)
    assert [r["system"] for r in stability(scene, row("theirs", own(scene))).rows] == ["real faces"]


# -------------------------------------------------------------------------------- ages


def test_groups_say_how_far_below_the_mean_and_whose_age_faces_have() -> None:
    """Two young people and two old ones: the old get young faces, and others' faces are nearer to them."""
    scene = made_scene("mmff", voices=1, faces=1, ages=[20, 25, 70, 80])
    made = seen(np.eye(4)[[0, 1, 0, 1]], age=[22, 61, 24, 35])
    rows = [row("ours", made)]
    _, given = matching_table(scene, rows)
    table = groups_table(scene, rows, given)
    young, old = (next(r for r in table.rows if r["group"] == f"age {band}") for band in ("under 30", "over 60"))
    assert [r["group"] for r in table.rows] == ["women", "men", "age under 30", "age over 60"]
    assert value(young["matching"]) > value(old["matching"])
    whole = given["ours"][False, 2].mean()
    assert value(young["below"]) == pytest.approx(value(young["matching"]) - whole)
    assert value(old["below"]) == pytest.approx(value(old["matching"]) - whole)
    assert (value(young["of_age"]), young["faces_of_age"]) == (0.5, 2)
    assert (value(old["of_age"]), old["faces_of_age"]) == (0, 1)  # the one face over 60 is of a young voice
    women = next(r for r in table.rows if r["group"] == "women")
    assert women["of_age"] is None
    assert women["faces_of_age"] is None
    assert without_faces_of(scene, rows) == []
    younger = row("young", seen(np.eye(4), age=30))
    nobody = row("nobody", seen(np.eye(4), age=70, found=False))
    assert without_faces_of(scene, [younger, row("mean face", seen(np.eye(4), age=30), "baseline")]) == [
        "young makes no face that the judge reads as under 30, for 2 voices of people of that age.",
        "young makes no face that the judge reads as over 60, for 2 voices of people of that age.",
    ]
    assert len(without_faces_of(scene, [nobody])) == 2
