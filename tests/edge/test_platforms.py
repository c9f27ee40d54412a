"""What is different on Windows and macOS, with doubles of what they do."""

from __future__ import annotations

import errno
import io
import json
import multiprocessing
import os
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import pytest

from s2f_edge import files, interrupts, processes, stdio
from s2f_edge.batch import jobs, recordings
from s2f_edge.batch.make import Options, Outcome, row
from s2f_edge.batch.table import Table
from s2f_edge.cli import main as command
from s2f_edge.errors import OutputError, UsageError
from s2f_edge.hearing import audio

REFUSED = PermissionError(errno.EACCES, "Access is denied")


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(sys, "platform", "win32")
    return monkeypatch


# ---------------------------------------------------------------------------- processes


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no sessions.")
def test_a_process_of_another_session() -> None:
    says = [sys.executable, "-c", "import os; print(os.getsid(0))"]
    assert int(subprocess.check_output(says, **interrupts.started_apart())) != os.getsid(0)


def test_a_process_that_hears_no_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 512, raising=False)
    assert interrupts.started_apart() == {"creationflags": 512}


def test_windows_waits_for_no_more_than_its_most_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "cores", lambda: 128)
    assert (processes.at_most(None), processes.at_most(200), processes.at_most(3)) == (128, 200, 3)
    monkeypatch.setattr(sys, "platform", "win32")
    assert (processes.at_most(None), processes.at_most(200), processes.at_most(3)) == (60, 60, 3)


def test_processes_are_never_forked() -> None:
    """macOS crashes forked processes that use its libraries, and Windows has no fork."""
    worker = processes.WorkerProcess(_how_it_began, None)
    assert worker.answer(60.0) == processes.READY
    worker.ask(None)
    assert worker.answer(60.0) == "spawn"
    worker.kill()
    worker.stop()


def _how_it_began(given: None) -> Callable[[None], str]:
    return lambda question: multiprocessing.get_start_method()


# -------------------------------------------------------------------------------- streams


def test_a_reader_that_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows tells of a closed pipe as of an invalid argument."""
    gone, another = OSError(errno.EINVAL, "Invalid argument"), OSError(errno.EINVAL, "Invalid argument", "a.png")
    assert stdio.reader_left(BrokenPipeError())
    assert not stdio.reader_left(gone)
    monkeypatch.setattr(sys, "platform", "win32")
    assert stdio.reader_left(gone)
    assert not stdio.reader_left(another)
    assert not stdio.reader_left(OSError(errno.ENOSPC, "No space left on device"))


class _Closed(io.RawIOBase):
    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        raise OSError(errno.EINVAL, "Invalid argument")


def test_a_picture_for_a_reader_that_left(windows: pytest.MonkeyPatch) -> None:
    windows.setattr(sys, "stdout", SimpleNamespace(buffer=io.BufferedWriter(_Closed()), fileno=lambda: -1))
    with pytest.raises(BrokenPipeError):
        jobs.write_all({"-": b"picture"}, False)
    windows.setattr(sys, "platform", "linux")
    with pytest.raises(OutputError, match="Standard output cannot be written: Invalid argument"):
        jobs.write_all({"-": b"picture"}, False)


@pytest.mark.parametrize(("platform", "status"), [("win32", 141), ("linux", OutputError.exit_status)])
def test_a_command_whose_reader_left(platform: str, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def print_it(**_: object) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(command, "app", print_it)
    monkeypatch.setattr(stdio, "silence", lambda *streams: None)
    monkeypatch.setattr(sys, "platform", platform)
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == status


def test_mp3_where_pipes_always_block(
    sound_file: Callable[[str], bytes], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Python 3.11 on Windows."""
    whole = audio.read(sound_file("mp3")).samples
    monkeypatch.delattr(os, "set_blocking")
    heard = audio.read(sound_file("mp3")).samples
    assert len(heard) == len(whole)
    assert (heard == whole).all()


# ---------------------------------------------------------------------------------- files


def _refuses(monkeypatch: pytest.MonkeyPatch, times: int) -> list[float]:
    """Renaming is refused so many times, as while a virus scanner has the file; how long was waited for it."""
    waits: list[float] = []
    rename, left = Path.replace, [None] * times

    def replace(self: Path, target: Path) -> Path:
        if left:
            left.pop()
            raise REFUSED
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    monkeypatch.setattr(files, "time", SimpleNamespace(sleep=waits.append))
    return waits


def test_a_file_that_is_open_for_a_moment(tmp_path: Path, windows: pytest.MonkeyPatch) -> None:
    waits = _refuses(windows, 3)
    files.write_whole(tmp_path / "a.png", b"new")
    assert (tmp_path / "a.png").read_bytes() == b"new"
    assert len(waits) == 3
    assert sum(waits) < 1


@pytest.mark.parametrize(("platform", "tries"), [("win32", 4), ("linux", 0)])
def test_a_file_that_stays_open(tmp_path: Path, platform: str, tries: int, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.png").write_bytes(b"old")
    monkeypatch.setattr(sys, "platform", platform)
    waits = _refuses(monkeypatch, 99)
    with pytest.raises(OutputError, match=r"a\.png cannot be written: Access is denied"):
        files.write_whole(tmp_path / "a.png", b"new")
    assert len(waits) == tries
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert (tmp_path / "a.png").read_bytes() == b"old"


# ---------------------------------------------------------------------------------- table


class _Msvcrt:
    """Locks of one byte of a file, which one handle can have."""

    LK_NBLCK = 2

    def __init__(self) -> None:
        self.locked: dict[tuple[int, int], int] = {}

    def locking(self, handle: int, mode: int, count: int) -> None:
        assert (mode, count) == (self.LK_NBLCK, 1)
        place = os.fstat(handle).st_ino, os.lseek(handle, 0, os.SEEK_CUR)
        assert place[1] < 1 << 31
        holder = self.locked.get(place)
        if holder is not None and holder != handle and _is_open(holder):
            raise REFUSED
        self.locked[place] = handle


def _is_open(handle: int) -> bool:
    try:
        os.fstat(handle)
    except OSError:
        return False
    return True


def _rows(folder: Path, *failed: bool) -> list[dict[str, Any]]:
    bad = {"error": "no_speech", "message": "There is no speech."}
    outcomes = [Outcome(bad if each else {}, [], 1.0) for each in failed]
    return [
        row(jobs.Job(f"{i}.wav", []), outcome, Options(pack_sha256="0"), str(folder))
        for i, outcome in enumerate(outcomes)
    ]


def test_a_table_is_locked_on_windows(tmp_path: Path, windows: pytest.MonkeyPatch) -> None:
    windows.setitem(sys.modules, "msvcrt", _Msvcrt())  # type: ignore[arg-type]
    path = str(tmp_path / "rows.jsonl")
    with Table(path) as first:
        first.begin(False)
        with Table(path) as second, pytest.raises(OutputError, match="Another run is writing"):
            second.resume(Options(pack_sha256="0").settings(), set(), False)
        for each in _rows(tmp_path, False, True):
            first.add(each)
        first.finish()
    assert [json.loads(line)["file"] for line in Path(path).read_text().splitlines()] == ["0.wav", "1.wav"]
    with Table(path) as third:
        assert len(third.resume(Options(pack_sha256="0").settings(), set(), False)) == 2


def test_a_table_is_closed_before_it_is_replaced(tmp_path: Path, windows: pytest.MonkeyPatch) -> None:
    """Windows replaces no file that is open."""
    windows.setitem(sys.modules, "msvcrt", _Msvcrt())  # type: ignore[arg-type]
    rename = Path.replace
    with Table(str(tmp_path / "rows.jsonl")) as table:
        table.begin(False)
        for each in _rows(tmp_path, True, True):
            table.add(each)
    with Table(str(tmp_path / "rows.jsonl")) as table:

        def replace(self: Path, target: Path) -> Path:
            file: IO[bytes] | None = table._file
            if file is not None and not file.closed:
                raise REFUSED
            return rename(self, target)

        windows.setattr(Path, "replace", replace)
        wanted = str(tmp_path / "1.wav")
        known = table.resume(Options(pack_sha256="0").settings(), {os.path.realpath(wanted)}, again=True)
        assert list(known) == [os.path.realpath(tmp_path / "0.wav")]
        table.add(_rows(tmp_path, False, False)[1])
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert [(each["file"], each["error"]) for each in rows] == [("0.wav", "no_speech"), ("1.wav", None)]


# ---------------------------------------------------------------------------------- names


def test_names_of_devices(windows: pytest.MonkeyPatch) -> None:
    sources = ["aux.wav", "Con.mp3", "com1.take.wav", "nul .wav", "LPT9.wav", "console.wav", "com10.wav", "_aux.wav"]
    found = [Path(name).name for name in jobs.targets(sources, "faces/", ".face.png")]
    assert found == [
        "_aux.face.png", "_Con.face.png", "_com1.take.face.png", "_nul .face.png", "_LPT9.face.png",
        "console.face.png", "com10.face.png", "_aux-2.face.png",
    ]  # fmt: skip
    windows.setattr(sys, "platform", "linux")
    assert [Path(name).name for name in jobs.targets(sources[:2], "faces/", ".face.png")] == [
        "aux.face.png", "Con.face.png",
    ]  # fmt: skip


def test_names_that_are_one_file_on_other_systems() -> None:
    """Case on both, and on macOS the two spellings of an accent."""
    composed = [unicodedata.normalize(form, "a/Réné.wav") for form in ("NFC", "NFD")]
    found = jobs.targets([*composed, "b/RÉNÉ.wav", "b/ren.wav"], "faces/", ".png")
    assert len({unicodedata.normalize("NFC", name).casefold() for name in found}) == 4


def test_a_disk_without_inodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Network disks under Windows: two files are not one because both have the inode 0."""
    for name in ("a.wav", "b.png"):
        (tmp_path / name).write_bytes(b"x")
    status = Path.stat

    def without(self: Path, **how: Any) -> Any:
        found = status(self, **how)
        return SimpleNamespace(st_dev=found.st_dev, st_ino=0, st_mode=found.st_mode)

    monkeypatch.setattr(Path, "stat", without)
    assert jobs.plan([str(tmp_path / "a.wav")], str(tmp_path / "b.png"), ".face.png")
    with pytest.raises(UsageError, match="is one of the recordings"):
        jobs.plan([str(tmp_path / "b.png")], str(tmp_path / "b.png"), ".face.png")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "utf-8"])
def test_lists_as_windows_writes_them(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "list.txt").write_bytes("clips/a.wav\r\nclips/é.wav\r\n\r\n".encode(encoding))
    assert recordings.listed(str(tmp_path / "list.txt")) == ["clips/a.wav", "clips/é.wav"]


def test_a_list_that_is_no_unicode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "list.txt").write_bytes(b"caf\xe9.wav\r\n")
    assert recordings.listed(str(tmp_path / "list.txt")) == [os.fsdecode(b"caf\xe9.wav")]
    monkeypatch.setattr(os, "fsdecode", lambda name: name.decode("utf-8"))  # as on Windows
    with pytest.raises(UsageError, match="save it as UTF-8"):
        recordings.listed(str(tmp_path / "list.txt"))
