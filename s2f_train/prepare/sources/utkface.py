"""UTKFace (Zhang et al. 2017): faces of unnamed people with age and gender."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from s2f_train.data.items import Gender, Identity, Item, Place, Source
from s2f_train.prepare.sources import scan

LAYOUT = "pictures age_gender_race_date.jpg (30_0_2_20170116174525125.jpg) or age_m_number.jpg (30_m_00001.jpg)"

_OFFICIAL = re.compile(r"([0-9]{1,3})_([01])_[0-4]_[0-9]+")
_COPY = re.compile(r"([0-9]{1,3})_([mf])_[0-9]+")
_GENDERS: dict[str, Gender] = {**scan.GENDERS, "0": "m", "1": "f"}


def utkface(root_or_tar: Path) -> Source:
    """The faces, each of them its own identity with gender and age.

    Args:
        root_or_tar: a folder, or an uncompressed tar, which is read in place.

    Raises:
        SourceError: it has no such pictures, or the tar cannot be read.
    """
    known, items = {}, []
    strange, twins = [], []
    for path, place in _pictures(root_or_tar):
        stem = _stem(path)
        person = f"utkface-{stem}"
        match = _OFFICIAL.fullmatch(stem) or _COPY.fullmatch(stem)
        if not match:
            strange.append(path)
        elif person in known:
            twins.append(path)
        else:
            known[person] = Identity(person, _GENDERS[match[2]], float(match[1]))
            items.append(Item("face", "utkface", person, stem, place, "picture"))
    if not items:
        raise scan.nothing_found(str(root_or_tar), LAYOUT, strange)
    notes = [
        *scan.note("Pictures without age, gender, race and date in the name, left out", strange),
        *scan.note("Pictures there twice (taken: the first by path)", twins),
    ]
    return scan.source("utkface", items, known, notes)


def _pictures(root_or_tar: Path) -> Iterator[tuple[str, Place]]:
    if root_or_tar.is_file():
        yield from scan.tar_files(root_or_tar, scan.PICTURES)
        return
    base = scan.folder(root_or_tar, f"{LAYOUT}, or such a tar")
    for path in scan.files(base, scan.PICTURES):
        yield path, Place(f"{base}/{path}")


def _stem(path: str) -> str:
    """Without ".jpg", ".jpg.chip.jpg" or ".chip.jpg"."""
    return path.rpartition("/")[2].partition(".")[0]
