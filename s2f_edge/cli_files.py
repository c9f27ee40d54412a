"""Which recordings the command reads, where its results go, and writing them safely. Prints nothing."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from s2f_edge.cli_lists import matching
from s2f_edge.errors import OutputError, ProvenanceError, UnreadableAudioError, UsageError

if TYPE_CHECKING:
    from s2f_edge.credentials import Credentials

# What counts as a recording in a folder; a file that is named may be called anything.
SOUNDS = {
    ".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".mp4", ".aac", ".webm", ".mka", ".amr", ".aiff", ".au",
}  # fmt: skip

PICTURES = {"png": (".png",), "webp": (".webp",), "jpeg": (".jpg", ".jpeg")}  # formats and their suffixes


class Job(NamedTuple):
    """A recording, `-` for standard input, and the files that are made of it, `-` for standard output."""

    source: str
    targets: list[str]


def plan(files: list[str], out: str | None, suffix: str, pieces: int = 1) -> list[Job]:
    """What to read and what to write: `pieces` files for each recording.

    Raises:
        UsageError: they cannot be told apart, or a recording would be overwritten.
        OutputError: standard output is wanted and closed.
    """
    sources = recordings(files)
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


def recordings(files: list[str]) -> list[str]:
    """Files in the order given, each once; a folder stands for the sound files under it, and a pattern
    such as `clips/**/*.wav`, which the shell has left alone, for what matches it.

    What cannot be looked at, or listed, stays: reading it says why.

    Raises:
        UsageError: nothing is named, a folder has no sound files, or `-` stands more than once.
    """
    if not files:
        raise UsageError("Give recordings, folders of them, or a --list.")
    if files.count("-") > 1:
        raise UsageError("- stands more than once; standard input can be read once.")
    found: dict[str, str] = {}
    for name in (name for given in files for name in matching(given)):
        inside = _sounds_under(name) if name != "-" and _is_folder(Path(name)) else [name]
        if not inside:
            raise UsageError(f"{name} has no sound files; looked for {', '.join(sorted(SOUNDS))}.")
        for each in inside:
            found.setdefault("-" if each == "-" else _resolved(each), each)
    return list(found.values())


def _sounds_under(folder: str) -> list[str]:
    """Sound files at any depth, and folders that cannot be read. Nothing hidden: ._a.wav of macOS is no sound."""
    found: list[str] = []

    def unreadable(error: OSError) -> None:
        found.append(str(Path(error.filename or folder)))

    for parent, folders, names in os.walk(folder, onerror=unreadable):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths = [Path(parent, name) for name in names if not name.startswith(".")]
        found += [str(path) for path in paths if path.suffix.lower() in SOUNDS and _may_be_read(path)]
    return sorted(found)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False


def _may_be_read(path: Path) -> bool:
    """False for what is known to be no file, such as a named pipe."""
    try:
        return path.is_file()
    except OSError:
        return True


def _resolved(name: str) -> str:
    try:
        return os.path.realpath(name)
    except (OSError, ValueError):
        return name


def _identity(name: str) -> tuple[int, int] | None:
    """The same for all names of a file; None where there is no file."""
    try:
        status = Path(name).stat()
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


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
    if out is not None and not out.endswith(slash) and not _is_folder(folder):
        if folder.suffix.lower() == ending:
            if len(sources) > 1:
                raise UsageError(f"--out {out} is one file; there are {len(sources)} recordings. Give a folder.")
            return [str(folder)]
        if _identity(out):
            raise UsageError(f"--out {out} is there and is no folder. Give *{ending} or a folder.")
        if folder.suffix:
            raise UsageError(
                f"--out {out} ends with {folder.suffix}; {ending} is what is written. "
                f"Give *{ending}, or {out}/ for a folder of that name."
            )
    elif out is not None and _identity(str(folder)) and not _is_folder(folder):
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
        free = name.casefold() not in self._taken
        self._taken.add(name.casefold())
        return free

    def new(self, stem: str, suffix: str) -> str:
        """stem.suffix, or stem-2.suffix: a.wav and a.mp3, or the same name in two folders."""
        count = self._count.get(stem.casefold(), 0)
        while True:
            count += 1
            name = f"{stem}{suffix}" if count == 1 else f"{stem}-{count}{suffix}"
            if self.take(name):
                self._count[stem.casefold()] = count
                return name


def picture_format(out: str | None, wanted: str | None) -> tuple[str, str]:
    """Format of the pictures, and their suffix: what `out` ends with where it names a file, else png."""
    ending = Path(out or "").suffix.lower()
    for form, suffixes in PICTURES.items():
        if ending in suffixes and wanted in (None, form) and not _is_folder(Path(out or "")):
            return form, ending
    form = wanted or "png"
    return form, PICTURES[form][0]


def numbered(target: str, index: int) -> str:
    """The name of one of several candidates: face.png becomes face.01.png, a.face.png becomes a.01.face.png."""
    path = Path(target)
    stem = path.stem.removesuffix(".face")
    return str(path.with_name(f"{stem}.{index + 1:02d}{path.name[len(stem) :]}"))


def another(target: str, count: int) -> str:
    """The target of the same recording if `count - 1` others had its name: a.face.png becomes a-2.face.png."""
    path = Path(target)
    stem, suffix = re.fullmatch(r"(.*?)((?:\.\d\d)?(?:\.face)?\.\w+)", path.name, re.DOTALL).groups()  # type: ignore[union-attr]
    return str(path.with_name(f"{stem}-{count}{suffix}"))


def credentials(certificate: Path | None, key: Path | None) -> Credentials | None:
    """What pictures are signed with; None leaves it to the library, which loads it when the first is signed.

    Raises:
        RuntimeSetupError, CertificateError: a certificate or a key is given, and cannot be used.
    """
    if certificate is None and key is None:
        return None
    from s2f_edge.credentials import chosen

    return chosen(certificate, key)


def sound(name: str) -> Path | bytes:
    """What `Speech2Face` reads for a recording; `-` is all of standard input.

    Raises:
        UsageError: standard input is closed.
        UnreadableAudioError: it is a folder, so one that could not be listed.
    """
    if name != "-":
        if _is_folder(Path(name)):
            raise UnreadableAudioError(f"{name} is a folder that cannot be read; check its permissions.")
        return Path(name)
    if sys.stdin is None:
        raise UsageError("Standard input is closed; pipe a recording into it, or name a file.")
    return sys.stdin.buffer.read()


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
            _write_out(data)
        else:
            write_whole(Path(target), data)


def _write_out(data: bytes) -> None:
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        silence(sys.stdout)
        raise OutputError(f"Standard output cannot be written: {error.strerror or error}.") from None


def prepare_streams() -> None:
    """Any name can be printed, and errors never go to standard output for want of a standard error."""
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def silence(*streams: Any) -> None:
    """What they still hold goes nowhere, or Python complains of it at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in filter(None, streams):  # None where it was closed from the start
        with contextlib.suppress(OSError, ValueError):  # not one of the process's own
            os.dup2(nowhere, stream.fileno())


def check_free(path: Path) -> None:
    """A picture that s2f-edge wrote may be replaced; anything else only with --overwrite.

    Raises:
        OutputError: something else is there, or what is there cannot be looked at.
    """
    from s2f_edge.provenance import read_metadata

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
            f"{path} exists, and does not say that it is a picture of s2f-edge. Give another --out, or --overwrite."
        )


def embedding_bytes(embedding: Any, form: str) -> bytes:
    """A file of an embedding, float32 (n,): `form` is npy or json."""
    import numpy as np

    if form == "json":
        return (json.dumps([float(f"{v:.9g}") for v in embedding]) + "\n").encode()
    buffer = io.BytesIO()
    np.save(buffer, embedding)
    return buffer.getvalue()
