"""Where faces come from: a pack, a folder, a view of the store."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from s2f_edge import Speech2Face
from s2f_train.data.store import Store
from s2f_train.evaluate.hearing import Heard
from s2f_train.evaluate.systems import (
    EvaluateError,
    System,
    faces_of,
    hashes_in,
    main_generator,
    of_folder,
    of_pack,
    of_view,
)
from s2f_train.evaluate.tables import Picture
from tests.tiny_packs import SIZE, make_pack
from tests.train.made_store import Person, made_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Two people of three voices each, of which two have a clip."""
    people = [Person(name, split="test", clips=2) for name in ("Ann", "Bob")]
    return made_store(tmp_path_factory.mktemp("store") / "s", people)


def grey(shade: int, side: int = 8) -> Picture:
    return np.full((side, side, 3), shade, np.uint8)


def write(path: Path, shade: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lossless = {"lossless": True} if path.suffix.lower() == ".webp" else {}
    file = io.BytesIO()
    Image.fromarray(grey(shade)).save(file, path.suffix[1:].upper().replace("JPG", "JPEG"), **lossless)
    path.write_bytes(file.getvalue())


def shades(system: System) -> list[int | None]:
    return [None if picture is None else round(float(picture.mean())) for picture in system.pictures]


# -------------------------------------------------------------------------------- folders


def test_a_picture_is_named_after_its_clip_or_its_key(tmp_path: Path, store: Store) -> None:
    voices = store.voices
    assert [voice.clip for voice in voices] == ["Ann-0", "Ann-1", "", "Bob-0", "Bob-1", ""]
    write(tmp_path / "Ann-0.png", 10)
    write(tmp_path / "deep" / "er" / f"{voices[1].key}.jpg", 20)
    write(tmp_path / "deep" / f"{voices[2].key}.PNG", 30)
    write(tmp_path / "Bob-0.jpeg", 40)
    write(tmp_path / "Bob-1.webp", 50)
    write(tmp_path / "Cy-0.png", 60)
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / f"{voices[5].key}.gif").write_text("no picture either")
    system = of_folder(tmp_path, "them", voices)
    assert shades(system) == [10, 20, 30, 40, 50, None]
    assert (system.name, system.kind, system.generator, system.trained_with) == ("them", "system", "", frozenset())
    assert system.there.tolist() == [True] * 5 + [False]


def test_the_clip_goes_before_the_key(tmp_path: Path, store: Store) -> None:
    write(tmp_path / f"{store.voices[0].key}.png", 10)
    write(tmp_path / "Ann-0.png", 20)
    assert shades(of_folder(tmp_path, "them", store.voices[:1])) == [20]


def test_a_folder_without_the_voices_pictures_says_what_is_wanted(tmp_path: Path, store: Store) -> None:
    write(tmp_path / "Ann.png", 10)
    with pytest.raises(EvaluateError, match=r"has 1 pictures and none for these voices\.") as error:
        of_folder(tmp_path, "them", store.voices)
    assert f"Ann-0.png, Ann-1.png, {store.voices[2].key}.png, ..." in str(error.value)
    with pytest.raises(EvaluateError, match="absent is no folder of pictures"):
        of_folder(tmp_path / "absent", "them", store.voices)
    with pytest.raises(EvaluateError, match=r"Ann\.png is no folder of pictures"):
        of_folder(tmp_path / "Ann.png", "them", store.voices)


def test_a_file_that_is_no_picture_is_named(tmp_path: Path, store: Store) -> None:
    write(tmp_path / "Ann-0.png", 10)
    (tmp_path / "Ann-1.png").write_bytes(b"GIF, or not")
    with pytest.raises(EvaluateError, match=r"Ann-1\.png: The 11 bytes are no picture"):
        of_folder(tmp_path, "them", store.voices)
    whole = (tmp_path / "Ann-0.png").read_bytes()
    (tmp_path / "Ann-1.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(EvaluateError, match=r"Ann-1\.png: "):
        of_folder(tmp_path, "them", store.voices)


# -------------------------------------------------------------------------------- views


def test_a_view_gives_the_pictures_of_the_voices_clips(store: Store) -> None:
    system = of_view(store, "s2f", store.voices)
    assert (system.name, system.kind) == ("s2f", "reference")
    assert system.there.tolist() == [True, True, False, True, True, False]
    (place,) = (face for face in store.faces if face.view == "s2f" and face.clip == "Bob-1")
    with Image.open(io.BytesIO(store.read(place, "png"))) as image:
        assert np.array_equal(system.pictures[4], np.asarray(image))  # type: ignore[arg-type]


def test_a_view_that_no_clip_has(store: Store) -> None:
    with pytest.raises(EvaluateError, match="no voice has a picture of view 'photo' of its clip"):
        of_view(store, "photo", store.voices)  # these photographs are of no clip
    with pytest.raises(EvaluateError, match="view 'else' of its clip; its views: face, photo, s2f"):
        of_view(store, "else", store.voices)


# -------------------------------------------------------------------------------- packs


def heard(count: int = 4, refused: tuple[int, ...] = ()) -> list[Heard]:
    vectors = np.random.default_rng(3).standard_normal((count, SIZE)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    male = [0.99, 0.01, 0.5, None]
    return [
        Heard(None, None, 0.0, "not-speech") if i in refused else Heard(vectors[i], male[i % 4], 3.0)
        for i in range(count)
    ]


@pytest.mark.parametrize(
    ("generators", "traits", "systems"),
    [
        ("general male female", True, ["general", "auto", "male", "female"]),
        ("general male female", False, ["general", "male", "female"]),
        ("general", True, ["general", "auto"]),
        ("male female", True, ["male", "female"]),
    ],
)
def test_a_pack_is_a_system_for_each_generator(
    tmp_path: Path, generators: str, traits: bool, systems: list[str]
) -> None:
    model = Speech2Face(make_pack(tmp_path / "p", traits=traits, generators=generators), device="cpu")
    found = of_pack(model, "mine", heard())
    assert [system.name for system in found] == [f"mine: {generator}" for generator in systems]
    assert [system.generator for system in found] == systems
    assert {system.kind for system in found} == {"system"}
    assert main_generator(model) == systems[0]


def test_auto_takes_the_generator_of_the_voice(tiny_pack: Path) -> None:
    model = Speech2Face(tiny_pack, device="cpu")
    general, auto, male, female = (system.pictures for system in of_pack(model, "mine", heard()))
    for i, right in enumerate((male, female, general, general)):  # 0.99, 0.01, unsure, not known
        assert np.array_equal(auto[i], right[i])
    assert not np.array_equal(male[0], female[0])


def test_a_refused_recording_has_no_face(tiny_pack: Path) -> None:
    model = Speech2Face(tiny_pack, device="cpu")
    assert [face is None for face in faces_of(model, heard(refused=(1, 3)), "general")] == [False, True, False, True]
    (system, *_) = of_pack(model, "mine", heard(refused=(1, 3)))
    assert system.there.tolist() == [True, False, True, False]


def test_a_pack_says_which_networks_its_training_used(tmp_path: Path) -> None:
    folder = make_pack(tmp_path / "p", generators="general male")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["training"] = {"gan": {"losses": [{"recogniser": {"sha256": "ab" * 32}}]}, "store": {"plan": "cd" * 32}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    systems = of_pack(Speech2Face(folder, device="cpu"), "mine", heard())
    assert [system.trained_with for system in systems] == [frozenset(["ab" * 32, "cd" * 32])] * 3


@pytest.mark.parametrize(
    ("facts", "hashes"),
    [
        ({}, 0),
        (None, 0),
        (3.5, 0),
        ("ab" * 32, 1),
        ("ab" * 31, 0),
        ("xy" * 32, 0),
        ({"a": ["ab" * 32, {"b": ("cd" * 32, 1, None)}], "c": "ab" * 32}, 2),
        (MappingProxyType({"a": MappingProxyType({"b": "ef" * 32})}), 1),
        ([[[["ab" * 32]]], "no"], 1),
    ],
)
def test_hashes_are_found_however_deep(facts: Mapping[str, Any], hashes: int) -> None:
    found = hashes_in(facts)
    assert len(found) == hashes
    assert all(len(one) == 64 for one in found)


def test_some_voices_of_a_system() -> None:
    system = System("some", "system", [grey(1), None, grey(3)])
    assert system.there.tolist() == [True, False, True]
    kept = system.only(np.array([True, False, True]))
    assert [int(face[0, 0, 0]) for face in kept.pictures if face is not None] == [1, 3]
