"""The service as an ASGI application, and the server that runs it."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from s2f_edge._version import __version__
from s2f_edge.errors import SetupError
from s2f_edge.service import logs, openapi, pages, problems, routes
from s2f_edge.service.app_state import AppState
from s2f_edge.service.metrics import Metrics
from s2f_edge.service.middleware import RequestMiddleware
from s2f_edge.service.settings import ServiceSettings, listed
from s2f_edge.service.stream import MAX_MESSAGE

log = logging.getLogger(__name__)

BACKLOG = 2048  # connections that wait to be accepted


def create_app(settings: ServiceSettings | None = None) -> FastAPI:
    """The application. Models are loaded when it is made, so that it is ready when it listens.

    Raises:
        SetupError: a file or folder that the settings name cannot be used.
        PackError, DeviceError, RuntimeSetupError, CertificateError: the model cannot be loaded.
    """
    settings = settings or ServiceSettings()
    metrics = Metrics(settings.audit)
    state = AppState(settings, metrics)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with state.open():
            yield

    app = FastAPI(
        title="s2f", version=__version__, description=openapi.DESCRIPTION, lifespan=lifespan, docs_url=None,
        redoc_url=None, license_info={"name": "MIT (the code); the weights are for research only"},
    )  # fmt: skip
    app.state.service = state
    problems.install(app)
    for router in (routes.api, routes.open_api, routes.old_api, routes.sockets):
        app.include_router(router)
    pages.install(app, settings)
    document: list[dict[str, Any]] = []

    def described() -> dict[str, Any]:
        if not document:
            document.append(openapi.document(app, settings))
        return document[0]

    app.openapi = described  # type: ignore[method-assign]
    if settings.origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=listed(settings.origins), allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Owner-Key", "X-API-Key"],
            expose_headers=["Request-Id", "Retry-After", "S2F-Facts"],
        )  # fmt: skip
    app.add_middleware(RequestMiddleware, metrics=metrics, hosts=settings.allowed_hosts)
    return app


def serve(settings: ServiceSettings, verbose: bool = False, listening: Callable[[str], None] | None = None) -> None:
    """Serves until SIGTERM or SIGINT; requests that have begun are then finished.

    Args:
        listening: called with the address once it is listened on.

    Raises:
        SetupError: the address cannot be listened on, or a TLS file cannot be used; and those of `create_app`.
    """
    logs.set_up(verbose)
    bound = _bound(settings)
    app = create_app(settings)
    config = uvicorn.Config(
        app, log_config=None, access_log=False, server_header=False, lifespan="on",
        ssl_certfile=settings.tls_certificate, ssl_keyfile=settings.tls_key,
        proxy_headers=bool(settings.proxies), forwarded_allow_ips=listed(settings.proxies),
        timeout_graceful_shutdown=int(settings.drain_seconds), ws_max_size=MAX_MESSAGE, ws_per_message_deflate=False,
        backlog=BACKLOG,
    )  # fmt: skip
    try:
        config.load()
    except OSError as error:  # ssl.SSLError is one
        raise SetupError(f"The TLS certificate or key cannot be used: {error}.") from None
    server = uvicorn.Server(config)
    host, port = bound.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    address = f"{'https' if settings.tls_certificate else 'http'}://{shown}:{port}"
    if listening:
        listening(address)
    log.info("Listening on %s.", address)
    # uvicorn ends in order at SIGTERM, then raises it once more.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with bound:
        asyncio.run(server.serve([bound]))


def _bound(settings: ServiceSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # named, or asyncio leaves Nagle's delay on
    try:
        if sys.platform == "win32":  # where SO_REUSEADDR would let a second service take a port that is in use
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((settings.host, settings.port))
        bound.listen(BACKLOG)  # now, so that who reads the address can connect
    except OSError as error:
        bound.close()
        raise SetupError(
            f"Cannot listen on {settings.host}, port {settings.port}: {error.strerror or error}. "
            "Choose another with --port."
        ) from None
    return bound
