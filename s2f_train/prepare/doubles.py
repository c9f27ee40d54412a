"""Portraits that are there twice: found when all are made, so that it does not matter who made which."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s2f_train.data.frame import VIEW
from s2f_train.data.items import Place
from s2f_train.data.store import Sample, read_index
from s2f_train.prepare.align import Picture, read_picture
from s2f_train.prepare.fingerprint import look_the_same, near_pairs
from s2f_train.prepare.unit import Unit, leave_out


@dataclass(frozen=True)
class _Made:
    """A portrait in a shard."""

    sample: Sample
    place: Path
    facts: dict[str, Any]

    @property
    def rank(self) -> tuple[float, bool, str, str]:
        """Sort key of equal pictures, of which the least is kept: enlarged least, of known gender, first by name."""
        facts = self.facts
        return round(facts["enlarged"], 1), not facts["gender"], facts["source"], facts["name"]

    def pixels(self) -> Picture:
        return read_picture(_read(self.place, self.sample, "jpg"))


def leave_out_doubles(units: Sequence[Unit], folder: Path) -> None:
    """Takes portraits out of their shards that are the same picture as another; the indices say which.

    Done again it changes nothing: those that are kept do not depend on those that are left out.

    Raises:
        OSError: a shard cannot be read or written.
        StoreError: an index is broken.
    """
    made = sorted(_portraits(units, folder), key=lambda one: one.rank)
    earlier: dict[int, list[int]] = defaultdict(list)
    for i, j in near_pairs([one.facts["fingerprint"] for one in made]):
        earlier[j].append(i)
    why: dict[str, dict[str, str]] = defaultdict(dict)
    gone: set[int] = set()
    for j, before in sorted(earlier.items()):
        for i in sorted(before):
            if i not in gone and look_the_same(made[i].pixels(), made[j].pixels()):
                gone.add(j)
                facts = made[i].facts
                why[made[j].sample.shard][made[j].sample.key] = (
                    f"doubled: the same picture as {facts['name']} of {facts['source']}"
                )
                break
    for unit in units:
        if unit.shard in why:
            leave_out(unit, folder, why[unit.shard])


def _portraits(units: Sequence[Unit], folder: Path) -> list[_Made]:
    return [
        _Made(sample, folder / unit.shard, json.loads(_read(folder / unit.shard, sample, "json")))
        for unit in units
        if unit.has_portraits
        for sample in read_index(folder, unit.shard)
        if sample.view == VIEW
    ]


def _read(shard: Path, sample: Sample, member: str) -> bytes:
    offset, size = sample.members[member]
    return Place(str(shard), offset, size).read()
