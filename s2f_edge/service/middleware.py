"""Middleware of every route: request id, access log, metrics and security headers."""

from __future__ import annotations

import logging
import re
import secrets
from time import perf_counter

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from s2f_edge.errors import ForbiddenError
from s2f_edge.service import problems
from s2f_edge.service.logs import request_id
from s2f_edge.service.metrics import Metrics

log = logging.getLogger("s2f_edge.service.access")

GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
SAFE = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
}
# What is shown by a browser; answers of the API get the first alone.
NOTHING = "default-src 'none'; frame-ancestors 'none'"


class RequestMiddleware:
    """ASGI middleware: request id, access log, metrics, security headers and the check of the Host header."""

    def __init__(self, app: ASGIApp, metrics: Metrics, hosts: list[str]) -> None:
        self._app = app
        self._metrics = metrics
        self._hosts = {host.lower() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        name = given if GIVEN_ID.fullmatch(given) else secrets.token_hex(8)
        token = request_id.set(name)
        began, status, started = perf_counter(), 101, False

        async def answered(message: Message) -> None:
            nonlocal status, started
            started = True
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["Request-Id"] = name
                for key, value in SAFE.items():
                    headers.setdefault(key, value)
                headers.setdefault("Content-Security-Policy", NOTHING)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        try:
            if self._answers_to(scope):
                await self._app(scope, receive, answered)
            else:
                await self._misdirected(scope, receive, answered)
        except Exception:
            log.error("fault", exc_info=True)
            scope["s2f_code"] = problems.FAULT_CODE
            if scope["type"] == "http" and not started:
                await problems.fault()(scope, receive, answered)
        finally:
            self._note(scope, status, perf_counter() - began)
            request_id.reset(token)

    def _answers_to(self, scope: Scope) -> bool:
        host = Headers(scope=scope).get("host", "").lower()
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        return "*" in self._hosts or name in self._hosts

    async def _misdirected(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        error = ForbiddenError("This server does not answer to this host name; its operator can allow it with --hosts.")
        scope["s2f_code"] = error.code
        await problems.respond(error)(scope, receive, send)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "other")
        code = scope.get("s2f_code")
        self._metrics.request(route, status, seconds, scope.get("s2f_caller"))
        if code:
            self._metrics.refused.labels(code).inc()
        method = scope.get("method", "WS")
        facts = {"method": method, "route": route, "status": status, "ms": round(seconds * 1e3, 1)}
        facts |= {name: value for name, value in (("code", code), ("caller", scope.get("s2f_caller"))) if value}
        log.info("%s %s %s", method, route, status, extra={"facts": facts})
