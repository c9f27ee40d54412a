"""The page on which people take a study, and what it asks the server for."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any, Literal

import uvicorn
from fastapi import Depends, FastAPI, Header, HTTPException, Request
from fastapi.responses import FileResponse, JSONResponse
from pydantic import BaseModel, Field, StrictInt
from starlette.responses import Response

import s2f_edge
from s2f_train.study.answers import Answer, Answers
from s2f_train.study.design import Trial, trials_of
from s2f_train.study.study import LANGUAGES, MEDIA, Study, StudyError

log = logging.getLogger(__name__)

PAGE = Path(__file__).with_name("page")
SHARED = Path(s2f_edge.__file__).parent / "service" / "web"  # the looks and the languages are those of `s2f-edge serve`
SHARED_FILES = ("style.css", "dark.css", "dom.js", "i18n.js", "storage.js", "theme.js", "icons/icon.svg")
# The browser itself then fetches nothing from elsewhere.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {"Content-Security-Policy": POLICY, "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff"}
LONGEST_MS = 24 * 3600 * 1000


class NewParticipant(BaseModel):
    language: Literal["en", "ar"]


class SubmittedAnswer(BaseModel):
    """An answer as the page sends it."""

    place: int = Field(ge=0)
    given: StrictInt | str | dict[str, StrictInt]
    ms: int = Field(ge=0, le=LONGEST_MS)
    plays: int = Field(ge=0, le=10_000)


def of_key(request: Request, study_key: Annotated[str, Header()] = "") -> int:
    """The number of the person who asks."""
    answers: Answers = request.app.state.answers
    number = answers.number(study_key)  # not in Authorization, which is for a password that a proxy asks for
    if number is None:
        raise HTTPException(401, "No person has this key; begin anew.")
    return number


Who = Annotated[int, Depends(of_key)]


def create_app(folder: Path, people: int = 1000) -> FastAPI:
    """The application.

    Args:
        folder: a study.
        people: so many may begin.

    Raises:
        StudyError: it is none, or its answers cannot be written.
    """
    study = Study.open(folder)
    consent = {language: _consent(folder / f"consent.{language}.txt") for language in LANGUAGES}
    answers = Answers(folder, study)
    app = FastAPI(title=study.title, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.answers = answers

    @app.exception_handler(sqlite3.Error)
    def not_kept(request: Request, error: sqlite3.Error) -> Response:
        log.error("An answer could not be kept: %s. Is the disk full?", error)
        return JSONResponse({"detail": "The answer could not be kept; it is sent again."}, 503)

    @app.middleware("http")
    async def headed(request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        response.headers.update(HEADERS)
        if not request.url.path.startswith("/media/"):
            response.headers["Cache-Control"] = "no-cache" if request.method == "GET" else "no-store"
        return response

    def next_of(number: int) -> dict[str, Any]:
        """The first trial without an answer."""
        trials, places = trials_of(study, number), answers.places(number)
        place = next((i for i in range(len(trials)) if i not in places), None)
        at = {"answered": len(places), "of": len(trials)}
        if place is None:
            return {**at, "done": True}
        trial, task = trials[place], trials[place].task
        first = place == 0 or trials[place - 1].task != task
        return {
            **at, "done": False, "place": place, "task": task, "first": first,
            "trials": sum(t.task == task for t in trials), **trial.shown,
        }  # fmt: skip

    @app.get("/api/study")
    def about() -> dict[str, Any]:
        return {
            "id": study.digest, "title": study.title, "consent": consent, "trials": study.trials,
            "minutes": minutes_of(study),
        }  # fmt: skip

    @app.post("/api/people", status_code=201)
    def begin(begun: NewParticipant) -> dict[str, Any]:
        key = answers.begin(begun.language, people)
        if key is None:
            raise HTTPException(409, f"The study is full: {people} people have begun.")
        return {"key": key}

    @app.get("/api/next")
    def following(number: Who) -> dict[str, Any]:
        return next_of(number)

    @app.post("/api/answers")
    def answer(number: Who, sent: SubmittedAnswer) -> dict[str, Any]:
        """Keeps an answer, then says what is asked next. Sent twice, it is kept once."""
        trials = trials_of(study, number)
        trial: Trial | None = trials[sent.place] if sent.place < len(trials) else None
        if trial is None or not trial.accepts(sent.given):
            raise HTTPException(422, f"This is not an answer to trial {sent.place}.")
        answers.add(number, Answer(sent.place, sent.given, sent.ms, sent.plays))
        return next_of(number)

    @app.delete("/api/answers", status_code=204)
    def forget(number: Who) -> None:
        answers.forget(number)

    @app.get("/media/{name}")
    def media(name: str) -> Response:
        if name not in files:
            raise HTTPException(404, "There is no such file.")
        kind = "audio/flac" if name.endswith(".flac") else "image/png"
        return FileResponse(folder / MEDIA / name, media_type=kind, headers={"Cache-Control": "private, max-age=86400"})

    @app.get("/{path:path}")
    def page(path: str) -> Response:
        place = pages.get(path or "index.html")
        if place is None:
            raise HTTPException(404, "There is no such page.")
        return FileResponse(place)

    files = study.files
    pages = {name: SHARED / name for name in SHARED_FILES} | {path.name: path for path in PAGE.iterdir()}
    return app


def minutes_of(study: Study) -> int:
    """How long a person takes, an estimate; the report has what it took."""
    seconds = {"match": 15, "pair": 8, "rate": 18}
    return max(1, round(sum((task.each + study.checks) * seconds[task.name] for task in study.tasks) / 60))


def serve(folder: Path, host: str, port: int, people: int, listening: Callable[[str], None]) -> None:
    """Serves until SIGTERM or Ctrl-C.

    Args:
        port: 0: a free one.
        people: so many may begin.
        listening: called with the address once it is listened on.

    Raises:
        StudyError: the study cannot be served, or the address not listened on.
    """
    app = create_app(folder, people)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        bound = socket.create_server((host, port), family=family)
    except OSError as error:
        app.state.answers.close()
        raise StudyError(
            f"Cannot listen on {host}, port {port}: {error.strerror or error}. Choose another with --port."
        ) from None
    shown = f"[{host}]" if ":" in host else host
    config = uvicorn.Config(app, log_config=None, access_log=False, server_header=False)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # uvicorn ends in order, then raises it once more
    with bound, closing(app.state.answers):
        listening(f"http://{shown}:{bound.getsockname()[1]}")
        asyncio.run(uvicorn.Server(config).serve([bound]))


def _consent(path: Path) -> list[str]:
    """Its paragraphs."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"{path} cannot be read ({error}): people must see what they agree to.") from None
    paragraphs = [" ".join(block.split()) for block in text.split("\n\n") if block.strip()]
    if not paragraphs:
        raise StudyError(f"{path} is empty: people must see what they agree to.")
    return paragraphs
