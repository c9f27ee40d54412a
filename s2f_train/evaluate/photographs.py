"""Photographs to hold made faces against: portraits that a store keeps out of training, or a folder of pictures."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from s2f_train.data.frame import SIDE, VIEW
from s2f_train.data.remote import is_remote
from s2f_train.data.store import Sample, Store
from s2f_train.evaluate.framing import Framer
from s2f_train.evaluate.progress import each
from s2f_train.evaluate.subjects import StoredPictures, some
from s2f_train.evaluate.systems import SUFFIXES, EvaluateError
from s2f_train.evaluate.tables import Picture
from s2f_train.prepare.align import PictureError, read_picture

PREFIX = "portraits-"  # of a store's data sets of portraits
MOST = 300  # photographs of a set
FEWEST = 10  # a smaller set says nothing alone


@dataclass(frozen=True)
class PhotographSet:
    """Faces of one origin, on the frame of portraits.

    Attributes:
        name: such as "congress", or "congress+members".
        pictures: uint8 (256, 256, 3), each.
        person: whose each is.
    """

    name: str
    pictures: list[Picture]
    person: list[str]


@dataclass(frozen=True)
class Photographs:
    """What is there.

    Attributes:
        sets: that count as photographs.
        others: that do not, since the user named the sets that do.
        notes: sentences on what was left out.
        origin: where they are from, for the report.
    """

    sets: list[PhotographSet]
    others: list[PhotographSet]
    notes: list[str]
    origin: str

    @property
    def facts(self) -> dict[str, object]:
        """For the report: where they are from, and how many are in each set."""
        return {"photographs": {"from": self.origin, **{one.name: len(one.pictures) for one in self.sets}}}


def open_photographs(
    place: str, wanted: Sequence[str] = (), seed: int = 0, store_cache: Path = Path("runs/cache")
) -> Photographs:
    """Reads photographs, at most `MOST` of a set, chosen by the seed.

    Args:
        place: a store with faces of view "portrait", of which those outside of the split `train` are taken, a set for
            each data set; or a folder of pictures, a set for each folder in it, or for each `source` of a `faces.csv`
            (name, source) beside the pictures. A folder has no splits: all of it must be kept from training.
        wanted: sets that count as photographs; "A+B" joins two. None: all, each alone.

    Raises:
        EvaluateError: there are none, or none of a name that is wanted.
        StoreError: the store cannot be read.
    """
    if is_remote(place) or (Path(place) / "store.json").is_file():
        store = Store.open(place, store_cache)
        found, people, origin = _of_store(store)
        notes: list[str] = []
        taken = {name: some(np.random.default_rng([seed, 41]), samples, MOST) for name, samples in found.items()}
        whole = {
            name: PhotographSet(name, list(_on_frame(store, samples)), [people[s.key] for s in samples])
            for name, samples in taken.items()
        }
    else:
        files = _of_folder(Path(place))
        origin, notes = "pictures of a folder, which the user keeps from training", []
        whole = {
            name: _framed(name, some(np.random.default_rng([seed, 41]), paths, MOST), notes)
            for name, paths in files.items()
        }
    return _chosen(place, whole, wanted, notes, origin)


def _chosen(
    place: str, whole: dict[str, PhotographSet], wanted: Sequence[str], notes: list[str], origin: str
) -> Photographs:
    sets, used = [], set()
    for name in wanted or sorted(whole):
        parts = name.split("+") if wanted else [name]
        if missing := [part for part in parts if part not in whole]:
            raise EvaluateError(f"{place} has no set of photographs {missing[0]!r}; it has {', '.join(sorted(whole))}.")
        used.update(parts)
        pictures = [picture for part in parts for picture in whole[part].pictures]
        sets.append(PhotographSet(name, pictures, [who for part in parts for who in whole[part].person]))
    kept = [one for one in sets if len(one.pictures) >= FEWEST]
    small = [one for one in sets if len(one.pictures) < FEWEST]
    notes = [*notes, *(f"{s.name} has {len(s.pictures)} photographs; under {FEWEST}, it is left out." for s in small)]
    if not kept:
        raise EvaluateError(f"{place}: no set has {FEWEST} photographs. {' '.join(notes)}".strip())
    others = [one for name, one in sorted(whole.items()) if name not in used and len(one.pictures) >= FEWEST]
    return Photographs(kept, others, notes, origin)


def _of_store(store: Store) -> tuple[dict[str, list[Sample]], dict[str, str], str]:
    found: dict[str, list[Sample]] = {}
    splits = set()
    for face in store.faces:
        split = str(store.identities[face.identity].split)
        if face.view == VIEW and split != "train":
            found.setdefault(face.source.removeprefix(PREFIX), []).append(face)
            splits.add(split)
    if not found:
        views = ", ".join(sorted({face.view for face in store.faces})) or "none"
        raise EvaluateError(
            f"{store.folder} has no faces of view {VIEW!r} outside of the split train (its views are {views}); prepare "
            "a store with portraits, or give --photographs a folder of pictures."
        )
    people = {face.key: face.identity for faces in found.values() for face in faces}
    return found, people, f"portraits of the store's {' and '.join(sorted(splits))} split"


def _on_frame(store: Store, samples: list[Sample]) -> Iterator[Picture]:
    """A store's portraits lie on the frame; of another size they are brought to it."""
    framer = None
    for picture in StoredPictures(store, samples):
        if picture.shape[:2] == (SIDE, SIDE):
            yield picture
        else:
            framer = framer or Framer()
            yield framer(picture)[0]


def _of_folder(folder: Path) -> dict[str, list[Path]]:
    if not folder.is_dir():
        raise EvaluateError(f"{folder} is neither a store nor a folder of photographs.")
    said: dict[str, str] = {}
    table = folder / "faces.csv"
    if table.is_file():
        with table.open(newline="", encoding="utf-8") as file:
            said = {row["name"]: row["source"] for row in csv.DictReader(file) if row.get("name") and row.get("source")}
    found: dict[str, list[Path]] = {}
    for path in sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES):
        below = path.relative_to(folder).parts[:-1]
        found.setdefault(said.get(path.stem) or (below[0] if below else folder.resolve().name), []).append(path)
    if not found:
        raise EvaluateError(f"{folder} holds no pictures ({', '.join(SUFFIXES)}) and is no store.")
    return found


def _framed(name: str, paths: list[Path], notes: list[str]) -> PhotographSet:
    framer, pictures, person = Framer(), [], []
    for path in each(paths, f"photographs: {name}", len(paths)):
        try:
            frame, found = framer(read_picture(path.read_bytes()))
        except PictureError as error:
            raise EvaluateError(f"{path}: {error}") from None
        if found:  # a photograph without a face is none of a face
            pictures.append(frame)
            person.append(str(path))
    if len(pictures) < len(paths):
        notes.append(f"{name}: no face was found in {len(paths) - len(pictures)} of {len(paths)} photographs.")
    return PhotographSet(name, pictures, person)
