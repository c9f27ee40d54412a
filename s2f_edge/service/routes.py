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
from s2f_edge.service.engine import Engine, Made, picture_fields, voice_facts
from s2f_edge.service.house import House
from s2f_edge.service.openapi import FILES, PICTURES, form_of, problems
from s2f_edge.service.problems import problem
from s2f_edge.service.settings import listed
from s2f_edge.service.stream import Stream, first_message, tell
from s2f_edge.service.uploads import read_form


def house_of(request: Request) -> House:
    house: House = request.app.state.house
    return house


def admit(request: Request) -> None:
    """Who asks, and whether they may, now."""
    house = house_of(request)
    given = request.headers.get("authorization", "")
    key = given[7:].strip() if given[:7].lower() == "bearer " else request.headers.get("x-api-key")
    caller = house.caller(key)
    if caller:
        request.scope["s2f_caller"] = caller
    house.rate.spend(caller or (request.client.host if request.client else ""))


HouseOf = Annotated[House, Depends(house_of)]
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
async def face(request: Request, house: HouseOf) -> Response:
    """A plausible face for the voice in a recording, as a picture with its facts in the header `S2F-Facts`, or as JSON.

    The face is invented. It is not the speaker, and identifies nobody.
    """
    engine = house.engine
    async with engine.admitted() as inside:
        form = await read_form(request, schemas.FaceFields, engine.settings.max_bytes)
        made = await engine.run(inside, lambda: engine.faces(form.file, form.fields, inside))
        kept = _keep(house, made, form.fields)
    return _answer(made, form.fields, kept)


def _answer(made: Made, fields: schemas.FaceFields, kept: list[dict[str, str]] | None) -> Response:
    facts = made.result.to_dict() | {"marks": list(made.marks)} | ({"kept": kept} if kept else {})
    if fields.format == "json":
        pictures = [picture_fields(data, made.media_type, made.size) for data in made.pictures]
        return JSONResponse(facts | {"pictures": pictures})
    headers = {
        "S2F-Facts": json.dumps(facts),
        "S2F-Gender": facts["gender"],
        "S2F-Generator": facts["generator"],
        "S2F-Seed": str(facts["seed"]),
        "S2F-Speech-Seconds": str(facts["speech_seconds"]),
        "S2F-Warnings": ",".join(warning["code"] for warning in facts["warnings"]),
    }
    return Response(made.pictures[0], media_type=made.media_type, headers=headers)


def _keep(house: House, made: Made, fields: schemas.FaceFields) -> list[dict[str, str]] | None:
    if fields.keep_hours is None or house.store is None:
        return None
    kept = []
    for picture in made.pictures:
        name, owner_key, until = house.store.keep(made.media_type.encode() + b"\0" + picture, fields.keep_hours)
        said = datetime.fromtimestamp(until, UTC).isoformat(timespec="seconds")
        kept.append({"name": name, "owner_key": owner_key, "until": said})
    return kept


@api.post(
    "/batch",
    summary="Faces for many voices",
    response_model=schemas.Batch,
    responses=problems(400, 413, 422, 503, 504),
    openapi_extra=form_of(schemas.FaceFields, "files", FILES, leave_out=("format", "keep_hours")),
)
async def batch(request: Request, house: HouseOf) -> Response:
    """Faces for each of several recordings, one after the other; one that fails does not stop the rest.

    All of them together must be within the limits of one upload and the time of one request.
    """
    engine = house.engine
    results: list[dict[str, Any]] = []
    async with engine.admitted() as inside:
        form = await read_form(
            request, schemas.FaceFields, engine.settings.max_bytes, "files", engine.settings.max_batch
        )
        if {"format", "keep_hours"} & form.fields.model_fields_set:
            raise InvalidRequestError("A batch takes neither `format` nor `keep_hours`: its answer is JSON.")
        fields = form.fields.model_copy(update={"format": "json"})
        engine.check(fields)
        for data in form.files:
            try:
                made = await engine.run(inside, lambda data=data: engine.faces(data, fields, inside))  # type: ignore[misc]
            except S2FError as error:
                results.append({"problem": problem(error)})
            else:
                results.append({"face": json.loads(bytes(_answer(made, fields, None).body))})
    return JSONResponse({"results": results})


@api.post(
    "/embedding",
    summary="The embedding of a voice",
    response_model=schemas.Embedding,
    responses=problems(400, 413, 415, 422, 503, 504),
    openapi_extra=form_of(schemas.NoFields),
)
async def embedding(request: Request, house: HouseOf) -> Response:
    """The voice embedding that faces are made from, of unit length. It must not be used to identify anyone."""
    engine = house.engine
    async with engine.admitted() as inside:
        form = await read_form(request, schemas.NoFields, engine.settings.max_bytes)
        voice = await engine.run(inside, lambda: engine.voice(form.file, inside))
    facts = voice_facts(voice, engine.model)
    return JSONResponse(facts | {"embedding": [round(float(value), 7) for value in voice.embedding]})


@api.post(
    "/provenance",
    summary="Where a picture comes from",
    response_model=schemas.ProvenanceReport,
    responses=problems(413, 422, 503, 504),
    openapi_extra=form_of(schemas.NoFields, file="A picture: png, jpeg or webp."),
)
async def provenance(request: Request, house: HouseOf) -> Response:
    """Reads the metadata, the content credentials and the watermark of a picture, and names what it finds."""
    engine = house.engine
    async with engine.admitted() as inside:
        form = await read_form(request, schemas.NoFields, engine.settings.max_bytes)
        report = await engine.run(inside, lambda: engine.decoders.picture(form.file, inside.left_s))
    return JSONResponse(report)


# -------------------------------------------------------------------------------- kept


OwnerKey = Annotated[str, Header(alias="Owner-Key", min_length=1, max_length=100, description="Said when it was kept.")]
Name = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]


@api.get(
    "/faces/{name}",
    summary="A face that is kept",
    response_class=Response,
    responses={200: PICTURES | {"model": None}, **problems(404, 422)},
)
def kept_face(house: HouseOf, name: Name, owner_key: OwnerKey) -> Response:
    """A face that was kept with `keep_hours`, decrypted with the key of its owner."""
    media_type, _, picture = _store(house).face(name, owner_key).partition(b"\0")
    return Response(picture, media_type=media_type.decode())


@api.delete("/faces/{name}", summary="Delete it", status_code=204, responses=problems(404, 422))
def delete_face(house: HouseOf, name: Name, owner_key: OwnerKey) -> Response:
    """Deletes a face at once."""
    _store(house).delete(name, owner_key)
    return Response(status_code=204)


def _store(house: House) -> Any:
    if house.store is None:
        raise NotFoundError("This server keeps no faces.")
    return house.store


# ----------------------------------------------------------------------------- the rest


@open_api.get("/info", summary="What this server does")
def info(house: HouseOf) -> schemas.Info:
    """Version, pack and limits, for programs that adapt to them."""
    settings, model = house.engine.settings, house.engine.model
    return schemas.Info(
        version=__version__,
        pack=model.pack_name,
        pack_sha256=model.pack.sha256,
        generators=list(model.pack.manifest.generators),
        face_size=model.face_size,
        limits=schemas.Limits(
            bytes=settings.max_bytes, seconds=settings.max_seconds, samples=settings.max_samples,
            size=settings.max_size, batch=settings.max_batch, min_speech_seconds=MIN_SPEECH_S,
        ),
        key_needed=house.keys is not None,
        formats=["png", "webp", "jpeg", "json"],
        stream=settings.streams > 0,
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
async def predict(request: Request, house: HouseOf) -> Response:
    """Answers with the address of a picture. Nothing is kept: the address holds, sealed, what the face is made of."""
    engine = house.engine
    async with engine.admitted() as inside:
        form = await read_form(request, schemas.PredictFields, engine.settings.max_bytes)
        voice = await engine.run(inside, lambda: engine.voice(form.file, inside))
        generator = engine.model.generator_for(form.fields.gender, voice)
    token = house.seal.close(voice.embedding, generator, engine.settings.predict_seconds)
    facts = voice_facts(voice, engine.model)
    answer = {"url": str(request.url_for("predicted", token=token)), "generator": generator}
    return JSONResponse(answer | {name: facts[name] for name in ("speech_seconds", "gender", "notice")})


@old_api.get(
    "/predict/{token}.png",
    tags=["the thesis's app"],
    summary="The picture",
    response_class=Response,
    responses={200: {"content": {"image/png": {}}}, **problems(404, 422, 503, 504)},
)
async def predicted(house: HouseOf, token: Annotated[str, Path(max_length=4096)]) -> Response:
    """The face that an address from /predict stands for, until its time is over."""
    engine = house.engine
    embedding, generator = house.seal.open(token)
    async with engine.admitted() as inside:
        picture = await engine.run(inside, lambda: engine.sealed_face(embedding, generator))
    return Response(picture, media_type="image/png")


@sockets.websocket("/stream")
async def stream(socket: WebSocket) -> None:
    house: House = socket.app.state.house
    engine: Engine = house.engine
    origin, host = socket.headers.get("origin"), socket.headers.get("host", "")
    allowed = (f"http://{host}", f"https://{host}", *listed(engine.settings.origins))
    await socket.accept()
    try:
        if origin is not None and origin not in allowed:
            raise ForbiddenError("This page's origin may not open streams here.")
        with house.streams.one():
            first = await first_message(socket, engine.settings.stream_idle_seconds)
            key = first.key or socket.headers.get("authorization", "")[7:] or socket.headers.get("x-api-key")
            caller = house.caller(key)
            if caller:
                socket.scope["s2f_caller"] = caller
            house.rate.spend(caller or (socket.client.host if socket.client else ""))
            await Stream(engine, socket, first).run()
        await socket.close()
    except S2FError as error:
        socket.scope["s2f_code"] = error.code
        await tell(socket, error)
    except WebSocketDisconnect:
        pass  # the client went away, which is its right
