"""VoxCeleb 1 and 2 (Nagrani et al. 2017, Chung et al. 2018): recordings of celebrities, by id and video."""

from __future__ import annotations

import re
from pathlib import Path

from s2f_train.data.items import Identity, Item, Place, Source, SourceError
from s2f_train.prepare.sources import scan

ENDINGS = (".wav", ".m4a", ".flac")
LAYOUT = "idXXXXX/VIDEO/00001.wav (or .m4a, .flac), in any folders such as wav/ or dev/aac/"
VOX1_COLUMNS = ("VoxCeleb1 ID", "VGGFace1 ID")
VOX2_COLUMNS = ("VoxCeleb2 ID", "VGGFace2 ID")

_ID = re.compile(r"id[0-9]+")


def voxceleb1(root: Path, meta: Path) -> Source:
    """VoxCeleb1; identities by their names in VGGFace ("A.J._Buckley").

    Args:
        root: holds folders idXXXXX/VIDEO, with any folders above them.
        meta: vox1_meta.csv.

    Raises:
        SourceError: the folder has no such recordings, or the meta is not that of VoxCeleb1.
    """
    return _voxceleb("voxceleb1", root, meta, VOX1_COLUMNS)


def voxceleb2(root: Path, meta: Path) -> Source:
    """VoxCeleb2; identities by their names in VGGFace2 ("n000166"). Else as `voxceleb1`, with vox2_meta.csv."""
    return _voxceleb("voxceleb2", root, meta, VOX2_COLUMNS)


def _voxceleb(name: str, root: Path, meta: Path, columns: tuple[str, str]) -> Source:
    base = scan.folder(root, LAYOUT)
    rows = read_meta(meta, columns)
    found: dict[str, Item] = {}
    ids: set[str] = set()
    outside, twins = [], []
    for path in scan.files(base, ENDINGS):
        parts = path.split("/")
        at = next((i for i, part in enumerate(parts[:-1]) if _ID.fullmatch(part)), None)
        if at is None:
            outside.append(path)
            continue
        clip = "-".join(parts[at:]).rpartition(".")[0]
        if clip in found:
            twins.append(path)
            continue
        row = rows.get(parts[at])
        ids.add(parts[at])
        person = row.name if row else parts[at]
        found[clip] = Item("voice", name, person, clip, Place(f"{base}/{path}"), "sound")
    if not found:
        raise scan.nothing_found(base, LAYOUT)
    if not ids & rows.keys():
        raise SourceError(
            f"None of the folders of {root}, {scan.some(ids)}, has a row in {meta}, which has "
            f"{scan.some(rows.keys())}. Is it the file of the other VoxCeleb?"
        )
    notes = [
        *scan.note(f"Folders without a row in {meta.name}, taken without gender", ids - rows.keys()),
        *scan.note(f"Rows of {meta.name} without a recording", rows.keys() - ids),
        *scan.note("Recordings there twice (taken: the first by path)", twins),
        *scan.note("Recordings outside of folders idXXXXX, left out", outside),
    ]
    return scan.source(name, found.values(), {row.name: row for row in rows.values()}, notes)


def read_meta(meta: Path, columns: tuple[str, str]) -> dict[str, Identity]:
    """Id -> identity, from vox1_meta.csv or vox2_meta.csv.

    Args:
        meta: with commas or tabs; cells may be padded.
        columns: the names of the columns of the id and of the identity.

    Raises:
        SourceError: it cannot be read, or lacks a column.
    """
    lines = scan.text_lines(meta)
    first = next(lines, "")
    separator = "," if "," in first else "\t"  # tabs may also pad
    header = [cell.strip() for cell in first.split(separator)]
    needed = (*columns, "Gender")
    missing = [column for column in needed if column not in header]
    if missing:
        raise SourceError(
            f"{meta} has no column {', '.join(missing)}: its first line is {first.strip()[:100]!r}. "
            f"Needed are {', '.join(needed)}, separated by tabs or commas."
        )
    at = [header.index(column) for column in needed]
    rows = {}
    for line in lines:
        cells = [cell.strip() for cell in line.split(separator)]
        if len(cells) <= max(at):
            continue  # an empty line at the end
        id_, name, gender = (cells[i] for i in at)
        name = scan.plain(name) or id_
        rows[id_] = Identity(name, scan.GENDERS.get(gender.lower(), ""))
    if not rows:
        raise SourceError(f"{meta} has no rows below its header; was its download cut off?")
    return rows
