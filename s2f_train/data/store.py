"""A store: voices and faces as WebDataset shards, with an index for drawing any of them at once.

    store/
      store.json          what it is: settings, sources, counts; written last, so a store with it is whole
      identities.jsonl    one line a person: name, gender, age, split, voices, faces
      skipped.jsonl       one line for each item that could not be used, and why
      voices/000000.tar   samples KEY.flac (voiced speech, 16 kHz), KEY.logmel.npy (float16, (frames, 64),
                          normalised), KEY.json (identity, gender, age, split, source, clip, seconds)
      voices/000000.jsonl the index of that shard: first a line about the shard, then one line a sample
      faces/000000.tar    samples KEY.png or KEY.jpg, KEY.json; portraits (view "portrait", 256x256) also
                          KEY.points.npy (float16, (68, 2), see `frame`)
      report.html         counts, hours, genders, faces, durations

The tars are plain, so a member is bytes at an offset: a training process maps the shards and reads
a crop of a log-mel without decoding, and all processes of a machine share the page cache. The same
shards stream in order from object storage with any WebDataset reader.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2f_train.data.items import Identity
from s2f_train.data.remote import Mirror, is_remote

FORMAT = 1
BINS = 64
KINDS = ("voices", "faces")


class StoreError(ValueError):
    """A store cannot be read."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One voice or face of a store.

    Attributes:
        key: unique in the store.
        identity, source, clip, view: as in `items.Item`.
        shard: relative to the store, such as "voices/000000.tar".
        members: extension ("flac", "logmel.npy", "png", "json") -> (offset, bytes) in the shard.
        seconds: of voiced speech; 0 for faces.
        frames: of log-mel; 0 where none is stored.
    """

    key: str
    identity: str
    source: str
    clip: str
    view: str
    shard: str
    members: dict[str, tuple[int, int]]
    seconds: float = 0.0
    frames: int = 0


@dataclass(frozen=True)
class Store:
    """A store. Use `Store.open`.

    `folder` is where its files are, or come to be: a remote store's shards are fetched when they are read.
    """

    folder: Path
    facts: dict[str, Any]
    identities: dict[str, Identity]
    voices: list[Sample] = field(repr=False)
    faces: list[Sample] = field(repr=False)
    mirror: Mirror | None = field(default=None, repr=False)

    @classmethod
    def open(cls, place: str | Path, cache: Path = Path("runs/cache"), room: int = 0) -> Store:
        """Reads what is in a store, and checks that its shards are there and whole.

        Args:
            place: a folder, or the address of one (see `remote`).
            cache: where the files of a remote store go; `room` bytes of voice shards at most, 0: all.

        Raises:
            StoreError: it is none, is not finished, is of another format, or a shard is missing or cut.
        """
        mirror = Mirror(str(place), cache, room) if is_remote(str(place)) else None
        folder = mirror.folder if mirror else Path(place)
        if mirror:
            for name in ("store.json", "identities.jsonl"):
                mirror.get(name)
        facts = read_facts(folder)
        if mirror:
            for kind in KINDS:
                for shard in facts["shards"][kind]:
                    mirror.get(shard.replace(".tar", ".jsonl"))
        people = {row["name"]: _identity(row) for row in read_lines(folder / "identities.jsonl")}
        samples = {
            kind: [s for shard in facts["shards"][kind] for s in read_index(folder, shard, there=not mirror)]
            for kind in KINDS
        }
        return cls(folder, facts, people, samples["voices"], samples["faces"], mirror)

    def read(self, sample: Sample, member: str) -> bytes:
        """The bytes of a member, such as "flac".

        Raises:
            StoreError: the sample has no such member.
        """
        offset, size = self._place(sample, member)
        return self._shard(sample.shard)[offset : offset + size].tobytes()

    def require(self, samples: list[Sample], member: str, advice: str) -> None:
        """Says at once what reading would say when it meets such a sample, perhaps after hours.

        Raises:
            StoreError: some have no such member.
        """
        without = [sample for sample in samples if member not in sample.members]
        if without:
            raise StoreError(
                f"{self.folder}: {len(without)} of {len(samples)} voices have no {member}, such as {without[0].key} of "
                f"{without[0].source}. {advice}"
            )

    def logmel(self, sample: Sample) -> NDArray[np.float16]:
        """The stored features, (frames, 64), normalised: a view of the file that reads only what is used."""
        offset, size = self._place(sample, "logmel.npy")
        begin = offset + size - 2 * BINS * sample.frames  # after the header of the npy
        mapped = self._shard(sample.shard)[begin : offset + size]
        return mapped.view(np.float16).reshape(sample.frames, BINS)

    def _place(self, sample: Sample, member: str) -> tuple[int, int]:
        try:
            return sample.members[member]
        except KeyError:
            raise StoreError(
                f"{self.folder}: {sample.key} has no {member}; it has {', '.join(sample.members)}. "
                "Was the store prepared with another --keep?"
            ) from None

    def _shard(self, name: str) -> NDArray[np.uint8]:
        path = self.mirror.get(name) if self.mirror else self.folder / name
        if self.mirror and self.mirror.removed:
            _mapped.cache_clear()
            self.mirror.removed = False
        try:
            written = path.stat().st_mtime_ns  # a store that was made anew is read anew
        except OSError as error:
            raise StoreError(f"{path} cannot be read ({error.strerror}); run prepare again to make it anew.") from None
        return _mapped(path, written)

    def soon(self, shard: str) -> None:
        """Says that a shard will be read soon: a remote store begins to fetch it."""
        if self.mirror:
            self.mirror.prefetch(shard)

    @property
    def made_of(self) -> dict[str, Any]:
        """What a checkpoint says of the store it learnt from: the digest of its plan, and the split."""
        return {"plan": self.facts.get("plan"), "split": self.facts.get("settings", {}).get("split")}

    def of_split(self, split: str, kind: str = "voices", sources: tuple[str, ...] = ()) -> list[Sample]:
        """Voices or faces of the identities of a split, of all sources or of some."""
        samples = self.voices if kind == "voices" else self.faces
        return [
            s for s in samples if self.identities[s.identity].split == split and (not sources or s.source in sources)
        ]


@functools.lru_cache(maxsize=4096)
def _mapped(path: Path, written: int) -> NDArray[np.uint8]:
    try:
        mapped: NDArray[np.uint8] = np.memmap(path, np.uint8, "r").view(np.ndarray)
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be read ({error}); run prepare again to make it anew.") from None
    return mapped


def _identity(row: dict[str, Any]) -> Identity:
    return Identity(row["name"], row["gender"], row["age"], row["split"])


def read_facts(folder: Path) -> dict[str, Any]:
    """store.json, checked.

    Raises:
        StoreError: it is missing, no JSON, or of another format.
    """
    path = folder / "store.json"
    if not path.exists() and any((folder / kind).is_dir() for kind in KINDS):
        raise StoreError(f"{folder} is not finished: run the same prepare command again to resume it.")
    try:
        facts = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise StoreError(f"{folder} is no store: store.json cannot be read ({error}).") from None
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        raise StoreError(f"{folder} is no store of format {FORMAT}: store.json says {str(facts)[:80]}.")
    return facts


def read_index(folder: Path, shard: str, there: bool = True) -> Iterator[Sample]:
    """The samples of a shard ("voices/000000.tar") by its index.

    Args:
        there: whether the shard itself must be there and whole.

    Raises:
        StoreError: the shard or its index is missing, or the shard has another size than when it was written.
    """
    path = folder / shard
    lines = read_lines(path.with_suffix(".jsonl"))
    size = path.stat().st_size if path.exists() else -1
    try:
        about = next(lines)
        if there and size != about["bytes"]:
            found = "is missing" if size < 0 else f"has {size} bytes instead of {about['bytes']}"
            raise StoreError(f"{path} {found}; delete it and run prepare again, which makes only what is missing.")
        for row in lines:
            if "why" not in row:
                row["members"] = {name: tuple(place) for name, place in row["members"].items()}
                yield Sample(**row, shard=shard)
    except (StopIteration, KeyError, TypeError) as error:
        raise StoreError(f"{path.with_suffix('.jsonl')} is no index of this version ({error}).") from None


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSON lines file.

    Raises:
        StoreError: it is missing, or a line is no JSON.
    """
    try:
        with path.open(encoding="utf-8") as file:
            for line in file:
                yield json.loads(line)
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be read ({error}).") from None
