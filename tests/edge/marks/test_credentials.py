"""Signed content credentials: what is signed and by whom, certificates, and what must not happen."""

from __future__ import annotations

import datetime
import io
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID
from PIL import Image

from s2f_edge._version import __version__
from s2f_edge.errors import CertificateError, RuntimeSetupError
from s2f_edge.marks import c2pa_library, certificates, credentials
from s2f_edge.marks.certificates import SELF_MADE
from s2f_edge.marks.credentials import Credentials
from s2f_edge.picture import MEDIA_TYPES, NOTICE, SOURCE_TYPE, Provenance, encode, marks

FACE = np.arange(64 * 64 * 3, dtype=np.uint32).reshape(64, 64, 3).astype(np.uint8)
ORIGIN = Provenance("s2f-edge 9.9", "tiny 1", "ab" * 32, "male")
DAY = datetime.timedelta(days=1)


class Studio:
    """A certificate authority in a folder, and what it issues."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        name = self._name("Example root")
        now = datetime.datetime.now(datetime.UTC)
        self.root = (
            x509.CertificateBuilder(name, name, self.key.public_key(), 1, now - 9 * DAY, now + 9 * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self.key, SHA256())
        )
        self.anchors = self.file("root.pem", self.root.public_bytes(Encoding.PEM))

    def _name(self, common: str) -> x509.Name:
        return x509.Name(
            [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Studio"), x509.NameAttribute(NameOID.COMMON_NAME, common)]
        )

    def file(self, name: str, data: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(data)
        return path

    def issue(
        self,
        first: datetime.timedelta = -DAY,
        last: datetime.timedelta = DAY,
        usage: x509.ObjectIdentifier = ExtendedKeyUsageOID.EMAIL_PROTECTION,
        ocsp: str = "",
    ) -> tuple[Path, Path]:
        """PEM files of a chain and of its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.now(datetime.UTC)
        may = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
        builder = (
            x509.CertificateBuilder(
                self.root.subject, self._name("Example signer"), key.public_key(), 2, now + first, now + last
            )
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(may, critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        if ocsp:
            access = x509.AccessDescription(AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(ocsp))
            builder = builder.add_extension(x509.AuthorityInformationAccess([access]), critical=False)
        chain = [builder.sign(self.key, SHA256()), self.root]
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return (
            self.file("chain.pem", b"".join(each.public_bytes(Encoding.PEM) for each in chain)),
            self.file("key.pem", pem),
        )


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio(tmp_path)


@pytest.fixture
def no_extra(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As where c2pa is not installed."""
    caches: list[Any] = [c2pa_library.library, credentials._made_once, credentials._from_files]
    for cached in caches:
        cached.cache_clear()
    monkeypatch.setitem(sys.modules, "c2pa", None)
    yield
    monkeypatch.undo()
    for cached in caches:
        cached.cache_clear()


class Doorbell:
    """A web server on this machine that notes who asks it."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}/asked"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                visitor, _ = self.socket.accept()
            except OSError:
                return
            with visitor:
                self.asked.append(visitor.recv(1000))


@pytest.fixture
def doorbell() -> Iterator[Doorbell]:
    bell = Doorbell()
    yield bell
    bell.socket.close()


def read_by_c2pa(picture: bytes, media_type: str) -> dict[str, Any]:
    """As another program reads it, with the library's own settings."""
    import c2pa

    with c2pa.Reader(media_type, io.BytesIO(picture)) as reader:
        told: dict[str, Any] = json.loads(reader.json())
    return told


# -------------------------------------------------------------------------- what is signed


@pytest.mark.parametrize("format", MEDIA_TYPES)
def test_other_readers_take_the_manifest_and_only_miss_a_trusted_signer(format: str) -> None:
    told = read_by_c2pa(encode(FACE, ORIGIN, format=format), MEDIA_TYPES[format])
    assert told["validation_state"] == "Valid"
    assert [each["code"] for each in told["validation_status"]] == ["signingCredential.untrusted"]
    manifest = told["manifests"][told["active_manifest"]]
    generator = manifest["claim_generator_info"][0]
    assert (generator["name"], generator["version"]) == ("s2f-edge", __version__)
    assert manifest["title"] == NOTICE
    assert manifest["signature_info"]["alg"] == "Es256"
    assert "time" not in manifest["signature_info"]  # no time stamp
    said = {each["label"]: each["data"] for each in manifest["assertions"]}
    [action] = said["c2pa.actions.v2"]["actions"]
    assert action["action"] == "c2pa.created"
    assert action["digitalSourceType"] == SOURCE_TYPE
    assert action["softwareAgent"]["name"] == "s2f-edge"
    assert action["description"] == NOTICE
    assert said["s2f.provenance"] == asdict(ORIGIN)
    assert said["cawg.training-mining"]["entries"]["cawg.ai_training"] == {"use": "notAllowed"}
    assert "identify" in said["cawg.training-mining"]["entries"]["cawg.ai_inference"]["constraint_info"]


def test_a_self_made_certificate_says_so_wherever_it_is_shown() -> None:
    made = certificates.make()
    certificate = x509.load_pem_x509_certificate(made.chain)
    assert all("self-made" in str(part.value) for part in (*certificate.subject, *certificate.issuer))
    assert "PRIVATE KEY" not in repr(made)
    assert certificates.make().key != made.key
    found = credentials.read(encode(FACE, ORIGIN), "image/png")
    assert found is not None
    assert (found.state, found.trust, found.signer) == ("valid", "self-made", SELF_MADE)
    assert found.facts == asdict(ORIGIN)


def test_one_process_has_one_self_made_certificate() -> None:
    assert credentials.default() is credentials.default()


def test_pictures_without_credentials_have_none() -> None:
    for format in MEDIA_TYPES:
        buffer = io.BytesIO()
        Image.fromarray(FACE).save(buffer, format)
        assert credentials.read(buffer.getvalue(), MEDIA_TYPES[format]) is None


def test_threads_share_a_signer() -> None:
    def work(i: int) -> tuple[bytes, credentials.Found | None]:
        format = list(MEDIA_TYPES)[i % 3]
        face = np.full((32, 32, 3), i, np.uint8)
        origin = Provenance("s2f-edge 9.9", f"pack {i}", "ab" * 32, "male")
        return (data := encode(face, origin, format=format)), credentials.read(data, MEDIA_TYPES[format])

    with ThreadPoolExecutor(8) as threads:
        done = list(threads.map(work, range(120)))
    assert len({data for data, _ in done}) == 120
    for i, (_, found) in enumerate(done):
        assert found is not None
        assert found.state == "valid"
        assert found.facts is not None
        assert found.facts["pack"] == f"pack {i}"


# ---------------------------------------------------------------------------- certificates


def test_an_own_certificate_signs_and_is_trusted_by_who_trusts_its_issuer(studio: Studio) -> None:
    own = Credentials.from_files(*studio.issue())
    assert not own.certificate.self_made
    picture = encode(FACE, ORIGIN, credentials=own)
    found = credentials.read(picture, "image/png")
    assert found is not None
    assert (found.state, found.trust, found.signer) == ("valid", "unknown", "Studio")
    trusting = credentials.read(picture, "image/png", studio.anchors.read_text())
    assert trusting is not None
    assert (trusting.state, trusting.trust) == ("valid", "trusted")
    other = Studio(studio.folder)
    doubting = credentials.read(picture, "image/png", other.anchors.read_text())
    assert doubting is not None
    assert doubting.trust == "unknown"
    with pytest.raises(CertificateError, match="to trust"):
        credentials.read(picture, "image/png", "no PEM")


def test_the_environment_names_the_certificate(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    chain, key = studio.issue()
    monkeypatch.setenv("S2F_C2PA_CERTIFICATE", str(chain))
    with pytest.raises(CertificateError, match="without its key"):
        encode(FACE, ORIGIN)
    monkeypatch.setenv("S2F_C2PA_KEY", str(key))
    found = credentials.read(encode(FACE, ORIGIN), "image/png")
    assert found is not None
    assert found.signer == "Studio"
    monkeypatch.setenv("S2F_C2PA_KEY", str(chain))
    with pytest.raises(CertificateError, match="no private key"):
        encode(FACE, ORIGIN)
    with pytest.raises(CertificateError, match="no private key"):
        marks(256)


def test_certificates_that_cannot_be_used(studio: Studio) -> None:
    def refused(chain: Path, key: Path, said: str) -> None:
        with pytest.raises(CertificateError, match=said):
            Credentials.from_files(chain, key)

    chain, key = studio.issue()
    missing, text = studio.folder / "missing.pem", studio.file("text.pem", b"hello")
    refused(missing, key, "missing.pem cannot be read: No such file")
    refused(chain, missing, "missing.pem cannot be read: No such file")
    refused(text, key, "no certificate in PEM")
    refused(key, key, "no certificate in PEM")
    refused(chain, text, "no private key in PEM")
    refused(chain, studio.folder, "cannot be read: Is a directory")

    def pem(private: Any, secret: Any = NoEncryption()) -> Path:  # noqa: B008
        return studio.file("other.pem", private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, secret))

    refused(chain, pem(ec.generate_private_key(ec.SECP256R1())), "not that of the first certificate")
    refused(chain, pem(ec.generate_private_key(ec.SECP384R1())), "another kind")
    refused(chain, pem(rsa.generate_private_key(65537, 2048)), "another kind")
    refused(chain, pem(studio.key, BestAvailableEncryption(b"secret")), "has a password")
    refused(studio.anchors, pem(studio.key), "another certificate issued")  # it issued itself
    refused(*studio.issue(first=-3 * DAY, last=-DAY), "expired on")
    refused(*studio.issue(first=DAY, last=2 * DAY), "valid from")
    refused(*studio.issue(usage=ExtendedKeyUsageOID.SERVER_AUTH), "emailProtection")


@pytest.mark.slow
def test_a_certificate_that_expires(studio: Studio) -> None:
    own = Credentials.from_files(*studio.issue(last=datetime.timedelta(seconds=2)))
    picture = encode(FACE, ORIGIN, credentials=own)
    time.sleep(3.1)  # its dates are whole seconds
    with pytest.raises(CertificateError, match="Studio expired on"):
        encode(FACE, ORIGIN, credentials=own)
    found = credentials.read(picture, "image/png")
    assert found is not None
    assert found.state == "expired"
    assert found.facts == asdict(ORIGIN)


# ------------------------------------------------------------------------ without the extra


def test_without_the_extra_pictures_have_the_other_marks(no_extra: None) -> None:
    assert not c2pa_library.installed()
    picture = encode(FACE, ORIGIN, 256)
    assert marks(256) == ("metadata", "watermark")
    assert b"c2pa" not in picture


def test_a_certificate_without_the_extra_is_an_error(studio: Studio, no_extra: None) -> None:
    with pytest.raises(RuntimeSetupError, match=r"pip install 's2f-edge\[c2pa\]'"):
        credentials.chosen(*studio.issue())


def test_an_extra_that_does_not_load_is_told(
    no_extra: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> None:
        raise OSError("version `GLIBC_2.99' not found")

    monkeypatch.delitem(sys.modules, "c2pa")
    monkeypatch.setattr(c2pa_library, "_search_only_the_package", broken)
    assert marks(256) == ("metadata", "watermark")
    assert "GLIBC_2.99" in caplog.text


# ------------------------------------------------------------------- what must not happen


def test_a_manifest_elsewhere_is_not_fetched(doorbell: Doorbell) -> None:
    import c2pa

    xmp = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:dcterms="http://purl.org/dc/terms/" '
        f'dcterms:provenance="{doorbell.url}"/></rdf:RDF></x:xmpmeta>'
    )
    buffer = io.BytesIO()
    Image.fromarray(FACE).save(buffer, "JPEG", xmp=xmp.encode())
    found = credentials.read(buffer.getvalue(), "image/jpeg")
    assert found is not None
    assert found.state == "elsewhere"
    assert doorbell.asked == []
    with pytest.raises(c2pa.C2paError):  # with the library's own settings it is
        c2pa.Reader("image/jpeg", io.BytesIO(buffer.getvalue()))
    assert len(doorbell.asked) == 1


def test_no_revocation_is_looked_up(studio: Studio, doorbell: Doorbell) -> None:
    import c2pa

    own = Credentials.from_files(*studio.issue(ocsp=doorbell.url))
    picture = encode(FACE, ORIGIN, credentials=own)
    anchors = studio.anchors.read_text()
    found = credentials.read(picture, "image/png", anchors)
    assert found is not None
    assert found.trust == "trusted"
    assert doorbell.asked == []
    asking = c2pa.Context.from_dict({"verify": {"ocsp_fetch": True}, "trust": {"trust_anchors": anchors}})
    with c2pa.Reader("image/png", io.BytesIO(picture), context=asking) as reader:
        reader.json()
    assert doorbell.asked  # the certificate does ask for it


def test_nothing_is_written_to_disk(tmp_path: Path) -> None:
    code = (
        "import numpy as np, sys\n"
        "from s2f_edge.marks import provenance\n"
        "from s2f_edge.picture import Provenance, encode\n"
        "face = np.zeros((64, 64, 3), np.uint8)\n"
        "data = encode(face, Provenance('s2f-edge 9.9', 'p', 'ab' * 32, 'male'), 256)\n"
        "assert provenance.read(data).credentials.state == 'valid'"
    )
    names = ("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")
    environment = os.environ | dict.fromkeys(names, str(tmp_path)) | {"PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, cwd=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="the native library has another name elsewhere")
def test_the_native_library_is_not_taken_from_the_current_folder(tmp_path: Path) -> None:
    """c2pa looks there first; a folder of recordings from a stranger may hold anything."""
    code = (
        "from s2f_edge.marks import credentials\n"
        "assert credentials.default() is not None\n"
        "print(open('/proc/self/maps').read())"
    )
    import c2pa

    library = Path(str(c2pa.__file__)).parent / "libs" / "libc2pa_c.so"
    (tmp_path / library.name).write_bytes(library.read_bytes())
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=tmp_path)
    assert str(library) in done.stdout
    assert str(tmp_path) not in done.stdout
