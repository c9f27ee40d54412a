"""What the service does differently on Windows and macOS, with doubles of what they do."""

from __future__ import annotations

import logging
import mimetypes
import os
import signal
import socket
import sys
import threading
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from s2f_edge.service import app as service
from s2f_edge.service import decoder
from s2f_edge.service.settings import ServiceSettings


def test_a_port_belongs_to_one_service(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    class Socket(socket.socket):
        def setsockopt(self, level: int, option: int, value: int) -> None:  # type: ignore[override]
            asked.append(option)

    monkeypatch.setattr(service.socket, "socket", Socket)
    monkeypatch.setattr(socket, "SO_EXCLUSIVEADDRUSE", -5, raising=False)
    for platform, option in (("win32", -5), ("darwin", socket.SO_REUSEADDR)):
        monkeypatch.setattr(sys, "platform", platform)
        service._bound(ServiceSettings(port=0)).close()
        assert asked.pop() == option


def test_types_do_not_come_from_a_registry(tiny_pack: Path) -> None:
    """A browser runs no module that is called text/plain."""
    for suffix in (".js", ".css", ".svg"):
        mimetypes.add_type("text/plain", suffix)
    with TestClient(service.create_app(ServiceSettings(pack=tiny_pack, concurrency=1)), "http://127.0.0.1") as client:
        kinds = {
            name: client.get(f"/{name}").headers["content-type"] for name in ("app.js", "style.css", "icons/icon.svg")
        }
    assert {name: kind.split(";")[0] for name, kind in kinds.items()} == {
        "app.js": "text/javascript", "style.css": "text/css", "icons/icon.svg": "image/svg+xml",
    }  # fmt: skip


@pytest.mark.slow
def test_a_decoder_ends_itself_without_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()
    monkeypatch.delattr(signal, "setitimer")
    monkeypatch.setattr(os, "_exit", lambda status: ended.set())
    decoder._alarm(30.0)
    decoder._alarm(0.05)
    assert ended.wait(10.0)
    ended.clear()
    decoder._alarm(0.3)
    decoder._alarm(0.0)
    assert not ended.wait(1.0)


def test_a_decoder_without_limits_is_told_of(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setitem(sys.modules, "resource", None)
    decoder._confine(256)
    monkeypatch.setattr(decoder, "LIMITS_MEMORY", False)
    with caplog.at_level(logging.WARNING):
        decoder.DecoderPool(0, 256).close()
    assert "no memory limit on this system" in caplog.text
