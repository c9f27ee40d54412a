"""Nothing of what is sent touches a disk or a log."""

from __future__ import annotations

import io
import json
import resource
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.service.conftest import Server

Serve = Callable[..., Server]
SECRET = "grandmother-singing.wav"


def long_clip(data: bytes) -> bytes:
    """More than 1 MB of speech, above which frameworks write uploads to temporary files."""
    samples, rate = soundfile.read(io.BytesIO(data), dtype="int16")
    file = io.BytesIO()
    soundfile.write(file, np.tile(samples, 1 + 40 * rate // len(samples)), rate, format="WAV")
    assert len(file.getvalue()) > 1 << 20
    return file.getvalue()


@pytest.mark.slow
def test_a_server_that_can_write_no_file_makes_faces(serve: Serve, male: bytes, tmp_path: Path) -> None:
    server = serve(
        before=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)), environment={"TMPDIR": str(tmp_path)}
    )
    with server.client() as client:
        long = client.post("/v1/face", files={"file": (SECRET, long_clip(male))}, data={"size": "256"})
        assert (long.status_code, long.headers["content-type"]) == (200, "image/png")
        many = client.post("/v1/batch", files=[("files", (SECRET, male)), ("files", (SECRET, long_clip(male)))])
        assert [sorted(result) for result in many.json()["results"]] == [["face"], ["face"]]
        assert client.post("/predict", files={"file": (SECRET, male)}, data={"gender": "male"}).status_code == 200
        assert client.post("/v1/provenance", files={"file": (SECRET, long.content)}).status_code == 200
    assert not list(tmp_path.iterdir())


@pytest.fixture
def talked(serve: Serve, male: bytes, tmp_path: Path) -> tuple[Server, Path, list[str], str]:
    """A server that logs all it can, after requests that went well and wrong; its audit log, ids, and an address."""
    audit = tmp_path / "audit.jsonl"
    server = serve("--verbose", "--audit", str(audit), "--audit-seconds", "3600")
    ids = []
    with server.client(headers={"User-Agent": "secret-agent"}) as client:
        for data in (male, b"no sound at all: " + SECRET.encode(), b"", male[:5000]):
            form = {"size": "64", "gender": "male"}
            ids.append(client.post("/v1/face", files={"file": (SECRET, data)}, data=form).headers["request-id"])
        wrong = client.post("/v1/face", files={"file": (SECRET, male)}, data={"gender": "secret-gender"})
        ids.append(wrong.headers["request-id"])
        url = client.post("/predict", files={"file": (SECRET, male)}).json()["url"]
        ids.append(client.get(url, params={"who": "secret-question"}).headers["request-id"])
        ids.append(client.get("/secret-address").headers["request-id"])
    server.stop()
    return server, audit, ids, url


@pytest.mark.slow
def test_a_log_has_ids_and_codes_and_nothing_that_was_sent(talked: tuple[Server, Path, list[str], str]) -> None:
    server, _, ids, url = talked
    lines = [json.loads(line) for line in server.lines]
    assert all("request_id" in line for line in lines)
    answered = {line["request_id"]: line for line in lines if "status" in line}
    assert set(ids) <= set(answered)
    assert [answered[id_]["status"] for id_ in ids] == [200, 415, 415, 422, 422, 200, 404]
    for word in ("secret", SECRET, "grandmother", "RIFF", "base64", url[-40:], "127.0.0.1:"):
        found = [line for line in server.lines if word in line and "Listening on" not in line]
        assert not found, word
    assert max(map(len, server.lines)) < 1000, "no sound and no face fits into that"


@pytest.mark.slow
def test_an_audit_log_has_counts_alone(talked: tuple[Server, Path, list[str], str]) -> None:
    (line,) = map(json.loads, talked[1].read_text().splitlines())
    assert set(line) == {"from", "to", "requests", "faces", "callers"}
    assert line["requests"]["/v1/face 200"] == 1
    assert (line["requests"]["/v1/face 415"], line["requests"]["/v1/face 422"]) == (2, 2)
    assert line["faces"] == {"male": 1}
    assert all(isinstance(count, int) for kind in ("requests", "faces", "callers") for count in line[kind].values())
    assert "secret" not in talked[1].read_text()
