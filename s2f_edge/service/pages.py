"""What a browser, a load balancer and a monitor read: the page, the terms, the docs, health and counts."""

from __future__ import annotations

import html
import mimetypes
from pathlib import Path

import fastapi_offline
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import FileResponse, HTMLResponse, PlainTextResponse
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from s2f_edge._version import __version__
from s2f_edge.errors import BusyError, SetupError
from s2f_edge.service import device, schemas
from s2f_edge.service.app_state import State
from s2f_edge.service.openapi import problems
from s2f_edge.service.settings import ServiceSettings

HERE = Path(__file__).parent
WEB, TERMS = HERE / "web", HERE / "terms.txt"
SWAGGER = Path(fastapi_offline.__file__).parent / "static"

STRICT = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "connect-src 'self'; manifest-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
# Swagger UI writes styles into its elements.
DOCS = STRICT.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")

TERMS_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Terms of use</title><link rel="stylesheet" href="/style.css">
<link rel="stylesheet" href="/dark.css" media="(prefers-color-scheme: dark)"></head>
<body><main class="terms">{text}</main></body></html>
"""
DOCS_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>s2f API</title><link rel="stylesheet" href="/docs/swagger-ui.css"></head>
<body><div id="swagger-ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script><script src="/docs/start.js"></script>
</body></html>
"""
# Windows keeps types in its registry, where another program may have made text/plain of a script.
TYPES = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
}
DOCS_START = "SwaggerUIBundle({ url: '/openapi.json', dom_id: '#swagger-ui', deepLinking: true })\n"

STATUS_PATHS = APIRouter(tags=["running it"])


@STATUS_PATHS.get("/healthz", summary="Does the process run?")
def healthz() -> schemas.Status:
    return schemas.Status(status="ok")


@STATUS_PATHS.get("/readyz", summary="Can it take a request?", responses=problems(503))
def readyz(state: State) -> schemas.Status:
    """503 while the queue is full, so that a load balancer asks another one."""
    if state.inference.admission.full:
        raise BusyError("The queue is full.", 1)
    return schemas.Status(status="ok")


@STATUS_PATHS.get(
    "/metrics",
    summary="Counts, for Prometheus",
    response_class=PlainTextResponse,
    responses=problems(401),
)
def metrics(request: Request, state: State) -> Response:
    """Where keys are needed, this needs one too."""
    state.caller(request)
    return Response(state.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


@STATUS_PATHS.get("/version", summary="Which version, which pack")
def version(state: State) -> schemas.Version:
    model = state.inference.model
    return schemas.Version(
        version=__version__, pack=model.pack_name, pack_sha256=model.pack.sha256, provider=model.provider
    )


def _serve_page(app: FastAPI, on_device: bool) -> None:
    """One route per file: a mount at / would also take what has another method than the API's."""
    for suffix, kind in TYPES.items():
        mimetypes.add_type(kind, suffix)
    files = StaticFiles(directory=WEB)

    def add(address: str, file: str) -> None:
        async def answer(request: Request) -> Response:
            response = await files.get_response(file, request.scope)
            compiles = on_device and file.startswith("device/")
            response.headers["Content-Security-Policy"] = device.policy(STRICT) if compiles else STRICT
            response.headers["Cache-Control"] = "no-cache"  # the browser asks whether it has changed
            if on_device:
                response.headers.update(device.ISOLATED)
            return response

        app.add_route(address, answer, ["GET", "HEAD"], include_in_schema=False)

    add("/", "index.html")
    for path in sorted(WEB.rglob("*")):
        if path.is_file():
            file = path.relative_to(WEB).as_posix()
            add(f"/{file}", file)


def install(app: FastAPI, settings: ServiceSettings) -> None:
    """Adds all of them.

    Raises:
        SetupError: the deployment's terms, or the files for browsers, cannot be used.
    """
    own = ""
    if settings.terms:
        try:
            own = settings.terms.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SetupError(f"The terms {settings.terms} cannot be read: {error}.") from None
    terms = TERMS_PAGE.format(text=_html(TERMS.read_text("utf-8")) + _html(own))

    def page(text: str, policy: str) -> Response:
        return HTMLResponse(text, headers={"Content-Security-Policy": policy})

    @app.get("/terms", include_in_schema=False)
    def terms_of_use() -> Response:
        return page(terms, STRICT)

    @app.get("/docs", include_in_schema=False)
    def docs() -> Response:
        return page(DOCS_PAGE, DOCS)

    @app.get("/docs/start.js", include_in_schema=False)
    def docs_start() -> Response:
        return Response(DOCS_START, media_type="text/javascript")

    @app.get("/docs/{name}", include_in_schema=False)
    def docs_file(name: str) -> Response:
        known = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}
        if name not in known:
            return PlainTextResponse("not found", 404)
        return FileResponse(SWAGGER / name, media_type=known[name], headers={"Cache-Control": "no-cache"})

    app.include_router(STATUS_PATHS)
    if settings.page:
        _serve_page(app, settings.on_device is not None)
        if settings.on_device:
            device.install(app, settings.on_device, app.state.service.inference.model.pack.sha256, STRICT)


def _html(text: str) -> str:
    """Headings, lists and paragraphs of plain text, as HTML."""
    out = []
    for block in text.strip().split("\n\n"):
        lines = [html.escape(line) for line in block.splitlines()]
        if lines and lines[0].startswith("# "):
            out.append(f"<h1>{lines[0][2:]}</h1>")
        elif lines and lines[0].startswith("- "):
            out.append("<ul>" + "".join(f"<li>{line[2:]}</li>" for line in lines) + "</ul>")
        elif lines:
            out.append(f"<p>{' '.join(lines)}</p>")
    return "\n".join(out)
