"""What the readers of layouts share: listing files and tars, names of items, notes and errors."""

from __future__ import annotations

import hashlib
import itertools
import os
import tarfile
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

from s2f_train.data.items import Gender, Identity, Item, Place, Source, SourceError

SOUNDS = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a", ".aac", ".mp4", ".webm")
PICTURES = (".jpg", ".jpeg", ".png", ".webp")
# What file systems, macOS and Synology put beside the data; @eaDir is full of thumbnails.
NO_DATA = ("lost+found", "__MACOSX", "@eaDir")
GENDERS: dict[str, Gender] = {"m": "m", "f": "f"}


def folder(root: Path, needed: str) -> str:
    """`root` as an absolute path, since workers may run elsewhere.

    Raises:
        SourceError: it is no folder.
    """
    if not root.is_dir():
        found = "is a file" if root.exists() else "does not exist"
        raise SourceError(f"{root} {found}. Needed is a folder with {needed}.")
    return str(root.absolute())


def files(root: str, endings: tuple[str, ...]) -> Iterator[str]:
    """Relative paths, with "/", of the files below `root` that end so in any case, in a fixed order.

    Hidden files and folders are left out. Linked folders are followed, unless they lead back up.

    Raises:
        SourceError: a folder cannot be listed, or a name is no UTF-8.
    """
    pending = [""]
    while pending:
        below = pending.pop()
        folders = []
        for entry in _entries(f"{root}/{below}"):
            if _is_folder(entry):
                if not (entry.is_symlink() and _leads_up(entry.path, root, below)):
                    folders.append(f"{below}{entry.name}/")
            elif entry.name.lower().endswith(endings):
                yield below + entry.name
        pending.extend(reversed(folders))


def _leads_up(link: str, root: str, below: str) -> bool:
    """Whether a link leads to a folder that was passed on the way to it, or to one above."""
    target = os.path.realpath(link).rstrip("/")
    way = itertools.accumulate(below.split("/")[:-1], "{}/{}".format, initial=root)
    return any(f"{os.path.realpath(folder)}/".startswith(f"{target}/") for folder in way)


def _entries(path: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as entries:
            seen = [e for e in entries if not e.name.startswith(".") and e.name not in NO_DATA]
    except OSError as error:
        raise SourceError(f"{path} cannot be listed: {error.strerror}.") from None
    for entry in seen:
        try:
            entry.name.encode()
        except UnicodeEncodeError:
            raise SourceError(f"{entry.path!a} has a name that is no UTF-8; rename it (convmv does).") from None
    return sorted(seen, key=lambda entry: entry.name)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def tar_files(archive: Path, endings: tuple[str, ...]) -> Iterator[tuple[str, Place]]:
    """(name, place) of the files of a tar that end so in any case, but hidden ones, in the order of the tar.

    Raises:
        SourceError: it cannot be read, is cut off, or is compressed, so that members have no offset.
    """
    path = str(archive.absolute())
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                parts = member.name.removeprefix("./").split("/")
                hidden = any(part.startswith(".") or part in NO_DATA for part in parts)
                if member.isfile() and not hidden and parts[-1].lower().endswith(endings):
                    yield member.name, Place(path, member.offset_data, member.size)
    except (OSError, tarfile.TarError) as error:
        raise SourceError(
            f"{archive} cannot be read as a tar ({error}). It must be a complete, uncompressed tar: unpack a .gz first."
        ) from None


def text_lines(path: Path) -> Iterator[str]:
    """The lines of a text file, without a byte order mark.

    Raises:
        SourceError: it cannot be read, or is no text.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            yield from file
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise SourceError(f"{path} is no UTF-8 text; is it the right file?") from None


def plain(name: str) -> str:
    """The name as one sequence of letters: macOS takes them apart (e and an accent) in names of files."""
    return unicodedata.normalize("NFC", name)


class Names:
    """Names of items from relative paths: unique, and the same wherever the folder lies."""

    def __init__(self) -> None:
        self._given: set[str] = set()

    def of(self, path: str) -> str:
        """The path without its ending, "/" as "-"; with a hash behind where that is taken (a.jpg and a.png)."""
        name = path.rpartition(".")[0].replace("/", "-")
        if name in self._given:
            name += "-" + hashlib.sha256(path.encode()).hexdigest()[:8]
        self._given.add(name)
        return name


def source(name: str, items: Iterable[Item], known: Mapping[str, Identity], notes: Iterable[str]) -> Source:
    """A source with its items in order, and with those identities that have some; unknown ones by name alone."""
    ordered = sorted(items, key=lambda item: (item.name, item.kind))
    people = sorted({item.identity for item in ordered})
    return Source(name, {person: known.get(person, Identity(person)) for person in people}, ordered, tuple(notes))


def note(what: str, names: Collection[str]) -> list[str]:
    """The sentence "what: 5 (first, second, third, ...)."; none where there are no names."""
    return [f"{what}: {some(names)}."] if names else []


def some(names: Collection[str]) -> str:
    """How many, and the first three."""
    first = ", ".join(sorted(names)[:3])
    return f"{len(names):,} ({first}{', ...' if len(names) > 3 else ''})"


def nothing_found(root: str, needed: str, seen: Iterable[str] = ()) -> SourceError:
    """The error for a folder without the expected files; says what is there instead.

    Args:
        root: the folder, or the tar.
        needed: its layout, in words.
        seen: files that were there; if none are given, any of the folder.
    """
    first = list(itertools.islice(seen, 3))
    if not first and os.path.isdir(root):  # noqa: PTH112
        first = list(itertools.islice(files(root, ("",)), 3))
    found = f"there are files such as {', '.join(first)}" if first else "it has no such files"
    return SourceError(f"{root} does not have the right layout: {found}. Needed is {needed}.")
