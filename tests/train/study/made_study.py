"""Small studies written directly, and people whose preference is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from s2f_train.study.answers import Answer, Person
from s2f_train.study.design import SIDES, Trial, trials_of
from s2f_train.study.make import TEMPLATES
from s2f_train.study.stimuli import Media, beeps
from s2f_train.study.study import (
    ALL,
    BEEPS,
    FILE,
    MEDIA,
    PHOTOGRAPH,
    SAME,
    SCALES,
    Study,
    StudyTask,
    StudyVoice,
)

SOUND = 800  # samples of a voice, and of what stands for beeps: a browser plays them in their time
Choose = Callable[[Person, Trial], bool]
Rate = Callable[[Person, Trial, str], int]


def made_study(
    folder: Path, systems: tuple[str, ...] = ("ours", "theirs"), voices: int = 24,
    each: tuple[int, int, int] = (12, 4, 6), checks: int = 1, seed: int = 0,
) -> Study:  # fmt: skip
    """Writes a study whose pictures are of one colour each, and whose voices last 0.05 s.

    Args:
        each: trials a person of each task, a multiple of its cells; 0: none.
    """
    (folder / MEDIA).mkdir(parents=True)
    media, rng = Media(folder / MEDIA, seed), np.random.default_rng(seed)

    def picture() -> str:
        return media.picture(np.full((64, 64, 3), rng.integers(256, size=3), np.uint8))

    said = [
        StudyVoice(
            f"voice-{i}", "fm"[i % 2], media.sound(0.1 * rng.standard_normal(SOUND).astype(np.float32)),
            {name: picture() for name in (PHOTOGRAPH, *systems)}, picture(),
            {ALL: (i + 1) % voices, SAME: (i + 2) % voices},
        )
        for i in range(voices)
    ]  # fmt: skip
    every = (PHOTOGRAPH, *systems)
    cells: dict[str, list[tuple[str, str]]] = {
        "match": [(name, kind) for name in every for kind in (ALL, SAME)],
        "pair": [(name, "") for name in systems],
        "rate": [(name, "") for name in every],
    }
    tasks = [
        StudyTask(name, cells[name], count, count * (voices // count))  # type: ignore[arg-type]
        for name, count in zip(cells, each, strict=True)
        if count
    ]
    kinds = dict.fromkeys(systems, "system")
    study = Study("Made", seed, kinds, said, tasks, checks, [media.sound(beeps(count)[:SOUND]) for count in BEEPS], {})
    for language in ("en", "ar"):
        (folder / f"consent.{language}.txt").write_text((TEMPLATES / f"consent.{language}.txt").read_text())
    (folder / FILE).write_text(study.as_json())
    return study


def answer_of(trial: Trial, right: bool, rate: Callable[[str], int]) -> Any:
    """What a person gives who passes every check."""
    if trial.check:
        return trial.right
    if trial.task == "rate":
        return {scale: rate(scale) for scale in SCALES}
    return trial.right if right else SIDES[1 - SIDES.index(trial.right)]


def answered(study: Study, people: int, choose: Choose, rate: Rate = lambda *_: 3) -> list[Person]:
    """People who answer all."""
    found = []
    for number in range(people):
        person = Person(number, "en", [])
        for place, trial in enumerate(trials_of(study, number)):
            given = answer_of(
                trial, not trial.check and choose(person, trial), lambda s, p=person, t=trial: rate(p, t, s)  # type: ignore[misc]
            )  # fmt: skip
            person.answers.append(Answer(place, given, 1000, 1))
        found.append(person)
    return found
