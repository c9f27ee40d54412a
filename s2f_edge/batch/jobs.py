"""What is made of which recording: names of results, and writing them so that nothing else is lost."""

from __future__ import annotations

import io
import json
import os
import re
import stat
import sys
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from s2f_edge.batch.recordings import is_folder, recordings
from s2f_edge.errors import OutputError, ProvenanceError, UsageError
from s2f_edge.stdio import reader_left, silence

# Devices of Windows, whatever suffix follows.
RESERVED = re.compile(r"con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³]", re.IGNORECASE)
PICTURES = {"png": (".png",), "webp": (".webp",), "jpeg": (".jpg", ".jpeg")}  # formats and their suffixes


class Job(NamedTuple):
    """A recording, `-` for standard input, and the files that are made of it, `-` for standard output."""

    source: str
    targets: list[str]


def plan(
    files: list[str], out: str | None, suffix: str, pieces: int = 1, skipped: dict[str, str] | None = None
) -> list[Job]:
    """What to read and what to write: `pieces` files for each recording; `skipped` as for `recordings`.

    Raises:
        UsageError: they cannot be told apart, or a recording would be overwritten.
        OutputError: standard output is wanted and closed.
    """
    sources = recordings(files, skipped)
    names = targets(sources, out, suffix)
    if names == ["-"] and pieces > 1:
        raise UsageError("--out - takes one picture; add --grid, or give a folder.")
    if names == ["-"] and sys.stdout is None:
        raise OutputError("Standard output is closed; give --out a file name.")
    jobs = [
        Job(source, [name] if pieces == 1 else [numbered(name, i) for i in range(pieces)])
        for source, name in zip(sources, names, strict=True)
    ]
    read = {_identity(source) for source in sources if source != "-"} - {None}
    for target in (target for job in jobs for target in job.targets if target != "-"):
        if _identity(target) in read:
            raise UsageError(f"{target} is one of the recordings to be read; give another --out.")
    return jobs


def targets(sources: list[str], out: str | None, suffix: str) -> list[str]:
    """Where each result goes; `-` is standard output. No two are the same.

    Raises:
        UsageError: `out` is one file for several recordings, ends with another suffix, or is a file of
            another kind.
    """
    if out == "-":
        if len(sources) > 1:
            raise UsageError(f"--out - is for one recording; there are {len(sources)}. Give a folder.")
        return ["-"]
    folder = Path(out or "")
    ending = suffix[suffix.rindex(".") :]
    slash = (os.sep, os.altsep or os.sep)
    if out is not None and not out.endswith(slash) and not is_folder(folder):
        if folder.suffix.lower() == ending:
            if len(sources) > 1:
                raise UsageError(f"--out {out} is one file; there are {len(sources)} recordings. Give a folder.")
            return [str(folder)]
        if _identity(out):
            raise UsageError(f"--out {out} exists and is not a folder. Give *{ending} or a folder.")
        if folder.suffix:
            raise UsageError(
                f"--out {out} ends with {folder.suffix}; the format is {ending}. "
                f"Give *{ending}, or {out}/ for a folder of that name."
            )
    elif out is not None and _identity(str(folder)) and not is_folder(folder):
        raise UsageError(f"--out {out} is a file, and the {out[-1]} at its end asks for a folder. Give another name.")
    names = _Names()
    return [str(folder / names.new("stdin" if source == "-" else Path(source).stem, suffix)) for source in sources]


class _Names:
    """Names that differ, by more than case. It remembers how often a stem came: corpora have thousands of 00001.wav."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._count: dict[str, int] = {}

    def take(self, name: str) -> bool:
        """Whether it was free."""
        free = folded(name) not in self._taken
        self._taken.add(folded(name))
        return free

    def new(self, stem: str, suffix: str) -> str:
        """stem.suffix, or stem-2.suffix: a.wav and a.mp3, or the same name in two folders."""
        if sys.platform == "win32" and RESERVED.fullmatch(stem.split(".")[0].rstrip()):
            stem = f"_{stem}"
        count = self._count.get(folded(stem), 0)
        while True:
            count += 1
            name = f"{stem}{suffix}" if count == 1 else f"{stem}-{count}{suffix}"
            if self.take(name):
                self._count[folded(stem)] = count
                return name


def folded(name: str) -> str:
    """What two names have in common that are one file to macOS or Windows: they differ in case, or in how an accent
    is spelled."""
    return name.casefold() if name.isascii() else unicodedata.normalize("NFC", name.casefold())


def file_format(
    out: str | None, wanted: str | None, formats: Mapping[str, tuple[str, ...]] = PICTURES
) -> tuple[str, str]:
    """Format of the files, and their suffix: what `out` ends with where it names a file, else the first of `formats`.

    Args:
        formats: with the suffixes of each.
    """
    ending = Path(out or "").suffix.lower()
    for form, suffixes in formats.items():
        if ending in suffixes and wanted in (None, form) and not is_folder(Path(out or "")):
            return form, ending
    form = wanted or next(iter(formats))
    return form, formats[form][0]


def numbered(target: str, index: int) -> str:
    """The name of one of several candidates: face.png becomes face.01.png, a.face.png becomes a.01.face.png."""
    path = Path(target)
    stem = path.stem.removesuffix(".face")
    return str(path.with_name(f"{stem}.{index + 1:02d}{path.name[len(stem) :]}"))


def another(target: str, count: int) -> str:
    """The target of the same recording if `count - 1` others had its name: a.face.png becomes a-2.face.png."""
    path = Path(target)
    stem, suffix = re.fullmatch(r"(.*?)((?:\.\d\d)?(?:\.face|\.talk)?\.\w+)", path.name, re.DOTALL).groups()  # type: ignore[union-attr]
    return str(path.with_name(f"{stem}-{count}{suffix}"))


def write_all(files: dict[str, bytes], overwrite: bool) -> None:
    """Writes results; checks all of them before the first is written.

    Raises:
        OutputError: a file is in the way, or cannot be written.
    """
    from s2f_edge.files import write_whole

    for target in files:
        if target != "-" and not overwrite:
            check_free(Path(target))
    for target, data in files.items():
        if target == "-":
            with standard_output() as file:
                file.write(data)
        else:
            write_whole(Path(target), data)


@contextmanager
def standard_output() -> Iterator[BinaryIO]:
    """Standard output for bytes, flushed when the block ends.

    Raises:
        BrokenPipeError: who reads it has gone.
        OutputError: it cannot be written.
    """
    try:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    except OSError as error:
        if reader_left(error):
            raise BrokenPipeError(*error.args) from None
        silence(sys.stdout)
        raise OutputError(f"Standard output cannot be written: {error.strerror or error}.") from None


def check_free(path: Path) -> None:
    """A picture that s2f-edge wrote may be replaced; anything else only with --overwrite.

    Raises:
        OutputError: something else is there, or what is there cannot be looked at.
    """
    from s2f_edge.marks.provenance import read_metadata

    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}.") from None
    if stat.S_ISDIR(mode):
        raise OutputError(f"{path} is a folder; give --out a file name, or the folder above it.")
    try:
        ours = stat.S_ISREG(mode) and "tool" in read_metadata(path)
    except ProvenanceError:
        ours = False
    if not ours:
        raise OutputError(
            f"{path} exists and is not marked as a picture of s2f-edge. Give another --out, or add --overwrite."
        )


def embedding_bytes(embedding: Any, form: str) -> bytes:
    """A file of an embedding, float32 (n,): `form` is npy or json."""
    import numpy as np

    if form == "json":
        return (json.dumps([float(f"{v:.9g}") for v in embedding]) + "\n").encode()
    buffer = io.BytesIO()
    np.save(buffer, embedding)
    return buffer.getvalue()


def _identity(name: str) -> tuple[int, int] | str | None:
    """Device and inode of a file, equal for all its names; its path where the disk has no inodes, as network disks
    under Windows; None where there is no file."""
    try:
        status = Path(name).stat()
    except (OSError, ValueError):
        return None
    return (status.st_dev, status.st_ino) if status.st_ino else os.path.normcase(os.path.realpath(name))
