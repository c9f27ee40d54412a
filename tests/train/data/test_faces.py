"""Faces in memory: the pixels of the file, in the order that was asked for."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from s2f_train.data import faces
from s2f_train.data.store import Sample, Store, StoreError
from tests.train.made_store import Person, made_store

PEOPLE = [Person("Ann", voices=1, photos=5, frames=(20, 20)), Person("Ben", voices=1, photos=4, frames=(20, 20))]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return made_store(tmp_path_factory.mktemp("stores") / "made", PEOPLE, shard_items=4)


def with_picture(store: Store, tmp_path: Path, data: bytes) -> tuple[Store, Sample]:
    """A copy of the store whose first face has other bytes."""
    folder = Path(shutil.copytree(store.folder, tmp_path / "copy"))
    sample = store.faces[0]
    offset, size = sample.members["png"]
    with (folder / sample.shard).open("r+b") as file:
        file.seek(offset)
        file.write(data[:size].ljust(size, b"\0"))
    return Store.open(folder), sample


def test_pictures_come_as_they_are(store: Store) -> None:
    order = [store.faces[i] for i in (7, 0, 3, 0)]
    found = faces.load_faces(store, order)
    assert (found.dtype, tuple(found.shape)) == (torch.uint8, (4, 64, 64, 3))
    for pixels, sample in zip(found.numpy(), order, strict=True):
        with Image.open(io.BytesIO(store.read(sample, "png"))) as image:
            np.testing.assert_array_equal(pixels, np.asarray(image))
    assert not torch.equal(found[0], found[1])


def test_jpeg(tmp_path: Path) -> None:
    store = made_store(tmp_path / "made", PEOPLE, jpg=True)
    found = faces.load_faces(store, store.faces[:1])
    with Image.open(io.BytesIO(store.read(store.faces[0], "jpg"))) as image:
        np.testing.assert_array_equal(found[0].numpy(), np.asarray(image))


def test_no_pictures(store: Store) -> None:
    assert faces.load_faces(store, []).shape == (0, 64, 64, 3)


@pytest.mark.parametrize(("mode", "size"), [("L", (64, 64)), ("RGBA", (64, 64)), ("P", (64, 64)), ("RGB", (20, 30))])
def test_other_kinds_of_pictures(store: Store, tmp_path: Path, mode: str, size: tuple[int, int]) -> None:
    file = io.BytesIO()
    Image.new("RGB", size, (204, 102, 51)).convert(mode).save(file, "PNG")
    changed, sample = with_picture(store, tmp_path, file.getvalue())
    found = faces.load_faces(changed, [sample])[0].numpy()
    assert found.shape == (64, 64, 3)
    grey = round(0.299 * 204 + 0.587 * 102 + 0.114 * 51)
    assert (found == ([grey] * 3 if mode == "L" else [204, 102, 51])).all()


def broken(store: Store) -> dict[str, bytes]:
    good = store.read(store.faces[0], "png")
    return {
        "garbage": b"no picture at all",
        "header": b"\x89PNG\r\n\x1a\n" + b"\xff" * 40,
        "chunk": good[:37] + b"\0\1\2\3" + good[41:],
        "length": good[:33] + b"\0\0\0\x64" + good[37:],  # of this Pillow says "broken PNG file", a SyntaxError
    }


@pytest.mark.parametrize("kind", ["garbage", "header", "chunk", "length"])
def test_a_broken_picture_is_named(store: Store, tmp_path: Path, kind: str) -> None:
    changed, sample = with_picture(store, tmp_path, broken(store)[kind])
    with pytest.raises(StoreError, match=rf"{sample.shard}: {sample.key} cannot be decoded"):
        faces.load_faces(changed, changed.faces)


def test_what_the_networks_see() -> None:
    """(x - 127.5) / 127.5: 0 is -1, 255 is 1; the way back is exact."""
    pixels = torch.arange(256, dtype=torch.uint8).repeat(48).reshape(1, 64, 64, 3)
    seen = faces.as_network_input(pixels)
    assert (seen.dtype, tuple(seen.shape)) == (torch.float32, (1, 3, 64, 64))
    assert (seen.min(), seen.max()) == (-1, 1)
    assert seen[0, 1, 2, 3].item() == pytest.approx((float(pixels[0, 2, 3, 1]) - 127.5) / 127.5)
    np.testing.assert_array_equal(faces.as_pixels(seen), pixels.numpy())
    np.testing.assert_array_equal(faces.as_pixels(seen.double()), pixels.numpy())


def test_what_the_networks_make_is_rounded_and_clipped() -> None:
    made = torch.tensor([-1.2, -1.0, 0.0, 0.0079, 1.0, 3.0]).reshape(1, 1, 1, 6).expand(1, 3, 1, 6).bfloat16()
    assert faces.as_pixels(made)[0, 0, :, 0].tolist() == [0, 0, 128, 129, 255, 255]


def test_a_sheet_has_a_row_for_each() -> None:
    rows = [np.full((3, 64, 64, 3), i, np.uint8) + np.arange(3, dtype=np.uint8)[:, None, None, None] for i in (0, 100)]
    found = faces.sheet(rows)
    assert found.shape == (128, 192, 3)
    assert found[::64, ::64, 0].tolist() == [[0, 1, 2], [100, 101, 102]]
