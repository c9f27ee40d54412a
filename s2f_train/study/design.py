"""Who sees what, in which order: balanced by construction and drawn by the seed, so it is stored nowhere.

A person sees each voice of a task once at most and each cell (system and kind of impostor) equally often. Of a task
with v voices, m trials a person and c cells, every v / m * c people, by the order in which they come, see every voice
with every cell exactly once. What is right stands left as often as right, within a person and over the people who see
a trial. Of every six people each has another order of the three tasks.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np

from s2f_train.study.study import BEEPS, PHOTOGRAPH, SCALES, STEPS, Study, StudyTask, StudyVoice, TaskName

SIDES = ("left", "right")


@dataclass(frozen=True)
class Trial:
    """What a person is asked.

    Attributes:
        task: whose block it is in.
        check: whether it is a check of attention, to which `right` is the answer.
        system, kind: the cell; "" for checks.
        voice: number of the study's voice.
        shown: what the page needs, without what is right.
        right: the right answer; None where there is none, in `rate`.
    """

    task: TaskName
    check: bool
    system: str
    kind: str
    voice: int
    shown: dict[str, Any]
    right: Any

    def accepts(self, given: Any) -> bool:
        """Whether an answer is one to this."""
        asked = self.shown["ask"]
        if asked == "rate":
            steps = isinstance(given, dict) and sorted(given) == sorted(SCALES)
            return steps and all(type(step) is int and step in STEPS for step in given.values())
        return type(given) is int and given in BEEPS if asked == "beeps" else given in SIDES


def trials_of(study: Study, number: int) -> list[Trial]:
    """All trials of a person in their order.

    Args:
        number: of the person, from 0, by the order in which they came.
    """
    orders = list(permutations(range(len(study.tasks))))
    turn, place = divmod(number, len(orders))
    order = orders[np.random.default_rng([study.seed, 51, turn]).permutation(len(orders))[place]]
    return [trial for at in order for trial in _block(study, study.tasks[at], number)]


def _block(study: Study, task: StudyTask, number: int) -> list[Trial]:
    of_task = [study.seed, ord(task.name[0])]
    voices = np.random.default_rng([*of_task, 52]).permutation(task.voices)
    groups, cells = task.voices // task.each, len(task.cells)
    rest, group = divmod(number, groups)
    cycle, shift = divmod(rest, cells)
    trials = []
    for i in range(task.each):
        cell = (i + shift) % cells
        side = (i // cells + cell + cycle) % 2
        trials.append(_trial(study, task, *task.cells[cell], int(voices[group * task.each + i]), side))
    rng = np.random.default_rng([*of_task, 53, number])
    asked = [trials[i] for i in rng.permutation(len(trials))]
    for _ in range(study.checks):  # never the first: people are still reading what to do
        asked.insert(int(rng.integers(1, len(asked) + 1)), _check(study, task, rng))
    return asked


def _trial(study: Study, task: StudyTask, system: str, kind: str, number: int, side: int) -> Trial:
    voice = study.voices[number]
    shown: dict[str, Any] = {"ask": task.name}
    if task.name != "pair":
        shown["sound"] = voice.sound
    if task.name == "rate":
        return Trial(task.name, False, system, kind, number, {**shown, "face": voice.faces[system]}, None)
    if task.name == "match":
        pair = voice.faces[system], study.voices[voice.impostors[kind]].faces[system]
    else:
        pair = voice.beside, voice.faces[system]
    shown |= dict(zip(SIDES, pair if side == 0 else pair[::-1], strict=True))
    return Trial(task.name, False, system, kind, number, shown, SIDES[side])


def _check(study: Study, task: StudyTask, rng: np.random.Generator) -> Trial:
    """Beeps to count, a side to choose, or steps to give, as the words of the page say."""
    if task.name == "match":
        which = int(rng.integers(len(BEEPS)))
        return Trial(task.name, True, "", "", -1, {"ask": "beeps", "sound": study.beeps[which]}, BEEPS[which])
    voice, other = (study.voices[i] for i in rng.choice(task.voices, 2, replace=False))
    if task.name == "pair":
        right = SIDES[rng.integers(2)]
        shown: dict[str, Any] = {"ask": "side", "left": _any(voice), "right": _any(other), "told": right}
        return Trial(task.name, True, "", "", -1, shown, right)
    steps = {scale: int(rng.choice(STEPS)) for scale in SCALES}
    shown = {"ask": "rate", "sound": voice.sound, "face": _any(voice), "told": steps}
    return Trial(task.name, True, "", "", -1, shown, steps)


def _any(voice: StudyVoice) -> str:
    """A made face: a check shows nothing that is asked about."""
    return next(file for system, file in voice.faces.items() if system != PHOTOGRAPH)
