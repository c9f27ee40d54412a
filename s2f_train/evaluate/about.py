"""What stands around the figures of an evaluation: cautions, and on whom and by whom it was made."""

from __future__ import annotations

from typing import Any

import numpy as np

from s2f_edge import Speech2Face, __version__
from s2f_train.data.store import Store
from s2f_train.evaluate.identity_tables import GALLERY
from s2f_train.evaluate.judging import Judge
from s2f_train.evaluate.looking import Judges
from s2f_train.evaluate.seen import Scene
from s2f_train.evaluate.systems import main_generator

FEW_LABELS = 20


def cautions(scene: Scene, split: str, store: Store, models: dict[str, Speech2Face]) -> list[str]:
    """Sentences that a reader must see first: few people, few labels, packs that may know these people."""
    people, labelled = len(scene.subjects.people), int((scene.label != "").sum())
    heard = len(np.unique(scene.person))
    found = []
    if split == "train":
        found.append("The split is train: packs may have learnt from these people.")
    if heard < people:
        found.append(f"Voices are of {heard} people; galleries and impostors of {people}.")
    if people < GALLERY:
        found.append(f"The gallery holds {people} people; others state figures for 100.")
    if labelled < FEW_LABELS:
        found.append(f"The data say the gender of {labelled} of {people} people: gender figures are rough.")
    return found + training_cautions(store, models)


def training_cautions(store: Store, models: dict[str, Speech2Face]) -> list[str]:
    """Cautions about packs without a general generator, or whose training may have included the people of a store."""
    found = []
    rule = store.made_of["split"]
    for name, model in models.items():
        if main_generator(model) != "general":
            found.append(f"{name} has no general generator: it stands in the tables of the flag alone.")
        known = model.pack.manifest.training.get("store")
        if not isinstance(known, dict):
            found.append(f"{name} does not say on which store it was fitted: it may know these people.")
        elif known.get("split") != rule:
            found.append(
                f"{name} was trained on a store whose split goes by {known.get('split')}, this one's by {rule}: it "
                "may have learnt from these people."
            )
    return found


def facts_of(
    scene: Scene, judges: Judges, models: dict[str, Speech2Face], refused: dict[str, dict[str, int]]
) -> dict[str, Any]:
    """People, judges and packs, as plain JSON values.

    Args:
        refused: of each pack, why it refused how many voices.
    """
    roles: list[tuple[str, Judge]] = [("recogniser", judges.recogniser), ("gender and age", judges.attributes)]
    roles.append((judges.features.label, judges.features))
    if judges.close:
        roles.append(("realism", judges.close))
    subjects = scene.subjects
    return {
        "made_by": f"s2f {__version__}",
        "people": len(subjects.people),
        "voices": len(subjects.voices),
        "voices whose speaker has no real face": len(subjects.alone),
        "real faces": len(subjects.faces),
        "real faces of others": len(scene.others.found),
        "gender": {
            "by the data": int((scene.label != "").sum()),
            "by the judge, for impostors and groups alone": int(((scene.label == "") & (scene.gender != "")).sum()),
            "not known": int((scene.gender == "").sum()),
        },
        "judges": {role: {"name": judge.name, "sha256": judge.sha256} for role, judge in roles},
        "packs": {
            name: {"name": model.pack_name, "sha256": model.pack.sha256, "refused voices": refused[name]}
            for name, model in models.items()
        },
    }
