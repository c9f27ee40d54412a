"""Blinks, sway and brows: when they come, how far they go, and that they can be left out."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from s2f_edge.errors import UsageError
from s2f_edge.pack.roles import POSE
from s2f_edge.talk.gestures import Gestures

FPS = 25
MINUTE = 60 * FPS


def _poses(frames: int = MINUTE, opening: float = 0.1, fps: float = FPS, **knobs: float) -> NDArray[np.float32]:
    """Of a mouth that opens and closes four times a second."""
    gestures = Gestures(seed=5, fps=fps, **knobs)
    offsets = np.zeros((frames, 68, 2), np.float32)
    offsets[:, 66, 1] = opening * np.maximum(0, np.sin(np.arange(frames) / fps * 8 * np.pi))
    return np.stack([gestures.next(row) for row in offsets])


def _column(poses: NDArray[np.float32], name: str) -> NDArray[np.float32]:
    column: NDArray[np.float32] = poses[:, POSE.index(name)]
    return column


def _blinks(poses: NDArray[np.float32]) -> NDArray[np.intp]:
    shut = _column(poses, "lids") > 0.9
    return np.flatnonzero(shut[1:] & ~shut[:-1])


def test_the_first_frame_is_the_still_face() -> None:
    assert not _poses(1).any()


def test_the_same_seed_moves_the_same() -> None:
    np.testing.assert_array_equal(_poses(), _poses())
    other = Gestures(seed=6)
    assert any((other.next(np.zeros((68, 2), np.float32)) != row).any() for row in _poses(200))


def test_blinks_come_every_two_to_six_seconds() -> None:
    times = _blinks(_poses(20 * MINUTE)) / FPS
    apart = np.diff(times)
    assert apart.min() >= 2.0 - 2 / FPS
    assert apart.max() <= 6.0 + 2 / FPS
    assert 12 <= 60 / apart.mean() <= 22  # people who talk: about 17 a minute


def test_a_faster_video_has_the_same_blinks() -> None:
    slow, fast = _blinks(_poses()) / 25, _blinks(_poses(2 * MINUTE, fps=50.0)) / 50
    assert len(slow) == len(fast)
    np.testing.assert_allclose(slow, fast, atol=0.06)


def test_the_head_sways_a_little_and_does_not_drift() -> None:
    poses = _poses(10 * MINUTE)
    for name, far in (("yaw", 0.04), ("pitch", 0.04), ("roll", 0.07), ("right", 0.02), ("down", 0.015)):
        column = _column(poses, name)
        assert np.abs(column).max() < far
        assert column.std() > 1e-4
        thirds = [part.mean() for part in np.array_split(column, 3)]
        assert max(thirds) - min(thirds) < 0.2 * far
        assert np.abs(np.diff(column)).max() < 0.15 * far  # no jumps


def test_a_pause_is_calmer_than_speech() -> None:
    def liveliness(opening: float) -> float:
        return float(_column(_poses(4 * MINUTE, opening), "yaw").std())

    assert liveliness(0.0) < 0.65 * liveliness(0.1)
    assert not _column(_poses(opening=0.0), "brows").any()


def test_brows_rise_with_stress() -> None:
    gestures = Gestures()
    offsets = np.zeros((200, 68, 2), np.float32)
    offsets[100:110, 66, 1] = 0.2
    brows = _column(np.stack([gestures.next(row) for row in offsets]), "brows")
    assert brows[:100].max() == 0
    assert brows[100:115].max() > 0.5


@pytest.mark.parametrize(("knob", "columns"), [("head", POSE[:5]), ("blink", ("lids",)), ("brows", ("brows",))])
def test_each_can_be_left_out_or_doubled(knob: str, columns: tuple[str, ...]) -> None:
    usual, none, twice = (_poses(**{knob: value}) for value in (1.0, 0.0, 2.0))
    for name in columns:
        assert not _column(none, name).any()
        assert _column(usual, name).any()
    if knob == "blink":
        assert len(_blinks(twice)) > 1.5 * len(_blinks(usual))
    else:
        assert np.abs(_column(twice, columns[0])).max() == pytest.approx(2 * np.abs(_column(usual, columns[0])).max())


@pytest.mark.parametrize("knob", ["head", "blink", "brows"])
@pytest.mark.parametrize("value", [-0.1, 2.1, float("nan")])
def test_knobs_have_a_range(knob: str, value: float) -> None:
    with pytest.raises(UsageError, match=f"{knob} is .*from 0 to 2"):
        Gestures(**{knob: value})
