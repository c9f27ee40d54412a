"""Faces by address: what a face is made of, sealed into a token that only this service can open.

`/predict` must answer with an address, and nothing is kept. So the address itself holds what
the face follows from: the embedding, encrypted, until a given time. Any server with the same
secret can make the face of it.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import struct
import time

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from s2f_edge.errors import NotFoundError
from s2f_edge.hearing.features import Float32s
from s2f_edge.terms import GENERATORS

HEAD = struct.Struct("<dB")  # until when, which generator
NONCE = 12


class Seal:
    """Makes and opens tokens.

    Args:
        secret: the same on all machines; empty draws one, so that tokens end with the process.
    """

    def __init__(self, secret: str = "") -> None:
        key = hashlib.sha256(b"s2f predict\0" + secret.encode()).digest() if secret else secrets.token_bytes(32)
        self._cipher = AESGCM(key)

    def close(self, embedding: Float32s, generator: str, seconds: float) -> str:
        """A token, of letters that may stand in an address.

        Args:
            embedding: float32, (n,); kept as float16.
            generator: general, male or female.
            seconds: for which it can be opened.
        """
        content = HEAD.pack(time.time() + seconds, GENERATORS.index(generator)) + embedding.astype("<f2").tobytes()
        nonce = secrets.token_bytes(NONCE)
        return base64.urlsafe_b64encode(nonce + self._cipher.encrypt(nonce, content, None)).rstrip(b"=").decode()

    def open(self, token: str) -> tuple[Float32s, str]:
        """The embedding, float32 (n,), of unit length, and the generator.

        Raises:
            NotFoundError: its time is over, or it is none of ours.
        """
        try:
            data = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
            content = self._cipher.decrypt(data[:NONCE], data[NONCE:], None)
            until, which = HEAD.unpack_from(content)
        except (ValueError, InvalidTag, struct.error):
            until = 0.0
        if until < time.time():
            raise NotFoundError("This URL is invalid or has expired. Send the recording again.")
        embedding = np.frombuffer(content, "<f2", offset=HEAD.size).astype(np.float32)
        return embedding / np.float32(max(float(np.linalg.norm(embedding)), 1e-12)), GENERATORS[which]
