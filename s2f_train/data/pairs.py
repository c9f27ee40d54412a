"""Which voices and which faces belong together: by person and by clip."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from s2f_train.config import GanSettings
from s2f_train.data.items import Identity
from s2f_train.data.store import Sample, Store, StoreError

Indices = NDArray[np.int64]
NONE = -1


@dataclass(frozen=True)
class Pairs:
    """What a GAN learns from.

    Attributes:
        voices: recordings to draw from.
        classes: of each voice the number of its identity; -1 where it has none.
        targets: of each voice the face of the same clip, an index into `faces`; -1: none.
        faces: pictures.
        real: (n, 2): a face that D takes for real, and the identity that C finds in it (or -1).
        identities: how many people have voices and faces, whom C tells apart.
    """

    voices: list[Sample]
    classes: Indices
    targets: Indices
    faces: list[Sample]
    real: Indices
    identities: int


def pair(store: Store, settings: GanSettings) -> Pairs:
    """The voices and faces of the training split for a generator.

    With a weight on identity, as in Wen et al., only people with both voices and faces take part.

    Raises:
        StoreError: nothing is left to learn from.
    """
    people = {name: p for name, p in store.identities.items() if _wanted(p, settings)}
    voices = [v for v in store.of_split("train", "voices", settings.sources) if v.identity in people]
    faces = [f for f in store.of_split("train", "faces", settings.sources) if f.identity in people]
    faces = [face for face in faces if face.view == settings.view]
    _require(store, settings, voices, faces)
    faces_of: dict[str, list[int]] = {}
    for index, face in enumerate(faces):
        faces_of.setdefault(face.identity, []).append(index)
    speakers = sorted({voice.identity for voice in voices})
    known = {name: faces_of[name] for name in speakers if name in faces_of}
    numbers = {name: number for number, name in enumerate(sorted(known))}
    if settings.identity_weight:
        if not known:
            raise StoreError(
                f"{store.folder}: none of {len(speakers)} speakers has a {settings.view!r} picture; with "
                "identity_weight each needs one. Set identity_weight=0."
            )
        voices = [voice for voice in voices if voice.identity in known]
        real = [(index, numbers[name]) for name, indices in known.items() for index in indices]
    else:
        real = [(index, NONE) for index in range(len(faces))]
    by_clip = {face.clip: index for index, face in enumerate(faces) if face.clip}
    return Pairs(
        voices=voices,
        classes=np.array([numbers.get(voice.identity, NONE) for voice in voices], np.int64),
        targets=np.array([by_clip.get(voice.clip, NONE) for voice in voices], np.int64),
        faces=faces,
        real=np.array(sorted(real), np.int64),
        identities=len(numbers),
    )


def _wanted(person: Identity, settings: GanSettings) -> bool:
    return settings.gender == "general" or person.gender == settings.gender[0]


def _require(store: Store, settings: GanSettings, voices: list[Sample], faces: list[Sample]) -> None:
    of = "" if settings.gender == "general" else f" of {settings.gender} people"
    if not voices:
        raise StoreError(f"{store.folder} has no voices{of} in its training split.")
    if not faces:
        views = sorted({face.view for face in store.faces})
        raise StoreError(
            f"{store.folder} has no {settings.view!r} pictures{of} in its training split; "
            f"its pictures are {', '.join(views) or 'none'} (setting: view)."
        )
