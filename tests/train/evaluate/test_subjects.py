"""Who is judged: nobody without a voice and a face, nobody twice, and the same people each time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from s2f_train.data.pictures import resized
from s2f_train.data.store import Store, StoreError
from s2f_train.evaluate import subjects as subjects_module
from s2f_train.evaluate.subjects import StoredPictures, Subjects, choose
from tests.train.made_store import Person, crowd, made_store


def names(subjects: Subjects) -> list[str]:
    return [person.name for person in subjects.people]


def test_people_have_a_voice_and_a_face(tmp_path: Path) -> None:
    people = [
        Person("Ann", split="test"),
        Person("Bob", split="test"),
        Person("Voice", split="test", voices=2, photos=0),
        Person("Face", split="test", voices=0, photos=2),
        Person("Old", split="train", photos=3),
        Person("Val", split="valid", photos=1),
    ]
    found = choose(made_store(tmp_path / "s", people), "test", "photo")
    assert names(found) == ["Ann", "Bob"]
    assert [voice.identity for voice in found.voices] == ["Ann"] * 3 + ["Bob"] * 3
    assert found.voice_person.tolist() == [0, 0, 0, 1, 1, 1]
    assert [voice.identity for voice in found.alone] == ["Voice"] * 2
    # A face of everyone before anyone's second one.
    assert {face.identity for face in found.others[:2]} == {"Old", "Val"}
    assert [face.identity for face in found.others[2:]] == ["Old"] * 2
    # Two photos each: one for the gallery, one for the oracle.
    assert [face.identity for face in found.faces] == ["Ann", "Bob"]
    assert [face.identity for face in found.oracle] == ["Ann", "Bob"]
    assert found.own_face.tolist() == [0, 0, 0, 1, 1, 1]


def test_the_face_of_the_same_clip_is_the_own_face(tmp_path: Path) -> None:
    store = made_store(tmp_path / "s", [Person(name, split="test", voices=6, clips=6) for name in ("Ann", "Bob")])
    found = choose(store, "test", "face", voices_per_person=3, faces_per_person=4)
    assert len(found.voices) == 6
    assert [found.faces[own].clip for own in found.own_face] == [voice.clip for voice in found.voices]
    assert np.bincount(found.face_person).tolist() == [4, 4]
    assert [face.identity for face in found.oracle] == ["Ann", "Bob"]
    assert not {face.clip for face in found.oracle} & {voice.clip for voice in found.voices}


@pytest.mark.parametrize(("at_most", "faces"), [(5, 3), (3, 3), (2, 2), (1, 1)])
def test_the_picture_of_the_oracle_is_in_no_gallery(tmp_path: Path, at_most: int, faces: int) -> None:
    store = made_store(tmp_path / "s", crowd(0, 0, 3, photos=4))
    found = choose(store, "test", "photo", faces_per_person=at_most)
    assert np.bincount(found.face_person).tolist() == [faces] * 3
    assert found.oracle_of.tolist() == [0, 1, 2]
    assert [face.identity for face in found.oracle] == names(found)
    assert not {face.key for face in found.oracle} & {face.key for face in found.faces}
    assert all(found.faces[own].identity == v.identity for own, v in zip(found.own_face, found.voices, strict=True))


ONE_PHOTO = [
    Person("Alone", split="test", photos=1, clips=1),
    Person("Both", split="test", photos=2, clips=1),
    Person("None", split="test", photos=1, clips=0),
]


def test_another_view_stands_for_a_photograph_only_where_there_is_one_alone(tmp_path: Path) -> None:
    store = made_store(tmp_path / "s", ONE_PHOTO)
    found = choose(store, "test", "photo", oracle_view="s2f")
    assert found.oracle_of.tolist() == [0, 1, -1]
    assert [(face.identity, face.view) for face in found.oracle] == [("Alone", "s2f"), ("Both", "photo")]
    without = choose(store, "test", "photo")
    assert without.oracle_of.tolist() == [-1, 0, -1]
    assert [face.identity for face in without.oracle] == ["Both"]
    assert [face.key for face in without.faces] == [face.key for face in found.faces]


def test_the_view_itself_is_no_other_photograph(tmp_path: Path) -> None:
    found = choose(made_store(tmp_path / "s", ONE_PHOTO), "test", "photo", oracle_view="photo")
    assert found.oracle_of.tolist() == [-1, 0, -1]
    assert not {face.key for face in found.oracle} & {face.key for face in found.faces}


def test_so_many_people_are_chosen_by_the_seed(tmp_path: Path) -> None:
    store = made_store(tmp_path / "s", crowd(0, 0, 8, voices=1, photos=1))
    of_seed = [names(choose(store, "test", "photo", people=3, seed=seed)) for seed in range(6)]
    assert all(len(set(chosen)) == 3 and chosen == sorted(chosen) for chosen in of_seed)
    assert of_seed[0] == names(choose(store, "test", "photo", people=3, seed=0))
    assert len({tuple(chosen) for chosen in of_seed}) > 1
    assert len(choose(store, "test", "photo", people=100).people) == 8


def test_at_most_so_many_voices_a_person(tmp_path: Path) -> None:
    store = made_store(tmp_path / "s", [Person("Ann", split="test", voices=9), Person("Bob", split="test", voices=1)])
    found = choose(store, "test", "photo", voices_per_person=4)
    assert [voice.identity for voice in found.voices] == ["Ann"] * 4 + ["Bob"]
    assert len({voice.key for voice in found.voices}) == 5
    other = choose(store, "test", "photo", voices_per_person=4, seed=1)
    assert {voice.key for voice in other.voices} != {voice.key for voice in found.voices}


def test_what_else_the_store_holds_changes_nothing(tmp_path: Path) -> None:
    """Other splits and other views come and go without another choice of voices and faces."""
    people = crowd(0, 0, 4, voices=5, photos=4)
    found = choose(made_store(tmp_path / "a", people), "test", "photo", faces_per_person=2)
    more = [*people, Person("Z", split="train", clips=2), Person("Zz", split="valid")]
    again = choose(made_store(tmp_path / "b", more), "test", "photo", faces_per_person=2)
    for kind in ("people", "voices", "faces", "oracle"):
        assert [getattr(one, "key", one) for one in getattr(found, kind)] == [
            getattr(one, "key", one) for one in getattr(again, kind)
        ]
    assert found.own_face.tolist() == again.own_face.tolist()
    assert not found.others
    assert sorted(face.identity for face in again.others) == ["Z", "Z", "Zz", "Zz"]


def test_others_are_of_the_view_and_at_most_so_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subjects_module, "OTHERS", 5)
    store = made_store(tmp_path / "s", crowd(4, 2, 2, photos=2, clips=1))
    found = choose(store, "test", "photo")
    assert len({face.key for face in found.others}) == 5
    assert {face.view for face in found.others} == {"photo"}
    assert {store.identities[face.identity].split for face in found.others} <= {"train", "valid"}


def test_data_sets_can_be_chosen(tmp_path: Path) -> None:
    people = [
        Person(f"{source}{i}", split=split, source=source)
        for source in ("one", "two")
        for i, split in enumerate(("test", "test", "train"))
    ]
    store = made_store(tmp_path / "s", people)
    found = choose(store, "test", "photo", sources=("two",))
    assert names(found) == ["two0", "two1"]
    assert {face.identity for face in found.others} == {"two2"}
    assert len(choose(store, "test", "photo").people) == 4


def test_too_few_people_are_told_with_what_there_is(tmp_path: Path) -> None:
    people = [Person("Ann", split="test", clips=1), Person("Bob", split="test"), Person("Cy", split="train")]
    store = made_store(tmp_path / "s", people)
    said = "1 people of the split 'test' have a voice and a face of view 'face'; two are needed"
    with pytest.raises(StoreError, match=said) as error:
        choose(store, "test", "face")
    assert "Its views are face, photo, s2f, its splits test, train, its data sets made." in str(error.value)
    with pytest.raises(StoreError, match="0 people of the split 'valid'"):
        choose(store, "valid", "photo")
    with pytest.raises(StoreError, match="0 people of the split 'test' have a voice and a face of view 'portrait'"):
        choose(store, "test", "portrait")
    none = made_store(tmp_path / "none", crowd(0, 0, 3, photos=0))
    with pytest.raises(StoreError, match="Its views are none, its splits test"):
        choose(none, "test", "photo")


def test_some_of_the_voices(tmp_path: Path) -> None:
    found = choose(made_store(tmp_path / "s", crowd(1, 0, 3, voices=2, photos=3)), "test", "photo")
    some = found.only(np.array([False, True, True, True, False, False]))
    assert [voice.key for voice in some.voices] == [found.voices[i].key for i in (1, 2, 3)]
    assert some.voice_person.tolist() == [0, 1, 1]
    assert some.own_face.tolist() == found.own_face[1:4].tolist()
    assert (some.people, some.faces, some.oracle, some.others) == (
        found.people, found.faces, found.oracle, found.others,
    )  # fmt: skip


@pytest.mark.parametrize("jpg", [False, True])
def test_pictures_are_decoded_when_they_are_looked_at(tmp_path: Path, jpg: bool) -> None:
    store = made_store(tmp_path / "s", crowd(0, 0, 2), jpg=jpg)
    pictures = StoredPictures(store, store.faces)
    assert len(pictures) == 4
    assert all(picture.shape == (64, 64, 3) and picture.dtype == np.uint8 for picture in pictures)
    assert np.array_equal(pictures[1:3][0], pictures[1])
    assert not np.array_equal(pictures[0], pictures[1])


def test_a_broken_picture_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    store = made_store(folder, crowd(0, 0, 2))
    offset, _ = store.faces[2].members["png"]
    with (folder / store.faces[2].shard).open("r+b") as file:
        file.seek(offset)
        file.write(b"no picture at all, " * 4)
    broken = Store.open(folder)
    with pytest.raises(StoreError, match=r"faces/000000\.tar: f00002 cannot be decoded"):
        StoredPictures(broken, broken.faces)[2]


def test_resized() -> None:
    grey = np.full((100, 80, 3), 77, np.uint8)
    assert resized(grey, 64).shape == (64, 64, 3)
    assert (resized(grey, 64) == 77).all()
    fits = np.zeros((64, 64, 3), np.uint8)
    assert resized(fits, 64) is fits
