"""A study whose answers are known gives the figures that follow from them."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from s2f_train.evaluate.tables import Figure, Table
from s2f_train.study.answers import Answer, Answers, Person
from s2f_train.study.design import Trial, trials_of
from s2f_train.study.gather import FIELDS, gather
from s2f_train.study.score import Scored, score, scored, write_score
from s2f_train.study.study import PHOTOGRAPH, SCALES, Study, StudyError
from tests.train.study.made_study import answered, made_study


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return made_study(tmp_path_factory.mktemp("score") / "study")


def table(result: Scored, key: str) -> dict[str, dict[str, Any]]:
    """Rows of a table by their first column."""
    tables = [part for section in result.evaluation.sections for part in section.parts if isinstance(part, Table)]
    (found,) = (part for part in tables if part.key == key)
    return {row[found.columns[0].key]: row for row in found.rows}


def share(result: Scored, key: str, row: str, column: str) -> float:
    figure = table(result, key)[row][column]
    assert isinstance(figure, Figure)
    return figure.value


def test_what_people_chose_is_what_stands_there(study: Study) -> None:
    """Of the photograph all is right, of ours what has a voice of even number, of theirs nothing."""

    def choose(person: Person, trial: Trial) -> bool:
        return trial.system == PHOTOGRAPH or (trial.system == "ours" and trial.voice % 2 == 0)

    def rate(person: Person, trial: Trial, scale: str) -> int:
        return {"ours": 4, "theirs": 2, PHOTOGRAPH: 5}[trial.system] - (scale == "appeal")

    result = scored(study, answered(study, 24, choose, rate), draws=50)
    for kind in ("right, all", "right, same gender"):
        assert share(result, "match", PHOTOGRAPH, kind) == 1
        assert share(result, "match", "ours", kind) == 0.5
        assert share(result, "match", "theirs", kind) == 0
        assert share(result, "match_differences", "ours less theirs", kind) == 0.5
    assert share(result, "pair", "ours", "photograph told") == 0.5
    assert share(result, "rate", "ours", "looks real") == 4
    assert share(result, "rate", "ours", "appeal") == 3
    assert share(result, "rate_differences", "ours less theirs", "fits the voice") == 2
    assert share(result, "agreement", "Which face goes with the voice?", "alpha") == 1  # the thing decides the answer
    assert table(result, "agreement")["looks real"]["alpha"].value == 1
    counts = {what: row["count"] for what, row in table(result, "people").items()}
    assert counts["began"] == counts["answered all"] == counts["counted"] == 24
    assert counts["checks of attention met"] == counts["checks of attention right"] == 72
    value, what = result.evaluation.summary[2]
    assert value.startswith("50.0 % (")
    assert what.endswith("ours")


@pytest.mark.slow
def test_the_interval_covers_a_known_preference_at_its_rate(study: Study) -> None:
    """From the design to the figure: people choose by their skill and by how plain a voice is."""
    rng, hits, differences = np.random.default_rng(7), [], []
    levels = {"ours": 0.8, "theirs": 0.1, PHOTOGRAPH: 1.2}
    spread = np.random.default_rng(0).normal(0, np.hypot(0.4, 0.7), 500_000)
    true = {name: float((1 / (1 + np.exp(-level - spread))).mean()) for name, level in levels.items()}
    for _ in range(60):
        skill, plain = rng.normal(0, 0.4, 24), rng.normal(0, 0.7, 24)

        def choose(person: Person, trial: Trial, skill: Any = skill, plain: Any = plain) -> bool:
            logit = levels[trial.system] + skill[person.number] + plain[trial.voice]
            return bool(rng.random() < 1 / (1 + np.exp(-logit)))

        only = replace(study, tasks=study.tasks[:1])
        result = scored(only, answered(only, 24, choose), draws=0)
        for name in levels:
            figure = table(result, "match")[name]["right, all"]
            hits.append(figure.low <= true[name] <= figure.high)
        figure = table(result, "match_differences")["ours less theirs"]["right, all"]
        differences.append(figure.low <= true["ours"] - true["theirs"] <= figure.high)
    assert 0.9 <= np.mean(hits) <= 0.99
    assert np.mean(differences) >= 0.88


def test_who_fails_checks_does_not_count(study: Study) -> None:
    people = answered(study, 12, lambda *_: True)
    careless, other = list(people[0].answers), {"left": "right", "right": "left"}
    for place, trial in enumerate(trials_of(study, 0)):
        if trial.shown["ask"] in ("match", "side"):
            careless[place] = replace(careless[place], given=other[trial.right])
    people[0] = replace(people[0], answers=careless)
    people[1] = replace(people[1], answers=people[1].answers[:1])  # stopped before any check
    gathered = gather(study, people)
    assert [gathered.counted(person) for person in people] == [False, False] + 10 * [True]
    result, everyone = scored(study, people, draws=0), scored(study, people, everyone=True, draws=0)
    assert share(result, "match", "ours", "right, all") == 1
    assert share(everyone, "match", "ours", "right, all") < 1
    assert any(warning.startswith("2 of 12 people do not count") for warning in result.evaluation.warnings)
    assert any(warning.startswith("Everyone counts") for warning in everyone.evaluation.warnings)
    assert {row["person"] for row in result.answers if not row["counted"]} == {0, 1}


def test_a_person_who_stopped_counts_as_far_as_they_came(study: Study) -> None:
    people = answered(study, 8, lambda *_: True)
    trials = trials_of(study, 7)
    upto = next(place for place, trial in enumerate(trials) if trial.check) + 1
    people[7] = replace(people[7], answers=people[7].answers[:upto])
    result = scored(study, people, draws=0)
    counts = {what: row["count"] for what, row in table(result, "people").items()}
    assert (counts["counted"], counts["answered all"]) == (8, 7)


def test_every_answer_is_listed(study: Study) -> None:
    people = answered(study, 3, lambda *_: False, lambda *_: 2)
    result = scored(study, people, draws=0)
    rates = sum(t.shown["ask"] == "rate" for number in range(3) for t in trials_of(study, number))
    assert len(result.answers) == 3 * study.trials + 2 * rates
    for row in result.answers:
        assert tuple(row) == FIELDS
        if not row["check"]:
            assert row["voice"].startswith("voice-")
            assert row["right"] is (None if row["task"] == "rate" else False)
        else:
            assert row["right"] is True
    assert {row["question"] for row in result.answers} == {"choice", *SCALES}


def test_few_people_have_no_interval_and_it_is_said(study: Study) -> None:
    result = scored(study, answered(study, 2, lambda *_: True), draws=0)
    assert table(result, "match")["ours"]["right, all"].low is None
    assert result.evaluation.warnings[0] == "2 people count: there are no intervals below 4."
    assert "too few answers to tell" in {row["people"] for row in table(result, "power").values()}


def test_people_needed(study: Study) -> None:
    rng = np.random.default_rng(0)
    result = scored(study, answered(study, 48, lambda *_: bool(rng.random() < 0.7)), draws=0)
    rows = table(result, "power")
    assert {row["effect"] for row in rows.values()} == {"5 points", "0.2 steps"}
    row = rows["right, all: ours less theirs"]
    assert (row["has"], row["voices"]) == (48, 24)
    assert any(row["people"].replace(",", "").isdigit() for row in rows.values())


def test_the_files(tmp_path: Path) -> None:
    study = made_study(tmp_path / "study", voices=12, each=(6, 2, 3))
    answers = Answers(tmp_path / "study", study)
    for person in answered(study, 6, lambda *_: True):
        answers.begin("ar", 10)
        for answer in person.answers:
            answers.add(person.number, Answer(answer.place, answer.given, 700, 1))
    answers.close()
    for file in (tmp_path / "study" / "media").iterdir():
        file.unlink()  # it is not needed any more
    out = tmp_path / "report"
    write_score(score(tmp_path / "study", draws=20), out)
    first = {file.name: file.read_bytes() for file in out.iterdir()}
    assert sorted(first) == ["answers.csv", "answers.json", "report.html", "report.json"]
    write_score(score(tmp_path / "study", draws=20), out)
    assert {file.name: file.read_bytes() for file in out.iterdir()} == first
    report = json.loads(first["report.json"])
    assert report["format"] == "s2f study report 1"
    assert "never an identification" in report["notice"]
    page = first["report.html"].decode()
    for words in ("A study report, made by", "over people and voices", "never an identification", "Krippendorff"):
        assert words in page
    assert "<img" not in page  # photographs are research data
    rows = list(csv.DictReader(io.StringIO(first["answers.csv"].decode())))
    told = json.loads(first["answers.json"])["answers"]
    assert len(rows) == len(told) == 6 * (14 + 2 * 4)
    assert rows[0]["language"] == told[0]["language"] == "ar"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(FileExistsError, match="is something else"):
        write_score(score(tmp_path / "study", draws=0), tmp_path / "mine")


def test_nobody_has_answered(tmp_path: Path) -> None:
    made_study(tmp_path / "study", voices=12)
    with pytest.raises(StudyError, match="nobody has answered yet"):
        score(tmp_path / "study")
