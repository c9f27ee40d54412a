"""The portraits of a store in memory."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from s2f_train.data.portraits import load_portraits
from s2f_train.data.store import FORMAT, Store, StoreError
from tests.train.made_store import Person, made_store

POINTS = np.random.default_rng(0).uniform(0, 1, (3, 68, 2)).astype(np.float16)


def pixels(number: int, side: int = 256) -> np.ndarray:
    y, x = np.mgrid[:side, :side]
    return np.stack([x, y, np.full_like(x, 60 * number)], axis=2).astype(np.uint8)


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def store_of(folder: Path, side: int = 256, points: bytes | None = None) -> Store:
    """Three portraits, written by hand."""
    (folder / "faces").mkdir(parents=True)
    shard, rows = folder / "faces" / "000000.tar", []
    with tarfile.open(shard, "w", format=tarfile.USTAR_FORMAT) as tar:
        for i in range(3):
            picture = io.BytesIO()
            Image.fromarray(pixels(i, side)).save(picture, "PNG")
            members = {"png": picture.getvalue(), "points.npy": points or npy(POINTS[i])}
            places = {}
            for extension, data in members.items():
                member = tarfile.TarInfo(f"p{i}.{extension}")
                member.size = len(data)
                places[extension] = (tar.offset + 512, len(data))
                tar.addfile(member, io.BytesIO(data))
            about = {"identity": "Ann", "source": "portraits", "clip": "", "view": "portrait", "members": places}
            rows.append({"key": f"p{i}", **about})
    head = {"unit": "made", "bytes": shard.stat().st_size, "samples": 3, "skipped": 0, "cut": 0}
    shard.with_suffix(".jsonl").write_text("".join(json.dumps(row) + "\n" for row in [head, *rows]))
    (folder / "identities.jsonl").write_text(json.dumps({"name": "Ann", "gender": "", "age": None, "split": "train"}))
    facts = {"format": FORMAT, "shards": {"voices": [], "faces": ["faces/000000.tar"]}}
    (folder / "store.json").write_text(json.dumps(facts))
    return Store.open(folder)


def test_pictures_and_points_come_in_the_order_asked_for(tmp_path: Path) -> None:
    store = store_of(tmp_path / "store")
    order = [2, 0, 2]
    pictures, points = load_portraits(store, [store.faces[i] for i in order])
    assert (pictures.dtype, tuple(pictures.shape)) == (torch.uint8, (3, 3, 256, 256))
    assert (points.dtype, tuple(points.shape)) == (torch.float32, (3, 68, 2))
    np.testing.assert_array_equal(points.numpy(), POINTS[order].astype(np.float32))
    for found, i in zip(pictures.numpy(), order, strict=True):
        np.testing.assert_array_equal(found.transpose(1, 2, 0), pixels(i))


def test_a_store_without_portraits_says_how_to_get_some(tmp_path: Path) -> None:
    store = made_store(tmp_path / "made", [Person("Ann")])
    with pytest.raises(StoreError, match=r"2 of 2 faces are no portraits.*prepare with --portraits"):
        load_portraits(store, store.faces)
    with pytest.raises(StoreError, match="has no such portraits: prepare it with --portraits"):
        load_portraits(store, [face for face in store.faces if face.view == "portrait"])


@pytest.mark.parametrize(
    "change",
    [{"side": 64}, {"points": b"no array"}, {"points": npy(POINTS[0])[:150]}, {"points": npy(POINTS[0, :5])}],
    ids=["size", "no array", "cut", "five points"],
)
def test_what_is_no_portrait_is_named(tmp_path: Path, change: dict[str, int]) -> None:
    store = store_of(tmp_path / "store", **change)
    with pytest.raises(StoreError, match=r"faces/000000\.tar: p0 is no portrait"):
        load_portraits(store, store.faces[:1])
