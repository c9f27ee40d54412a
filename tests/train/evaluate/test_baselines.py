"""What is known of faces that know nothing of the voice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from s2f_edge import Speech2Face
from s2f_train.data.store import Store
from s2f_train.evaluate.baselines import baselines
from s2f_train.evaluate.subjects import StoredPictures, Subjects, choose
from s2f_train.evaluate.systems import System
from tests.tiny_packs import make_pack
from tests.train import made_store as store_maker
from tests.train.made_store import Person, made_store

Stored = Callable[[Sequence[Person]], Store]

# Each person's photographs are of one shade, which stands in the name.
TESTED = [Person("T201", "m", split="test"), Person("T202", "f", split="test"), Person("T203", "", split="test")]
OTHERS = [
    Person("O010", "m", photos=1),
    Person("O020", "m", photos=1),
    Person("O100", "f", photos=3),
    Person("O150", "", photos=1),
]


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stored:
    def shade(rng: np.random.Generator, name: str) -> NDArray[np.uint8]:
        return np.full((64, 64, 3), int(name[1:4]), np.uint8)

    monkeypatch.setattr(store_maker, "face_pixels", shade)
    return lambda people: made_store(tmp_path / "s", people)


def made(
    store: Store,
    subjects: Subjects,
    gender: str = "mf?",
    systems: Sequence[System] = (),
    models: dict[str, Speech2Face] | None = None,
    seed: int = 0,
) -> dict[str, System]:
    known = np.array([g.replace("?", "") for g in gender], "<U1")
    return {s.name: s for s in baselines(store, subjects, known, list(systems), models or {}, seed)}


def shades(system: System) -> list[int]:
    """Of pictures that are of one shade."""
    assert all(np.ptp(face) == 0 for face in system.pictures)
    return [int(face[0, 0, 0]) for face in system.pictures]


def test_mean_faces_are_the_means(stored: Stored) -> None:
    store = stored([*TESTED, *OTHERS])
    found = made(store, choose(store, "test", "photo"))
    # Faces 10, 20, 100, 100, 100, 150: 480 / 6; the men's 30 / 2; the women's 100.
    assert shades(found["mean face"]) == [80] * 9
    assert shades(found["mean face of the gender"]) == [15] * 3 + [100] * 3 + [80] * 3
    assert {system.kind for name, system in found.items() if "oracle" not in name} == {"baseline"}


def test_the_gender_is_the_one_that_is_given(stored: Stored) -> None:
    """A judge may know it where the data don't."""
    store = stored([*TESTED, *OTHERS])
    found = made(store, choose(store, "test", "photo"), "ffm")
    assert shades(found["mean face of the gender"]) == [100] * 6 + [15] * 3


def test_without_a_face_of_a_gender_all_faces_stand_for_it(stored: Stored) -> None:
    store = stored([*TESTED, *(person for person in OTHERS if person.gender != "f")])
    found = made(store, choose(store, "test", "photo"))
    assert shades(found["mean face of the gender"]) == [15] * 3 + [60] * 6  # (10 + 20 + 150) / 3


@pytest.mark.parametrize("seed", range(5))
def test_a_random_face_is_of_another_person(stored: Stored, seed: int) -> None:
    store = stored([*TESTED, *OTHERS])
    found = made(store, choose(store, "test", "photo"), seed=seed)
    assert set(shades(found["random face"])) <= {10, 20, 100, 150}
    store = stored(TESTED)
    subjects = choose(store, "test", "photo")
    assert not subjects.others
    found = made(store, subjects, seed=seed)
    assert all(
        shade in {201, 202, 203} - {201 + person}
        for shade, person in zip(shades(found["random face"]), subjects.voice_person, strict=True)
    )


def test_a_random_face_is_of_another_person_even_if_that_one_is_rare(stored: Stored) -> None:
    store = stored([Person("T201", split="test", photos=300, voices=20), Person("T202", split="test", photos=1)])
    subjects = choose(store, "test", "photo", faces_per_person=299, voices_per_person=20)
    assert shades(made(store, subjects, "mm")["random face"])[:20] == [202] * 20


@pytest.mark.parametrize("seed", range(8))
def test_shuffled_voices_have_the_faces_of_others(stored: Stored, seed: int) -> None:
    voices = (1, 4, 2, 3)
    people = [Person(f"T20{i}", split="test", voices=count) for i, count in enumerate(voices)]
    store = stored(people)
    subjects = choose(store, "test", "photo", voices_per_person=4)
    assert subjects.voice_person.tolist() == [0, 1, 1, 1, 1, 2, 2, 3, 3, 3]
    # Each voice's picture is its number.
    system = System("ours", "system", [np.full((4, 4, 3), i, np.uint8) for i in range(10)], trained_with=frozenset("a"))
    shuffled = made(store, subjects, "mmmm", [system], seed=seed)["shuffled voices (ours)"]
    giver = subjects.voice_person[shades(shuffled)]
    assert (giver != subjects.voice_person).all()
    assert len({int(g) for g in giver}) == 4  # everyone gives to one
    assert all(len(set(giver[subjects.voice_person == person])) == 1 for person in range(4))
    for person in range(4):  # as many different pictures as there are
        taken = np.array(shades(shuffled))[subjects.voice_person == person]
        assert len(set(taken)) == min(voices[person], voices[giver[subjects.voice_person == person][0]])
    assert shuffled.trained_with == frozenset("a")


def test_the_first_system_is_shuffled_and_none_if_there_is_none(stored: Stored) -> None:
    store = stored(TESTED)
    subjects = choose(store, "test", "photo", voices_per_person=1)
    systems = [System(name, "system", [np.zeros((4, 4, 3), np.uint8)] * 3) for name in ("one", "two")]
    assert [name for name in made(store, subjects, systems=systems) if "shuffled" in name] == ["shuffled voices (one)"]
    assert not [name for name in made(store, subjects) if "shuffled" in name]


def test_silence_and_noise_give_one_face_each(stored: Stored, tiny_pack: Path, tmp_path: Path) -> None:
    store = stored(TESTED)
    subjects = choose(store, "test", "photo")
    one = Speech2Face(tiny_pack, device="cpu")
    found = made(store, subjects, models={"tiny": one})
    for name in ("silence as input", "noise as input"):
        faces = found[name].pictures
        assert len(faces) == 9
        assert all(np.array_equal(face, faces[0]) for face in faces)
    assert not np.array_equal(found["silence as input"].pictures[0], found["noise as input"].pictures[0])
    men = Speech2Face(make_pack(tmp_path / "men", generators="male"), device="cpu")
    two = made(store, subjects, models={"tiny": one, "men": men})
    assert [name for name in two if "as input" in name] == [
        f"{pack}: {what} as input" for pack in ("tiny", "men") for what in ("silence", "noise")
    ]


def test_the_oracle_has_a_gap_where_there_is_no_other_picture(stored: Stored) -> None:
    name = "oracle: another photograph"
    store = stored([Person("T201", split="test", photos=2), Person("T202", split="test", photos=1)])
    oracle = made(store, choose(store, "test", "photo"), "mm")[name]
    assert oracle.kind == "ceiling"
    assert oracle.there.tolist() == [True] * 3 + [False] * 3
    assert [int(face[0, 0, 0]) for face in oracle.pictures if face is not None] == [201] * 3


def test_without_another_picture_there_is_no_oracle(stored: Stored) -> None:
    store = stored([Person("T201", split="test", photos=1), Person("T202", split="test", photos=1)])
    assert not [name for name in made(store, choose(store, "test", "photo"), "mm") if "oracle" in name]


def test_a_seed_gives_the_same_and_another_seed_does_not(stored: Stored) -> None:
    store = stored([*TESTED, *OTHERS])
    subjects = choose(store, "test", "photo")
    drawn = [shades(made(store, subjects, seed=seed)["random face"]) for seed in (0, 0, 1, 2)]
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2] or drawn[0] != drawn[3]


def test_pictures_of_a_store_are_of_the_shade(stored: Stored) -> None:
    """What the tests above take for granted."""
    store = stored(TESTED)
    assert {int(picture.mean()) for picture in StoredPictures(store, store.faces)} == {201, 202, 203}
