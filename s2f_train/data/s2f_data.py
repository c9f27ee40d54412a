"""Reads the tars of the folder that `S2F_DATA` names: clips with speaker and gender, pictures, faces."""

from __future__ import annotations

import csv
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from s2f_train.data.items import hash_split

SURE = 0.8  # AVSpeech's genders come from a classifier: trusted above this on both pictures


@dataclass(frozen=True)
class Clip:
    """One recording of the data.

    Attributes:
        corpus: avspeech, librispeech, or one of the corpora in voices.
        name: the clip's file name without extension.
        speaker: unique over all corpora; for AVSpeech the video.
        male: True, False, or None where no trusted label exists.
        dev: whether it belongs to AVSpeech's dev split.
        archive: the tar that holds it.
    """

    corpus: str
    name: str
    speaker: str
    male: bool | None
    dev: bool
    archive: Path


def held_out(clip: Clip) -> bool:
    """Whether a speaker is kept from training: AVSpeech by its split, others by a hash of the name, as in a store."""
    return clip.dev if clip.corpus == "avspeech" else hash_split(clip.speaker) == "test"


def clips(root: Path) -> list[Clip]:
    """All clips of `root`, the folder that holds `data/`."""
    found = []
    data = root / "data"
    for row in _rows(data / "avspeech" / "clips.csv"):
        male = _sure_gender(float(row["p_male_face"]), float(row["p_male_photo"]))
        archive = data / "avspeech" / "avspeech.tar"
        found.append(Clip("avspeech", row["clip"], "avspeech-" + row["video"], male, row["split"] == "dev", archive))
    for folder in ("librispeech", "voices"):
        for row in _rows(data / folder / "clips.csv"):
            male = {"m": True, "f": False}.get(row["gender"])
            archive = data / folder / f"{folder}.tar"
            corpus = row.get("corpus", folder)
            found.append(Clip(corpus, row["clip"], f"{corpus}-{row['speaker']}", male, False, archive))
    return found


def sounds(clips: list[Clip]) -> Iterator[tuple[Clip, bytes]]:
    """Each clip with the bytes of its sound file; each tar is read once, in its order."""
    by_name = {clip.name: clip for clip in clips}
    for archive in dict.fromkeys(clip.archive for clip in clips):
        for name, sound in members(archive, ".ogg"):
            if name in by_name:
                yield by_name[name], sound


def members(archive: Path, suffix: str) -> Iterator[tuple[str, bytes]]:
    """(name without suffix, bytes) of each file in a tar whose name ends with `suffix`."""
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.isfile() and member.name.endswith(suffix):
                file = tar.extractfile(member)
                assert file is not None  # a regular file always has content
                yield Path(member.name).name.removesuffix(suffix), file.read()


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _sure_gender(on_face: float, on_photo: float) -> bool | None:
    if min(on_face, on_photo) > SURE:
        return True
    if max(on_face, on_photo) < 1.0 - SURE:
        return False
    return None
