"""One item of a data set -> the members of a sample: speech and its log-mel, or a face. No torch here."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray
from PIL import Image, ImageOps

from s2f_edge.hearing import audio, features
from s2f_edge.hearing.features import HOP, SAMPLE_RATE, Float32s
from s2f_edge.hearing.vad import SpeechFinder
from s2f_edge.talk.motion import FRAME_RATE
from s2f_train.data.frame import POINTS_MEMBER
from s2f_train.data.items import Identity, Item, Keep, Place, TalkItem
from s2f_train.data.mouths import MOUTHS, as_member, is_open, mouth_of
from s2f_train.data.pictures import encoded
from s2f_train.data.store import BINS
from s2f_train.data.talks import MOTION, SOUND
from s2f_train.prepare.align import Aligner, read_picture, resize_aligned
from s2f_train.prepare.face_mesh import IBUG68, FaceMesh
from s2f_train.prepare.portrait import Portrait, PortraitMaker
from s2f_train.prepare.talking_head import motion_of

MIN_SPEECH = SAMPLE_RATE // 2  # training takes clips of half a second of speech and more
PNG_UP_TO = 96  # pixels a side; larger faces become JPEG
WHY_LENGTH = 300


@dataclass(frozen=True, slots=True)
class PrepareSettings:
    """What becomes of an item.

    Attributes:
        keep: of voices, the speech ("sound"), its log-mel ("features"), or both. Items that are
            log-mel already stay it.
        max_seconds: of speech a voice; the rest is left out.
        face_size: side of a face in pixels.
        zoom: how much of a face's surroundings is cut away, see `align.Aligner`.
        landmarker: face_landmarker.task of MediaPipe, for the open mouths of portraits; "" leaves them out.
    """

    keep: Keep = "both"
    max_seconds: float = 60.0
    face_size: int = 64
    zoom: float = 1.0
    landmarker: str = ""

    def of_kind(self, kind: str) -> dict[str, Any]:
        """Those that a voice, or a face, depends on."""
        faces = {"face_size", "zoom"}
        values = asdict(self)
        del values["landmarker"]  # where it lies does not matter; `Unit` says whether there is one
        return {name: value for name, value in values.items() if (name in faces) == (kind == "face")}


@dataclass(frozen=True, slots=True)
class Entry:
    """An item, its key in the store, and whose it is; the identity's split is set."""

    key: str
    item: Item
    identity: Identity

    @property
    def view(self) -> str:
        return self.item.view if self.item.kind == "face" else ""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A sample: extension -> bytes. `cut`: it was longer than `max_seconds`."""

    members: dict[str, bytes]
    seconds: float = 0.0
    frames: int = 0
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Skipped:
    """An item that could not be used. `unreadable`: its file could not be read, whatever is in it."""

    why: str
    unreadable: bool = False


class SetupError(RuntimeError):
    """No item of its type can be made here: a package is missing."""


class UnusableError(ValueError):
    """An item that can be read, but not be used."""


@dataclass
class Maker:
    """Makes samples. Call it with an entry; whatever is wrong with its item is a `Skipped`.

    Raises:
        SetupError: a package is missing, so that no item of its type could be made.
    """

    settings: PrepareSettings
    _aligner: Aligner | None = field(default=None, repr=False)
    _portraits: PortraitMaker | None = field(default=None, repr=False)
    _mesh: FaceMesh | None = field(default=None, repr=False)

    def __call__(self, entry: Entry) -> Prepared | Skipped:
        try:
            return self._made(entry)
        except ImportError as error:  # MissingDecoderError is one
            raise SetupError(str(error)) from None
        except OSError as error:
            return Skipped(_line(error, entry.item), unreadable=True)
        except Exception as error:  # decoders fail in their own ways, and no file may stop the rest
            return Skipped(_line(error, entry.item))

    def _made(self, entry: Entry) -> Prepared:
        item, content = entry.item, entry.item.content
        if content == "sound":
            return voice(entry, *speech_of(item.place, self.settings.max_seconds), self.settings)
        if content == "logmel":
            return stored_logmel(entry, item.place.read(), self.settings)
        if isinstance(item, TalkItem):
            mesh = self._face_mesh(item.landmarker)
            assert mesh is not None  # a talking head has no points without
            return talk(entry, item, mesh, self.settings.max_seconds)
        picture = read_picture(item.place.read())
        if content == "aligned":
            square = np.asarray(ImageOps.fit(Image.fromarray(picture), (min(picture.shape[:2]),) * 2))
            # A paired picture lies on the template; a photo that others have aligned lies as they wanted it.
            zoom = 1.0 if item.view == "photo" else self.settings.zoom
            return face(entry, Image.fromarray(resize_aligned(square, self.settings.face_size, zoom)))
        if content == "portrait":
            self._portraits = self._portraits or PortraitMaker()
            return portrait(entry, self._portraits(picture), self._face_mesh(self.settings.landmarker))
        if self._aligner is None:
            self._aligner = Aligner(self.settings.face_size, self.settings.zoom)
        found = self._aligner(picture)
        if found is None:
            raise UnusableError("no face found")
        return face(entry, Image.fromarray(found.pixels))

    def _face_mesh(self, file: str) -> FaceMesh | None:
        if file and self._mesh is None:
            self._mesh = FaceMesh(Path(file))
        return self._mesh


def speech_of(place: Place, max_seconds: float) -> tuple[Float32s, bool]:
    """The voiced samples of a recording, or of a stretch of it, by the runtime's decoder and detector.

    Decoding stops as soon as enough is found.

    Returns:
        float32, (n,), 16 kHz, at most `max_seconds`, and whether there is more.

    Raises:
        UnusableError: less than half a second is speech.
    """
    most = round(max_seconds * SAMPLE_RATE)
    finder = SpeechFinder()
    voiced: list[Float32s] = []
    count = heard = 0
    for block in stretch(place):
        voiced.append(finder.push(block))
        heard += len(block)
        count += len(voiced[-1])
        if count > most:
            break
    if count < MIN_SPEECH:
        raise UnusableError(
            f"too little speech: {count / SAMPLE_RATE:.2f} s in {heard / SAMPLE_RATE:.2f} s of sound; 0.5 s is needed"
        )
    return np.concatenate(voiced)[:most], count > most


def stretch(place: Place) -> Iterator[Float32s]:
    """The sound of a place, float32 (n,) at 16 kHz, block by block."""
    source: str | bytes = place.path
    if place.size is not None or place.offset:
        source = place.read()
    else:
        with open(place.path, "rb"):  # noqa: PTH123 - as in Place. A file that is gone is an OSError, no bad sound
            pass
    first = round(place.start * SAMPLE_RATE)
    last = None if place.seconds is None else first + round(place.seconds * SAMPLE_RATE)
    position = 0
    notes = audio.Notes()
    for block in audio.stream(source, notes=notes):
        part = block[max(0, first - position) : None if last is None else max(0, last - position)]
        position += len(block)
        if len(part):
            yield part
        if last is not None and position >= last:
            break
    if notes.gaps:  # training wants whole recordings
        raise UnusableError(notes.damage())


def voice(entry: Entry, samples: Float32s, cut: bool, settings: PrepareSettings) -> Prepared:
    """Voiced samples, float32 (n,) at 16 kHz, as FLAC and log-mel."""
    members: dict[str, bytes] = {}
    frames = 0
    if settings.keep != "features":
        members["flac"] = _flac(samples)
    if settings.keep != "sound":
        logmel = features.normalise_logmel(features.logmel(samples))
        members["logmel.npy"] = _logmel(logmel)
        frames = len(logmel)
    return _sample(entry, members, len(samples) / SAMPLE_RATE, frames, cut)


def talk(entry: Entry, item: TalkItem, mesh: FaceMesh, max_seconds: float) -> Prepared:
    """The whole sound, pauses too, with the motion of the face on its clock; what has no pair at the end is cut."""
    points, mouths = motion_of(item.video, item.place, mesh, max_seconds)
    blocks, count, most = [], 0, round(max_seconds * SAMPLE_RATE)
    for block in stretch(item.place):
        blocks.append(block)
        count += len(block)
        if count > most:
            break
    frames = min(len(points), min(count, most) * FRAME_RATE // SAMPLE_RATE + 1)
    if frames < FRAME_RATE:
        raise UnusableError(f"too short: {frames} frames with sound; {FRAME_RATE} are needed, a second")
    samples = np.concatenate(blocks)[: min(most, frames * SAMPLE_RATE // FRAME_RATE)]
    members = {SOUND: _flac(samples), MOTION: _npy(points[:frames])}
    if mouths:
        members[MOUTHS] = as_member(mouths)
    words = [list(word) for word in item.words if word[0] < frames / FRAME_RATE]
    return _sample(entry, members, len(samples) / SAMPLE_RATE, cut=count > most, words=words)


def stored_logmel(entry: Entry, data: bytes, settings: PrepareSettings) -> Prepared:
    """Features that a data set has ready, (frames, 64), or turned, (64, frames)."""
    logmel = np.load(io.BytesIO(data), allow_pickle=False)
    if not isinstance(logmel, np.ndarray) or logmel.ndim != 2 or BINS not in logmel.shape or logmel.dtype.kind != "f":
        found = f"{logmel.dtype} {logmel.shape}" if isinstance(logmel, np.ndarray) else "an archive"
        raise UnusableError(f"log-mel must be floats, (frames, {BINS}); found {found}")
    if logmel.shape[1] != BINS:
        logmel = logmel.T
    per_second = SAMPLE_RATE // HOP
    if len(logmel) < MIN_SPEECH // HOP:
        raise UnusableError(f"too little speech: {len(logmel) / per_second:.2f} s; 0.5 s is needed")
    most = round(settings.max_seconds * per_second)
    kept = logmel[:most]
    return _sample(entry, {"logmel.npy": _logmel(kept)}, len(kept) / per_second, len(kept), len(logmel) > most)


def face(entry: Entry, image: Image.Image) -> Prepared:
    if image.width > PNG_UP_TO:
        return _sample(entry, {"jpg": _jpeg(image)})
    return _sample(entry, {"png": encoded(image, "PNG")})


def portrait(entry: Entry, made: Portrait, mesh: FaceMesh | None) -> Prepared:
    """A portrait with its 68 points and, where there is a `mesh` to find it, its mouth if that is open."""
    picture = Image.fromarray(made.pixels)
    members = {"jpg": _jpeg(picture), POINTS_MEMBER: _npy(made.points)}
    seen = next(mesh.follow([picture])) if mesh else None
    if seen is not None and is_open(mouth := mouth_of(picture, seen[0], seen[0][list(IBUG68), :2])):
        members[MOUTHS] = as_member([mouth])
    return _sample(entry, members, enlarged=round(made.enlarged, 3), fingerprint=made.fingerprint)


def _jpeg(image: Image.Image) -> bytes:
    return encoded(image, "JPEG", quality=95, subsampling=0)


def _sample(
    entry: Entry, members: dict[str, bytes], seconds: float = 0.0, frames: int = 0, cut: bool = False, **more: Any
) -> Prepared:
    item, who = entry.item, entry.identity
    seconds = round(seconds, 3)
    facts = {
        "identity": who.name,
        "gender": who.gender,
        "age": who.age,
        "split": who.split,
        "source": item.source,
        "clip": item.clip,
        "view": entry.view,
        "name": item.name,
        "seconds": seconds,
        **more,
    }
    return Prepared(members | {"json": json.dumps(facts).encode()}, seconds, frames, cut)


def _flac(samples: Float32s) -> bytes:
    file = io.BytesIO()
    whole = np.rint(np.clip(samples * np.float32(2**15), -(2**15), 2**15 - 1)).astype(np.int16)
    soundfile.write(file, whole, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return file.getvalue()


def _logmel(logmel: NDArray[Any]) -> bytes:
    half = np.ascontiguousarray(logmel, np.float16)
    if not np.isfinite(half).all():
        raise UnusableError("the log-mel has NaN or infinite values")
    return _npy(half)


def _npy(array: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def _line(error: Exception, item: Item) -> str:
    """An error in one line that is the same for the same file wherever it is read, and much the same for its like."""
    text = (error.strerror if isinstance(error, OSError) else str(error)) or type(error).__name__
    text = re.sub(r"<[^<>]* at 0x[0-9a-f]+>", "it", text.replace(item.place.path, "the file"))
    return " ".join(text.split())[:WHY_LENGTH]
