"""Faces that callers ask to keep: encrypted with a key that only the caller has, until a given time.

The owner key is given out once and not kept. What lies in the folder is a file per face:
until when it is kept, then the face, encrypted and bound to its name and time. Whoever has
the folder alone can neither see a face nor tell whose it is.
"""

from __future__ import annotations

import hashlib
import logging
import re
import secrets
import struct
import time
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from s2f_edge.errors import NotFoundError, OutputError, SetupError
from s2f_edge.files import write_whole

log = logging.getLogger(__name__)

UNTIL = struct.Struct("<d")  # seconds since 1970
NONCE = bytes(12)  # each key encrypts one face only
NAME = re.compile(r"[0-9a-f]{32}")
SUFFIX = ".face"
NOTHING = "No face is kept under this name with this owner key, or its time is over."


class FaceStore:
    """A folder of encrypted faces.

    Raises:
        SetupError: the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_whole(folder / ".writable", b"")
        except (OSError, OutputError) as error:
            raise SetupError(f"The store {folder} cannot be written: {error}.") from None

    def keep(self, face: bytes, hours: float) -> tuple[str, str, float]:
        """Keeps a face.

        Returns:
            Its name, its owner key, and until when it is kept, in seconds since 1970.
        """
        name, owner_key = secrets.token_hex(16), secrets.token_urlsafe(32)
        until = UNTIL.pack(time.time() + hours * 3600.0)
        sealed = _cipher(owner_key).encrypt(NONCE, face, name.encode() + until)
        write_whole(self._path(name), until + sealed)
        return name, owner_key, UNTIL.unpack(until)[0]

    def face(self, name: str, owner_key: str) -> bytes:
        """A face that is kept.

        Raises:
            NotFoundError: there is none, its time is over, or the key is not its owner's: all the same to a caller.
        """
        try:
            data = self._path(name).read_bytes()
            if UNTIL.unpack_from(data)[0] > time.time():
                until, sealed = data[: UNTIL.size], data[UNTIL.size :]
                return _cipher(owner_key).decrypt(NONCE, sealed, name.encode() + until)
        except (OSError, InvalidTag, struct.error):
            pass
        raise NotFoundError(NOTHING)

    def delete(self, name: str, owner_key: str) -> None:
        """Deletes a face; errors as of `face`."""
        self.face(name, owner_key)
        self._path(name).unlink(missing_ok=True)

    def sweep(self) -> int:
        """Deletes expired faces and returns their number."""
        gone = 0
        for path in self._folder.glob(f"*{SUFFIX}"):
            try:
                with path.open("rb") as file:
                    if UNTIL.unpack(file.read(UNTIL.size))[0] > time.time():
                        continue
                path.unlink(missing_ok=True)
                gone += 1
            except (OSError, struct.error):
                log.warning("A file of the store cannot be read or deleted.")
        return gone

    def _path(self, name: str) -> Path:
        if not NAME.fullmatch(name):
            raise NotFoundError(NOTHING)
        return self._folder / f"{name}{SUFFIX}"


def _cipher(owner_key: str) -> AESGCM:
    return AESGCM(hashlib.sha256(b"s2f store\0" + owner_key.encode("utf-8", "surrogateescape")).digest())
