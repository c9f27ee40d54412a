"""Makes a study: chooses voices, lets every system make its faces, and writes the folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from s2f_edge import Speech2Face, __version__
from s2f_train.data.frame import SIDE
from s2f_train.data.store import Store
from s2f_train.evaluate.about import training_cautions
from s2f_train.evaluate.cache import VectorCache
from s2f_train.evaluate.framing import Framer
from s2f_train.evaluate.hearing import hear_all, speech_of
from s2f_train.evaluate.pairs import in_turn
from s2f_train.evaluate.photographs import open_photographs
from s2f_train.evaluate.progress import each
from s2f_train.evaluate.subjects import StoredPictures, Subjects, choose
from s2f_train.evaluate.systems import ComparisonSettings, System, faces_of, main_generator, of_folder, of_view
from s2f_train.evaluate.tables import Picture
from s2f_train.folders import check_replaceable, written_whole
from s2f_train.prepare.align import resize_aligned
from s2f_train.study.stimuli import Media, beeps, to_hear
from s2f_train.study.study import (
    ALL,
    BEEPS,
    FILE,
    LANGUAGES,
    MEDIA,
    PHOTOGRAPH,
    SAME,
    TASKS,
    Study,
    StudyError,
    StudyTask,
    StudyVoice,
    is_unanswered_study,
)  # fmt: skip

TEMPLATES = Path(__file__).with_name("folder")
PER_SPEAKER = 5  # voices of which the first is taken that every system has a face for
SPARE = 1.25  # voices that are heard for each that is wanted: some are refused
ASK = {"en": "the person who sent you here.", "ar": "من أرسل إليك هذه الصفحة."}


@dataclass(frozen=True)
class StudySettings(ComparisonSettings):
    """What is asked, about whom: see `ComparisonSettings` too. Its photographs are for the task `pair`; "": those of
    other speakers.

    Attributes:
        generator: of packs; "": what the voice says, or the general one of packs that cannot tell.
        voices: of as many speakers, at most.
        each: trials a person, of each of `TASKS`; 0: none.
        checks: of attention, a task.
        seconds: of a voice, at most.
        zoom: how close faces are shown; 1 shows the whole frame, with hair and what a camera's picture ends in.
        title, contact: what people see; whom they can ask.
    """

    generator: str = ""
    voices: int = 48
    each: tuple[int, int, int] = (16, 12, 12)
    checks: int = 1
    seconds: float = 8.0
    zoom: float = 1.3
    title: str = "Voices and faces"
    contact: str = ""

    @property
    def systems(self) -> dict[str, str]:
        """Name -> "system" or "reference".

        Raises:
            StudyError: there is none, or two have one name.
        """
        names = [*self.packs, *self.pictures, *self.references]
        if not names:
            raise StudyError("There is nothing to ask about: give a pack, a folder of pictures or a view of the store.")
        twice = sorted({name for name in names if names.count(name) > 1 or name == PHOTOGRAPH})
        if twice:
            raise StudyError(f"Several systems are called {twice[0]}; give NAME=FOLDER, and not {PHOTOGRAPH}.")
        return {name: "reference" if name in self.references else "system" for name in names}


@dataclass(frozen=True)
class StudyPlan:
    """What a study will be, before a face is made.

    Attributes:
        order: voices of the subjects, drawn by the seed.
        tasks: with all of them heard.
        notes: sentences on what cannot be as it was asked for.
    """

    store: Store
    subjects: Subjects
    order: list[int]
    tasks: list[StudyTask]
    notes: list[str]

    def gender(self, voice: int) -> str:
        """Gender of a voice's speaker by the data's labels; "" where there is none."""
        return str(self.subjects.people[self.subjects.voice_person[voice]].gender)

    def alternating(self, voices: Sequence[int]) -> list[int]:
        """One voice of each speaker: women and men in turn while there are both, then those of unknown gender."""
        alone = {int(self.subjects.voice_person[i]): i for i in reversed(voices)}
        first = [i for i in voices if alone[int(self.subjects.voice_person[i])] == i]
        of = {gender: [i for i in first if self.gender(i) == gender] for gender in ("f", "m")}
        turns = [(turn, gender, i) for gender, mine in of.items() for turn, i in enumerate(mine)]
        return [i for _, _, i in sorted(turns)] + [i for i in first if self.gender(i) not in of]


def plan(settings: StudySettings, store_cache: Path = Path("runs/cache")) -> StudyPlan:
    """Chooses the voices and counts the trials; nothing is made.

    Raises:
        StudyError, StoreError: no study can be made of this.
    """
    systems = settings.systems
    store = Store.open(settings.store, store_cache)
    subjects = choose(
        store, settings.split, settings.view, settings.sources, PER_SPEAKER, faces_per_person=1,
        seed=settings.seed,
    )  # fmt: skip
    order: list[int] = np.random.default_rng([settings.seed, 54]).permutation(len(subjects.voices)).tolist()
    planned = StudyPlan(store, subjects, order, [], [])
    genders = [planned.gender(i) for i in planned.alternating(order)]
    tasks, notes = _tasks(settings, list(systems), genders[: settings.voices])
    return replace(planned, tasks=tasks, notes=notes)


def make(settings: StudySettings, out: Path, store_cache: Path = Path("runs/cache")) -> tuple[Study, list[str]]:
    """Makes a study.

    Args:
        out: new, empty, or an earlier study that nobody has answered, which is replaced.

    Returns:
        (the study, sentences that its maker must read).

    Raises:
        FileExistsError: the folder is something else, or a study with answers.
        StudyError, StoreError, EvaluateError, PackError, JudgeError: no study can be made of this.
    """
    check_replaceable(out, is_unanswered_study)
    planned = plan(settings, store_cache)
    framer = Framer()  # before the work: what is missing is told at once
    beside: list[Picture] = []
    if settings.photographs and settings.each[TASKS.index("pair")]:
        opened = open_photographs(settings.photographs, settings.photograph_sets, settings.seed, store_cache)
        beside = in_turn(opened, np.random.default_rng([settings.seed, 55]))
    systems, taken, facts, notes = _systems(settings, planned)
    genders = [planned.gender(i) for i in taken]
    tasks, less = _tasks(settings, list(settings.systems), genders)
    notes += less
    speakers = planned.subjects
    real = StoredPictures(planned.store, [speakers.faces[speakers.own_face[i]] for i in taken])
    rights = _cycle(list(range(len(taken))), genders)
    with written_whole(out, is_unanswered_study) as new:
        (new / MEDIA).mkdir()
        media = Media(new / MEDIA, settings.seed)

        def shown(picture: Picture) -> str:
            return media.picture(resize_aligned(framer(picture)[0], SIDE, settings.zoom))

        of_match = next((task for task in tasks if task.name == "match"), None)
        impostors = _impostors(of_match, genders) if of_match else {}
        photographs = [shown(picture) for picture in each(real, "photographs", len(real))]
        other = [shown(picture) for picture in beside[: len(taken)]]
        if beside and len(other) < len(taken):
            notes.append(f"There are {len(other)} photographs for {len(taken)} voices: some are shown several times.")
        voices = []
        for place, i in enumerate(each(taken, "voices and faces", len(taken))):
            faces = {PHOTOGRAPH: photographs[place]}
            for system in systems:
                picture = system.pictures[i]
                assert picture is not None
                faces[system.name] = shown(picture)
            speech = speech_of(planned.store, speakers.voices[i])
            voices.append(
                StudyVoice(
                    speakers.voices[i].key,
                    genders[place],
                    media.sound(to_hear(speech, settings.seconds)),
                    faces,
                    other[place % len(other)] if other else photographs[rights[place]],
                    {kind: wrong[place] for kind, wrong in impostors.items() if place in wrong},
                )
            )
        study = Study(
            settings.title, settings.seed, settings.systems, voices, tasks, settings.checks,
            [media.sound(beeps(count)) for count in BEEPS], {**facts, "cautions": notes},
        )  # fmt: skip
        _write_texts(new, settings)
        (new / FILE).write_text(study.as_json(), encoding="utf-8")
    return study, notes


def _tasks(settings: StudySettings, systems: list[str], genders: list[str]) -> tuple[list[StudyTask], list[str]]:
    """The tasks with the voices that there are, and what is less than was asked for."""
    tasks: list[StudyTask] = []
    notes = []
    labelled = sum(gender != "" for gender in genders)
    alone = [gender for gender in ("f", "m") if genders.count(gender) == 1]
    kinds = [ALL, SAME]
    if labelled - len(alone) < 2 * (1 + len(systems)) or alone:
        kinds = [ALL]
        notes.append(
            f"The data say the gender of {labelled} speakers of {len(genders)}, which is too few of a gender: "
            f"impostors are of {ALL} genders."
        )
    rows: dict[str, tuple[list[tuple[str, str]], int]] = {
        "match": ([(name, kind) for name in (PHOTOGRAPH, *systems) for kind in kinds],
                  labelled if SAME in kinds else len(genders)),
        "pair": ([(name, "") for name in systems], len(genders)),
        "rate": ([(name, "") for name in (PHOTOGRAPH, *systems)], len(genders)),
    }  # fmt: skip
    for name, wanted in zip(TASKS, settings.each, strict=True):
        cells, there = rows[name]
        if not wanted:
            continue
        count = min(-(-wanted // len(cells)), there // len(cells)) * len(cells)
        if count < 2:
            raise StudyError(
                f"The task {name!r} needs a voice for each of {len(cells)} kinds of trial, two at least; there are "
                f"{there} that it can take. Give fewer systems, more --voices, or a larger store."
            )
        if count != wanted:
            notes.append(f"A person has {count} trials of {name!r} instead of {wanted}: a multiple of {len(cells)}.")
        tasks.append(StudyTask(name, cells, count, count * (there // count)))
    if not tasks:
        raise StudyError("There is nothing to ask: give trials of at least one task.")
    return tasks, notes


def _systems(settings: StudySettings, planned: StudyPlan) -> tuple[list[System], list[int], dict[str, Any], list[str]]:
    """Faces of the voices that every system has one for, which of the voices these are, and what they come from."""
    voices = planned.subjects.voices
    shown = [of_folder(folder, name, voices) for name, folder in settings.pictures.items()]
    shown += [of_view(planned.store, view, voices) for view in settings.references]
    there = np.logical_and.reduce([np.ones(len(voices), bool), *(system.there for system in shown)])
    heard_first = planned.alternating([i for i in planned.order if there[i]])[: round(SPARE * settings.voices) + 8]
    models = {name: Speech2Face(folder, device="cpu", variant=None) for name, folder in settings.packs.items()}
    made: list[System] = []
    facts: dict[str, Any] = {}
    for name, model in models.items():
        generator = settings.generator or ("auto" if model.pack.manifest.traits is not None else main_generator(model))
        speech = (speech_of(planned.store, voices[i]) for i in heard_first)
        heard = dict(
            zip(heard_first, hear_all(model, speech, VectorCache(), f"voices to {name}", len(heard_first)), strict=True)
        )
        heard_first = [i for i in heard_first if not heard[i].refused]
        faces = dict(
            zip(heard_first, faces_of(model, [heard[i] for i in heard_first], generator), strict=True)
        )  # a face costs little beside hearing
        made.append(System(name, "system", [faces.get(i) for i in range(len(voices))], generator))
        facts[name] = {"name": model.pack_name, "sha256": model.pack.sha256, "generator": generator}
    taken = planned.alternating(heard_first)[: settings.voices]
    by_name = {system.name: system for system in [*made, *shown]}
    notes = ["The split is train: packs may have learnt from these people."] if settings.split == "train" else []
    notes += training_cautions(planned.store, models)
    if len(taken) < settings.voices:
        notes.append(f"There are {len(taken)} voices for which every system has a face, not {settings.voices}.")
    about = {
        "made_by": f"s2f {__version__}", "store": settings.store, "split": settings.split, "view": settings.view,
        "zoom": settings.zoom, "seconds of a voice": settings.seconds,
        "data sets": sorted({voices[i].source for i in taken}),
        "photographs of the pairs": settings.photographs or f"view {settings.view} of other speakers", "packs": facts,
    }  # fmt: skip
    return [by_name[name] for name in settings.systems], taken, about, notes


def _impostors(task: StudyTask, genders: list[str]) -> dict[str, dict[int, int]]:
    """Of each kind: voice -> whose faces are the wrong ones; a face is wrong as often as it is right."""
    kinds = {kind for _, kind in task.cells}
    places = list(range(task.voices))
    found = {ALL: dict(enumerate(_cycle(places, [""] * task.voices)))}
    if SAME in kinds:
        found[SAME] = dict(enumerate(_cycle(places, genders)))
    return found


def _cycle(places: list[int], genders: Sequence[str]) -> list[int]:
    """To each its next one of the same gender, and the first one to the last."""
    found = list(places)
    for gender in set(genders[: len(places)]):
        mine = [i for i in places if genders[i] == gender]
        for i, following in zip(mine, [*mine[1:], mine[0]], strict=True):
            found[i] = following
    return found


def _write_texts(folder: Path, settings: StudySettings) -> None:
    for language in LANGUAGES:
        text = (TEMPLATES / f"consent.{language}.txt").read_text(encoding="utf-8")
        text = text.replace("{contact}", settings.contact or ASK[language])
        (folder / f"consent.{language}.txt").write_text(text, encoding="utf-8")
    text = (TEMPLATES / "README.md").read_text(encoding="utf-8").replace("{store}", Path(settings.store).name)
    (folder / "README.md").write_text(text, encoding="utf-8")
