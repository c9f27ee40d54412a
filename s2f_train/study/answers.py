"""The answers of a study: a SQLite file to which each answer is appended, on the disk before it is acknowledged.

Of a person it holds a number, the hash of the random key that their browser keeps, the language of the page, what they
answered and how long that took. No name, no address, no time of day.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s2f_train.study.study import ANSWERS, Study, StudyError

TABLES = """
CREATE TABLE IF NOT EXISTS study (digest TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS people (
    number INTEGER PRIMARY KEY AUTOINCREMENT, key_hash TEXT NOT NULL UNIQUE, language TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS answers (
    number INTEGER NOT NULL, place INTEGER NOT NULL, given TEXT NOT NULL, ms INTEGER NOT NULL, plays INTEGER NOT NULL,
    PRIMARY KEY (number, place)
);
"""


@dataclass(frozen=True)
class Answer:
    """Attributes:
    place: of the trial in the person's order, from 0.
    given: "left", "right", a count of beeps, or a step of each scale.
    ms: from when all was there to be seen until the answer.
    plays: how often the voice was heard.
    """

    place: int
    given: Any
    ms: int
    plays: int


@dataclass(frozen=True)
class Person:
    """Attributes:
    number: from 0, by the order in which they came.
    language: in which they began.
    answers: in the order of their places.
    """

    number: int
    language: str
    answers: list[Answer]


class Answers:
    """The open file, for several threads.

    Args:
        folder: of the study.

    Raises:
        StudyError: it belongs to another study, or cannot be used.
    """

    def __init__(self, folder: Path, study: Study):
        self._path = folder / ANSWERS
        self._lock = threading.Lock()
        try:
            self._file = sqlite3.connect(self._path, check_same_thread=False, isolation_level=None, timeout=10)
            self._file.execute("PRAGMA journal_mode = WAL")
            self._file.execute("PRAGMA synchronous = FULL")  # an answer outlives a power cut too
            self._file.execute("PRAGMA secure_delete = ON")  # who takes their answers back leaves none in the file
            self._file.executescript(TABLES)
            with self._transaction():
                found = self._file.execute("SELECT digest FROM study").fetchone()
                if not found:
                    self._file.execute("INSERT INTO study VALUES (?)", (study.digest,))
        except sqlite3.Error as error:
            raise StudyError(
                f"{self._path} cannot be used ({error}); is the disk full, or the folder read-only?"
            ) from None
        _require_same(self._path, found, study)

    def close(self) -> None:
        with self._lock:
            self._file.close()

    def begin(self, language: str, most: int) -> str | None:
        """Takes a person in and returns their key; None where `most` have begun."""
        key = secrets.token_urlsafe(18)
        with self._transaction():
            if self._file.execute("SELECT COUNT(*) FROM people").fetchone()[0] >= most:
                return None
            self._file.execute("INSERT INTO people (key_hash, language) VALUES (?, ?)", (_hash(key), language))
        return key

    def number(self, key: str) -> int | None:
        """Number of the person with a key, from 0; None where there is none."""
        with self._lock:
            found = self._file.execute("SELECT number FROM people WHERE key_hash = ?", (_hash(key),)).fetchone()
        return found[0] - 1 if found else None

    def places(self, number: int) -> set[int]:
        """Which trials a person has answered."""
        with self._lock:
            return {row[0] for row in self._file.execute("SELECT place FROM answers WHERE number = ?", (number + 1,))}

    def add(self, number: int, answer: Answer) -> None:
        """Appends an answer; of a trial that has one, the first stays."""
        row = (number + 1, answer.place, json.dumps(answer.given), answer.ms, answer.plays)
        with self._transaction():
            there = self._file.execute("SELECT 1 FROM people WHERE number = ?", row[:1]).fetchone()
            if there:  # not taken back meanwhile, in another window
                self._file.execute("INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?)", row)

    def forget(self, number: int) -> None:
        """Deletes a person and their answers; the number is not given again."""
        with self._transaction():
            for table in ("answers", "people"):
                self._file.execute(f"DELETE FROM {table} WHERE number = ?", (number + 1,))
        with self._lock:
            self._file.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # nor in its log

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock, self._file:
            self._file.execute("BEGIN IMMEDIATE")
            yield


def read_answers(folder: Path, study: Study) -> list[Person]:
    """All people and what they answered; the study may be running.

    Raises:
        StudyError: nobody has answered, or the file is of another study or cannot be read.
    """
    path = folder / ANSWERS
    if not path.is_file():
        raise StudyError(f"{folder} has no {ANSWERS}: nobody has answered yet; run `study serve {folder}`.")
    try:
        with closing(sqlite3.connect(path, timeout=10)) as file:
            _require_same(path, file.execute("SELECT digest FROM study").fetchone(), study)
            given: dict[int, list[Answer]] = {}
            for number, *row in file.execute("SELECT number, place, given, ms, plays FROM answers ORDER BY 1, 2"):
                given.setdefault(number, []).append(Answer(row[0], json.loads(row[1]), row[2], row[3]))
            listed = file.execute("SELECT number, language FROM people ORDER BY number").fetchall()
    except (sqlite3.Error, json.JSONDecodeError) as error:
        raise StudyError(f"{path} cannot be read ({error}).") from None
    if not given:
        raise StudyError(f"{path} holds no answers yet; {len(listed)} people have begun.")
    return [Person(number - 1, language, given.get(number, [])) for number, language in listed]


def _require_same(path: Path, found: tuple[str] | None, study: Study) -> None:
    if found and found[0] != study.digest:
        raise StudyError(
            f"{path} holds answers to another study ({found[0]}) than study.json beside it ({study.digest}): "
            "study.json was changed since. Put the old one back, or move the answers away."
        )


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
