"""Certificates that pictures are signed with: an own one from PEM files, or one made for this process.

Needs the package cryptography, and imports it when it is called.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from s2f_edge.errors import CertificateError

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

SELF_MADE = "s2f-edge, self-made certificate"  # the organisation that such a certificate names

_SELF_MADE_YEARS = 30  # readers go by the certificate's last day, since there is no time stamp
_SLACK = datetime.timedelta(hours=1)  # clocks differ
_MAX_PEM = 1 << 20
_NO_USES = dict.fromkeys(
    ["content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only", "decipher_only"],
    False,
)


@dataclass(frozen=True)
class Certificate:
    """A signing certificate.

    Attributes:
        chain: PEM, the signer's certificate first.
        key: PEM of its private key, PKCS #8, EC on the curve P-256.
        signer: the name in it.
        until: when it expires.
        self_made: this process made it, so it does not say who signs.
    """

    chain: bytes = field(repr=False)
    key: bytes = field(repr=False)
    signer: str
    until: datetime.datetime
    self_made: bool

    def check_dates(self) -> None:
        """Checks that the certificate is valid today.

        Raises:
            CertificateError: it has expired.
        """
        if self.until < _now():
            raise CertificateError(f"The certificate of {self.signer} expired on {self.until:%Y-%m-%d}; renew it.")


def load(certificate: str | Path, key: str | Path) -> Certificate:
    """Loads a certificate and its private key from PEM files.

    Args:
        certificate: PEM file of the certificate and those that issued it, the signer's first.
        key: PEM file of its private key, EC on the curve P-256, without a password.

    Raises:
        CertificateError: a file cannot be read or is no PEM, the two do not belong together, or the
            certificate is not valid today.
    """
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    chain = _chain(Path(certificate))
    private = _private_key(Path(key))
    if private.public_key() != chain[0].public_key():
        raise CertificateError(f"The key {key} is not that of the first certificate in {certificate}.")
    first = chain[0].not_valid_before_utc
    if first > _now():
        raise CertificateError(f"The certificate {certificate} is valid from {first:%Y-%m-%d %H:%M} UTC only.")
    loaded = Certificate(
        b"".join(each.public_bytes(Encoding.PEM) for each in chain),
        private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        _name(chain[0]),
        chain[0].not_valid_after_utc,
        self_made=False,
    )
    loaded.check_dates()
    return loaded


def make() -> Certificate:
    """Makes a certificate in memory. One that has issued itself would break C2PA's rules, so a second
    key issues it and is forgotten."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def name(common: str) -> x509.Name:
        parts = {NameOID.ORGANIZATION_NAME: SELF_MADE, NameOID.COMMON_NAME: common}
        return x509.Name([x509.NameAttribute(part, value) for part, value in parts.items()])

    first = _now() - _SLACK
    last = first + datetime.timedelta(days=365 * _SELF_MADE_YEARS)
    key, issuer = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    usage = x509.KeyUsage(digital_signature=True, key_cert_sign=False, crl_sign=False, **_NO_USES)
    made = (
        x509.CertificateBuilder()
        .subject_name(name("self-made: it does not say who signed"))
        .issuer_name(name("self-made issuer, forgotten"))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(first)
        .not_valid_after(last)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key()), critical=False)
        .sign(issuer, SHA256())
    )
    return Certificate(
        made.public_bytes(Encoding.PEM),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        SELF_MADE,
        last,
        self_made=True,
    )


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _chain(path: Path) -> list[x509.Certificate]:
    from cryptography import x509

    pem = _pem(path)
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise CertificateError(f"{path} is no certificate in PEM; it must begin -----BEGIN CERTIFICATE-----.") from None


def _private_key(path: Path) -> ec.EllipticCurvePrivateKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    pem = _pem(path)
    try:
        key = load_pem_private_key(pem, None)
    except TypeError:
        raise CertificateError(f"The key {path} has a password; give one without (openssl pkey).") from None
    except (ValueError, UnsupportedAlgorithm):
        raise CertificateError(f"{path} is no private key in PEM; it must begin -----BEGIN PRIVATE KEY-----.") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise CertificateError(f"The key {path} is of another kind; pictures are signed by ES256: EC, curve P-256.")
    return key


def _pem(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_PEM)
    except OSError as error:
        raise CertificateError(f"{path} cannot be read: {error.strerror or error}.") from None


def _name(certificate: x509.Certificate) -> str:
    from cryptography.x509.oid import NameOID

    for kind in (NameOID.ORGANIZATION_NAME, NameOID.COMMON_NAME):
        for name in certificate.subject.get_attributes_for_oid(kind):
            return str(name.value)
    return certificate.subject.rfc4514_string()
