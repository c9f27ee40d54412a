"""AVSpeech (Ephrat et al. 2018): stretches of YouTube videos in which one visible person speaks."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Literal

from s2f_train.data.items import Item, Place, Source, SourceError
from s2f_train.prepare.sources import scan

CLIPS = "sounds NAME.wav (or .m4a, .ogg ...) beside pictures NAME.jpg, NAME.photo.jpg, NAME.face.jpg, NAME.s2f.jpg"
RECORDINGS = "full recordings named by video, such as a1B2c3D4e5F.m4a"
ROW = "youtube id, start s, end s, x, y"
# What a second ending says of a picture; those of Speech2Face are normalised already.
VIEWS: dict[str, Literal["picture", "aligned"]] = {"photo": "picture", "face": "aligned", "s2f": "aligned"}

_CLIP = re.compile(r"([A-Za-z0-9_-]{11})_([0-9]+(?:\.[0-9]+)?)-([0-9]+(?:\.[0-9]+)?)")

Stretch = tuple[str, float, float]  # video, start and end in s, rounded to ms


def avspeech(root: Path, times: Path | None = None) -> Source:
    """Clips with their faces, or stretches of full recordings; identities are "avspeech-VIDEO".

    Args:
        root: holds, at any depth, clips VIDEO_START-END.wav with pictures of the same name, or with
            `times` recordings VIDEO.m4a. Clips may have other names; then their speaker is the name
            (with the folders above it) without a number at the end.
        times: the official csv of AVSpeech: youtube id, start s, end s, x, y, without a header.

    Raises:
        SourceError: there are no sounds, or none of the rows of `times` has one.
    """
    layout = RECORDINGS if times else CLIPS
    base = scan.folder(root, layout)
    sounds: dict[str, str] = {}
    pictures, twins = [], []
    for path in scan.files(base, scan.SOUNDS + scan.PICTURES):
        stem = path.rpartition(".")[0]
        key = stem.rpartition("/")[2] if times else _clip(stem)
        if path.lower().endswith(scan.PICTURES):
            pictures.append(path)
        elif key in sounds:
            twins.append(path)
        else:
            sounds[key] = path
    if not sounds:
        raise scan.nothing_found(base, layout)
    if times:
        voices, notes = _stretches(base, sounds, times)
    else:
        voices, notes = _clips(base, sounds), []
    faces = _faces(base, pictures, {_stretch(voice.clip): voice.clip for voice in voices} if times else {})
    heard, seen = {item.clip for item in voices}, {item.clip for item in faces}
    notes += [
        *scan.note("Clips without a picture", heard - seen),
        *scan.note("Clips with pictures and without a sound", seen - heard),
        *scan.note("Sounds there twice (taken: the first by path)", twins),
    ]
    return scan.source("avspeech", voices + faces, {}, notes)


def _clips(base: str, sounds: dict[str, str]) -> list[Item]:
    names = scan.Names()
    voices = []
    for clip, path in sounds.items():
        place = Place(f"{base}/{path}")
        voices.append(Item("voice", "avspeech", _identity(clip), names.of(path), place, "sound", clip=clip))
    return voices


def _stretches(base: str, recordings: dict[str, str], times: Path) -> tuple[list[Item], list[str]]:
    voices: dict[Stretch, Item] = {}
    used, without = set(), set()
    bad, rows, repeated = [], 0, 0
    for number, line in enumerate(scan.text_lines(times), 1):
        cells = [cell.strip() for cell in line.split(",")]
        clip = f"{cells[0]}_{cells[1]}-{cells[2]}" if len(cells) >= 3 else ""
        stretch = _stretch(clip)
        if stretch is None or not stretch[1] < stretch[2] < math.inf:
            bad.append(f"line {number}: {line.strip()[:60]!r}")
            continue
        rows += 1
        video, start, end = stretch
        if video not in recordings:
            without.add(video)
        elif stretch in voices:
            repeated += 1
        else:
            used.add(video)
            place = Place(f"{base}/{recordings[video]}", start=start, seconds=end - start)
            voices[stretch] = Item("voice", "avspeech", f"avspeech-{video}", clip, place, "sound", clip=clip)
    if not rows:
        raise SourceError(f"{times} has no rows '{ROW}': {bad[0] if bad else 'it is empty'}.")
    if not voices:
        raise SourceError(
            f"None of the {rows:,} rows of {times} has a recording in {base}: the rows are of videos "
            f"{scan.some(without)}, the recordings are {scan.some(recordings.keys())}. Needed are {RECORDINGS}."
        )
    notes = [
        *scan.note(f"Videos of {times.name} without a recording", without),
        *scan.note(f"Recordings without a row in {times.name}, left out", recordings.keys() - used),
        *scan.note(f"Lines of {times.name} that are not '{ROW}', left out", bad),
    ]
    if repeated:
        notes.append(f"Rows of {times.name} given again, left out: {repeated:,}.")
    return list(voices.values()), notes


def _faces(base: str, pictures: list[str], clips: dict[Stretch | None, str]) -> list[Item]:
    """The pictures as items; `clips` names a stretch where its numbers may be written in another way."""
    names = scan.Names()
    faces = []
    for path in pictures:
        stem, view, content = view_of(path)
        clip = _clip(stem)
        clip = clips.get(_stretch(clip), clip)
        place = Place(f"{base}/{path}")
        faces.append(Item("face", "avspeech", _identity(clip), names.of(path), place, content, view, clip))
    return faces


def view_of(path: str) -> tuple[str, str, Literal["picture", "aligned"]]:
    """(path without its endings, view, content) of a picture: NAME.face.jpg is (NAME, "face", "aligned")."""
    stem = path.rpartition(".")[0]
    name, _, view = stem.rpartition(".")
    if name and view.lower() in VIEWS:
        return name, view.lower(), VIEWS[view.lower()]
    return stem, "photo", VIEWS["photo"]


def _clip(stem: str) -> str:
    """The name of a clip: of the official form in any folder; any other may come again in another folder."""
    name = stem.rpartition("/")[2]
    return name if _CLIP.fullmatch(name) else stem.replace("/", "-")


def _identity(clip: str) -> str:
    match = _CLIP.fullmatch(clip)
    return f"avspeech-{match[1] if match else re.sub(r'(?<=.)_[0-9]+$', '', clip)}"


def _stretch(clip: str) -> Stretch | None:
    match = _CLIP.fullmatch(clip)
    return (match[1], round(float(match[2]), 3), round(float(match[3]), 3)) if match else None
