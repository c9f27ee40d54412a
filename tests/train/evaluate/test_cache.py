"""The cache gives back what it was given, and says what is wrong with its file."""

from __future__ import annotations

import os
import re
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2f_train.evaluate.cache import CacheError, VectorCache, key_of


def keys(count: int) -> list[bytes]:
    return [key_of(str(number)) for number in range(count)]


def test_every_bit_comes_back(tmp_path: Path) -> None:
    odd = np.array([0.1, -0.0, np.nan, np.inf, 1e-42, 3.4e38], np.float32)
    vectors = {b"odd": odd, b"none": np.zeros(0, np.float32), b"\0\xff": np.arange(4, dtype=np.float32)}
    with closing(VectorCache(tmp_path / "new" / "folder" / "cache.sqlite")) as cache:
        cache.put(vectors)
    with closing(VectorCache(tmp_path / "new" / "folder" / "cache.sqlite")) as cache:
        found = cache.get([*vectors, b"another"])
    assert set(found) == set(vectors)
    for key, vector in vectors.items():
        assert found[key].dtype == np.float32
        assert found[key].tobytes() == vector.tobytes()


def test_any_layout_is_kept_as_float32() -> None:
    wide = np.arange(12.0).reshape(3, 4)
    with closing(VectorCache()) as cache:
        cache.put({b"strided": wide[:, 1]})  # type: ignore[dict-item]
        np.testing.assert_array_equal(cache.get([b"strided"])[b"strided"], np.float32([1, 5, 9]))


@pytest.mark.parametrize("count", [0, 1, 499, 500, 501, 1234])
def test_many_keys(count: int) -> None:
    names = keys(count)
    with closing(VectorCache()) as cache:
        cache.put({key: np.float32([i, -i]) for i, key in enumerate(names[::2])})
        found = cache.get(iter([*names, *names]))
        assert set(found) == set(names[::2])
        for i, key in enumerate(names[::2]):
            np.testing.assert_array_equal(found[key], [i, -i])


def test_the_last_one_stays() -> None:
    with closing(VectorCache()) as cache:
        cache.put({b"a": np.float32([1])})
        cache.put({b"a": np.float32([2, 3])})
        cache.put({})
        np.testing.assert_array_equal(cache.get([b"a"])[b"a"], [2, 3])


def test_nothing_is_kept_without_a_file() -> None:
    with closing(VectorCache()) as first, closing(VectorCache()) as second:
        first.put({b"a": np.float32([1])})
        assert second.get([b"a"]) == {}


def test_two_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    with closing(VectorCache(path)) as first, closing(VectorCache(path)) as second:
        first.put({b"a": np.float32([1])})
        second.put({b"b": np.float32([2])})
        for cache in (first, second):
            assert set(cache.get([b"a", b"b"])) == {b"a", b"b"}


def test_many_write_at_once(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"

    def write(number: int) -> None:
        with closing(VectorCache(path)) as cache:
            for i in range(10):
                cache.put({key_of(f"{number} {i}"): np.float32([number, i])})

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with closing(VectorCache(path)) as cache:
        assert len(cache.get(key_of(f"{number} {i}") for number in range(4) for i in range(10))) == 40


# -------------------------------------------------------------------------------- errors


def test_a_file_that_is_something_else(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database\n" * 100)
    with pytest.raises(CacheError, match=rf"{re.escape(str(path))} cannot be used .*delete it or give another --cache"):
        VectorCache(path)
    assert path.read_text() == "not a database\n" * 100


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(CacheError, match="cannot be used as a cache"):
        VectorCache(tmp_path)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CacheError, match="cannot be used as a cache"):
        VectorCache(tmp_path / "file" / "cache.sqlite")


def test_another_database(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE vectors (name TEXT, weight REAL)")
    with pytest.raises(CacheError, match=re.escape(str(path))), closing(VectorCache(path)) as cache:
        cache.get([b"a"])


def test_a_damaged_file(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    with closing(VectorCache(path)) as cache:
        cache.put({key: np.ones(128, np.float32) for key in keys(100)})
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xa5" * (len(data) - 4096)  # the first page stays: it opens
    path.write_bytes(data)
    with pytest.raises(CacheError, match=re.escape(str(path))), closing(VectorCache(path)) as cache:
        cache.get(keys(100))


def test_a_full_disk_keeps_nothing_of_it(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="no limits on files here")
    path = tmp_path / "cache.sqlite"
    vectors = {key: np.ones(512, np.float32) for key in keys(300)}
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with closing(VectorCache(path)) as cache:
        cache.put({b"before": np.float32([1])})
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
        try:
            with pytest.raises(CacheError, match=rf"{re.escape(str(path))} cannot be written"):
                cache.put(vectors)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert set(cache.get([b"before", *vectors])) == {b"before"}
        cache.put(vectors)
        assert len(cache.get(vectors)) == 300


def test_a_file_that_may_only_be_read(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    with closing(VectorCache(path)) as cache:
        cache.put({b"a": np.float32([1])})
    path.chmod(0o444)
    if os.access(path, os.W_OK):
        pytest.skip("this user may write every file")
    with closing(VectorCache(path)) as cache:
        assert set(cache.get([b"a"])) == {b"a"}
        with pytest.raises(CacheError, match="cannot be written"):
            cache.put({b"b": np.float32([2])})


# ---------------------------------------------------------------------------------- keys


def test_what_is_different_has_another_key() -> None:
    zeros = np.zeros(12, np.uint8)
    parts: list[tuple[str | bytes | np.ndarray, ...]] = [
        (), ("",), ("", ""), ("ab", "c"), ("a", "bc"), ("abc",), ("c", "ab"), ("ab", "c", ""), (b"\xff",),
        (zeros,), (zeros.reshape(3, 4),), (zeros.reshape(4, 3),), (zeros.view(np.int8),), (zeros.view(np.float32),),
        (zeros.view(">f4"),), (zeros[:11],), (zeros.tobytes(),), (zeros[:6], zeros[:6]), (zeros[:5], zeros[:7]),
        ("a", zeros), (zeros, "a"), (np.zeros((), np.float32),), (np.zeros(1, np.float32),),
    ]  # fmt: skip
    assert len({key_of(*part) for part in parts}) == len(parts)


def test_what_is_the_same_has_the_same_key() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (8, 6, 3), np.uint8)
    assert key_of("judge", picture) == key_of("judge", np.asfortranarray(picture))
    assert key_of("judge", picture) == key_of("judge", np.repeat(picture, 2, axis=0)[::2])
    assert len(key_of("judge", picture)) == 32
    changed = picture.copy()
    changed[-1, -1, -1] ^= 1
    assert key_of("judge", picture) != key_of("judge", changed)


@given(st.lists(st.binary(max_size=12), max_size=4), st.lists(st.binary(max_size=12), max_size=4))
def test_keys_know_where_a_part_ends(first: list[bytes], second: list[bytes]) -> None:
    assert (key_of(*first) == key_of(*second)) == (first == second)
