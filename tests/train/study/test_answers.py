"""Nothing is lost, nothing is counted twice, nobody can be known."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from s2f_train.study.answers import Answer, Answers, read_answers
from s2f_train.study.study import ANSWERS, Study, StudyError
from tests.train.study.made_study import made_study


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return made_study(tmp_path / "study", voices=12)


def begun(answers: Answers) -> str:
    key = answers.begin("ar", 10)
    assert key is not None
    return key


def test_a_person_goes_on_after_the_server_was_closed(tmp_path: Path, study: Study) -> None:
    answers = Answers(tmp_path / "study", study)
    first, second = begun(answers), begun(answers)
    assert (answers.number(first), answers.number(second), answers.number("other")) == (0, 1, None)
    answers.add(1, Answer(0, "left", 1200, 2))
    answers.add(1, Answer(1, {"fit": 2}, 900, 1))
    answers.close()
    again = Answers(tmp_path / "study", study)
    assert again.number(second) == 1
    assert again.places(1) == {0, 1}
    people = read_answers(tmp_path / "study", study)  # while it is open
    assert [person.language for person in people] == ["ar", "ar"]
    assert people[0].answers == []
    assert people[1].answers == [Answer(0, "left", 1200, 2), Answer(1, {"fit": 2}, 900, 1)]
    again.close()


def test_of_a_trial_the_first_answer_stays(tmp_path: Path, study: Study) -> None:
    answers = Answers(tmp_path / "study", study)
    begun(answers)
    answers.add(0, Answer(4, "left", 1000, 1))
    answers.add(0, Answer(4, "right", 2000, 3))
    assert read_answers(tmp_path / "study", study)[0].answers == [Answer(4, "left", 1000, 1)]
    answers.close()


def test_no_more_people_than_wanted(tmp_path: Path, study: Study) -> None:
    answers = Answers(tmp_path / "study", study)
    assert answers.begin("en", 1)
    assert answers.begin("en", 1) is None
    answers.close()


def test_who_takes_their_answers_back_leaves_nothing(tmp_path: Path, study: Study) -> None:
    answers = Answers(tmp_path / "study", study)
    gone, stays = begun(answers), begun(answers)
    for place in range(50):
        answers.add(0, Answer(place, f"remarkable-{place}", 1000, 1))
    answers.add(1, Answer(0, "left", 1000, 1))
    answers.forget(0)
    assert (answers.number(gone), answers.number(stays)) == (None, 1)
    answers.add(0, Answer(0, "left", 1, 1))  # from another window
    third = begun(answers)
    assert answers.number(third) == 2  # the number is not given again
    answers.close()
    assert [person.number for person in read_answers(tmp_path / "study", study)] == [1, 2]
    assert b"remarkable" not in b"".join(file.read_bytes() for file in (tmp_path / "study").glob(f"{ANSWERS}*"))


def test_the_file_holds_no_key_and_no_time_of_day(tmp_path: Path, study: Study) -> None:
    answers = Answers(tmp_path / "study", study)
    key = begun(answers)
    answers.add(0, Answer(0, "left", 1000, 1))
    answers.close()
    assert key.encode() not in (tmp_path / "study" / ANSWERS).read_bytes()
    with sqlite3.connect(tmp_path / "study" / ANSWERS) as file:
        columns = {
            table: [row[1] for row in file.execute(f"PRAGMA table_info({table})")]
            for table in ("study", "people", "answers")
        }
    assert columns == {
        "study": ["digest"],
        "people": ["number", "key_hash", "language"],
        "answers": ["number", "place", "given", "ms", "plays"],
    }


def test_answers_of_another_study_are_refused(tmp_path: Path, study: Study) -> None:
    other = made_study(tmp_path / "other", voices=12, seed=1)
    answers = Answers(tmp_path / "study", study)
    begun(answers)
    answers.add(0, Answer(0, "left", 1000, 1))
    answers.close()
    for opened in (Answers, read_answers):
        with pytest.raises(StudyError, match="holds answers to another study"):
            opened(tmp_path / "study", other)  # type: ignore[operator]


def test_what_cannot_be_read_is_told(tmp_path: Path, study: Study) -> None:
    with pytest.raises(StudyError, match="nobody has answered yet; run `study serve"):
        read_answers(tmp_path / "study", study)
    answers = Answers(tmp_path / "study", study)
    begun(answers)
    answers.close()
    with pytest.raises(StudyError, match="holds no answers yet; 1 people have begun"):
        read_answers(tmp_path / "study", study)
    (tmp_path / "study" / ANSWERS).write_text("this is no database, it is a text that is long enough " * 20)
    for opened, said in ((Answers, "cannot be used"), (read_answers, "cannot be read")):
        with pytest.raises(StudyError, match=said):
            opened(tmp_path / "study", study)  # type: ignore[operator]
