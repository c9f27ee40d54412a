"""Files of a face that talks: which writer makes them, their marks, and nothing half written."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from s2f_edge.errors import OutputError, UsageError
from s2f_edge.files import replacing
from s2f_edge.marks import credentials as signing
from s2f_edge.marks import watermark
from s2f_edge.picture import XMP_CHUNK, Pixels, layers, texts
from s2f_edge.terms import VIDEOS, either

if TYPE_CHECKING:
    from s2f_edge.marks.credentials import Credentials
    from s2f_edge.talk.talk import Talk

SIGNED = {"mp4": "video/mp4", "gif": "image/gif", "webp": "image/webp"}  # media types that C2PA knows

Watch = Callable[[int], None] | None


def save(
    talk: Talk, target: str | Path | BinaryIO, form: str | None, credentials: Credentials | None, watch: Watch
) -> tuple[str, ...]:
    """See `Talk.save`."""
    path = Path(target) if isinstance(target, str | Path) else None
    form = form or ((path.suffix[1:].lower() or "mp4") if path else "mp4")
    if form not in VIDEOS:
        raise UsageError(f"The format is {form!r}; it must be {either(tuple(VIDEOS))}.")
    if form in ("mp4", "webm"):
        from s2f_edge.talk.video import library

        library(form)  # says at once what is missing
        if talk.settings.size % 2:
            raise UsageError(f"The size is {talk.settings.size} pixels; {form} needs an even number of them.")
    signer = (credentials or (signing.default() if path else None)) if form in SIGNED else None
    if path:
        with replacing(path) as temporary:
            _write(talk, temporary, form, watch)
            if signer:
                _sign(temporary, form, signer, talk)
    elif signer:
        _write_signed(talk, target, form, signer, watch)  # type: ignore[arg-type]
    else:
        _write(talk, target, form, watch)  # type: ignore[arg-type]
    return marks(talk, signer is not None)


def save_frames(talk: Talk, folder: str | Path, watch: Watch) -> tuple[str, ...]:
    """See `Talk.save_frames`."""
    from s2f_edge.talk.animation import write_pngs

    path = Path(folder)
    temporary: Path | None = None
    try:
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise UsageError(f"{path} exists and is not empty; give a folder that is new, or empty.")
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name[:40]}-", dir=path.parent))
        write_pngs(temporary, _pictures(talk, None, watch, 1.0), talk.result.provenance)
        temporary.chmod(0o755)
        if path.exists():
            path.rmdir()
        temporary.rename(path)
    except BaseException as error:
        if temporary:
            shutil.rmtree(temporary, ignore_errors=True)
        if type(error) is OSError or isinstance(error, PermissionError | FileNotFoundError | NotADirectoryError):
            raise OutputError(f"{path} cannot be written: {error.strerror or error}.") from error
        raise
    return marks(talk, False)


def marks(talk: Talk, signed: bool) -> tuple[str, ...]:
    """The layers that files of it have: of metadata, watermark and c2pa."""
    return layers(talk.settings.size, signed)


def _write(talk: Talk, target: Path | BinaryIO, form: str, watch: Watch) -> None:
    provenance = talk.result.provenance
    if form in ("mp4", "webm"):
        from s2f_edge.talk import video
        from s2f_edge.talk.animation import text_facts

        sound = video.Sound()
        frames = _pictures(talk, sound.push, watch)
        video.write(target, form, frames, talk.rate, sound, text_facts(provenance), texts(provenance)[XMP_CHUNK])
        return
    from s2f_edge.talk.animation import write_gif, write_webp

    frames = _pictures(talk, None, watch)
    file = target.open("wb") if isinstance(target, Path) else target
    try:
        if form == "gif":
            write_gif(file, frames, talk.rate, provenance)
        else:
            write_webp(file, frames, len(talk), talk.rate, provenance)
    finally:
        if file is not target:
            file.close()


def _pictures(
    talk: Talk, tap: Callable[..., None] | None, watch: Watch, mark: float = watermark.IN_VIDEO
) -> Iterator[Pixels]:
    for frame in talk.frames(tap, mark):
        if watch:
            watch(frame.index + 1)
        yield frame.pixels


def _sign(path: Path, form: str, signer: Credentials, talk: Talk) -> None:
    """Puts what is signed in the place of a file."""
    with tempfile.TemporaryFile(dir=path.parent) as signed:
        with path.open("rb") as plain:
            signer.sign_file(plain, signed, SIGNED[form], asdict(talk.result.provenance))
        signed.seek(0)
        with path.open("wb") as file:
            shutil.copyfileobj(signed, file, 1 << 20)


def _write_signed(talk: Talk, target: BinaryIO, form: str, signer: Credentials, watch: Watch) -> None:
    """A signature covers all of a file, so that it is made first."""
    handle, name = tempfile.mkstemp(prefix="s2f-edge-")
    os.close(handle)
    try:
        _write(talk, Path(name), form, watch)
        _sign(Path(name), form, signer, talk)
        with Path(name).open("rb") as file:
            shutil.copyfileobj(file, target, 1 << 20)
        target.flush()
    finally:
        with suppress(OSError):
            Path(name).unlink()
