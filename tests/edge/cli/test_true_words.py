"""What is said of files, folders, arguments and resources that are not what they should be."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from s2f_edge import Speech2Face
from s2f_edge.batch.recordings import BY_MEDIA, SOUNDS, left_out, recordings
from s2f_edge.errors import OutOfResourcesError, PackIntegrityError, UsageError
from s2f_edge.files import leftovers, write_whole
from s2f_edge.hearing import audio
from s2f_edge.pack import network
from tests.edge.cli import test_cli
from tests.edge.cli.test_cli import MALE
from tests.edge.cli.test_cli_files import shell

run = test_cli.run


@pytest.fixture
def folder(examples: Path, tmp_path: Path) -> Path:
    """A folder with a recording, links that lead nowhere, in a circle and to it, and an m4a."""
    inside = tmp_path / "in"
    inside.mkdir()
    (inside / "good.wav").write_bytes((examples / MALE).read_bytes())
    (inside / "dead.wav").symlink_to(inside / "gone.wav")
    (inside / "circle.wav").symlink_to(inside / "circle.wav")
    (inside / "again").symlink_to(inside)
    (inside / "phone.m4a").write_bytes(b"x")
    (inside / "notes.txt").write_bytes(b"x")
    return inside


@pytest.mark.parametrize("suffix", [".3gp", ".caf", ".aif", ".wma", ".spx", ".w64", ".mov", ".mkv", ".ts"])
def test_what_players_play_is_sound(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix.upper()}"
    path.write_bytes(b"x")
    assert recordings([str(tmp_path)]) == [str(path)]


def test_what_is_skipped_is_counted_and_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    skipped: dict[str, str] = {}
    assert recordings([str(folder)], skipped) == [str(folder / name) for name in ("good.wav", "phone.m4a")]
    assert {Path(name).name for name in skipped} == {"dead.wav", "circle.wav", "again"}
    monkeypatch.setitem(sys.modules, "av", None)
    skipped = {}
    assert recordings([str(folder)], skipped) == [str(folder / "good.wav")]
    assert {Path(name).name for name in skipped} == {"dead.wav", "circle.wav", "again", "phone.m4a"}
    told = left_out(skipped)
    assert "2 (a link that leads nowhere)" in told
    assert "1 (needs pip install 's2f-edge[media]')" in told
    (folder / "good.wav").unlink()
    with pytest.raises(UsageError, match="Skipped"):
        recordings([str(folder)])
    assert SOUNDS > BY_MEDIA


@pytest.mark.slow
def test_what_is_skipped_is_in_the_table(run: Any, folder: Path, tmp_path: Path, tiny_pack: Path) -> None:
    (folder / "phone.m4a").unlink()
    line = ["infer", str(folder), "--out", str(tmp_path / "faces"), "--table", str(tmp_path / "t.jsonl"), "--jobs", "1"]
    result = run(*line, "--pack", str(tiny_pack))
    assert result.exit_code == 0, result.stderr
    assert result.stderr.count("Skipped") == 1
    rows = [json.loads(row) for row in (tmp_path / "t.jsonl").read_text().splitlines()]
    assert sorted((Path(row["file"]).name, row["error"]) for row in rows) == [
        ("again", "skipped"), ("circle.wav", "skipped"), ("dead.wav", "skipped"), ("good.wav", None),
    ]  # fmt: skip
    again = run(*line, "--pack", str(tiny_pack), "--resume")
    assert again.exit_code == 0, again.stderr
    assert len((tmp_path / "t.jsonl").read_text().splitlines()) == 4


def test_a_working_folder_that_is_gone(tmp_path: Path, examples: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    result = shell(f"rmdir '{gone}'; s2f infer '{examples / MALE}'; exit $?", gone)
    assert result.returncode == 2
    assert b"working folder is gone" in result.stderr
    assert b"Traceback" not in result.stderr


@pytest.mark.parametrize("there", [True, False])
def test_out_through_a_link_writes_where_it_points(tmp_path: Path, there: bool) -> None:
    (tmp_path / "real").mkdir()
    target, link = tmp_path / "real/face.png", tmp_path / "face.png"
    if there:
        target.write_bytes(b"before")
    link.symlink_to(target)
    write_whole(link, b"after")
    assert link.is_symlink()
    assert target.read_bytes() == b"after"
    left = tmp_path / "real/.face.png-abcdefgh"
    left.write_bytes(b"")
    assert list(leftovers([link])) == [left]


# ---------------------------------------------------------------------------- arguments


def test_numpy_integers_are_integers(tiny_pack: Path, examples: Path) -> None:
    model = Speech2Face(tiny_pack, "cpu", threads=np.int64(1))  # type: ignore[arg-type]
    result = model.infer(examples / MALE, samples=np.int32(2), seed=np.uint64(7))  # type: ignore[arg-type]
    assert json.loads(json.dumps(result.to_dict()))["seed"] == 7
    assert np.array_equal(result.faces, model.infer(examples / MALE, samples=2, seed=7).faces)
    assert result.picture(np.int64(64), np.int8(1))  # type: ignore[arg-type]
    for wrong in (np.float64(2.0), np.bool_(True), 2.5):
        with pytest.raises(UsageError):
            model.infer(examples / MALE, samples=wrong)  # type: ignore[arg-type]


class Tensor:
    def __array__(self) -> Any:
        return np.zeros(3)


@pytest.mark.parametrize("source", [[0.0, 0.1], (0.0,), Tensor()])
def test_lists_and_tensors_are_told_what_to_give(source: Any) -> None:
    with pytest.raises(UsageError, match="give a numpy array"):
        audio.read(source)


def test_a_list_with_a_rate_is_told_the_same() -> None:
    with pytest.raises(UsageError, match="give a numpy array"):
        audio.read([0.0, 0.1], 16_000)  # type: ignore[arg-type]


# ---------------------------------------------------------------------------- resources


class _Session:
    def __init__(self, *_: Any, **__: Any) -> None:
        raise RuntimeError(_Session.text)

    text = ""


@pytest.mark.parametrize(
    "text", ["std::bad_alloc", "Failed to allocate memory for requested buffer of size 9", "can't start new thread"]
)
def test_memory_and_threads_that_run_out_are_no_broken_pack(
    tiny_pack: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr(network.onnxruntime(), "InferenceSession", _Session)
    monkeypatch.setattr(_Session, "text", text)
    with pytest.raises(OutOfResourcesError, match="run out") as caught:
        Speech2Face(tiny_pack, "cpu")
    assert caught.value.exit_status == 45
    monkeypatch.setattr(_Session, "text", "Protobuf parsing failed")
    with pytest.raises(PackIntegrityError):
        Speech2Face(tiny_pack, "cpu")


def test_memory_that_runs_out_is_json_too(
    run: Any, examples: Path, tiny_pack: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(Speech2Face, "infer", full)
    out = str(tmp_path / "a.png")
    result = run("infer", str(examples / MALE), "--pack", str(tiny_pack), "--json", "--out", out)
    assert result.exit_code == 45
    assert json.loads(result.stdout)["error"] == "out-of-resources"
    assert not os.path.exists(out)  # noqa: PTH110


def test_nothing_is_printed_of_a_session_that_cannot_be(
    tiny_pack: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from onnxruntime.capi import onnxruntime_inference_collection as collection

    def full(*_: Any) -> None:
        raise RuntimeError("pthread_create failed, error code: 12 error msg: Cannot allocate memory")

    monkeypatch.setattr(collection.C, "InferenceSession", full)
    with pytest.raises(OutOfResourcesError):
        Speech2Face(tiny_pack, "cpu")
    assert capfd.readouterr() == ("", "")


def test_an_import_for_which_memory_is_too_little(
    run: Any, examples: Path, tiny_pack: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise ImportError("_rust.abi3.so: failed to map segment from shared object")

    monkeypatch.setattr(Speech2Face, "infer", full)
    out = str(tmp_path / "a.png")
    result = run("infer", str(examples / MALE), "--pack", str(tiny_pack), "--json", "--out", out)
    assert result.exit_code == 45
    assert json.loads(result.stdout)["error"] == "out-of-resources"


@pytest.mark.parametrize("command", ["infer", "embed", "inspect", "talk"])
def test_help_says_what_is_read(run: Any, command: str) -> None:
    says = " ".join(run(command, "--help").stdout.split())
    with_soundfile, _, with_media = says.partition("with the extra media also")
    assert all(f"{suffix[1:]}" in with_soundfile.partition("Formats:")[2] for suffix in SOUNDS - BY_MEDIA)
    assert all(f"{suffix[1:]}" in with_media for suffix in BY_MEDIA)
