"""Reading where a picture or video comes from, by every layer that `s2f_edge.picture` and `talk` write.

Anyone can write or remove most of it: what is found is what the picture says, and only a
signature by a trusted certificate says who says so. What is not found proves nothing.
"""

from __future__ import annotations

import html
import io
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from s2f_edge.errors import CertificateError, ProvenanceError, S2FError, UsageError
from s2f_edge.marks import c2pa_library, credentials, provenance_video, watermark
from s2f_edge.marks.watermark import Mark
from s2f_edge.picture import FACTS_CHUNK, NOTICE, XMP_CHUNK, Pixels

MAX_PICTURE_BYTES = 64 << 20
MAX_PIXELS = 50_000_000
# Not all that Pillow reads: its readers of PostScript and the like run other programs.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
FIELDS = ("tool", "pack", "pack_sha256", "generator", "kind", "notice", "digital_source_type")

_LONGEST = 500  # characters of a field
_MAX_XMP = 256 << 10
_TOOL = "s2f-edge"
_STATES = {
    "valid": "it has not changed since it was signed",
    "changed": "it has changed since it was signed",
    "expired": "the certificate has expired since",
    "broken": "the credentials are damaged or forged",
    "elsewhere": "the credentials lie elsewhere and were not fetched",
}


@dataclass(frozen=True)
class Watermark:
    """The contents of the watermark.

    Attributes:
        generator: general, male or female.
        pack: the first 4 hex digits of the sha256 of the pack's manifest.
        log10_false_alarm: bound on the chance of such a mark in a picture that has none.
        box: left, top, width and height of the face in pixels.
    """

    generator: str
    pack: str
    log10_false_alarm: float
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class Report:
    """The provenance of a picture, layer by layer.

    Attributes:
        format, width, height: of the picture.
        metadata: those of `FIELDS` that are written in it; empty where none is.
        credentials: the signed content credentials; None where there are none.
        credentials_read: whether they could be looked for: it takes the extra `c2pa`.
        watermark: None where none was found.
    """

    format: str
    width: int
    height: int
    metadata: Mapping[str, str]
    credentials: credentials.Found | None
    credentials_read: bool
    watermark: Watermark | None

    @property
    def found(self) -> bool:
        """Whether any layer was found."""
        return bool(self.metadata or self.credentials or self.watermark)

    @property
    def layers(self) -> tuple[str, ...]:
        """Those that say that s2f-edge made the picture: of metadata, watermark and c2pa."""
        present = {
            "metadata": self.metadata.get("tool", "").startswith(_TOOL),
            "watermark": self.watermark is not None,
            "c2pa": self.credentials is not None and self.credentials.program.startswith(_TOOL),
        }
        return tuple(name for name, there in present.items() if there)

    @property
    def verdict(self) -> str:
        """A summary in one sentence."""
        if not self.layers:
            if not self.found:
                return "No trace of s2f-edge; that proves nothing, since every mark can be removed."
            says = self.metadata.get("digital_source_type") or (self.credentials and self.credentials.source_type)
            what = f"; it says of itself: {says.rpartition('/')[2]}" if says else ""
            return f"No trace of s2f-edge, which proves nothing{what}."
        names = {"metadata": "metadata", "watermark": "watermark", "c2pa": "signed content credentials"}
        *first, last = [names[layer] for layer in self.layers]
        verb = "say" if first or last != "watermark" else "says"
        subject = f"{', '.join(first)} and {last}" if first else last
        made = "this drawing of a recording" if self.metadata.get("kind") == "inspection" else f"this: a {NOTICE}"
        signed = self._signed() if "c2pa" in self.layers else ""
        return f"Its {subject} {verb} that s2f-edge made {made}{signed}."

    def _signed(self) -> str:
        assert self.credentials is not None
        by = {
            "trusted": f"signed by {self.credentials.signer}, who is trusted",
            "self-made": "signed by a self-made certificate, which does not say by whom",
            "unknown": f"signed by a certificate that nobody here vouches for ({self.credentials.signer})",
        }[self.credentials.trust]
        return f"; {by}; {_STATES[self.credentials.state]}"

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return {
            "verdict": self.verdict,
            "made_by_s2f": bool(self.layers),
            "layers": list(self.layers),
            "format": self.format,
            "width": self.width,
            "height": self.height,
            "metadata": dict(self.metadata) or None,
            "credentials": asdict(self.credentials) if self.credentials else None,
            "credentials_read": self.credentials_read,
            "watermark": asdict(self.watermark) if self.watermark else None,
        }


def read(source: str | Path | bytes, trust: str | Path | None = None) -> Report:
    """Reads the provenance of a picture or a video.

    Args:
        source: path or bytes of a PNG, WebP, JPEG, GIF, BMP, TIFF or AVIF, or of an mp4 or webm.
        trust: PEM file of certificates; signers that they issued are trusted.

    Raises:
        ProvenanceError: it is no such picture or video, or too large: a picture over 64 MB or 50 megapixels, a
            video with frames over 9 megapixels; or it is a video, and the extra `media` is missing.
        CertificateError: `trust` cannot be read.
    """
    anchors = _pem(Path(trust)) if trust else None
    looked = c2pa_library.installed()
    with _opened(source) as (name, file):
        if format := _video_kind(file):
            video = provenance_video.look(name, file, format)
            file.seek(0)
            signed = credentials.read(file, provenance_video.MEDIA_TYPES[format], anchors) if looked else None
            metadata = _metadata(video.tags)
            return Report(format, video.width, video.height, metadata, signed, looked, _watermark(video.mark))
        data = _bytes_of(name, file)
    format, info, pixels = _picture(name, data)
    signed = credentials.read(data, Image.MIME.get(format, ""), anchors) if looked else None
    mark = _watermark(watermark.find(pixels))
    return Report(format.lower(), pixels.shape[1], pixels.shape[0], _metadata(info), signed, looked, mark)


def read_metadata(source: str | Path | bytes) -> dict[str, str]:
    """What is written in a picture or video beside its pixels: those of `FIELDS` that are there.

    Raises:
        ProvenanceError: it is no picture or video, or nothing is written.
    """
    with _opened(source) as (name, file):
        if format := _video_kind(file):
            facts = _metadata(provenance_video.look(name, file, format, watermarks=False).tags)
        else:
            facts = _metadata(_picture(name, _bytes_of(name, file))[1])
    if not facts:
        raise ProvenanceError(
            f"{name} carries no provenance: s2f-edge did not write it, or another program removed the text."
        )
    return facts


def _picture(name: str, data: bytes) -> tuple[str, dict[Any, Any], Pixels]:
    """Format, what is written, and uint8 pixels (height, width, 3)."""
    if any(each not in Image.OPEN for each in FORMATS):
        Image.init()
    try:
        with Image.open(io.BytesIO(data), formats=[each for each in FORMATS if each in Image.OPEN]) as image:
            too_large = image.width * image.height > MAX_PIXELS
            if not too_large:
                image.load()  # text may follow the pixels
                return str(image.format), image.info, np.asarray(image.convert("RGB"))
    except Image.DecompressionBombError:
        pass
    except Exception as error:  # Pillow raises errors of all kinds for hostile files
        if "MAX_TEXT" in str(error):
            raise ProvenanceError(
                f"{name} has a packed colour profile or text of more than 1 MB, which is not unpacked; give a copy of "
                "the picture without it."
            ) from None
        raise ProvenanceError(f"{name} is not a readable picture; give a {', '.join(FORMATS)}.") from None
    raise ProvenanceError(f"{name} has more than {MAX_PIXELS // 1_000_000} megapixels; give a smaller copy of it.")


def _metadata(info: Mapping[Any, Any]) -> dict[str, str]:
    xmp = _text(info.get(XMP_CHUNK) or info.get("xmp"))[:_MAX_XMP]
    for written in (_text(info.get(FACTS_CHUNK)), _value(xmp, "s2f:facts"), _text(info.get("comment"))):
        try:
            facts = json.loads(written)
        except (ValueError, RecursionError):
            continue
        if isinstance(facts, dict):
            known = {name: facts[name][:_LONGEST] for name in FIELDS if isinstance(facts.get(name), str)}
            if known:
                return known
    source_type = _value(xmp, r"\w{1,40}:DigitalSourceType")
    return {"digital_source_type": source_type[:_LONGEST]} if source_type else {}


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")


def _value(xmp: str, name: str) -> str:
    """A property's value, written as attribute or as element. By pattern: a parser of XML would be open to attack."""
    for pattern in (
        rf'\s{name}\s{{0,9}}=\s{{0,9}}"([^"<]{{1,4000}})"',
        rf"\s{name}\s{{0,9}}=\s{{0,9}}'([^'<]{{1,4000}})'",
        rf"<{name}>([^<]{{1,4000}})<",
    ):
        if found := re.search(pattern, xmp):
            return html.unescape(found[1]).strip()
    return ""


def _watermark(mark: Mark | None) -> Watermark | None:
    if mark is None:
        return None
    try:
        meaning = watermark.read_payload(mark.payload)
    except UsageError:  # a mark that says nothing of ours
        return None
    return Watermark(meaning.generator, meaning.pack, round(mark.log10_false_alarm, 1), mark.box)


def _pem(path: Path) -> str:
    try:
        return path.read_text("ascii")
    except (OSError, ValueError) as error:
        raise CertificateError(f"The certificates to trust, {path}, cannot be read: {error}.") from None


@contextmanager
def _opened(source: str | Path | bytes) -> Iterator[tuple[str, BinaryIO]]:
    """What to call the picture or video, and a binary file of it."""
    if isinstance(source, bytes):
        yield "The picture", io.BytesIO(source)
        return
    name = str(source)
    try:
        with Path(source).open("rb") as file:
            yield name, file if file.seekable() else io.BytesIO(file.read(MAX_PICTURE_BYTES + 1))
    except S2FError:
        raise
    except (OSError, ValueError) as error:
        raise ProvenanceError(f"{name} cannot be read: {getattr(error, 'strerror', None) or error}.") from None


def _video_kind(file: BinaryIO) -> str | None:
    found = provenance_video.kind(file.read(12))
    file.seek(0)
    return found


def _bytes_of(name: str, file: BinaryIO) -> bytes:
    data = file.read(MAX_PICTURE_BYTES + 1)
    if len(data) > MAX_PICTURE_BYTES:
        raise ProvenanceError(f"{name} is larger than {MAX_PICTURE_BYTES >> 20} MB; give a smaller copy of it.")
    return data
