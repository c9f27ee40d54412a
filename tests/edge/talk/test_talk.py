"""A face that says a recording: its frames, its files and the command. What moves it here is only loudness."""

from __future__ import annotations

import io
import json
import os
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow.parquet
import pytest
import soundfile
from PIL import Image
from typer.testing import CliRunner, Result

from s2f_edge import Speech2Face, UsageError
from s2f_edge.batch.jobs import Job, another
from s2f_edge.batch.make import row
from s2f_edge.batch.table import Table
from s2f_edge.batch.talks import TalkOptions
from s2f_edge.cli.main import app
from s2f_edge.errors import CertificateError, ProvenanceError
from s2f_edge.marks import provenance, provenance_video, watermark
from s2f_edge.marks.credentials import Credentials
from s2f_edge.picture import Pixels
from s2f_edge.results import FaceResult
from s2f_edge.talk import talk as talk_module
from s2f_edge.talk.talk import Parts, Talk, TalkFrame, TalkSettings
from tests.edge.marks.test_credentials import Studio, studio  # noqa: F401

ALL = ("metadata", "watermark", "c2pa")
HOP = 640


class Loudness:
    """The chin follows the loudness."""

    def __init__(self) -> None:
        self._left = np.zeros(0, np.float32)

    def push(self, samples: Any) -> Any:
        self._left = np.concatenate([self._left, samples])
        count = len(self._left) // HOP
        blocks, self._left = self._left[: count * HOP].reshape(count, HOP), self._left[count * HOP :]
        offsets = np.zeros((count, 68, 2), np.float32)
        offsets[:, 8, 1] = np.sqrt(np.square(blocks).mean(axis=1))
        return offsets

    def finish(self) -> Any:
        return self.push(np.zeros(HOP - len(self._left), np.float32))


class Sway:
    def __init__(self, seed: int, head: float) -> None:
        self._drawn, self._head = np.random.default_rng(seed), head

    def next(self, offsets: Any) -> Any:
        assert offsets.shape == (68, 2)
        return self._head * self._drawn.uniform(-3, 3, 2)


class Shifted:
    """Moves the whole face sideways with the pose, and its lower half down with the chin."""

    def __init__(self, still: Pixels) -> None:
        self._still = still

    def frame(self, offsets: Any, pose: Any) -> Pixels:
        moved = np.roll(self._still, round(float(pose[0])), axis=1)
        moved[128:] = np.roll(moved[128:], round(40 * float(offsets[8, 1])), axis=0)
        return moved


@pytest.fixture(autouse=True)
def _moved_by_loudness(monkeypatch: pytest.MonkeyPatch) -> None:
    def parts(model: Speech2Face, result: FaceResult, settings: TalkSettings, candidate: int) -> Parts:
        return Parts(Loudness(), Sway(settings.seed, settings.head), Shifted(result.face))

    monkeypatch.setattr(talk_module, "parts", parts)


@pytest.fixture(scope="module")
def model(tiny_drawn_pack: Path) -> Speech2Face:
    return Speech2Face(tiny_drawn_pack, device="cpu")


@pytest.fixture(scope="module")
def clip(examples: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2.51 s of the male example, in stereo at 22,050 Hz."""
    samples, rate = soundfile.read(examples / "male.wav", frames=int(2.51 * 16_000))
    wide = np.interp(np.arange(int(2.51 * 22_050)) / 22_050, np.arange(len(samples)) / rate, samples)
    path = tmp_path_factory.mktemp("clip") / "clip.wav"
    soundfile.write(path, np.stack([wide, 0.9 * wide], axis=1), 22_050)
    return path


def same(one: list[TalkFrame], other: list[TalkFrame]) -> bool:
    return len(one) == len(other) and all(np.array_equal(a.pixels, b.pixels) for a, b in zip(one, other, strict=True))


# ------------------------------------------------------------------------------------ frames


def test_frames_come_with_their_times(model: Speech2Face, clip: Path) -> None:
    talk = model.talk(clip)
    assert talk.seconds == pytest.approx(2.51, abs=1e-3)
    frames = list(talk)
    assert len(frames) == len(talk) == 63
    assert [frame.index for frame in frames] == list(range(63))
    assert frames[-1].time == 62 / 25
    assert frames[0].pixels.shape == (256, 256, 3)
    assert len({frame.pixels.tobytes() for frame in frames}) > 20
    assert talk.result.gender in ("male", "female", "unsure")


def test_the_first_frame_is_the_face_of_infer(model: Speech2Face, clip: Path) -> None:
    talk = model.talk(clip, seed=5)
    with Image.open(io.BytesIO(model.infer(clip, seed=5).png())) as picture:
        face = np.array(picture)
    assert np.array_equal(next(iter(talk)).pixels, face)
    assert np.array_equal(talk.still, face)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_frames(model: Speech2Face, clip: Path) -> None:
    talk = model.talk(clip, seed=1)
    frames = list(talk)
    assert same(frames, list(talk))
    assert same(frames, list(model.talk(clip, seed=1)))
    assert not same(frames, list(model.talk(clip, seed=2)))
    assert not same(frames, list(model.talk(clip, seed=1, head=0)))


@pytest.mark.slow
@pytest.mark.parametrize(("fps", "count"), [(50, 126), (10, 26), (29.97, 76), (60, 151), (1, 3)])
def test_other_rates_are_frames_between(model: Speech2Face, clip: Path, fps: float, count: int) -> None:
    usual = list(model.talk(clip, head=0))
    frames = list(model.talk(clip, head=0, fps=fps))
    assert len(frames) == count
    assert frames[-1].time < 2.51 <= frames[-1].time + 1 / fps + 1e-3
    for frame in frames:
        at = frame.time * 25
        if at == round(at) and round(at) < len(usual):
            assert np.array_equal(frame.pixels, usual[round(at)].pixels)


def test_frames_come_while_the_sound_is_read(model: Speech2Face, clip: Path) -> None:
    talk = model.talk(clip)
    frames = talk.frames()
    assert [next(frames).index for _ in range(3)] == [0, 1, 2]
    frames.close()


@pytest.mark.parametrize("size", [64, 300])
def test_other_sizes(model: Speech2Face, clip: Path, size: int) -> None:
    talk = model.talk(clip, size=size, fps=2)
    assert {frame.pixels.shape for frame in talk} == {(size, size, 3)}
    assert (watermark.find(next(iter(talk)).pixels) is not None) is (size >= 256)


def test_arrays_files_and_pipes(model: Speech2Face, clip: Path, tmp_path: Path) -> None:
    wanted = list(model.talk(clip, fps=5))
    samples, rate = soundfile.read(clip, dtype="int16")
    assert same(list(model.talk(samples, rate, fps=5)), wanted)
    assert same(list(model.talk(clip.read_bytes(), fps=5)), wanted)
    before = set(Path(tempfile.gettempdir()).glob("s2f-edge-*"))
    with clip.open("rb") as file, model.talk(file, fps=5) as talk:
        assert same(list(talk), wanted)
        assert same(list(talk), wanted)
        assert set(Path(tempfile.gettempdir()).glob("s2f-edge-*")) > before
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    threading.Thread(target=pipe.write_bytes, args=(clip.read_bytes(),)).start()
    with model.talk(pipe, fps=5) as talk:
        assert same(list(talk), wanted)
    with pytest.raises(UsageError, match="binary mode"):
        model.talk(io.StringIO("text"))  # type: ignore[arg-type]
    assert set(Path(tempfile.gettempdir()).glob("s2f-edge-*")) == before


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"fps": 0}, "1 to 60"),
        ({"fps": float("nan")}, "1 to 60"),
        ({"size": 4096}, "16 to 1024"),
        ({"head": 2.5}, "0 .none. to 2"),
        ({"blink": -1}, "0 .none. to 2"),
        ({"seed": -1}, "whole number"),
        ({"gender": "neither"}, "gender"),
    ],
)
def test_arguments_out_of_range(model: Speech2Face, clip: Path, asked: dict[str, Any], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        model.talk(clip, **asked)


def test_packs_without_a_renderer_cannot(tiny_pack: Path, clip: Path) -> None:
    with pytest.raises(UsageError, match="no renderer"):
        Speech2Face(tiny_pack, device="cpu").talk(clip)


# ------------------------------------------------------------------------------------- files


@pytest.mark.slow
@pytest.mark.parametrize("form", ["mp4", "webm", "gif", "webp"])
def test_files_say_where_they_come_from(model: Speech2Face, clip: Path, tmp_path: Path, form: str) -> None:
    talk = model.talk(clip, fps=10)
    path = tmp_path / f"a.{form}"
    marks = talk.save(path)
    assert marks == (ALL if form != "webm" else ALL[:2])
    found = provenance.read(path)
    assert (found.format, found.width, found.height) == (form, 256, 256)
    assert found.metadata["pack_sha256"] == talk.result.pack_sha256
    if found.credentials:
        assert (found.credentials.state, found.credentials.trust) == ("valid", "self-made")
    assert "metadata" in found.layers
    assert provenance.read(path.read_bytes()).to_dict() == found.to_dict()
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


@pytest.mark.slow
def test_the_recording_is_the_sound(model: Speech2Face, clip: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    model.talk(clip).save(path)
    with av.open(str(path)) as media:
        sound = np.concatenate([frame.to_ndarray() for frame in media.decode(audio=0)], axis=1)
        assert media.streams.audio[0].codec_context.sample_rate == 22_050
    wanted = soundfile.read(clip, dtype="float32")[0].T
    heard = sound[:, : wanted.shape[1]]
    assert sound.shape[0] == 2
    assert np.corrcoef(heard[0], wanted[0])[0, 1] > 0.98  # in step to the sample


def test_a_changed_video_shows(model: Speech2Face, clip: Path, tmp_path: Path, studio: Studio) -> None:  # noqa: F811
    path = tmp_path / "a.mp4"
    signer = Credentials.from_files(*studio.issue())
    model.talk(clip, fps=5).save(path, credentials=signer)
    found = provenance.read(path, studio.anchors)
    assert found.credentials
    assert found.credentials.trust == "trusted"
    data = bytearray(path.read_bytes())
    data[data.index(b"mdat") + 3000] ^= 1
    changed = provenance.read(bytes(data))
    assert changed.credentials
    assert changed.credentials.state == "changed"


def test_a_signer_that_fails_leaves_nothing(
    model: Speech2Face, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise CertificateError("expired")

    monkeypatch.setattr(Credentials, "sign_file", fails)
    with pytest.raises(CertificateError):
        model.talk(clip, fps=2).save(tmp_path / "a.mp4")
    assert list(tmp_path.iterdir()) == []


def test_frames_in_a_folder(model: Speech2Face, clip: Path, tmp_path: Path) -> None:
    talk = model.talk(clip, fps=4)
    done: list[int] = []
    assert talk.save_frames(tmp_path / "new/frames", done.append) == ALL[:2]
    files = sorted((tmp_path / "new/frames").iterdir())
    assert [file.name for file in files] == [f"frame_{index:06}.png" for index in range(11)]
    assert done == list(range(1, 12))
    for file, frame in zip(files, talk, strict=True):
        assert np.array_equal(np.array(Image.open(file)), frame.pixels)
    assert provenance.read(files[3]).layers == ALL[:2]
    with pytest.raises(UsageError, match="not empty"):
        talk.save_frames(tmp_path / "new/frames")
    assert [each.name for each in (tmp_path / "new").iterdir()] == ["frames"]


def test_formats_that_are_none(model: Speech2Face, clip: Path, tmp_path: Path) -> None:
    talk = model.talk(clip, size=65)
    with pytest.raises(UsageError, match="even"):
        talk.save(tmp_path / "a.mp4")
    with pytest.raises(UsageError, match="mp4, webm, gif or webp"):
        talk.save(tmp_path / "a.avi")
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------------- marks


@pytest.mark.slow
@pytest.mark.parametrize("name", ["female", "male"])
def test_the_mark_is_found_after_another_compression(examples: Path, tmp_path: Path, name: str) -> None:
    """Of faces of the default pack: in the file, and after what a messenger makes of it."""
    talk: Talk = Speech2Face(device="cpu").talk(examples / f"{name}.wav")
    path = tmp_path / "a.mp4"
    talk.save(path)
    with av.open(str(path)) as media:
        frames = [frame.to_ndarray(format="rgb24") for _, frame in zip(range(60), media.decode(video=0), strict=False)]
    payload = watermark.make_payload(talk.result.generator, talk.result.pack_sha256)
    for frame in frames[::20]:
        mark = watermark.find(frame)
        assert mark
        assert mark.payload == payload
    again = tmp_path / "again.mp4"
    with av.open(str(again), "w") as out:
        options = {"crf": "28", "preset": "veryfast", "profile": "baseline"}
        stream = out.add_stream("libx264", rate=25, options=options)
        stream.width = stream.height = 256
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        out.mux(stream.encode())
    found = provenance.read(again)
    assert found.layers == ("watermark",)
    assert found.watermark
    assert found.watermark.pack == talk.result.pack_sha256[:4]


def test_what_is_no_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for data in (b"\0\0\0\x18ftypisom" + bytes(40), b"\x1a\x45\xdf\xa3" + bytes(40)):
        with pytest.raises(ProvenanceError, match="not a readable video"):
            provenance.read(data)
    assert provenance_video.kind(b"\0\0\0\x1cftypavif") is None
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ProvenanceError, match=r"s2f-edge\[media\]"):
        provenance.read(b"\0\0\0\x18ftypisom" + bytes(40))


# ----------------------------------------------------------------------------------- command


@pytest.fixture
def run(tiny_drawn_pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object, stdin: bytes | None = None) -> Result:
        words = ["talk", *map(str, arguments), "--pack", str(tiny_drawn_pack)]
        return CliRunner().invoke(app, words, input=stdin)

    return call


@pytest.mark.slow
def test_the_command(run, clip: Path, tmp_path: Path) -> None:
    done = run(clip, "--fps", 5)
    assert done.exit_code == 0, done.output
    assert "clip.talk.mp4" in done.stdout
    assert "13 frames of 256 pixels for 2.5 s" in done.stdout
    told = json.loads(run(clip, "--fps", 5, "--out", "a.webm", "--json").stdout)
    assert told["pictures"] == ["a.webm"]
    assert told["marks"] == ["metadata", "watermark"]
    assert (told["frames"], told["seconds"], told["fps"], told["seed"]) == (13, pytest.approx(2.51, abs=1e-3), 5, 0)
    assert told["timings_ms"]["video"] > 0
    assert provenance.read(tmp_path / "clip.talk.mp4").layers[0] == "metadata"
    assert run(clip, "--fps", 5, "--size", 64).exit_code == 0  # its own file may be replaced
    (tmp_path / "mine.mp4").write_bytes(b"mine")
    refused = run(clip, "--out", "mine.mp4")
    assert refused.exit_code == 50
    assert (tmp_path / "mine.mp4").read_bytes() == b"mine"


@pytest.mark.slow
def test_pipes(run, clip: Path) -> None:
    done = run("-", "--out", "-", "--fps", 5, stdin=clip.read_bytes())
    assert done.exit_code == 0, done.output
    assert provenance.read(done.stdout_bytes).layers[0] == "metadata"
    assert b"moof" in done.stdout_bytes
    moving = run("-", "--out", "-", "--format", "gif", "--fps", 5, stdin=clip.read_bytes()).stdout_bytes
    assert Image.open(io.BytesIO(moving)).n_frames == 13  # type: ignore[attr-defined]


def test_frames_of_one_and_of_several(run, clip: Path, examples: Path, tmp_path: Path) -> None:
    assert run(clip, "--frames", "one", "--fps", 2).exit_code == 0
    assert len(list((tmp_path / "one").iterdir())) == 6
    assert run(clip, examples / "male.wav", "--frames", "all", "--fps", 1, "--quiet").exit_code == 0
    assert sorted(each.name for each in (tmp_path / "all").iterdir()) == ["clip.frames", "male.frames"]
    assert run(clip, "--frames", "x", "--out", "a.mp4").exit_code == 2


def test_several_and_a_bad_one(run, clip: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.wav").write_bytes(clip.read_bytes())
    (tmp_path / "in/b.wav").write_bytes(b"no sound")
    done = run("in", "--out", "out/", "--format", "gif", "--fps", 2)
    assert done.exit_code == 3
    assert [each.name for each in (tmp_path / "out").iterdir()] == ["a.talk.gif"]


def test_a_talk_is_one_more_kind_of_job(tiny_drawn_pack: Path, clip: Path, tmp_path: Path) -> None:
    options = TalkOptions(pack=str(tiny_drawn_pack), device="cpu", fps=2.0, seed=3, form="webp")
    maker = options.maker()
    jobs = [
        Job(str(clip), [str(tmp_path / "a.talk.webp")]),
        Job(str(tmp_path / "none.wav"), [str(tmp_path / "b.webp")]),
    ]
    with Table(str(tmp_path / "rows.parquet"), options.settings()) as table:
        table.begin(False)
        for job in jobs:
            table.add(row(job, maker.outcome(job), options, str(tmp_path)))
        table.finish()
    done, failed = pyarrow.parquet.read_table(tmp_path / "rows.parquet").to_pylist()
    assert done["picture_bytes"] == [(tmp_path / "a.talk.webp").stat().st_size]
    assert (done["error"], failed["error"]) == (None, "unreadable-audio")
    assert (done["settings"]["fps"], done["settings"]["seed"], done["settings"]["head"]) == (2.0, 3, 1.0)
    assert another("in/a.talk.mp4", 2) == "in/a-2.talk.mp4"


def test_without_the_extra_gif_and_webp_work(run, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    refused = run(clip)
    assert refused.exit_code == 40
    assert "s2f-edge[media]" in refused.output
    assert "gif and webp" in refused.output
    assert run(clip, "--out", "a.webp", "--fps", 2).exit_code == 0


def test_options_are_checked(run, clip: Path) -> None:
    assert run(clip, "--head", 3).exit_code == 2
    assert run(clip, "--fps", 100).exit_code == 2
    assert run(clip, "--size", 255, "--fps", 1).exit_code == 2
    text = CliRunner().invoke(app, ["talk", "--help"], env={"COLUMNS": "200"}).stdout
    assert "No photograph can be given" in text
    for option in ("--out", "--frames", "--fps", "--size", "--head", "--blink", "--brows", "--seed", "--table"):
        assert option in text
