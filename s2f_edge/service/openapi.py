"""What the OpenAPI document says beyond what FastAPI finds: forms with files, problems, prohibited uses."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from s2f_edge.service.problems import MEDIA_TYPE, TITLES
from s2f_edge.service.settings import ServiceSettings

DESCRIPTION = """\
Makes a plausible face from a recording of a voice.

**The face is invented. It is not the speaker, and identifies nobody.** A voice says something about gender and age, and
little more.

Prohibited: identifying, finding, judging or accusing people; evidence or leads for law enforcement; telling or using
ethnicity; passing a face, or a video in which one speaks, off as a photo or a film. See [the terms of use](/terms).

Errors are `application/problem+json`; programs test for `code`. Every answer has a header `Request-Id`. Nothing that is
sent is kept, unless a request asks for it with `keep_hours` and the server has a store.

`WS /v1/stream` makes faces while somebody speaks: first a text message such as
`{"encoding": "pcm16", "sample_rate": 16000, "gender": "auto", "size": 256, "format": "webp"}` (or
`"encoding": "opus"`), then binary messages of 16-bit samples (or Opus packets), then `{"type": "end"}`. Back come text
messages with the `type` `heard` (seconds so far), `face` (a better face, as base64) or `problem`. With
`"motion": true` there is also `motion`: for each frame, 25 a second from `frame` on, `offsets` (68 points, x and y, in
units of the distance of the eyes) and `poses` (yaw, pitch, roll, right, down, lids, brows, speaking); and each face has
its `shape` (68 points in units of the side) and its `texture`, a picture of it on the mean shape. The pack's animator
makes frames of them.
"""

SOUND = "A recording of one person who speaks: wav, flac, ogg, opus, mp3; m4a, aac, webm, amr where the server can."
FILES = "Recordings."
PICTURES: dict[str, Any] = {
    "description": "A picture, or JSON.",
    "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in
                ("image/png", "image/webp", "image/jpeg")},
}  # fmt: skip


VIDEOS: dict[str, Any] = {
    "description": "A video, sent while it is made.",
    "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in
                ("video/mp4", "video/webm", "image/gif", "image/webp")},
}  # fmt: skip


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Answers that are problems, by status."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {status: {"description": TITLES[status], "content": {MEDIA_TYPE: {"schema": schema}}} for status in statuses}


def form_of(
    fields: type[BaseModel], files: str = "file", file: str = SOUND, leave_out: tuple[str, ...] = ()
) -> dict[str, Any]:
    """The request body of a form with one file, or with several in a field `files`."""
    schema = fields.model_json_schema()
    schema.pop("$defs", None)
    one = {"type": "string", "format": "binary", "contentMediaType": "application/octet-stream"}
    schema["properties"] = {
        files: {"type": "array", "items": one, "minItems": 1, "description": file}
        if files == "files"
        else one | {"description": file},
        **{name: _plain(field) for name, field in schema.get("properties", {}).items() if name not in leave_out},
    }
    schema["required"] = [files]
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


def _plain(field: dict[str, Any]) -> dict[str, Any]:
    """A form says nothing by leaving a field out, and cannot say null."""
    kinds = [kind for kind in field.get("anyOf", []) if kind.get("type") != "null"]
    plain = {name: value for name, value in field.items() if name not in ("anyOf", "title")}
    if plain.get("default", 0) is None:
        del plain["default"]
    return plain | (kinds[0] if kinds else {})


def document(app: FastAPI, settings: ServiceSettings) -> dict[str, Any]:
    """The OpenAPI document, with this server's limits and keys."""
    whole = FastAPI.openapi(app)
    for path in whole["paths"].values():
        for operation in path.values():
            _limit(operation, settings)
    whole["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    if settings.keys:
        for name, path in whole["paths"].items():
            if (name.startswith("/v1/") and name != "/v1/info") or name == "/predict":
                for operation in path.values():
                    operation["security"] = [{"key": []}]
    return whole


def _limit(operation: dict[str, Any], settings: ServiceSettings) -> None:
    form = operation.get("requestBody", {}).get("content", {}).get("multipart/form-data", {}).get("schema", {})
    fields = form.get("properties", {})
    for name, most in (("samples", settings.max_samples), ("candidate", settings.max_samples)):
        if name in fields:
            fields[name]["maximum"] = most
    if "size" in fields:
        fields["size"]["maximum"] = min(settings.max_size, fields["size"]["maximum"])
    if "files" in fields:
        fields["files"]["maxItems"] = settings.max_batch
    if settings.store is None:
        fields.pop("keep_hours", None)
    elif "keep_hours" in fields:
        fields["keep_hours"]["maximum"] = settings.store_hours
