"""Crops of stored log-mels: what is stored, where it was asked for, repeated where it is short."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from s2f_train.data.crops import crop, crops
from s2f_train.data.store import Sample, Store, StoreError
from tests.train.made_store import Person, made_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    people = [Person("Ann", voices=2, frames=(50, 50)), Person("Ben", voices=2, frames=(20, 30))]
    return made_store(tmp_path_factory.mktemp("stores") / "made", people, shard_items=3)


def stored(store: Store, sample: Sample) -> np.ndarray:
    return np.load(io.BytesIO(store.read(sample, "logmel.npy")))


def test_the_view_of_a_shard_is_what_is_stored(store: Store) -> None:
    for sample in store.voices:
        view = store.logmel(sample)
        assert (view.dtype, view.shape) == (np.float16, (sample.frames, 64))
        assert not view.flags.owndata
        np.testing.assert_array_equal(view, stored(store, sample))


@pytest.mark.parametrize(
    ("frames", "start", "first"),
    [
        (20, 0.0, 0),
        (20, 0.5, 15),
        (20, 0.999, 30),
        (20, 1.0, 30),
        (49, 0.49, 0),
        (49, 0.51, 1),
        (50, 0.7, 0),
        (50, 1.0, 0),
    ],
)
def test_a_crop_is_a_stretch_of_the_rows(store: Store, frames: int, start: float, first: int) -> None:
    sample = store.voices[0]
    found = crop(store, sample, frames, start)
    assert (found.dtype, found.shape) == (np.float16, (frames, 64))
    np.testing.assert_array_equal(found, stored(store, sample)[first : first + frames])


def test_every_place_is_as_likely(store: Store) -> None:
    """31 places for 20 of 50 rows, the last one too."""
    sample = store.voices[0]
    rows = stored(store, sample)
    firsts = [
        np.flatnonzero((rows == crop(store, sample, 20, start)[0]).all(axis=1)).item()
        for start in (np.arange(310) + 0.5) / 310
    ]
    np.testing.assert_array_equal(np.bincount(firsts), [10] * 31)


@pytest.mark.parametrize("start", [0.0, 0.4, 0.99, 1.0])
@pytest.mark.parametrize("frames", [51, 64, 500])
def test_a_short_voice_is_repeated(store: Store, frames: int, start: float) -> None:
    sample = store.voices[0]
    rows = stored(store, sample)
    turned = np.roll(rows, -int(start * 50), axis=0)
    expected = np.concatenate([turned] * 10)[:frames]
    np.testing.assert_array_equal(crop(store, sample, frames, start), expected)


def test_several_voices(store: Store) -> None:
    starts = np.array([0.0, 0.3, 0.9, 0.5])
    found = crops(store, store.voices, 25, starts)
    assert (found.dtype, found.shape) == (np.float16, (4, 64, 25))
    for row, sample, start in zip(found, store.voices, starts, strict=True):
        np.testing.assert_array_equal(row, crop(store, sample, 25, start).T)
    with pytest.raises(ValueError, match="zip"):
        crops(store, store.voices, 25, starts[:3])


def test_a_store_of_sounds_alone_is_named(tmp_path: Path) -> None:
    store = made_store(tmp_path / "made", [Person("Ann", voices=1, frames=(50, 50))], flac=True, logmels=False)
    with pytest.raises(StoreError, match=r"v00000 has no logmel.npy; it has flac, json"):
        crop(store, store.voices[0], 20, 0.0)
