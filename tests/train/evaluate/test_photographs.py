"""Photographs of a store and of a folder, and what is told where there are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from s2f_train.data.frame import SIDE
from s2f_train.evaluate import photographs
from s2f_train.evaluate.photographs import FEWEST, open_photographs
from s2f_train.evaluate.systems import EvaluateError
from s2f_train.evaluate.tables import Picture
from tests.train.made_store import Person, made_store


@pytest.fixture(autouse=True)
def _framed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Made pictures have no face: what is dark has none here."""

    def frame(picture: Picture) -> tuple[Picture, bool]:
        return np.asarray(Image.fromarray(picture).resize((SIDE, SIDE))), bool(picture.mean() > 20)

    monkeypatch.setattr(photographs, "Framer", lambda: frame)


def save(folder: Path, count: int, shade: int = 120, start: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(start, start + count):
        Image.new("RGB", (40, 40), (shade, i, 0)).save(folder / f"p{i}.png")


def portrait_people(source: str, split: str, count: int) -> list[Person]:
    return [
        Person(f"{source}{split}{i}", "m", None, split, voices=1, photos=0, clips=1, views=("portrait",), source=source)
        for i in range(count)
    ]


def test_the_held_out_portraits_of_a_store(tmp_path: Path) -> None:
    people = [
        *portrait_people("portraits-london", "test", 8), *portrait_people("portraits-london", "valid", 4),
        *portrait_people("portraits-london", "train", 30), *portrait_people("portraits-synth", "test", 12),
        *portrait_people("portraits-few", "test", 2),
    ]  # fmt: skip
    store = made_store(tmp_path / "s", people)
    found = open_photographs(str(store.folder))
    assert {one.name: len(one.pictures) for one in found.sets} == {"london": 12, "synth": 12}
    assert not any("train" in who for one in found.sets for who in one.person)
    assert found.origin == "portraits of the store's test and valid split"
    assert found.notes == [f"few has 2 photographs; under {FEWEST}, it is left out."]
    assert {picture.shape for one in found.sets for picture in one.pictures} == {(SIDE, SIDE, 3)}
    chosen = open_photographs(str(store.folder), ["london+few"])
    assert [(one.name, len(one.pictures)) for one in chosen.sets] == [("london+few", 14)]
    assert [one.name for one in chosen.others] == ["synth"]
    with pytest.raises(EvaluateError, match="no set of photographs 'paris'; it has few, london, synth"):
        open_photographs(str(store.folder), ["paris"])


def test_a_store_without_portraits_says_what_is_needed(tmp_path: Path) -> None:
    store = made_store(tmp_path / "s", [Person("A", split="test"), *portrait_people("portraits-x", "train", 3)])
    with pytest.raises(EvaluateError, match=r"no faces of view 'portrait' outside of the split train .*prepare"):
        open_photographs(str(store.folder))


def test_a_folder_whose_folders_are_sets(tmp_path: Path) -> None:
    save(tmp_path / "one", 12)
    save(tmp_path / "two", 11)
    save(tmp_path / "two", 3, shade=0, start=50)
    found = open_photographs(str(tmp_path))
    assert {one.name: len(one.pictures) for one in found.sets} == {"one": 12, "two": 11}
    assert found.notes == ["two: no face was found in 3 of 14 photographs."]
    assert len(set(found.sets[0].person)) == 12


def test_a_folder_with_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, 30)
    lines = [f"p{i},{'a' if i < 12 else 'b'}" for i in range(24)]
    (tmp_path / "faces.csv").write_text("\n".join(["name,source", *lines]))
    found = open_photographs(str(tmp_path), ["a", "b"])
    assert {one.name: len(one.pictures) for one in found.sets} == {"a": 12, "b": 12}
    monkeypatch.setattr(photographs, "MOST", 10)
    drawn = [[*open_photographs(str(tmp_path), ["b"], seed).sets[0].person] for seed in (0, 0, 1)]
    assert len(drawn[0]) == 10
    assert drawn[0] == drawn[1] != drawn[2]


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(EvaluateError, match="neither a store nor a folder"):
        open_photographs(str(tmp_path / "absent"))
    with pytest.raises(EvaluateError, match="holds no pictures"):
        open_photographs(str(tmp_path))
    save(tmp_path, FEWEST - 1)
    with pytest.raises(EvaluateError, match=f"no set has {FEWEST} photographs"):
        open_photographs(str(tmp_path))
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(EvaluateError, match=r"bad\.png"):
        open_photographs(str(tmp_path))
