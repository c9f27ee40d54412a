"""A service that starts, ends, is killed, and starts again."""

from __future__ import annotations

import asyncio
import datetime
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from s2f_edge.service.app import _bound
from s2f_edge.service.settings import ServiceSettings
from tests.service.conftest import Server

Serve = Callable[..., Server]


def face(client: httpx.Client, data: bytes) -> httpx.Response:
    return client.post("/v1/face", files={"file": ("a", data)}, data={"size": "64"})


def refused(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) != 0


def test_an_answer_does_not_wait_until_its_head_was_received() -> None:
    """Small packets are sent at once: with Nagle's algorithm each answer on a kept connection would take 40 ms more."""

    async def at_once(bound: socket.socket) -> int:
        found: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def connected(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            found.set_result(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        async with await asyncio.start_server(connected, sock=bound):
            _, writer = await asyncio.open_connection(*bound.getsockname())
            writer.close()
            return await asyncio.wait_for(found, 30)

    assert asyncio.run(at_once(_bound(ServiceSettings(port=0))))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.slow
def test_what_has_begun_is_finished(serve: Serve, male: bytes, number: signal.Signals) -> None:
    server = serve("--concurrency", "1", before=os.setsid)
    with server.client() as client, ThreadPoolExecutor() as pool:
        (decoder,) = server.children()
        os.kill(decoder, signal.SIGSTOP)
        waiting = pool.submit(face, client, male)
        server.wait_until_inside(1)
        if number == signal.SIGINT:
            os.killpg(server.process.pid, number)  # as a terminal does
        else:
            server.process.terminate()
        deadline = time.monotonic() + 10
        while not refused(server.port) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert refused(server.port), "no new requests are taken"
        assert server.process.poll() is None
        os.kill(decoder, signal.SIGCONT)
        assert waiting.result().status_code == 200
    assert server.process.wait(20) == (130 if number == signal.SIGINT else 0)
    assert "Traceback" not in server.log


@pytest.mark.slow
def test_it_waits_so_long_and_no_longer(serve: Serve, male: bytes) -> None:
    server = serve("--concurrency", "1", "--drain-seconds", "1")
    with server.client() as client, ThreadPoolExecutor() as pool:
        os.kill(server.children()[0], signal.SIGSTOP)
        waiting = pool.submit(face, client, male)
        server.wait_until_inside(1)
        server.process.terminate()
        server.process.wait(20)
        with suppress(httpx.TransportError):
            assert waiting.result().status_code >= 500


@pytest.mark.slow
def test_after_a_kill_it_starts_again_at_the_same_port(serve: Serve, male: bytes) -> None:
    secret = "--secret", "the same again"
    first = serve(*secret)
    with first.client() as client:
        url = client.post("/predict", files={"file": ("a", male)}).json()["url"]
        picture = client.get(url)
        first.stop(signal.SIGKILL)
        with pytest.raises(httpx.TransportError):
            face(client, male)
    again = serve(*secret, port=first.port)
    assert again.port == first.port
    with again.client() as client:
        assert face(client, male).status_code == 200
        assert client.get(url).status_code == picture.status_code == 200, "the address that was given out still works"


@pytest.mark.slow
def test_a_port_that_is_taken(serve: Serve) -> None:
    server = serve()
    second = subprocess.run(
        [sys.executable, "-m", "s2f_edge", "serve", "--port", str(server.port)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert second.returncode not in (0, 1)
    assert f"Cannot listen on 127.0.0.1, port {server.port}" in second.stderr
    assert "--port" in second.stderr
    assert "Traceback" not in second.stderr


# ----------------------------------------------------------------------------------- TLS


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1, made by itself, and its key."""
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(key, hashes.SHA256())
    )
    chain, private = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )  # fmt: skip
    return chain, private


@pytest.mark.slow
def test_tls_by_settings(serve: Serve, male: bytes, tmp_path: Path) -> None:
    chain, private = certificate(tmp_path)
    server = serve("--tls-certificate", str(chain), "--tls-key", str(private))
    assert server.url.startswith("https://")
    with server.client(verify=ssl.create_default_context(cafile=str(chain))) as client:
        assert face(client, male).status_code == 200
        assert client.post("/predict", files={"file": ("a", male)}).json()["url"].startswith("https://")
    with server.client() as stranger, pytest.raises(httpx.ConnectError, match="certificate"):
        stranger.get("/healthz")


@pytest.mark.slow
def test_a_certificate_that_is_none_stops_the_start(tmp_path: Path) -> None:
    _, private = certificate(tmp_path)
    (tmp_path / "no.pem").write_text("no certificate")
    failed = subprocess.run(
        [sys.executable, "-m", "s2f_edge", "serve", "--port", "0", "--tls-certificate", str(tmp_path / "no.pem"),
         "--tls-key", str(private)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert failed.returncode not in (0, 1)
    assert "TLS certificate or key cannot be used" in failed.stderr
    assert "serves at" not in failed.stdout
