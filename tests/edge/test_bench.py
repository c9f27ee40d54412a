"""`s2f-edge bench`: what it measures, and what it says to choose."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import soundfile
import test_cli
from test_precision import add_variant
from tiny_packs import make_pack

from s2f_edge import audio, bench_worker
from s2f_edge import bench as bench_module
from s2f_edge.bench import SPEECH, Bench, Choice, Measured, advice, choices
from s2f_edge.errors import DeviceError, TooLittleSpeechError, WorkerError
from s2f_edge.pack import Pack
from s2f_edge.vad import find_speech

run = test_cli.run


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """With a variant of int8."""
    folder = make_pack(tmp_path / "pack")
    add_variant(folder)
    return folder


def test_the_recording_that_comes_along_is_speech() -> None:
    assert len(find_speech(audio.read(SPEECH).samples).samples) > 3 * 16_000
    assert SPEECH.stat().st_size < 50_000


def test_it_measures_and_says_what_to_choose(run: Callable[..., Any], pack: Path) -> None:
    done = run("bench", "--pack", pack, "--device", "cpu", "--seconds-each", "0.1", "--json")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.count("\n") == 1
    facts = json.loads(done.stdout)
    assert facts["pack_sha256"] == Pack.open(pack).sha256
    found = [(m["choice"]["many"], m["choice"]["workers"], m["choice"]["threads"], m["precision"])
             for m in facts["measured"]]  # fmt: skip
    cores = len(os.sched_getaffinity(0))
    assert {(False, 1, 1, "float32"), (False, 1, cores, "float32"), (False, 1, 1, "int8")} <= set(found)
    assert {(True, 1, cores, "float32"), (True, cores, 1, "float32"), (True, cores, 1, "int8")} <= set(found)
    for m in facts["measured"]:
        first, median, third = m["ms"]
        assert 0 < first <= median <= third
        assert m["faces"] >= m["choice"]["workers"]
        busy = m["choice"]["workers"] * m["ms"][0] / 1e3 * m["faces_per_s"]
        assert busy > 0
        assert m["speech_per_s"] == m["faces_per_s"] * (3 if m["choice"]["many"] else 10)
        assert m["load_s"] > 0
        assert 20 * m["choice"]["workers"] < m["peak_mib"] < 2_000 * m["choice"]["workers"]
    assert [each["options"][0] for each in facts["advice"]] == ["--threads", "--threads", "--precision"]


def test_the_table_and_the_options_can_be_used(
    run: Callable[..., Any], pack: Path, examples: Path, tmp_path: Path
) -> None:
    done = run("bench", examples / "female.wav", "--pack", pack, "--device", "cpu", "--seconds-each", "0.1")
    assert done.exit_code == 0, done.stderr
    assert "10 s, one    1 thread" in done.stdout
    assert "int8" in done.stdout
    advised = [line.split("...")[1].split() for line in done.stdout.splitlines() if "s2f-edge infer ..." in line]
    assert len(advised) == 3
    for i, options in enumerate(advised):
        out = tmp_path / f"{i}.png"
        made = run("infer", examples / "female.wav", "--pack", pack, "--out", out, *options, pack=False)
        assert made.exit_code == 0, made.stderr
        assert out.exists()


def measured(
    choice: Choice, ms: float = 100.0, rate: float = 10.0, mib: float | None = 200.0
) -> Measured:  # fmt: skip
    return Measured(choice, choice.precision or "float32", 10, (ms, ms, ms), rate, 0.1, mib)


ONE, TWO = Choice(False, 1, 1), Choice(False, 1, 2)
THREADS, PROCESSES = Choice(True, 1, 2), Choice(True, 2, 1)


@pytest.mark.parametrize(("ms", "chosen"), [(96.0, "1"), (90.0, "2"), (110.0, "1")])
def test_threads_that_save_less_than_a_twentieth_are_not_taken(ms: float, chosen: str) -> None:
    found = advice([measured(ONE), measured(TWO, ms), measured(PROCESSES)])
    assert found[0].options == ["--threads", chosen]
    assert f"{ms if chosen == '2' else 100:.0f} ms" in found[0].text


@pytest.mark.parametrize(("rate", "options"), [(10.4, ["2", "1"]), (11.0, ["1", "2"]), (9.0, ["2", "1"])])
def test_of_processes_as_fast_the_ones_of_less_memory_are_taken(rate: float, options: list[str]) -> None:
    found = advice([measured(ONE), measured(THREADS, mib=200.0), measured(PROCESSES, rate=rate, mib=300.0)])
    assert found[1].options == ["--threads", options[0], "--jobs", options[1]]


def test_cuda_is_advised_where_it_is_faster_and_not_where_it_ties() -> None:
    cuda = Choice(False, 1, 1, "cuda")
    assert advice([measured(ONE), measured(cuda, 20.0), measured(PROCESSES)])[0].options == ["--device", "cuda"]
    assert advice([measured(ONE), measured(cuda, 98.0), measured(PROCESSES)])[0].options == ["--threads", "1"]


def test_a_variant_is_told_beside_the_pack_with_the_same_threads() -> None:
    int8, many = Choice(False, 1, 1, "cpu", "int8"), Choice(True, 2, 1, "cpu", "int8")
    found = advice([measured(ONE), measured(PROCESSES), measured(int8, 50.0), measured(many, rate=15.0)])
    assert [each.options for each in found[:2]] == [["--threads", "1"], ["--threads", "1", "--jobs", "2"]]
    assert "2.00 (1 thread), 1.50 (2 x 1 thread)" in found[2].text
    slow = advice([measured(ONE), measured(PROCESSES), measured(int8, 99.0)])
    assert "no faster" in slow[2].text


def test_choices_double_threads_up_to_all(pack: Path) -> None:
    found = choices(Pack.open(pack), "cpu", 6)
    assert [c.threads for c in found if not c.many and c.precision is None] == [1, 2, 4, 6]
    assert {(c.workers, c.threads) for c in found if c.many} == {(1, 6), (6, 1)}
    assert len(found) == len(set(found))


def test_cuda_is_measured_where_it_is(pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_module, "chosen_providers", lambda device: ["CUDAExecutionProvider"])
    assert {c.device for c in choices(Pack.open(pack), "auto", 2)} == {"cpu", "cuda"}
    assert {c.device for c in choices(Pack.open(pack), "cuda", 2)} == {"cuda"}


def test_cuda_that_does_not_run_is_left_out_and_said(
    run: Callable[..., Any], pack: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_module, "chosen_providers", lambda device: ["CUDAExecutionProvider"])
    done = run("bench", "--pack", pack, "--seconds-each", "0.1", "--json")
    facts = json.loads(done.stdout)
    assert {m["choice"]["device"] for m in facts["measured"]} == {"cpu"}
    assert "CUDA is asked for" in facts["left_out"][0]


def test_cuda_that_is_asked_for_and_not_there(run: Callable[..., Any], pack: Path) -> None:
    assert run("bench", "--pack", pack, "--device", "cuda").exit_code == DeviceError.exit_status


def test_too_little_speech(run: Callable[..., Any], pack: Path, examples: Path, tmp_path: Path) -> None:
    samples, rate = soundfile.read(examples / "male.wav")
    soundfile.write(tmp_path / "short.wav", samples[:rate], rate)
    done = run("bench", tmp_path / "short.wav", "--pack", pack)
    assert done.exit_code == TooLittleSpeechError.exit_status
    assert "Traceback" not in done.stderr
    assert run("bench", tmp_path / "none.wav", "--pack", pack).exit_code == 10
    assert run("bench", "--pack", tmp_path / "none").exit_code == 30


def test_a_process_that_dies_is_an_error(pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Bench(None, pack, "cpu", 0.1)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(WorkerError, match="before its time"):
        found.measure(ONE)


def test_a_process_tells_its_errors(pack: Path) -> None:
    found = Bench(None, pack, "cpu", 0.1)
    (pack / "voice.onnx").write_bytes(b"something else")
    with pytest.raises(bench_module.errors.PackIntegrityError, match=r"voice\.onnx"):
        found.measure(ONE)


def test_peak_memory_is_of_this_process() -> None:
    peak = bench_worker.peak_mib()
    assert peak is not None
    assert 20 < peak < 100_000


def test_ctrl_c_ends_all_processes(pack: Path) -> None:
    command = [sys.executable, "-m", "s2f_edge.cli", "bench", "--pack", str(pack), "--seconds-each", "60"]

    def children() -> list[str]:
        return subprocess.run(
            ["pgrep", "-f", f"bench_worker.*{pack}"], capture_output=True, text=True, check=False
        ).stdout.split()

    running = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    while running.poll() is None and not children():
        time.sleep(0.05)
    time.sleep(1.0)
    running.send_signal(signal.SIGINT)
    out, said = running.communicate(timeout=30)
    assert running.returncode == 130
    assert said == b"Interrupted; nothing half written is left.\n"
    assert out == b""
    assert not children()
