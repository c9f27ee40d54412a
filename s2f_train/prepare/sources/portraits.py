"""Portraits: large pictures of heads in a folder or a tar, with what a CSV says of them."""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

from s2f_train.data.frame import VIEW
from s2f_train.data.items import Gender, Identity, Item, Place, Source, SourceError
from s2f_train.prepare.sources import scan

NAME = "portraits"
LAYOUT = "pictures (jpg, png or webp), or an uncompressed tar of them"
COLUMNS = "name (of the file, without its ending), and source, gender (m or f), age, identity as far as they are known"
_PERSON = ("identity", "person")


@dataclass(frozen=True)
class _Row:
    """What the CSV says of a picture."""

    source: str = ""
    gender: Gender = ""
    age: float | None = None
    person: str = ""


@dataclass
class _Table:
    """The rows of the CSV by name, and the names of those with something that is left out."""

    rows: dict[str, _Row] = field(default_factory=dict)
    twice: list[str] = field(default_factory=list)
    strange: list[str] = field(default_factory=list)


def portraits(root_or_tar: Path, table: Path | None = None) -> list[Source]:
    """The portraits, a source for each value of the CSV's column `source`: "synth" is called "portraits-synth".

    Each is its own identity unless the CSV says who it is, in a column `identity` or `person`.

    Args:
        root_or_tar: a folder, with folders in it or not, or an uncompressed tar, which is read in place.
        table: a CSV with `COLUMNS`. None: the only one with a column `name` in the folder, or beside the tar, if there
            is one.

    Raises:
        SourceError: there are no pictures, the tar cannot be read, or the CSV cannot be, or has no column `name`.
    """
    pictures = list(_pictures(root_or_tar))
    if not pictures:
        raise scan.nothing_found(str(root_or_tar), LAYOUT)
    notes: list[str] = []
    if table is None:
        beside = _tables(root_or_tar if root_or_tar.is_dir() else root_or_tar.absolute().parent)
        table = beside[0] if len(beside) == 1 else None
        if len(beside) > 1:
            notes += scan.note("CSVs of which none was taken; --portraits-csv names one", [p.name for p in beside])
    known = _read(table) if table else _Table()
    items, people, without, used = _items(pictures, known)
    if table:
        notes += [
            *scan.note(f"Pictures without a row in {table.name}, taken", without),
            *scan.note(f"Rows of {table.name} without a picture", known.rows.keys() - used),
            *scan.note(f"Rows of {table.name} given again, left out", known.twice),
            *scan.note(f"Rows of {table.name} with a gender or age that is none, taken without", known.strange),
        ]
    first = min(items)
    return [scan.source(name, items[name], people, notes if name == first else ()) for name in sorted(items)]


def _items(
    pictures: list[tuple[str, Place]], known: _Table
) -> tuple[dict[str, list[Item]], dict[str, Identity], list[str], set[str]]:
    """By source; the people; the pictures without a row; the names of the rows that have a picture."""
    names = scan.Names()
    items: dict[str, list[Item]] = defaultdict(list)
    said: dict[str, list[_Row]] = defaultdict(list)
    without, used = [], set()
    for path, place in pictures:
        whole = path.rpartition(".")[0]
        given = next((name for name in (whole, whole.rpartition("/")[2]) if scan.plain(name) in known.rows), None)
        row = known.rows[scan.plain(given)] if given is not None else _Row()
        if given is None:
            without.append(path)
        else:
            used.add(scan.plain(given))
        name = names.of(path)
        person = row.person or f"{NAME}-{scan.plain(name)}"
        said[person].append(row)
        source = _source_name(row.source)
        items[source].append(Item("face", source, person, name, place, "portrait", VIEW))
    return items, {person: _identity(person, rows) for person, rows in said.items()}, without, used


def _source_name(said: str) -> str:
    said = said or NAME
    return said if said == NAME or said.startswith(f"{NAME}-") else f"{NAME}-{said}"


def _identity(name: str, rows: list[_Row]) -> Identity:
    genders = {row.gender for row in rows if row.gender}
    ages = [row.age for row in rows if row.age is not None]
    # Rows that do not agree may be two people.
    return Identity(name, genders.pop() if len(genders) == 1 else "", round(fmean(ages), 1) if ages else None)


def _pictures(root_or_tar: Path) -> Iterator[tuple[str, Place]]:
    if root_or_tar.is_file():
        for path, place in scan.tar_files(root_or_tar, scan.PICTURES):
            yield path.removeprefix("./"), place
        return
    base = scan.folder(root_or_tar, LAYOUT)
    for path in scan.files(base, scan.PICTURES):
        yield path, Place(f"{base}/{path}")


def _tables(folder: Path) -> list[Path]:
    """The CSVs of a folder that have a column `name`."""
    found = []
    for path in sorted(folder.glob("*.csv")):
        try:
            if not path.name.startswith(".") and "name" in _columns(path):
                found.append(path)
        except SourceError:  # another file of theirs
            continue
    return found


def _columns(path: Path) -> list[str]:
    return next(csv.reader(scan.text_lines(path)), [])


def _read(path: Path) -> _Table:
    table = _Table()
    if "name" not in _columns(path):
        raise SourceError(f"{path} has no column 'name' in its first line. Needed are the columns {COLUMNS}.")
    try:
        for row in csv.DictReader(scan.text_lines(path)):
            cells = {column: (row.get(column) or "").strip() for column in ("name", "source", "gender", "age")}
            name = scan.plain(cells["name"])
            if not name:
                continue
            if name in table.rows:
                table.twice.append(name)
                continue
            person = next((who for column in _PERSON if (who := (row.get(column) or "").strip())), "")
            gender, age = scan.GENDERS.get(cells["gender"].lower(), ""), _age(cells["age"])
            if (cells["gender"] and not gender) or (cells["age"] and age is None):
                table.strange.append(name)
            table.rows[name] = _Row(scan.plain(cells["source"]), gender, age, scan.plain(person))
    except csv.Error as error:
        raise SourceError(f"{path} cannot be read as CSV: {error}.") from None
    return table


def _age(text: str) -> float | None:
    try:
        age = float(text)
    except ValueError:
        return None
    return age if math.isfinite(age) and age >= 0 else None
