"""API keys: made at random, kept as hashes, compared in constant time.

A key is 32 random bytes, so that one round of SHA-256 hides it; slow hashes are for
passwords that people choose. The file has a line `NAME HASH` per key. It is read again when
it changes, so that a line that is taken out stops its key within a second.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from pathlib import Path

from s2f_edge.errors import SetupError, UsageError

PREFIX = "s2f_"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
LINE = re.compile(rf"({NAME.pattern})\s+([0-9a-f]{{64}})")


def new_key(name: str) -> tuple[str, str]:
    """A new key, and the line of the file that knows it.

    Raises:
        UsageError: no name that can stand in the file and in logs.
    """
    if not NAME.fullmatch(name):
        raise UsageError(f"The name is {name!r}; use 1 to 64 letters, digits, dots, dashes and underscores.")
    key = PREFIX + secrets.token_urlsafe(32)
    return key, f"{name} {_hash(key)}"


class KeyRing:
    """The API keys in a file.

    Raises:
        SetupError: the file cannot be read, or a line of it is no key.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._stamp: tuple[int, int] | None = None
        self._hashes: dict[str, str] = {}  # hash -> name
        self._read()

    def name_of(self, key: str) -> str | None:
        """The name of a key's owner; None for an unknown key."""
        self._read()
        found = None
        wanted = _hash(key)
        for known, name in self._hashes.items():  # all of them, so that the time tells nothing
            if hmac.compare_digest(known, wanted):
                found = name
        return found

    def _read(self) -> None:
        try:
            stat = self._file.stat()
            stamp = stat.st_mtime_ns, stat.st_size
            if stamp == self._stamp:
                return
            text = self._file.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SetupError(f"The key file {self._file} cannot be read: {error}.") from None
        hashes = {}
        for number, line in enumerate(text.splitlines(), 1):
            if not line.strip() or line.startswith("#"):
                continue
            parts = LINE.fullmatch(line.strip())
            if not parts:
                raise SetupError(f"{self._file}, line {number}: not `NAME HASH`; make keys with `s2f-edge key`.")
            hashes[parts[2]] = parts[1]
        self._hashes, self._stamp = hashes, stamp


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
