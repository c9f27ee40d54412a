"""Videos in which a face says a recording: made in a thread, and sent while they are made."""

from __future__ import annotations

import asyncio
import json
import threading
from concurrent.futures import TimeoutError as NotYet
from contextlib import suppress
from importlib.util import find_spec
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from s2f_edge.errors import NotFoundError, S2FError, UsageError
from s2f_edge.hearing import audio
from s2f_edge.hearing.features import SAMPLE_RATE
from s2f_edge.service.inference import Admitted, InferenceService, check_most
from s2f_edge.service.schemas import TalkFields
from s2f_edge.service.uploads import read_form
from s2f_edge.talk import files
from s2f_edge.talk.talk import Talk, TalkSettings
from s2f_edge.terms import VideoFormat

MEDIA_TYPES: dict[VideoFormat, str] = {
    "mp4": "video/mp4", "webm": "video/webm", "gif": "image/gif", "webp": "image/webp"
}  # fmt: skip
SLOWEST = 2.0  # seconds of work for each second of video, after those of a request
WAITING = 8  # pieces that wait for the client, of some kilobytes each
LOOK_S = 0.2  # how often a thread that waits looks whether the client is still there


def offered(inference: InferenceService) -> list[VideoFormat]:
    """The formats of videos that this server makes."""
    if not inference.settings.talk_seconds or not inference.model.pack.manifest.speaks:
        return []
    return [name for name in MEDIA_TYPES if name in ("gif", "webp") or find_spec("av")]


class TalkResponse(Response):
    """Reads the form of a request, and answers with the video.

    Its place among the requests is held until the last piece is sent. Where the client goes, the work stops with the
    next frame. What fails before the first piece is a problem; later the connection is cut.
    """

    def __init__(self, inference: InferenceService, request: Request) -> None:
        super().__init__()
        self._inference, self._request = inference, request

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def sent(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._answer(receive, sent)
        except S2FError as error:
            if not begun:
                raise
            scope["s2f_code"] = error.code  # the server cuts the connection, since the answer is not complete

    async def _answer(self, receive: Receive, send: Send) -> None:
        inference = self._inference
        async with inference.admitted() as inside:
            form = await read_form(self._request, TalkFields, inference.settings.max_bytes)
            fields = form.fields
            talk = await inference.run(inside, lambda: talk_of(inference, form.file, fields, inside))
            inside.prolong(SLOWEST * talk.seconds)
            pipe = Pipe(inside)
            making = asyncio.create_task(inference.run(inside, lambda: pipe.fill(talk, fields.format)))
            leaving = asyncio.create_task(_gone(receive))
            for task in (making, leaving):
                task.add_done_callback(pipe.end)
            try:
                piece = await pipe.read()
                if piece is not None:
                    await send(_head(talk, fields.format))
                while piece is not None:
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                    piece = await pipe.read()
                if not leaving.done():
                    await making
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
            finally:
                leaving.cancel()
                pipe.close()


def talk_of(inference: InferenceService, data: bytes, fields: TalkFields, inside: Admitted) -> Talk:
    """The face for the voice in a file, ready to speak; errors as of `InferenceService.voice`.

    Raises:
        NotFoundError: faces do not speak on this server.
        UsageError: a field is above the limits of this server, or does not fit the format.
    """
    settings = inference.settings
    if fields.format not in offered(inference):
        raise NotFoundError(f"This server makes no {fields.format}; GET /v1/info names under `talk` what it makes.")
    check_most(size=(fields.size, settings.max_size), candidate=(fields.candidate, settings.max_samples))
    if fields.size % 2 and fields.format in ("mp4", "webm"):
        raise UsageError(f"size is {fields.size}; {fields.format} needs an even number of pixels.")
    notes = audio.Notes()
    blocks = list(inference.blocks(data, inside, notes, min(settings.max_seconds, settings.talk_seconds)))
    voice = inference.model.embed_blocks(iter(blocks), notes=notes)
    inside.check()
    result = inference.model.face(voice, gender=fields.gender, samples=fields.candidate, seed=fields.seed)
    inference.metrics.face(result)
    asked = TalkSettings(seed=fields.seed, size=fields.size, head=fields.head, blink=fields.blink, brows=fields.brows)
    return Talk(inference.model, np.concatenate(blocks), SAMPLE_RATE, result, asked, fields.candidate - 1)


class Pipe:
    """A file that a thread writes and a coroutine reads, with room for a few pieces."""

    def __init__(self, inside: Admitted) -> None:
        self._inside = inside
        self._loop = asyncio.get_running_loop()
        self._pieces: asyncio.Queue[bytes | None] = asyncio.Queue(WAITING)
        self._over = asyncio.Event()
        self._closed = threading.Event()

    def fill(self, talk: Talk, format: VideoFormat) -> None:
        """Writes the video; in a thread."""
        with suppress(BrokenPipeError):
            talk.save(self, format, watch=self.check)  # type: ignore[arg-type]

    def check(self, _: int = 0) -> None:
        """Checks that the client still reads (BrokenPipeError) and that there is time left (DeadlineError)."""
        if self._closed.is_set():
            raise BrokenPipeError
        self._inside.check()

    def write(self, data: bytes) -> int:
        self.check()
        put = asyncio.run_coroutine_threadsafe(self._pieces.put(bytes(data)), self._loop)
        while True:
            try:
                put.result(LOOK_S)
                return len(data)
            except NotYet:
                try:
                    self.check()
                except BaseException:
                    put.cancel()
                    raise

    def flush(self) -> None:
        pass

    async def read(self) -> bytes | None:
        """The next piece; None at the end."""
        if self._over.is_set() and self._pieces.empty():
            return None
        piece = asyncio.ensure_future(self._pieces.get())
        over = asyncio.ensure_future(self._over.wait())
        await asyncio.wait((piece, over), return_when=asyncio.FIRST_COMPLETED)
        over.cancel()
        if piece.done():
            return piece.result()
        piece.cancel()
        return None if self._pieces.empty() else self._pieces.get_nowait()

    def end(self, task: asyncio.Task[None]) -> None:
        """Nothing more will come, since the task that makes or reads it has ended."""
        self._over.set()
        if not task.cancelled():
            task.exception()  # whoever still waits for it meets it

    def close(self) -> None:
        """Nobody reads any more."""
        self._closed.set()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _head(talk: Talk, format: VideoFormat) -> dict[str, Any]:
    facts = talk.to_dict() | {"marks": list(files.marks(talk, False))}
    headers = {"content-type": MEDIA_TYPES[format], "s2f-facts": json.dumps(facts), "s2f-seed": str(talk.settings.seed)}
    headers["x-accel-buffering"] = "no"  # nginx hands pieces on as they come
    return {
        "type": "http.response.start",
        "status": 200,
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers.items()],
    }
