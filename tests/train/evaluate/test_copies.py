"""Nearest pictures of training, on embeddings whose answer is known."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from s2f_train.data.pictures import read_face
from s2f_train.data.store import Sample
from s2f_train.evaluate import matching
from s2f_train.evaluate.cache import VectorCache
from s2f_train.evaluate.copies import Faceless, _faceless_rows, _table, copies_section
from s2f_train.evaluate.evaluation import EvaluationSettings, evaluate
from s2f_train.evaluate.framing import SMALL
from s2f_train.evaluate.matching import nearest
from s2f_train.evaluate.seen import Row
from s2f_train.evaluate.systems import System
from s2f_train.evaluate.tables import Grid, Table
from s2f_train.evaluate.whole_pictures import compare_whole, nearest_whole
from tests.train.evaluate.made_scene import made_judges, made_scene, of, row, seen, value
from tests.train.made_store import Person, made_store


def test_the_nearest_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "AT_ONCE", 12)  # two rows at a time
    made = np.array([[0.0, 0.0], [3.0, 4.0], [10.0, 0.0]])
    known = np.array([[0.0, 1.0], [3.0, 3.5], [4.0, 0.0]])
    far, which = nearest(made, known)
    assert far.tolist() == [1.0, 0.5, 6.0]
    assert which.tolist() == [0, 1, 2]
    far, which = nearest(made, known, np.array([7, 8, 9]), np.array([7, 8, 9]))  # nobody is near to themselves
    assert which.tolist() == [2, 2, 1]
    assert far[0] == 4.0


def learnt(count: int, view: str = "") -> list[Sample]:
    return [Sample(f"t{i}", f"T{i}", "made", "", view, "none.tar", {}) for i in range(count)]


def test_a_pack_that_copies_is_seen() -> None:
    rng = np.random.default_rng(0)
    real, training = rng.standard_normal((20, 8)), rng.standard_normal((60, 8))
    scene = made_scene("mf" * 10, voices=1, faces=1, real=seen(real))
    copied = row("copies", seen(training[:20] + 0.001))
    free = row("free", seen(rng.standard_normal((20, 8))))
    table = _table(scene, [copied, free], learnt(60), training, threshold=0.6)
    by_heart, fresh = of(table, "copies"), of(table, "free")
    assert (by_heart["pictures"], by_heart["view"]) == (60, "")
    assert value(by_heart["nearest"]) < 0.01
    assert value(by_heart["same"]) == 1
    assert value(fresh["same"]) == 0
    # A third of the pictures of training still holds a third of what was copied; no unseen picture is near.
    assert value(by_heart["unseen"]) > 0.6
    assert abs(value(fresh["some"]) - value(fresh["unseen"])) < 1
    no_threshold = _table(scene, [copied], learnt(60), training, threshold=None)
    assert "same" not in of(no_threshold, "copies")
    fewer = _table(scene, [copied], learnt(60)[:10], training[:10], threshold=0.6)
    assert "unseen" not in of(fewer, "copies")  # fewer pictures of training than real faces: no like number


@pytest.mark.slow
def test_the_section_of_an_evaluation(tmp_path: Path) -> None:
    people = [Person(f"T{i}", "mf"[i % 2], 20.0, "test", voices=1, photos=1, clips=1) for i in range(4)]
    people += [Person(f"L{i}", "mf"[i % 2], 20.0, "train", voices=1, photos=2) for i in range(4)]
    store = made_store(tmp_path / "s", people)
    settings = EvaluationSettings(str(store.folder), references=("face",), voice_side=False, copies=True, draws=20)
    judges: Any = dataclasses.replace(made_judges(people), cache=VectorCache())
    found, _ = evaluate(settings, judges)
    (section,) = (s for s in found.sections if s.title == "Copies")
    table, whole, *grids = section.parts
    assert isinstance(table, Table)
    assert isinstance(whole, Table)
    assert {r["system"] for r in table.rows} == {"face", "real faces"}
    assert [r["system"] for r in whole.rows] == ["face", "photos that no training saw"]
    assert [part.key for part in grids] == ["copies_nearest", "copies_whole_photo"]
    for grid in grids:
        assert isinstance(grid, Grid)
        assert len(grid.columns) == 3
        assert 1 <= len(grid.rows) <= 4


def test_whole_pictures_by_hand() -> None:
    rng = np.random.default_rng(0)
    known = rng.uniform(0, 255, (5, SMALL, SMALL, 3))
    made = np.stack([known[3] + 2, known[1][:, ::-1], np.full((SMALL, SMALL, 3), 127.0)])
    far, which = nearest_whole(made.reshape(3, -1), known.reshape(5, -1))
    assert which[:2].tolist() == [3, 1]  # the second one by its mirror image
    assert far[:2] == pytest.approx([2, 0])
    assert far[2] > 50


@pytest.mark.slow
def test_a_copy_whose_hair_and_ground_are_learnt_is_seen(tmp_path: Path) -> None:
    """A portrait of training that is shown again, mirrored, beside portraits that no training saw."""
    voices = [Person(f"T{i}", "mf"[i % 2], 20.0, "test", voices=1, photos=1, clips=1) for i in range(4)]
    portraits = [
        Person(f"{split}{i}", "mf"[i % 2], 20.0, split, voices=1, photos=0, clips=1, views=("portrait",), source="more")
        for split in ("train", "valid")
        for i in range(4)
    ]
    people = [*voices, *portraits]
    store = made_store(tmp_path / "s", people)
    judges = made_judges(people)
    scene = made_scene("mfmf", voices=1, faces=1)
    by_split = {
        split: [f for f in store.faces if f.view == "portrait" and store.identities[f.identity].split == split]
        for split in ("train", "valid")
    }
    copied = [read_face(store, face)[:, ::-1] for face in by_split["train"]]
    given = seen(np.eye(4))
    shown = [Row(System("copies", "system", [*copied]), given)]
    whole = compare_whole(scene, shown, by_split["train"], "portrait", store, judges)
    assert whole
    by_heart, unseen = whole.rows
    assert unseen["system"] == "portraits that no training saw"
    assert value(by_heart["plain"]) == 0
    assert whole.rows[0]["pictures"] == 4
    assert value(unseen["plain_least"]) > 5
    assert compare_whole(scene, shown, by_split["train"], "photo", store, judges) is None


def test_speakers_without_a_picture_are_held_against_the_training_too() -> None:
    rng = np.random.default_rng(0)
    training = rng.standard_normal((30, 8))
    samples = [*learnt(20, "photo"), *learnt(10, "s2f")]
    more = Faceless("pack: general, voices of made", [], np.array([0, 0, 1]))
    made = np.stack([training[3] + 0.001, training[25] + 0.001, np.full(8, 50.0)])
    photo, s2f = _faceless_rows(made_scene("mf"), more, made, samples, training, 0.6)
    assert (photo["view"], photo["pictures"], s2f["view"], s2f["pictures"]) == ("photo", 20, "s2f", 10)
    assert photo["system"] == more.name
    assert value(photo["same"]) == value(s2f["same"]) == pytest.approx(1 / 3)
    (row_, _) = _faceless_rows(made_scene("mf"), more, made, samples, training, None)
    assert "same" not in row_


def test_a_store_without_pictures_of_training(tmp_path: Path) -> None:
    people = [Person(f"T{i}", "mf"[i % 2], 20.0, "test", photos=1) for i in range(4)]
    store = made_store(tmp_path / "s", people)
    section = copies_section(made_scene("mf"), [], store, made_judges(people))
    assert not section.parts
    assert "no pictures of training" in section.text
