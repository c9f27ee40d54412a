"""Many recordings by a list of names, or by a pattern. Prints nothing."""

from __future__ import annotations

import glob
import os
import sys
from pathlib import Path

from s2f_edge.errors import UsageError


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
    names = [os.fsdecode(line) for line in data.removeprefix(b"\xef\xbb\xbf").splitlines() if line.strip()]
    if not names or any("\0" in name for name in names):
        raise UsageError(f"The list {file} names no recordings; it must be a text file with one a line.")
    return names


def matching(name: str) -> list[str]:
    """What a pattern stands for; a file whose name looks like one is that file."""
    if not glob.has_magic(name) or os.path.lexists(name):
        return [name]
    found = sorted(glob.glob(name, recursive=True))  # noqa: PTH207
    return found or [name]
