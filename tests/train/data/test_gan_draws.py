"""Batches of a GAN: a function of the step alone, shared evenly, with what is random about them as the settings say."""

from __future__ import annotations

import dataclasses
import pickle
from collections import Counter
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from s2f_train.config import GanSettings
from s2f_train.data.feed import Batch, batches
from s2f_train.data.gan_draws import GanDrawer
from s2f_train.data.pairs import pair
from s2f_train.data.store import Store
from tests.train.made_store import Person, made_store

SIZE = 6
PEOPLE = [
    Person(name, gender, voices=4, photos=2, clips=clips, frames=(50, 90))
    for name, gender, clips in (("Ann", "f", 2), ("Ben", "m", 0), ("Cid", "m", 1), ("Dot", "f", 0))
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return made_store(tmp_path_factory.mktemp("stores") / "made", PEOPLE, shard_items=4)


def windows_of(voices: int) -> list[NDArray[np.float32]]:
    """1 to 4 windows a voice; of the numbers of an embedding, `voices_in` reads the voice from two."""
    found = []
    for i in range(voices):
        count = 1 + i % 4
        x = np.zeros((count, SIZE), np.float32)
        x[:, 1], x[:, 2], x[:, 3] = 1, i, 100 * np.arange(count)
        found.append(x)
    return found


def voices_in(batch: Batch) -> list[int]:
    return np.rint(batch["embeddings"][:, 2] / batch["embeddings"][:, 1]).astype(int).tolist()


def drawer(store: Store, live: bool = True, rank: int = 0, world: int = 1, **values: Any) -> GanDrawer:
    settings = GanSettings(**({"batch": 12, "min_frames": 30, "max_frames": 60} | values))
    pairs = pair(store, settings)
    windows = None if live else windows_of(len(pairs.voices))
    return GanDrawer(store, pairs, settings, SIZE, windows, rank, world)


def assert_equal(a: Batch, b: Batch) -> None:
    assert a.keys() == b.keys()
    for key in a:
        assert a[key].dtype == b[key].dtype
        np.testing.assert_array_equal(a[key], b[key], err_msg=key)


MODES = [
    {"live": True},
    {"live": False},
    {"live": True, "view": "s2f", "identity_weight": 0.0, "pixel_weight": 1.0},
    {"live": False, "gender": "male"},
    {"live": True, "window": 2},
]


# ------------------------------------------------------------------------------- the step alone


@pytest.mark.parametrize("mode", MODES)
def test_the_same_step_is_the_same_batch(store: Store, mode: dict[str, Any]) -> None:
    first, second = drawer(store, **mode), drawer(store, **mode)
    expected = first.draw(7)
    for step in (3, 7, 1000):  # whatever was drawn before
        second.draw(step)
    assert_equal(second.draw(7), expected)
    assert_equal(pickle.loads(pickle.dumps(first)).draw(7), expected)


@pytest.mark.parametrize("mode", MODES)
def test_other_steps_and_seeds_are_other_batches(store: Store, mode: dict[str, Any]) -> None:
    ours = drawer(store, **mode)
    for other in (ours.draw(8), drawer(store, seed=5, **mode).draw(7)):
        for key in ("noise", "real", "mirrored", "voices" if mode["live"] else "embeddings"):
            here = ours.draw(7)[key]
            assert here.shape != other[key].shape or (here != other[key]).any(), key


@pytest.mark.parametrize("world", [2, 3, 4])
@pytest.mark.parametrize("mode", MODES)
def test_shares_are_the_whole_batch(store: Store, mode: dict[str, Any], world: int) -> None:
    whole = drawer(store, **mode).draw(5)
    shares = [drawer(store, rank=rank, world=world, **mode).draw(5) for rank in range(world)]
    for key, expected in whole.items():
        assert {len(share[key]) for share in shares} == {12 // world}
        np.testing.assert_array_equal(np.concatenate([share[key] for share in shares]), expected, err_msg=key)


@pytest.mark.slow
def test_processes_may_draw_it(store: Store) -> None:
    mine = drawer(store)
    for step, batch in enumerate(batches(mine, 2, 5, workers=1), 2):
        assert_equal(batch, mine.draw(step))


# ------------------------------------------------------------------------------- what is in it


def test_shapes_and_kinds(store: Store) -> None:
    batch = drawer(store).draw(0)
    shapes = {key: (array.dtype.kind, array.shape) for key, array in batch.items()}
    frames = batch["voices"].shape[2]
    assert 30 <= frames <= 60
    assert shapes == {
        "voices": ("f", (12, 64, frames)), "classes": ("i", (12,)), "targets": ("i", (12,)), "noise": ("f", (12, SIZE)),
        "real": ("i", (12,)), "real_classes": ("i", (12,)), "mirrored": ("b", (12,)),
    }  # fmt: skip
    floats = {key: array.dtype.name for key, array in batch.items() if array.dtype.kind == "f"}
    assert floats.pop("voices", "float16") == "float16"  # as it is stored: half as much to copy to a GPU
    assert set(floats.values()) == {"float32"}


def test_crops_are_of_the_person_and_of_every_length(store: Store) -> None:
    ours = drawer(store, min_frames=30, max_frames=33)
    lengths, heard = Counter(), Counter()
    for step in range(60):
        batch = ours.draw(step)
        frames = batch["voices"].shape[2]
        lengths[frames] += 1
        for voice, number in zip(batch["voices"][:2], batch["classes"], strict=False):
            whole = {
                i: store.logmel(s).astype(np.float32).T
                for i, s in enumerate(ours.pairs.voices)
                if ours.pairs.classes[i] == number
            }
            found = [
                i for i, x in whole.items()
                if any(np.array_equal(x[:, b : b + frames], voice) for b in range(x.shape[1] - frames + 1))
            ]  # fmt: skip
            assert len(found) == 1
            heard[found[0]] += 1
    assert set(lengths) == {30, 31, 32, 33}
    assert len(heard) > 12  # of 16


def test_real_faces_are_those_of_the_pairs(store: Store) -> None:
    ours = drawer(store)
    allowed = {tuple(row) for row in ours.pairs.real.tolist()}
    seen = Counter()
    for step in range(50):
        batch = ours.draw(step)
        seen.update(zip(batch["real"].tolist(), batch["real_classes"].tolist(), strict=True))
    assert set(seen) == allowed
    assert max(seen.values()) < 2 * min(seen.values())


def test_half_are_mirrored(store: Store) -> None:
    ours = drawer(store)
    assert np.mean([ours.draw(step)["mirrored"] for step in range(100)]) == pytest.approx(0.5, abs=0.05)


def test_a_target_is_of_its_voice(store: Store) -> None:
    ours = drawer(store, live=False, view="s2f", identity_weight=0.0)
    given = np.random.default_rng(0).permutation(len(ours.pairs.voices))
    for step in range(5):
        batch = dataclasses.replace(ours, pairs=dataclasses.replace(ours.pairs, targets=given)).draw(step)
        np.testing.assert_array_equal(batch["targets"], given[voices_in(batch)])


def test_a_class_is_of_its_voice(store: Store) -> None:
    ours = drawer(store, live=False)
    for step in range(5):
        batch = ours.draw(step)
        np.testing.assert_array_equal(batch["classes"], ours.pairs.classes[voices_in(batch)])


# ------------------------------------------------------------------------------- noise


def noise(store: Store, **values: Any) -> NDArray[np.float32]:
    ours = drawer(store, live=False, batch=240, **values)
    return np.concatenate([ours.draw(step)["noise"] for step in range(10)])


def test_noise_is_as_in_the_specification(store: Store) -> None:
    """0.05 N(0, 1), for all."""
    found = noise(store)
    assert found.std() == pytest.approx(0.05, rel=0.02)
    assert abs(found.mean()) < 0.002
    assert found.all(axis=1).all()
    assert np.mean(np.abs(found) > 0.1) == pytest.approx(0.0455, abs=0.01)


def test_no_noise(store: Store) -> None:
    assert not noise(store, noise=0.0).any()


# ------------------------------------------------------------------------------- stretches


def test_embeddings_are_means_of_neighbouring_windows(store: Store) -> None:
    """Every stretch of every voice, none that runs over the end."""
    ours = drawer(store, live=False)
    assert ours.windows is not None
    allowed = {}
    for i, x in enumerate(ours.windows):
        for begin in range(len(x)):
            for end in range(begin + 1, len(x) + 1):
                mean = x[begin:end].mean(axis=0)
                allowed[i, begin, end] = mean / np.linalg.norm(mean)
    names, rows = list(allowed), np.stack(list(allowed.values()))
    seen = set()
    for step in range(150):
        batch = ours.draw(step)
        for embedding, number in zip(batch["embeddings"], batch["classes"], strict=True):
            off = np.abs(rows - embedding).max(axis=1)
            near = np.flatnonzero(off < 1e-6)
            assert len(near)
            assert any(ours.pairs.classes[names[i][0]] == number for i in near)
            seen.update(names[i] for i in near)
        np.testing.assert_allclose(np.linalg.norm(batch["embeddings"], axis=1), 1, rtol=1e-5)
    assert seen == set(allowed)


def test_a_voice_of_which_nothing_was_heard(store: Store) -> None:
    """A row of zeros stays zeros: NaN in one row would be NaN in all weights."""
    ours = drawer(store, live=False)
    assert ours.windows is not None
    silent = dataclasses.replace(ours, windows=[np.zeros_like(x) for x in ours.windows])
    assert not silent.draw(0)["embeddings"].any()


# ------------------------------------------------------------------------------- a few shards at a time


def test_a_window_is_of_a_few_shards(store: Store) -> None:
    """4 voices a shard and 12 a step: another shard each step, all of them in four."""
    ours = drawer(store, live=False, window=2)
    shard = [voice.shard for voice in ours.pairs.voices]
    heard: set[str] = set()
    for step in range(4):
        now, _ = ours.window.at(step)
        assert len({shard[i] for i in now}) == 2
        assert set(voices_in(ours.draw(step))) <= set(now.tolist())
        heard |= {shard[i] for i in now}
    assert heard == set(shard)
