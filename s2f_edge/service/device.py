"""The files with which a browser makes faces itself, from a folder that `python -m export.to_browser` wrote."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s2f_edge.errors import SetupError

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.responses import Response

SCHEMA = 2
MANIFEST = "manifest.json"
ADDRESS = "/on-device"
TYPES = {".mjs": "text/javascript", ".wasm": "application/wasm", ".txt": "text/plain; charset=utf-8"}
# A page and its workers that send this are isolated, and so may share memory: WebAssembly then has threads.
ISOLATED = {"Cross-Origin-Embedder-Policy": "require-corp"}
AGAIN = "Write it again: python -m export.to_browser."


def policy(strict: str) -> str:
    """A policy for workers, which alone may compile WebAssembly."""
    return strict.replace("script-src 'self'", "script-src 'self' 'wasm-unsafe-eval'")


def checked(folder: Path, pack_sha256: str) -> dict[str, Any]:
    """The manifest of such a folder.

    Args:
        pack_sha256: of the pack that the service has; faces must be the same on both sides.

    Raises:
        SetupError: it is no such folder, a file differs from the manifest, or it is of another pack.
    """
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text("utf-8"))
        if manifest["schema"] != SCHEMA:
            raise ValueError(f"schema {manifest['schema']!r}")
        theirs, files = manifest["pack_sha256"], {name: entry["sha256"] for name, entry in manifest["files"].items()}
        for name, wanted in files.items():
            if Path(name).name != name:
                raise ValueError(f"a file called {name!r}")
            if hashlib.sha256((folder / name).read_bytes()).hexdigest() != wanted:
                raise SetupError(f"{folder / name} does not match {MANIFEST}. {AGAIN}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SetupError(f"{folder} has no files for browsers ({error}). {AGAIN}") from None
    if theirs != pack_sha256:
        raise SetupError(
            f"{folder} was made of another pack than the one that is served, so its faces would be others. {AGAIN}"
        )
    return manifest


def install(app: FastAPI, folder: Path, pack_sha256: str, strict: str) -> None:
    """Serves the folder at /on-device.

    Raises:
        SetupError: see `checked`.
    """
    from starlette.responses import FileResponse, PlainTextResponse

    manifest = checked(folder, pack_sha256)
    names = {*manifest["files"], *manifest["licences"]}

    async def file(request: Request) -> Response:
        name = request.path_params["name"]
        if name == MANIFEST:
            return FileResponse(folder / MANIFEST, media_type="application/json", headers={"Cache-Control": "no-cache"})
        if name not in names:
            return PlainTextResponse("not found", 404)
        # Addresses carry the file's hash, so what they give never changes.
        lasting = "public, max-age=31536000, immutable" if request.query_params.get("v") else "no-cache"
        headers = {"Content-Security-Policy": policy(strict), "Cache-Control": lasting, "Vary": "Accept-Encoding"}
        headers |= ISOLATED
        path, packed = folder / name, folder / f"{name}.gz"
        if packed.exists() and "gzip" in request.headers.get("accept-encoding", ""):
            path, headers["Content-Encoding"] = packed, "gzip"
        kind = TYPES.get(Path(name).suffix, "application/octet-stream")
        return FileResponse(path, media_type=kind, headers=headers)

    app.add_route(ADDRESS + "/{name}", file, ["GET", "HEAD"], include_in_schema=False)
