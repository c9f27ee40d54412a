"""`evaluate --talk`: how well a pack's motion follows the sound, on talking heads that it did not learn from."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from s2f_edge.hearing.features import Float32s
from s2f_edge.pack.pack import Pack
from s2f_edge.pipeline import Speech2Face
from s2f_edge.talk.motion import MotionNetwork, motion_of
from s2f_train.data.store import Sample, Store
from s2f_train.data.talks import CLOSED, CLOSURE_S, NEAR_S, Speaker, Talk, read_talk, speakers_of, split, talks_of
from s2f_train.evaluate.intervals import Bootstrap
from s2f_train.evaluate.judging import FaceFeatures
from s2f_train.evaluate.systems import EvaluateError
from s2f_train.evaluate.tables import Column, Evaluation, Figure, Section, Table
from s2f_train.evaluate.talk_baselines import RIDGE_SECONDS, Baselines
from s2f_train.evaluate.talk_measures import LAGS, MEASURES, best_lag, measured
from s2f_train.evaluate.talk_pictures import picture_section

GROUPS = ("new sentences", "new speakers, women", "new speakers, men", "new speakers, gender unknown")
NOTE = (
    "Opening: correlation of the lips' gap with the real speaker's, mean over clips; in speech: over the frames that "
    "are not silent. Lag: by how many frames the motion is late, at the best correlation of all clips together. M-LMD "
    "and LMD: mean distance of the mouth's points and of all but the eyes', in units of the eyes' distance. Closed: "
    f"lips nearer than {CLOSED} of it, in frames farther than {NEAR_S} s from any word, and within {CLOSURE_S} s of "
    "p, b and m. `wrong sentence` is the pack's motion by the sound of another clip; `real, closed in silence` is the "
    "real one with closed lips in those frames: people breathe in through the mouth before they speak, so what "
    "closes the lips in silence can follow no better."
)
COLUMNS = [
    Column("system", "system", "text"),
    Column("opening", "opening", "figure", 2, "higher"),
    Column("speech", "in speech", "figure", 2, "higher"),
    Column("lag", "lag, frames", "number", 0),
    Column("mouth", "M-LMD", "figure", 4, "lower"),
    Column("points", "LMD", "figure", 4, "lower"),
    Column("silence", "closed in silence", "share figure", 1, "higher"),
    Column("bilabial", "closed at p, b, m", "share figure", 1, "higher"),
]
WRONG, SHUT, REAL = "wrong sentence", "real, closed in silence", "real"
Mover = Callable[[Float32s], Float32s]  # sound to offsets


def evaluate_talk(
    store_place: str,
    packs: dict[str, Path | None],
    recogniser: FaceFeatures,
    draws: int = 1000,
    seed: int = 0,
    cache: Path = Path("runs/cache"),
) -> tuple[Evaluation, bytes]:
    """Evaluates the motion of packs on talking heads of a store, and the pictures that they make of it.

    What a pack did not learn from follows from what its manifest says of the fit: the speakers that were held out, and
    the share of the others' sentences.

    Returns:
        (the evaluation, trials.csv with a line for each clip and system).

    Raises:
        EvaluateError, StoreError: there are no packs or no talking heads, or none is left that is new to a pack.
        PackError: a pack cannot be read or has no motion.
    """
    if not packs:
        raise EvaluateError("There is nothing to evaluate: give a pack with --pack.")
    store = Store.open(store_place, cache)
    talks = talks_of(store)
    speakers = speakers_of(store, talks)
    sections, warnings, summary, trials = [], [], [], []
    facts: dict[str, Any] = {"store": store.made_of, "talks": len(talks), "speakers": len(speakers), "packs": {}}
    for name, folder in packs.items():
        pack = Pack.open(folder)
        network = MotionNetwork(pack)
        told = _training(pack)
        if told.get("store") != store.made_of:
            warnings.append(f"{name} learnt from another store, or does not say from which: it may know these clips.")
        learnt, held = split(talks, told.get("held_speakers", ()), told.get("held_share", 0.0))
        if not held or not learnt:
            raise EvaluateError(
                f"{name} has learnt from all talking heads of {store_place}, or from none: there must be some to judge "
                "by, and some for the baselines. Fit with held_share or held_speakers."
            )
        if not told.get("held_speakers"):
            warnings.append(f"{name} was fitted on all speakers: there are no figures of new ones.")
        baselines = Baselines.of(store, learnt, speakers, seed)
        movers: dict[str, Mover] = {name: partial(motion_of, network), **baselines.movers()}
        groups = _groups(store, held, told.get("held_speakers", ()))
        tables = []
        for group, samples in groups.items():
            rows, lines = _rows(store, samples, speakers, movers, name, Bootstrap(len(samples), draws, seed))
            key = group.replace(",", "").replace(" ", "_")
            tables.append(Table(key, f"{group}: {len(samples)} clips", "", COLUMNS, rows))
            trials += [[name, group, *line] for line in lines]
            summary.append((f"{rows[0]['opening'].value:.2f}", f"opening, {group}: {name}"))
        sections.append(Section(f"Motion of {name}", NOTE, tables))
        if pack.manifest.animator:
            seen = [sample for samples in groups.values() for sample in samples]
            sections.append(picture_section(name, Speech2Face(folder, variant=None), store, seen, recogniser))
        facts["packs"][name] = {"pack": pack.sha256, "fit": told, "ridge learnt from": f"{RIDGE_SECONDS:.0f} s"}
    return Evaluation(f"Motion of {', '.join(packs)}", summary, facts, warnings, sections), _csv(trials)


def _training(pack: Pack) -> dict[str, Any]:
    """What the manifest says of the fit of the motion."""
    training = pack.manifest.training
    told = [training.get("motion"), training, *training.get("runs", {}).values()]
    return next((each for each in told if isinstance(each, dict) and each.get("fit") == "talk"), {})


def _groups(store: Store, held: list[Sample], new: list[str] | tuple[str, ...]) -> dict[str, list[Sample]]:
    of_gender = {"f": GROUPS[1], "m": GROUPS[2], "": GROUPS[3]}
    groups: dict[str, list[Sample]] = {group: [] for group in GROUPS}
    for sample in held:
        known = sample.identity not in new
        groups[GROUPS[0] if known else of_gender[store.identities[sample.identity].gender]].append(sample)
    return {group: samples for group, samples in groups.items() if samples}


def _rows(
    store: Store, samples: list[Sample], speakers: dict[str, Speaker], movers: dict[str, Mover], name: str,
    bootstrap: Bootstrap,
) -> tuple[list[dict[str, Any]], list[list[Any]]]:  # fmt: skip
    """A row for each system, and a line for each clip and system."""
    figures: dict[str, list[dict[str, float]]] = {system: [] for system in (*movers, WRONG, SHUT, REAL)}
    crossed = {system: np.zeros(2 * LAGS + 1) for system in figures}
    before: Float32s | None = None  # the motion of the clip before, of another sentence
    talks = [*samples[-1:], *samples]
    for i, sample in enumerate(talks):
        speaker = speakers[sample.identity]
        talk = read_talk(store, sample, speaker)
        moved = {system: _cut(mover(talk.samples), talk) for system, mover in movers.items()}
        wrong, before = before, moved[name]
        if i == 0:
            continue
        assert wrong is not None
        shut = np.where(talk.silent[:, None, None], np.float32(0), talk.offsets)
        moved |= {WRONG: _cut(wrong, talk), SHUT: shut, REAL: talk.offsets}
        for system, offsets in moved.items():
            values, cross = measured(offsets, talk, speaker.neutral)
            figures[system].append(values)
            crossed[system] += cross
    lines = [
        [system, sample.key, sample.identity, *(f"{values[key]:.4f}" for key in MEASURES)]
        for system, clips in figures.items()
        for sample, values in zip(samples, clips, strict=True)
    ]
    person = np.arange(len(samples))
    rows = []
    for system, clips in figures.items():
        row: dict[str, Any] = {"system": system, "lag": best_lag(crossed[system])}
        row["_kind"] = {name: "system", SHUT: "ceiling", REAL: "ceiling"}.get(system, "baseline")
        for key in MEASURES:
            of_clips = np.array([clip[key] for clip in clips])
            row[key] = bootstrap.mean(of_clips, person) if np.isfinite(of_clips).any() else Figure(float("nan"))
        rows.append(row)
    return rows, lines


def _cut(offsets: Float32s, talk: Talk) -> Float32s:
    """As many frames as the talk has; the last one stays."""
    return offsets[np.minimum(np.arange(len(talk.offsets)), len(offsets) - 1)]


def _csv(trials: list[list[Any]]) -> bytes:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["pack", "group", "system", "clip", "speaker", *MEASURES])
    writer.writerows(trials)
    return file.getvalue().encode()
