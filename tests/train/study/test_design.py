"""Every system equally often, every voice in every kind, what is right on no side, and nothing that tells."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from s2f_train.study.design import Trial, trials_of
from s2f_train.study.study import BEEPS, SCALES, Study, StudyError
from tests.train.study.made_study import made_study


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return made_study(tmp_path_factory.mktemp("design") / "study")


def asked(study: Study, number: int, task: str) -> list[Trial]:
    return [trial for trial in trials_of(study, number) if trial.task == task and not trial.check]


def test_a_person_sees_every_kind_equally_often_and_no_voice_twice(study: Study) -> None:
    for number in range(30):
        for task in study.tasks:
            trials = asked(study, number, task.name)
            kinds = Counter((trial.system, trial.kind) for trial in trials)
            assert kinds == dict.fromkeys(task.cells, task.each // len(task.cells))
            assert len({trial.voice for trial in trials}) == task.each


def test_a_cycle_of_people_sees_every_voice_in_every_kind_once(study: Study) -> None:
    for task in study.tasks:
        people = task.voices // task.each * len(task.cells)
        for cycle in range(2):
            numbers = range(cycle * people, (cycle + 1) * people)
            seen = Counter((t.voice, t.system, t.kind) for number in numbers for t in asked(study, number, task.name))
            assert len(seen) == task.voices * len(task.cells)
            assert set(seen.values()) == {1}


def test_right_is_on_no_side(study: Study) -> None:
    for task in study.tasks[:2]:
        people = task.voices // task.each * len(task.cells)
        sides: dict[tuple[int, str, str], list[str]] = {}
        for number in range(2 * people):
            trials = asked(study, number, task.name)
            assert Counter(trial.right for trial in trials) == dict.fromkeys(("left", "right"), task.each // 2)
            for trial in trials:
                sides.setdefault((trial.voice, trial.system, trial.kind), []).append(trial.right)
        assert all(sorted(seen) == ["left", "right"] for seen in sides.values())


def test_of_six_people_each_has_another_order_of_tasks(study: Study) -> None:
    for turn in range(4):
        orders = set()
        for number in range(6 * turn, 6 * turn + 6):
            tasks = [trial.task for trial in trials_of(study, number)]
            order = tuple(dict.fromkeys(tasks))
            assert sum(one != other for one, other in pairwise(tasks)) == 2  # block by block
            orders.add(order)
        assert len(orders) == 6


def test_the_seed_decides(tmp_path: Path, study: Study) -> None:
    other = made_study(tmp_path / "other", seed=1)
    assert trials_of(study, 3) == trials_of(study, 3)
    orders = [[(trial.task, trial.voice) for trial in trials_of(one, 3)] for one in (study, other)]
    assert orders[0] != orders[1]
    assert [t.voice for t in trials_of(study, 3)] != [t.voice for t in trials_of(study, 4)]


def test_checks_are_in_every_block_and_never_first(tmp_path: Path) -> None:
    study = made_study(tmp_path / "study", checks=2)
    for number in range(12):
        trials = trials_of(study, number)
        assert len(trials) == study.trials
        assert Counter(trial.task for trial in trials if trial.check) == {"match": 2, "pair": 2, "rate": 2}
        for place, trial in enumerate(trials):
            if trial.check:
                assert place
                assert trials[place - 1].task == trial.task
                assert trial.accepts(trial.right)


def test_what_is_shown_tells_nothing(study: Study) -> None:
    for number in range(12):
        for trial in trials_of(study, number):
            if not trial.check:
                assert set(trial.shown) <= {"ask", "sound", "left", "right", "face"}
            said = json.dumps(trial.shown)
            assert not any(word in said for word in ("ours", "theirs", "photograph", "voice-", "gender"))


def test_what_is_shown_is_what_was_meant(study: Study) -> None:
    for trial in trials_of(study, 5):
        if trial.check or trial.task == "rate":
            continue
        voice = study.voices[trial.voice]
        wrong = ({"left", "right"} - {trial.right}).pop()
        if trial.task == "match":
            assert trial.shown[trial.right] == voice.faces[trial.system]
            assert trial.shown[wrong] == study.voices[voice.impostors[trial.kind]].faces[trial.system]
            assert trial.shown["sound"] == voice.sound
        else:
            assert (trial.shown[trial.right], trial.shown[wrong]) == (voice.beside, voice.faces[trial.system])


def test_answers_that_are_none(study: Study) -> None:
    trials = {trial.shown["ask"]: trial for number in range(6) for trial in trials_of(study, number)}
    assert set(trials) == {"match", "pair", "rate", "beeps", "side"}
    good = dict.fromkeys(SCALES, 5)
    assert trials["rate"].accepts(good)
    for wrong in ({**good, "fit": 6}, {**good, "fit": True}, {**good, "more": 1}, {"fit": 1}, "left", 3, None):
        assert not trials["rate"].accepts(wrong)
    assert trials["beeps"].accepts(BEEPS[0])
    for wrong in (1, True, "2", good):
        assert not trials["beeps"].accepts(wrong)
    for wrong in ("Left", "", 0, good):
        assert not trials["match"].accepts(wrong)


def test_a_study_is_read_as_it_was_written(tmp_path: Path) -> None:
    study = made_study(tmp_path / "study")
    again = Study.open(tmp_path / "study")
    assert again == study
    assert again.digest == study.digest


def test_what_is_no_study_is_told(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"has no study\.json; make one"):
        Study.open(tmp_path)
    study = made_study(tmp_path / "study")
    file = tmp_path / "study" / "study.json"
    (tmp_path / "study" / "media" / study.voices[0].sound).unlink()
    with pytest.raises(StudyError, match="lacks 1 files"):
        Study.open(tmp_path / "study")
    assert Study.open(tmp_path / "study", media=False) == study
    for text, said in (("[1]", "format 'list'"), ('{"format": "x"}', "format 'x'"), ("{", "cannot be read")):
        file.write_text(text)
        with pytest.raises(StudyError, match=said):
            Study.open(tmp_path / "study")
    file.write_text('{"format": "s2f study 1", "title": "x", "voices": [], "tasks": []}')
    with pytest.raises(StudyError, match="damaged"):
        Study.open(tmp_path / "study")
