"""LibriSpeech (Panayotov et al. 2015): read English, by speaker and chapter."""

from __future__ import annotations

import re
from pathlib import Path

from s2f_train.data.items import Identity, Item, Place, Source, SourceError
from s2f_train.prepare.sources import scan

LAYOUT = "SUBSET/SPEAKER/CHAPTER/SPEAKER-CHAPTER-0000.flac, with SPEAKERS.TXT in it or above it"

_CLIP = re.compile(r"([0-9]+)-[0-9]+-[0-9]+")


def librispeech(root: Path) -> Source:
    """The recordings; identities are "librispeech-1688" and so on.

    Args:
        root: LibriSpeech, the folder that holds it, or one of its subsets.

    Raises:
        SourceError: there are no such recordings, or SPEAKERS.TXT is missing or another file.
    """
    base = scan.folder(root, LAYOUT)
    found: dict[str, Item] = {}
    strange, twins, lists = [], [], []
    for path in scan.files(base, (".flac", "speakers.txt")):
        name = path.rpartition("/")[2]
        if name.lower() == "speakers.txt":
            lists.append(Path(base, path))
            continue
        clip = name.rpartition(".")[0]
        match = _CLIP.fullmatch(clip)
        if not match:
            strange.append(path)
        elif clip in found:
            twins.append(path)
        else:
            person = f"librispeech-{match[1]}"
            found[clip] = Item("voice", "librispeech", person, clip, Place(f"{base}/{path}"), "sound")
    if not found:
        raise scan.nothing_found(base, LAYOUT)
    lists += [above / "SPEAKERS.TXT" for above in Path(base).parents[:2] if (above / "SPEAKERS.TXT").is_file()]
    if not lists:
        raise SourceError(
            f"There is no SPEAKERS.TXT in {root}, nor in the two folders above it. It tells the genders, and every "
            "archive of LibriSpeech has it: copy it there."
        )
    people = _speakers(lists[0])
    unknown = {item.identity for item in found.values()} - people.keys()
    notes = [
        *scan.note("Speakers without a row in SPEAKERS.TXT, taken without gender", unknown),
        *scan.note("Recordings there twice (taken: the first by path)", twins),
        *scan.note("Recordings that are not named SPEAKER-CHAPTER-0000, left out", strange),
    ]
    return scan.source("librispeech", found.values(), people, notes)


def _speakers(path: Path) -> dict[str, Identity]:
    people = {}
    for line in scan.text_lines(path):
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) >= 4 and cells[0].isdecimal():
            name = f"librispeech-{cells[0]}"
            people[name] = Identity(name, scan.GENDERS.get(cells[1].lower(), ""))
    if not people:
        raise SourceError(f"{path} has no lines such as '14 | F | train-clean-360 | 25.03 | Kristin LeMoine'.")
    return people
