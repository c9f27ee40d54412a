"""The work of a request, in threads: decoder process -> voice -> faces -> pictures. Models are loaded once."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from time import monotonic, perf_counter
from typing import Any, TypeVar

import numpy as np

from s2f_edge._version import __version__
from s2f_edge.errors import DeadlineError, NotFoundError, UsageError
from s2f_edge.hearing import audio
from s2f_edge.hearing.features import SAMPLE_RATE, Float32s
from s2f_edge.listening import Listener
from s2f_edge.marks import credentials
from s2f_edge.picture import MEDIA_TYPES, NOTICE, Pixels, Provenance, encode
from s2f_edge.pipeline import Speech2Face
from s2f_edge.results import FaceResult, Voice
from s2f_edge.service.decoder import DecoderPool
from s2f_edge.service.limits import Admission
from s2f_edge.service.metrics import Metrics
from s2f_edge.service.schemas import FaceFields, VoiceFacts
from s2f_edge.service.settings import ServiceSettings

log = logging.getLogger(__name__)

PREDICT_SIZE = 256  # pixels

T = TypeVar("T")


@dataclass(frozen=True)
class Rendered:
    """Faces, and the answer's pictures of them: one, or one per sample."""

    result: FaceResult
    pictures: list[bytes]
    media_type: str
    size: int
    marks: tuple[str, ...]


@dataclass
class Admitted:
    """A request that was admitted: until when it may take, and the work that it has begun."""

    deadline: float
    work: list[Future[Any]]
    seconds: float  # that it may take
    timeout: asyncio.Timeout | None = None

    @property
    def left_s(self) -> float:
        return self.deadline - monotonic()

    def check(self) -> None:
        """Checks the time left; raises DeadlineError when it is over."""
        if self.left_s <= 0.0:
            raise DeadlineError("The request took longer than it may; send less sound, or try again.")

    def prolong(self, seconds: float) -> None:
        """Gives it more time. Call it in the thread of the event loop."""
        self.seconds += seconds
        self.deadline += seconds
        if self.timeout and (until := self.timeout.when()) is not None:
            self.timeout.reschedule(until + seconds)


class InferenceService:
    """The model, decoders and threads of a service.

    Raises:
        PackError, DeviceError, RuntimeSetupError: see `Speech2Face`.
    """

    def __init__(self, settings: ServiceSettings, metrics: Metrics) -> None:
        self.settings = settings
        self.metrics = metrics
        # Pages that make faces themselves have the networks of the pack itself.
        variant = None if settings.on_device and settings.variant == "auto" else settings.variant
        self.model = Speech2Face(settings.pack, settings.device, settings.threads, variant, settings.all_windows)
        self.model.load(talk=bool(settings.talk_seconds))
        self._credentials = credentials.chosen(settings.c2pa_certificate, settings.c2pa_key)
        self.admission = Admission(settings.slots, settings.queue)
        self.decoders = DecoderPool(settings.slots, settings.decoder_megabytes)
        self._threads = ThreadPoolExecutor(settings.slots, "s2f-work")
        self._warm_up()

    def _warm_up(self) -> None:
        """Runs all that a first request would wait for: networks take memory, and a certificate is rendered."""
        voice = self.model.pack.manifest.voice
        tone = np.sin(np.arange(SAMPLE_RATE) / 10.0).astype(np.float32)
        listener = Listener(voice.features)
        listener.take(tone, tone)
        for windows in (listener.front_end.preview(), listener.finish().windows):
            self.model.embed_windows(windows)
        for generator in self.model.pack.manifest.generators:
            for kind in MEDIA_TYPES:
                self.sealed_face(np.zeros(voice.embedding_size, np.float32), generator, kind)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        self.decoders.close()

    @asynccontextmanager
    async def admitted(self) -> AsyncIterator[Admitted]:
        """Holds a place for a request, from before its upload is read until its work has ended.

        Raises:
            BusyError: no room.
            DeadlineError: the time of a request is over.
        """
        self.admission.enter()
        self.metrics.inside.inc()
        seconds = self.settings.request_seconds
        inside = Admitted(monotonic() + seconds, [], seconds)
        try:
            async with asyncio.timeout(seconds) as inside.timeout:
                yield inside
        except TimeoutError:
            raise DeadlineError(
                f"The request took longer than {inside.seconds:g} s; send less sound, or try again."
            ) from None
        finally:
            # A thread cannot be stopped: its room is free when it has come to its end.
            running = [work for work in inside.work if not work.done() and not work.cancel()]
            if running:
                loop = asyncio.get_running_loop()
                running[0].add_done_callback(lambda _: loop.call_soon_threadsafe(self._left))
            else:
                self._left()

    def _left(self) -> None:
        self.admission.leave()
        self.metrics.inside.dec()

    async def run(self, inside: Admitted, work: Callable[[], T]) -> T:
        """Runs work in a thread, after that which came before."""
        context = copy_context()
        future = self._threads.submit(context.run, partial(self._timed, inside, work))
        inside.work = [*(other for other in inside.work if not other.done()), future]
        return await asyncio.wrap_future(future)

    def _timed(self, inside: Admitted, work: Callable[[], T]) -> T:
        inside.check()
        began = perf_counter()
        result = work()
        self.admission.took(perf_counter() - began)
        return result

    # ------------------------------------------------------------------------ in a thread

    def voice(self, data: bytes, inside: Admitted) -> Voice:
        """The voice in a file; errors as of `Speech2Face.embed` and `Decoder.whole`."""
        notes = audio.Notes()
        return self.model.embed_blocks(self.blocks(data, inside, notes, self.settings.max_seconds), notes=notes)

    def blocks(self, data: bytes, inside: Admitted, notes: audio.Notes, max_seconds: float) -> Iterator[Float32s]:
        """The sound of a file, mono, 16 kHz; errors as of `Decoder.whole`."""
        for block in self.decoders.blocks(data, max_seconds, inside.left_s, notes):
            inside.check()
            yield block

    def faces(self, data: bytes, fields: FaceFields, inside: Admitted) -> Rendered:
        """Faces for the voice in a file, as pictures."""
        self.check(fields)
        voice = self.voice(data, inside)
        inside.check()
        return self.render(voice, fields)

    def render(self, voice: Voice, fields: FaceFields) -> Rendered:
        """Faces for a voice, as pictures."""
        result = self.model.face(voice, gender=fields.gender, samples=fields.samples, seed=fields.seed)
        self.metrics.face(result)
        kind = "png" if fields.format == "json" else fields.format
        if fields.format == "json" or fields.samples == 1:
            pictures = [result.picture(fields.size, index, kind, self._credentials) for index in range(fields.samples)]
        else:
            pictures = [result.grid_picture(fields.size, kind, self._credentials)]
        marks = result.marks_of(fields.size, len(pictures) < fields.samples, self._credentials)
        return Rendered(result, pictures, f"image/{kind}", fields.size, marks)

    def sealed_face(self, embedding: Float32s, generator: str, kind: str = "png") -> bytes:
        """The picture for an embedding from an encrypted URL."""
        manifest = self.model.pack.manifest
        if generator not in manifest.generators or embedding.shape != (manifest.voice.embedding_size,):
            raise NotFoundError("This URL was made with another model pack. Send the recording again.")
        face = self.model.generate(embedding[None], generator)[0]
        return self.encoded(face, generator, kind, PREDICT_SIZE)

    def encoded(self, face: Pixels, generator: str, kind: str, size: int) -> bytes:
        """The picture of a face that a generator made, with all marks."""
        made_by = Provenance(f"s2f-edge {__version__}", self.model.pack_name, self.model.pack.sha256, generator)
        return encode(face, made_by, size, kind, credentials=self._credentials)

    def check(self, fields: FaceFields) -> None:
        """Checks the fields against the limits of this server; raises UsageError."""
        settings = self.settings
        check_most(samples=(fields.samples, settings.max_samples), size=(fields.size, settings.max_size))
        if fields.keep_hours is not None:
            if settings.store is None:
                raise UsageError("keep_hours: this server keeps no faces. Leave it out.")
            if fields.keep_hours > settings.store_hours:
                raise UsageError(f"keep_hours is {fields.keep_hours:g}; this server keeps faces for at most "
                                 f"{settings.store_hours:g}.")  # fmt: skip


def check_most(**fields: tuple[int, int]) -> None:
    """Checks fields, each with the most that this server takes; raises UsageError."""
    for name, (value, most) in fields.items():
        if value > most:
            raise UsageError(f"{name} is {value}; this server takes at most {most}.")


def voice_facts(voice: Voice, model: Speech2Face) -> dict[str, Any]:
    """The fields of `schemas.VoiceFacts`."""
    known = voice.to_dict() | {"pack": model.pack_name, "pack_sha256": model.pack.sha256, "notice": NOTICE}
    return {name: known[name] for name in VoiceFacts.model_fields}


def picture_fields(data: bytes, media_type: str, size: int) -> dict[str, Any]:
    """The fields of `schemas.Picture`."""
    return {"media_type": media_type, "width": size, "height": size, "base64": base64.b64encode(data).decode()}
