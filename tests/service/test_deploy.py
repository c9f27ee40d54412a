"""What deploy/, docs/deploy.md and the clients of examples/ say is so."""

from __future__ import annotations

import importlib.util
import re
import shutil
import socket
import ssl
import subprocess
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import httpx
import pytest
from websockets.sync.client import connect

from s2f_edge.service.settings import ServiceSettings, setting_help
from tests.service.conftest import Server

ROOT = Path(__file__).resolve().parents[2]
DEPLOY, CLIENTS, DOC = ROOT / "deploy", ROOT / "examples" / "clients", ROOT / "docs" / "deploy.md"


def test_the_settings_file_is_one() -> None:
    said = tomllib.loads((DEPLOY / "s2f.toml").read_text())
    settings = ServiceSettings(**said)
    left_out = re.findall(r"^# (\w+) = ", (DEPLOY / "s2f.toml").read_text(), re.MULTILINE)
    assert set(left_out) <= set(setting_help())
    assert settings.rate > 0, "a deployment has a limit"


@pytest.mark.parametrize("file", [DOC, *sorted(DEPLOY.iterdir())], ids=lambda file: file.name)
def test_every_setting_that_is_named_exists(file: Path) -> None:
    text = file.read_text()
    flags = {
        flag.replace("-", "_")
        for line in re.findall(r"s2f-edge serve(.*)", text)
        for flag in re.findall(r"--([a-z0-9-]+)", line)
    }
    named = flags | {name.lower() for name in re.findall(r"S2F_SERVE_([A-Z0-9_]+)", text)} - {"name"}
    if file == DOC:
        for row in re.findall(r"^\|[^|]+\|([^|]+)\|[^|]+\|$", text, re.MULTILINE)[2:]:
            named |= set(re.findall(r"`(\w+)`", row))
        assert {"max_bytes", "decoder_megabytes", "proxies"} <= named
    assert named <= {*setting_help(), "config", "help"}


def test_nginx_takes_as_much_as_the_service() -> None:
    (kilobytes,) = re.findall(r"client_max_body_size (\d+)k;", (DEPLOY / "nginx.conf").read_text())
    assert int(kilobytes) * 1024 == ServiceSettings().max_bytes + (64 << 10)


# -------------------------------------------------------------------------------- nginx


@pytest.fixture
def nginx(live_server: Server, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """deploy/nginx.conf in front of the service: its address, and its certificate."""
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin:/opt/homebrew/bin")
    if not program:
        pytest.skip("nginx is not installed.")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=faces.example",
         "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", tmp_path / "privkey.pem", "-out", tmp_path / "fullchain.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        plain, port = one.getsockname()[1], other.getsockname()[1]
    text = (DEPLOY / "nginx.conf").read_text()
    for ours, here in (
        ("127.0.0.1:8000", f"127.0.0.1:{live_server.port}"), ("/etc/ssl/faces.example", str(tmp_path)),
        ("/var/log/nginx", str(tmp_path)), ("listen 80;", f"listen 127.0.0.1:{plain};"), ("listen [::]:80;", ""),
        ("listen 443 ssl http2;", f"listen 127.0.0.1:{port} ssl http2;"), ("listen [::]:443 ssl http2;", ""),
    ):  # fmt: skip
        assert ours in text
        text = text.replace(ours, here)
    (tmp_path / "s2f.conf").write_text(text)
    folders = " ".join(
        f"{of}_temp_path {tmp_path}/spool;" for of in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (tmp_path / "nginx.conf").write_text(
        f"pid {tmp_path}/pid; error_log {tmp_path}/error.log; daemon off;\n"
        f"events {{}}\nhttp {{ {folders} include {tmp_path}/s2f.conf; }}\n"
    )
    tested = subprocess.run([program, "-t", "-c", tmp_path / "nginx.conf"], capture_output=True, text=True, check=False)
    assert tested.returncode == 0, tested.stderr
    process = subprocess.Popen([program, "-c", tmp_path / "nginx.conf"], stderr=subprocess.DEVNULL)
    for _ in range(100):
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    yield f"https://127.0.0.1:{port}", tmp_path
    process.terminate()
    process.wait(20)


@pytest.mark.slow
def test_nginx_passes_everything_on_and_keeps_nothing(nginx: tuple[str, Path], male: bytes) -> None:
    address, folder = nginx
    context = ssl.create_default_context(cafile=folder / "fullchain.pem")
    with httpx.Client(base_url=address, verify=context, timeout=30) as client:
        face = client.post("/v1/face", files={"file": ("secret.wav", male)}, data={"size": "512"})
        assert (face.status_code, face.headers["content-type"]) == (200, "image/png")
        big = client.post("/v1/face", files={"file": ("secret.wav", bytes(26 << 20))})
        assert (big.status_code, big.headers["content-type"]) == (413, "application/problem+json")
        assert big.json()["code"] == "too-large"
        page = client.get("/")
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert "strict-transport-security" in page.headers
        assert not [path for path in folder.glob("spool/**/*") if path.is_file()]
        log = (folder / "s2f.log").read_text()
        assert face.headers["request-id"] in log
        assert "127.0.0.1" not in log

    with connect(address.replace("https", "wss") + "/v1/stream", ssl=context) as stream:
        stream.send('{"sample_rate": 16000}')
        stream.send('{"type": "end"}')
        assert '"problem"' in str(stream.recv(timeout=20))


# ------------------------------------------------------------------------------- clients


@pytest.fixture(scope="module")
def python_client() -> ModuleType:
    spec = importlib.util.spec_from_file_location("speech_to_face", CLIENTS / "speech_to_face.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_python_client_gets_a_face_or_a_problem(
    python_client: ModuleType, live_server: Server, examples: Path, tmp_path: Path
) -> None:
    assert python_client.face(live_server.url, examples / "male.wav", "male").startswith(b"\x89PNG")
    (tmp_path / "text.wav").write_text("no sound")
    with pytest.raises(python_client.Problem) as problem:
        python_client.face(live_server.url, tmp_path / "text.wav")
    assert problem.value.code == "unreadable-audio"


@pytest.mark.parametrize("file", ["SpeechToFace.kt", "SpeechToFace.swift", "speech_to_face.dart"])
def test_a_client_is_short_and_says_what_a_face_is_not(file: str) -> None:
    text = (CLIENTS / file).read_text()
    assert len(text.splitlines()) < 60
    assert "not the speaker" in text
    assert "v1/face" in text
    assert "detail" in text
