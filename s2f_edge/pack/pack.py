"""A model pack: a folder with manifest.json and the ONNX files that it describes.

The manifest is the source of truth. Every file that is loaded must have the size and the
sha256 that stand there, and every network the inputs and outputs.

Inside it there may be variants, each a pack in a folder named after the precision of its weights, or light, which has a
smaller voice network: int8/manifest.json. Of files that are the pack's own it has no copies.
`python -m export.variants` makes them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from s2f_edge.errors import ManifestError, PackIntegrityError, PackNotFoundError, UsageError
from s2f_edge.pack.manifest import MANIFEST, Manifest, parse_manifest
from s2f_edge.terms import VARIANTS

MAX_MANIFEST_BYTES = 1 << 20


@dataclass(frozen=True)
class Pack:
    """A pack on disk: its folder, its manifest, and the sha256 of the manifest's bytes."""

    folder: Path
    manifest: Manifest
    sha256: str

    @classmethod
    def open(cls, folder: str | Path | None = None, variant: str | None = None) -> Pack:
        """Reads a pack's manifest; the ONNX files are checked when they are read.

        Args:
            folder: the pack's folder; None takes the default pack.
            variant: light, int8, float16 or float32: the variant, or the pack itself where these are its weights; None
                takes the pack itself.

        Raises:
            UsageError: there is no variant of this name.
            PackNotFoundError: there is no manifest.json, or the pack has no such variant.
            ManifestError: the manifest cannot be understood or contradicts itself.
            PackIntegrityError: the variant is another pack's.
        """
        pack = cls._read(default_folder() if folder is None else Path(folder))
        if variant is None or variant == pack.manifest.weights:
            return pack
        if variant not in VARIANTS:
            raise UsageError(f"The variant is {variant!r}; it must be one of {', '.join(VARIANTS)}.")
        if not (pack.folder / variant / MANIFEST).exists():
            raise PackNotFoundError(
                f"{pack.folder} has no variant {variant}; it has {', '.join(variants(pack.folder))}. Make it: "
                f"python -m export.variants --pack {pack.folder} --variant {variant} --speech RECORDINGS."
            )
        found = cls._read(pack.folder / variant)
        info = found.manifest.variant
        if found.manifest.weights != variant or info is None or info.of != pack.sha256:
            raise PackIntegrityError(
                f"{found.folder} is not the variant {variant} of this pack: it belongs to another pack, or the pack "
                "has changed since. Make it again with `python -m export.variants`, or take the pack itself: --variant "
                f"{pack.manifest.weights}."
            )
        return found

    @classmethod
    def _read(cls, folder: Path) -> Pack:
        path = folder / MANIFEST
        try:
            with path.open("rb") as file:
                data = file.read(MAX_MANIFEST_BYTES + 1)
        except (FileNotFoundError, NotADirectoryError):
            raise PackNotFoundError(
                f"{folder} is not a model pack: it has no {MANIFEST}. Give a folder written by "
                "`python -m export.to_onnx`."
            ) from None
        except OSError as error:
            raise PackNotFoundError(f"{path} cannot be read: {error.strerror}.") from None
        if len(data) > MAX_MANIFEST_BYTES:
            raise ManifestError(f"{path} is larger than {MAX_MANIFEST_BYTES} bytes; a manifest is not.")
        return cls(folder, parse_manifest(data, str(path)), hashlib.sha256(data).hexdigest())

    def path(self, name: str) -> Path:
        """Where one of the pack's files lies; a variant has no copies of what is the pack's own."""
        path = self.folder / name
        return self.folder.parent / name if self.manifest.variant is not None and not path.exists() else path

    def read(self, name: str) -> bytes:
        """The bytes of one of the pack's files.

        Raises:
            PackIntegrityError: the file is missing, or differs from the manifest.
        """
        wanted = self.manifest.files[name]
        path = self.path(name)
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


def variants(folder: str | Path | None = None) -> dict[str, Path]:
    """The variants of a pack by name, and their folders: the pack itself first, then the folders inside it.

    Raises:
        PackNotFoundError, ManifestError: see `Pack.open`. What is wrong with a variant says `Pack.open` of it.
    """
    pack = Pack.open(folder)
    inside = variants_inside(pack.folder)
    return {pack.manifest.weights: pack.folder} | {k: v for k, v in inside.items() if k != pack.manifest.weights}


def variants_inside(folder: Path) -> dict[str, Path]:
    """The variants that lie in a pack's folder, by name; none where there is no pack. Opens nothing."""
    return {name: folder / name for name in VARIANTS if (folder / name / MANIFEST).exists()}


def every_variant(folder: str | Path | None = None) -> list[Pack]:
    """A pack, and then its variants, all of them opened.

    Raises:
        PackError: see `Pack.open`.
    """
    pack = Pack.open(folder)
    return [Pack.open(pack.folder, name) for name in variants(pack.folder)]


def default_folder() -> Path:
    """The default pack: inside the installed package, or in artifacts/ of a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed, checkout = package / "packs" / "default", package.parent / "artifacts" / "default"
    return installed if installed.exists() or not checkout.exists() else checkout
