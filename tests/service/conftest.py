"""A real server in a process of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest


@dataclass
class Server:
    """A running `s2f-edge serve`."""

    url: str
    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)  # of its log

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def log(self) -> str:
        return "\n".join(self.lines)

    def client(self, **options: object) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=30, **options)  # type: ignore[arg-type]

    def children(self) -> list[int]:
        """Process ids of its decoders."""
        file = Path(f"/proc/{self.process.pid}/task")
        return [int(pid) for task in file.iterdir() for pid in (task / "children").read_text().split()]

    def inside(self) -> int:
        """Requests that are worked on or wait, as it says itself."""
        lines = httpx.get(f"{self.url}/metrics", timeout=30).text.splitlines()
        return int(float(next(line.split()[1] for line in lines if line.startswith("s2f_requests_inside "))))

    def wait_until_inside(self, count: int) -> None:
        """Waits until so many requests are worked on or wait."""
        deadline = time.monotonic() + 30
        while self.inside() != count:
            assert time.monotonic() < deadline, f"{self.inside()} requests are inside, and not {count}"
            time.sleep(0.02)

    def stop(self, signal_: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal_)
        return self.process.wait(60)


def start(
    *flags: str, port: int = 0, environment: dict[str, str] | None = None, before: Callable[[], None] | None = None
) -> Server:
    """Starts `s2f-edge serve` with flags, on a port or a free one, and waits until it listens."""
    process = subprocess.Popen(
        [sys.executable, "-m", "s2f_edge", "serve", "--port", str(port), *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={k: v for k, v in os.environ.items() if not k.startswith("S2F_SERVE_")} | (environment or {}),
        preexec_fn=before,
    )
    assert process.stdout
    assert process.stderr
    said = process.stdout.readline()
    if "serves at" not in said:
        raise RuntimeError(f"exit status {process.wait(10)}: {process.stderr.read()}")
    server = Server(said.split()[-1], process)
    lines = process.stderr
    threading.Thread(target=lambda: server.lines.extend(line.rstrip() for line in lines), daemon=True).start()
    return server


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """serve(*flags, environment=...) -> a server that ends with the test."""
    servers: list[Server] = []

    def begin(*flags: str, **options: object) -> Server:
        servers.append(start(*flags, **options))  # type: ignore[arg-type]
        return servers[-1]

    yield begin
    for server in servers:
        server.stop(signal.SIGKILL)


@pytest.fixture(scope="session")
def start_server() -> Callable[..., Server]:
    """`start`, for modules: by then the name conftest may be that of another folder's."""
    return start


@pytest.fixture(scope="session")
def live_server() -> Iterator[Server]:
    """The default pack itself, on every processor; shared by tests that change nothing in it."""
    from s2f_edge.pack.pack import Pack

    server = start("--variant", Pack.open().manifest.weights)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def client(live_server: Server) -> Iterator[httpx.Client]:
    with live_server.client() as opened:
        yield opened


@pytest.fixture(scope="session")
def male(examples: Path) -> bytes:
    return (examples / "male.wav").read_bytes()


@pytest.fixture(scope="session")
def female(examples: Path) -> bytes:
    return (examples / "female.wav").read_bytes()


@pytest.fixture(scope="session")
def device_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What export.to_browser writes."""
    from export import to_browser as command
    from export.single_file import Judged
    from s2f_edge.pack.pack import Pack

    if shutil.which("npm") is None:
        pytest.skip("npm is not installed; onnxruntime-web comes from it.")
    target = tmp_path_factory.mktemp("device") / "browser"
    # The model's parity has tests of its own; here the picture in the browser is what counts.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "judge", lambda *_, **__: Judged(0, 1.0, 99.0, 0.0))
        patch.setattr(command, "GZIP_LEVEL", 5)  # a second instead of 13, for 1.5 % more bytes
        try:
            command.to_browser(target, Pack.open())
        except subprocess.CalledProcessError as error:
            pytest.skip(f"npm could not get onnxruntime-web: {error.stderr.decode()[-300:]}")
    return target
