"""A copy on the disk of what can be read only once, for those who read it twice."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from s2f_edge.errors import OutputError, UsageError


class Spooled:
    """A copy of a binary file, from where it stands to its end.

    Raises:
        UsageError: the file gives text.
        OutputError: there is no room for the copy.
    """

    def __init__(self, file: BinaryIO) -> None:
        handle, name = tempfile.mkstemp(prefix="s2f-edge-")
        self._path = Path(name)
        try:
            with os.fdopen(handle, "wb") as copy:
                shutil.copyfileobj(file, copy, 1 << 20)
        except (TypeError, UnicodeDecodeError):
            self.close()
            raise UsageError("The file object is in text mode; open it in binary mode ('rb').") from None
        except OSError as error:
            self.close()
            raise OutputError(
                f"The sound cannot be copied to {self._path.parent}: {error.strerror or error}."
            ) from None
        except BaseException:
            self.close()
            raise

    def open(self) -> BinaryIO:
        """The copy, by descriptor: see `audio`."""
        return os.fdopen(os.open(self._path, os.O_RDONLY | getattr(os, "O_BINARY", 0)), "rb")

    def close(self) -> None:
        """Removes the copy."""
        self._path.unlink(missing_ok=True)

    def __del__(self) -> None:
        if not sys.is_finalizing():
            self.close()


@contextmanager
def twice(source: Any) -> Iterator[Any]:
    """A recording as it is, or a copy of one that can be read only once. The copy goes where the block raises."""
    spooled = None
    if hasattr(source, "read"):
        spooled = Spooled(source)
    elif isinstance(source, str | os.PathLike) and _is_pipe(source):
        with Path(source).open("rb") as file:
            spooled = Spooled(file)
    try:
        yield spooled or source
    except BaseException:
        if spooled:
            spooled.close()
        raise


def _is_pipe(path: str | os.PathLike[str]) -> bool:
    try:
        mode = Path(path).stat().st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode) or stat.S_ISSOCK(mode)
