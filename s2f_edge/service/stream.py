"""Faces while somebody speaks: sound comes in over a WebSocket, and a face goes out whenever it gets better.

    client   {"encoding": "pcm16", "sample_rate": 16000, ...}   then binary messages, then {"type": "end"}
    server   {"type": "heard", ...}   {"type": "face", ...}   {"type": "motion", ...}   {"type": "problem", ...}

Of pcm16, a message is any number of whole samples (mono, little-endian); of opus, one bare packet, no container.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from time import monotonic, perf_counter
from typing import Any, Literal

import numpy as np
import soxr
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect

from s2f_edge.errors import (
    BusyError,
    DeadlineError,
    InvalidRequestError,
    InvalidSamplesError,
    NotSpeechError,
    S2FError,
    TooLargeError,
    TooLittleSpeechError,
    TooLongError,
    UsageError,
)
from s2f_edge.hearing.audio import MIN_RATE
from s2f_edge.hearing.features import SAMPLE_RATE, Float32s
from s2f_edge.hearing.soundfile_reader import MAX_RATE
from s2f_edge.live import LiveVoice
from s2f_edge.pipeline import MIN_SPEECH_S
from s2f_edge.results import FaceResult
from s2f_edge.service.decoder import Decoder
from s2f_edge.service.inference import Admitted, InferenceService, picture_fields
from s2f_edge.service.problems import problem
from s2f_edge.service.schemas import FaceFields
from s2f_edge.service.uploads import described
from s2f_edge.talk.gestures import Gestures
from s2f_edge.talk.motion import FRAME_RATE, Motion
from s2f_edge.talk.talk import speech_gain
from s2f_edge.terms import MAX_SIZE, MIN_SIZE, Gender

log = logging.getLogger(__name__)

MAX_MESSAGE = 1 << 20  # bytes
HEARD_EVERY_S = 0.2  # of sound, between two messages of what was heard
# More speech than at the last face, before another one is tried. It bounds what a stream costs: generator, renderer
# and picture at most twice a second of speech, however often sound comes.
STEP_S = 0.5
STEP_SHARE = 0.1  # or this much more, when there is a lot
SAME = 0.999  # cosine of two embeddings whose faces nobody can tell apart
PACKET_TIME_S = 5.0


class StreamSettings(BaseModel):
    """The first message."""

    model_config = ConfigDict(extra="forbid")

    encoding: Literal["pcm16", "opus"] = "pcm16"
    sample_rate: int = Field(default=SAMPLE_RATE, ge=MIN_RATE, le=MAX_RATE, description="Of pcm16, in Hz.")
    gender: Gender = "auto"
    size: int = Field(default=256, ge=MIN_SIZE, le=MAX_SIZE)
    format: Literal["png", "webp", "jpeg"] = "webp"
    motion: bool = Field(default=False, description="Send what a page needs to let the faces speak.")
    key: str | None = Field(default=None, description="API key, where the header cannot be set, as in browsers.")


class UpdatePolicy:
    """Decides when to send a face: after a second of speech, then after half a second or a tenth more.

    Where the voice network has run for the sound that came just now, the face waits once for more, so that no
    update is the work of two.
    """

    def __init__(self) -> None:
        self._tried_s = 0.0
        self._windows = 0
        self._put_off = False
        self._sent: Float32s | None = None

    def due(self, speech_s: float, windows: int) -> bool:
        """Whether to compute a face now.

        Args:
            speech_s: how much has come.
            windows: how often the network has run for what is committed of it.
        """
        committed, self._windows = windows > self._windows, windows
        first = MIN_SPEECH_S if not self._tried_s else self._tried_s + max(STEP_S, STEP_SHARE * self._tried_s)
        if speech_s < first:
            return False
        if committed and not self._put_off:
            self._put_off = True
            return False
        self._put_off = False
        self._tried_s = speech_s
        return True

    def better(self, embedding: Float32s) -> bool:
        """Whether the face of this embedding would look different from the one that was sent."""
        if self._sent is not None and float(embedding @ self._sent) > SAME:
            return False
        self._sent = embedding
        return True


class _Sound:
    """Messages of a client to mono float32 at 16 kHz."""

    def __init__(self, settings: StreamSettings, megabytes: int) -> None:
        self._decoder: Decoder | None = None
        self._resampler: Any = None
        if settings.encoding == "opus":
            self._decoder = Decoder(megabytes)
        elif settings.sample_rate != SAMPLE_RATE:
            self._resampler = soxr.ResampleStream(settings.sample_rate, SAMPLE_RATE, 1, dtype="float32")

    def __call__(self, messages: list[bytes]) -> Float32s:
        if self._decoder:
            blocks = [block for packet in messages for block in self._decoder.packet(packet, PACKET_TIME_S)]
            return np.concatenate([np.zeros(0, np.float32), *blocks])
        data = b"".join(messages)
        samples = np.frombuffer(data, "<i2").astype(np.float32) * np.float32(2.0**-15)
        return np.asarray(self._resampler.resample_chunk(samples) if self._resampler else samples, np.float32)

    def rest(self) -> Float32s:
        empty = np.zeros(0, np.float32)
        return np.asarray(self._resampler.resample_chunk(empty, last=True), np.float32) if self._resampler else empty

    def close(self) -> None:
        if self._decoder:
            self._decoder.close()


class Stream:
    """One stream, from its first message to its end.

    Args:
        inference: which does the work.
        socket: accepted.
        settings: what the client's first message said.
    """

    def __init__(self, inference: InferenceService, socket: WebSocket, settings: StreamSettings) -> None:
        inference.check(FaceFields(size=settings.size))
        self._inference = inference
        self._socket = socket
        self._settings = settings
        self._live = LiveVoice(inference.model)
        self._moved = StreamMotion(inference) if settings.motion else None
        self._sound: _Sound | None = None
        self._updates = UpdatePolicy()
        self._waiting: list[bytes] = []
        self._wake = asyncio.Event()
        self._ended = False
        self._reported_s = 0.0

    async def run(self) -> None:
        """Reads and works until the client says that it has ended; raises S2FError for a problem."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._read())
                tasks.create_task(self._work())
        except* S2FError as problems:
            raise problems.exceptions[0] from None
        except* WebSocketDisconnect as gone:
            raise WebSocketDisconnect from gone
        finally:
            if self._sound:
                self._sound.close()

    async def _read(self) -> None:
        """Takes messages as they come, so that the client is never held up."""
        bytes_left = self._inference.settings.max_bytes
        while not self._ended:
            message = await _received(self._socket, self._inference.settings.stream_idle_seconds)
            if isinstance(message, str):
                if not _is_end(message):
                    raise InvalidRequestError('After the first message, text can only be {"type": "end"}.')
                self._ended = True
            else:
                self._checked(message)
                bytes_left -= len(message)
                if bytes_left < 0:
                    raise TooLargeError(f"The stream has more than {self._inference.settings.max_bytes} bytes.")
                self._waiting.append(message)
            self._wake.set()

    def _checked(self, message: bytes) -> None:
        if len(message) > MAX_MESSAGE:
            raise TooLargeError(f"A message has {len(message)} bytes; at most {MAX_MESSAGE} can be.")
        if self._settings.encoding == "pcm16" and len(message) % 2:
            raise InvalidSamplesError("A message has an odd number of bytes; send whole 16-bit samples.")

    async def _work(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            messages, self._waiting, last = self._waiting, [], self._ended
            seconds = self._inference.settings.request_seconds
            admitted = Admitted(monotonic() + seconds, [], seconds)
            for answer in await self._inference.run(admitted, lambda m=messages, e=last: list(self._hear(m, e))):  # type: ignore[misc]
                await self._socket.send_text(json.dumps(answer))
            if last:
                return

    # ------------------------------------------------------------------------ in a thread

    def _hear(self, messages: list[bytes], last: bool) -> Iterator[dict[str, Any]]:
        began = perf_counter()
        self._sound = self._sound or _Sound(self._settings, self._inference.settings.decoder_megabytes)
        samples = self._sound(messages)
        if last:
            samples = np.concatenate([samples, self._sound.rest()])
        self._live.push(samples)
        most = self._inference.settings.max_seconds
        if self._live.heard_seconds > most:
            raise TooLongError(f"The stream is longer than {most:g} s; end it and begin another one.")
        if last or self._updates.due(self._live.speech_seconds, self._live.committed_windows):
            yield from self._face(last, began)
        elif self._live.heard_seconds - self._reported_s >= HEARD_EVERY_S:
            self._reported_s = self._live.heard_seconds
            yield {"type": "heard", **self._so_far()}
        if self._moved:
            yield from self._moved.push(samples, last)

    def _face(self, last: bool, began: float) -> Iterator[dict[str, Any]]:
        try:
            voice = self._live.voice(final=last)
        except (NotSpeechError, TooLittleSpeechError) as error:
            if last:
                raise
            yield {"type": "heard", **self._so_far(), "code": error.code}
            return
        if not self._updates.better(voice.embedding) and not last:
            yield {"type": "heard", **self._so_far()}
            return
        size = self._settings.size
        rendered = self._inference.render(
            voice, FaceFields(gender=self._settings.gender, size=size, format=self._settings.format)
        )
        known = rendered.result.to_dict()
        yield {
            "type": "face",
            **self._so_far(),
            "final": last,
            **{name: known[name] for name in ("gender", "male_probability", "generator", "warnings", "notice")},
            "picture": picture_fields(rendered.pictures[0], rendered.media_type, size),
            **(self._moved.face(rendered.result, rendered.media_type) if self._moved else {}),
            "marks": list(rendered.marks),
            "work_ms": round((perf_counter() - began) * 1e3, 1),
        }

    def _so_far(self) -> dict[str, float]:
        return {
            "heard_seconds": round(self._live.heard_seconds, 3),
            "speech_seconds": round(self._live.speech_seconds, 3),
        }


class StreamMotion:
    """The motion of a stream's sound, as messages, and what of a face is moved by it.

    Motion comes from the first face on, which it needs the level of the voice for, and begins with the first sound.

    Raises:
        UsageError: the pack has nothing that moves a face.
    """

    def __init__(self, inference: InferenceService) -> None:
        animator = inference.model.pack.manifest.animator
        if animator is None or not inference.model.pack.manifest.speaks:
            raise UsageError("motion: the faces of this server do not speak. Leave it out.")
        self._inference = inference
        self._mean_shape = np.array([animator.mean_shape], np.float32)
        self._motion: Motion | None = None
        self._gestures = Gestures()
        self._held: list[Float32s] = []
        self._frame = 0

    def push(self, samples: Float32s, last: bool) -> Iterator[dict[str, Any]]:
        """The message of the frames that are ready, if there are any."""
        self._held.append(samples)
        if self._motion is None:
            return
        sound, self._held = np.concatenate(self._held), []
        offsets = self._motion.push(sound)
        if last:
            offsets = np.concatenate([offsets, self._motion.finish()])
        if len(offsets):
            poses = np.stack([self._gestures.next(row) for row in offsets])
            numbers = {"offsets": offsets.round(4).tolist(), "poses": poses.round(5).tolist()}
            yield {"type": "motion", "frame": self._frame, "fps": FRAME_RATE, **numbers}
            self._frame += len(offsets)

    def face(self, result: FaceResult, media_type: str) -> dict[str, Any]:
        """The shape of a face, and its texture: the face on the mean shape, from which frames are made."""
        model = self._inference.model
        self._motion = self._motion or Motion(model.motion_network(), speech_gain(result.voice))
        appearance = model.appearance(result.voice, gender=result.generator, seed=0)
        texture = model.render(replace(appearance, shape=self._mean_shape))[0]
        data = self._inference.encoded(texture, result.generator, media_type.removeprefix("image/"), len(texture))
        shape = appearance.shape[0].round(5).tolist()
        return {"shape": shape, "texture": picture_fields(data, media_type, len(texture))}


class StreamLimit:
    """Limits the number of open streams."""

    def __init__(self, inference: InferenceService) -> None:
        self._inference = inference
        self.open = 0

    @contextmanager
    def one(self) -> Iterator[None]:
        """Holds a place for one stream.

        Raises:
            BusyError: there is none.
        """
        if self.open >= self._inference.settings.streams:
            raise BusyError(f"All {self.open} streams are in use. Try again later.", 5)
        self.open += 1
        self._inference.metrics.streams.inc()
        try:
            yield
        finally:
            self.open -= 1
            self._inference.metrics.streams.dec()


async def first_message(socket: WebSocket, idle_s: float) -> StreamSettings:
    """What the client's first message says.

    Raises:
        InvalidRequestError: it is no JSON, or says something that cannot be.
    """
    message = await _received(socket, idle_s)
    try:
        return StreamSettings.model_validate_json(message if isinstance(message, str) else b"")
    except ValidationError as error:
        raise InvalidRequestError(
            f"The first message must be JSON with the stream's settings: {described(error)}"
        ) from None


async def tell(socket: WebSocket, error: S2FError) -> None:
    """Sends a problem and closes, if the client is still there."""
    with suppress(WebSocketDisconnect):
        await socket.send_text(json.dumps({"type": "problem", **_renamed(problem(error))}))
        await socket.close(1013 if isinstance(error, BusyError) else 1008)


def _renamed(fields: dict[str, Any]) -> dict[str, Any]:
    """`type` says what kind of message it is."""
    return {("problem_type" if name == "type" else name): value for name, value in fields.items()}


async def _received(socket: WebSocket, idle_s: float) -> str | bytes:
    try:
        async with asyncio.timeout(idle_s):
            message = await socket.receive()
    except TimeoutError:
        raise DeadlineError(f"The stream was silent for {idle_s:g} s, and is closed.") from None
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1005))
    text: str | None = message.get("text")
    data: bytes | None = message.get("bytes")
    return text if text is not None else data or b""


def _is_end(message: str) -> bool:
    try:
        return bool(json.loads(message) == {"type": "end"})
    except ValueError:
        return False
