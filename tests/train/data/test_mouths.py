"""Mouths: cut from a face on its frame, kept in a store, and drawn in the shares that are asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from s2f_train.data.frame import MEAN_SHAPE, SIDE
from s2f_train.data.mouths import BOX, INNER_LIPS, MOUTHS, as_member, is_open, load_mouths, mouth_of
from s2f_train.data.store import StoreError
from s2f_train.fit.mouth import drawn_how_often
from tests.train.made_store import crowd, made_store, mouth

RNG = np.random.default_rng(3)


def _mesh(gap: float) -> np.ndarray:
    """Points of a face on the frame whose inner lips are an ellipse of 40 by `gap` pixels."""
    mesh = np.zeros((478, 3), np.float32)
    around = np.linspace(np.pi, -np.pi, len(INNER_LIPS), endpoint=False)
    mesh[list(INNER_LIPS), 0] = 128 + 20 * np.cos(around)
    mesh[list(INNER_LIPS), 1] = 187 - gap / 2 * np.sin(around)
    return mesh


def _face(gap: float) -> Image.Image:
    picture = Image.new("RGB", (SIDE, SIDE), (200, 150, 120))
    ImageDraw.Draw(picture).ellipse((108, 187 - gap / 2, 148, 187 + gap / 2), fill=(30, 0, 0))
    return picture


def test_the_inside_is_where_the_dark_is() -> None:
    cut = np.asarray(mouth_of(_face(16), _mesh(16), MEAN_SHAPE * SIDE))
    assert cut.shape == (BOX[3], BOX[2], 4)
    inside = cut[..., 3] > 128
    assert inside.sum() == pytest.approx(np.pi * 20 * 8, rel=0.05)
    assert (cut[..., 0][inside] < 100).mean() > 0.93
    assert (cut[..., 0][~inside] > 100).mean() > 0.98


@pytest.mark.parametrize("turn", [-20, 15])
def test_a_turned_larger_face_gives_the_same_mouth(turn: int) -> None:
    straight = np.asarray(mouth_of(_face(16), _mesh(16), MEAN_SHAPE * SIDE)).astype(int)
    turned = _face(16).resize((2 * SIDE, 2 * SIDE), Image.Resampling.BICUBIC).rotate(turn, Image.Resampling.BICUBIC)
    angle, middle = np.radians(turn), np.array([SIDE, SIDE])
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])

    def moved(points: np.ndarray) -> np.ndarray:
        return np.asarray((2 * points - middle) @ matrix + middle, np.float32)

    again = np.asarray(mouth_of(turned, moved(_mesh(16)[:, :2]), moved(MEAN_SHAPE * SIDE))).astype(int)
    assert np.abs(again - straight).mean() < 2.5


def test_closed_lips_show_nothing() -> None:
    assert not is_open(mouth_of(_face(1), _mesh(0.4), MEAN_SHAPE * SIDE))
    assert is_open(mouth_of(_face(8), _mesh(8), MEAN_SHAPE * SIDE))


def test_mouths_come_back_from_a_store(tmp_path: Path) -> None:
    store = made_store(tmp_path / "store", crowd(2, 0, 0, voices=1, photos=0, portraits=1, mouths=3))
    samples = [s for s in store.of_split("train", "faces") if MOUTHS in s.members]
    mouths = load_mouths(store, samples)
    assert mouths.pictures.shape == (6, 3, BOX[3], BOX[2])
    assert [s.identity for s in mouths.samples] == ["P00"] * 3 + ["P01"] * 3
    assert set(np.unique(mouths.inside)) == {0, 255}
    assert mouths.pictures[:, :, 48, 56].max() < 80  # dark in the middle, lossy as they are kept


def test_a_strip_of_another_size_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = made_store(tmp_path / "store", crowd(1, 0, 0, voices=1, photos=0, portraits=1, mouths=1))
    monkeypatch.setattr("s2f_train.data.mouths.BOX", (72, 144, 100, 96))
    with pytest.raises(StoreError, match="another size"):
        load_mouths(store, store.of_split("train", "faces"))


def test_wide_mouths_are_drawn_more_often_and_portraits_their_share(tmp_path: Path) -> None:
    store = made_store(tmp_path / "store", crowd(3, 0, 0, voices=1, photos=0, portraits=2, mouths=4))
    mouths = load_mouths(store, store.of_split("train", "faces"))
    shares = drawn_how_often(mouths, 0.45)
    assert shares.sum() == pytest.approx(1)
    area = mouths.inside.reshape(len(shares), -1).sum(axis=1)
    assert shares[area < 300 * 255].max() < shares[area > 310 * 255].min()
    assert shares[area.argmin()] == shares.min()
    for sample in mouths.samples[:8]:  # one person is a talking head
        object.__setattr__(sample, "view", "")
    assert drawn_how_often(mouths, 0.45)[8:].sum() == pytest.approx(0.45)


def test_a_strip_keeps_colours_and_edges() -> None:
    made = mouth(np.random.default_rng(0), "P00")
    assert as_member([made, made])[:4] == b"RIFF"
