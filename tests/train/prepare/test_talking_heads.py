"""Talking heads: what is found in folders and tars, points without the head's motion, and one clock."""

from __future__ import annotations

import io
import shutil
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

from s2f_train.cli.main import app
from s2f_train.data.items import Place, SourceError, TalkItem
from s2f_train.data.store import Store, read_lines
from s2f_train.data.talks import LIPS, opening, read_talk, speakers_of, talks_of
from s2f_train.prepare import item
from s2f_train.prepare.face_mesh import IBUG68, FaceMesh, networks_of
from s2f_train.prepare.head_pose import STILL, without_pose
from s2f_train.prepare.item import Entry, Maker, Prepared, PrepareSettings
from s2f_train.prepare.sources.talking_heads import talking_heads
from s2f_train.prepare.talking_head import TalkError, motion_of

Floats = NDArray[np.float64]
CHIN = np.array([152, 148, 377])  # of the mesh
LOWER = np.array([17, 84, 314, 14, 87, 317, 178, 402])
CLIPS = "clip,speaker,gender\na,Ann,f\nb,Ann,f\nc,Bob,m\ngone,Bob,m\n"
WORDS = "clip,start_s,end_s,word\na,0.5,0.9,Bin\na,0.0,0.5,sil\nb,0.1,0.2,no\n"


@pytest.fixture(scope="session")
def landmarker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("landmarker") / "face_landmarker.task"
    with zipfile.ZipFile(path, "w") as bundle:
        bundle.writestr("face_detector.tflite", b"detector")
        bundle.writestr("face_landmarks_detector.tflite", b"mesh")
    return path


def video(path: Path, frames: int = 30, rate: int = 25, with_sound: bool = False, delay: int = 0) -> Path:
    """Grey pictures, the k-th as light as k tells; `delay`: samples by which the sound begins later."""
    import av

    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=rate)
        stream.width = stream.height = 64
        sound = file.add_stream("aac", rate=16_000) if with_sound else None
        for k in range(frames):
            frame = av.VideoFrame.from_image(Image.new("RGB", (64, 64), (6 * k,) * 3))
            frame.pts = k
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
        if sound:
            tone = (0.3 * np.sin(np.arange(16_000 * frames // rate) / 9)).astype(np.float32)
            for start in range(0, len(tone), 1024):
                part = av.AudioFrame.from_ndarray(tone[None, start : start + 1024], format="fltp", layout="mono")
                part.sample_rate, part.pts = 16_000, start + delay
                file.mux(sound.encode(part))
            file.mux(sound.encode(None))
    return path


def head() -> Floats:
    """478 points of a head that looks to the front, in the unit of the eyes' distance; left and right are alike."""
    rng = np.random.default_rng(0)
    points = rng.normal(0, 0.5, (478, 3))
    right, left = STILL[:9], STILL[9:18]
    points[right, 0] = -np.abs(points[right, 0]) - 0.2
    points[left] = points[right] * [-1, 1, 1]
    points[STILL[18:], 0] = 0
    eyes = np.array(IBUG68)[36:48]
    points[eyes] = np.array([[-0.5, 0, 0]] * 6 + [[0.5, 0, 0]] * 6) + rng.normal(0, 1e-3, (12, 3))
    points[[33, 133, 362, 263]] = [[-0.6, 0, 0.1], [-0.4, 0, 0], [0.4, 0, 0], [0.6, 0, 0.1]]
    points[list(IBUG68)[48:]] = rng.normal([0, 1, -0.1], [0.2, 0.05, 0.02], (20, 3))
    return points


def turned(points: Floats, rng: np.random.Generator, degrees: float, size: float) -> Floats:
    """As a camera sees it, somewhere and a little turned."""
    a, b, c = np.radians(rng.uniform(-degrees, degrees, 3))
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return points @ (about_x @ about_y @ about_z).T * size * rng.uniform(0.9, 1.1) + rng.uniform(60, 90, 3)


def spoken(frames: int, degrees: float = 8.0, size: float = 50.0) -> tuple[Floats, Floats]:
    """A head that moves while its lower lip goes down by what is given back, in units of the eyes' distance."""
    rng = np.random.default_rng(1)
    gap = 0.1 * np.abs(np.sin(np.arange(frames) / 3))
    seen = []
    for k in range(frames):
        points = head()
        points[LOWER, 1] += gap[k]
        seen.append(turned(points, rng, degrees, size))
    return np.stack(seen), gap


class MadeMesh:
    """Gives the points of a made head for each frame; None where `hidden` says so."""

    def __init__(self, points: Floats, hidden: Iterable[int] = ()) -> None:
        self.points, self.hidden, self.light = points, set(hidden), []  # type: ignore[var-annotated]

    def follow(self, frames: Iterable[Image.Image]) -> Iterator[tuple[NDArray[np.float32], float] | None]:
        for k, frame in enumerate(frames):
            self.light.append(frame.getpixel((32, 32))[0])  # type: ignore[index]
            yield None if k in self.hidden else (self.points[k].astype(np.float32), 0.9)


def moved(path: Path, mesh: Any, sound: Path | None = None, seconds: float = 60.0) -> NDArray[np.float32]:
    return motion_of(Place(str(path)), Place(str(sound or path)), mesh, seconds)[0]


# ------------------------------------------------------------------------- sources


@pytest.mark.parametrize("form", ["folder", "tar"])
def test_videos_with_their_sounds_and_what_csvs_say(tmp_path: Path, landmarker: Path, form: str) -> None:
    folder = tmp_path / "heads"
    (folder / "in").mkdir(parents=True)
    for name in ("a.mp4", "a.ogg", "in/b.MOV", "in/b.wav", "c.webm", "d.mkv", "notes.txt", ".e.mp4"):
        (folder / name).write_bytes(name.encode())
    root = folder
    if form == "tar":
        root = tmp_path / "heads.tar"
        with tarfile.open(root, "w") as archive:
            archive.add(folder, ".")
    (root.parent if form == "tar" else root).joinpath("clips.csv").write_text(CLIPS)
    (root.parent if form == "tar" else root).joinpath("words.csv").write_text(WORDS)
    source = talking_heads(root, landmarker)
    found = {each.name: each for each in source.items}
    assert list(found) == ["a", "c", "d", "in-b"]
    assert all(isinstance(each, TalkItem) and each.content == "talk" for each in found.values())
    read = {name: (each.video.read(), each.place.read()) for name, each in found.items()}  # type: ignore[attr-defined]
    assert read["a"] == (b"a.mp4", b"a.ogg")
    assert read["in-b"] == (b"in/b.MOV", b"in/b.wav")
    assert read["c"] == (b"c.webm", b"c.webm")
    assert {name: each.identity for name, each in found.items()} == {
        "a": "Ann", "in-b": "Ann", "c": "Bob", "d": "talk-d",
    }  # fmt: skip
    assert {who.name: who.gender for who in source.identities.values()} == {"Ann": "f", "Bob": "m", "talk-d": ""}
    assert found["a"].words == ((0.0, 0.5, "sil"), (0.5, 0.9, "bin"))  # type: ignore[attr-defined]
    assert source.notes == (
        "Videos without a row in the clips' CSV, each a speaker of its own: 1 (d.mkv).",
        "Rows of the clips' CSV without a video: 1 (gone).",
    )


def test_what_is_no_talking_head_is_said(tmp_path: Path, landmarker: Path) -> None:
    with pytest.raises(SourceError, match="no face landmarker"):
        talking_heads(tmp_path, tmp_path / "none.task")
    with pytest.raises(SourceError, match="does not exist"):
        talking_heads(tmp_path / "none", landmarker)
    (tmp_path / "a.wav").touch()
    with pytest.raises(SourceError, match="videos"):
        talking_heads(tmp_path, landmarker)
    (tmp_path / "a.mp4").touch()
    table = tmp_path / "other.csv"
    for text, why in (("clip\na\n", "no column speaker"), ("clip,speaker\na,Ann\n", "")):
        table.write_text(text)
        if why:
            with pytest.raises(SourceError, match=why):
                talking_heads(tmp_path, landmarker, table)
        else:
            assert list(talking_heads(tmp_path, landmarker, table).identities) == ["Ann"]
    for row in ("a,1,0.5,no", "a,x,1,no", "a,nan,1,no"):
        table.write_text(f"clip,start_s,end_s,word\n{row}\n")
        with pytest.raises(SourceError, match="has a word from"):
            talking_heads(tmp_path, landmarker, words=table)


def test_the_command_says_what_is_missing(tmp_path: Path, landmarker: Path) -> None:
    for words, why in (
        (["--talking-heads", str(tmp_path)], "needs --landmarker"),
        (["--landmarker", str(landmarker)], "needs --talking-heads"),
        (["--words-csv", str(landmarker)], "needs --talking-heads"),
    ):
        result = CliRunner().invoke(app, ["prepare", "--out", str(tmp_path / "store"), *words])
        assert result.exit_code == 2
        assert why in result.output


def test_another_file_is_no_landmarker(tmp_path: Path) -> None:
    (tmp_path / "a.task").write_bytes(b"no zip")
    with pytest.raises(SourceError, match=r"Needed is face_landmarker\.task"):
        networks_of(tmp_path / "a.task")


# --------------------------------------------------------------------------- motion


def test_the_motion_of_the_head_is_taken_away() -> None:
    seen, gap = spoken(40)
    points, apart, aside = without_pose(seen)
    assert 44 < apart < 56
    assert aside < 8
    lip = points[:, 57, 1]  # the middle of the lower lip's lower edge
    assert np.abs((lip - lip[0]) - (gap - gap[0])).max() < 0.01
    still = points[:, [27, 28, 36, 39, 42, 45]]
    assert np.ptp(still, axis=0).max() < 0.01
    middle = points.mean(axis=0)
    eyes = middle[42:48].mean(axis=0) - middle[36:42].mean(axis=0)
    assert np.allclose(eyes, [1, 0], atol=0.02)


@pytest.mark.parametrize("degrees", [-40.0, 35.0])
def test_how_far_a_head_is_turned(degrees: float) -> None:
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    points, _, aside = without_pose(np.stack([head() @ turn.T * 50] * 3))
    assert abs(aside - abs(degrees)) < 1
    front, _, _ = without_pose(np.stack([head() * 50] * 3))
    assert np.abs(points - front).max() < 1e-6


def test_frames_of_any_rate_come_to_25_a_second(tmp_path: Path) -> None:
    seen, gap = spoken(25)
    slow = moved(video(tmp_path / "a.mp4", 13, 12), MadeMesh(seen[::2]))
    assert len(slow) == round(12 / 12 * 25) + 1
    lip = slow[:, 57, 1] - slow[0, 57, 1]
    wanted = np.interp(np.arange(26) / 25, np.arange(13) / 12, gap[::2]) - gap[0]
    assert np.abs(lip - wanted).max() < 0.01


def test_frames_before_the_sound_are_left_out(tmp_path: Path) -> None:
    seen, _ = spoken(30)
    path = video(tmp_path / "a.mkv", 30, with_sound=True, delay=3200)
    mesh = MadeMesh(seen)
    motion = moved(path, mesh)
    assert len(motion) in (25, 26)
    assert abs(mesh.light[0] - 30) < 4  # the frame at 0.2 s
    beside = MadeMesh(seen)
    soundfile.write(tmp_path / "a.wav", np.zeros(16_000), 16_000)
    assert len(moved(path, beside, tmp_path / "a.wav")) == 30
    assert beside.light[0] < 4


def test_no_more_is_read_than_asked_for(tmp_path: Path) -> None:
    mesh = MadeMesh(spoken(30)[0])
    assert len(moved(video(tmp_path / "a.mp4"), mesh, seconds=0.5)) == 13
    assert len(mesh.light) == 13


def test_what_cannot_be_used_is_said(tmp_path: Path) -> None:
    path = video(tmp_path / "a.mp4")
    seen, _ = spoken(30)
    with pytest.raises(TalkError, match="no face found"):
        moved(path, MadeMesh(seen, range(30)))
    with pytest.raises(TalkError, match="no face in 4 of 30 frames"):
        moved(path, MadeMesh(seen, (2, 3, 4, 5)))
    assert len(moved(path, MadeMesh(seen, (2, 3, 4)))) == 30
    with pytest.raises(TalkError, match=r"too small: 1\d pixels"):
        moved(path, MadeMesh(spoken(30, size=12)[0]))
    angle = np.radians(32)
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    with pytest.raises(TalkError, match=r"turned: 3\d degrees"):
        moved(path, MadeMesh(np.stack([head() @ turn.T * 50] * 30)))
    soundfile.write(tmp_path / "b.wav", np.zeros(16_000), 16_000)
    with pytest.raises(TalkError, match="no video in the file"):
        moved(tmp_path / "b.wav", MadeMesh(seen))
    (tmp_path / "c.mp4").write_bytes(b"no video")
    with pytest.raises(TalkError, match="no video that can be read"):
        moved(tmp_path / "c.mp4", MadeMesh(seen))


def test_the_package_that_is_missing_is_named(landmarker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(ModuleNotFoundError, match="need ai-edge-litert: pip install"):
        FaceMesh(landmarker)


# --------------------------------------------------------------------------- real data


@pytest.mark.slow
def test_real_talking_heads_become_a_store(s2f_data: Path, tmp_path: Path) -> None:
    """Two clips of a man, in the tar and by the command: points on one clock with the sound, lips closed in silence."""
    talk = s2f_data / "data" / "talk"
    heads = tmp_path / "heads"
    heads.mkdir()
    with tarfile.open(talk / "talk.tar", "r:") as archive:
        for name in ("s1_bbaf3s", "s1_bbal9a"):
            for ending in ("mp4", "ogg"):
                data = archive.extractfile(f"{name}.{ending}")
                assert data is not None
                (heads / f"{name}.{ending}").write_bytes(data.read())
    for table in ("clips.csv", "words.csv"):
        shutil.copy(talk / table, heads)
    command = ["prepare", "--talking-heads", str(heads), "--landmarker", str(talk / "face_landmarker.task")]
    result = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "store"), "--jobs", "1"])
    assert result.exit_code == 0, result.output
    store = Store.open(tmp_path / "store")
    assert not list(read_lines(store.folder / "skipped.jsonl"))
    samples = talks_of(store)
    assert {sample.clip for sample in samples} == {"s1_bbaf3s", "s1_bbal9a"}
    speaker = speakers_of(store, samples)["s1"]
    assert 0 < opening(speaker.neutral) < 0.02
    for sample in samples:
        made = read_talk(store, sample, speaker)
        assert made.offsets.shape == (75, 68, 2)
        assert abs(len(made.samples) - 47_648) < 2
        gaps = opening(made.offsets)
        assert 0.1 < gaps.max() < 0.4
        assert (gaps[-10:] < 0.02).all()  # the sentence is over
        assert np.abs(made.offsets[:, LIPS]).max() < 0.5
        assert made.closures[0] == pytest.approx(0.71, abs=0.02)  # "bin"
    again = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "store")])
    assert "Nothing to do" in again.output


def test_a_talk_keeps_its_whole_sound(tmp_path: Path, landmarker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses too, as long as there are frames; and what has no frames is left out."""
    folder = tmp_path / "heads"
    folder.mkdir()
    video(folder / "a.mp4", 30)
    soundfile.write(folder / "a.wav", np.r_[np.zeros(16_000), 0.3 * np.ones(16_000)], 16_000)
    source = talking_heads(folder, landmarker)
    monkeypatch.setattr(item, "FaceMesh", lambda path: MadeMesh(spoken(30)[0]))
    entry = Entry("a", source.items[0], next(iter(source.identities.values())))
    made = Maker(PrepareSettings())(entry)
    assert isinstance(made, Prepared), made
    sound, rate = soundfile.read(io.BytesIO(made.members["sound.flac"]))
    assert (len(sound), rate) == (19_200, 16_000)
    assert np.load(io.BytesIO(made.members["motion.npy"])).shape == (30, 68, 2)
    short = Maker(PrepareSettings(max_seconds=1.0))(entry)
    assert isinstance(short, Prepared)
    assert (short.cut, short.seconds) == (True, 1.0)
