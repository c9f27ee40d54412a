"""Which item becomes which sample of which shard."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Literal

from s2f_train.data.frame import VIEW
from s2f_train.data.items import Identity, Item, Source, joined, split_of
from s2f_train.data.store import FORMAT
from s2f_train.prepare import portrait
from s2f_train.prepare.item import Entry, PrepareSettings
from s2f_train.prepare.unit import Unit
from s2f_train.prepare.worker import PrepareError

UNIT_ITEMS = {"voice": 512, "face": 4096}
FOLDER_OF = {"voice": "voices", "face": "faces"}
KEY_LENGTH = 80  # a tar of the old kind, which all readers know, has names of up to 100 bytes


@dataclass(frozen=True)
class Choice:
    """Which items of the sources, how they are split, and how they are spread over shards.

    Attributes:
        split: a rule of `items.split_of`.
        seed: of the order of the items, which also decides who is left out by the caps.
        shard_items: items a shard; None is 512 voices and 4,096 faces.
        voices_per_identity, faces_per_identity: at most so many; None is all.
        limit: the first so many voices, and faces, of each source.
    """

    split: Literal["hash", "letter"] = "hash"
    seed: int = 0
    shard_items: int | None = None
    voices_per_identity: int | None = None
    faces_per_identity: int | None = None
    limit: int | None = None


@dataclass(frozen=True)
class Plan:
    """What a store will consist of."""

    sources: Sequence[Source]
    choice: Choice
    settings: PrepareSettings
    identities: dict[str, Identity]  # split is set
    units: list[Unit] = field(repr=False)

    @property
    def digest(self) -> str:
        """Hash of all that the store depends on, except the content of the files and the code."""
        rows: list[Any] = [FORMAT, *([unit.shard, unit.digest] for unit in self.units)]
        rows += [[source.name, source.notes] for source in self.sources]
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:32]

    def count(self, kind: str) -> int:
        return sum(len(unit.entries) for unit in self.units if unit.shard.startswith(FOLDER_OF[kind]))


def plan(sources: Sequence[Source], choice: Choice, settings: PrepareSettings) -> Plan:
    """Spreads the items of all sources over units, in an order that the seed decides.

    Raises:
        PrepareError: there is nothing to prepare, or two sources or items have the same name.
    """
    twice = [name for name, count in Counter(source.name for source in sources).items() if count > 1]
    if twice:
        raise PrepareError(f"Two of the sources are called {twice[0]!r}; leave one of them out.")
    people = {name: replace(who, split=split_of(who, choice.split)) for name, who in joined(sources).items()}
    chosen = [*_chosen(sources, "voice", choice), *_chosen(sources, "face", choice)]
    entries = [Entry(key, item, people[item.identity]) for key, item in zip(_keys(chosen), chosen, strict=True)]
    portraits = _digest_of_portraits(entries)
    units = []
    for kind, folder in FOLDER_OF.items():
        of_kind = tuple(entry for entry in entries if entry.item.kind == kind)
        size = choice.shard_items or UNIT_ITEMS[kind]
        for number, start in enumerate(range(0, len(of_kind), size)):
            units.append(Unit.of(f"{folder}/{number:06d}.tar", of_kind[start : start + size], settings, portraits))
    if not units:
        raise PrepareError("The sources have no voices and no faces.")
    return Plan(sources, choice, settings, people, units)


def _digest_of_portraits(entries: list[Entry]) -> str:
    """Of all portraits: each may be left out for another that is the same picture."""
    digest = hashlib.sha256(str(portrait.RECIPE).encode())
    for entry in entries:
        if entry.item.content == "portrait":
            digest.update(repr(entry).encode())
    return digest.hexdigest()


def _chosen(sources: Sequence[Source], kind: str, choice: Choice) -> list[Item]:
    """The items of a kind, mixed."""
    of_kind = ((item for item in source.items if item.kind == kind) for source in sources)
    items = [item for some in of_kind for item in islice(some, choice.limit)]
    items.sort(key=lambda item: _place(choice.seed, item))
    most = choice.voices_per_identity if kind == "voice" else choice.faces_per_identity
    if most is None:
        return items
    seen: Counter[str] = Counter()
    kept = []
    for item in items:
        seen[item.identity] += 1
        if seen[item.identity] <= most:
            kept.append(item)
    return kept


def _place(seed: int, item: Item) -> bytes:
    """A place in the order of the items that does not depend on the others."""
    return hashlib.sha256(f"{seed} {item.source} {item.name}".encode()).digest()


def _keys(items: list[Item]) -> list[str]:
    """Readable keys that differ: a hash is added where two would be the same, or one too long."""
    plain = [_plain_key(item) for item in items]
    count = Counter(plain)
    keys = []
    for key, item in zip(plain, items, strict=True):
        if count[key] > 1 or len(key) > KEY_LENGTH:
            digest = hashlib.sha256(f"{item.kind} {item.source} {item.view} {item.name}".encode()).hexdigest()[:10]
            key = f"{key[: KEY_LENGTH - 11]}-{digest}"
        keys.append(key)
    twice = next((key for key, number in Counter(keys).items() if number > 1), None)
    if twice is not None:
        name = items[keys.index(twice)].name
        raise PrepareError(f"Two items of a source have the same name, {name!r}; rename or remove one of the files.")
    return keys


def _plain_key(item: Item) -> str:
    known = item.kind == "voice" or item.view in ("photo", VIEW) or item.name.endswith(item.view)
    view = "" if known else f"-{item.view}"
    return re.sub(r"[^A-Za-z0-9_-]", "_", f"{item.source}-{item.name}{view}")
