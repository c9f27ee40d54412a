"""Faces to PNG, with where they come from written inside, and reading that back.

Every picture says in two places that a machine made it: as XMP with IPTC's digital source
type, which photo tools and platforms read, and as JSON in a text chunk of its own.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from s2f_edge.errors import ProvenanceError, UsageError

Pixels = NDArray[np.uint8]

NOTICE = "plausible face made from a voice, not the speaker"
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
MIN_SIZE, MAX_SIZE = 16, 4096
MAX_PICTURE_BYTES = 64 << 20

_CHUNK = "s2f-provenance"
_XMP_CHUNK = "XML:com.adobe.xmp"
_XMP = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:s2f="https://s2f.invalid/ns/1.0/"
    Iptc4xmpExt:DigitalSourceType={source_type}
    xmp:CreatorTool={tool}
    s2f:pack={pack}
    s2f:packSha256={pack_sha256}>
   <dc:description><rdf:Alt><rdf:li xml:lang="x-default">{notice}</rdf:li></rdf:Alt></dc:description>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>"""


@dataclass(frozen=True)
class Provenance:
    """Where a picture comes from.

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


def encode_png(pixels: Pixels, provenance: Provenance | None, size: int | None = None) -> bytes:
    """PNG bytes of a picture.

    Args:
        pixels: uint8, (height, width, 3).
        provenance: written into the file.
        size: width and height in pixels, 16 to 4096; None keeps the picture's own.
    """
    image = Image.fromarray(pixels)
    if size is not None and size != image.width:
        image = image.resize((size, size * image.height // image.width), Image.Resampling.BICUBIC)
    info = PngImagePlugin.PngInfo()
    if provenance:
        facts = asdict(provenance)
        quoted = {key: quoteattr(value) for key, value in facts.items()}
        xmp = _XMP.format(
            source_type=quoted["digital_source_type"],
            tool=quoted["tool"],
            pack=quoted["pack"],
            pack_sha256=quoted["pack_sha256"],
            notice=provenance.notice,
        )
        info.add_itxt(_XMP_CHUNK, xmp)
        info.add_itxt(_CHUNK, json.dumps(facts))
        info.add_text("Description", provenance.notice)
        info.add_text("Software", provenance.tool)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def checked_size(size: int) -> int:
    """`size` if it can be the side of a picture in pixels.

    Raises:
        UsageError: it is not from 16 to 4096.
    """
    if not MIN_SIZE <= size <= MAX_SIZE:
        raise UsageError(f"The size is {size} pixels; it must be from {MIN_SIZE} to {MAX_SIZE}.")
    return size


def grid(faces: Sequence[Pixels]) -> Pixels:
    """Faces side by side, in as many rows as make the picture about square, white between."""
    count = len(faces)
    columns = int(np.ceil(np.sqrt(count)))
    rows = -(-count // columns)
    height, width, _ = faces[0].shape
    gap = max(1, width // 32)
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, np.uint8)
    for i, face in enumerate(faces):
        y, x = (i // columns) * (height + gap), (i % columns) * (width + gap)
        sheet[y : y + height, x : x + width] = face
    return sheet


def read_provenance(source: str | Path | bytes) -> dict[str, Any]:
    """What a picture says of its origin.

    Args:
        source: path or bytes of a PNG.

    Returns:
        The fields of `Provenance`. Anyone can write or remove them: they are a label, not
        a proof.

    Raises:
        ProvenanceError: no PNG, or one without readable provenance.
    """
    name, data = ("The picture", source) if isinstance(source, bytes) else (str(source), _bytes_of(Path(source)))
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            image.load()  # text chunks may follow the pixels
            text = {key: str(value) for key, value in image.info.items() if isinstance(key, str)}
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise ProvenanceError(f"{name} is no PNG that can be read; give a picture that s2f-edge wrote.") from None
    try:
        facts = json.loads(text[_CHUNK])
        if not isinstance(facts, dict):
            raise TypeError
    except (KeyError, ValueError, TypeError, RecursionError):
        source_type = re.search(r'DigitalSourceType="([^"]{1,200})"', text.get(_XMP_CHUNK, ""))
        if source_type is None:
            raise ProvenanceError(
                f"{name} carries no provenance: s2f-edge did not write it, or another program removed the text."
            ) from None
        return {"digital_source_type": source_type[1]}
    return facts


def _bytes_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_PICTURE_BYTES + 1)
    except OSError as error:
        raise ProvenanceError(f"{path} cannot be read: {error.strerror}.") from None
    if len(data) > MAX_PICTURE_BYTES:
        raise ProvenanceError(f"{path} is larger than {MAX_PICTURE_BYTES} bytes; give a picture that s2f-edge wrote.")
    return data
