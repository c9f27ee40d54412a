"""The judges of an evaluation, and what they see in pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2f_train.data.pictures import SIDE, resized
from s2f_train.evaluate.attributes import Readings
from s2f_train.evaluate.cache import VectorCache
from s2f_train.evaluate.judging import FaceFeatures, Judge, judge_all
from s2f_train.evaluate.seen import JudgedPictures
from s2f_train.evaluate.tables import Picture

MOST_PIXELS = 128  # a side on which pixels are compared: more costs memory and tells no more


@dataclass(frozen=True)
class Judges:
    """The networks that look.

    Attributes:
        recogniser: tells people apart.
        attributes: reads gender and age.
        features: of the Fréchet and the kernel distance.
        cache: what they have said before.
        jobs: processes; None: one for each core.
        close: what faces look like close by, a `Realism`; None where that is not asked for.
    """

    recogniser: FaceFeatures
    attributes: Judge
    features: FaceFeatures
    cache: VectorCache
    jobs: int | None = None
    close: Judge | None = None

    @property
    def all(self) -> list[Judge]:
        """Each once."""
        roles = (self.recogniser, self.attributes, self.features, *([self.close] if self.close else []))
        return list({judge.sha256: judge for judge in roles}.values())

    def see(self, pictures: Sequence[Picture | None], what: str, side: int = SIDE) -> JudgedPictures:
        """All judges look: the network of features at one size, the others at the pictures as they are.

        Args:
            pictures: uint8 (h, w, 3); None leaves a gap.
            what: the stage, for the bar.
            side: of that size, in pixels; pixels are kept at it, or at `MOST_PIXELS` where it is more.
        """
        shown = [picture for picture in pictures if picture is not None]
        # Compared at one size, that of the real faces: no system gains by its resolution.
        alike = [resized(picture, side) for picture in shown]
        small = [resized(picture, min(side, MOST_PIXELS)) for picture in alike]
        attributes = self._judged(self.attributes, shown, f"{what}, gender and age")
        there = np.array([picture is not None for picture in pictures], bool)

        def spread(values: NDArray[Any], missing: float | bool) -> NDArray[Any]:
            found = np.full((len(there), *values.shape[1:]), missing, values.dtype)
            found[there] = values
            return found

        embeddings = self._judged(self.recogniser, shown, what)
        features = self._judged(self.features, alike, f"{what}, features")
        pixels = (
            np.stack(small) if small else np.zeros((0, min(side, MOST_PIXELS), min(side, MOST_PIXELS), 3), np.uint8)
        )
        male, age, found = attributes.T
        return JudgedPictures(
            embeddings=spread(embeddings[:, :-1], np.nan),
            found=spread(embeddings[:, -1] > 0.5, False),
            readings=Readings(spread(male, np.nan), spread(age, np.nan), spread(found > 0.5, False)),
            features=spread(features[:, :-1], np.nan),
            pixels=spread(pixels, 0),
        )

    def embed(self, pictures: Sequence[Picture | None], what: str) -> NDArray[np.float64]:
        """The recogniser alone: (n, d), NaN where there is no picture."""
        judged = self._judged(self.recogniser, [p for p in pictures if p is not None], what)[:, :-1]
        found = np.full((len(pictures), judged.shape[1]), np.nan)
        found[[picture is not None for picture in pictures]] = judged
        return found

    def male(self, pictures: Sequence[Picture]) -> NDArray[np.float64]:
        """The probability of male, (n,), NaN where no face is found."""
        judged = self._judged(self.attributes, list(pictures), "faces of the curves")
        return np.where(judged[:, -1] > 0.5, judged[:, 0], np.nan)

    def _judged(self, judge: Judge, pictures: list[Picture], what: str) -> NDArray[np.float64]:
        if not pictures:  # as many columns as the judge of attributes has
            return np.zeros((0, 3))
        return judge_all(judge, pictures, self.cache, self.jobs, what).astype(np.float64)
