"""Talking heads of a store: neutral faces, silence, closures, and windows of changed sound with motion in time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from s2f_edge.hearing.fbank import fbank
from s2f_train.config import MotionSettings
from s2f_train.data.store import Store, StoreError
from s2f_train.data.talk_draws import TalkDrawer, other_throat, shares_of
from s2f_train.data.talk_windows import CLOSING, FRAMES, SILENT, VALID, TalkWindows, talk_windows, with_context
from s2f_train.data.talks import (
    EYES,
    LIPS,
    _closures,
    frames_at,
    is_held_out,
    opening,
    read_talk,
    speakers_of,
    split,
    talks_of,
)
from tests.train.made_store import crowd, made_store
from tests.train.made_talks import CLOSED_GAP, made_talks

CONTEXT = (11, 6)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return made_talks(tmp_path_factory.mktemp("talks") / "store", {"Ann": 3, "Bob": 2})


def windows(store: Store, runs: Path, **values: object) -> TalkWindows:
    settings = MotionSettings(store=str(store.folder), runs=str(runs), **values)  # type: ignore[arg-type]
    talks = talks_of(store)
    return talk_windows(store, talks, speakers_of(store, talks), CONTEXT, settings)


def test_motion_is_relative_to_closed_lips(store: Store) -> None:
    talks = talks_of(store)
    assert len(talks) == 5
    speakers = speakers_of(store, talks)
    assert opening(speakers["Ann"].neutral) == pytest.approx(CLOSED_GAP, abs=1e-3)
    assert speakers["Bob"].amount == pytest.approx(2 * speakers["Ann"].amount, rel=0.3)
    talk = read_talk(store, talks[0], speakers["Ann"])
    assert opening(talk.offsets).max() == pytest.approx(0.15, abs=0.01)
    assert opening(talk.offsets).min() == pytest.approx(0, abs=1e-3)
    assert not talk.offsets[:, EYES].any()
    assert len(talk.samples) == 25_600


def test_silence_is_away_from_words(store: Store) -> None:
    talks = talks_of(store)
    talk = read_talk(store, talks[0], speakers_of(store, talks)["Ann"])
    assert talk.silent[:3].all()
    assert talk.silent[-1:].all()
    assert not opening(talk.offsets)[talk.silent].any()
    assert 0.1 < talk.silent.mean() < 0.6


@pytest.mark.parametrize(
    ("word", "wanted"),
    [
        ("bin", [1.0]), ("place", [1.0]), ("by", [1.0]), ("b", [1.0]), ("p", [1.0]), ("m", [2.0]), ("map", [1.0, 2.0]),
        ("time", [2.0]), ("soon", []), ("phone", []), ("psalm", [2.0]), ("white", []), ("s", []), ("lamb", []),
    ],
)  # fmt: skip
def test_when_lips_must_be_closed(word: str, wanted: list[float]) -> None:
    assert _closures(1.0, 2.0, word) == wanted


def test_frames_within_60_ms() -> None:
    assert list(frames_at(1.0, 99)) == [24, 25, 26]
    assert list(frames_at(1.02, 99)) == [24, 25, 26, 27]
    assert list(frames_at(0.0, 99)) == [0, 1]
    assert not list(frames_at(9.0, 99))


def test_what_is_held_out(store: Store) -> None:
    talks = [replace(talk, clip=f"{talk.clip}-{i}") for i in range(200) for talk in talks_of(store)]
    learnt, held = split(talks, ["Bob"], 0.12)
    assert {talk.identity for talk in learnt} == {"Ann"}
    assert len(learnt) + len(held) == len(talks)
    mine = [talk for talk in held if talk.identity == "Ann"]
    assert 0.08 < len(mine) / 600 < 0.16
    assert mine == [talk for talk in talks if talk.identity == "Ann" and is_held_out(talk, 0.12)]
    assert split(talks, [], 0.0)[1] == []


def test_a_store_without_talking_heads_says_so(tmp_path: Path) -> None:
    store = made_store(tmp_path / "store", crowd(1, 0, 0, voices=1, photos=0))
    with pytest.raises(StoreError, match="no talking heads"):
        talks_of(store)


def test_the_first_version_is_the_talk_as_it_is(store: Store, tmp_path: Path) -> None:
    made = windows(store, tmp_path, versions=1)
    talks = talks_of(store)
    speakers = speakers_of(store, talks)
    assert list(made.of) == [0, 1, 2, 3, 4]
    for i, sample in enumerate(talks):
        talk = read_talk(store, sample, speakers[sample.identity])
        wanted = with_context(fbank(talk.samples), FRAMES, CONTEXT)
        assert np.abs(made.features[i] - wanted).max() < 0.01
        assert made.masks[i][:, VALID].sum() == 40
        assert not made.offsets[i][40:].any()
        closing = np.flatnonzero(made.masks[i][:, CLOSING])
        assert [any(k in frames_at(time, 40) for k in closing) for time in talk.closures] == [True] * len(talk.closures)
    # All speakers move by the same amount.
    lips = [
        np.square(made.offsets[rows][:, :40].astype(float).reshape(-1, 68, 2)[:, LIPS]).mean()
        for rows in ([0, 1, 2], [3, 4])
    ]
    assert lips[0] == pytest.approx(lips[1], rel=0.3)


def test_motion_goes_with_sound_that_is_played_faster(store: Store, tmp_path: Path) -> None:
    made = windows(store, tmp_path, versions=4, speed_share=1.0, speed=(1.25, 1.25))
    assert list(made.of) == [i for i in range(5) for _ in range(4)]
    for row in range(len(made.of)):
        features, valid = made.features[row][CONTEXT[0] :].astype(np.float32), made.masks[row][:, VALID]
        assert valid.sum() == (40 if row % 4 == 0 else 32)
        count = int(valid.sum())
        loud = features[: 4 * count].reshape(count, -1).mean(axis=1)
        gaps = opening(made.offsets[row].reshape(-1, 68, 2).astype(np.float32))[:count]
        assert np.corrcoef(loud, gaps)[0, 1] > 0.6
        assert loud[made.masks[row][:count, SILENT]].max() < loud.mean()


def test_windows_are_made_once(store: Store, tmp_path: Path) -> None:
    settings = {"versions": 2, "noise_share": 1.0, "room_share": 0.5, "tilt_share": 1.0, "telephone_share": 0.5}
    first = windows(store, tmp_path, **settings)
    (folder,) = (tmp_path / "cache").iterdir()
    again = windows(store, tmp_path, **settings, width=8)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [folder.name]
    other = windows(store, tmp_path / "other", **settings)
    for a in (again, other):
        assert np.array_equal(a.features, first.features)
    assert not np.array_equal(first.features[0], first.features[1])
    assert len(list((tmp_path / "cache").iterdir())) == 1
    windows(store, tmp_path, **(settings | {"seed": 1}))
    assert len(list((tmp_path / "cache").iterdir())) == 2


@pytest.mark.parametrize(("evenness", "wanted"), [(0.0, 0.9), (1.0, 0.5), (0.5, 0.75)])
def test_speakers_with_few_talks_are_drawn_more_often(evenness: float, wanted: float) -> None:
    few = TalkWindows(*[np.zeros(0)] * 3, np.arange(100))  # type: ignore[arg-type]
    shares = shares_of(few, ["Ann"] * 90 + ["Bob"] * 10, evenness)
    assert shares.sum() == pytest.approx(1)
    assert shares[:90].sum() == pytest.approx(wanted, abs=1e-6)


def test_processes_share_a_batch(store: Store, tmp_path: Path) -> None:
    made = windows(store, tmp_path, versions=1)
    settings = MotionSettings(batch=6, throat=0.2, gain=1.0)
    shares = shares_of(made, ["Ann"] * 3 + ["Bob"] * 2, 0.5)
    whole = TalkDrawer(made, shares, settings).draw(3)
    parts = [TalkDrawer(made, shares, settings, rank, 2).draw(3) for rank in (0, 1)]
    for name, array in whole.items():
        assert np.array_equal(array, np.concatenate([part[name] for part in parts]))
    assert not np.array_equal(whole["features"], TalkDrawer(made, shares, settings).draw(4)["features"])


def test_a_shorter_throat_moves_what_is_heard_up() -> None:
    features = np.zeros((3, 80), np.float32)
    features[:, 40] = 1.0
    assert np.array_equal(other_throat(features, 1.0), features)
    assert other_throat(features, 1.2)[0].argmax() in (44, 45, 46, 47)
    assert other_throat(features, 0.85)[0].argmax() in (33, 34, 35, 36, 37)
