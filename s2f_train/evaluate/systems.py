"""What is evaluated: faces that a pack makes, that lie in a folder, or that a store has as a view."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from s2f_edge import Speech2Face
from s2f_train.data.store import Sample, Store
from s2f_train.evaluate.hearing import Heard, face_of
from s2f_train.evaluate.subjects import StoredPictures
from s2f_train.evaluate.tables import Picture
from s2f_train.prepare.align import PictureError, read_picture

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
Kind = Literal["system", "reference", "baseline", "ceiling"]


class EvaluateError(ValueError):
    """An evaluation cannot be made of what was given."""


@dataclass(frozen=True)
class ComparisonSettings:
    """Whose faces are compared, and on whom.

    Attributes:
        store: a store's folder or address.
        packs: folders (None: the default pack) by the name that they have in the report.
        pictures: folders of pictures that other systems made, by name.
        references: views of the store that packs are set beside, such as "s2f".
        split, view, sources: which people, and which of their pictures are the real faces; no sources: all.
        photographs: a store with portraits or a folder of pictures that made faces are set beside; "": none.
        photograph_sets: which of its sets count as photographs, "A+B" as one; none: all.
        seed: of every choice, trial and order.
    """

    store: str
    packs: dict[str, Path | None] = field(default_factory=dict)
    pictures: dict[str, Path] = field(default_factory=dict)
    references: tuple[str, ...] = ()
    split: str = "test"
    view: str = "photo"
    sources: tuple[str, ...] = ()
    photographs: str = ""
    photograph_sets: tuple[str, ...] = ()
    seed: int = 0


@dataclass(frozen=True)
class System:
    """Someone's faces for the voices of an evaluation.

    Attributes:
        name: such as "default: general".
        kind: "system" is what is evaluated, "reference" what it is set beside.
        pictures: of each voice, or None.
        generator: of a pack: general, auto, male or female.
        trained_with: SHA-256 of networks that its training used.
    """

    name: str
    kind: Kind
    pictures: list[Picture | None]
    generator: str = ""
    trained_with: frozenset[str] = frozenset()

    @property
    def compared(self) -> bool:
        """Whether it is what the evaluation is about: no baseline and no ceiling."""
        return self.kind in ("system", "reference")

    @property
    def asked(self) -> bool:
        """Whether a gender was asked of it: what it makes shows the flag and not the voice."""
        return self.generator in ("male", "female")

    @property
    def there(self) -> NDArray[np.bool_]:
        """Which voices it has a picture for."""
        return np.array([picture is not None for picture in self.pictures], bool)

    def only(self, voices: NDArray[np.bool_]) -> System:
        return replace(self, pictures=[p for p, kept in zip(self.pictures, voices, strict=True) if kept])


def of_pack(model: Speech2Face, name: str, heard: list[Heard]) -> list[System]:
    """A system for each generator of a pack, and one for the choice by the voice."""
    generators = [*model.pack.manifest.generators]
    if model.pack.manifest.traits is not None and "general" in generators:
        generators.insert(1, "auto")
    used = hashes_in(model.pack.manifest.training)
    return [
        System(f"{name}: {generator}", "system", faces_of(model, heard, generator), generator, used)
        for generator in generators
    ]


def faces_of(model: Speech2Face, heard: list[Heard], generator: str) -> list[Picture | None]:
    """The face of each recording; None where it was refused."""
    return [None if one.refused else face_of(model, one, generator) for one in heard]


def main_generator(model: Speech2Face) -> str:
    """The generator that stands for a pack: general, or the first where there is none."""
    generators = list(model.pack.manifest.generators)
    return "general" if "general" in generators else generators[0]


def of_view(store: Store, view: str, voices: list[Sample]) -> System:
    """The pictures of a view of a store that belong to the clips of the voices.

    Raises:
        EvaluateError: none of the voices has one.
    """
    place = {face.clip: i for i, face in enumerate(store.faces) if face.view == view and face.clip}
    pictures = StoredPictures(store, store.faces)
    found = [pictures[place[v.clip]] if v.clip and v.clip in place else None for v in voices]
    if not any(picture is not None for picture in found):
        views = ", ".join(sorted({face.view for face in store.faces}))
        raise EvaluateError(f"{store.folder}: no voice has a picture of view {view!r} of its clip; its views: {views}.")
    return System(view, "reference", found)


def of_folder(folder: Path, name: str, voices: list[Sample]) -> System:
    """Pictures that another system made: NAME.png (jpg, webp), by the voice's clip or its key in the store.

    Raises:
        EvaluateError: the folder is missing, holds none for these voices or two for one, or a file is no picture.
    """
    if not folder.is_dir():
        raise EvaluateError(f"{folder} is no folder of pictures.")
    files: dict[str, Path] = {}
    for path in sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES):
        if path.stem in files:
            raise EvaluateError(f"{files[path.stem]} and {path} are of one clip; leave one of them.")
        files[path.stem] = path
    pictures: list[Picture | None] = []
    for voice in voices:
        place = files.get(voice.clip or voice.key) or files.get(voice.key)
        try:
            pictures.append(read_picture(place.read_bytes()) if place else None)
        except PictureError as error:
            raise EvaluateError(f"{place}: {error}") from None
    if not any(picture is not None for picture in pictures):
        wanted = ", ".join(f"{voice.clip or voice.key}.png" for voice in voices[:3])
        raise EvaluateError(
            f"{folder} has {len(files)} pictures and none for these voices. A picture is named after its clip or its "
            f"key in the store: {wanted}, ..."
        )
    return System(name, "system", pictures)


def hashes_in(facts: Any) -> frozenset[str]:
    """All SHA-256 that stand anywhere in a manifest's facts of training."""
    if isinstance(facts, str):
        is_hash = len(facts) == 64 and all(c in "0123456789abcdef" for c in facts)
        return frozenset([facts] if is_hash else [])
    if hasattr(facts, "values"):
        facts = list(facts.values())
    if isinstance(facts, list | tuple):
        return frozenset().union(*(hashes_in(fact) for fact in facts))
    return frozenset()
