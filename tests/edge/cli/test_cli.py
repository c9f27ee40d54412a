"""The command, as a user runs it: what is printed, written and returned."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image
from typer.testing import CliRunner, Result

from s2f_edge import __version__
from s2f_edge.cli.main import app
from s2f_edge.marks.provenance import read, read_metadata
from tests.tiny_packs import make_pack

MALE, FEMALE = "male.wav", "female.wav"


@pytest.fixture
def run(tiny_pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Runs the command in an empty folder; commands that take a pack get the tiny one."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object, stdin: bytes | None = None, pack: bool = True) -> Result:
        words = [str(a) for a in arguments]
        if pack and words[0] in ("infer", "embed", "inspect"):
            words += ["--pack", str(tiny_pack)]
        return CliRunner().invoke(app, words, input=stdin)

    return call


def start(*arguments: object, **options: Any) -> subprocess.Popen[bytes]:
    """The command in a process of its own, through main()."""
    command = [sys.executable, "-c", "from s2f_edge.cli.main import main; main()", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[3])}
    return subprocess.Popen(command, env=environment, **options)


def process(
    *arguments: object, stdin: bytes | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[bytes]:
    """`start`, to its end."""
    pipe = subprocess.PIPE
    with start(*arguments, cwd=cwd, stdin=None if stdin is None else pipe, stdout=pipe, stderr=pipe) as running:
        output, errors = running.communicate(stdin)
    return subprocess.CompletedProcess(running.args, running.returncode, output, errors)


def test_version_and_help(run) -> None:
    assert run("--version").stdout.strip() == f"s2f-edge {__version__}"
    text = run("infer", "--help", pack=False).stdout
    for option in ("--gender", "--out", "--samples", "--seed", "--grid", "--device", "--json", "--quiet"):
        assert option in text
    assert "identifies nobody" in run("--help").stdout


def test_infer_writes_a_face_and_says_where(run, examples: Path, tmp_path: Path) -> None:
    result = run("infer", examples / MALE, "--gender", "male", "--out", "out/face.png", "--size", 128)
    assert result.exit_code == 0, result.output
    assert "out/face.png" in result.stdout
    assert "male generator" in result.stdout
    assert Image.open(tmp_path / "out/face.png").size == (128, 128)
    assert read_metadata(tmp_path / "out/face.png")["generator"] == "male"


def test_a_renderers_face_has_its_own_size_and_all_marks(run, examples: Path, tmp_path: Path, tiny_drawn_pack) -> None:
    result = run("infer", examples / MALE, "--pack", tiny_drawn_pack, "--json", pack=False)
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    assert {"metadata", "watermark"} <= set(facts["marks"])
    assert facts["timings_ms"]["renderer"] > 0
    picture = tmp_path / "male.face.png"
    assert Image.open(picture).size == (256, 256)
    assert {"metadata", "watermark"} <= set(read(picture).layers)
    assert (
        "renderer    draws 256 pixels squared; candidates differ by 5 numbers"
        in run("pack", "show", tiny_drawn_pack).stdout
    )


def test_default_name_is_in_this_folder(run, examples: Path, tmp_path: Path) -> None:
    assert run("infer", examples / MALE).exit_code == 0
    assert [p.name for p in tmp_path.iterdir()] == ["male.face.png"]


def test_several_files_and_folders_and_one_bad(run, examples: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.wav").write_bytes(b"no sound at all")
    result = run("infer", examples, "bad.wav", "--out", "faces")
    assert result.exit_code == 3
    assert sorted(p.name for p in (tmp_path / "faces").iterdir()) == ["female.face.png", "male.face.png"]
    assert "error: bad.wav" in result.stderr
    assert "1 of 3 failed" in result.stderr


def test_same_names_do_not_overwrite_each_other(run, examples: Path, tmp_path: Path) -> None:
    for folder, name in (("a", MALE), ("b", FEMALE)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "clip.wav").write_bytes((examples / name).read_bytes())
    assert run("infer", "a", "b", "--out", "faces").exit_code == 0
    first, second = (tmp_path / "faces" / name for name in ("clip.face.png", "clip-2.face.png"))
    assert first.read_bytes() != second.read_bytes()


def test_json_is_one_object_a_line(run, examples: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.wav").write_bytes(b"no sound at all")
    result = run("infer", examples / MALE, "bad.wav", "--json", "--out", "faces", "--seed", 5)
    good, bad = map(json.loads, result.stdout.splitlines())
    assert good["generator"] in ("male", "female", "general")
    assert good["seed"] == 5
    assert Path(good["pictures"][0]).exists()
    assert bad["error"] == "unreadable-audio"
    assert bad["exit_status"] == 10


def test_quiet_prints_nothing(run, examples: Path) -> None:
    result = run("infer", examples / MALE, "--quiet")
    assert result.exit_code == 0
    assert result.output == ""


def test_candidates_apart_or_as_a_grid(run, examples: Path, tmp_path: Path) -> None:
    assert run("infer", examples / MALE, "--samples", 3, "--seed", 1, "--out", "face.png").exit_code == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["face.01.png", "face.02.png", "face.03.png"]
    assert run("infer", examples / MALE, "--samples", 3, "--seed", 1, "--grid", "--size", 64).exit_code == 0
    assert Image.open(tmp_path / "male.face.png").width == 64 + 2 + 64


@pytest.mark.slow
def test_standard_input_and_output(tiny_pack: Path, examples: Path) -> None:
    sound = (examples / MALE).read_bytes()
    done = process("infer", "-", "--pack", tiny_pack, "--out", "-", stdin=sound)
    assert done.returncode == 0, done.stderr
    assert read_metadata(done.stdout)["tool"] == f"s2f-edge {__version__}"
    again = process("infer", examples / MALE, "--pack", tiny_pack, "--out", "-")
    pixels = [np.asarray(Image.open(io.BytesIO(each.stdout))) for each in (done, again)]
    assert np.array_equal(*pixels)  # no two signatures are the same


def test_a_foreign_file_is_not_overwritten(run, examples: Path, tmp_path: Path) -> None:
    target = tmp_path / "holiday.png"
    Image.new("RGB", (4, 4)).save(target)
    before = target.read_bytes()
    result = run("infer", examples / MALE, "--out", target)
    assert result.exit_code == 50
    assert "--overwrite" in result.stderr
    assert target.read_bytes() == before
    assert run("infer", examples / MALE, "--out", target, "--overwrite").exit_code == 0
    assert run("infer", examples / FEMALE, "--out", target).exit_code == 0  # our own may be replaced


@pytest.mark.parametrize(
    ("sound", "status", "code"),
    [
        ("silence", 20, "not-speech"),
        ("noise", 20, "not-speech"),
        ("tone", 20, "not-speech"),
        ("short", 21, "too-little-speech"),
    ],
)
def test_what_is_no_speech_has_its_own_status(
    run, examples: Path, tmp_path: Path, sound: str, status: int, code: str
) -> None:
    t = np.arange(5 * 16_000) / 16_000
    speech, _ = soundfile.read(examples / MALE)
    samples = {
        "silence": 0 * t,
        "noise": 0.1 * np.random.default_rng(0).standard_normal(len(t)),
        "tone": 0.3 * np.sin(2 * np.pi * 300 * t),
        "short": speech[:12_000],
    }[sound]
    soundfile.write(tmp_path / "x.wav", samples, 16_000)
    result = run("infer", "x.wav", "--json")
    assert result.exit_code == status
    assert json.loads(result.stdout)["error"] == code
    assert [p.name for p in tmp_path.iterdir()] == ["x.wav"]


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["infer", "missing.wav"], 10),
        (["infer", "."], 2),
        (["infer", "a.wav", "b.wav", "--out", "one.png"], 2),
        (["infer", "a.wav", "--out", "face.gif"], 2),
        (["infer", "a.wav", "--gender", "robot"], 2),
        (["infer", "a.wav", "--samples", "0"], 2),
        (["infer", "a.wav", "--samples", "many"], 2),
        (["infer", "a.wav", "--seed", "1.5"], 2),
        (["infer", "a.wav", "--size", "4097"], 2),
        (["infer", "a.wav", "--threads", "0"], 2),
        (["embed", "a.wav", "--format", "csv"], 2),
        (["infer", "-", "-"], 2),
        (["infer"], 2),
        (["pack", "verify", "nowhere"], 30),
        (["pack", "show", "nowhere"], 30),
        (["provenance", "missing.png"], 51),
        (["nonsense"], 2),
    ],
)
def test_every_mistake_is_a_sentence_and_a_status(
    tmp_path: Path, tiny_pack: Path, arguments: list[str], status: int
) -> None:
    pack = ["--pack", str(tiny_pack)] if arguments[0] == "infer" and len(arguments) > 1 else []
    done = process(*arguments, *pack, stdin=b"", cwd=tmp_path)
    assert done.returncode == status, done.stderr
    assert b"Traceback" not in done.stderr + done.stdout
    assert done.stderr.strip()
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_broken_pack_is_one_sentence(tmp_path: Path, examples: Path) -> None:
    (tmp_path / "manifest.json").write_text("{")
    done = process("infer", examples / MALE, "--pack", tmp_path, cwd=tmp_path)
    assert done.returncode == 31
    assert done.stderr.count(b"\n") == 1
    assert b"Traceback" not in done.stderr


def test_embed_writes_npy_and_json(run, examples: Path, tmp_path: Path) -> None:
    assert run("embed", examples / MALE).exit_code == 0
    assert run("embed", examples / MALE, "--format", "json").exit_code == 0
    vector = np.load(tmp_path / "male.npy")
    assert vector.dtype == np.float32
    assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-5)
    assert np.array_equal(np.array(json.loads((tmp_path / "male.json").read_text()), np.float32), vector)
    assert run("embed", examples / MALE).exit_code == 50  # whose numbers these are, the file does not say
    assert run("embed", examples / MALE, "--overwrite").exit_code == 0


def test_all_windows_are_heard_if_asked(run, examples: Path, tmp_path: Path) -> None:
    pack = make_pack(tmp_path / "pack", "fbank-80", windows=1)
    voices, faces = [], []
    for option in ([], ["--all-windows"]):
        for command, name in (("embed", "voice.npy"), ("infer", "face.png")):
            words = [command, examples / MALE, "--pack", pack, "--out", name, "--overwrite", *option]
            result = run(*words, pack=False)
            assert result.exit_code == 0, result.output
        voices.append(np.load("voice.npy"))
        faces.append(np.asarray(Image.open("face.png")))
    assert np.abs(voices[0] - voices[1]).max() > 1e-3
    assert not np.array_equal(faces[0], faces[1])


def test_inspect_draws_any_sound(run, examples: Path, tmp_path: Path) -> None:
    result = run("inspect", examples / MALE, "--json")
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    assert facts["kind"] == "speech"
    assert Image.open(tmp_path / "male.inspect.png").width >= 600
    soundfile.write(tmp_path / "noise.wav", 0.1 * np.random.default_rng(0).standard_normal(50_000), 16_000)
    result = run("inspect", "noise.wav", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["kind"] == "noise"


def test_provenance_reads_back(run, examples: Path) -> None:
    run("infer", examples / MALE, "--out", "face.png")
    result = run("provenance", "face.png")
    assert "trainedAlgorithmicMedia" in result.stdout
    assert "not the speaker" in result.stdout
    facts = json.loads(run("provenance", "face.png", "--json").stdout)
    assert facts["metadata"]["pack"] == "tiny 1"
    assert facts["layers"] == ["metadata", "c2pa"]  # the tiny pack makes noise, in which no watermark is legible


def test_no_provenance_is_an_error_that_says_it_proves_nothing(run, tmp_path: Path) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "plain.png")
    result = run("provenance", "plain.png")
    assert result.exit_code == 51
    assert "error: plain.png: No trace of s2f-edge; that proves nothing" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "names", "format"),
    [
        (["--out", "face.jpg"], ["face.jpg"], "JPEG"),
        (["--out", "face.JPEG", "--overwrite"], ["face.JPEG"], "JPEG"),
        (["--out", "face.webp", "--samples", "2"], ["face.01.webp", "face.02.webp"], "WEBP"),
        (["--format", "jpeg"], ["male.face.jpg"], "JPEG"),
        (["--format", "webp", "--samples", "2", "--out", "faces"], ["male.01.face.webp", "male.02.face.webp"], "WEBP"),
        (["--format", "jpeg", "--out", "face.jpeg", "--grid", "--samples", "2"], ["face.jpeg"], "JPEG"),
    ],
)
def test_formats_of_pictures(
    run, examples: Path, tmp_path: Path, arguments: list[str], names: list[str], format: str
) -> None:
    result = run("infer", examples / MALE, "--json", *arguments)
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    assert facts["marks"] == ["metadata", "watermark", "c2pa"]
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(path.name for path in written) == names
    for path in written:
        assert Image.open(path).format == format
        assert read_metadata(path)["pack"] == "tiny 1"
    assert run("infer", examples / MALE, "--json", *arguments).exit_code == 0  # our own may be replaced


def test_a_format_and_a_name_that_disagree(run, examples: Path) -> None:
    result = run("infer", examples / MALE, "--format", "png", "--out", "face.webp")
    assert result.exit_code == 2
    assert "face.webp ends with .webp; the format is .png" in result.stderr


def test_pack_show_and_verify(run, tiny_pack: Path) -> None:
    assert "melpower-40" in run("pack", "show", tiny_pack).stdout
    assert json.loads(run("pack", "show", tiny_pack, "--json").stdout)["name"] == "tiny"
    assert run("pack", "verify", tiny_pack).stdout.count("ok ") == 5
    assert json.loads(run("pack", "verify", tiny_pack, "--json").stdout)["ok"] is True


def test_completion_is_offered(run) -> None:
    assert "--install-completion" in run("--help").stdout


def test_an_interrupted_run_leaves_nothing(
    run, examples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", interrupted)
    result = run("infer", examples / MALE, "--out", "face.png")
    assert result.exit_code == 130
    assert result.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


BATCH = 200


def batch(tiny_pack: Path, examples: Path, folder: Path, **streams: Any) -> subprocess.Popen[bytes]:
    """A process that makes faces of so many recordings that a busy machine does not end it before the test looks."""
    (folder / "in").mkdir()
    for i in range(BATCH):
        (folder / f"in/{i:03}.wav").write_bytes((examples / MALE).read_bytes())
    return start("infer", "in", "--pack", tiny_pack, "--out", "faces", cwd=folder, **streams)


@pytest.mark.slow
def test_ctrl_c_ends_a_batch_with_one_line(tiny_pack: Path, examples: Path, tmp_path: Path) -> None:
    running = batch(tiny_pack, examples, tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert running.stdout is not None
    running.stdout.readline()
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate()
    assert running.returncode == 130
    assert errors == b"Interrupted; no partial files are left.\n"
    written = list((tmp_path / "faces").iterdir())
    assert 1 <= len(written) < BATCH
    for path in written:
        assert read_metadata(path)["pack"] == "tiny 1"


@pytest.mark.parametrize("merged", [False, True])
@pytest.mark.slow
def test_a_reader_that_leaves_ends_a_batch_in_silence(
    tiny_pack: Path, examples: Path, tmp_path: Path, merged: bool
) -> None:
    errors = subprocess.STDOUT if merged else subprocess.PIPE
    running = batch(tiny_pack, examples, tmp_path, stdout=subprocess.PIPE, stderr=errors)
    assert running.stdout is not None
    running.stdout.readline()
    running.stdout.close()
    assert running.wait() == 141
    assert merged or running.stderr.read() == b""  # type: ignore[union-attr]


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["pack", "show"], ["infer", "--out", "-"]])
def test_a_closed_pipe_leaves_no_traceback(tiny_pack: Path, examples: Path, arguments: list[str]) -> None:
    more = {"pack": [tiny_pack], "infer": [examples / MALE, "--pack", tiny_pack]}.get(arguments[0], [])
    reader, writer = os.pipe()
    os.close(reader)
    running = start(*arguments, *more, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert running.communicate()[1] == b""
    assert running.returncode == 141


@pytest.mark.slow
def test_lines_do_not_stand_behind_the_progress_bar(tiny_pack: Path, examples: Path, tmp_path: Path) -> None:
    """On a terminal, what is left of each line after its last carriage return."""
    (tmp_path / "bad.wav").write_bytes(b"no sound at all")
    terminal, end = pty.openpty()
    files = (examples / MALE, "bad.wav", examples / FEMALE)
    running = start("infer", *files, "--pack", tiny_pack, cwd=tmp_path, stdout=end, stderr=end)
    os.close(end)
    shown = b""
    with contextlib.suppress(OSError):  # Linux ends the terminal of a process that has ended with EIO
        while part := os.read(terminal, 4096):
            shown += part
    os.close(terminal)
    assert running.wait() == 3
    bars = ("0/3", "1/3", "2/3", "3/3")
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())  # colours, and moves of the cursor
    assert all(bar in plain for bar in bars)
    lines = [line.rstrip("\r").rpartition("\r")[2] for line in plain.split("\n")]
    assert lines[0] == f"{examples / MALE} -> male.face.png"
    assert lines[2].startswith("error: bad.wav")
    assert lines[3] == f"{examples / FEMALE} -> female.face.png"
    assert [line for line in lines if any(bar in line for bar in bars)] == [lines[5]]
    assert "3/3" in lines[5]
    assert lines[6] == "1 of 3 failed."
