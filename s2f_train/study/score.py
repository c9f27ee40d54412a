"""The report of a study: how good people find each system's faces, how sure that is, and how many more it takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from s2f_train.evaluate.report import write_report
from s2f_train.evaluate.summary import words
from s2f_train.evaluate.tables import Column, Evaluation, Section, Table
from s2f_train.study.agreement import UnitBootstrap
from s2f_train.study.answers import Person, read_answers
from s2f_train.study.crossed import FEWEST, Crossed, crossed_difference, crossed_mean
from s2f_train.study.gather import CHECKS_RIGHT, StudyAnswers, as_csv, as_json, gather, listed
from s2f_train.study.study import LANGUAGES, PHOTOGRAPH, SCALES, Study, StudyTask

KIND = "study report"
READING = (
    "Ranges in brackets are intervals of 95 % over people and voices, since both vary: other people would answer "
    "otherwise, and other voices would be answered otherwise. The variance is that of crossed random effects of "
    "people and voices, estimated by moments (two-way clustered; Cameron, Gelbach and Miller 2011; Owen 2007), with "
    "Student's t; shares have Wilson's interval of as many answers as that variance is worth. A two-way bootstrap "
    "would be too wide where each person hears a voice once. No winner is printed bold: see whether a difference's "
    "range holds 0."
)
FEW_PEOPLE = 20
POINTS, STEPS = 0.05, 0.2  # 5 points of a share; as much of the 4 steps between 1 and 5
WORDS = {"realism": "looks real", "fit": "fits the voice", "appeal": "appeal"}


@dataclass(frozen=True)
class Scored:
    """The report and, as plain values, every answer."""

    evaluation: Evaluation
    study: Study
    answers: list[dict[str, Any]]


@dataclass(frozen=True)
class _Measure:
    """A figure that every system of a task has.

    Attributes:
        label: above its column.
        effect: what is to be seen, of `said` words.
    """

    task: StudyTask
    label: str
    kind: str
    question: str
    share: bool
    effect: float
    said: str


def score(folder: Path, everyone: bool = False, draws: int = 1000) -> Scored:
    """Scores a study; it may be running.

    Args:
        everyone: whether people count too who failed checks of attention.
        draws: of the bootstrap of agreement.

    Raises:
        StudyError: it is none, or nobody has answered.
    """
    study = Study.open(folder, media=False)
    return scored(study, read_answers(folder, study), everyone, draws)


def scored(study: Study, people: list[Person], everyone: bool = False, draws: int = 1000) -> Scored:
    """The score of people whose answers are in memory; see `score`."""
    gathered = gather(study, people, everyone)
    names = ", ".join(study.systems)
    counted = [person for person in gathered.people if gathered.counted(person, everyone)]
    sections = [
        *(_section(gathered, task) for task in study.tasks), _agreement(gathered, draws), _power(gathered),
        _people(gathered, everyone),
    ]  # fmt: skip
    evaluation = Evaluation(
        f"{study.title}: {names}, judged by {len(counted)} people", _summary(gathered, len(counted)),
        _facts(gathered, len(counted), everyone), _warnings(gathered, len(counted), everyone), sections, kind=KIND,
        reading=READING,
    )  # fmt: skip
    return Scored(evaluation, study, listed(gathered))


def write_score(result: Scored, folder: Path) -> None:
    """Writes report.html, report.json, answers.csv and answers.json, all of them or none.

    Raises:
        FileExistsError: the folder is something else than an earlier report of a study.
    """
    files = {"answers.csv": as_csv(result.answers), "answers.json": as_json(result.study, result.answers)}
    write_report(result.evaluation, folder, files)


# ------------------------------------------------------------------------------- figures


def _measures(task: StudyTask) -> list[_Measure]:
    if task.name == "rate":
        return [_Measure(task, WORDS[scale], "", scale, False, STEPS, f"{STEPS} steps") for scale in SCALES]
    said = f"{100 * POINTS:.0f} points"
    if task.name == "pair":
        return [_Measure(task, "photograph told", "", "choice", True, POINTS, said)]
    kinds = list(dict.fromkeys(kind for _, kind in task.cells))
    return [_Measure(task, f"right, {kind}", kind, "choice", True, POINTS, said) for kind in kinds]


def _mean(gathered: StudyAnswers, measure: _Measure, system: str) -> Crossed:
    return crossed_mean(gathered.of(measure.task.name, system, measure.kind, measure.question))


def _difference(gathered: StudyAnswers, measure: _Measure, one: str, other: str) -> Crossed:
    of = (gathered.of(measure.task.name, system, measure.kind, measure.question) for system in (one, other))
    return crossed_difference(*of)


def _systems(task: StudyTask) -> list[str]:
    """The systems, then the photograph."""
    names = list(dict.fromkeys(system for system, _ in task.cells))
    return sorted(names, key=lambda name: name == PHOTOGRAPH)


TITLES = {
    "match": (
        "Which face goes with the voice?",
        "A voice, and two faces of one kind: two photographs, of the speaker and of someone else, or two faces that "
        "one system made, for this voice and for the other person's. Guessing gives 50 %. Everyone is the wrong one "
        "as often as the right one.",
    ),
    "pair": (
        "Which one is the photograph?",
        "A made face beside a photograph of someone else. At 50 % people cannot tell them apart.",
    ),
    "rate": (
        "Realism, fit, appeal",
        "A voice and one face, each rated from 1 to 5; table 5.3 of the thesis, whose authors judged alone.",
    ),
}


def _section(gathered: StudyAnswers, task: StudyTask) -> Section:
    measures, systems = _measures(task), _systems(task)
    better: Any = "lower" if task.name == "pair" else "higher"

    def column(measure: _Measure) -> Column:
        kind: Any = "share figure" if measure.share else "figure"
        return Column(measure.label, measure.label, kind, 1 if measure.share else 2, better)

    def kind_of(system: str) -> str:
        return "ceiling" if system == PHOTOGRAPH else gathered.study.systems[system]

    rows: list[dict[str, Any]] = [
        {"system": system, "_kind": kind_of(system)}
        | {measure.label: _mean(gathered, measure, system).figure(measure.share) for measure in measures}
        for system in systems
    ]
    columns = [Column("system", "faces", "text"), *map(column, measures)]
    tables = [Table(task.name, "By system", "", columns, rows)]
    pairs = [
        {"system": f"{one} less {other}"}
        | {measure.label: _difference(gathered, measure, one, other).figure(False) for measure in measures}
        for one, other in combinations(systems, 2)
    ]
    if pairs:
        note = (
            f"The same people on the same voices. Of twenty such ranges one leaves out the truth by chance; here are "
            f"{len(pairs) * len(measures)}."
        )
        tables.append(Table(f"{task.name}_differences", "Systems compared", note, columns, pairs))
    return Section(*TITLES[task.name], tables)


# ------------------------------------------------------------------------------ agreement


def _agreement(gathered: StudyAnswers, draws: int) -> Section:
    """Of each question, over the things that were asked about."""
    rows = []
    for task in gathered.study.tasks:
        cells = {cell: i for i, cell in enumerate(task.cells)}
        for question in SCALES if task.name == "rate" else ("choice",):
            mine = [
                row for row in gathered.rows
                if row.counted and not row.trial.check and row.trial.task == task.name and row.question == question
            ]  # fmt: skip
            units = [row.trial.voice * len(cells) + cells[row.trial.system, row.trial.kind] for row in mine]
            size = len(cells) * task.voices
            alpha = UnitBootstrap(size, draws, gathered.study.seed).alpha(
                units, [row.value for row in mine], ordered=task.name == "rate"
            )
            label = WORDS[question] if task.name == "rate" else TITLES[task.name][0]
            each = len(mine) / max(1, len(set(units)))
            rows.append({"question": label, "alpha": alpha, "each": each, "answers": len(mine)})
    columns = [
        Column("question", "question", "text"), Column("alpha", "Krippendorff's α", "figure", 2, "higher"),
        Column("each", "people on one thing", "number", 1), Column("answers", "answers", "count"),
    ]  # fmt: skip
    text = (
        "1 where all people answer alike on each thing (a voice with a system's face), 0 where they agree as by "
        "chance. Steps of a scale are ordered, choices are not. A low agreement is not a fault of the people: it says "
        "that the things do not decide the answer. Intervals are over the things, by bootstrap."
    )
    return Section("Agreement between people", text, [Table("agreement", "Agreement", "", columns, rows)])


# ---------------------------------------------------------------------------------- power


def _power(gathered: StudyAnswers) -> Section:
    def rows() -> Iterator[dict[str, Any]]:
        for task in gathered.study.tasks:
            for measure in _measures(task):
                for system in _systems(task) if measure.share else ():
                    yield row(f"{measure.label}: {system}, from guessing", measure, _mean(gathered, measure, system))
                for one, other in combinations(_systems(task), 2):
                    found = _difference(gathered, measure, one, other)
                    yield row(f"{measure.label}: {one} less {other}", measure, found)

    def row(what: str, measure: _Measure, found: Crossed) -> dict[str, Any]:
        needed = found.needed(measure.effect)
        if needed.people is not None:
            said = f"{needed.people:,}"
        else:
            said = f"no number: at least {needed.voices:,} voices" if needed.voices else "too few answers to tell"
        return {"what": what, "effect": measure.said, "people": said, "has": found.people, "voices": found.voices}

    columns = [
        Column("what", "figure", "text"), Column("effect", "to see", "text"), Column("people", "people needed", "text"),
        Column("has", "people here", "count"), Column("voices", "voices here", "count"),
    ]  # fmt: skip
    text = (
        f"How many people see a true effect of {100 * POINTS:.0f} points of a share, or {STEPS} steps of a scale, in "
        "four of five studies (power 80 %, level 5 %), each answering as much as here, on these voices. Where voices "
        "differ too much, more people do not help: more voices do. Of a small study these are rough."
    )
    return Section("How many people it takes", text, [Table("power", "People needed", "", columns, list(rows()))])


# --------------------------------------------------------------------------------- people


def _people(gathered: StudyAnswers, everyone: bool) -> Section:
    study, people = gathered.study, gathered.people
    attention = [gathered.attention[person.number] for person in people]
    answered = [person for person in people if person.answers]
    rows = [
        ("began", len(people)),
        ("answered something", len(answered)),
        ("answered all", sum(len(person.answers) == study.trials for person in people)),
        ("counted", sum(gathered.counted(person, everyone) for person in people)),
        ("checks of attention met", sum(one.met for one in attention)),
        ("checks of attention right", sum(one.right for one in attention)),
        *((f"in {name}", sum(person.language == code for person in answered)) for code, name in LANGUAGES.items()),
    ]
    parts = [
        Table("people", "Who took part", "", [Column("what", "", "text"), Column("count", "people, checks", "count")],
              [{"what": what, "count": count} for what, count in rows])
    ]  # fmt: skip
    times = []
    for task in study.tasks:
        mine = [r for r in gathered.rows if r.counted and r.trial.task == task.name and r.question in ("choice", "fit")]
        times.append(
            {"task": TITLES[task.name][0], "seconds": _median([row.ms / 1000 for row in mine]),
             "plays": _median([float(row.plays) for row in mine])}
        )  # fmt: skip
    columns = [
        Column("task", "task", "text"), Column("seconds", "seconds a trial, median", "number", 1),
        Column("plays", "times the voice was heard, median", "number", 1),
    ]  # fmt: skip
    parts.append(Table("times", "How long it took", "", columns, times))
    text = (
        f"People count who met a check of attention and had {100 * CHECKS_RIGHT:.0f} % of those they met right, also "
        "if they stopped before the end. Who took their answers back is nowhere."
    )
    return Section("People", text, parts)


def _median(given: list[float]) -> float:
    return float(np.median(given)) if given else float("nan")


def _summary(gathered: StudyAnswers, counted: int) -> list[tuple[str, str]]:
    first = next(iter(gathered.study.systems))
    tiles = [(str(counted), "people"), (str(sum(row.counted for row in gathered.rows)), "answers")]
    for task in gathered.study.tasks:
        for measure in _measures(task):
            figure = _mean(gathered, measure, first).figure(measure.share)
            if np.isfinite(figure.value):
                of = "face of a voice, " if task.name == "match" else ""
                tiles.append((words(figure, measure.share), f"{of}{measure.label}: {first}"))
    return tiles


def _facts(gathered: StudyAnswers, counted: int, everyone: bool) -> dict[str, Any]:
    study = gathered.study
    tasks = {
        task.name: {"trials a person": task.each, "voices": task.voices, "kinds": len(task.cells)}
        for task in study.tasks
    }
    return {
        **study.facts, "study": study.digest, "people who count": counted, "everyone counts": everyone,
        "speakers by gender": {g or "not known": sum(v.gender == g for v in study.voices) for g in ("f", "m", "")},
        "tasks": tasks,
    }  # fmt: skip


def _warnings(gathered: StudyAnswers, counted: int, everyone: bool) -> list[str]:
    answered = sum(bool(person.answers) for person in gathered.people)
    found = list(gathered.study.facts.get("cautions", []))
    if counted < FEWEST:
        found.insert(0, f"{counted} people count: there are no intervals below {FEWEST}.")
    elif counted < FEW_PEOPLE:
        found.insert(0, f"{counted} people count: their answers say little of others, as the ranges show.")
    if everyone:
        found.append("Everyone counts, also who failed checks of attention.")
    elif counted < answered:
        found.append(
            f"{answered - counted} of {answered} people do not count, since they failed checks of attention or met "
            "none; see what they change with --everyone."
        )
    return found
