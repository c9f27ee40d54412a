"""What is kept: nothing; or, with a store, faces that only their owner can open. And addresses that hold a face."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest

from s2f_edge.errors import NotFoundError, SetupError
from s2f_edge.service.sealed import Seal
from s2f_edge.service.store import FaceStore
from tests.service.conftest import Server

Serve = Callable[..., Server]
PICTURE = b"image/png\0\x89PNG\r\n\x1a\nthe rest of it"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, in its only item, which a test may change."""
    now = [1e9]
    monkeypatch.setattr(time, "time", lambda: now[0])
    return now


# --------------------------------------------------------------------------------- store


def test_what_lies_in_the_store_shows_nothing(tmp_path: Path) -> None:
    store = FaceStore(tmp_path / "store")
    name, owner_key, _ = store.keep(PICTURE, 1.0)
    (file,) = (tmp_path / "store").glob("*.face")
    data = file.read_bytes()
    assert b"PNG" not in data
    assert b"image" not in data
    assert owner_key.encode() not in data
    assert owner_key not in str(file)
    assert store.face(name, owner_key) == PICTURE


def test_only_the_owner_opens_and_deletes(tmp_path: Path) -> None:
    store = FaceStore(tmp_path)
    name, owner_key, _ = store.keep(PICTURE, 1.0)
    other, other_key, _ = store.keep(PICTURE, 1.0)
    for wrong in (other_key, "", owner_key[:-1], "\udcff"):
        with pytest.raises(NotFoundError):
            store.face(name, wrong)
        with pytest.raises(NotFoundError):
            store.delete(name, wrong)
    store.delete(name, owner_key)
    for again in (store.face, store.delete):
        with pytest.raises(NotFoundError):
            again(name, owner_key)
    assert store.face(other, other_key) == PICTURE


def test_a_face_is_bound_to_its_name_and_time(tmp_path: Path, clock: list[float]) -> None:
    store = FaceStore(tmp_path)
    name, owner_key, until = store.keep(PICTURE, 1.0)
    assert until == clock[0] + 3600.0
    file = tmp_path / f"{name}.face"
    data = file.read_bytes()
    later, _, _ = store.keep(PICTURE, 9.0)
    file.write_bytes((tmp_path / f"{later}.face").read_bytes()[:8] + data[8:])  # kept longer, somebody thinks
    with pytest.raises(NotFoundError):
        store.face(name, owner_key)
    (tmp_path / f"{later}.face").write_bytes(data)
    with pytest.raises(NotFoundError):
        store.face(later, owner_key)


def test_time_ends_a_face(tmp_path: Path, clock: list[float]) -> None:
    store = FaceStore(tmp_path)
    short, key, _ = store.keep(PICTURE, 1.0)
    store.keep(PICTURE, 2.0)
    (tmp_path / f"{'0' * 32}.face").write_bytes(b"cut")
    assert store.sweep() == 0
    clock[0] += 3601.0
    with pytest.raises(NotFoundError):
        store.face(short, key)
    assert store.sweep() == 1
    assert not (tmp_path / f"{short}.face").exists()
    assert len(list(tmp_path.glob("*.face"))) == 2


@pytest.mark.parametrize("name", ["../secret", "0" * 31, "0" * 32 + "/x", ""])
def test_a_name_is_no_path(tmp_path: Path, name: str) -> None:
    with pytest.raises(NotFoundError):
        FaceStore(tmp_path).face(name, "key")


def test_a_store_that_cannot_be_written_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SetupError, match="cannot be written"):
        FaceStore(tmp_path / "file" / "store")


@pytest.mark.slow
def test_a_face_is_kept_where_the_caller_asks(serve: Serve, male: bytes, tmp_path: Path) -> None:
    server = serve("--store", str(tmp_path / "kept"), "--store-hours", "2")

    def ask(**data: str) -> httpx.Response:
        return client.post("/v1/face", files={"file": ("a", male)}, data={"size": "64", **data})

    with server.client() as client:
        assert ask().status_code == 200
        assert not list((tmp_path / "kept").glob("*.face"))
        answer = ask(keep_hours="1")
        (kept,) = json.loads(answer.headers["s2f-facts"])["kept"]
        again = client.get(f"/v1/faces/{kept['name']}", headers={"Owner-Key": kept["owner_key"]})
        assert (again.content, again.headers["content-type"]) == (answer.content, "image/png")
        wrong = client.get(f"/v1/faces/{kept['name']}", headers={"Owner-Key": "wrong"})
        assert (wrong.status_code, wrong.json()["code"]) == (404, "not-found")
        long = ask(keep_hours="3")
        assert (long.status_code, "at most 2" in long.json()["detail"]) == (400, True)
        delete = [client.delete(f"/v1/faces/{kept['name']}", headers={"Owner-Key": kept["owner_key"]}) for _ in "12"]
        assert [answer.status_code for answer in delete] == [204, 404]
    assert not list((tmp_path / "kept").glob("*.face"))
    assert kept["owner_key"] not in server.log


def test_as_it_is_no_face_is_kept(client: httpx.Client, male: bytes) -> None:
    refused = client.post("/v1/face", files={"file": ("a", male)}, data={"keep_hours": "1"})
    assert (refused.status_code, "keeps no faces" in refused.json()["detail"]) == (400, True)
    assert client.get(f"/v1/faces/{'0' * 32}", headers={"Owner-Key": "key"}).status_code == 404


# -------------------------------------------------------------------------------- sealed


def test_an_address_holds_a_voice_until_its_time_is_over(clock: list[float]) -> None:
    seal = Seal("secret")
    voice = np.random.default_rng(0).standard_normal(64).astype(np.float32)
    voice /= np.linalg.norm(voice)
    token = seal.close(voice, "female", 60.0)
    opened, generator = Seal("secret").open(token)
    assert generator == "female"
    np.testing.assert_allclose(opened, voice, atol=1e-3)
    clock[0] += 61.0
    with pytest.raises(NotFoundError):
        seal.open(token)


def test_an_address_that_is_none_of_ours() -> None:
    seal = Seal("secret")
    token = seal.close(np.ones(64, np.float32), "male", 60.0)
    changed = token[:40] + ("A" if token[40] != "A" else "B") + token[41:]
    for wrong in (changed, token[:-4], "", "A", "é", "=" * 8, "A" * 4000):
        with pytest.raises(NotFoundError):
            seal.open(wrong)
    with pytest.raises(NotFoundError):
        Seal("another").open(token)
    drawn = Seal()
    assert drawn.open(drawn.close(np.ones(4, np.float32), "male", 60.0))[1] == "male"
    with pytest.raises(NotFoundError):
        Seal().open(drawn.close(np.ones(4, np.float32), "male", 60.0))


@pytest.mark.slow
def test_an_address_of_another_pack_is_refused(serve: Serve) -> None:
    with serve("--secret", "the same on both").client() as client:
        for length in (64, 65):
            token = Seal("the same on both").close(np.ones(length, np.float32), "general", 60.0)
            answer = client.get(f"/predict/{token}.png")
            assert answer.status_code == (200 if length == 64 else 404)
        assert "another model pack" in answer.json()["detail"]
