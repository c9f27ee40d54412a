"""Writing files so that an interrupted run leaves nothing half done."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from s2f_edge.errors import OutputError, S2FError


def write_whole(path: Path, data: bytes) -> None:
    """Writes `data` under a temporary name beside `path`, or beside what it points at, then renames.

    Raises:
        OutputError: the folder cannot be made or written, or the disk is full; `path` is
            then as it was before.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(data)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """An empty file beside `path`, or beside what it points at, to be written; it gets the name when the block ends.

    Where the block raises, the file goes, and `path` is as it was before.

    Raises:
        OutputError: as of `write_whole`.
    """
    path = _pointed_at(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name[:40]}-", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.chmod(0o666 & ~_umask())
            replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except S2FError:
        raise
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}.") from None


def replace(temporary: Path, path: Path) -> None:
    """Renames a file over another one. Windows refuses that while a virus scanner or a viewer has one of them open,
    so there it is tried for a second.

    Raises:
        OSError: it cannot be done.
    """
    for wait_s in (0.05, 0.15, 0.3, 0.5) if sys.platform == "win32" else ():
        try:
            temporary.replace(path)
            return
        except PermissionError:
            time.sleep(wait_s)
    temporary.replace(path)


def leftovers(targets: Iterable[Path]) -> Iterator[Path]:
    """What a killed process had begun to write of these files, under temporary names. None of them may be
    under way."""
    begun: dict[Path, set[str]] = {}
    for target in targets:
        target = _pointed_at(target)
        begun.setdefault(target.parent, set()).add(target.name[:40])
    for folder, names in begun.items():
        for path in folder.glob(".*") if folder.is_dir() else ():
            name = path.name[1:]
            if name[:-9] in names and name[-9:-8] == "-":  # mkstemp adds 8 characters
                yield path


def _pointed_at(path: Path) -> Path:
    """Where a symbolic link leads, so that it stays one."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def _umask() -> int:
    """The process's umask; mkstemp makes files that only their owner can read."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
