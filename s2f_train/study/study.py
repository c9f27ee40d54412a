"""What a study is: voices, systems and tasks, in a folder that needs nothing else.

study/
  study.json        all of it, with what is right; written last
  media/            sounds and pictures, whose names say nothing
  consent.en.txt    what people agree to; edit both before the study begins
  consent.ar.txt
  README.md         what may be done with the folder
  answers.sqlite    what people answered; comes with the first of them
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

FORMAT = "s2f study 1"
FILE, MEDIA, ANSWERS = "study.json", "media", "answers.sqlite"
LANGUAGES = {"en": "English", "ar": "Arabic"}
PHOTOGRAPH = "photograph"  # the speaker's own, which stands beside the systems
ALL, SAME = "all", "same gender"
BEEPS = (2, 3, 4, 5)  # how many are in the sounds of the checks
SCALES = ("realism", "fit", "appeal")
STEPS = (1, 2, 3, 4, 5)

TaskName = Literal["match", "pair", "rate"]
TASKS: tuple[TaskName, ...] = ("match", "pair", "rate")


class StudyError(ValueError):
    """A study cannot be made, served or scored."""


@dataclass(frozen=True)
class StudyVoice:
    """A voice and the faces for it; all files are names in `media/`.

    Attributes:
        key: of the voice in the store.
        gender: of the speaker by the data, "" where it is not known.
        sound: FLAC.
        faces: name of a system -> PNG, `PHOTOGRAPH` among them.
        beside: PNG of the photograph of someone else that made faces stand beside in the task `pair`.
        impostors: `ALL` or `SAME` -> number of the voice whose faces are the wrong ones; of voices of `match` alone.
    """

    key: str
    gender: str
    sound: str
    faces: dict[str, str]
    beside: str
    impostors: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class StudyTask:
    """A task.

    Attributes:
        name: "match": which of two faces goes with a voice; "pair": which of two pictures is the photograph;
            "rate": realism, fit to the voice, appeal.
        cells: what a trial may be of: (system, `ALL`, `SAME` or "").
        each: trials a person: a multiple of the cells.
        voices: the first so many of the study's are used: a multiple of `each`.
    """

    name: TaskName
    cells: list[tuple[str, str]]
    each: int
    voices: int


@dataclass(frozen=True)
class Study:
    """Attributes:
    title: what people see.
    seed: of every choice and every order.
    systems: name -> "system" or "reference", in the order of the report; `PHOTOGRAPH` is none of them.
    voices, tasks: see there.
    checks: of attention, a task.
    beeps: FLAC of the checks, in the order of `BEEPS`.
    facts: what it was made from, for the report; plain JSON values.
    """

    title: str
    seed: int
    systems: dict[str, str]
    voices: list[StudyVoice]
    tasks: list[StudyTask]
    checks: int
    beeps: list[str]
    facts: dict[str, Any]

    @cached_property
    def digest(self) -> str:
        """Hash of all that decides what an answer means."""
        return hashlib.sha256(self.as_json().encode()).hexdigest()[:16]

    @property
    def trials(self) -> int:
        """A person, checks included."""
        return sum(task.each + self.checks for task in self.tasks)

    def as_json(self) -> str:
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def open(cls, folder: Path, media: bool = True) -> Study:
        """Reads a study.

        Args:
            media: whether its files must be there.

        Raises:
            StudyError: it is none, or a file is missing.
        """
        if not (folder / FILE).is_file():
            raise StudyError(f"{folder} is no study: it has no {FILE}; make one with `study make --out {folder}`.")
        try:
            said = json.loads((folder / FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise StudyError(f"{folder / FILE} cannot be read ({error}).") from None
        if not isinstance(said, Mapping) or said.get("format") != FORMAT:
            found = said.get("format") if isinstance(said, Mapping) else type(said).__name__
            raise StudyError(f"{folder / FILE} is of format {found!r}, not {FORMAT!r}; make the study anew.")
        try:
            fields = {name: value for name, value in said.items() if name != "format"}
            fields["voices"] = [StudyVoice(**voice) for voice in said["voices"]]
            fields["tasks"] = [
                StudyTask(**{**task, "cells": [(system, kind) for system, kind in task["cells"]]})
                for task in said["tasks"]
            ]
            study = cls(**fields)
        except (KeyError, TypeError, ValueError) as error:
            raise StudyError(f"{folder / FILE} is damaged: {error!r}; make the study anew.") from None
        missing = [name for name in sorted(study.files) if media and not (folder / MEDIA / name).is_file()]
        if missing:
            raise StudyError(
                f"{folder / MEDIA} lacks {len(missing)} files of the study, such as {missing[0]}; copy the folder anew."
            )
        return study

    @property
    def files(self) -> set[str]:
        """All names in `media/`."""
        pictures = {name for voice in self.voices for name in (*voice.faces.values(), voice.beside, voice.sound)}
        return pictures | set(self.beeps)


def is_unanswered_study(folder: Path) -> bool:
    """Whether a folder is a study that nobody has answered yet, and so may be replaced."""
    try:
        Study.open(folder, media=False)
    except StudyError:
        return False
    return not (folder / ANSWERS).exists()
