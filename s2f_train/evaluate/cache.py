"""What a network said of a picture or a recording is kept under the hash of both, so that it is asked once."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]
AT_ONCE = 500  # SQLite takes so many variables in every version


class CacheError(OSError):
    """The file of the cache cannot be used."""


class VectorCache:
    """Float32 vectors under keys, in one SQLite file that several processes may share.

    Args:
        path: of the file, made where it is missing; None keeps nothing beyond this object.

    Raises:
        CacheError: the file is something else, or cannot be written.
    """

    def __init__(self, path: Path | None = None):
        self._path = path
        try:
            if path:
                path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(path or ":memory:", timeout=60)
            with self._database:
                self._database.execute("CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, value BLOB)")
        except (sqlite3.Error, OSError) as error:
            raise self._unusable(error) from None

    def get(self, keys: Iterable[bytes]) -> dict[bytes, Vector]:
        """Those of the keys that are known, with their vectors.

        Raises:
            CacheError: the file is damaged, or another program's.
        """
        wanted = list(dict.fromkeys(keys))
        found: dict[bytes, Vector] = {}
        for begin in range(0, len(wanted), AT_ONCE):
            part = wanted[begin : begin + AT_ONCE]
            asked = f"SELECT key, value FROM vectors WHERE key IN ({','.join('?' * len(part))})"
            try:
                rows = self._database.execute(asked, part).fetchall()
            except sqlite3.Error as error:
                raise self._unusable(error) from None
            found.update((key, np.frombuffer(value, np.float32)) for key, value in rows)
        return found

    def put(self, vectors: Mapping[bytes, Vector]) -> None:
        """Keeps vectors, at once or not at all.

        Raises:
            CacheError: the disk is full, or the file is gone.
        """
        rows = [(key, np.ascontiguousarray(vector, np.float32).tobytes()) for key, vector in vectors.items()]
        try:
            with self._database:
                self._database.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows)
        except sqlite3.Error as error:
            raise CacheError(f"{self._path} cannot be written ({error}).") from None

    def _unusable(self, error: Exception) -> CacheError:
        return CacheError(f"{self._path} cannot be used as a cache ({error}); delete it or give another --cache.")

    def close(self) -> None:
        self._database.close()


def key_of(*parts: str | bytes | NDArray[np.generic]) -> bytes:
    """A key: the SHA-256 of who is asked and of what is shown. Arrays count with shape and type."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype.str}{part.shape}".encode())
            part = np.ascontiguousarray(part).tobytes()
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.digest()
