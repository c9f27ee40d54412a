"""A service with a pack whose faces a renderer draws: pictures of 256 pixels, with all marks."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
import soundfile
import websockets.sync.client
from PIL import Image

from s2f_edge import Speech2Face
from s2f_edge.marks import provenance

if TYPE_CHECKING:
    from tests.service.conftest import Server


@pytest.fixture(scope="module")
def server(start_server: Callable[..., Server], tiny_drawn_pack: Path) -> Iterator[Server]:
    started = start_server("--pack", str(tiny_drawn_pack))
    yield started
    started.stop()


@pytest.fixture(scope="module")
def drawing(server: Server) -> Iterator[httpx.Client]:
    with server.client() as opened:
        yield opened


@pytest.fixture(scope="module")
def model(tiny_drawn_pack: Path) -> Speech2Face:
    return Speech2Face(tiny_drawn_pack, device="cpu")


def post(client: httpx.Client, data: bytes, **fields: Any) -> httpx.Response:
    return client.post("/v1/face", files={"file": ("x", data)}, data={k: str(v) for k, v in fields.items()})


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), np.float64)


def psnr(a: bytes, b: bytes) -> float:
    return float(10 * np.log10(255.0**2 / max(np.square(pixels(a) - pixels(b)).mean(), 1e-9)))


@pytest.mark.slow
def test_a_picture_has_the_renderers_size_and_all_marks(drawing: httpx.Client, male: bytes, model: Speech2Face) -> None:
    assert drawing.get("/v1/info").json()["face_size"] == 256
    answer = post(drawing, male, gender="female")
    assert answer.status_code == 200
    assert pixels(answer.content).shape == (256, 256, 3)
    facts = json.loads(answer.headers["s2f-facts"])
    assert {"generator", "renderer"} <= set(facts["timings_ms"])
    assert {"metadata", "watermark"} <= set(facts["marks"])
    assert set(provenance.read(answer.content).layers) == set(facts["marks"])
    assert psnr(answer.content, model.infer(male, gender="female").png()) > 50
    assert pixels(post(drawing, male, size=1024).content).shape == (1024, 1024, 3)


def test_candidates_are_those_of_the_seed(drawing: httpx.Client, male: bytes, model: Speech2Face) -> None:
    answer = post(drawing, male, samples=3, seed=5, format="json", gender="general").json()
    result = model.infer(male, samples=3, seed=5, gender="general")
    pictures = [base64.b64decode(picture["base64"]) for picture in answer["pictures"]]
    assert len(pictures) == 3
    for index, picture in enumerate(pictures):
        assert psnr(picture, result.png(index=index)) > 50
    assert psnr(pictures[0], pictures[1]) < 40


def test_the_old_apps_address_gives_the_face(drawing: httpx.Client, male: bytes, model: Speech2Face) -> None:
    answer = drawing.post("/predict", files={"file": ("x", male)}, data={"gender": "male"})
    picture = drawing.get(urlsplit(answer.json()["url"]).path).content
    assert psnr(picture, model.infer(male, gender="male").png()) > 40  # the embedding in the address is float16


def test_a_stream_ends_with_the_face_of_the_clip(server: Server, examples: Path, model: Speech2Face) -> None:
    path = examples / "male.wav"
    samples, rate = soundfile.read(path, dtype="int16")
    with websockets.sync.client.connect(server.url.replace("http", "ws") + "/v1/stream") as socket:
        socket.send(json.dumps({"sample_rate": rate, "format": "png", "gender": "male"}))
        for at in range(0, len(samples), rate // 2):
            socket.send(samples[at : at + rate // 2].tobytes())
        socket.send(json.dumps({"type": "end"}))
        messages = [json.loads(message) for message in socket]
    faces = [message for message in messages if message["type"] == "face"]
    assert faces[-1]["final"]
    picture = base64.b64decode(faces[-1]["picture"]["base64"])
    assert pixels(picture).shape == (256, 256, 3)
    assert psnr(picture, model.infer(path, gender="male").png()) > 50
    assert {"metadata", "watermark"} <= set(faces[-1]["marks"])
