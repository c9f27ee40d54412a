"""Errors as RFC 9457 problems, with the codes of `s2f_edge.errors`."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Match

from s2f_edge.errors import InvalidRequestError, S2FError, ServiceError
from s2f_edge.service.logs import request_id

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
TITLES = {
    400: "The request is wrong",
    401: "A key is needed",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    413: "Too much",
    415: "Not a sound that can be read",
    422: "The content cannot be used",
    429: "Too many requests",
    500: "A fault of the server",
    503: "Busy",
    504: "It took too long",
}


def problem(error: S2FError) -> dict[str, Any]:
    """The problem+json fields of an S2FError."""
    status = error.http_status
    # What is wrong with the server itself is for its log, not for the caller.
    inner = status == 500
    return _fields(status, error.code, _FAULT if inner else str(error)) | error.known()


FAULT_CODE = "internal"
_FAULT = "The server failed. Say the request id when you report it."


def _fields(status: int, code: str, detail: str) -> dict[str, Any]:
    return {
        "type": f"/errors/{code}",
        "title": TITLES.get(status, "Error"),
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": request_id.get(),
    }


def respond(error: S2FError) -> Response:
    """The answer for one of our errors."""
    headers = {}
    if isinstance(error, ServiceError) and error.retry_after_s:
        headers["Retry-After"] = str(error.retry_after_s)
    if error.http_status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return _answer(problem(error), headers)


def _answer(fields: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
    return JSONResponse(fields, fields["status"], headers, media_type=MEDIA_TYPE)


def fault() -> Response:
    """The answer to an unexpected exception."""
    return _answer(_fields(500, FAULT_CODE, _FAULT))


def _methods(app: FastAPI, request: Request) -> set[str]:
    """What an address may be asked; the router names those of one route only."""
    may: set[str] = set()
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"):
        scope = {**request.scope, "method": method}
        if any(route.matches(scope)[0] is Match.FULL for route in app.routes):
            may.add(method)
    return may


def install(app: FastAPI) -> None:
    """Makes every error that an app answers a problem."""

    async def ours(request: Request, error: Exception) -> Response:
        assert isinstance(error, S2FError)
        request.scope["s2f_code"] = error.code
        if error.http_status == 500:
            log.error("%s: %s", type(error).__name__, error)
        return respond(error)

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        where = ".".join(str(part)[:40] for part in first["loc"][1:])
        return await ours(request, InvalidRequestError(f"`{where}`: {first['msg']}."))

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        code = {404: "not-found", 405: "method-not-allowed"}.get(error.status_code, f"http-{error.status_code}")
        request.scope["s2f_code"] = code
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers["Allow"] = ", ".join(sorted(_methods(app, request))) or headers.get("allow", "")
        return _answer(_fields(error.status_code, code, f"{error.detail}."), headers)

    app.add_exception_handler(S2FError, ours)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
