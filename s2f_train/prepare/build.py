"""Data sets -> one store (see `store`): make the shards of a plan that are missing, then say what it is."""

from __future__ import annotations

import json
import logging
import re
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from s2f_edge._version import __version__
from s2f_train.data.items import Identity
from s2f_train.data.store import FORMAT, KINDS, Sample, Store, read_index, read_lines
from s2f_train.prepare import store_report
from s2f_train.prepare.doubles import leave_out_doubles
from s2f_train.prepare.plan import Plan
from s2f_train.prepare.unit import PART, Unit, head_of, is_done
from s2f_train.prepare.worker import PrepareError

log = logging.getLogger(__name__)

SHARD_FILE = re.compile(r"\d{6,}\.(tar|jsonl)")

MakeUnits = Callable[[Sequence[Unit]], Generator[Unit, None, None]]


def missing(plan: Plan, folder: Path, replace_other: bool = False) -> list[Unit]:
    """The units whose shards must be made; shards of other plans are refused, or removed.

    Raises:
        PrepareError: shards of another plan are there.
        FileExistsError: the folder holds something that is no store.
    """
    check_is_store(folder)
    _sweep(folder)
    planned = {unit.shard: unit.digest for unit in plan.units}
    files = [path for kind in KINDS for path in folder.glob(f"{kind}/*") if SHARD_FILE.fullmatch(path.name)]
    found = {f"{path.parent.name}/{path.stem}.tar" for path in files}
    other = [shard for shard in sorted(found) if _is_other(folder / shard, planned.get(shard))]
    if other and not replace_other:
        raise PrepareError(
            f"{folder} holds {len(other)} shards (of {len(found)}) that these data, settings and seed do not make. "
            "Choose another --out; or add --replace, which removes those and keeps the rest."
        )
    for shard in other:
        (folder / "store.json").unlink(missing_ok=True)  # first, so that the store never looks whole
        (folder / shard).with_suffix(".jsonl").unlink(missing_ok=True)
        (folder / shard).unlink(missing_ok=True)
    return [unit for unit in plan.units if not is_done(unit, folder)]


def _is_other(shard: Path, planned: str | None) -> bool:
    """Whether it was made by another plan, and not only left unfinished by this one."""
    index = shard.with_suffix(".jsonl")
    return planned is None or (index.exists() and (head_of(index) or {}).get("unit") != planned)


def check_is_store(folder: Path) -> None:
    """Checks that `folder` has nothing in it that no store has (FileExistsError)."""
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder} is a file; choose a folder for the store.")
    ours = {"store.json", "identities.jsonl", "skipped.jsonl", store_report.NAME, *KINDS}
    strange = [path for path in folder.glob("*") if path.name not in ours]
    strange += [path for kind in KINDS for path in folder.glob(f"{kind}/*") if not SHARD_FILE.fullmatch(path.name)]
    strange = [path for path in strange if not path.name.startswith(".")]
    if strange:
        raise FileExistsError(f"{folder} is no store, since it holds {min(strange)}; choose another folder.")


def _sweep(folder: Path) -> None:
    """Removes what an interrupted run was writing."""
    for path in folder.glob(f"**/.*{PART}"):
        path.unlink(missing_ok=True)


def prepare(plan: Plan, folder: Path, make_units: MakeUnits, todo: Sequence[Unit]) -> Store:
    """Makes the units of `todo` (see `missing`) with an engine, and finishes the store.

    What is finished stays when this is interrupted; `missing` then gives the rest.

    Raises:
        PrepareError: something cannot be read or written at all.
    """
    try:
        for kind in KINDS:
            (folder / kind).mkdir(parents=True, exist_ok=True)
        if todo:
            (folder / "store.json").unlink(missing_ok=True)
            with closing(make_units(todo)) as units:  # closed before the sweep, whatever happens
                for unit in units:
                    log.debug("%s is written", unit.shard)
        leave_out_doubles(plan.units, folder)
        return _finish(plan, folder)
    except OSError as error:
        raise PrepareError(
            f"{folder} cannot be written: {error.strerror or error}. Fix that and run the same command again."
        ) from None
    finally:
        _sweep(folder)


def is_finished(plan: Plan, folder: Path) -> bool:
    """Whether the folder is the whole store of this plan, once nothing is missing."""
    try:
        facts = json.loads((folder / "store.json").read_text())
    except (OSError, ValueError):
        return False
    return bool(facts.get("plan") == plan.digest) and (folder / store_report.NAME).exists()


def _finish(plan: Plan, folder: Path) -> Store:
    """Writes what is known of the whole store; store.json last."""
    heads = {unit.shard: head_of((folder / unit.shard).with_suffix(".jsonl")) or {} for unit in plan.units}
    shards = {kind: [s for s, head in heads.items() if s.startswith(kind) and head["samples"]] for kind in KINDS}
    voices, faces = ([s for shard in shards[kind] for s in read_index(folder, shard)] for kind in KINDS)
    skipped = [row for shard in heads for row in read_lines((folder / shard).with_suffix(".jsonl")) if "why" in row]
    heard, seen = Counter(s.identity for s in voices), Counter(s.identity for s in faces)
    people = {name: who for name, who in sorted(plan.identities.items()) if heard[name] or seen[name]}
    if not people:
        most = Counter(row["why"] for row in skipped).most_common(1)[0][0]
        raise PrepareError(f"None of the {len(skipped):,} items can be used; the most frequent reason: {most}.")
    rows = [asdict(who) | {"voices": heard[name], "faces": seen[name]} for name, who in people.items()]
    facts = {
        "format": FORMAT,
        "made_by": f"s2f {__version__}",
        "plan": plan.digest,
        "settings": asdict(plan.choice) | asdict(plan.settings),
        "sources": _of_sources(plan, voices, faces, skipped),
        "shards": shards,
        "counts": {
            **_count(people.values(), voices, faces),
            "skipped": len(skipped),
            "cut": sum(head["cut"] for head in heads.values()),
            "bytes": sum(head["bytes"] for head in heads.values()),
            "splits": _by(lambda who: str(who.split), people, voices, faces),
            "genders": _by(lambda who: who.gender or "unknown", people, voices, faces),
        },
    }
    _write_lines(folder / "identities.jsonl", rows)
    _write_lines(folder / "skipped.jsonl", skipped)
    store = Store(folder, facts, people, voices, faces)
    store_report.write(store)
    _write(folder / "store.json", json.dumps(facts, indent=1) + "\n")
    return store


def _of_sources(plan: Plan, voices: list[Sample], faces: list[Sample], skipped: list[dict[str, Any]]) -> dict[str, Any]:
    rows = {}
    for source in plan.sources:
        mine = [[s for s in samples if s.source == source.name] for samples in (voices, faces)]
        who = {s.identity for s in mine[0] + mine[1]}
        rows[source.name] = {
            **_count([plan.identities[name] for name in who], *mine),
            "skipped": sum(row["source"] == source.name for row in skipped),
            "notes": list(source.notes),
        }
    return rows


def _by(
    group: Callable[[Identity], str], people: dict[str, Identity], voices: list[Sample], faces: list[Sample]
) -> dict[str, dict[str, Any]]:
    return {
        name: _count(
            [who for who in people.values() if group(who) == name],
            [s for s in voices if group(people[s.identity]) == name],
            [s for s in faces if group(people[s.identity]) == name],
        )
        for name in sorted({group(who) for who in people.values()})
    }


def _count(people: Collection[Identity], voices: list[Sample], faces: list[Sample]) -> dict[str, Any]:
    hours = sum(s.seconds for s in voices) / 3600
    return {"identities": len(people), "voices": len(voices), "faces": len(faces), "hours": round(hours, 4)}


def _write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    _write(path, "".join(json.dumps(row) + "\n" for row in rows))


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}{PART}")
    temporary.write_text(text)
    temporary.replace(path)
