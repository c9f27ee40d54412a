"""Talking heads: videos with sound, or beside sound, of one speaker each, with what CSVs say of them."""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from pathlib import Path

from s2f_train.data.items import Identity, Place, Source, SourceError, TalkItem
from s2f_train.prepare.face_mesh import networks_of
from s2f_train.prepare.sources import scan

NAME = "talk"
VIDEOS = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg")
SOUNDS = tuple(ending for ending in scan.SOUNDS if ending not in VIDEOS)
LAYOUT = (
    f"videos ({', '.join(ending[1:] for ending in VIDEOS)}), each with its sound inside or beside it in a file of the "
    "same name, or an uncompressed tar of them"
)
CLIP_COLUMNS = ("clip", "speaker")  # gender may be there
WORD_COLUMNS = ("clip", "start_s", "end_s", "word")

Words = dict[str, list[tuple[float, float, str]]]


def talking_heads(root_or_tar: Path, landmarker: Path, clips: Path | None = None, words: Path | None = None) -> Source:
    """The videos as a source; the speaker of a video is the CSV's, or itself.

    Args:
        root_or_tar: a folder, with folders in it or not, or an uncompressed tar, which is read in place.
        landmarker: face_landmarker.task of MediaPipe.
        clips: a CSV with the columns clip (name of the file without its ending) and speaker, and gender (m or f) where
            it is known. None: clips.csv beside the videos, if it is there.
        words: a CSV with the columns clip, start_s, end_s and word; "sil" is silence. None: words.csv, if it is there.

    Raises:
        SourceError: there are no videos, or a file cannot be read or is another.
    """
    networks_of(landmarker)
    beside = root_or_tar if root_or_tar.is_dir() else root_or_tar.absolute().parent
    videos, sounds = _files(root_or_tar)
    if not videos:
        raise scan.nothing_found(str(root_or_tar), LAYOUT)
    known, wrong = _clips(clips or _there(beside / "clips.csv"))
    spoken = _words(words or _there(beside / "words.csv"))
    names = scan.Names()
    items, without, used = [], [], set()
    for path, video in videos:
        stem = path.rpartition(".")[0]
        clip = next((name for name in (stem, stem.rpartition("/")[2]) if scan.plain(name) in known), None)
        name = names.of(path)
        if clip is None:
            without.append(path)
            speaker = f"{NAME}-{scan.plain(name)}"
        else:
            used.add(scan.plain(clip))
            speaker = known[scan.plain(clip)].name
        said = spoken.get(scan.plain(clip or stem.rpartition("/")[2]), [])
        place = sounds.get(stem, video)
        items.append(
            TalkItem(
                "voice", NAME, speaker, name, place, "talk", clip=name, video=video, words=tuple(sorted(said)),
                landmarker=str(landmarker.absolute()),
            )
        )  # fmt: skip
    people = {who.name: who for who in known.values()}
    notes = [
        *(scan.note("Videos without a row in the clips' CSV, each a speaker of its own", without) if known else []),
        *scan.note("Rows of the clips' CSV without a video", known.keys() - used),
        *scan.note("Speakers whose gender the CSV gives in two ways, taken without", wrong),
    ]
    return scan.source(NAME, items, people, notes)


def _there(path: Path) -> Path | None:
    return path if path.is_file() else None


def _files(root_or_tar: Path) -> tuple[list[tuple[str, Place]], dict[str, Place]]:
    """The videos, and the sounds by their path without its ending."""
    if root_or_tar.is_file():
        found = [(path.removeprefix("./"), place) for path, place in scan.tar_files(root_or_tar, VIDEOS + SOUNDS)]
    else:
        base = scan.folder(root_or_tar, LAYOUT)
        found = [(path, Place(f"{base}/{path}")) for path in scan.files(base, VIDEOS + SOUNDS)]
    videos = [(path, place) for path, place in found if path.lower().endswith(VIDEOS)]
    sounds = {path.rpartition(".")[0]: place for path, place in found if not path.lower().endswith(VIDEOS)}
    return videos, sounds


def _clips(table: Path | None) -> tuple[dict[str, Identity], list[str]]:
    """The speaker of each clip, and the names of those with two genders."""
    if table is None:
        return {}, []
    speakers, genders = {}, defaultdict(set)
    for row in _rows(table, CLIP_COLUMNS):
        speaker = scan.plain(row["speaker"].strip())
        if row["clip"] and speaker:
            speakers[scan.plain(row["clip"].strip())] = speaker
            genders[speaker].add(scan.GENDERS.get((row.get("gender") or "").strip().lower(), ""))
    said = {who: genders[who] - {""} for who in genders}
    people = {who: Identity(who, next(iter(said[who])) if len(said[who]) == 1 else "") for who in genders}
    return {clip: people[who] for clip, who in speakers.items()}, [who for who in said if len(said[who]) > 1]


def _words(table: Path | None) -> Words:
    words: Words = defaultdict(list)
    for row in _rows(table, WORD_COLUMNS) if table else ():
        try:
            start, end = float(row["start_s"]), float(row["end_s"])
        except ValueError:
            start = end = math.nan
        if not 0 <= start <= end < math.inf:
            raise SourceError(f"{table}: {row['clip']} has a word from {row['start_s']!r} to {row['end_s']!r} s.")
        words[scan.plain(row["clip"].strip())].append((start, end, row["word"].strip().lower()))
    return words


def _rows(table: Path, needed: tuple[str, ...]) -> list[dict[str, str]]:
    try:
        reader = csv.DictReader(scan.text_lines(table))
        missing = set(needed) - set(reader.fieldnames or ())
        if missing:
            raise SourceError(f"{table} has no column {', '.join(sorted(missing))}. Needed are {', '.join(needed)}.")
        return [{name: row[name] or "" for name in row if name} for row in reader]
    except csv.Error as error:
        raise SourceError(f"{table} cannot be read as CSV: {error}.") from None
