"""POST /v1/talk on a real server: videos of the face of a voice, and their limits."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import pytest
import soundfile
from PIL import Image

from s2f_edge.errors import DeadlineError
from s2f_edge.marks import watermark
from s2f_edge.service.inference import Admitted
from s2f_edge.service.talk import WAITING, Pipe
from tests.service.conftest import Server

Serve = Callable[..., Server]
MALE_FRAMES = 186  # of 7.42 s


@pytest.fixture(scope="module")
def client(start_server: Callable[..., Server]) -> Iterator[httpx.Client]:
    """Of a server that has time enough, however busy the machine is."""
    server = start_server("--request-seconds", "300")
    with server.client() as opened:
        yield opened
    server.stop()


def talk(client: httpx.Client, sound: bytes, **fields: Any) -> httpx.Response:
    return client.post("/v1/talk", files={"file": ("clip.wav", sound)}, data=fields, timeout=300)


def frames_of(video: bytes) -> np.ndarray:
    with av.open(io.BytesIO(video)) as file:
        return np.array([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])


def psnr(a: Any, b: Any) -> float:
    difference = np.asarray(a, np.float64) - np.asarray(b, np.float64)
    return float(10 * np.log10(255.0**2 / max(np.square(difference).mean(), 1e-9)))


def long_speech(path: Path, seconds: float) -> bytes:
    samples, rate = soundfile.read(path, dtype="float32")
    file = io.BytesIO()
    soundfile.write(file, np.resize(samples, int(seconds * rate)), rate, format="WAV")
    return file.getvalue()


# ------------------------------------------------------------------------------ the video


@pytest.mark.slow
def test_a_video_comes_while_it_is_made(client: httpx.Client, male: bytes) -> None:
    pieces: list[tuple[float, bytes]] = []
    with client.stream("POST", "/v1/talk", files={"file": male}, timeout=300) as answer:
        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == "video/mp4"
        facts = json.loads(answer.headers["S2F-Facts"])
        pieces += ((time.monotonic(), piece) for piece in answer.iter_raw())
    assert len(pieces) > 5
    assert pieces[-1][0] - pieces[0][0] > 0.1, "the first piece is sent before the last one is made"
    video = b"".join(piece for _, piece in pieces)
    assert (facts["frames"], facts["seconds"], facts["generator"]) == (MALE_FRAMES, 7.42, "male")
    assert facts["marks"] == ["metadata", "watermark"]
    frames = frames_of(video)
    assert frames.shape == (MALE_FRAMES, 256, 256, 3)
    with av.open(io.BytesIO(video)) as file:
        sound = sum(frame.samples for frame in file.decode(audio=0)) / file.streams.audio[0].rate
        assert "not the speaker" in file.metadata["comment"]
    assert abs(sound - 7.42) < 0.1
    still = client.post("/v1/face", files={"file": male}).content
    assert psnr(frames[0], np.asarray(Image.open(io.BytesIO(still)))) > 33
    assert np.abs(np.diff(frames.astype(np.int16), axis=0)).mean() > 0.05, "it moves"
    mark = watermark.find(frames[100])
    assert mark
    fields = watermark.read_payload(mark.payload)
    assert (fields.generator, fields.pack) == ("male", client.get("/v1/info").json()["pack_sha256"][:4])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("format", "media_type"), [("webm", "video/webm"), ("gif", "image/gif"), ("webp", "image/webp")]
)
def test_other_formats(client: httpx.Client, examples: Path, format: str, media_type: str) -> None:
    answer = talk(client, long_speech(examples / "female.wav", 2.0), format=format, size=64)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == media_type
    if format == "webm":
        assert frames_of(answer.content).shape == (50, 64, 64, 3)
    else:
        image: Any = Image.open(io.BytesIO(answer.content))
        assert (image.format, image.size, image.n_frames) == (format.upper(), (64, 64), 50)


@pytest.mark.slow
def test_a_candidate_speaks_as_it_was_drawn(client: httpx.Client, examples: Path) -> None:
    sound = long_speech(examples / "female.wav", 2.0)
    drawn = client.post("/v1/face", files={"file": sound}, data={"samples": 3, "seed": 5, "format": "json"}).json()
    stills = [np.asarray(Image.open(io.BytesIO(base64.b64decode(p["base64"])))) for p in drawn["pictures"]]
    first = frames_of(talk(client, sound, candidate=3, seed=5).content)[0]
    assert psnr(first, stills[2]) > 33
    assert psnr(first, stills[0]) < 30


@pytest.mark.slow
def test_head_blink_and_brows_can_be_left_out(client: httpx.Client) -> None:
    # In silence after speech nothing moves then.
    samples, rate = soundfile.read(Path("examples/female.wav"), dtype="float32")
    file = io.BytesIO()
    soundfile.write(file, np.concatenate([samples[: 2 * rate], np.zeros(4 * rate, np.float32)]), rate, format="WAV")

    def moved(**knobs: float) -> float:
        frames = frames_of(talk(client, file.getvalue(), **knobs).content).astype(np.int16)
        return float(np.abs(np.diff(frames[75:], axis=0)).mean())

    assert moved(head=0, blink=0, brows=0) < 0.5 * moved(head=2, blink=2, brows=2)


# -------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("fields", "code", "said"),
    [
        ({"format": "avi"}, "invalid-request", "format"),
        ({"size": "255"}, "usage", "even"),
        ({"size": "2000"}, "invalid-request", "size"),
        ({"candidate": "17"}, "usage", "at most 16"),
        ({"head": "2.5"}, "invalid-request", "head"),
        ({"samples": "2"}, "invalid-request", "samples"),
    ],
)
def test_wrong_fields_are_told(client: httpx.Client, male: bytes, fields: dict[str, str], code: str, said: str) -> None:
    answer = talk(client, male, **fields)
    assert answer.status_code == {"usage": 400, "invalid-request": 422}[code]
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == code
    assert said in answer.json()["detail"]


def test_what_is_no_speech_is_told_as_for_faces(client: httpx.Client) -> None:
    silent = io.BytesIO()
    soundfile.write(silent, np.zeros(32_000), 16_000, format="WAV")
    for data, status in ((silent.getvalue(), 422), (b"no sound", 415)):
        face = client.post("/v1/face", files={"file": data})
        answer = talk(client, data)
        assert answer.status_code == face.status_code == status
        assert answer.json()["code"] == face.json()["code"]


@pytest.mark.slow
def test_seconds_of_video_are_limited(serve: Serve, male: bytes) -> None:
    with serve("--talk-seconds", "3").client() as client:
        refused = talk(client, male)
        assert (refused.status_code, refused.json()["code"]) == (413, "too-long")
        assert "3 s" in refused.json()["detail"]
        assert client.post("/v1/face", files={"file": male}).status_code == 200
    with serve("--talk-seconds", "0").client() as client:
        assert client.get("/v1/info").json()["talk"] == []
        assert talk(client, male).status_code == 404


# -------------------------------------------------------------------------- room and time


@pytest.mark.slow
def test_a_video_takes_a_place_until_its_end_and_a_cut_connection_frees_it(serve: Serve, examples: Path) -> None:
    server = serve("--concurrency", "1", "--queue", "0", "--request-seconds", "120")
    sound, short = long_speech(examples / "male.wav", 60.0), (examples / "male.wav").read_bytes()
    with server.client() as client:
        with client.stream("POST", "/v1/talk", files={"file": sound}, timeout=120) as answer:
            assert answer.status_code == 200
            pieces = answer.iter_raw()  # kept: httpx cuts the connection where this is collected
            next(pieces)
            assert server.inside() == 1
            refused = client.post("/v1/face", files={"file": short})
            assert (refused.status_code, refused.json()["code"]) == (503, "busy")
        server.wait_until_inside(0)
        assert client.post("/v1/face", files={"file": short}).status_code == 200
    assert not [line for line in server.lines if '"level": "error"' in line]


@pytest.mark.slow
def test_what_is_written_waits_for_the_reader_and_stops_without_one() -> None:
    written: list[int] = []
    raised: list[BaseException] = []

    async def tried(inside: Admitted, close: bool) -> None:
        pipe = Pipe(inside)
        written.clear()

        def write() -> None:
            try:
                for number in range(100):
                    pipe.write(bytes([number]))
                    written.append(number)
            except BaseException as error:
                raised.append(error)

        thread = threading.Thread(target=write)
        thread.start()
        assert await pipe.read() == b"\0"
        await asyncio.sleep(0.5)
        assert len(written) <= WAITING + 2
        if close:
            pipe.close()
        while thread.is_alive():
            await asyncio.sleep(0.05)

    asyncio.run(tried(Admitted(time.monotonic() + 60, [], 60), close=True))
    asyncio.run(tried(Admitted(time.monotonic() + 1, [], 1), close=False))
    assert isinstance(raised[0], BrokenPipeError)
    assert isinstance(raised[1], DeadlineError)
    assert len(raised) == 2
