"""Faces to PNG, WebP and JPEG, with where they come from inside.

Every picture says that a machine made it, in up to three layers, named by `marks`:

- metadata: XMP with IPTC's digital source type, which photo tools and platforms read, and the facts as JSON;
- watermark: in the pixels, invisible, where a face is at least 256 pixels wide;
- c2pa: signed content credentials, where the extra `c2pa` is installed.

`s2f_edge.marks.provenance` reads them.
"""

from __future__ import annotations

import html
import io
import json
import struct
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from s2f_edge.errors import UsageError
from s2f_edge.marks import watermark
from s2f_edge.terms import MAX_SIZE, MIN_SIZE

if TYPE_CHECKING:
    from s2f_edge.marks.credentials import Credentials

Pixels = NDArray[np.uint8]

NOTICE = "plausible face made from a voice, not the speaker"
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
MEDIA_TYPES = {"png": "image/png", "webp": "image/webp", "jpeg": "image/jpeg"}

FACTS_CHUNK = "s2f-provenance"
XMP_CHUNK = "XML:com.adobe.xmp"

_SAVED: dict[str, dict[str, Any]] = {
    # Enlarged faces are smooth: looking for repeats longer than runs takes four times as long and saves nothing.
    "png": {"compress_level": 3, "compress_type": zlib.Z_RLE},
    "webp": {"quality": 90, "method": 1},  # 4, Pillow's, takes three times as long for 8 % fewer bytes
    # Colour at full resolution: halved, as JPEG usually has it, it bleeds at lips and eyes of small faces.
    "jpeg": {"quality": 98, "subsampling": 0},
}
_XMP = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:s2f="https://s2f.invalid/ns/1.0/"
    Iptc4xmpExt:DigitalSourceType="{digital_source_type}"
    xmp:CreatorTool="{tool}"
    s2f:pack="{pack}"
    s2f:packSha256="{pack_sha256}"
    s2f:facts="{facts}">
   <dc:description><rdf:Alt><rdf:li xml:lang="x-default">{notice}</rdf:li></rdf:Alt></dc:description>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>"""


@dataclass(frozen=True)
class Provenance:
    """The provenance that is written into a picture.

    Attributes:
        tool: name and version of the program.
        pack, pack_sha256: the model pack and the sha256 of its manifest.
        generator: general, male or female.
        notice: what the picture is and is not.
        digital_source_type: IPTC's term for media made by a trained model.
    """

    tool: str
    pack: str
    pack_sha256: str
    generator: str
    notice: str = NOTICE
    digital_source_type: str = SOURCE_TYPE


def encode(
    faces: Pixels | Sequence[Pixels],
    provenance: Provenance,
    size: int | None = None,
    format: str = "png",
    credentials: Credentials | None = None,
) -> bytes:
    """Encodes a picture with all its marks.

    Args:
        faces: uint8, (height, width, 3), a single face; or several, (faces, height, width, 3), which come
            side by side.
        provenance: where they come from.
        size: width of each face in pixels, 16 to 4096; None keeps their own. A picture of several is at
            most 4096 pixels wide, with faces as wide as it has room for.
        format: png, webp or jpeg.
        credentials: what signs the picture; None takes `credentials.default()`.

    Raises:
        UsageError: another format.
        CertificateError, RuntimeSetupError: the picture cannot be signed with the certificate asked for.
    """
    from s2f_edge.marks.credentials import default

    checked_format(format)
    single = np.ndim(faces[0]) == 2
    several: list[Pixels] = [np.asarray(faces)] if single else list(faces)
    side = several[0].shape[1] if size is None else face_size(size, len(several))
    cells = [_marked(resized(face, side), provenance) for face in several]
    smooth = side > several[0].shape[1]
    data = _file(cells[0] if len(cells) == 1 else grid(cells), provenance, format, smooth)
    signer = credentials or default()
    return signer.sign(data, MEDIA_TYPES[format], asdict(provenance)) if signer else data


def marks(size: int, faces: int = 1, credentials: Credentials | None = None) -> tuple[str, ...]:
    """The layers that a picture has: of metadata, watermark and c2pa.

    Args:
        size, faces, credentials: as `encode` has them.
    """
    from s2f_edge.marks.credentials import default

    return layers(face_size(size, faces), signed=(credentials or default()) is not None)


def layers(side: int, signed: bool) -> tuple[str, ...]:
    """The layers in which a picture or a video with faces of so many pixels says where it comes from."""
    has = {"metadata": True, "watermark": side >= watermark.MIN_SIZE, "c2pa": signed}
    return tuple(name for name, there in has.items() if there)


def checked_size(size: int) -> int:
    """Checks the side of a picture, in pixels, and returns it.

    Raises:
        UsageError: it is not from 16 to 4096.
    """
    if not MIN_SIZE <= size <= MAX_SIZE:
        raise UsageError(f"The size is {size} pixels; it must be from {MIN_SIZE} to {MAX_SIZE}.")
    return int(size)


def checked_format(format: str) -> str:
    """Checks the format of a picture and returns it.

    Raises:
        UsageError: it is not png, webp or jpeg.
    """
    if format not in MEDIA_TYPES:
        raise UsageError(f"The format is {format!r}; it must be one of {', '.join(MEDIA_TYPES)}.")
    return format


def face_size(size: int, faces: int) -> int:
    """Width in pixels of each of several faces in one picture, `size` where there is room for it."""
    columns = _columns(faces)
    side = size
    while columns * side + (columns - 1) * _gap(side) > MAX_SIZE:
        side -= 1
    return side


def grid(faces: Sequence[Pixels]) -> Pixels:
    """Faces side by side, in as many rows as make the picture about square, white between."""
    columns = _columns(len(faces))
    rows = -(-len(faces) // columns)
    height, width, _ = faces[0].shape
    gap = _gap(width)
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, np.uint8)
    for i, face in enumerate(faces):
        y, x = (i // columns) * (height + gap), (i % columns) * (width + gap)
        sheet[y : y + height, x : x + width] = face
    return sheet


def _columns(faces: int) -> int:
    return int(np.ceil(np.sqrt(faces)))


def _gap(width: int) -> int:
    return max(1, width // 32)


def resized(face: Pixels, width: int) -> Pixels:
    """A picture, uint8 (height, width, 3), made as wide as that."""
    if width == face.shape[1]:
        return face
    height = width * face.shape[0] // face.shape[1]
    return np.asarray(Image.fromarray(face).resize((width, height), Image.Resampling.BICUBIC))


def _marked(face: Pixels, provenance: Provenance) -> Pixels:
    """With the watermark, where the face is large enough for one."""
    if face.shape[0] != face.shape[1] or face.shape[1] < watermark.MIN_SIZE:
        return face
    return watermark.mark(face, watermark.make_payload(provenance.generator, provenance.pack_sha256))


def texts(provenance: Provenance) -> dict[str, str]:
    """What a PNG says of its origin, by the keywords of its chunks: XMP and facts as iTXt, the others as tEXt."""
    facts = asdict(provenance)
    quoted = {
        key: html.escape(value, quote=False).replace('"', "&quot;")  # saxutils would load ssl and http
        for key, value in (facts | {"facts": json.dumps(facts)}).items()
    }
    return {
        XMP_CHUNK: _XMP.format(**quoted),
        FACTS_CHUNK: json.dumps(facts),
        "Description": provenance.notice,
        "Software": provenance.tool,
    }


def png(pixels: Pixels, provenance: Provenance) -> bytes:
    """A PNG of pixels as they are, with metadata and nothing more."""
    return _file(pixels, provenance, "png")


def _file(pixels: Pixels, provenance: Provenance, format: str, smooth: bool = False) -> bytes:
    entries = texts(provenance)
    more: dict[str, Any] = {"xmp": entries[XMP_CHUNK].encode()}
    if format == "png":
        info = PngImagePlugin.PngInfo()
        for keyword, text in entries.items():
            (info.add_itxt if keyword in (XMP_CHUNK, FACTS_CHUNK) else info.add_text)(keyword, text)
        if not smooth:
            return _png(pixels, info)
        more = {"pnginfo": info}
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format, **_SAVED[format], **more)
    return buffer.getvalue()


def _png(pixels: Pixels, info: PngImagePlugin.PngInfo) -> bytes:
    """A PNG that has each pixel as its difference from the mean of those to the left and above.

    Pillow tries every such rule on each row, without letting other threads run: that takes more than twice as long for
    2 % fewer bytes, and pays for enlarged faces alone.
    """
    height, width, channels = pixels.shape
    rows = pixels.reshape(height, -1)
    left, above = np.zeros_like(rows), np.zeros_like(rows)
    left[:, channels:], above[1:] = rows[:, :-channels], rows[:-1]
    filtered = np.full((height, 1 + width * channels), 3, np.uint8)  # each row begins with the number of its rule
    np.subtract(rows, (left & above) + ((left ^ above) >> 1), out=filtered[:, 1:])
    packer = zlib.compressobj(1, strategy=zlib.Z_HUFFMAN_ONLY)
    packed = packer.compress(filtered.tobytes()) + packer.flush()
    head = struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0)  # 8 bits a channel, RGB
    text_chunks = [(kind, data) for kind, data, *_ in info.chunks]
    file = io.BytesIO()
    file.write(b"\x89PNG\r\n\x1a\n")
    for kind, data in [(b"IHDR", head), *text_chunks, (b"IDAT", packed), (b"IEND", b"")]:
        PngImagePlugin.putchunk(file, kind, data)
    return file.getvalue()
