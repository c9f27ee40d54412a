"""What a running service holds: inference, keys, rates, store, streams; and periodic tasks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from s2f_edge.errors import UnauthorisedError
from s2f_edge.service.inference import InferenceService
from s2f_edge.service.keys import KeyRing
from s2f_edge.service.limits import RateLimiter
from s2f_edge.service.metrics import Metrics
from s2f_edge.service.sealed import Seal
from s2f_edge.service.settings import ServiceSettings
from s2f_edge.service.store import FaceStore
from s2f_edge.service.stream import StreamLimit

log = logging.getLogger(__name__)

SWEEP_S = 60.0  # how often what is kept no longer is deleted


class AppState:
    """What all requests of a service share; created before the first one.

    Raises:
        SetupError: a key file or a store that cannot be used.
        PackError, DeviceError, RuntimeSetupError, CertificateError: see `InferenceService`.
    """

    def __init__(self, settings: ServiceSettings, metrics: Metrics) -> None:
        self.settings = settings
        self.metrics = metrics
        self.keys = KeyRing(settings.keys) if settings.keys else None
        self.store = FaceStore(settings.store) if settings.store else None
        self.rate = RateLimiter(settings.rate)
        self.seal = Seal(settings.secret)
        self.inference = InferenceService(settings, metrics)
        self.streams = StreamLimit(self.inference)

    def admit(self, connection: HTTPConnection, key: str | None = None) -> None:
        """Checks the caller's key and counts the request against the caller's rate.

        Args:
            connection: an HTTP request or a WebSocket.
            key: API key; None takes that of the headers.

        Raises:
            UnauthorisedError: a key is needed, and it is missing or unknown.
            TooManyRequestsError: the caller has used up the rate.
        """
        caller = self.caller(connection, key)
        if caller:
            connection.scope["s2f_caller"] = caller
        self.rate.spend(caller or (connection.client.host if connection.client else ""))

    def caller(self, connection: HTTPConnection, key: str | None = None) -> str | None:
        """The name of the caller's key, None where no keys are needed; arguments and errors as of `admit`."""
        if self.keys is None:
            return None
        scheme, _, token = connection.headers.get("authorization", "").partition(" ")
        key = key or (token.strip() if scheme.lower() == "bearer" else connection.headers.get("x-api-key"))
        name = self.keys.name_of(key) if key else None
        if name is None:
            found = "The API key is unknown" if key else "An API key is needed"
            raise UnauthorisedError(
                f"{found}: send the header `Authorization: Bearer KEY`. The operator of this server issues keys."
            )
        return name

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Runs the periodic tasks while open, and stops everything at the end."""
        async with asyncio.TaskGroup() as chores:
            done = [chores.create_task(self._sweep()), chores.create_task(self._audit())]
            try:
                yield
            finally:
                for chore in done:
                    chore.cancel()
                self.inference.close()
                self.metrics.write_audit()

    async def _sweep(self) -> None:
        while self.store:
            gone = await asyncio.to_thread(self.store.sweep)
            if gone:
                log.info("%d kept faces were deleted, since their time was over.", gone)
            await asyncio.sleep(SWEEP_S)

    async def _audit(self) -> None:
        while self.settings.audit:
            await asyncio.sleep(self.settings.audit_seconds)
            self.metrics.write_audit()


async def app_state(connection: HTTPConnection) -> AppState:
    """The state of the application that a request or a WebSocket came to.

    It is `async` so that FastAPI calls it where it is: otherwise it would wait for a thread at each request.
    """
    state: AppState = connection.app.state.service
    return state


State = Annotated[AppState, Depends(app_state)]
