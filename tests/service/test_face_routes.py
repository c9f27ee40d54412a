"""The addresses under /v1 and /predict, on a real server with the default pack."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
import soundfile
from PIL import Image

from s2f_edge import Speech2Face
from s2f_edge.marks import provenance


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), np.float64)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255.0**2 / max(np.mean((a - b) ** 2), 1e-9)))


def wav(samples: np.ndarray, rate: int = 16_000) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


def post(client: httpx.Client, to: str, data: bytes, **fields: Any) -> httpx.Response:
    return client.post(to, files={"file": ("clip.wav", data)}, data={k: str(v) for k, v in fields.items()})


@pytest.fixture(scope="module")
def model() -> Speech2Face:
    return Speech2Face(device="cpu", variant=None)


# -------------------------------------------------------------------------------- faces


@pytest.mark.parametrize(("form", "kind"), [("png", "PNG"), ("webp", "WEBP"), ("jpeg", "JPEG")])
@pytest.mark.slow
def test_a_face_comes_as_a_picture_with_its_facts(client: httpx.Client, male: bytes, form: str, kind: str) -> None:
    answer = post(client, "/v1/face", male, gender="male", size=300, format=form)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == f"image/{form}"
    picture = Image.open(io.BytesIO(answer.content))
    assert picture.format == kind
    assert picture.size == (300, 300)
    facts = json.loads(answer.headers["s2f-facts"])
    assert facts["generator"] == answer.headers["s2f-generator"] == "male"
    assert facts["gender"] == "male"
    assert 7.0 < facts["speech_seconds"] < 7.5
    assert {"metadata", "watermark"} <= set(facts["marks"])
    assert facts["notice"] == "plausible face made from a voice, not the speaker"
    report = provenance.read(answer.content)
    assert set(report.layers) == set(facts["marks"])


@pytest.mark.slow
def test_the_service_makes_the_face_that_the_library_makes(
    client: httpx.Client, model: Speech2Face, examples: Path
) -> None:
    for name in ("male", "female"):
        data = (examples / f"{name}.wav").read_bytes()
        answer = post(client, "/v1/face", data, size=256)
        expected = model.infer(examples / f"{name}.wav").png(256)
        assert psnr(pixels(answer.content), pixels(expected)) > 50


@pytest.mark.slow
def test_candidates_come_as_json_and_repeat_with_their_seed(client: httpx.Client, female: bytes) -> None:
    answers = [post(client, "/v1/face", female, samples=4, seed=7, size=128, format="json").json() for _ in range(2)]
    faces = [[base64.b64decode(p["base64"]) for p in answer["pictures"]] for answer in answers]
    assert len(faces[0]) == answers[0]["samples"] == 4
    assert answers[0]["seed"] == 7
    assert all(psnr(pixels(a), pixels(b)) > 60 for a, b in zip(*faces, strict=True))
    assert len(set(faces[0])) == 4
    assert all((p["media_type"], p["width"], p["height"]) == ("image/png", 128, 128) for p in answers[0]["pictures"])
    assert answers[0]["marks"] == [mark for mark in ("metadata", "c2pa") if mark in answers[0]["marks"]]


def test_several_candidates_in_one_picture_are_a_grid(client: httpx.Client, female: bytes) -> None:
    answer = post(client, "/v1/face", female, samples=4, size=128)
    assert Image.open(io.BytesIO(answer.content)).size[0] > 2 * 128


@pytest.mark.parametrize("gender", ["general", "male", "female"])
def test_the_generator_can_be_chosen(client: httpx.Client, male: bytes, gender: str) -> None:
    answer = post(client, "/v1/face", male, gender=gender)
    assert answer.headers["s2f-generator"] == gender


@pytest.mark.parametrize("form", ["flac", "ogg", "opus", "mp3", "m4a", "webm"])
def test_every_format_is_heard(client: httpx.Client, encoded: Any, examples: Path, form: str) -> None:
    samples, rate = soundfile.read(examples / "male.wav")
    rate = 48_000 if form in ("opus", "webm") and rate not in (8000, 12000, 16000, 24000, 48000) else rate
    answer = post(client, "/v1/face", encoded(form, samples, rate))
    assert answer.status_code == 200, answer.text


# ------------------------------------------------------------------------------- others


def test_the_embedding_is_the_librarys(client: httpx.Client, model: Speech2Face, examples: Path, male: bytes) -> None:
    answer = post(client, "/v1/embedding", male).json()
    expected = model.embed(examples / "male.wav").embedding
    assert np.linalg.norm(answer["embedding"]) == pytest.approx(1, abs=1e-5)
    assert float(np.dot(answer["embedding"], expected)) > 0.99999
    assert answer["gender"] == "male"


def test_one_bad_file_of_a_batch_does_not_stop_the_rest(client: httpx.Client, male: bytes, female: bytes) -> None:
    files = [("files", ("a.wav", male)), ("files", ("b.wav", b"no sound")), ("files", ("c.wav", female))]
    answer = client.post("/v1/batch", files=files, data={"size": "64"})
    assert answer.status_code == 200
    first, second, third = answer.json()["results"]
    assert first["face"]["generator"] == "male"
    assert third["face"]["generator"] == "female"
    assert second["problem"]["code"] == "unreadable-audio"
    assert Image.open(io.BytesIO(base64.b64decode(first["face"]["pictures"][0]["base64"]))).size == (64, 64)


@pytest.mark.slow
def test_a_picture_says_where_it_comes_from(client: httpx.Client, male: bytes) -> None:
    face = post(client, "/v1/face", male, size=256).content
    report = post(client, "/v1/provenance", face).json()
    assert report["made_by_s2f"]
    assert {"metadata", "watermark"} <= set(report["layers"])
    other = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (128, 128, 3), np.uint8)).save(other, "PNG")
    assert not post(client, "/v1/provenance", other.getvalue()).json()["made_by_s2f"]
    refused = post(client, "/v1/provenance", male)
    assert (refused.status_code, refused.json()["code"]) == (422, "provenance")


def test_the_old_app_gets_an_address_of_its_picture(client: httpx.Client, male: bytes, model: Speech2Face) -> None:
    answer = client.post("/predict", files={"file": ("clip.wav", male)}, data={"gender": "Male"})
    assert answer.status_code == 200
    assert answer.json()["generator"] == "male"
    address = urlsplit(answer.json()["url"])
    picture = client.get(address.path)
    assert picture.headers["content-type"] == "image/png"
    expected = model.infer(male, gender="male").png(256)
    assert psnr(pixels(picture.content), pixels(expected)) > 40  # the embedding in the address is float16
    broken = client.get(address.path.replace(".png", "A.png"))
    assert (broken.status_code, broken.json()["code"]) == (404, "not-found")


def test_what_a_service_says_of_itself(client: httpx.Client, model: Speech2Face) -> None:
    info = client.get("/v1/info").json()
    assert info["limits"] == {
        "bytes": 25 << 20, "seconds": 600, "samples": 16, "size": 1024, "batch": 32, "min_speech_seconds": 1.0,
        "talk_seconds": 60,
    }  # fmt: skip
    assert info["face_size"] == model.face_size
    assert not info["key_needed"]
    assert client.get("/version").json()["pack"] == info["pack"]
    assert client.get("/healthz").json() == client.get("/readyz").json() == {"status": "ok"}


def test_counts_go_up(client: httpx.Client, male: bytes) -> None:
    def faces() -> float:
        lines = client.get("/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith("s2f_faces_total{"))

    before = faces()
    post(client, "/v1/face", male, samples=3, size=64)
    assert faces() == before + 3


# ------------------------------------------------------------------------------ refused


RATE = 16_000
NOISE = 0.2 * np.random.default_rng(1).standard_normal(5 * RATE)


@pytest.mark.parametrize(
    ("data", "status", "code", "extra"),
    [
        (b"", 415, "unreadable-audio", {}),
        (b"this is no sound" * 100, 415, "unreadable-audio", {}),
        (wav(np.zeros(3 * RATE)), 422, "not-speech", {"reason": "silence"}),
        (wav(NOISE), 422, "not-speech", {"reason": "noise"}),
        (wav(np.sin(np.arange(3 * RATE) / 5)), 422, "not-speech", {"reason": "tone"}),
        (wav(np.zeros(16_000), 4000), 422, "invalid-samples", {}),
    ],
)
def test_what_is_no_speech_is_a_problem_with_a_code(
    client: httpx.Client, data: bytes, status: int, code: str, extra: dict[str, str]
) -> None:
    for to in ("/v1/face", "/v1/embedding", "/predict"):
        answer = post(client, to, data)
        problem = answer.json()
        assert (answer.status_code, problem["code"]) == (status, code)
        assert answer.headers["content-type"] == "application/problem+json"
        assert problem["status"] == status
        assert problem["request_id"] == answer.headers["request-id"]
        assert problem["detail"].endswith(".")
        assert extra.items() <= problem.items()


def test_a_short_clip_says_how_much_is_missing(client: httpx.Client, examples: Path) -> None:
    samples, rate = soundfile.read(examples / "male.wav")
    problem = post(client, "/v1/face", wav(samples[: rate // 2], rate)).json()
    assert problem["code"] == "too-little-speech"
    assert problem["found_s"] < problem["needed_s"] == 1.0


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"gender": "other"}, 422, "invalid-request"),
        ({"samples": "0"}, 422, "invalid-request"),
        ({"samples": "two"}, 422, "invalid-request"),
        ({"samples": "17"}, 400, "usage"),
        ({"size": "2048"}, 400, "usage"),
        ({"seed": "-1"}, 422, "invalid-request"),
        ({"colour": "blue"}, 422, "invalid-request"),
        ({"keep_hours": "1"}, 400, "usage"),
        ({"keep_hours": "nan"}, 422, "invalid-request"),
    ],
)
def test_a_wrong_field_is_named(
    client: httpx.Client, male: bytes, fields: dict[str, str], status: int, code: str
) -> None:
    answer = post(client, "/v1/face", male, **fields)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert next(iter(fields)) in answer.json()["detail"]


@pytest.mark.slow
def test_forms_that_are_none(client: httpx.Client, male: bytes) -> None:
    multipart = {"content-type": "multipart/form-data; boundary=x"}
    attempts = [
        client.post("/v1/face"),
        client.post("/v1/face", json={"file": "x"}),
        client.post("/v1/face", data={"file": "text"}),
        client.post("/v1/face", files=[("sound", ("a", male)), ("other", ("b", male))]),
        client.post("/v1/face", files=[("file", ("a", male)), ("file", ("b", male))]),
        client.post("/v1/face", content=b"--x\r\n", headers=multipart),
        client.post("/v1/face", content=b"\x00" * 100, headers=multipart),
        client.post("/v1/face", content=b"", headers={"content-type": "multipart/form-data"}),
        client.post("/v1/face", files={"file": ("a", male)}, data={f"f{i}": "1" for i in range(30)}),
        client.post("/v1/face", files={"file": ("a", male)}, data={"gender": "x" * 10_000}),
    ]
    assert {(a.status_code, a.json()["code"]) for a in attempts} == {(422, "invalid-request")}


def test_other_addresses_and_methods_are_problems_too(client: httpx.Client) -> None:
    nowhere, wrong = client.get("/v1/nowhere"), client.get("/v1/face")
    assert (nowhere.status_code, nowhere.json()["code"]) == (404, "not-found")
    assert (wrong.status_code, wrong.json()["code"]) == (405, "method-not-allowed")
    assert wrong.headers["allow"] == "POST"


def test_an_id_that_is_given_is_kept_if_it_is_one(client: httpx.Client) -> None:
    assert client.get("/healthz", headers={"X-Request-Id": "abc-1"}).headers["request-id"] == "abc-1"
    assert client.get("/healthz", headers={"X-Request-Id": "a b\t{}"}).headers["request-id"] != "a b\t{}"
