"""Gender and age of portraits that come without, so that a fit can draw women and men, young and old alike.

A ridge regression on features of EfficientNet-lite0 (`models.projected_critics`) is learnt from those faces of the
store whose gender and age are known (UTKFace has both). No judge of `evaluate` takes part. On a fifth of UTKFace it
tells the gender of 89 % and is 9.5 years off on average: enough to draw by, and never shown of anyone.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from s2f_train.data.faces import load_faces
from s2f_train.data.landmarks import find_landmarks
from s2f_train.data.store import Sample, Store, StoreError
from s2f_train.data.warp import warped
from s2f_train.models.projected_critics import ProjectedFeatures
from s2f_train.models.sketch import as_input

log = logging.getLogger(__name__)

SIDE = 128  # to which faces on the mean shape are brought
FACE = slice(36, 120), slice(24, 104)  # of them the face, rows and columns
FROM = 2  # the first of the features that are used
SHRINKAGE = 1000.0
FEWEST = 200  # faces of known age and gender
MOST = 6000
AT_ONCE = 64
FARTHEST = 6.0  # standard deviations; a picture beyond has nothing to do with those that were learnt
AGES = (30.0, 45.0, 60.0)
AGE_SHARES = (0.3, 0.3, 0.22, 0.18)  # of the faces drawn: under 30, to 45, to 60, and older
MOST_OFTEN = 6.0  # times the median weight: few faces must not be memorised


@dataclass(frozen=True)
class Attributes:
    """Of portraits: 1 for a man, -1 for a woman, and years, (n,) each; how many of each were estimated."""

    male: Tensor
    age: Tensor
    estimated: dict[str, int]

    def weights(self) -> Tensor:
        """How often each is to be drawn, so that women and men, and four ranges of age, come in fixed shares: (n,)."""
        ranges = torch.bucketize(self.age, torch.tensor(AGES))
        weights = torch.zeros(len(self.age))
        for male in (-1.0, 1.0):
            for index, share in enumerate(AGE_SHARES):
                of = (self.male == male) & (ranges == index)
                weights[of] = share / max(1, int(of.sum()))
        return weights.clamp_max(MOST_OFTEN * float(weights.median()))


def attributes_of(
    store: Store, portraits: list[Sample], textures: Tensor, points: Tensor, network: ProjectedFeatures
) -> Attributes:
    """Gender and age of each portrait, as the store has them, else estimated.

    Args:
        textures: uint8 (n, 3, 256, 256), the portraits on the mean shape.
        points: (68, 2), the mean shape.

    Raises:
        StoreError: something must be estimated, and the store has too few faces of known gender and age.
    """
    people = [store.identities[sample.identity] for sample in portraits]
    male = torch.tensor([{"m": 1.0, "f": -1.0}.get(who.gender, float("nan")) for who in people])
    age = torch.tensor([float("nan") if who.age is None else float(who.age) for who in people])
    estimated = {"gender": int(male.isnan().sum()), "age": int(age.isnan().sum())}
    if any(estimated.values()):
        features, known_male, known_age = _known(store, points, network)
        centre, scale = features.mean(dim=0), features.std(dim=0).clamp_min(1e-6)
        learnt = (features - centre) / scale
        seen = ((_features(textures, network) - centre) / scale).clamp(-FARTHEST, FARTHEST)
        there = ~male.isnan()
        told = torch.cat([learnt, seen[there]]), torch.cat([known_male, male[there]])
        male = torch.where(there, male, _regressed(*told, seen).sign())
        age = torch.where(age.isnan(), _regressed(learnt, known_age, seen), age)
    return Attributes(male, age, estimated)


def _known(store: Store, points: Tensor, network: ProjectedFeatures) -> tuple[Tensor, Tensor, Tensor]:
    """Features, gender and age of other faces of the training split."""
    samples = [
        face
        for face in store.of_split("train", "faces")
        if face.view == "photo"
        and store.identities[face.identity].gender
        and store.identities[face.identity].age is not None
    ]
    order = np.random.default_rng(0).permutation(len(samples))[:MOST]
    samples = [samples[i] for i in sorted(order)]
    if len(samples) < FEWEST:
        raise StoreError(
            f"{store.folder} has portraits of unknown gender or age, and {len(samples)} other faces of which both are "
            f"known; {FEWEST} are needed to estimate them: prepare it with --utkface or --s2f-data too, or give gender "
            "and age in --portraits-csv."
        )
    pixels = load_faces(store, samples, 96)
    marks, found = find_landmarks(pixels)
    log.info("gender and age are learnt from %d faces", int(found.sum()))
    textures = torch.cat(
        [
            (
                warped(as_input(part.permute(0, 3, 1, 2)), points.expand_as(of), of, SIDE).clamp(-1, 1) * 127.5 + 127.5
            ).byte()
            for part, of in zip(torch.split(pixels[found], AT_ONCE), torch.split(marks[found], AT_ONCE), strict=True)
        ]
    )
    people = [store.identities[s.identity] for s, there in zip(samples, found.tolist(), strict=True) if there]
    male = torch.tensor([1.0 if who.gender == "m" else -1.0 for who in people])
    return _features(textures, network), male, torch.tensor([float(who.age or 0) for who in people])


def _features(textures: Tensor, network: ProjectedFeatures) -> Tensor:
    """(n, features): means, deviations and quarters of the maps, of a face and its mirror image."""
    rows = []
    with torch.inference_mode():
        for part in torch.split(textures, AT_ONCE):
            faces = as_input(part)
            if faces.shape[2] != SIDE:
                faces = nn.functional.interpolate(faces, size=(SIDE, SIDE), mode="area")
            rows.append((_seen(faces, network) + _seen(faces.flip(3), network)) / 2)
    return torch.cat(rows)


def _seen(faces: Tensor, network: ProjectedFeatures) -> Tensor:
    maps = network.unmixed(faces[:, :, FACE[0], FACE[1]])
    found: list[Tensor] = []
    for x in maps[FROM:]:
        found += [x.mean(dim=(2, 3)), x.std(dim=(2, 3)), nn.functional.adaptive_avg_pool2d(x, 2).flatten(1)]
    return torch.cat(found, dim=1)


def _regressed(features: Tensor, values: Tensor, wanted: Tensor) -> Any:
    """Ridge regression of values, (n,), on features, and what it says of others."""
    x, y = features.double(), values.double()
    centre, mean = x.mean(dim=0), y.mean()
    x = x - centre
    weights = torch.linalg.solve(x.T @ x + SHRINKAGE * torch.eye(x.shape[1], dtype=x.dtype), x.T @ (y - mean))
    return ((wanted.double() - centre) @ weights + mean).float()
