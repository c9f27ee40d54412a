"""The processed data that Wen et al. 2019 (Face Reconstruction from Voice using GANs) published."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from s2f_train.data.items import Identity, Item, Place, Source, SourceError
from s2f_train.prepare.sources import scan
from s2f_train.prepare.sources.voxceleb import VOX1_COLUMNS, read_meta

VOICES = "a folder for each speaker with log-mels: id10001/**/*.npy"
FACES = "a folder for each person with aligned pictures: A.J._Buckley/**/*.jpg"


def wen(fbank: Path, faces: Path, meta: Path) -> Source:
    """Normalised log-mels and aligned faces of the people who have both, as the published loader takes them.

    Args:
        fbank: holds id10001/**/*.npy (folders may also have names), each (frames, 64).
        faces: holds A.J._Buckley/**/*.jpg.
        meta: vox1_meta.csv, which gives the names of ids, and genders.

    Raises:
        SourceError: a folder lacks its files, the meta is not that of VoxCeleb1, or no one has both.
    """
    rows = read_meta(meta, VOX1_COLUMNS)
    voices, stray_voices = _items("voice", fbank, rows)
    pictures, stray_pictures = _items("face", faces, rows)
    heard, seen = {item.identity for item in voices}, {item.identity for item in pictures}
    both = heard & seen
    if not both:
        raise SourceError(
            f"No one has both voices and faces: voices are of {scan.some(heard)} and faces of {scan.some(seen)}. "
            f"Needed are the ids or names of {meta} as names of the folders."
        )
    notes = [
        *scan.note("People with voices and without faces, left out", heard - seen),
        *scan.note("People with faces and without voices, left out", seen - heard),
        *scan.note("Log-mels outside of a speaker's folder, left out", stray_voices),
        *scan.note("Faces outside of a person's folder, left out", stray_pictures),
    ]
    items = [item for item in voices + pictures if item.identity in both]
    return scan.source("wen", items, {row.name: row for row in rows.values()}, notes)


def _items(kind: Literal["voice", "face"], root: Path, rows: dict[str, Identity]) -> tuple[list[Item], list[str]]:
    """The items of a folder, and the files that are not in a folder of a person."""
    layout, endings = (VOICES, (".npy",)) if kind == "voice" else (FACES, scan.PICTURES)
    content: Literal["logmel", "aligned"] = "logmel" if kind == "voice" else "aligned"
    base = scan.folder(root, layout)
    names = scan.Names()
    items, outside = [], []
    for path in scan.files(base, endings):
        folder, below, _ = path.partition("/")
        if not below:
            outside.append(path)
            continue
        person = rows[folder].name if folder in rows else scan.plain(folder)
        items.append(Item(kind, "wen", person, names.of(path), Place(f"{base}/{path}"), content))
    if not items:
        raise scan.nothing_found(base, layout)
    return items, outside
