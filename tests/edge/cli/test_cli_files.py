"""The command's names, folders, targets and standard streams, where they are not what is expected."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image, PngImagePlugin

import s2f_edge
from s2f_edge.batch import jobs, make, recordings
from s2f_edge.errors import OutputError
from tests.edge.cli import test_cli
from tests.edge.cli.test_cli import FEMALE, MALE, process

run = test_cli.run
TOO_LONG = "a" * 5000


@pytest.fixture
def here(examples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the command runs in, with both clips."""
    monkeypatch.chdir(tmp_path)
    for name in (MALE, FEMALE):
        (tmp_path / name).write_bytes((examples / name).read_bytes())
    return tmp_path


def shell(line: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """The command by a shell, which can close standard streams; `s2f` stands for it."""
    command = shlex.join([sys.executable, "-c", "from s2f_edge.cli.main import main; main()"])
    path = str(Path(s2f_edge.__file__).resolve().parents[2])
    return subprocess.run(
        ["sh", "-c", line.replace("s2f ", command + " ")],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
    )


# ------------------------------------------------------------------------------- inputs


def test_a_name_that_cannot_be_looked_at_does_not_stop_the_rest(run, here: Path) -> None:
    result = run("infer", TOO_LONG, MALE, "--json", "--out", "faces")
    assert result.exit_code == 3
    bad, good = map(json.loads, result.stdout.splitlines())
    assert bad["error"] == "unreadable-audio"
    assert good["file"] == MALE


def test_folders_that_cannot_be_read_are_reported(run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "in/locked").mkdir(parents=True)
    (here / MALE).rename(here / "in" / MALE)
    real = os.scandir

    def scandir(path: str) -> object:
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr("os.scandir", scandir)
    result = run("infer", "in", "--out", "faces")
    assert result.exit_code == 3
    assert "error: in/locked is a folder that cannot be read" in result.stderr
    assert "faces/male.face.png" in result.stdout
    result = run("infer", "in/locked")
    assert result.exit_code == 10
    assert "cannot be read" in result.stderr


def test_a_read_error_of_one_file_does_not_stop_the_rest(run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = recordings.sound

    def sound(name: str) -> Path | bytes:
        if name == MALE:
            raise OSError(5, "Input/output error")
        return real(name)

    monkeypatch.setattr(make, "sound", sound)
    result = run("infer", MALE, FEMALE)
    assert result.exit_code == 3
    assert "error: male.wav: The recording cannot be read: Input/output error." in result.stderr
    assert (here / "female.face.png").exists()


def test_one_recording_in_several_spellings_is_one(run, here: Path) -> None:
    (here / "sub").mkdir()
    (here / "link.wav").symlink_to(MALE)
    result = run("infer", f"./{MALE}", MALE, f"sub/../{MALE}", "link.wav", here / MALE, "--json")
    assert [json.loads(line)["file"] for line in result.stdout.splitlines()] == [f"./{MALE}"]
    assert recordings.recordings([TOO_LONG, "a\0", TOO_LONG]) == [TOO_LONG, "a\0"]


def test_nothing_hidden_is_found_in_a_folder(here: Path) -> None:
    for name in ("in/a.wav", "in/._a.wav", "in/.cache/b.wav", "in/sub/c.wav", ".named/d.wav"):
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).touch()
    os.mkfifo(here / "in/pipe.wav")
    assert recordings.recordings(["in", ".named"]) == ["in/a.wav", "in/sub/c.wav", ".named/d.wav"]


# ------------------------------------------------------------------------------ targets


def test_a_target_that_cannot_be_looked_at_is_an_output_error(run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = run("infer", MALE, "--out", f"{TOO_LONG}.png")
    assert result.exit_code == 50
    assert "File name too long" in result.stderr

    def stat(path: Path) -> object:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "stat", stat)
    with pytest.raises(OutputError, match=r"locked/a.png cannot be written: Permission denied"):
        jobs.check_free(Path("locked/a.png"))


def test_a_pipe_in_the_way_is_not_read(here: Path) -> None:
    os.mkfifo(here / "a.png")
    with pytest.raises(OutputError, match="exists"):
        jobs.check_free(here / "a.png")


def test_a_slash_makes_a_folder(run, here: Path) -> None:
    assert run("infer", MALE, "--out", "v1.0/").exit_code == 0
    assert (here / "v1.0/male.face.png").exists()
    assert run("infer", FEMALE, "--out", "v1.0").exit_code == 0  # now that it is there
    assert (here / "v1.0/female.face.png").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([MALE, FEMALE, "--out", "face.gif"], "face.gif/ for a folder"),
        ([MALE, FEMALE, "--out", "face.jpg"], "is one file"),
        ([MALE, "--out", "v2.0"], "v2.0/ for a folder"),
        ([MALE, "--out", FEMALE], "is not a folder"),
        ([MALE, "--out", f"{FEMALE}/"], "is a file"),
        ([MALE, FEMALE, "--out", "README"], "is not a folder"),
        (["voice.png", "--out", "voice.png", "--overwrite"], "one of the recordings"),
        (["voice.png", "--out", "link.png", "--overwrite"], "one of the recordings"),
        ([MALE, "voice.01.png", "--out", "faces", "--overwrite", "--samples", "2"], "one of the recordings"),
        ([MALE, "--samples", "3", "--out", "-"], "--grid"),
    ],
)
def test_outs_that_cannot_be_meant(run, here: Path, arguments: list[str], said: str) -> None:
    for name in ("voice.png", "voice.01.png", "README"):
        (here / name).write_bytes((here / MALE).read_bytes())
    (here / "link.png").symlink_to("voice.png")
    (here / "faces").mkdir()
    (here / "faces/male.01.face.png").symlink_to(here / "voice.01.png")
    before = sorted(here.rglob("*"))
    result = run("infer", *arguments, "--pack", "nowhere", pack=False)  # it is refused before a pack is opened
    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert sorted(here.rglob("*")) == before
    assert (here / "voice.png").read_bytes() == (here / MALE).read_bytes()
    result = run("infer", *arguments, "--json", "--pack", "nowhere", pack=False)
    facts = json.loads(result.stderr if arguments[-1] == "-" else result.stdout)
    assert facts["error"] == "usage"
    assert said in facts["message"]


@pytest.mark.slow
def test_what_is_replaced_without_overwrite(run, here: Path) -> None:
    for command, status in (("infer", 0), ("embed", 50), ("inspect", 0)):
        assert run(command, MALE).exit_code == 0
        again = run(command, MALE)
        assert again.exit_code == status
        if status:
            assert "is not marked as a picture of s2f-edge" in again.stderr
        assert run(command, MALE, "--overwrite").exit_code == 0
        text = " ".join(run(command, "--help", pack=False).stdout.split())
        assert "Without it, only pictures that s2f-edge made" in text


# ------------------------------------------------------------------------------ streams


@pytest.mark.parametrize("encoding", ["ascii", "utf-8:strict"])
@pytest.mark.slow
def test_any_name_can_be_printed(tiny_pack: Path, here: Path, encoding: str) -> None:
    names = ["ünï.wav", os.fsdecode(b"b\xff.wav")]
    for name in names:
        (here / MALE).rename(here / name)
        (here / MALE).write_bytes((here / name).read_bytes())
    files = shlex.join([*names, "missing-\udcfe.wav", MALE])
    done = shell(f"s2f infer {files} --pack {tiny_pack} --out faces", here, PYTHONIOENCODING=encoding)
    assert done.returncode == 3, done.stderr
    assert len(list((here / "faces").iterdir())) == 3
    assert b"b\\udcff.wav -> faces/b\\udcff.face.png" in done.stdout
    assert b"error: missing-\\udcfe.wav" in done.stderr


@pytest.mark.parametrize(
    ("line", "status", "said"),
    [
        ("s2f infer - <&-", 2, b"Standard input is closed"),
        ("s2f infer - 0>/dev/null", 10, b"cannot be read"),
        ("s2f infer male.wav --out - >&-", 50, b"Standard output is closed"),
        ("s2f infer male.wav --out - >/dev/full", 50, b"No space left"),
        ("s2f infer male.wav --json >/dev/full", 50, b"No space left"),
        ("s2f infer male.wav >/dev/full", 50, b"No space left"),
        ("s2f --help >/dev/full", 50, b"No space left"),
        ("s2f infer male.wav >&-", 0, b""),
        ("s2f infer male.wav >/dev/full 2>&1", 50, b""),
        ("s2f infer missing.wav 2>&-", 10, b""),
        ("s2f infer --samples x 2>&-", 2, b""),
    ],
)
@pytest.mark.slow
def test_closed_and_full_streams(tiny_pack: Path, here: Path, line: str, status: int, said: bytes) -> None:
    if "infer" in line:
        line = line.replace("infer", f"infer --pack {tiny_pack}")
    done = shell(line, here)
    assert done.returncode == status, done.stderr
    assert done.stdout == b""  # errors are no output, even where there is no standard error
    assert said in done.stderr
    assert done.stderr.count(b"\n") == bool(said)


@pytest.mark.parametrize("name", ["bad.wav", MALE])
@pytest.mark.slow
def test_only_the_picture_goes_to_standard_output(tiny_pack: Path, here: Path, name: str) -> None:
    (here / "bad.wav").write_bytes(b"no sound at all")
    done = process("infer", name, "--pack", tiny_pack, "--out", "-", "--json", cwd=here)
    facts = json.loads(done.stderr)
    assert facts["file"] == name
    if name == MALE:
        assert done.stdout[:4] == b"\x89PNG"
        assert facts["pictures"] == ["-"]
    else:
        assert (done.returncode, done.stdout, facts["error"]) == (10, b"", "unreadable-audio")
    done = process("infer", name, "--pack", here, "--out", "-", "--json", cwd=here)
    assert (done.returncode, done.stdout, json.loads(done.stderr)["error"]) == (30, b"", "pack-not-found")


def test_provenance_cannot_forge_lines(run, here: Path) -> None:
    forged = {"tool": "\x1b[2Jx\nok.png:", "pack": 5, "notice": "ü\u202e", "file": "ok.png", "more": "\x07"}
    info = PngImagePlugin.PngInfo()
    info.add_itxt("s2f-provenance", json.dumps(forged))
    Image.new("RGB", (4, 4)).save(here / "forged.png", pnginfo=info)
    result = run("provenance", "forged.png")
    assert [line for line in result.stdout.splitlines() if not line.startswith("  ")] == [
        "forged.png: No trace of s2f-edge, which proves nothing."
    ]
    assert "    tool: \\x1b[2Jx\\nok.png:" in result.stdout.splitlines()
    assert "    notice: ü\\u202e" in result.stdout.splitlines()
    facts = json.loads(run("provenance", "forged.png", "--json").stdout)
    assert facts["file"] == "forged.png"
    assert facts["metadata"] == {"tool": forged["tool"], "notice": forged["notice"]}


def test_an_interrupted_import_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("raise KeyboardInterrupt")
    done = process("--version", cwd=tmp_path)  # -c looks in the current folder first
    assert done.returncode == 130
    assert done.stderr == b"Interrupted; no partial files are left.\n"
