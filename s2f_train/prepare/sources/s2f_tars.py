"""The tars of the folder that `S2F_DATA` names: AVSpeech with pictures, read speech, short clips, faces."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path
from statistics import fmean

from s2f_train.data.items import Gender, Identity, Item, Source, SourceError, Split, hash_split
from s2f_train.data.s2f_data import Clip, clips
from s2f_train.prepare.sources import scan
from s2f_train.prepare.sources.avspeech import view_of
from s2f_train.prepare.sources.utkface import utkface

LAYOUT = "data/ with avspeech/, librispeech/ and voices/ (each clips.csv and a tar) and utkface/utkface96.tar"
GENDERS: dict[bool | None, Gender] = {True: "m", False: "f", None: ""}


def s2f_tars(root: Path) -> list[Source]:
    """A source for AVSpeech, for LibriSpeech, for each corpus in voices, and for UTKFace.

    Identities are the speakers of `s2f_data.clips`. AVSpeech's dev split is its test split here.

    Args:
        root: the folder that holds `data/`.

    Raises:
        SourceError: a file is missing or cannot be read, or a tar and its clips.csv have nothing in common.
    """
    scan.folder(root, LAYOUT)
    try:
        found = clips(root)
        ages = {}
        for folder in dict.fromkeys(clip.archive.parent for clip in found):
            ages.update(_ages(folder / "clips.csv"))
    except OSError as error:
        raise SourceError(f"{error.filename} cannot be read: {error.strerror}. {root} needs {LAYOUT}.") from None
    except (KeyError, TypeError, ValueError) as error:
        raise SourceError(f"A clips.csv in {root / 'data'} lacks a column or a value: {error}.") from None
    known = _identities(found, ages)
    of_archive = defaultdict(list)
    for clip in found:
        of_archive[clip.archive].append(clip)
    sources = [source for archive, held in of_archive.items() for source in _sources(archive, held, known)]
    return [*sources, utkface(root / "data" / "utkface" / "utkface96.tar")]


def _ages(path: Path) -> dict[str, float]:
    """Clip -> age where it is known."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = [(row["clip"], row.get("age_face") or row.get("age")) for row in csv.DictReader(file)]
    return {clip: float(age) for clip, age in rows if age}


def _identities(found: list[Clip], ages: dict[str, float]) -> dict[str, Identity]:
    said = defaultdict(list)
    for clip in found:
        said[clip.speaker].append(clip)
    known = {}
    for name, held in said.items():
        genders = {clip.male for clip in held} - {None}
        gender = GENDERS[genders.pop()] if len(genders) == 1 else ""  # two in one video may be two people
        years = [ages[clip.name] for clip in held if clip.name in ages]
        known[name] = Identity(name, gender, round(fmean(years), 1) if years else None, _split(held[0]))
    return known


def _split(clip: Clip) -> Split | None:
    if clip.corpus != "avspeech":
        return None
    if clip.dev:
        return "test"
    return "valid" if hash_split(clip.speaker) == "valid" else "train"


def _sources(archive: Path, held: list[Clip], known: dict[str, Identity]) -> list[Source]:
    """The sources of a tar: one for each corpus in it."""
    by_name = {clip.name: clip for clip in held}
    items: dict[str, list[Item]] = {clip.corpus: [] for clip in held}
    strays: list[str] = []
    heard: set[str] = set()
    for path, place in scan.tar_files(archive, (".ogg", *scan.PICTURES)):
        file = path.rpartition("/")[2]
        stem = file.rpartition(".")[0]
        name, view, content = view_of(file)
        clip = by_name.get(stem if file.endswith(".ogg") else name)
        if clip is None:
            strays.append(path)
        elif file.endswith(".ogg"):
            heard.add(stem)
            pair = stem if clip.corpus == "avspeech" else ""
            items[clip.corpus].append(Item("voice", clip.corpus, clip.speaker, stem, place, "sound", clip=pair))
        else:
            items[clip.corpus].append(Item("face", clip.corpus, clip.speaker, stem, place, content, view, name))
    if not heard:
        raise SourceError(f"{archive} has no recording of a row of its clips.csv. Needed is {LAYOUT}.")
    notes = {
        corpus: scan.note("Rows without a recording", {clip.name for clip in held if clip.corpus == corpus} - heard)
        for corpus in items
    }
    notes[held[0].corpus] += scan.note(f"Files in {archive.name} without a row, left out", strays)
    return [scan.source(corpus, found, known, notes[corpus]) for corpus, found in items.items()]
