"""WS /v1/stream on a real server: faces while somebody speaks."""

from __future__ import annotations

import base64
import contextlib
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from s2f_edge import Speech2Face, faces
from s2f_edge.hearing import audio
from s2f_edge.service.stream import UpdatePolicy
from s2f_edge.talk.gestures import Gestures
from s2f_edge.talk.talk import parts
from tests.service.conftest import Server

Serve = Callable[..., Server]
END = json.dumps({"type": "end"})


def pcm(path: Path, rate: int = 16_000) -> bytes:
    samples = audio.read(path).samples
    if rate != 16_000:
        import soxr

        samples = soxr.resample(samples, 16_000, rate)
    return np.rint(np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()


def opened(server: Server, **options: Any) -> ClientConnection:
    return connect(f"ws://127.0.0.1:{server.port}/v1/stream", max_size=None, **options)


def heard(socket: ClientConnection) -> Iterator[dict[str, Any]]:
    """Messages until the server closes."""
    try:
        while True:
            yield json.loads(socket.recv(timeout=30))
    except ConnectionClosed:
        return


def send(socket: ClientConnection, messages: list[bytes | str]) -> None:
    """All messages, or as many as the server takes before it refuses and closes."""
    with contextlib.suppress(ConnectionClosed):
        for message in messages:
            socket.send(message)


def told(server: Server, first: dict[str, Any], messages: list[bytes | str]) -> list[dict[str, Any]]:
    with opened(server) as socket:
        send(socket, [json.dumps(first), *messages])
        return list(heard(socket))


def pieces(data: bytes, length: int) -> list[bytes | str]:
    return [data[i : i + length] for i in range(0, len(data), length)]


def picture(message: dict[str, Any]) -> np.ndarray:
    image = Image.open(io.BytesIO(base64.b64decode(message["picture"]["base64"])))
    return np.asarray(image.convert("RGB"), np.float64)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255.0**2 / max(np.mean((a - b) ** 2), 1e-9)))


@pytest.mark.slow
def test_a_face_comes_after_a_second_of_speech_and_gets_better(live_server: Server, examples: Path) -> None:
    # In real time a message waits for the answer before it; here each is given its answer's time.
    faces, states = [], []
    with opened(live_server) as socket:
        socket.send(json.dumps({"format": "png"}))
        for piece in pieces(pcm(examples / "male.wav"), 8000):  # 250 ms
            socket.send(piece)
            message = json.loads(socket.recv(timeout=30))
            (faces if message["type"] == "face" else states).append(message)
        socket.send(END)
        *_, last = heard(socket)
    assert 1.0 <= faces[0]["speech_seconds"] < 1.5
    assert not faces[0]["final"]
    assert len(faces) >= 4
    assert [f["speech_seconds"] for f in faces] == sorted({f["speech_seconds"] for f in faces})
    assert all(f["generator"] in ("male", "general") for f in faces)
    assert {"metadata", "watermark"} <= set(faces[0]["marks"])
    assert states
    assert states[0]["type"] == "heard"
    assert last["final"]
    expected = Speech2Face(device="cpu", variant=None).infer(examples / "male.wav", gender=last["generator"])
    whole = np.asarray(Image.open(io.BytesIO(expected.png(256))).convert("RGB"), np.float64)
    assert psnr(picture(last), whole) > 50, "at its end, a stream is the whole clip"
    assert psnr(picture(faces[0]), whole) < psnr(picture(last), whole)


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000])
def test_sound_of_any_rate_is_heard(live_server: Server, examples: Path, rate: int) -> None:
    sound = pcm(examples / "male.wav", rate)
    answers = told(live_server, {"sample_rate": rate, "size": 64}, [*pieces(sound, 10_000), END])
    assert answers[-1]["type"] == "face"
    assert answers[-1]["heard_seconds"] == pytest.approx(len(sound) / 2 / rate, abs=0.01)
    assert 6.5 < answers[-1]["speech_seconds"] < 7.5


@pytest.mark.slow
def test_opus_packets_are_heard(live_server: Server, examples: Path) -> None:
    av = pytest.importorskip("av")
    samples, rate = soundfile.read(examples / "female.wav", dtype="float32")
    encoder = av.CodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.layout, encoder.format = 48_000, "mono", "flt"
    resampler = av.AudioResampler(format="flt", layout="mono", rate=48_000, frame_size=960)
    frame = av.AudioFrame.from_ndarray(samples[None], format="flt", layout="mono")
    frame.sample_rate = rate
    packets = [bytes(packet) for part in resampler.resample(frame) for packet in encoder.encode(part)]
    answers = told(live_server, {"encoding": "opus", "size": 64}, [*packets, END])
    assert answers[-1]["type"] == "face"
    assert answers[-1]["generator"] == "female"
    assert answers[-1]["heard_seconds"] == pytest.approx(len(samples) / rate, abs=0.1)
    (problem,) = told(live_server, {"encoding": "opus"}, [b"\xff" * 9])
    assert (problem["type"], problem["code"]) == ("problem", "unreadable-audio")
    (problem,) = told(live_server, {"encoding": "opus"}, [b"OggS" + bytes(60)])
    assert "bare packets of Opus, no container" in problem["detail"]


def test_noise_gets_no_face(live_server: Server) -> None:
    noise = (3000 * np.random.default_rng(0).standard_normal(5 * 16_000)).astype("<i2").tobytes()
    answers = told(live_server, {}, [*pieces(noise, 8000), END])
    assert {answer["type"] for answer in answers} == {"heard", "problem"}
    assert (answers[-1]["code"], answers[-1]["reason"]) == ("not-speech", "noise")


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        (["no json"], "invalid-request"),
        ([b"\x00\x00"], "invalid-request"),
        (['{"encoding": "mp3"}'], "invalid-request"),
        (['{"size": 100000}'], "invalid-request"),
        (['{"size": 2000}'], "usage"),
        (['{"colour": 1}'], "invalid-request"),
        (["{}", b"\x00\x00\x00"], "invalid-samples"),
        (["{}", '{"type": "stop"}'], "invalid-request"),
        (["{}", END], "too-little-speech"),
    ],
)
def test_what_cannot_be_is_a_problem(live_server: Server, messages: list[str | bytes], code: str) -> None:
    with opened(live_server) as socket:
        send(socket, messages)
        (problem,) = heard(socket)
    assert (problem["type"], problem["code"]) == ("problem", code)
    assert problem["detail"].endswith(".")


@pytest.mark.slow
def test_limits_of_streams(serve: Serve, examples: Path) -> None:
    server = serve("--max-seconds", "3", "--streams", "1", "--stream-idle-seconds", "1")
    answers = told(server, {}, [*pieces(pcm(examples / "male.wav"), 16_000), END])
    assert answers[-1]["code"] == "too-long"
    with opened(server) as first:
        first.send("{}")
        with opened(server) as second:
            (problem,) = heard(second)
        assert problem["code"] == "busy"
        (idle,) = heard(first)
        assert idle["code"] == "timeout"


@pytest.mark.slow
def test_keys_and_origins_hold_for_streams(serve: Serve, tmp_path: Path, examples: Path) -> None:
    from s2f_edge.service.keys import new_key

    key, line = new_key("app")
    (tmp_path / "keys").write_text(line)
    server = serve("--keys", str(tmp_path / "keys"))
    sound = [*pieces(pcm(examples / "male.wav"), 32_000), END]
    assert told(server, {}, sound)[-1]["code"] == "unauthorised"
    assert told(server, {"key": key}, sound)[-1]["type"] == "face"
    with opened(server, additional_headers={"Authorization": f"Bearer {key}"}) as socket:
        send(socket, ["{}", *sound])
        assert list(heard(socket))[-1]["type"] == "face"
    with opened(server, origin="https://other.example") as socket:
        assert [answer["code"] for answer in heard(socket)] == ["forbidden"]
    assert key not in server.log


@pytest.mark.slow
def test_a_client_that_goes_away_leaves_nothing(serve: Serve, examples: Path) -> None:
    server = serve("--streams", "1")
    for _ in range(3):
        with opened(server) as socket:
            socket.send("{}")
            socket.send(pcm(examples / "male.wav")[:64_000])
    with server.client() as client:
        assert "s2f_streams_open 0.0" in client.get("/metrics").text
    assert told(server, {}, [*pieces(pcm(examples / "male.wav"), 32_000), END])[-1]["type"] == "face"
    assert '"level": "error"' not in server.log, server.log


def test_when_a_face_is_better() -> None:
    updates = UpdatePolicy()
    assert not updates.due(0.9, 0)
    assert updates.due(1.0, 0)
    assert not updates.due(1.4, 0)
    assert updates.due(1.5, 0)
    assert updates.due(20.0, 0)
    assert not updates.due(21.9, 0)
    assert updates.due(22.0, 0)
    one, other = np.array([1.0, 0.0], np.float32), np.array([0.9, 0.4359], np.float32)
    assert updates.better(one)
    assert not updates.better(one)
    assert updates.better(other)


def test_a_face_waits_once_when_the_network_has_just_run() -> None:
    updates = UpdatePolicy()
    assert updates.due(1.0, 0)
    assert not updates.due(2.1, 1)
    assert updates.due(2.2, 1)
    assert not updates.due(4.1, 2)  # messages so long that each brings a window
    assert updates.due(6.1, 3)


# ---------------------------------------------------------------------------------- motion


@pytest.mark.slow
def test_motion_comes_with_the_faces_on_wish(live_server: Server, examples: Path) -> None:
    sound = pcm(examples / "male.wav")
    messages = told(live_server, {"motion": True, "format": "png"}, [*pieces(sound, 8000), END])
    moved = [message for message in messages if message["type"] == "motion"]
    drawn = [message for message in messages if message["type"] == "face"]
    count = 0
    for message in moved:
        assert (message["frame"], message["fps"]) == (count, 25)
        assert len(message["offsets"]) == len(message["poses"])
        count += len(message["offsets"])
    assert count == -(-len(sound) // 2 // 640)
    assert messages.index(moved[0]) > messages.index(drawn[0]), "there is a face to be moved"

    model = Speech2Face(device="cpu", variant=None)
    offsets = np.concatenate([np.array(message["offsets"]) for message in moved])
    poses = np.concatenate([np.array(message["poses"]) for message in moved])
    gestures = Gestures()
    wanted = np.stack([gestures.next(row) for row in offsets.astype(np.float32)])
    assert np.abs(poses - wanted).max() < 0.01  # stress is read from rounded numbers
    talk = model.talk(examples / "male.wav")
    whole = parts(model, talk.result, talk.settings).motion
    rows = np.concatenate([whole.push(audio.read(examples / "male.wav").samples), whole.finish()])
    # The level of the voice is that of its first second here, and of the whole recording there.
    assert np.corrcoef(offsets[:, 66, 1] - offsets[:, 62, 1], rows[:, 66, 1] - rows[:, 62, 1])[0, 1] > 0.95

    # What the last face is made of makes its picture again.
    last = drawn[-1]
    manifest = model.pack.manifest
    assert manifest.animator
    texture = picture({"picture": last["texture"]}).transpose(2, 0, 1)[None].astype(np.float32) / 127.5 - 1
    shape = np.array([last["shape"]], np.float32)
    still = {"offsets": np.zeros((1, 68, 2), np.float32), "pose": np.zeros((1, 8), np.float32)}
    frame = model.network(manifest.animator.file).run({"texture": texture, "shape": shape, **still})["face"]
    assert psnr(faces.pixels(frame)[0].astype(np.float64), picture(last)) > 28


def test_without_the_wish_there_is_no_motion(live_server: Server, examples: Path) -> None:
    messages = told(live_server, {}, [pcm(examples / "female.wav"), END])
    assert {message["type"] for message in messages} <= {"heard", "face"}
    assert all("texture" not in message for message in messages)
