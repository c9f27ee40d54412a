"""An evaluation from end to end: choose people, make faces, let the judges look, compute the tables."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from s2f_edge import Speech2Face
from s2f_train.data.pictures import SIDE, read_face
from s2f_train.data.store import Sample, Store
from s2f_train.evaluate import attribute_tables, identity_tables, picture_tables
from s2f_train.evaluate.about import cautions, facts_of
from s2f_train.evaluate.baselines import baselines
from s2f_train.evaluate.copies import Faceless, copies_section
from s2f_train.evaluate.grids import grids, sheets
from s2f_train.evaluate.hearing import face_of, hear_all, speech_of
from s2f_train.evaluate.intervals import Bootstrap
from s2f_train.evaluate.looking import Judges
from s2f_train.evaluate.pairs import FILE as PAIRS
from s2f_train.evaluate.pairs import pairs_of, pairs_page
from s2f_train.evaluate.photographs import Photographs, open_photographs
from s2f_train.evaluate.realism_tables import NEEDED, TITLE, realism_section
from s2f_train.evaluate.seen import Row, Scene
from s2f_train.evaluate.stability import stability_table
from s2f_train.evaluate.subjects import StoredPictures, Subjects, choose
from s2f_train.evaluate.summary import summary, trials_csv
from s2f_train.evaluate.systems import (
    ComparisonSettings,
    EvaluateError,
    System,
    main_generator,
    of_folder,
    of_pack,
    of_view,
)
from s2f_train.evaluate.tables import Evaluation, Part, Section
from s2f_train.evaluate.voices import Clip, VoiceTrial, voice_side
from s2f_train.regression.speakers import few_of_each

FEWEST_OTHERS = 50  # real faces of other people that the judges look at
MOST_SIDE = 256  # pixels at which the network of features sees pictures, at most


@dataclass(frozen=True)
class EvaluationSettings(ComparisonSettings):
    """What is evaluated, on whom, how thoroughly: see `ComparisonSettings` too.

    Attributes:
        oracle: view of the picture that stands for a person's other photograph where there is none.
        people, voices_per_person, faces_per_person: at most so many; people None: all.
        trained_with: name of a system -> SHA-256 of networks that its training used; packs say so themselves.
        trials: a voice, of each kind.
        draws: of the bootstrap.
        voice_side: whether voices are tested too, with noise and codecs.
        copies: whether made faces are held against all pictures of training.
        pairs: of a photograph and a made face, on the page of pairs.
    """

    oracle: str = ""
    people: int | None = None
    voices_per_person: int = 3
    faces_per_person: int = 5
    trained_with: dict[str, frozenset[str]] = field(default_factory=dict)
    trials: int = 20
    draws: int = 1000
    voice_side: bool = True
    copies: bool = False
    pairs: int = 40


def evaluate(
    settings: EvaluationSettings, judges: Judges, store_cache: Path = Path("runs/cache")
) -> tuple[Evaluation, bytes]:
    """Evaluates packs and pictures on the people of a store.

    Args:
        store_cache: where the files of a remote store go.

    Returns:
        (the evaluation, trials.csv).

    Raises:
        EvaluateError, StoreError: of what was given no evaluation can be made.
        PackError, JudgeError, CacheError: a pack, a judge or the cache fails.
    """
    if not settings.packs and not settings.pictures and not settings.references:
        raise EvaluateError("There is nothing to evaluate: give a pack, a folder of pictures, or a view of the store.")
    store = Store.open(settings.store, store_cache)
    subjects = choose(
        store, settings.split, settings.view, settings.sources, settings.voices_per_person, settings.faces_per_person,
        settings.people, settings.oracle, settings.seed,
    )  # fmt: skip
    photographs = None
    if settings.photographs:  # before the work: what is missing is told at once
        photographs = open_photographs(settings.photographs, settings.photograph_sets, settings.seed, store_cache)
    return _Run(settings, judges, store, subjects, photographs).result()


class _Run:
    """One evaluation: the pictures and what the judges saw, then the sections that follow from it."""

    def __init__(
        self,
        settings: EvaluationSettings,
        judges: Judges,
        store: Store,
        subjects: Subjects,
        photographs: Photographs | None,
    ):
        self.settings, self.judges, self.store, self.photographs = settings, judges, store, photographs
        self.models = {name: Speech2Face(folder, device="cpu", variant=None) for name, folder in settings.packs.items()}
        self.warnings: list[str] = []
        self.refused: dict[str, dict[str, int]] = {}
        self.subjects, systems = self._common(subjects, self._systems(subjects.voices))
        self.scene = self._scene()
        beside = baselines(
            store, self.subjects, self.scene.gender, systems, self.models, settings.seed, self.scene.side
        )
        _require_names_apart([*systems, *beside])
        self.rows = [self._row(system) for system in [*systems, *beside]]

    def _systems(self, voices: list[Sample]) -> list[System]:
        settings = self.settings
        found: list[System] = []
        for name, model in self.models.items():
            speech = (speech_of(self.store, voice) for voice in voices)
            heard = hear_all(model, speech, self.judges.cache, f"voices to {name}", len(voices))
            self.refused[name] = dict(Counter(one.refused for one in heard if one.refused))
            found += of_pack(model, name, heard)
        found += [of_folder(folder, name, voices) for name, folder in settings.pictures.items()]
        found += [of_view(self.store, view, voices) for view in settings.references]
        names = _require_names_apart(found)
        unknown = set(settings.trained_with) - set(names)
        if unknown:
            raise EvaluateError(f"There is no system {', '.join(sorted(unknown))}; there are {', '.join(names)}.")
        none: frozenset[str] = frozenset()
        return [
            dataclasses.replace(s, trained_with=s.trained_with | settings.trained_with.get(s.name, none)) for s in found
        ]

    def _common(self, subjects: Subjects, systems: list[System]) -> tuple[Subjects, list[System]]:
        """The voices for which every system has a face: all are judged on the same ones."""
        there = np.logical_and.reduce([system.there for system in systems])
        missing = {system.name.partition(": ")[0]: int((~system.there).sum()) for system in systems}
        for name, count in missing.items():
            why = ", ".join(f"{code} {times}" for code, times in self.refused.get(name, {}).items())
            if count:
                said = f"{name} has no face for {count} of {len(there)} voices{f' ({why})' if why else ''}"
                self.warnings.append(f"{said}; they are left out for all.")
        people = len(np.unique(subjects.voice_person[there]))
        if people < 2:
            told = " ".join(self.warnings)
            said = f"There are voices of {people} people for which every system has a face; two people are needed."
            raise EvaluateError(f"{said} {told}".strip())
        return subjects.only(there), [system.only(there) for system in systems]

    def _scene(self) -> Scene:
        settings, subjects = self.settings, self.subjects
        others = subjects.others[: max(len(subjects.faces), len(subjects.voices), FEWEST_OTHERS)]
        # All are compared at the size of the real faces, within reason.
        side = min(MOST_SIDE, max(SIDE, min(read_face(self.store, subjects.faces[0]).shape[:2])))
        return Scene(
            subjects,
            self.judges.see(list(StoredPictures(self.store, subjects.faces)), "real faces", side),
            self.judges.see(list(StoredPictures(self.store, others)), "real faces of others", side),
            settings.trials,
            settings.seed,
            Bootstrap(len(subjects.people), settings.draws, settings.seed),
            side,
        )

    def _row(self, system: System) -> Row:
        used = [judge.name for judge in self.judges.all if system.trained_with.intersection(judge.weights)]
        note = f"Its training used {', '.join(used)}, which judges here." if used else ""
        if used:
            self.warnings.append(f"{system.name} is in no headline table: its training used {', '.join(used)}.")
        return Row(system, self.judges.see(system.pictures, system.name, self.scene.side), note)

    # ----------------------------------------------------------------------------- sections

    def result(self) -> tuple[Evaluation, bytes]:
        self.warnings += cautions(self.scene, self.settings.split, self.store, self.models)
        scene, label = self.scene, self.judges.features.label
        every = [row for row in self.rows if not row.note]
        free = [row for row in every if not row.system.asked]
        matching, given = identity_tables.matching_table(scene, free)
        difference = identity_tables.difference_table(scene, free, given)
        retrieval, recall = identity_tables.retrieval_tables(scene, free)
        size = picture_tables.size_chart(scene, free, label)
        similarity = identity_tables.similarity_table(scene, free)
        whose: list[Part] = [matching, *([difference] if difference else []), *retrieval, recall, similarity]
        read: list[Part] = [
            *attribute_tables.gender_tables(scene, every), attribute_tables.age_table(scene, free),
            attribute_tables.groups_table(scene, free, given),
        ]  # fmt: skip
        seen: list[Part] = [
            picture_tables.distance_table(scene, free, label), *([size] if size else []),
            identity_tables.spread_table(scene, free),
            stability_table(scene, free, self.models, self.store, self.judges, self.settings.draws),
        ]  # fmt: skip
        thesis = [picture_tables.thesis_table(scene, every, label), picture_tables.printed_table()]
        sections = [
            Section("Whose face is it?", "", whose),
            Section("Gender and age", "", read),
            Section("As pictures", "", seen),
            Section("The thesis's figures", "", thesis),
        ]
        self.warnings += attribute_tables.without_faces_of(scene, free)
        realism, pages = self._realism_section(every)
        sections.append(realism)
        sections += self._refused_section()
        voice_trials: dict[str, list[VoiceTrial]] = {}
        for name in self.models if self.settings.voice_side else ():
            section, voice_trials[name] = self._voice_section(name)
            sections.append(section)
        if self.settings.copies:
            sections.append(copies_section(scene, every, self.store, self.judges, list(self._faceless())))
        looks: list[Part] = [*grids(scene, self.rows, self.store), *sheets(scene, self.rows)]
        pictures = Section("To look at", "", looks)
        sections.append(pictures)
        names = ", ".join([*self.models, *self.settings.pictures, *self.settings.references])
        title = f"{names} on {len(self.subjects.voices)} voices"
        tiles = summary(scene, free, sections)
        found = Evaluation(title, tiles, self._facts(), self.warnings, sections, pages)
        return found, trials_csv(scene, given, voice_trials)

    def _refused_section(self) -> list[Section]:
        rows = [row for row in self.rows if row.note]
        if not rows:
            return []
        text = "A network that judges here took part in their training: these figures don't say how good they are."
        table, _ = identity_tables.matching_table(self.scene, rows)
        table = dataclasses.replace(table, key="matching_refused", title="Matching, refused for the headline")
        return [Section("Not to be compared", text, [table])]

    def _realism_section(self, rows: list[Row]) -> tuple[Section, dict[str, str]]:
        """The section, and the page of pairs of the first system by the name of its file."""
        judge, scene = self.judges.close, self.scene
        if self.photographs is None or judge is None:
            return Section(TITLE, NEEDED, []), {}
        real = StoredPictures(self.store, self.subjects.faces)
        section = realism_section(scene, rows, self.photographs, judge, self.judges, real)
        first = next((row for row in rows if row.system.compared), None)
        pairs = pairs_of(scene, first, self.photographs, self.settings.pairs) if first and self.settings.pairs else []
        return section, {PAIRS: pairs_page(pairs, first.system.name)} if first and pairs else {}

    def _voice_section(self, name: str) -> tuple[Section, list[VoiceTrial]]:
        people = self.store.identities
        clips = [
            Clip(
                voice.key,
                voice.identity,
                voice.source,
                people[voice.identity].gender,
                partial(speech_of, self.store, voice),
            )
            for voice in [*self.subjects.voices, *self.subjects.alone]
        ]
        model, settings = self.models[name], self.settings
        used = next(
            row.system.trained_with for row in self.rows if row.system.name == f"{name}: {main_generator(model)}"
        )
        may_judge = "general" in model.pack.manifest.generators and not used.intersection(
            self.judges.attributes.weights
        )
        judge = self.judges.male if may_judge else None
        side = voice_side(model, clips, judge, self.judges.cache, settings.draws, settings.seed)
        if len(self.models) == 1:
            return side.section, side.trials
        parts = [dataclasses.replace(part, key=f"{part.key}_{name}") for part in side.section.parts]
        return Section(f"{side.section.title}: {name}", side.section.text, parts), side.trials

    def _faceless(self) -> Iterator[Faceless]:
        """Faces for held-out speakers of each data set that has no pictures."""
        by_source: dict[str, list[Sample]] = {}
        for voice in self.subjects.alone if self.settings.voice_side else ():
            by_source.setdefault(voice.source, []).append(voice)
        for (name, model), (source, voices) in product(self.models.items(), sorted(by_source.items())):
            voices = few_of_each(voices, self.settings.voices_per_person)
            speech = (speech_of(self.store, voice) for voice in voices)
            heard = hear_all(model, speech, self.judges.cache, f"voices of {source} to {name}", len(voices))
            taken = [(voice, one) for voice, one in zip(voices, heard, strict=True) if not one.refused]
            if not taken:
                continue
            numbers = {person: i for i, person in enumerate(sorted({voice.identity for voice, _ in taken}))}
            generator = main_generator(model)
            yield Faceless(
                f"{name}: {generator}, voices of {source}",
                [face_of(model, one, generator) for _, one in taken],
                np.array([numbers[voice.identity] for voice, _ in taken], np.int64),
            )

    def _facts(self) -> dict[str, Any]:
        chosen = (
            "split", "view", "sources", "oracle", "people", "voices_per_person", "faces_per_person", "trials", "draws",
            "seed",
        )  # fmt: skip
        return {
            **facts_of(self.scene, self.judges, self.models, self.refused),
            "pictures": list(self.settings.pictures),
            "references": list(self.settings.references),
            **(self.photographs.facts if self.photographs else {}),
            "store": self.store.made_of,
            "settings": {name: getattr(self.settings, name) for name in chosen},
        }


def _require_names_apart(systems: list[System]) -> list[str]:
    names = [system.name for system in systems]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise EvaluateError(f"Two systems are called {twice[0]}; give one of them another name, as NAME=FOLDER.")
    return names
