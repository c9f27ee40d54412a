"""Signed content credentials (C2PA) of pictures: writing and reading them. Needs the extra `c2pa`.

They say in a form that a signature protects what the metadata say too, and readers see
whether the picture has changed since. Nothing here opens a connection: no time stamp is asked
for, no revocation is looked up, and a manifest that lies elsewhere is not fetched.
"""

from __future__ import annotations

import io
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from s2f_edge._version import __version__
from s2f_edge.errors import CertificateError, RuntimeSetupError
from s2f_edge.marks import certificates
from s2f_edge.marks.c2pa_library import OFFLINE, installed, library
from s2f_edge.marks.certificates import SELF_MADE, Certificate

CERTIFICATE_VARIABLE, KEY_VARIABLE = "S2F_C2PA_CERTIFICATE", "S2F_C2PA_KEY"
PROGRAM = "s2f-edge"
FACTS = "s2f.provenance"
_HEAD = 64 << 20  # bytes; manifests of videos stand before sound and picture

# What a picture of no one may be used for; CAWG's terms, which readers of C2PA know.
_MINING = {
    "cawg.ai_generative_training": {"use": "notAllowed"},
    "cawg.ai_training": {"use": "notAllowed"},
    "cawg.data_mining": {"use": "notAllowed"},
    "cawg.ai_inference": {"use": "constrained", "constraint_info": "not to identify, find, judge or accuse anyone"},
}


# ------------------------------------------------------------------------------ writing


class Credentials:
    """Signs pictures with one certificate. Threads may share it."""

    def __init__(self, certificate: Certificate):
        c2pa = library()
        self.certificate = certificate
        signer = c2pa.Signer.from_info(c2pa.C2paSignerInfo("es256", certificate.chain, certificate.key, None))
        self._context = c2pa.Context.from_dict(OFFLINE, signer)

    @classmethod
    def from_files(cls, certificate: str | Path, key: str | Path) -> Credentials:
        """Credentials with a certificate from PEM files; see `certificates.load`.

        Raises:
            RuntimeSetupError: the extra `c2pa` is not there.
            CertificateError: the files are not what is needed, or C2PA does not allow the certificate.
        """
        library()
        loaded = certificates.load(certificate, key)
        try:
            credentials = cls(loaded)
            problems = credentials._try()
        except library().C2paError as error:
            problems = [str(error)]
        if problems:
            raise CertificateError(
                f"The certificate {certificate} cannot sign pictures: {'; '.join(problems)}. C2PA wants one that "
                "another certificate issued, with the key usage digitalSignature and the extended key usage "
                "emailProtection or documentSigning."
            )
        return credentials

    @classmethod
    def make(cls) -> Credentials:
        """Credentials with a new self-made certificate, which does not name the signer.

        Raises:
            RuntimeSetupError: the extra `c2pa` is not there.
        """
        library()
        return cls(certificates.make())

    def sign(self, picture: bytes, media_type: str, facts: Mapping[str, str]) -> bytes:
        """The picture with a signed manifest inside.

        Args:
            picture: bytes of a PNG, JPEG or WebP.
            media_type: image/png, image/jpeg or image/webp.
            facts: the fields of `picture.Provenance`.

        Raises:
            CertificateError: the certificate has expired, or signing failed.
        """
        signed = io.BytesIO()
        self.sign_file(io.BytesIO(picture), signed, media_type, facts)
        return signed.getvalue()

    def sign_file(self, source: BinaryIO, target: BinaryIO, media_type: str, facts: Mapping[str, str]) -> None:
        """Writes a file with a signed manifest inside: of pictures, as `sign`, of image/gif and of video/mp4.

        Args:
            source, target: binary files that can seek; `target` can be read too.

        Raises:
            CertificateError: as of `sign`.
        """
        self.certificate.check_dates()
        try:
            self._sign(source, target, media_type, facts)
        except library().C2paError as error:
            raise CertificateError(f"The picture cannot be signed: {error}.") from None

    def _sign(self, source: BinaryIO, target: BinaryIO, media_type: str, facts: Mapping[str, str]) -> None:
        with library().Builder(_manifest(facts), self._context) as builder:
            builder.sign(media_type, source, target)

    def _try(self) -> list[str]:
        """What a reader finds wrong with a picture that this signs, but that it does not know the signer."""
        from PIL import Image

        blank, signed = io.BytesIO(), io.BytesIO()
        Image.new("RGB", (1, 1)).save(blank, "PNG")
        blank.seek(0)
        self._sign(blank, signed, "image/png", {})
        found = read(signed.getvalue(), "image/png")
        return [] if found is None or found.state == "valid" else list(found.problems)


def default() -> Credentials | None:
    """The default credentials.

    The certificate of the environment's S2F_C2PA_CERTIFICATE and S2F_C2PA_KEY, else a self-made
    one, the same for the whole process; None without the extra `c2pa`.

    Raises:
        RuntimeSetupError, CertificateError: the environment names a certificate that cannot be used.
    """
    return chosen(os.environ.get(CERTIFICATE_VARIABLE), os.environ.get(KEY_VARIABLE))


def chosen(certificate: str | Path | None, key: str | Path | None) -> Credentials | None:
    """Credentials from certificate and key files; without both, the self-made one or None as in `default`.

    Raises:
        RuntimeSetupError, CertificateError: a certificate is given that cannot be used.
    """
    if certificate or key:
        if not (certificate and key):
            raise CertificateError(
                f"{'A certificate' if certificate else 'A key'} is given without its "
                f"{'key' if certificate else 'certificate'}; give both (--c2pa-certificate and --c2pa-key, or "
                f"{CERTIFICATE_VARIABLE} and {KEY_VARIABLE})."
            )
        return _from_files(str(certificate), str(key))
    return _made_once() if installed() else None


@lru_cache(maxsize=8)
def _from_files(certificate: str, key: str) -> Credentials:
    return Credentials.from_files(certificate, key)


@cache
def _made_once() -> Credentials | None:
    try:
        return Credentials.make()
    except RuntimeSetupError as error:  # installed, and cannot be loaded here
        logging.getLogger(__name__).warning("pictures are not signed: %s", error)
        return None


def _manifest(facts: Mapping[str, str]) -> dict[str, Any]:
    program = {"name": PROGRAM, "version": __version__}
    action = {
        "action": "c2pa.created",
        "digitalSourceType": facts.get("digital_source_type", ""),
        "softwareAgent": program,
        "description": facts.get("notice", ""),
    }
    return {
        "claim_generator_info": [program],
        "title": facts.get("notice", ""),
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": [action]}},
            {"label": "cawg.training-mining", "data": {"entries": _MINING}},
            {"label": FACTS, "data": dict(facts)},
        ],
    }


# ------------------------------------------------------------------------------ reading


@dataclass(frozen=True)
class Found:
    """The content credentials of a picture.

    Attributes:
        state: valid; changed, where the picture is no longer what was signed; expired, where the
            certificate's last day has passed; broken, where the credentials themselves are not
            what was signed, or cannot be read; elsewhere, where the picture only names an address
            that has them, which is not asked.
        trust: trusted, where the certificate leads to one that the reader trusts; self-made; else unknown.
        signer: the name in the certificate. Anyone can put any name into one that is not trusted.
        program: name and version of the program that made the claim.
        source_type: IPTC's digital source type of what was created, where the claim has one.
        facts: what s2f-edge wrote of the picture's origin.
        problems: C2PA's codes of what is wrong.
    """

    state: str
    trust: str
    signer: str = ""
    program: str = ""
    source_type: str = ""
    facts: Mapping[str, str] | None = None
    problems: tuple[str, ...] = ()


def read(picture: bytes | BinaryIO, media_type: str, trust: str | None = None) -> Found | None:
    """The content credentials of a picture or video, checked; None where it has none.

    Args:
        picture: bytes of the file, or a binary file that can seek.
        media_type: such as image/png.
        trust: certificates in PEM; who was issued one by them is trusted.

    Raises:
        RuntimeSetupError: the extra `c2pa` is not there.
        CertificateError: `trust` is no PEM.
    """
    c2pa = library()
    context = _reading(trust)
    file = io.BytesIO(picture) if isinstance(picture, bytes) else picture
    try:
        with c2pa.Reader(media_type, file, context=context) as reader:
            report = json.loads(reader.json())
    except (c2pa.C2paError.ManifestNotFound, c2pa.C2paError.NotSupported):
        return None
    except (c2pa.C2paError, ValueError, RecursionError) as error:
        if str(error).startswith("Remote"):
            return Found("elsewhere", "unknown", problems=(_short(str(error)),))
        file.seek(0)
        if b"c2pa" not in file.read(_HEAD):
            return None  # c2pa does not get along with the file, and has nothing to read in it
        return Found("broken", "unknown", problems=(_short(str(error)),))
    return _found(report)


@lru_cache(maxsize=4)
def _reading(trust: str | None) -> Any:
    c2pa = library()
    settings = OFFLINE | ({"trust": {"trust_anchors": trust}} if trust else {})
    try:
        return c2pa.Context.from_dict(settings)
    except c2pa.C2paError as error:
        raise CertificateError(f"The certificates to trust cannot be read: {error}.") from None


def _found(report: Any) -> Found:
    manifest = _dict(_dict(report.get("manifests")).get(report.get("active_manifest")))
    results = _dict(_dict(report.get("validation_results")).get("activeManifest"))
    failures = [str(_dict(each).get("code", "")) for each in results.get("failure") or []]
    signature = _dict(manifest.get("signature_info"))
    signer = _short(str(signature.get("issuer") or signature.get("common_name") or ""))
    passed = [str(_dict(each).get("code", "")) for each in results.get("success") or []]
    unknown = "self-made" if signer == SELF_MADE else "unknown"
    trust = "trusted" if "signingCredential.trusted" in passed else unknown
    generator = _dict(next(iter(manifest.get("claim_generator_info") or []), None))
    data = {str(_dict(each).get("label")): _dict(_dict(each).get("data")) for each in manifest.get("assertions") or []}
    actions = [
        _dict(each) for label in data if label.startswith("c2pa.actions") for each in data[label].get("actions", [])
    ]
    sources = [str(each["digitalSourceType"]) for each in actions if each.get("digitalSourceType")]
    facts = {str(key): _short(value) for key, value in data.get(FACTS, {}).items() if isinstance(value, str)}
    return Found(
        state=_state(failures),
        trust=trust,
        signer=signer,
        program=_short(f"{generator.get('name', '')} {generator.get('version', '')}".strip()),
        source_type=_short(sources[0]) if sources else "",
        facts=facts or None,
        problems=tuple(_short(code) for code in failures if code != "signingCredential.untrusted"),
    )


def _state(failures: list[str]) -> str:
    left = {code for code in failures if code != "signingCredential.untrusted"}
    if not left:
        return "valid"
    if left <= {"assertion.dataHash.mismatch", "assertion.boxesHash.mismatch", "assertion.bmffHash.mismatch"}:
        return "changed"
    return "expired" if left <= {"signingCredential.expired", "claimSignature.outsideValidity"} else "broken"


def _dict(value: Any) -> dict[str, Any]:
    """What a stranger's file has where an object should be."""
    return value if isinstance(value, dict) else {}


def _short(text: str) -> str:
    return text[:500]
