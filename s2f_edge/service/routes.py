"""The addresses of the service under /v1, and the old app's /predict."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import JSONResponse, Response

from s2f_edge._version import __version__
from s2f_edge.errors import ForbiddenError, InvalidRequestError, NotFoundError, S2FError
from s2f_edge.picture import NOTICE
from s2f_edge.pipeline import MIN_SPEECH_S
from s2f_edge.service import schemas
from s2f_edge.service.app_state import AppState, State
from s2f_edge.service.inference import Rendered, picture_fields, voice_facts
from s2f_edge.service.openapi import FILES, PICTURES, VIDEOS, form_of, problems
from s2f_edge.service.problems import problem
from s2f_edge.service.settings import listed
from s2f_edge.service.stream import Stream, first_message, tell
from s2f_edge.service.talk import TalkResponse, offered
from s2f_edge.service.uploads import read_form


async def admit(request: Request, state: State) -> None:
    """Checks the key and the rate of a request; in the event loop, as `app_state`."""
    state.admit(request)


api = APIRouter(prefix="/v1", dependencies=[Depends(admit)], responses=problems(401, 403, 429))
open_api = APIRouter(prefix="/v1")
old_api = APIRouter()
sockets = APIRouter(prefix="/v1")


# -------------------------------------------------------------------------------- faces


@api.post(
    "/face",
    summary="Faces for a voice",
    response_model=schemas.Faces,
    response_class=Response,
    responses={200: PICTURES, **problems(400, 413, 415, 422, 503, 504)},
    openapi_extra=form_of(schemas.FaceFields),
)
async def face(request: Request, state: State) -> Response:
    """A plausible face for the voice in a recording, as a picture with its facts in the header `S2F-Facts`, or as JSON.

    The face is invented. It is not the speaker, and identifies nobody.
    """
    inference = state.inference
    async with inference.admitted() as inside:
        form = await read_form(request, schemas.FaceFields, inference.settings.max_bytes)
        rendered = await inference.run(inside, lambda: inference.faces(form.file, form.fields, inside))
        kept = _keep(state, rendered, form.fields)
    return _answer(rendered, form.fields, kept)


def _answer(rendered: Rendered, fields: schemas.FaceFields, kept: list[dict[str, str]] | None) -> Response:
    facts = rendered.result.to_dict() | {"marks": list(rendered.marks)} | ({"kept": kept} if kept else {})
    if fields.format == "json":
        pictures = [picture_fields(data, rendered.media_type, rendered.size) for data in rendered.pictures]
        return JSONResponse(facts | {"pictures": pictures})
    headers = {
        "S2F-Facts": json.dumps(facts),
        "S2F-Gender": facts["gender"],
        "S2F-Generator": facts["generator"],
        "S2F-Seed": str(facts["seed"]),
        "S2F-Speech-Seconds": str(facts["speech_seconds"]),
        "S2F-Warnings": ",".join(warning["code"] for warning in facts["warnings"]),
    }
    return Response(rendered.pictures[0], media_type=rendered.media_type, headers=headers)


def _keep(state: AppState, rendered: Rendered, fields: schemas.FaceFields) -> list[dict[str, str]] | None:
    if fields.keep_hours is None or state.store is None:
        return None
    kept = []
    for picture in rendered.pictures:
        name, owner_key, until = state.store.keep(rendered.media_type.encode() + b"\0" + picture, fields.keep_hours)
        end = datetime.fromtimestamp(until, UTC).isoformat(timespec="seconds")
        kept.append({"name": name, "owner_key": owner_key, "until": end})
    return kept


@api.post(
    "/batch",
    summary="Faces for many voices",
    response_model=schemas.Batch,
    responses=problems(400, 413, 422, 503, 504),
    openapi_extra=form_of(schemas.FaceFields, "files", FILES, leave_out=("format", "keep_hours")),
)
async def batch(request: Request, state: State) -> Response:
    """Faces for each of several recordings, one after the other; one that fails does not stop the rest.

    All of them together must be within the limits of one upload and the time of one request.
    """
    inference = state.inference
    results: list[dict[str, Any]] = []
    async with inference.admitted() as inside:
        form = await read_form(
            request, schemas.FaceFields, inference.settings.max_bytes, "files", inference.settings.max_batch
        )
        if {"format", "keep_hours"} & form.fields.model_fields_set:
            raise InvalidRequestError("A batch takes neither `format` nor `keep_hours`: its answer is JSON.")
        fields = form.fields.model_copy(update={"format": "json"})
        inference.check(fields)
        for data in form.files:
            try:
                rendered = await inference.run(inside, lambda data=data: inference.faces(data, fields, inside))  # type: ignore[misc]
            except S2FError as error:
                results.append({"problem": problem(error)})
            else:
                results.append({"face": json.loads(bytes(_answer(rendered, fields, None).body))})
    return JSONResponse({"results": results})


@api.post(
    "/embedding",
    summary="The embedding of a voice",
    response_model=schemas.Embedding,
    responses=problems(400, 413, 415, 422, 503, 504),
    openapi_extra=form_of(schemas.NoFields),
)
async def embedding(request: Request, state: State) -> Response:
    """The voice embedding that faces are made from, of unit length. It must not be used to identify anyone."""
    inference = state.inference
    async with inference.admitted() as inside:
        form = await read_form(request, schemas.NoFields, inference.settings.max_bytes)
        voice = await inference.run(inside, lambda: inference.voice(form.file, inside))
    facts = voice_facts(voice, inference.model)
    return JSONResponse(facts | {"embedding": [round(float(value), 7) for value in voice.embedding]})


@api.post(
    "/provenance",
    summary="Where a picture comes from",
    response_model=schemas.ProvenanceReport,
    responses=problems(413, 422, 503, 504),
    openapi_extra=form_of(schemas.NoFields, file="A picture: png, jpeg or webp."),
)
async def provenance(request: Request, state: State) -> Response:
    """Reads the metadata, the content credentials and the watermark of a picture, and names what it finds."""
    inference = state.inference
    async with inference.admitted() as inside:
        form = await read_form(request, schemas.NoFields, inference.settings.max_bytes)
        report = await inference.run(inside, lambda: inference.decoders.picture(form.file, inside.left_s))
    return JSONResponse(report)


@api.post(
    "/talk",
    summary="A video in which the face says the recording",
    response_class=Response,
    responses={200: VIDEOS, **problems(400, 413, 415, 422, 503, 504)},
    openapi_extra=form_of(schemas.TalkFields),
)
async def talk(request: Request, state: State) -> Response:
    """The face for a voice, saying what the voice says, sent while it is made; its facts are in `S2F-Facts`.

    The face and how it moves are invented: nobody was filmed. No photograph can be given. A video that breaks off
    has failed. Frames have the watermark from 256 pixels on, and the file has metadata, but no signature, which would
    need all of it first.
    """
    return TalkResponse(state.inference, request)


# -------------------------------------------------------------------------------- kept


OwnerKey = Annotated[
    str, Header(alias="Owner-Key", min_length=1, max_length=100, description="The key returned when the face was kept.")
]
Name = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]


@api.get(
    "/faces/{name}",
    summary="A face that is kept",
    response_class=Response,
    responses={200: PICTURES | {"model": None}, **problems(404, 422)},
)
def kept_face(state: State, name: Name, owner_key: OwnerKey) -> Response:
    """A face that was kept with `keep_hours`, decrypted with the key of its owner."""
    media_type, _, picture = _store(state).face(name, owner_key).partition(b"\0")
    return Response(picture, media_type=media_type.decode())


@api.delete("/faces/{name}", summary="Delete it", status_code=204, responses=problems(404, 422))
def delete_face(state: State, name: Name, owner_key: OwnerKey) -> Response:
    """Deletes a face at once."""
    _store(state).delete(name, owner_key)
    return Response(status_code=204)


def _store(state: AppState) -> Any:
    if state.store is None:
        raise NotFoundError("This server keeps no faces.")
    return state.store


# ----------------------------------------------------------------------------- the rest


@open_api.get("/info", summary="What this server does")
def info(state: State) -> schemas.Info:
    """Version, pack and limits, for programs that adapt to them."""
    settings, model = state.inference.settings, state.inference.model
    return schemas.Info(
        version=__version__,
        pack=model.pack_name,
        pack_sha256=model.pack.sha256,
        variant=model.variant,
        generators=list(model.pack.manifest.generators),
        face_size=model.face_size,
        limits=schemas.Limits(
            bytes=settings.max_bytes, seconds=settings.max_seconds, talk_seconds=settings.talk_seconds,
            samples=settings.max_samples, size=settings.max_size, batch=settings.max_batch,
            min_speech_seconds=MIN_SPEECH_S,
        ),
        key_needed=state.keys is not None,
        formats=["png", "webp", "jpeg", "json"],
        stream=settings.streams > 0,
        talk=offered(state.inference),
        store=settings.store is not None,
        on_device=settings.page and settings.on_device is not None,
        notice=NOTICE,
    )  # fmt: skip


@old_api.post(
    "/predict",
    tags=["the thesis's app"],
    summary="For the mobile app of the thesis",
    response_model=schemas.Predicted,
    dependencies=[Depends(admit)],
    responses=problems(400, 401, 403, 413, 415, 422, 429, 503, 504),
    openapi_extra=form_of(schemas.PredictFields),
)
async def predict(request: Request, state: State) -> Response:
    """Answers with the address of a picture. Nothing is kept: the address holds the encrypted embedding."""
    inference = state.inference
    async with inference.admitted() as inside:
        form = await read_form(request, schemas.PredictFields, inference.settings.max_bytes)
        voice = await inference.run(inside, lambda: inference.voice(form.file, inside))
        generator = inference.model.generator_for(form.fields.gender, voice)
    token = state.seal.close(voice.embedding, generator, inference.settings.predict_seconds)
    facts = voice_facts(voice, inference.model)
    answer = {"url": str(request.url_for("predicted", token=token)), "generator": generator}
    return JSONResponse(answer | {name: facts[name] for name in ("speech_seconds", "gender", "notice")})


@old_api.get(
    "/predict/{token}.png",
    tags=["the thesis's app"],
    summary="The picture",
    response_class=Response,
    responses={200: {"content": {"image/png": {}}}, **problems(404, 422, 503, 504)},
)
async def predicted(state: State, token: Annotated[str, Path(max_length=4096)]) -> Response:
    """The face behind an address from /predict, until the address expires."""
    inference = state.inference
    embedding, generator = state.seal.open(token)
    async with inference.admitted() as inside:
        picture = await inference.run(inside, lambda: inference.sealed_face(embedding, generator))
    return Response(picture, media_type="image/png")


@sockets.websocket("/stream")
async def stream(socket: WebSocket, state: State) -> None:
    inference = state.inference
    origin, host = socket.headers.get("origin"), socket.headers.get("host", "")
    allowed = (f"http://{host}", f"https://{host}", *listed(inference.settings.origins))
    await socket.accept()
    try:
        if origin is not None and origin not in allowed:
            raise ForbiddenError("This page's origin may not open streams here.")
        with state.streams.one():
            first = await first_message(socket, inference.settings.stream_idle_seconds)
            state.admit(socket, first.key)
            await Stream(inference, socket, first).run()
        await socket.close()
    except S2FError as error:
        socket.scope["s2f_code"] = error.code
        await tell(socket, error)
    except WebSocketDisconnect:
        pass  # the client went away, which is its right
