"""Batches of the voice network: crops of the log-mels or, with augmentation, of the sounds."""

from __future__ import annotations

import io
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from s2f_edge.hearing.features import logmel, normalise_logmel
from s2f_train.config import VoiceSettings
from s2f_train.data.augment import any_augmentation, augment
from s2f_train.data.feed import Batch, batches
from s2f_train.data.store import Store, StoreError
from s2f_train.data.voice_draws import VoiceDrawer
from tests.train.made_store import Person, made_store

SHARES = ("noise_share", "gain_share", "telephone_share", "room_share", "codec_share")
ALL = dict.fromkeys(SHARES, 0.5)
NEVER = {"gain_share": 1e-300}  # sounds are read, and nothing is done to them
PEOPLE = [Person(name, voices=2, photos=0, frames=(100, 140)) for name in ("Ann", "Ben", "Cid")]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return made_store(tmp_path_factory.mktemp("stores") / "made", PEOPLE, flac=True, shard_items=2)


def drawer(store: Store, rank: int = 0, world: int = 1, **values: Any) -> VoiceDrawer:
    settings = VoiceSettings(**({"batch": 6, "min_frames": 40, "max_frames": 90} | values))
    voices = store.of_split("train")
    numbers = np.arange(len(voices))
    return VoiceDrawer(store, voices, 100 + numbers, settings, rank, world)


def assert_equal(a: Batch, b: Batch) -> None:
    assert a.keys() == b.keys()
    for key in a:
        np.testing.assert_array_equal(a[key], b[key], err_msg=key)


# ------------------------------------------------------------------------------- the step alone


@pytest.mark.parametrize("mode", [{}, ALL, {"window": 1}])
def test_the_same_step_is_the_same_batch(store: Store, mode: dict[str, Any]) -> None:
    first, second = drawer(store, **mode), drawer(store, **mode)
    expected = first.draw(7)
    second.draw(3)
    assert_equal(second.draw(7), expected)
    assert_equal(pickle.loads(pickle.dumps(first)).draw(7), expected)
    for other in (first.draw(8), drawer(store, seed=5, **mode).draw(7)):
        assert other["voices"].shape != expected["voices"].shape or (other["voices"] != expected["voices"]).any()


@pytest.mark.parametrize("world", [2, 3])
@pytest.mark.parametrize("mode", [{}, ALL])
def test_shares_are_the_whole_batch(store: Store, mode: dict[str, Any], world: int) -> None:
    whole = drawer(store, **mode).draw(5)
    shares = [drawer(store, rank, world, **mode).draw(5) for rank in range(world)]
    for key, expected in whole.items():
        assert {len(share[key]) for share in shares} == {6 // world}
        np.testing.assert_array_equal(np.concatenate([share[key] for share in shares]), expected, err_msg=key)


@pytest.mark.slow
def test_processes_draw_the_same_sounds(store: Store) -> None:
    mine = drawer(store, **ALL)
    for step, batch in enumerate(batches(mine, 2, 4, workers=1), 2):
        assert_equal(batch, mine.draw(step))


# ------------------------------------------------------------------------------- what is in it


def test_shapes_and_kinds(store: Store) -> None:
    for mode, kind in (({}, "float16"), (ALL, "float32")):
        batch = drawer(store, **mode).draw(0)
        frames = batch["voices"].shape[2]
        assert 40 <= frames <= 90
        assert {key: (x.dtype.name, x.shape) for key, x in batch.items()} == {
            "voices": (kind, (6, 64, frames)), "classes": ("int64", (6,)),
        }  # fmt: skip


def test_all_that_is_told_is_of_the_same_voice(store: Store) -> None:
    ours = drawer(store)
    heard = set()
    for step in range(20):
        batch = ours.draw(step)
        frames = batch["voices"].shape[2]
        for voice, number in zip(batch["voices"], batch["classes"] - 100, strict=True):
            whole = store.logmel(ours.voices[number]).T.astype(np.float32)
            begins = [b for b in range(whole.shape[1] - frames + 1) if np.array_equal(whole[:, b : b + frames], voice)]
            assert len(begins) == 1
            heard.add(int(number))
    assert heard == set(range(6))


@pytest.mark.parametrize(("start", "share"), [(0.0, 0.0), (0.5, 0.5), (1.0, 1.0)])
def test_a_crop_of_the_sound_is_where_it_was_asked_for(store: Store, start: float, share: float) -> None:
    ours = drawer(store, **NEVER)
    sample = ours.voices[0]
    sound, _ = soundfile.read(io.BytesIO(store.read(sample, "flac")), dtype="float32")
    wanted = 39 * 160
    begin = int(share * (len(sound) - wanted))
    expected = normalise_logmel(logmel(sound[begin : begin + wanted]))
    found = ours._augmented(np.random.default_rng(0), sample, 40, start)
    assert found.shape == (64, 40)
    np.testing.assert_allclose(found, expected.T, atol=1e-5)


def test_a_sound_of_just_that_length(store: Store) -> None:
    """Nothing is done to it, so its features are those that are stored."""
    ours = drawer(store, **NEVER)
    sample = ours.voices[0]
    found = ours._augmented(np.random.default_rng(0), sample, sample.frames, 0.7)
    np.testing.assert_allclose(found, store.logmel(sample).T.astype(np.float32), atol=5e-3)


@pytest.mark.parametrize("start", [0.0, 0.6, 1.0])
def test_a_short_sound_is_repeated(store: Store, start: float) -> None:
    ours = drawer(store, **NEVER)
    sample = ours.voices[0]
    sound, _ = soundfile.read(io.BytesIO(store.read(sample, "flac")), dtype="float32")
    begin = int(start * len(sound))
    endless = np.concatenate([sound[begin:], *[sound] * 4])[: 499 * 160]
    found = ours._augmented(np.random.default_rng(0), sample, 500, start)
    np.testing.assert_allclose(found, normalise_logmel(logmel(endless)).T, atol=1e-5)


def test_a_store_of_log_mels_alone_cannot_be_augmented(tmp_path: Path) -> None:
    store = made_store(tmp_path / "made", PEOPLE)
    assert drawer(store).draw(0)
    with pytest.raises(StoreError, match=r"has no flac; it has logmel.npy, json"):
        drawer(store, **ALL).draw(0)


@pytest.mark.parametrize("broken", [b"no sound at all", b"fLaC\0\0\0\x22" + b"\xff" * 200])
def test_a_broken_sound_is_named(store: Store, tmp_path: Path, broken: bytes) -> None:
    folder = Path(shutil.copytree(store.folder, tmp_path / "copy"))
    for sample in store.voices:
        with (folder / sample.shard).open("r+b") as file:
            file.seek(sample.members["flac"][0])
            file.write(broken.ljust(sample.members["flac"][1], b"\xee"))
    with pytest.raises(StoreError, match=r"copy/voices/00000\d.tar: the sound of v0000\d cannot be decoded"):
        drawer(Store.open(folder), **ALL).draw(0)


# ------------------------------------------------------------------------------- augmentation


def hum(count: int) -> NDArray[np.float32]:
    t = np.arange(count) / 16_000
    tones = sum(np.sin(2 * np.pi * hz * t + hz) for hz in (150, 700, 2000, 5000, 7000))
    return (0.1 * tones * (1 + np.sin(8 * np.pi * t))).astype(np.float32)


def only(share: str, **values: Any) -> VoiceSettings:
    return VoiceSettings(**{share: 1.0, **values})


@pytest.mark.parametrize("share", [*SHARES, "all"])
@pytest.mark.parametrize("count", [15 * 160, 16_000, 47_841])
def test_length_and_range_stay(share: str, count: int) -> None:
    settings = VoiceSettings(**dict.fromkeys(SHARES, 1.0)) if share == "all" else only(share)
    for seed in range(4):
        sound = hum(count) * (1 + 8 * (seed % 2))
        before = sound.copy()
        found = augment(np.random.default_rng(seed), sound, settings)
        assert (found.dtype, found.shape) == (np.float32, (count,))
        assert np.isfinite(found).all()
        assert np.abs(found).max() <= 1
        np.testing.assert_array_equal(sound, before)
        assert (found != sound).any()
        again = augment(np.random.default_rng(seed), sound, settings)
        np.testing.assert_array_equal(again, found)
        if share not in ("telephone_share", "codec_share"):  # nothing is random about these two
            assert (augment(np.random.default_rng(seed + 100), sound, settings) != found).any()


def test_silence_stays_finite() -> None:
    settings = VoiceSettings(**dict.fromkeys(SHARES, 1.0))
    found = augment(np.random.default_rng(0), np.zeros(8000, np.float32), settings)
    assert np.abs(found).max() < 1e-6


def test_off_is_off() -> None:
    sound = hum(4000)
    assert not any_augmentation(VoiceSettings())
    np.testing.assert_array_equal(augment(np.random.default_rng(0), sound, VoiceSettings()), sound)
    for share in SHARES:
        assert any_augmentation(VoiceSettings(**{share: 0.01}))


@pytest.mark.parametrize("db", [0.0, 12.0])
def test_noise_is_as_loud_as_it_shall_be(db: float) -> None:
    sound = hum(48_000)
    for seed in range(4):
        added = augment(np.random.default_rng(seed), sound, only("noise_share", noise_db=(db, db))) - sound
        assert 20 * np.log10(sound.std() / added.std()) == pytest.approx(db, abs=0.5)


def test_a_telephone_has_its_band() -> None:
    found = augment(np.random.default_rng(0), hum(48_000), only("telephone_share"))
    power = np.abs(np.fft.rfft(found)) ** 2
    hz = np.fft.rfftfreq(48_000, 1 / 16_000)
    assert power[(hz < 290) | (hz > 3410)].sum() < 1e-6 * power.sum()


def test_a_gain_is_one_factor() -> None:
    sound = 0.1 * hum(4000)
    gains = []
    for seed in range(200):
        found = augment(np.random.default_rng(seed), sound, only("gain_share"))
        loud = np.abs(sound) > 0.01
        ratios = found[loud] / sound[loud]
        np.testing.assert_allclose(ratios, ratios[0], rtol=1e-4)
        gains.append(20 * np.log10(ratios[0]))
    assert -30 <= min(gains) < -25
    assert 8 < max(gains) <= 12


@pytest.mark.parametrize("share", SHARES)
def test_the_share_is_kept(share: str) -> None:
    sound = hum(2000)
    changed = [
        bool((augment(np.random.default_rng(seed), sound, VoiceSettings(**{share: 0.3})) != sound).any())
        for seed in range(300)
    ]
    assert np.mean(changed) == pytest.approx(0.3, abs=0.08)
