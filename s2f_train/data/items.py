"""What a data set consists of before it is a store: identities, and the voices and faces that belong to them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal, get_args

Gender = Literal["m", "f", ""]  # "" is unknown
Split = Literal["train", "valid", "test"]
SplitRule = Literal["hash", "letter"]
Keep = Literal["both", "sound", "features"]  # of voices
TEST_SHARE, VALID_SHARE = 0.15, 0.05  # of the identities, by hash


@dataclass(frozen=True, slots=True)
class Place:
    """Where the bytes of an item are.

    Attributes:
        path: a file.
        offset, size: a member of an uncompressed tar; size None is the whole file.
        start, seconds: a stretch of a recording; seconds None is up to its end.
    """

    path: str
    offset: int = 0
    size: int | None = None
    start: float = 0.0
    seconds: float | None = None

    def read(self) -> bytes:
        with open(self.path, "rb") as file:  # noqa: PTH123 - a Path for each of a million items would be slow
            file.seek(self.offset)
            data = file.read() if self.size is None else file.read(self.size)
        if self.size is not None and len(data) < self.size:
            raise ValueError(f"{self.path} ends inside a member: {len(data)} of {self.size} bytes.")
        return data


@dataclass(frozen=True, slots=True)
class Item:
    """One recording or one picture.

    Attributes:
        kind: what it becomes.
        source: the data set, such as "voxceleb1".
        identity: of the speaker; the same name in two data sets is the same person.
        name: unique among the items of its kind and source.
        place: where it is.
        content: "sound"; "logmel", an .npy of (frames, 64), normalised already (Wen's published
            data); "picture", to be aligned; "aligned", a picture to be resized at most; "portrait",
            to be brought to the frame of `frame`, of view "portrait"; or "talk", see `TalkItem`.
        view: of faces: "photo", what a paired picture is called ("face", "s2f"), or "portrait".
        clip: voices and faces of one recording share it; "" where nothing is paired.
    """

    kind: Literal["voice", "face"]
    source: str
    identity: str
    name: str
    place: Place
    content: Literal["sound", "logmel", "picture", "aligned", "portrait", "talk"]
    view: str = "photo"
    clip: str = ""


@dataclass(frozen=True, slots=True)
class TalkItem(Item):
    """A talking head: a voice whose `place` is the sound, and `video` where the face is; they may be one file.

    Attributes:
        words: start and end in seconds, and the word; "sil" is silence.
        landmarker: file of the networks that find the points.
    """

    video: Place = Place("")
    words: tuple[tuple[float, float, str], ...] = ()
    landmarker: str = ""


@dataclass(frozen=True, slots=True)
class Identity:
    """A speaker, or the person in a picture. split None: the rule of the store decides."""

    name: str
    gender: Gender = ""
    age: float | None = None
    split: Split | None = None


@dataclass(frozen=True)
class Source:
    """A data set: who is in it, and the items, in the order of their names.

    `notes` are sentences for the report: rows without files, files without rows.
    """

    name: str
    identities: dict[str, Identity]
    items: list[Item]
    notes: tuple[str, ...] = ()


class SourceError(ValueError):
    """A folder does not have the layout of its data set."""


def joined(sources: Iterable[Source]) -> dict[str, Identity]:
    """All identities; what one source does not know of a person, another may."""
    people: dict[str, Identity] = {}
    for source in sources:
        for name, new in source.identities.items():
            old = people.get(name, new)
            people[name] = replace(
                old,
                gender=old.gender or new.gender,
                age=old.age if old.age is not None else new.age,
                split=old.split or new.split,
            )
    return people


def split_of(identity: Identity, rule: str) -> Split:
    """The split of an identity: its own, or by `rule`.

    letter: by the first letter of the name as Wen et al. (and Nagrani et al. before them): A and B
        valid, C to E test, F to Z train; names that begin otherwise go by hash.
    hash: 15 % test, 5 % valid, by SHA-256 of the name, so that it stays when data are added.
    """
    if rule not in get_args(SplitRule):
        raise ValueError(f"The split rule is {rule!r}; it must be one of {', '.join(get_args(SplitRule))}.")
    if identity.split:
        return identity.split
    first = identity.name[:1].upper()
    if rule == "letter" and "A" <= first <= "Z":
        return "valid" if first <= "B" else "test" if first <= "E" else "train"
    return hash_split(identity.name)


def hash_split(name: str) -> Split:
    share = hashlib.sha256(name.encode()).digest()[0] / 256
    return "test" if share < TEST_SHARE else "valid" if share < TEST_SHARE + VALID_SHARE else "train"
