"""One unit of a plan -> one shard and its index."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s2f_train.data.store import read_lines
from s2f_train.prepare import talking_head
from s2f_train.prepare.item import Entry, Prepared, PrepareSettings, Skipped
from s2f_train.prepare.worker import ItemWorker, PrepareError

RECIPE = 1  # raise it when the same item with the same settings becomes something else
BATCH = 16  # items that a worker process is asked for at once
LOST_SHARE = 0.5  # when more files than this cannot even be opened, it is the disk that is gone
PART = ".part"  # how files end that are being written

Tick = Callable[[int, float, int], None]  # items done, seconds of speech in them, how many of them are skipped


@dataclass(frozen=True)
class Unit:
    """The entries of one shard, such as "voices/000000.tar"."""

    shard: str
    entries: tuple[Entry, ...]
    digest: str  # of all that the shard depends on, but for the content of the files

    @property
    def has_portraits(self) -> bool:
        return any(entry.item.content == "portrait" for entry in self.entries)

    @classmethod
    def of(cls, shard: str, entries: tuple[Entry, ...], settings: PrepareSettings, portraits: str = "") -> Unit:
        """`portraits`: a digest of all of the plan, on which a shard depends that has some."""
        rules: list[Any] = [RECIPE, settings.of_kind(entries[0].item.kind)]
        if any(entry.item.content == "portrait" for entry in entries):
            rules += [portraits, "mouths"] if settings.landmarker else [portraits]
        if any(entry.item.content == "talk" for entry in entries):
            rules.append(talking_head.RECIPE)
        rule = json.dumps(rules, sort_keys=True)
        digest = hashlib.sha256(rule.encode())
        for entry in entries:
            # As a dataclass writes itself under this older name: the digests of stores that exist hold it.
            digest.update(repr(entry).replace("Entry(", "Job(", 1).encode())
        return cls(shard, entries, digest.hexdigest()[:32])


def make_unit(unit: Unit, folder: Path, worker: ItemWorker, tick: Tick) -> None:
    """Writes the shard and, when it is whole, its index.

    Raises:
        PrepareError: it cannot be written, the source files are gone, or a package is missing.
        StoppedError: the worker was stopped.
    """
    shard = folder / unit.shard
    index = shard.with_suffix(".jsonl")
    mark = uuid.uuid4().hex[:8]
    new_shard, new_index = (path.with_name(f".{path.name}.{mark}{PART}") for path in (shard, index))
    try:
        made = _write_shard(unit, new_shard, worker, tick)
        _write_index(unit, made, new_shard, new_index)
        _publish(shard, new_shard, new_index)
    except ModuleNotFoundError as error:
        raise PrepareError(f"{error}. It comes with: pip install -e '.[train]'") from None
    except OSError as error:
        raise PrepareError(
            f"{shard} cannot be written: {error.strerror or error}. What is finished stays; fix that and run "
            "the same command again."
        ) from None
    finally:
        new_shard.unlink(missing_ok=True)
        new_index.unlink(missing_ok=True)


def _write_shard(unit: Unit, path: Path, worker: ItemWorker, tick: Tick) -> list[Prepared | Skipped]:
    """Returns what became of each entry, without the bytes."""
    from webdataset.writer import TarWriter  # here, since it imports torch where that is installed

    results: list[Prepared | Skipped] = []
    with path.open("wb") as file:
        with TarWriter(file, user="s2f", group="s2f", mode=0o644, mtime=0, encoder=False) as tar:
            for start in range(0, len(unit.entries), BATCH):
                entries = unit.entries[start : start + BATCH]
                batch = worker.make(entries)
                for entry, made in zip(entries, batch, strict=True):
                    if isinstance(made, Prepared):
                        tar.write({"__key__": entry.key, **made.members})
                        made = Prepared({}, made.seconds, made.frames, made.cut)
                    results.append(made)
                good = [made for made in batch if isinstance(made, Prepared)]
                tick(len(batch), sum(made.seconds for made in good), len(batch) - len(good))
        file.flush()
        os.fsync(file.fileno())
    lost = [(entry, made) for entry, made in zip(unit.entries, results, strict=True) if _is_lost(made)]
    if len(lost) > LOST_SHARE * len(unit.entries):
        entry, first = lost[0]
        raise PrepareError(
            f"{len(lost)} of {len(unit.entries)} files for {unit.shard} cannot be opened, such as "
            f"{entry.item.place.path} ({first.why}). Is the data still there? Run the same command again when it is."  # type: ignore[union-attr]
        )
    return results


def _publish(shard: Path, new_shard: Path, new_index: Path) -> None:
    index = shard.with_suffix(".jsonl")
    index.unlink(missing_ok=True)  # so that it never stands beside another shard than its own
    new_shard.replace(shard)
    new_index.replace(index)


def leave_out(unit: Unit, folder: Path, why: dict[str, str]) -> None:
    """Takes samples out of a shard that is made; `why` is by their keys.

    Raises:
        OSError: it cannot be written.
    """
    shard = folder / unit.shard
    new_shard, new_index = (path.with_name(f".{path.name}{PART}") for path in (shard, shard.with_suffix(".jsonl")))
    _, *rows = read_lines(shard.with_suffix(".jsonl"))
    with tarfile.open(shard, "r:") as old, new_shard.open("wb") as file:
        with tarfile.open(fileobj=file, mode="w") as new:
            for member in old:
                if member.name.split(".", 1)[0] not in why:
                    new.addfile(member, old.extractfile(member))
        file.flush()
        os.fsync(file.fileno())
    results: list[Prepared | Skipped] = []
    for entry, row in zip(unit.entries, rows, strict=True):
        reason = row.get("why") or why.get(entry.key)
        results.append(Skipped(reason) if reason else Prepared({}, row["seconds"], row["frames"]))
    _write_index(unit, results, new_shard, new_index)
    _publish(shard, new_shard, new_index)


def _is_lost(made: Prepared | Skipped) -> bool:
    return isinstance(made, Skipped) and made.unreadable


def _write_index(unit: Unit, results: list[Prepared | Skipped], shard: Path, path: Path) -> None:
    good = [made for made in results if isinstance(made, Prepared)]
    head = {
        "unit": unit.digest,
        "bytes": shard.stat().st_size,
        "samples": len(good),
        "skipped": len(results) - len(good),
        "cut": sum(made.cut for made in good),
    }
    members = _members(shard)
    with path.open("w", encoding="utf-8") as file:
        file.write(json.dumps(head) + "\n")
        for entry, made in zip(unit.entries, results, strict=True):
            row = (
                _sample_row(entry, made, members[entry.key])
                if isinstance(made, Prepared)
                else _skipped_row(entry, made)
            )
            file.write(json.dumps(row) + "\n")
        file.flush()
        os.fsync(file.fileno())


def _members(shard: Path) -> dict[str, dict[str, tuple[int, int]]]:
    """Key -> extension -> (offset, bytes)."""
    found: dict[str, dict[str, tuple[int, int]]] = {}
    with tarfile.open(shard, "r:") as tar:
        for member in tar:
            key, extension = member.name.split(".", 1)
            found.setdefault(key, {})[extension] = (member.offset_data, member.size)
    return found


def _sample_row(entry: Entry, made: Prepared, members: dict[str, tuple[int, int]]) -> dict[str, Any]:
    return {
        "key": entry.key,
        "identity": entry.identity.name,
        "source": entry.item.source,
        "clip": entry.item.clip,
        "view": entry.view,
        "members": members,
        "seconds": made.seconds,
        "frames": made.frames,
    }


def _skipped_row(entry: Entry, skipped: Skipped) -> dict[str, Any]:
    return {"source": entry.item.source, "kind": entry.item.kind, "name": entry.item.name, "why": skipped.why}


def head_of(index: Path) -> dict[str, Any] | None:
    """The first line of an index; None where it is missing or can't be read."""
    try:
        with index.open(encoding="utf-8") as file:
            head = json.loads(file.readline())
    except (OSError, ValueError):
        return None
    return head if isinstance(head, dict) else None


def is_done(unit: Unit, folder: Path) -> bool:
    """Whether the shard is there, whole, and of this unit."""
    shard = folder / unit.shard
    head = head_of(shard.with_suffix(".jsonl"))
    return (
        head is not None
        and head.get("unit") == unit.digest
        and shard.is_file()
        and head.get("bytes") == shard.stat().st_size
    )
