"""Which recordings are read: files, folders, patterns, lists, standard input."""

from __future__ import annotations

import glob
import os
import sys
from importlib.util import find_spec
from pathlib import Path

from s2f_edge.errors import UnreadableAudioError, UsageError

# What counts as a recording in a folder; a file that is named may be called anything.
BY_SOUNDFILE = {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".au", ".caf", ".w64"}
BY_MEDIA = {".m4a", ".mp4", ".aac", ".webm", ".mka", ".amr", ".3gp", ".wma", ".spx", ".mov", ".mkv", ".ts"}
SOUNDS = BY_SOUNDFILE | BY_MEDIA


def recordings(files: list[str], skipped: dict[str, str] | None = None) -> list[str]:
    """Files in the order given, each once; a folder stands for the sound files under it, and a pattern
    such as `clips/**/*.wav`, which the shell has left alone, for what matches it.

    What cannot be looked at, or listed, stays: reading it says why.

    Args:
        files: as given.
        skipped: takes up files in folders that are not read, and why: dead links, links to folders, and what needs
            the extra `media` where it is missing.

    Raises:
        UsageError: nothing is named, a folder has no sound files, or `-` stands more than once.
    """
    if not files:
        raise UsageError("Give recordings, folders of them, or a --list.")
    if files.count("-") > 1:
        raise UsageError("- is given more than once; standard input can be read only once.")
    found: dict[str, str] = {}
    skipped = {} if skipped is None else skipped
    for name in (name for given in files for name in _matching(given)):
        inside = _sounds_under(name, skipped) if name != "-" and is_folder(Path(name)) else [name]
        if not inside:
            rest = f" {left_out(skipped)}" if skipped else ""
            raise UsageError(f"{name} has no sound files; looked for {', '.join(sorted(SOUNDS))}.{rest}")
        for each in inside:
            found.setdefault("-" if each == "-" else _resolved(each), each)
    return list(found.values())


def left_out(skipped: dict[str, str]) -> str:
    """What was skipped, in a sentence: how many of each kind, and the first of them."""
    kinds: dict[str, list[str]] = {}
    for name, why in skipped.items():
        kinds.setdefault(why, []).append(name)
    reasons = [f"{len(names)} ({why}): {names[0]}{' and others' * (len(names) > 1)}" for why, names in kinds.items()]
    return f"Skipped {'; '.join(reasons)}."


def named(files: list[str] | None, lists: str | None) -> list[str]:
    """What a command is given: files, and those of a list; errors of `listed`."""
    return [*(files or []), *(listed(lists) if lists else [])]


def listed(file: str) -> list[str]:
    """The names in a text file, one a line; `-` is standard input.

    Raises:
        UsageError: it cannot be read, or names nothing.
    """
    if file == "-" and sys.stdin is None:
        raise UsageError("Standard input is closed; pipe a list into it, or name a file.")
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except (OSError, ValueError) as error:
        raise UsageError(f"The list {file} cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    try:
        if data.startswith((b"\xff\xfe", b"\xfe\xff")):  # as Windows PowerShell writes what is redirected
            data = data.decode("utf-16").encode()
        names = [os.fsdecode(line) for line in data.removeprefix(b"\xef\xbb\xbf").splitlines() if line.strip()]
    except UnicodeDecodeError:  # on Windows, where names are Unicode
        raise UsageError(f"The list {file} is not text in UTF-8 or UTF-16; save it as UTF-8.") from None
    if not names or any("\0" in name for name in names):
        raise UsageError(f"The list {file} names no recordings; it must be a text file with one a line.")
    return names


def sound(name: str) -> Path | bytes:
    """What `Speech2Face` reads for a recording; `-` is all of standard input.

    Raises:
        UsageError: standard input is closed.
        UnreadableAudioError: it is a folder, so one that could not be listed.
    """
    if name != "-":
        if is_folder(Path(name)):
            raise UnreadableAudioError(f"{name} is a folder that cannot be read; check its permissions.")
        return Path(name)
    if sys.stdin is None:
        raise UsageError("Standard input is closed; pipe a recording into it, or name a file.")
    return sys.stdin.buffer.read()


def _matching(name: str) -> list[str]:
    """What a pattern stands for; a file whose name looks like one is that file."""
    if not glob.has_magic(name) or os.path.lexists(name):
        return [name]
    found = sorted(glob.glob(name, recursive=True))  # noqa: PTH207
    return found or [name]


def _sounds_under(folder: str, skipped: dict[str, str]) -> list[str]:
    """Sound files at any depth, and folders that cannot be read. Nothing hidden: ._a.wav of macOS is no sound."""
    found: list[str] = []

    def unreadable(error: OSError) -> None:
        found.append(str(Path(error.filename or folder)))

    for parent, folders, names in os.walk(folder, onerror=unreadable):
        folders[:] = [name for name in folders if not name.startswith(".")]
        links = [path for path in map(Path(parent).joinpath, folders) if path.is_symlink()]
        skipped.update((str(path), "a link to a folder") for path in links)
        for path in (Path(parent, name) for name in names if not name.startswith(".")):
            if path.suffix.lower() not in SOUNDS:
                continue
            if path.is_symlink() and not os.path.exists(path):  # noqa: PTH110
                skipped[str(path)] = "a link that leads nowhere"
            elif path.suffix.lower() in BY_MEDIA and not find_spec("av"):
                skipped[str(path)] = "needs pip install 's2f-edge[media]'"
            elif _may_be_read(path):
                found.append(str(path))
    return sorted(found)


def is_folder(path: Path) -> bool:
    """False also for what cannot be looked at."""
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
