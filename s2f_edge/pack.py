"""A model pack: a folder with manifest.json and the ONNX files that it describes.

The manifest is the source of truth. Every file that is loaded must have the size and the
sha256 that stand there, and every network the inputs and outputs.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from s2f_edge.errors import ManifestError, PackIntegrityError, PackNotFoundError
from s2f_edge.manifest import MANIFEST, Manifest, parse_manifest

MAX_MANIFEST_BYTES = 1 << 20


@dataclass(frozen=True)
class Pack:
    """A pack on disk: its folder, its manifest, and the sha256 of the manifest's bytes."""

    folder: Path
    manifest: Manifest
    sha256: str

    @classmethod
    def open(cls, folder: str | Path | None = None) -> Pack:
        """Reads a pack's manifest; the ONNX files are checked when they are read.

        Args:
            folder: the pack's folder; None takes the default pack.

        Raises:
            PackNotFoundError: there is no manifest.json.
            ManifestError: the manifest cannot be understood or contradicts itself.
        """
        folder = default_folder() if folder is None else Path(folder)
        path = folder / MANIFEST
        try:
            with path.open("rb") as file:
                data = file.read(MAX_MANIFEST_BYTES + 1)
        except (FileNotFoundError, NotADirectoryError):
            raise PackNotFoundError(
                f"{folder} is no model pack: it has no {MANIFEST}. Give the folder that "
                "`python -m export.to_onnx` wrote."
            ) from None
        except OSError as error:
            raise PackNotFoundError(f"{path} cannot be read: {error.strerror}.") from None
        if len(data) > MAX_MANIFEST_BYTES:
            raise ManifestError(f"{path} is larger than {MAX_MANIFEST_BYTES} bytes; a manifest is not.")
        return cls(folder, parse_manifest(data, str(path)), hashlib.sha256(data).hexdigest())

    def read(self, name: str) -> bytes:
        """The bytes of one of the pack's files.

        Raises:
            PackIntegrityError: the file is missing, or differs from the manifest.
        """
        wanted = self.manifest.files[name]
        path = self.folder / name
        try:
            with path.open("rb") as file:
                data = file.read(wanted.bytes + 1)
        except OSError as error:
            raise PackIntegrityError(f"{path} cannot be read: {error.strerror}. Get the pack again.") from None
        if len(data) != wanted.bytes:
            size = "more" if len(data) > wanted.bytes else f"{len(data)}"
            raise PackIntegrityError(
                f"{path} has {size} bytes; the manifest says {wanted.bytes}. It is damaged or from another pack; "
                "get the pack again."
            )
        found = hashlib.sha256(data).hexdigest()
        if found != wanted.sha256:
            raise PackIntegrityError(
                f"{path} has sha256 {found[:16]}...; the manifest says {wanted.sha256[:16]}.... It is damaged or "
                "was changed; get the pack again."
            )
        return data


def default_folder() -> Path:
    """The default pack: inside the installed package, or in artifacts/ of a checkout."""
    installed = Path(str(resources.files("s2f_edge"))) / "packs" / "default"
    checkout = Path(__file__).resolve().parent.parent / "artifacts" / "default"
    return installed if installed.exists() or not checkout.exists() else checkout
