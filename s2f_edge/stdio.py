"""The standard streams of a command."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from pathlib import Path
from typing import Any


def prepare_streams() -> None:
    """Makes any name printable, and replaces a closed standard error, so that errors never go to standard output."""
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def reader_left(error: OSError) -> bool:
    """Whether who reads what is printed has gone, such as `head`. Windows calls that an invalid argument."""
    return isinstance(error, BrokenPipeError) or (
        sys.platform == "win32" and error.errno == errno.EINVAL and error.filename is None
    )


def silence(*streams: Any) -> None:
    """Redirects streams to the null device, so that flushing them at exit cannot fail."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in filter(None, streams):  # None where it was closed from the start
        with contextlib.suppress(OSError, ValueError):  # not one of the process's own
            os.dup2(nowhere, stream.fileno())
