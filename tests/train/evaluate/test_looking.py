"""What judges are shown: pictures as they are, but for the network of features, which sees all at one size."""

from __future__ import annotations

import numpy as np

from s2f_train.evaluate.cache import Vector, VectorCache
from s2f_train.evaluate.looking import MOST_PIXELS, Judges
from s2f_train.evaluate.tables import Picture


class Shapes:
    """Tells the size of what it is shown."""

    label, same_person, weights = "shapes", None, ()

    def __init__(self, name: str, numbers: int = 2):
        self.name = self.sha256 = name
        self._numbers = numbers

    def look(self, picture: Picture) -> Vector:
        return np.array([*picture.shape[: self._numbers], 1], np.float32)


def test_native_pictures_are_shown_as_they_are() -> None:
    judges = Judges(Shapes("who"), Shapes("attributes"), Shapes("features"), VectorCache(), jobs=1)
    pictures = [np.full((256, 256, 3), 90, np.uint8), None, np.full((64, 64, 3), 90, np.uint8)]
    for side in (64, 256):
        seen = judges.see(pictures, "faces", side)
        assert seen.embeddings[[0, 2]].tolist() == [[256, 256], [64, 64]]
        assert seen.readings.male[[0, 2]].tolist() == [256, 64]
        assert seen.features[[0, 2]].tolist() == [[side, side]] * 2
        shown = min(side, MOST_PIXELS)
        assert seen.pixels.shape == (3, shown, shown, 3)
        assert seen.size == f"{shown}x{shown}"
        assert np.isnan(seen.embeddings[1]).all()


def test_the_judge_of_realism_counts_among_all() -> None:
    close = Shapes("close")
    judges = Judges(Shapes("who"), Shapes("attributes"), Shapes("who"), VectorCache(), 1, close)
    assert [judge.name for judge in judges.all] == ["who", "attributes", "close"]
    assert judges.see([], "none", 256).pixels.shape == (0, MOST_PIXELS, MOST_PIXELS, 3)
