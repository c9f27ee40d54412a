"""VGGFace and VGGFace2 (Parkhi et al. 2015, Cao et al. 2018): pictures in a folder for each person."""

from __future__ import annotations

from pathlib import Path

from s2f_train.data.items import Item, Place, Source, SourceError
from s2f_train.prepare.sources import scan

LAYOUT = "a folder for each person, with pictures in it: A.J._Buckley/00001.jpg or n000166/0001_01.jpg"
SPLITS = {"train", "test", "val", "valid", "dev"}


def vggface(root: Path) -> Source:
    """Pictures; the identity is the name of the first folder below `root`.

    Raises:
        SourceError: there are no folders with pictures, or they are splits and not people.
    """
    base = scan.folder(root, LAYOUT)
    names = scan.Names()
    items, outside = [], []
    for path in scan.files(base, scan.PICTURES):
        person, below, _ = path.partition("/")
        if below:
            items.append(
                Item("face", "vggface", scan.plain(person), names.of(path), Place(f"{base}/{path}"), "picture")
            )
        else:
            outside.append(path)
    if not items:
        raise scan.nothing_found(base, LAYOUT)
    people = {item.identity for item in items}
    splits = sorted(person for person in people if person.lower() in SPLITS)
    if splits:
        raise SourceError(
            f"The folders of {root} are {', '.join(splits)}. Needed is {LAYOUT}: name one of them instead, such as "
            f"{root / splits[0]}, or link the people of all into one folder."
        )
    return scan.source("vggface", items, {}, scan.note("Pictures outside of a person's folder, left out", outside))
