"""The answers of a study with what was asked: who counts, as rows for files and as arrays for figures."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from s2f_train.study.answers import Person
from s2f_train.study.crossed import Answers
from s2f_train.study.design import Trial, trials_of
from s2f_train.study.study import SCALES, Study

CHECKS_RIGHT = 0.75  # of the checks that a person met: fewer, and their answers do not count
FIELDS = (
    "person", "language", "counted", "place", "task", "check", "system", "impostor", "voice", "question", "given",
    "right", "ms", "plays",
)  # fmt: skip


@dataclass(frozen=True)
class TrialAnswer:
    """An answer to one question of a trial.

    Attributes:
        person: number.
        question: a scale of `rate`; "choice" of the others.
        value: 1 or 0, right or wrong; the step of a scale.
        counted: whether the person counts.
    """

    person: Person
    place: int
    trial: Trial
    question: str
    given: Any
    value: float
    ms: int
    plays: int
    counted: bool


@dataclass(frozen=True)
class Attention:
    """A person's attention checks: how many were shown, and how many answered right."""

    met: int
    right: int

    @property
    def counts(self) -> bool:
        return self.met > 0 and self.right >= CHECKS_RIGHT * self.met


@dataclass(frozen=True)
class StudyAnswers:
    """All answers of a study.

    Attributes:
        people: everyone who began.
        attention: number of a person -> their checks.
        rows: in the order in which they came.
    """

    study: Study
    people: list[Person]
    attention: dict[int, Attention]
    rows: list[TrialAnswer]

    def counted(self, person: Person, everyone: bool = False) -> bool:
        checked = everyone or not self.study.checks or self.attention[person.number].counts
        return bool(person.answers) and checked

    def of(self, task: str, system: str | None = None, kind: str | None = None, question: str = "choice") -> Answers:
        """(values, people, voices) of the answers that count; None: all."""
        found = [
            (row.value, row.person.number, row.trial.voice)
            for row in self.rows
            if row.counted and not row.trial.check and row.trial.task == task and row.question == question
            and system in (None, row.trial.system) and kind in (None, row.trial.kind)
        ]  # fmt: skip
        values, person, voice = zip(*found, strict=True) if found else ((), (), ())
        return np.array(values, np.float64), np.array(person, np.int64), np.array(voice, np.int64)


def gather(study: Study, people: list[Person], everyone: bool = False) -> StudyAnswers:
    """Joins answers and trials.

    Args:
        everyone: whether people count too who failed checks of attention.
    """
    attention: dict[int, Attention] = {}
    found = StudyAnswers(study, people, attention, [])
    for person in people:
        trials = trials_of(study, person.number)
        checks = [answer.given == trials[answer.place].right for answer in person.answers if trials[answer.place].check]
        attention[person.number] = Attention(len(checks), sum(checks))
        counted = found.counted(person, everyone)
        for answer in person.answers:
            trial = trials[answer.place]
            rated = isinstance(answer.given, dict)
            for question in SCALES if rated else ("choice",):
                given = answer.given[question] if rated else answer.given
                right = trial.right[question] if rated and trial.check else trial.right
                value = float(given if rated and not trial.check else given == right)
                found.rows.append(
                    TrialAnswer(person, answer.place, trial, question, given, value, answer.ms, answer.plays, counted)
                )
    return found


def listed(gathered: StudyAnswers) -> list[dict[str, Any]]:
    """Every answer as plain values by `FIELDS`; `right` is None where nothing is right or wrong."""
    return [
        dict(
            zip(
                FIELDS,
                (
                    row.person.number, row.person.language, row.counted, row.place, row.trial.task, row.trial.check,
                    row.trial.system, row.trial.kind,
                    "" if row.trial.check else gathered.study.voices[row.trial.voice].key, row.question, row.given,
                    None if row.trial.right is None else bool(row.value), row.ms, row.plays,
                ),
                strict=True,
            )
        )
        for row in gathered.rows
    ]  # fmt: skip


def as_csv(rows: Iterable[dict[str, Any]]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(FIELDS)
    for row in rows:
        writer.writerow(int(value) if isinstance(value, bool) else value for value in row.values())
    return file.getvalue()


def as_json(study: Study, rows: list[dict[str, Any]]) -> str:
    whole = {"format": "s2f study answers 1", "study": study.digest, "answers": rows}
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"
