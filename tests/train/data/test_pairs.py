"""Who takes part, and which faces belong to which voices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from s2f_train.config import GanSettings
from s2f_train.data.pairs import NONE, Pairs, pair
from s2f_train.data.store import Store, StoreError
from tests.train.made_store import Person, made_store

SHORT = (20, 22)
PEOPLE = [
    Person("Zoe", "f", age=30, voices=3, photos=2, clips=2, frames=SHORT),
    Person("Abe", "m", age=40, voices=2, photos=3, clips=1, frames=SHORT),
    Person("Mia", "f", age=61, voices=2, photos=0, frames=SHORT),  # no face
    Person("Max", "m", voices=1, photos=0, frames=SHORT),  # no face, no age
    Person("Kim", "", voices=1, photos=0, frames=SHORT),  # no face, no gender
    Person("Pia", "f", age=59, voices=0, photos=2, frames=SHORT, source="faces"),  # no voice
    Person("Eva", "f", age=25, voices=0, photos=2, frames=SHORT, source="faces"),
    Person("Uwe", "m", voices=0, photos=4, frames=SHORT, source="faces"),
    Person("Val", "f", age=60, voices=2, photos=5, clips=2, frames=SHORT, split="valid"),
    Person("Tim", "m", age=60, voices=2, photos=5, clips=2, frames=SHORT, split="test"),
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return made_store(tmp_path_factory.mktemp("stores") / "made", PEOPLE)


def paired(store: Store, **values: Any) -> Pairs:
    return pair(store, GanSettings(**values))


def speakers(pairs: Pairs) -> set[str]:
    return {voice.identity for voice in pairs.voices}


def real_faces(pairs: Pairs) -> dict[int, set[str]]:
    """Number of the classifier -> whose faces are said to be of that person."""
    found: dict[int, set[str]] = {}
    for index, number in pairs.real.tolist():
        found.setdefault(number, set()).add(pairs.faces[index].identity)
    return found


def number_of(pairs: Pairs, name: str) -> int:
    (number,) = {int(n) for v, n in zip(pairs.voices, pairs.classes, strict=True) if v.identity == name}
    return number


# ------------------------------------------------------------------------------- by person


def test_with_identities_only_who_has_both_takes_part(store: Store) -> None:
    pairs = paired(store)
    assert speakers(pairs) == {"Zoe", "Abe"}
    assert len(pairs.voices) == 5
    assert pairs.identities == 2
    assert real_faces(pairs) == {number_of(pairs, name): {name} for name in ("Zoe", "Abe")}
    assert sorted(real_faces(pairs)) == [0, 1]
    assert len(pairs.real) == 5  # the photos of the two, each once


def test_without_identities_everyone_does(store: Store) -> None:
    pairs = paired(store, identity_weight=0.0)
    assert speakers(pairs) == {"Zoe", "Abe", "Mia", "Max", "Kim"}
    assert set(real_faces(pairs)) == {NONE}
    assert sorted(pairs.real[:, 0]) == list(range(13))
    assert {pairs.faces[i].identity for i in pairs.real[:, 0]} == {"Zoe", "Abe", "Pia", "Eva", "Uwe"}


@pytest.mark.parametrize("values", [{}, {"identity_weight": 0.0}, {"view": "s2f"}])
def test_nobody_of_another_split(store: Store, values: dict[str, Any]) -> None:
    pairs = paired(store, **values)
    names = speakers(pairs) | {face.identity for face in pairs.faces}
    assert {store.identities[name].split for name in names} == {"train"}


@pytest.mark.parametrize(
    ("gender", "names"), [("male", {"Abe", "Max", "Uwe"}), ("female", {"Zoe", "Mia", "Pia", "Eva"})]
)
def test_only_one_gender(store: Store, gender: str, names: set[str]) -> None:
    pairs = paired(store, gender=gender, identity_weight=0.0)
    assert speakers(pairs) | {face.identity for face in pairs.faces} == names


def test_only_the_sources_that_are_asked_for(store: Store) -> None:
    pairs = paired(store, sources=("made",), identity_weight=0.0)
    assert {face.identity for face in pairs.faces} == {"Zoe", "Abe"}
    with pytest.raises(StoreError, match="no voices"):
        paired(store, sources=("faces",))


def test_only_the_view_that_is_asked_for(store: Store) -> None:
    for view, count in (("photo", 13), ("s2f", 3), ("face", 3)):
        pairs = paired(store, view=view, identity_weight=0.0)
        assert {face.view for face in pairs.faces} == {view}
        assert len(pairs.faces) == count


# ------------------------------------------------------------------------------- by clip


@pytest.mark.parametrize("view", ["face", "s2f"])
@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_targets_are_of_the_same_clip(store: Store, view: str, weight: float) -> None:
    pairs = paired(store, view=view, identity_weight=weight)
    assert (pairs.targets != NONE).sum() == 3
    for voice, target in zip(pairs.voices, pairs.targets.tolist(), strict=True):
        if voice.clip:
            assert (pairs.faces[target].clip, pairs.faces[target].view) == (voice.clip, view)
        else:
            assert target == NONE


def test_photos_are_no_targets(store: Store) -> None:
    assert (paired(store, view="photo", identity_weight=0.0).targets == NONE).all()


# ------------------------------------------------------------------------------- nothing to learn from


def test_no_voices(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"made has no voices in its training split\."):
        paired(store, sources=("absent",))
    only_men = made_store(tmp_path / "men", [Person("Abe", "m", voices=1, photos=1, frames=SHORT)])
    with pytest.raises(StoreError, match="no voices of female people in its training split"):
        paired(only_men, gender="female")


def test_no_pictures_of_that_view(store: Store, tmp_path: Path) -> None:
    with pytest.raises(
        StoreError, match=r"no 'foto' pictures in its .*; its pictures are face, photo, s2f \(setting: view"
    ):
        paired(store, view="foto")
    none = made_store(tmp_path / "none", [Person("Abe", "m", voices=1, photos=0, frames=SHORT)])
    with pytest.raises(StoreError, match="its pictures are none"):
        paired(none)


def test_nobody_with_both(tmp_path: Path) -> None:
    people = [
        Person("Abe", "m", voices=1, photos=0, frames=SHORT),
        Person("Bea", "f", voices=2, photos=0, frames=SHORT),
        Person("Uwe", "m", voices=0, photos=1, frames=SHORT),
    ]
    store = made_store(tmp_path / "apart", people)
    with pytest.raises(StoreError, match=r"none of 2 speakers has a 'photo' picture; .* Set identity_weight=0"):
        paired(store)
    assert speakers(paired(store, identity_weight=0.0)) == {"Abe", "Bea"}
