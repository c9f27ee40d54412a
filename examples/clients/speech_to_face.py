"""A face for a voice, from an s2f service. Needs httpx.

    python speech_to_face.py https://faces.example clip.wav male face.png

The face is invented. It is not the speaker and identifies nobody; say so wherever you show it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import httpx


class Problem(Exception):
    """What the service refused or failed to do. Test for `code`; `detail` is a sentence for people."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{detail} ({code})")
        self.code, self.detail = code, detail


def face(server: str, recording: Path, gender: str = "auto", key: str | None = None) -> bytes:
    """The bytes of a PNG for a recording (wav, flac, ogg, opus, mp3, ...) of one person who speaks.

    Args:
        server: such as https://faces.example.
        gender: auto, general, male or female.
        key: API key, where the server needs one.

    Raises:
        Problem: the service says why there is no face, such as `not-speech` or `busy`.
        httpx.TransportError: it cannot be reached.
    """
    answer = httpx.post(
        f"{server.rstrip('/')}/v1/face",
        files={"file": ("recording", recording.read_bytes())},
        data={"gender": gender},
        headers={"Authorization": f"Bearer {key}"} if key else {},
        timeout=60,
    )
    if answer.status_code == 200:
        return answer.content
    if answer.headers.get("content-type") == "application/problem+json":
        said = answer.json()
        raise Problem(said["code"], said["detail"])
    raise Problem(f"http-{answer.status_code}", "The answer is not one of the service's own.")


if __name__ == "__main__":
    server, recording, gender, out = sys.argv[1:]
    try:
        Path(out).write_bytes(face(server, Path(recording), gender, os.environ.get("S2F_KEY")))
    except (Problem, httpx.TransportError) as error:
        sys.exit(str(error))
