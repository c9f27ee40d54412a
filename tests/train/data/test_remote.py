"""A store that lies elsewhere: fetched when it is read, in a window of shards, with little room."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from s2f_train.data.remote import Mirror, RemoteError, is_remote
from s2f_train.data.store import Sample, Store
from s2f_train.data.window import ShardWindow
from tests.train.made_store import Person, made_store

PEOPLE = [Person(f"P{i}", "m" if i % 2 else "f", voices=3) for i in range(8)]


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of several voice shards in a folder that plays the other machine."""
    folder = tmp_path_factory.mktemp("there") / "store"
    made_store(folder, PEOPLE, shard_items=4)
    return folder


def address(folder: Path) -> str:
    return f"pipe:cat {folder}/{{}}"


def test_a_remote_store_is_the_same_store(there: Path, tmp_path: Path) -> None:
    here, elsewhere = Store.open(there), Store.open(address(there), tmp_path)
    assert elsewhere.identities == here.identities
    assert elsewhere.voices == here.voices
    assert not list(elsewhere.folder.glob("*/*.tar"))  # shards come when they are read
    for ours, theirs in zip(elsewhere.voices, here.voices, strict=True):
        np.testing.assert_array_equal(elsewhere.logmel(ours), here.logmel(theirs))
    assert elsewhere.read(elsewhere.faces[0], "json") == here.read(here.faces[0], "json")


def test_what_was_fetched_is_taken_again(there: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(there, copy)
    first = Store.open(address(copy), tmp_path / "cache")
    for voice in first.voices:
        first.logmel(voice)
    for shard in copy.glob("voices/*.tar"):
        shard.unlink()
    again = Store.open(address(copy), tmp_path / "cache")
    assert again.logmel(again.voices[0]).shape == (again.voices[0].frames, 64)


def test_with_little_room_old_shards_go_and_the_rest_can_be_read(there: Path, tmp_path: Path) -> None:
    size = max(path.stat().st_size for path in there.glob("voices/*.tar"))
    store, whole = Store.open(address(there), tmp_path, room=int(2.5 * size)), Store.open(there)
    for _ in range(2):
        for voice in store.voices:
            np.testing.assert_array_equal(store.logmel(voice), whole.logmel(voice))
            assert len(list(store.folder.glob("voices/*.tar"))) <= 2


def test_what_is_said_to_be_needed_soon_comes(there: Path, tmp_path: Path) -> None:
    store = Store.open(address(there), tmp_path)
    store.soon("voices/000001.tar")
    assert store.mirror is not None
    assert store.mirror.get("voices/000001.tar").stat().st_size == (there / "voices/000001.tar").stat().st_size


def test_what_cannot_be_fetched_is_named_and_leaves_nothing(there: Path, tmp_path: Path) -> None:
    with pytest.raises(RemoteError, match=r"nowhere/store\.json cannot be fetched"):
        Store.open(address(there.parent / "nowhere"), tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_mirror_travels_to_other_processes(there: Path, tmp_path: Path) -> None:
    store = Store.open(address(there), tmp_path, room=10**9)
    store.soon("voices/000000.tar")  # starts a thread, which does not travel
    other = pickle.loads(pickle.dumps(store))
    np.testing.assert_array_equal(other.logmel(other.voices[0]), store.logmel(store.voices[0]))


@pytest.mark.parametrize(
    ("place", "remote"), [("store", False), ("/a/store", False), ("s3://a/b", True), ("pipe:x {}", True)]
)
def test_what_is_remote(place: str, remote: bool) -> None:
    assert is_remote(place) is remote


def test_two_addresses_have_two_folders(tmp_path: Path) -> None:
    assert Mirror("https://a/b", tmp_path).folder != Mirror("https://a/c", tmp_path).folder
    assert Mirror("https://a/b/", tmp_path).folder == Mirror("https://a/b", tmp_path).folder


# ---------------------------------------------------------------------------------- windows


def voices(shards: int, each: int) -> list[Sample]:
    return [Sample(f"{s}-{i}", "x", "", "", "", f"voices/{s:06d}.tar", {}) for s in range(shards) for i in range(each)]


def test_without_a_window_all_voices_are_drawn_from() -> None:
    for width in (0, 5, 9):
        indices, soon = ShardWindow(voices(5, 3), width, 2, 0).at(7)
        assert indices.tolist() == list(range(15))
        assert soon is None


def test_a_window_moves_by_one_shard_and_sees_all_of_them_in_a_pass() -> None:
    samples = voices(6, 8)
    window = ShardWindow(samples, 2, 4, seed=3)
    seen = set()
    before: set[str] = set()
    for step in range(0, 12, 2):  # 8 voices a shard, 4 a step: a shard stays first for two steps
        indices, soon = window.at(step)
        assert np.array_equal(window.at(step + 1)[0], indices)
        shards = {samples[i].shard for i in indices}
        assert len(shards) == 2
        assert not before or len(shards & before) == 1
        before, following = shards, {samples[i].shard for i in window.at(step + 2)[0]}
        assert soon in following or step == 10
        seen |= shards
    assert len(seen) == 6


def test_windows_depend_on_seed_and_step_alone() -> None:
    a, b, c = (ShardWindow(voices(6, 8), 2, 4, seed) for seed in (1, 1, 2))
    assert [a.at(s)[1] for s in range(40)] == [b.at(s)[1] for s in range(40)]
    assert [a.at(s)[1] for s in range(40)] != [c.at(s)[1] for s in range(40)]
