"""Replacing a folder of results by a new one, and never a folder of anything else."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def check_replaceable(folder: Path, is_ours: Callable[[Path], bool]) -> None:
    """Checks that `folder` may be written: it does not exist, is empty, or is ours.

    Raises:
        FileExistsError: something else lies there.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not folder.is_dir() or not is_ours(folder):
        raise FileExistsError(f"{folder} exists and is something else; choose another folder.")


@contextmanager
def written_whole(folder: Path, is_ours: Callable[[Path], bool]) -> Iterator[Path]:
    """A temporary folder that takes the place of `folder` when the block ends well.

    The old one is moved aside before and removed after, so there is one of the two at any
    time; if the block fails, the old one is as it was.
    """
    folder = folder.resolve()
    check_replaceable(folder, is_ours)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    new, old = temporary / "new", temporary / "old"
    try:
        new.mkdir()
        yield new
        check_replaceable(folder, is_ours)
        if folder.exists():
            folder.rename(old)
        try:
            new.rename(folder)
        except BaseException:
            if old.exists():
                old.rename(folder)
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
