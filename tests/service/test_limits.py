"""What a service refuses, and that it goes on after it."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile

from s2f_edge.errors import BusyError, TooManyRequestsError
from s2f_edge.service.limits import Admission, RateLimiter
from s2f_edge.service.settings import ServiceSettings
from tests.service.conftest import Server
from tests.tiny_packs import make_pack

Serve = Callable[..., Server]


def face(client: httpx.Client, data: bytes, **headers: str) -> httpx.Response:
    return client.post("/v1/face", files={"file": ("clip.wav", data)}, data={"size": "64"}, headers=headers)


# ------------------------------------------------------------------------ bytes, seconds


@pytest.mark.slow
def test_an_upload_is_refused_while_it_is_read(serve: Serve) -> None:
    server = serve("--max-bytes", "100000")
    head = (
        f"POST /v1/face HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    )
    start = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    # Says how much will come, far too much, and sends nothing of it.
    with socket.create_connection(("127.0.0.1", server.port), 10) as raw:
        raw.sendall(f"{head}Content-Length: 999999999\r\n\r\n".encode())
        assert raw.recv(100).startswith(b"HTTP/1.1 413")
    # Says nothing, and does not stop.
    with socket.create_connection(("127.0.0.1", server.port), 10) as raw:
        raw.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        raw.sendall(b"%x\r\n%s\r\n" % (len(start), start))
        answer, sent = b"", 0
        raw.settimeout(0.02)
        while not answer and sent < 100_000_000:
            with suppress(
                BrokenPipeError, ConnectionResetError
            ):  # it may have closed, with its answer still to be read
                raw.sendall(b"10000\r\n" + bytes(0x10000) + b"\r\n")
            sent += 0x10000
            try:
                answer = raw.recv(100)
            except TimeoutError:
                continue
        assert answer.startswith(b"HTTP/1.1 413")
        assert sent < 10_000_000
    with server.client() as client:
        refused = face(client, bytes(200_000))
        assert (refused.status_code, refused.json()["code"]) == (413, "too-large")
        assert "100000" in refused.json()["detail"]


@pytest.mark.slow
def test_a_recording_may_be_small_and_long(serve: Serve, male: bytes) -> None:
    file = io.BytesIO()
    soundfile.write(file, np.zeros(16_000 * 3600), 16_000, format="FLAC")
    assert len(file.getvalue()) < 1 << 20
    server = serve("--max-seconds", "20")
    with server.client() as client:
        decoders = server.children()
        refused = face(client, file.getvalue())
        assert (refused.status_code, refused.json()["code"]) == (413, "too-long")
        assert face(client, male).status_code == 200
        assert server.children() == decoders, "they refuse by themselves, and go on"


# ---------------------------------------------------------------------- hostile decoding


@pytest.mark.slow
def test_a_decoder_that_crashes_fails_its_own_request_alone(serve: Serve, male: bytes) -> None:
    server = serve("--concurrency", "1")
    with server.client() as client, ThreadPoolExecutor() as pool:
        (decoder,) = server.children()
        os.kill(decoder, signal.SIGSTOP)  # the request waits in it
        waiting = pool.submit(face, client, male)
        server.wait_until_inside(1)
        time.sleep(0.5)  # its sound is read, and given to the decoder
        os.kill(decoder, signal.SIGKILL)
        failed = waiting.result()
        assert (failed.status_code, failed.json()["code"]) == (422, "decoder-failed")
        assert face(client, male).status_code == 200
        assert server.children() != [decoder]


@pytest.mark.slow
def test_a_decoder_that_hangs_is_ended_with_its_request(serve: Serve, male: bytes) -> None:
    server = serve("--concurrency", "1", "--request-seconds", "2")
    with server.client() as client:
        (decoder,) = server.children()
        os.kill(decoder, signal.SIGSTOP)
        began = time.monotonic()
        late = face(client, male)
        assert (late.status_code, late.json()["code"]) == (504, "timeout")
        assert 1.5 < time.monotonic() - began < 5
        deadline = time.monotonic() + 10
        while (answer := face(client, male)).status_code != 200 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert answer.status_code == 200
        assert decoder not in server.children()


@pytest.mark.slow
def test_decoders_end_with_the_server(serve: Serve) -> None:
    server = serve("--concurrency", "2")
    decoders = server.children()
    assert len(decoders) == 2
    server.stop(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in decoders) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(Path(f"/proc/{pid}").exists() for pid in decoders)


# ------------------------------------------------------------------------- queue and time


@pytest.mark.slow
def test_a_full_queue_answers_at_once(serve: Serve, male: bytes) -> None:
    server = serve("--concurrency", "1", "--queue", "1", "--request-seconds", "20")
    with server.client() as client, ThreadPoolExecutor() as pool:
        (decoder,) = server.children()
        os.kill(decoder, signal.SIGSTOP)
        two = [pool.submit(face, client, male) for _ in range(2)]
        server.wait_until_inside(2)
        took = []
        for _ in range(3):  # of which a busy machine may hold one up
            began = time.monotonic()
            busy = face(client, male)
            took.append(time.monotonic() - began)
        assert min(took) < 0.5
        assert (busy.status_code, busy.json()["code"]) == (503, "busy")
        assert int(busy.headers["retry-after"]) >= 1
        assert busy.json()["retry_after_s"] == int(busy.headers["retry-after"])
        assert client.get("/readyz").status_code == 503
        assert client.get("/healthz").status_code == 200
        os.kill(decoder, signal.SIGCONT)
        assert [request.result().status_code for request in two] == [200, 200]
        assert client.get("/readyz").status_code == 200


@pytest.mark.slow
def test_an_upload_that_never_ends_takes_room_for_its_time_alone(serve: Serve, male: bytes) -> None:
    server = serve("--concurrency", "1", "--queue", "0", "--request-seconds", "2")
    head = f"POST /v1/face HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Length: 5000\r\n"
    with socket.create_connection(("127.0.0.1", server.port), 10) as raw, server.client() as client:
        raw.sendall(f"{head}Content-Type: multipart/form-data; boundary=x\r\n\r\n--x".encode())
        server.wait_until_inside(1)
        assert face(client, male).status_code == 503
        assert raw.recv(100).startswith(b"HTTP/1.1 504")
        assert face(client, male).status_code == 200


def test_what_is_refused_waits_for_no_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the event loop may all be in use, and getting one takes longer than to look at a key."""
    from s2f_edge.service.app import create_app

    app = create_app(
        ServiceSettings(pack=make_pack(tmp_path / "pack"), concurrency=1, talk_seconds=0, hosts="*", rate=1)
    )

    async def none_is_free(*_: object, **__: object) -> None:
        raise AssertionError("a thread is waited for")

    async def ask() -> list[tuple[int, str]]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://server") as client:
            answers = [await client.post("/v1/face", files={"file": b"no sound"}) for _ in range(2)]
        return [(answer.status_code, answer.json()["code"]) for answer in answers]

    monkeypatch.setattr("anyio.to_thread.run_sync", none_is_free)
    try:
        assert asyncio.run(ask()) == [(415, "unreadable-audio"), (429, "too-many-requests")]
    finally:
        app.state.service.inference.close()


# --------------------------------------------------------------------------- keys, rates


@pytest.mark.slow
def test_keys_are_needed_where_there_is_a_key_file(serve: Serve, male: bytes, tmp_path: Path) -> None:
    from s2f_edge.service.keys import new_key

    key, line = new_key("mobile-app")
    assert key not in line
    file = tmp_path / "keys"
    file.write_text(f"# ours\n{line}\n")
    server = serve("--keys", str(file))
    with server.client() as client:
        without = face(client, male)
        assert (without.status_code, without.json()["code"]) == (401, "unauthorised")
        assert without.headers["www-authenticate"] == "Bearer"
        assert face(client, male, Authorization="Bearer s2f_wrong").status_code == 401
        assert face(client, male, Authorization=f"Bearer {key}").status_code == 200
        assert face(client, male, **{"X-API-Key": key}).status_code == 200
        assert client.get("/metrics").status_code == 401
        assert client.get("/healthz").status_code == client.get("/terms").status_code == 200
        assert client.get("/v1/info").json()["key_needed"]
        file.write_text("# revoked\n")
        assert face(client, male, Authorization=f"Bearer {key}").status_code == 401
    assert key not in server.log
    assert '"caller": "mobile-app"' in server.log


@pytest.mark.slow
def test_a_caller_may_ask_so_often_in_a_minute(serve: Serve, male: bytes) -> None:
    with serve("--rate", "2").client() as client:
        answers = [face(client, male) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[2].json()["code"] == "too-many-requests"
    assert 1 <= int(answers[2].headers["retry-after"]) <= 30


def test_a_bucket_fills_evenly() -> None:
    now = [0.0]
    rate = RateLimiter(60, lambda: now[0])
    for _ in range(60):
        rate.spend("a")
    with pytest.raises(TooManyRequestsError) as refused:
        rate.spend("a")
    assert refused.value.retry_after_s == 1
    rate.spend("b")
    now[0] += 1.0
    rate.spend("a")
    with pytest.raises(TooManyRequestsError):
        rate.spend("a")


def test_room_is_counted() -> None:
    admission = Admission(slots=2, queue=1)
    for _ in range(3):
        admission.enter()
    with pytest.raises(BusyError) as refused:
        admission.enter()
    assert refused.value.retry_after_s
    assert refused.value.retry_after_s >= 1
    admission.leave()
    admission.enter()


# ------------------------------------------------------------------------------- origins


def test_other_pages_are_not_answered(client: httpx.Client) -> None:
    answer = client.get("/v1/info", headers={"Origin": "https://other.example"})
    assert "access-control-allow-origin" not in answer.headers
    rebound = client.get("/healthz", headers={"Host": "rebound.example"})
    assert (rebound.status_code, rebound.json()["code"]) == (403, "forbidden")


@pytest.mark.slow
def test_origins_can_be_allowed(serve: Serve) -> None:
    with serve("--origins", "https://app.example").client() as client:
        ours = client.get("/v1/info", headers={"Origin": "https://app.example"})
        assert ours.headers["access-control-allow-origin"] == "https://app.example"
        other = client.get("/v1/info", headers={"Origin": "https://other.example"})
        assert "access-control-allow-origin" not in other.headers


# ----------------------------------------------------------------------- forms of clients


def form(disposition: str, data: bytes, kind: str = "") -> dict[str, object]:
    """A form of one part, as clients write it by hand."""
    head = f"--x\r\nContent-Disposition: form-data; {disposition}\r\n" + (f"Content-Type: {kind}\r\n" if kind else "")
    return {
        "content": head.encode() + b"\r\n" + data + b"\r\n--x--\r\n",
        "headers": {"Content-Type": "multipart/form-data; boundary=x"},
    }


@pytest.mark.parametrize(
    ("disposition", "kind"),
    [
        ('name="file"', ""),
        ('name="file"', "audio/wav"),
        ("name=\"file\"; filename*=UTF-8''%D8%B5%D9%88%D8%AA.wav", "audio/wav"),
        ('name="audio"; filename="a.wav"', "audio/wav"),
        ('name="audio"', "audio/wav"),
        ('name="upload"', "application/octet-stream"),
    ],
)
def test_it_is_plain_what_is_meant(client: httpx.Client, male: bytes, disposition: str, kind: str) -> None:
    answer = client.post("/v1/embedding", **form(disposition, male, kind))  # type: ignore[arg-type]
    assert answer.status_code == 200, answer.text


def test_what_is_not_plain_is_told(client: httpx.Client, male: bytes) -> None:
    both = client.post("/v1/embedding", files=[("file", ("a.wav", male)), ("audio", ("b.wav", male))])
    assert both.status_code == 422
    text = client.post("/v1/embedding", **form('name="audio"', b"words"))  # type: ignore[arg-type]
    assert (text.status_code, text.json()["code"]) == (422, "invalid-request")
    assert "`file` is missing" in text.json()["detail"]
