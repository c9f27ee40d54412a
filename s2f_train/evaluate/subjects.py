"""On whom faces are judged: people of a split with a voice and a real face, and real faces of others beside them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from s2f_train.data.items import Identity
from s2f_train.data.pictures import Picture, read_face
from s2f_train.data.store import Sample, Store, StoreError

Ints = NDArray[np.int64]
T = TypeVar("T")
OTHERS = 2000  # real faces of other people, at most


@dataclass(frozen=True)
class Subjects:
    """The people, their voices and their real faces.

    Attributes:
        people: those who have both.
        voices: with `voice_person`, a number of `people`, each.
        faces: with `face_person`.
        own_face: of each voice the face of the same clip, or one of the person's.
        oracle: one more picture of a person, which is in no gallery; `oracle_of` has its number for each person,
            -1 where there is none.
        others: faces of people of other splits, of the same view and data sets; they give the mean face, the
            random face, and the second sample of real faces.
        alone: voices of the split whose people have no face in this view.
    """

    people: list[Identity]
    voices: list[Sample]
    voice_person: Ints
    faces: list[Sample]
    face_person: Ints
    own_face: Ints
    oracle: list[Sample]
    oracle_of: Ints
    others: list[Sample]
    alone: list[Sample]

    def only(self, voices: NDArray[np.bool_]) -> Subjects:
        """The people with only some of the voices; `alone` stays."""
        return Subjects(
            self.people, [v for v, kept in zip(self.voices, voices, strict=True) if kept], self.voice_person[voices],
            self.faces, self.face_person, self.own_face[voices], self.oracle, self.oracle_of, self.others, self.alone,
        )  # fmt: skip


def choose(
    store: Store,
    split: str,
    view: str,
    sources: tuple[str, ...] = (),
    voices_per_person: int = 3,
    faces_per_person: int = 5,
    people: int | None = None,
    oracle_view: str = "",
    seed: int = 0,
) -> Subjects:
    """Chooses by a seed; what is in other splits changes nobody.

    Args:
        split: "train", "valid" or "test".
        view: of the real faces, such as "photo".
        sources: data sets; none: all.
        people: at most so many of those with a face, and of those without; None: all.
        oracle_view: of the picture that stands for a person's other photograph where there is one alone.

    Raises:
        StoreError: fewer than two people have a voice and a face.
    """
    rng = np.random.default_rng([seed, 11])
    every_voice = store.of_split(split, sources=sources)
    of_view = [face for face in store.faces if face.view == view and (not sources or face.source in sources)]
    of_split = [face for face in of_view if store.identities[face.identity].split == split]
    voices_of, faces_of = _by_identity(every_voice), _by_identity(of_split)
    names = sorted(set(voices_of) & set(faces_of))
    if len(names) < 2:
        raise StoreError(_why_none(store, split, view, len(names)))
    if people is not None and people < len(names):
        names = sorted(names[i] for i in rng.permutation(len(names))[:people])
    if oracle_view and not any(face.view == oracle_view for face in store.faces):
        views = ", ".join(sorted({face.view for face in store.faces}))
        raise StoreError(f"{store.folder} has no pictures of view {oracle_view!r}; its views are {views}.")
    other_view = [f for f in store.of_split(split, "faces", sources) if oracle_view and f.view == oracle_view]
    instead = _by_identity(other_view)
    voices: list[Sample] = []
    faces: list[Sample] = []
    oracle: list[Sample] = []
    voice_person, face_person, own, oracle_of = [], [], [], np.full(len(names), -1)
    for number, name in enumerate(names):
        heard = some(rng, voices_of[name], voices_per_person)
        clips = {voice.clip for voice in heard if voice.clip}
        # The faces of the clips that are heard come first: a voice is shown beside the face of its moment.
        beside = [face for face in faces_of[name] if face.clip in clips]
        rest = some(rng, [face for face in faces_of[name] if face.clip not in clips], faces_per_person + 1)
        seen = [*beside, *rest][: faces_per_person + 1]
        aside = [seen.pop()] if len(seen) > 1 else [f for f in instead.get(name, []) if f not in seen][:1]
        if aside:
            oracle_of[number] = len(oracle)
            oracle.extend(aside)
        for voice in heard:
            places = [i for i, face in enumerate(seen) if face.clip and face.clip == voice.clip]
            own.append(len(faces) + (places[0] if places else int(rng.integers(len(seen)))))
            voices.append(voice)
            voice_person.append(number)
        faces.extend(seen)
        face_person.extend([number] * len(seen))
    alike = {face.source for face in faces}  # a set of other pictures would be far from these whoever made them
    others = [f for f in of_view if store.identities[f.identity].split != split and f.source in alike]
    unseen = sorted(set(voices_of) - set(faces_of))
    if people is not None:
        unseen = sorted(unseen[i] for i in rng.permutation(len(unseen))[:people])
    return Subjects(
        people=[store.identities[name] for name in names],
        voices=voices,
        voice_person=np.array(voice_person, np.int64),
        faces=faces,
        face_person=np.array(face_person, np.int64),
        own_face=np.array(own, np.int64),
        oracle=oracle,
        oracle_of=oracle_of,
        others=[others[i] for i in people_first(rng, [f.identity for f in others])[:OTHERS]],
        alone=[voice for name in unseen for voice in voices_of[name]],
    )


class StoredPictures(Sequence[Picture]):
    """The pictures of faces of a store, decoded when they are looked at: thousands of them need no memory.

    Raises:
        StoreError: one cannot be decoded.
    """

    def __init__(self, store: Store, faces: list[Sample]):
        self._store = store
        self._faces = faces

    def __len__(self) -> int:
        return len(self._faces)

    @overload
    def __getitem__(self, index: int) -> Picture: ...
    @overload
    def __getitem__(self, index: slice) -> StoredPictures: ...

    def __getitem__(self, index: int | slice) -> Picture | StoredPictures:
        if isinstance(index, slice):
            return StoredPictures(self._store, self._faces[index])
        return read_face(self._store, self._faces[index])


def _by_identity(samples: list[Sample]) -> dict[str, list[Sample]]:
    found: dict[str, list[Sample]] = {}
    for sample in sorted(samples, key=lambda sample: sample.key):
        found.setdefault(sample.identity, []).append(sample)
    return found


def some(rng: np.random.Generator, items: Sequence[T], most: int) -> list[T]:
    """At most so many, drawn, in their order."""
    if len(items) <= most:
        return list(items)
    return [items[i] for i in sorted(rng.permutation(len(items))[:most].tolist())]


def people_first(rng: np.random.Generator, who: Sequence[str]) -> list[int]:
    """Places in a drawn order: one of everyone, then a second one of those who have it, and so on."""
    turns: Counter[str] = Counter()
    placed = []
    for i in rng.permutation(len(who)).tolist():
        turns[who[i]] += 1
        placed.append((turns[who[i]], i))
    return [i for _, i in sorted(placed, key=lambda place: place[0])]


def _why_none(store: Store, split: str, view: str, found: int) -> str:
    views = ", ".join(sorted({face.view for face in store.faces})) or "none"
    sources = ", ".join(sorted({voice.source for voice in store.voices})) or "none"
    splits = ", ".join(sorted({str(person.split) for person in store.identities.values()}))
    return (
        f"{store.folder}: {found} people of the split {split!r} have a voice and a face of view {view!r}; two are "
        f"needed. Its views are {views}, its splits {splits}, its data sets {sources}."
    )
