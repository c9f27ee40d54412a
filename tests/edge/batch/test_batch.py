"""`s2f-edge infer` over many recordings: workers, the table, and going on where a run was ended."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from s2f_edge import __version__, processes
from s2f_edge.batch import engines
from s2f_edge.batch import jobs as jobs_module
from s2f_edge.batch.jobs import Job
from s2f_edge.batch.make import FATAL, Maker, Options, Outcome, row
from s2f_edge.batch.recordings import recordings
from s2f_edge.batch.table import Table
from s2f_edge.cli import batch
from s2f_edge.errors import ClusterError, OutputError, PackIntegrityError, UsageError
from s2f_edge.marks.provenance import read_metadata
from tests.edge.cli import test_cli
from tests.edge.cli.test_cli import process, start
from tests.tiny_packs import make_pack

run = test_cli.run
TABLE = ("--table", "rows.jsonl")


@pytest.fixture
def clips(examples: Path, tmp_path: Path) -> Path:
    """A folder of seven clips that differ, and one that is no sound."""
    folder = tmp_path / "in"
    folder.mkdir()
    for i, name in enumerate(["male", "female"] * 4):
        samples, rate = soundfile.read(examples / f"{name}.wav")
        soundfile.write(folder / f"{i}.wav", samples[i * 3000 :], rate)
    (folder / "7.wav").write_bytes(b"no sound at all")
    return folder


def many(examples: Path, folder: Path, count: int) -> None:
    """So many clips that a busy machine does not end a run before the test looks."""
    (folder / "in").mkdir()
    for i in range(count):
        os.link(folder / "in/000.wav", folder / f"in/{i:03}.wav") if i else (folder / "in/000.wav").write_bytes(
            (examples / "male.wav").read_bytes()
        )


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# ------------------------------------------------------------------------------ workers


@pytest.mark.slow
def test_workers_make_what_one_process_makes(run, clips: Path, tmp_path: Path) -> None:
    alone = run("infer", clips, "--out", "one", "--json", "--seed", 5, "--samples", 2)
    together = run("infer", clips, "--out", "two", "--json", "--seed", 5, "--samples", 2, "--jobs", 2)
    assert (alone.exit_code, together.exit_code) == (3, 3), together.output
    first, second = (
        sorted(map(json.loads, result.stdout.splitlines()), key=lambda facts: facts["file"])
        for result in (alone, together)
    )
    for one, two in zip(first, second, strict=True):
        for facts in (one, two):
            facts.pop("timings_ms", None)
            facts.pop("pictures", None)  # in folders of their own
        assert list(one) == list(two)
        for name, value in one.items():
            assert two[name] == (pytest.approx(value, rel=1e-3) if isinstance(value, float) else value)
    assert names(tmp_path / "one") == names(tmp_path / "two")
    assert len(names(tmp_path / "one")) == 14
    for name in names(tmp_path / "one"):
        assert np.abs(pixels(tmp_path / "one" / name).astype(int) - pixels(tmp_path / "two" / name)).max() <= 1


def test_when_processes_are_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def workers(count: int = 1000, options: Options = Options(), **given: Any) -> int:  # noqa: B008
        return batch.BatchOptions(**given).workers([Job(f"{i}.wav", [f"{i}.png"]) for i in range(count)], options)

    monkeypatch.setattr(batch, "cores", lambda: 4)
    assert workers() == 4
    assert workers(10) == 0
    assert workers(10, processes=3) == 3
    assert workers(2, processes=3) == 2
    assert workers(processes=1) == 0
    assert workers(10, table="x.jsonl") == 4
    assert workers(1, table="x.jsonl") == 1
    assert workers(options=Options(threads=2)) == 2
    assert workers(options=Options(threads=8), table="x.jsonl") == 1
    assert workers(options=Options(device="cuda")) == 0
    monkeypatch.setattr("s2f_edge.pack.network.has_gpu_build", lambda: True)
    assert workers() == 0
    assert workers(table="x.jsonl") == 1
    assert workers(options=Options(device="cpu")) == 4
    for piped in (Job("-", ["a.png"]), Job("a.wav", ["-"])):
        assert batch.BatchOptions().workers([piped], Options()) == 0
        with pytest.raises(UsageError, match="- works with one recording"):
            batch.BatchOptions(processes=2).workers([piped], Options())


@pytest.mark.parametrize(("asked", "threads"), [(None, 1), (2, 2)])
def test_a_worker_has_one_thread(monkeypatch: pytest.MonkeyPatch, asked: int | None, threads: int) -> None:
    begun: list[tuple[Options, int]] = []
    monkeypatch.setattr(
        processes.WorkerProcess, "__init__", lambda _, __, options, count: begun.append((options, count))
    )
    engines._FaceWorker(Options(threads=asked))
    assert begun == [(Options(threads=threads), threads)], "of the networks, and of numpy"


def counted(source: Path, folder: Path, count: int, pulled: list[Job]) -> Iterator[Job]:
    for i in range(count):
        pulled.append(Job(str(source), [str(folder / f"{i}.png")]))
        yield pulled[-1]


@pytest.mark.slow
def test_few_recordings_are_under_way_and_a_killed_worker_costs_one(
    tiny_pack: Path, examples: Path, tmp_path: Path
) -> None:
    pulled: list[Job] = []
    outcomes = engines.local(
        counted(examples / "male.wav", tmp_path, 40, pulled), Options(str(tiny_pack), device="cpu"), 2
    )
    done: list[tuple[Job, Outcome]] = []
    for each in outcomes:
        done.append(each)
        assert len(pulled) <= len(done) + 2 * engines.AHEAD
        if len(done) == 10:
            os.kill(multiprocessing.active_children()[0].pid or 0, signal.SIGKILL)
    assert not multiprocessing.active_children()
    assert sorted(job.targets[0] for job, _ in done) == sorted(job.targets[0] for job in pulled)
    failed = [outcome.facts for _, outcome in done if "error" in outcome.facts]
    assert len(failed) <= 1  # none, if it was killed between two recordings
    for facts in failed:
        assert facts["message"] == "The process that worked on it was ended by SIGKILL."
        assert facts["error"] == "worker"
    assert len(done) == 40


@pytest.mark.slow
def test_a_recording_that_never_ends_costs_only_itself(
    tiny_pack: Path, examples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "fifo.wav")  # nobody writes into it
    sources = [examples / "male.wav", examples / "male.wav", tmp_path / "fifo.wav", examples / "female.wav"]
    jobs = [Job(str(source), [str(tmp_path / f"{i}.png")]) for i, source in enumerate(sources)]
    outcomes = engines.local(jobs, Options(str(tiny_pack), device="cpu"), 1)
    done = [next(outcomes)]
    with monkeypatch.context() as patch:
        patch.setattr(engines, "STUCK_S", 2.0)
        done += [next(outcomes), next(outcomes)]
    done += outcomes
    assert [job for job, _ in done] == jobs
    assert [outcome.facts.get("message") for _, outcome in done] == [
        None,
        None,
        "The process that worked on it did not answer and was killed.",
        None,
    ]


@pytest.mark.slow
def test_a_broken_pack_is_one_error(run, clips: Path, tiny_pack: Path, tmp_path: Path) -> None:
    pack = tmp_path / "pack"
    pack.mkdir()
    for file in tiny_pack.iterdir():
        (pack / file.name).write_bytes(file.read_bytes())
    (pack / "generator_female.onnx").write_bytes(b"broken")
    result = run("infer", clips, *TABLE, "--pack", pack, pack=False)
    assert result.exit_code == 32
    assert result.stderr.count("\n") == 1
    with pytest.raises(PackIntegrityError, match="Put the same pack on every machine"):
        Maker(Options(str(tiny_pack), "0" * 64))


def test_a_full_disk_ends_the_run(
    run, clips: Path, tiny_pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    maker = Maker(Options(str(tiny_pack), device="cpu"))
    job = Job(str(clips / "0.wav"), [str(tmp_path / "a.png")])

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        outcome = maker.outcome(job)
    assert outcome.fatal
    assert outcome.facts["error"] == "output"
    assert not maker.outcome(Job(str(clips / "7.wav"), ["b.png"])).fatal
    leftover = tmp_path / ".0.face.png-a1b2c3d4"  # of a worker that was killed while it wrote
    leftover.write_bytes(b"half")
    outcomes = iter([(job, maker.outcome(job)), (Job("b", ["b"]), outcome), (Job("c", ["c"]), outcome)])
    monkeypatch.setattr(batch, "_outcomes", lambda *_: (each for each in outcomes))
    result = run("infer", clips, *TABLE)
    assert result.exit_code == 50
    assert "1 of 8 are done. Run the same command with --resume to continue." in result.stderr
    assert not leftover.exists()
    assert "No space left" in result.stderr
    assert len(rows(tmp_path / "rows.jsonl")) == 1
    assert {errno.ENOSPC, errno.EROFS} <= FATAL


# -------------------------------------------------------------------------------- lists


def test_lists_and_patterns(run, clips: Path, tmp_path: Path) -> None:
    (clips / "a[1].wav").write_bytes((clips / "0.wav").read_bytes())
    (clips / "sub").mkdir()
    (clips / "sub/b.wav").write_bytes((clips / "0.wav").read_bytes())
    assert recordings(["in/*.wav"]) == [f"in/{i}.wav" for i in range(8)] + ["in/a[1].wav"]
    assert recordings(["in/**/b.wav", "in/a[1].wav", "no/*.wav"]) == [
        "in/sub/b.wav",
        "in/a[1].wav",
        "no/*.wav",
    ]
    (tmp_path / "list.txt").write_bytes("\ufeffin/0.wav\r\n\nin/sub\n".encode())
    result = run("infer", "in/1.wav", "--list", "list.txt", "--json")
    assert [json.loads(line)["file"] for line in result.stdout.splitlines()] == ["in/1.wav", "in/0.wav", "in/sub/b.wav"]
    result = run("infer", "--list", "-", "--json", stdin=b"in/0.wav\n")
    assert json.loads(result.stdout)["file"] == "in/0.wav"
    (tmp_path / "empty.txt").write_text("\n")
    for wrong in (["--list", "nowhere.txt"], ["--list", "empty.txt"], ["--list", "in/0.wav"], []):
        result = run("infer", *wrong)
        assert result.exit_code == 2, wrong
        assert result.stderr.count("\n") == 1


def test_thousands_of_one_name_are_planned_at_once() -> None:
    began = time.process_time()
    targets = jobs_module.targets([f"{i}/a.wav" for i in range(20_000)] + ["x/a-7.wav"], "faces", ".png")
    assert time.process_time() - began < 2.0  # trying every number for every name took minutes
    assert targets[:2] == ["faces/a.png", "faces/a-2.png"]
    assert len({name.casefold() for name in targets}) == 20_001


# -------------------------------------------------------------------------------- table


@pytest.mark.slow
def test_every_recording_is_a_row(run, clips: Path, tmp_path: Path) -> None:
    result = run("infer", clips, "--out", "faces", *TABLE, "--samples", 2)
    assert result.exit_code == 3, result.output
    assert result.stdout == ""
    assert "8 recordings, 1 failed (unreadable-audio 1). 8 in 0:00:" in result.stderr
    found = {Path(each["file"]).name: each for each in rows(tmp_path / "rows.jsonl")}
    assert sorted(found) == names(clips)
    good, bad = found["0.wav"], found["7.wav"]
    assert list(good) == list(bad)
    assert good["pictures"] == ["faces/0.01.face.png", "faces/0.02.face.png"]
    assert good["picture_bytes"] == [(tmp_path / name).stat().st_size for name in good["pictures"]]
    assert good["speech_seconds"] > 5
    assert good["generator"] in ("male", "general", "female")
    assert good["ms"] > 0
    assert (good["error"], bad["error"], bad["pictures"]) == (None, "unreadable-audio", [])
    assert bad["settings"] == good["settings"]
    result = run("infer", "in/7.wav", "--table", "one.jsonl")
    assert result.exit_code == 10  # one recording has a status of its own
    result = run("infer", clips, "--out", "faces", *TABLE, "--overwrite", "--json", "--quiet")
    assert len(result.stdout.splitlines()) == 8
    assert result.stderr == ""


@pytest.mark.slow
def test_parquet(run, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    odd = os.fsdecode(b"b\xff.wav")
    (clips / "3.wav").rename(clips / odd)
    assert run("infer", "in", "--out", "faces", "--table", "rows.parquet").exit_code == 3
    table = parquet.read_table(tmp_path / "rows.parquet")
    assert table.num_rows == 8
    written = {each["file"]: each for each in rows(tmp_path / "rows.jsonl")}
    for each in table.to_pylist():
        if each["file"] != "in/b\\udcff.wav":
            assert each == written[each["file"]]
    assert "in/b\\udcff.wav" in table["file"].to_pylist()
    (tmp_path / "faces/0.face.png").unlink()
    again = run("infer", "in", "--out", "faces", "--table", "rows.parquet", "--resume")
    assert "7 were done before" in again.stderr
    assert sorted(parquet.read_table(tmp_path / "rows.parquet")["file"].to_pylist()) == sorted(
        table["file"].to_pylist()
    )
    (tmp_path / "rows.jsonl").unlink()
    assert run("infer", clips, "--table", "rows.parquet", "--resume").exit_code == 50
    assert [name for name in names(tmp_path) if name.startswith(".")] == []


def test_parquet_without_pyarrow(run, clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    result = run("infer", clips, "--table", "rows.parquet")
    assert result.exit_code == 40
    assert "pip install 's2f-edge[parquet]'" in result.stderr
    assert names(clips.parent) == ["in"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--resume"], "add --table"),
        ([*TABLE, "--retry-failed"], "needs --resume"),
        (["--table", "rows.csv"], "ends with neither .jsonl nor .parquet"),
        (["--address", "local"], "needs --engine ray"),
        (["--engine", "ray", "--jobs", "2"], "applies to this machine only"),
        (["--jobs", "0"], "--jobs"),
    ],
)
def test_options_that_do_not_go_together(run, clips: Path, arguments: list[str], said: str) -> None:
    result = run("infer", clips, *arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert names(clips.parent) == ["in"]


# -------------------------------------------------------------------------- going on


@pytest.mark.slow
def test_what_is_done_and_whole_stays(run, clips: Path, tmp_path: Path) -> None:
    command = ["infer", clips, "--out", "faces", *TABLE]
    assert run(*command).exit_code == 3
    before = rows(tmp_path / "rows.jsonl")
    assert run(*command).exit_code == 2  # not by mistake
    times = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "faces").iterdir()}
    (tmp_path / "faces/1.face.png").unlink()
    (tmp_path / "faces/2.face.png").write_bytes((tmp_path / "faces/2.face.png").read_bytes()[:-9])
    (tmp_path / "faces/.2.face.png-abcd1234").write_bytes(b"half")  # what a killed run leaves
    (tmp_path / "faces/.2.face.png-notes").write_bytes(b"mine")
    again = run(*command, "--resume")
    assert again.exit_code == 3  # one has failed, though not in this run
    assert "1 failed (in an earlier run 1); 6 were done before. 2 in" in again.stderr
    changed = {p.name for p in (tmp_path / "faces").iterdir() if times.get(p.name) != p.stat().st_mtime_ns}
    assert changed == {"1.face.png", "2.face.png", ".2.face.png-notes"}
    after = rows(tmp_path / "rows.jsonl")
    assert sorted(each["file"] for each in after) == sorted(each["file"] for each in before)
    assert [each for each in before if Path(each["file"]).name not in ("1.wav", "2.wav")] == after[:6]
    (clips / "7.wav").write_bytes((clips / "0.wav").read_bytes())
    assert run(*command, "--resume").exit_code == 3
    done = run(*command, "--resume", "--retry-failed")
    assert done.exit_code == 0, done.output
    assert len(rows(tmp_path / "rows.jsonl")) == 8
    assert run(*command, "--resume").exit_code == 0


@pytest.mark.slow
def test_it_goes_on_from_another_folder_and_with_more_recordings(
    run, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "more").mkdir()
    (clips / "0.wav").rename(tmp_path / "more/1.wav")
    (clips / "2.wav").rename(clips / "1-2.wav")
    assert run("infer", "in", "--out", "faces", *TABLE).exit_code == 3
    before = pixels(tmp_path / "faces/1.face.png")
    monkeypatch.chdir(clips)
    # Now more/1.wav comes first, and would be given the name of in/1.wav.
    result = run("infer", "../more", ".", "--out", "../faces", "--table", "../rows.jsonl", "--resume")
    assert "7 were done before. 1 in" in result.stderr
    assert np.array_equal(pixels(tmp_path / "faces/1.face.png"), before)
    assert rows(tmp_path / "rows.jsonl")[-1]["pictures"] == ["../faces/1-3.face.png"]
    assert len(names(tmp_path / "faces")) == 7


@pytest.mark.slow
def test_other_settings_are_not_mixed(run, clips: Path, tmp_path: Path) -> None:
    assert run("infer", clips, *TABLE).exit_code == 3
    before = names(tmp_path), (tmp_path / "rows.jsonl").read_bytes()
    result = run("infer", clips, *TABLE, "--resume", "--size", 64, "--seed", 3)
    assert result.exit_code == 2
    assert "with other settings: seed was null, is 3; size was 256, is 64." in result.stderr
    pack = make_pack(tmp_path / "other", generators="general")
    result = run("infer", clips, *TABLE, "--resume", "--pack", pack, pack=False)
    assert result.exit_code == 2
    assert "pack_sha256 was" in result.stderr
    assert before == ([name for name in names(tmp_path) if name != "other"], (tmp_path / "rows.jsonl").read_bytes())


@pytest.mark.parametrize("content", ["[1, 2]", "my notes\n", '{"file": "a"}\n', '{"file": "a"}\n{"file": "b"}\n'])
def test_the_file_of_somebody_else_stays(run, clips: Path, tmp_path: Path, content: str) -> None:
    (tmp_path / "rows.jsonl").write_text(content)
    result = run("infer", clips, *TABLE, "--resume")
    assert result.exit_code == 50
    assert "is not a row of s2f-edge" in result.stderr
    assert (tmp_path / "rows.jsonl").read_text() == content


@pytest.mark.parametrize("cut", [2, 40, 300])
@pytest.mark.parametrize("keep", [0, 2])
def test_a_row_that_was_cut_off_is_done_again(tmp_path: Path, cut: int, keep: int) -> None:
    how, path = Options(pack_sha256="a"), tmp_path / "rows.jsonl"
    outcome = Outcome({"error": "usage", "message": "none", "exit_status": 2}, [], 1.0)
    line = json.dumps(row(Job("x.wav", ["x.png"]), outcome, how, str(tmp_path))).encode() + b"\n"
    whole = b"".join(line.replace(b"x.wav", b"%d.wav" % i) for i in range(keep))
    for tail in (line[:-cut], line[: len(line) - cut] + b"\0" * 50, b"\0" * 4096):
        path.write_bytes(whole + tail)
        with Table(str(path)) as table:
            assert len(table.resume(how.settings(), set(), False)) == keep
            assert path.read_bytes() == whole
            table.add(json.loads(line))
        assert path.read_bytes() == whole + line
    path.write_bytes(whole + line[:-cut] + b"\n" + line)
    with Table(str(path)) as table, pytest.raises(OutputError, match=f"Line {keep + 1} of"):
        table.resume(how.settings(), set(), False)


def test_two_runs_do_not_write_one_table(run, clips: Path, tmp_path: Path) -> None:
    with Table(str(tmp_path / "rows.jsonl")) as table:
        table.begin(False)
        for option in ("--resume", "--overwrite"):
            result = run("infer", clips, *TABLE, option)
            assert result.exit_code == 50
            assert "Another run is writing rows.jsonl" in result.stderr


@pytest.mark.slow
def test_a_killed_run_goes_on(tiny_pack: Path, examples: Path, tmp_path: Path) -> None:
    many(examples, tmp_path, 150)
    command = ("infer", "in", "--pack", tiny_pack, "--out", "faces", *TABLE, "--jobs", "2")
    table = tmp_path / "rows.jsonl"
    for more in ((), ("--resume",), ("--resume",)):
        count = len(rows(table)) if table.exists() else 0
        running = start(*command, *more, cwd=tmp_path, stderr=subprocess.DEVNULL, start_new_session=True)
        while running.poll() is None and (table.read_bytes().count(b"\n") if table.exists() else 0) < count + 8:
            time.sleep(0.01)
        os.killpg(running.pid, signal.SIGKILL)  # the workers too, while they write
        running.wait()
    for path in (tmp_path / "faces").glob("*.png"):  # not those that begin with a dot
        Image.open(path).load()
        assert read_metadata(path)["pack"] == "tiny 1"
    before = len(rows(table))
    assert 24 <= before < 150
    done = process(*command, "--resume", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"{before} were done before. {150 - before} in".encode() in done.stderr
    assert sorted(each["file"] for each in rows(table)) == [f"in/{i:03}.wav" for i in range(150)]
    assert names(tmp_path / "faces") == [f"{i:03}.face.png" for i in range(150)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.slow
def test_an_interrupted_run_says_how_to_go_on(
    tiny_pack: Path, examples: Path, tmp_path: Path, number: signal.Signals
) -> None:
    many(examples, tmp_path, 150)
    command = ("infer", "in", "--pack", tiny_pack, "--out", "faces", *TABLE, "--jobs", "2")
    table = tmp_path / "rows.jsonl"
    running = start(*command, cwd=tmp_path, stderr=subprocess.PIPE, start_new_session=True)
    while running.poll() is None and (table.read_bytes().count(b"\n") if table.exists() else 0) < 8:
        time.sleep(0.01)
    os.killpg(running.pid, number)  # as a terminal does
    _, said = running.communicate(timeout=60)
    count = len(rows(table))
    if number == signal.SIGINT:
        assert running.returncode == 130
        text = f"Interrupted; no partial files are left. {count} of 150 are done. Run the same command with --resume "
        assert said.decode() == f"{text}to continue.\n"
    assert b"Traceback" not in said
    deadline = time.monotonic() + 10  # the workers of a parent that was ended leave when they see it
    while any(name.startswith(".") for name in names(tmp_path / "faces")) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [name for name in names(tmp_path / "faces") if name.startswith(".")]
    assert 8 <= count < 150


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system does not tell what a process ignores")
def test_the_first_worker_too_is_deaf_to_ctrl_c_from_its_first_moment(tmp_path: Path) -> None:
    # In a new process: there multiprocessing starts its tracker with the first worker, and takes masks away.
    program = """
import re, signal
from pathlib import Path
from s2f_edge.batch import engines
from s2f_edge.batch.make import Options

if __name__ == "__main__":
    workers = [engines._FaceWorker(Options(pack="nothing")) for _ in range(2)]
    for worker in workers:
        status = Path(f"/proc/{worker._process.pid}/status").read_text()
        print(int(re.search(r"SigBlk:\\s*(\\w+)", status)[1], 16) >> signal.SIGINT - 1 & 1)
        worker.leave()
        worker.stop()
    print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))
"""
    (tmp_path / "program.py").write_text(program)
    done = subprocess.run([sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("1\n1\nFalse\n", "")


# ---------------------------------------------------------------------------------- Ray


def ray_workers() -> list[int]:
    """Process ids of Ray's workers that run a task of ours."""
    parents, found = {}, []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            if (path / "cmdline").read_bytes().startswith(b"ray::_on_node"):
                found.append(int(path.name))
        except OSError:
            continue

    def ours(process: int) -> bool:
        while process in parents and process != os.getpid():
            process = parents[process]
        return process == os.getpid()

    return [process for process in found if ours(process)]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="Workers are found in /proc, which is Linux's.")
@pytest.mark.ray
@pytest.mark.slow
def test_a_ray_worker_is_killed_and_nothing_is_lost_or_done_twice(
    run, examples: Path, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray")
    for i in range(8, 80):
        os.link(clips / f"{i % 7}.wav", clips / f"{i}.wav")
    killed: list[int] = []
    real = engines.on_ray

    def on_ray(*arguments: Any) -> Iterator[tuple[Job, Outcome]]:
        for i, each in enumerate(real(*arguments)):
            yield each
            if i in (20, 40):
                deadline = time.monotonic() + 30
                while not (busy := ray_workers()) and time.monotonic() < deadline:
                    time.sleep(0.01)
                os.kill(busy[0], signal.SIGKILL)
                killed.append(busy[0])

    monkeypatch.setattr(engines, "on_ray", on_ray)
    command = ["infer", clips, "--out", "faces", *TABLE]
    result = run(*command, "--engine", "ray", "--address", "local", "--jobs", 2)
    assert result.exit_code == 3, result.output
    assert len(killed) == 2
    assert "80 recordings, 1 failed (unreadable-audio 1)." in result.stderr
    found = rows(tmp_path / "rows.jsonl")
    assert sorted(each["file"] for each in found) == sorted(map(str, clips.iterdir()))
    assert sorted(name for each in found for name in each["pictures"]) == [
        f"faces/{name}" for name in names(tmp_path / "faces")
    ]
    assert len(names(tmp_path / "faces")) == 79
    for each in found:
        for picture in each["pictures"]:
            assert read_metadata(tmp_path / picture)["pack"] == "tiny 1"
    again = run(*command, "--resume", "--jobs", 1)  # the other engine finds nothing to do
    assert "80 were done before." in again.stderr


def test_machines_that_lack_something_are_named(tiny_pack: Path, examples: Path, tmp_path: Path) -> None:
    how = Options(str(tiny_pack), device="cpu", threads=1)
    job = Job(str(examples / "male.wav"), [str(tmp_path / "a.png")])
    assert "error" not in engines._on_node(job, True, (how, __version__)).facts
    with pytest.raises(ClusterError, match=r"does not see /nowhere/a.wav: recordings and pictures must be on a disk"):
        engines._on_node(Job("/nowhere/a.wav", job.targets), True, (how, __version__))
    with pytest.raises(ClusterError, match="does not see /nowhere"):
        engines._on_node(Job(job.source, ["/nowhere/faces/a.png"]), True, (how, __version__))
    with pytest.raises(ClusterError, match=r"the run began with 0.0"):
        engines._on_node(job, True, (how, "0.0"))
    missing = engines._on_node(Job("/nowhere/a.wav", job.targets), False, (how, __version__))
    assert missing.facts["error"] == "unreadable-audio"


@pytest.mark.ray
def test_without_a_cluster_or_without_ray(run, clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")

    def init(*_: object, **__: object) -> None:
        raise ConnectionError("nobody answers")

    monkeypatch.setattr(ray, "init", init)
    result = run("infer", clips, "--out", "faces", "--engine", "ray")
    assert result.exit_code == 43
    assert "No Ray cluster at 'auto' (nobody answers). Start one with `ray start --head`" in result.stderr
    monkeypatch.setitem(sys.modules, "ray", None)
    result = run("infer", clips, "--out", "faces", "--engine", "ray")
    assert result.exit_code == 40
    assert "pip install 's2f-edge[cluster]'" in result.stderr
