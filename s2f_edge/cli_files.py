"""Which recordings the command reads, where its results go, and writing them safely. Prints nothing."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from s2f_edge.errors import OutputError, ProvenanceError, UsageError

# What counts as a recording in a folder; a file that is named may be called anything.
SOUNDS = {
    ".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".mp4", ".aac", ".webm", ".mka", ".amr", ".aiff", ".au",
}  # fmt: skip


def jobs(files: list[str]) -> list[str]:
    """Files in the order given; a folder stands for the sound files under it.

    Raises:
        UsageError: a folder has no sound files, or `-` stands more than once.
    """
    found: list[str] = []
    for name in files:
        path = Path(name)
        if name != "-" and path.is_dir():
            inside = sorted(str(p) for p in path.rglob("*") if p.suffix.lower() in SOUNDS and p.is_file())
            if not inside:
                raise UsageError(f"{name} has no sound files; looked for {', '.join(sorted(SOUNDS))}.")
            found += inside
        else:
            found.append(name)
    if found.count("-") > 1:
        raise UsageError("- stands more than once; standard input can be read once.")
    return list(dict.fromkeys(found))


def targets(jobs: list[str], out: Path | None, suffix: str) -> list[str]:
    """Where each result goes; `-` is standard output. No two are the same.

    Raises:
        UsageError: `out` is one file for several recordings, or ends with another suffix.
    """
    if str(out) == "-":
        if len(jobs) > 1:
            raise UsageError(f"--out - is for one recording; there are {len(jobs)}. Give a folder.")
        return ["-"]
    ending = suffix[suffix.rindex(".") :]
    if out is not None and out.suffix.lower() == ending and not out.is_dir():
        if len(jobs) > 1:
            raise UsageError(f"--out {out} is one file; there are {len(jobs)} recordings. Give a folder.")
        return [str(out)]
    if out is not None and out.suffix and not out.exists() and len(jobs) == 1:
        raise UsageError(
            f"--out {out} ends with {out.suffix}; {ending} is what is written. Give *{ending} or a folder."
        )
    folder = out or Path()
    found: list[str] = []
    taken: set[str] = set()
    for job in jobs:
        stem = "stdin" if job == "-" else Path(job).stem
        name, count = stem + suffix, 2
        while name.casefold() in taken:  # a.wav and a.mp3, or the same name in two folders
            name, count = f"{stem}-{count}{suffix}", count + 1
        taken.add(name.casefold())
        found.append(str(folder / name))
    return found


def numbered(target: str, index: int) -> str:
    """The name of one of several candidates: face.png becomes face.01.png, a.face.png becomes a.01.face.png.

    Raises:
        UsageError: the target is standard output, which takes one.
    """
    if target == "-":
        raise UsageError("--out - takes one picture; add --grid, or give a folder.")
    path = Path(target)
    stem = path.name.removesuffix("".join(path.suffixes[-2:])) if path.name.endswith(".face.png") else path.stem
    return str(path.with_name(f"{stem}.{index + 1:02d}{path.name[len(stem) :]}"))


def source(name: str) -> Path | bytes:
    """What `Speech2Face` reads for a job; `-` is all of standard input."""
    return sys.stdin.buffer.read() if name == "-" else Path(name)


def write_all(files: dict[str, bytes], overwrite: bool) -> None:
    """Writes results; checks all of them before the first is written.

    Raises:
        OutputError: a file is in the way, or cannot be written.
    """
    from s2f_edge.files import write_whole

    for target in files:
        if target != "-" and not overwrite:
            check_free(Path(target))
    for target, data in files.items():
        if target == "-":
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        else:
            write_whole(Path(target), data)


def check_free(path: Path) -> None:
    """A picture that s2f-edge wrote may be replaced; anything else only with --overwrite.

    Raises:
        OutputError: something else is there.
    """
    from s2f_edge.picture import read_provenance

    if path.is_dir():
        raise OutputError(f"{path} is a folder; give --out a file name, or the folder above it.")
    if not path.exists():
        return
    try:
        ours = "tool" in read_provenance(path)
    except ProvenanceError:
        ours = False
    if not ours:
        raise OutputError(f"{path} exists and is no picture of s2f-edge. Give another --out, or --overwrite.")


def embedding_bytes(embedding: Any, form: str) -> bytes:
    """A file of an embedding, float32 (n,): `form` is npy or json."""
    import io

    import numpy as np

    if form == "json":
        return (json.dumps([float(f"{v:.9g}") for v in embedding]) + "\n").encode()
    buffer = io.BytesIO()
    np.save(buffer, embedding)
    return buffer.getvalue()
