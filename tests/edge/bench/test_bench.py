"""`s2f-edge bench`: what it measures, and what it says to choose."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import soundfile

from s2f_edge import pipeline
from s2f_edge.bench import measure as bench_module
from s2f_edge.bench import worker
from s2f_edge.bench.advice import advice
from s2f_edge.bench.measure import SPEECH, Bench, Choice, Measured, choices, machine, machine_facts
from s2f_edge.cores import cores as usable
from s2f_edge.errors import DeviceError, PackIntegrityError, TooLittleSpeechError, WorkerError
from s2f_edge.hearing import audio
from s2f_edge.hearing.vad import find_speech
from s2f_edge.pack import network
from s2f_edge.pack.pack import Pack, every_variant
from tests.edge.cli import test_cli
from tests.edge.pack import test_pack_variants

ROOT = Path(__file__).resolve().parents[3]
run = test_cli.run
pack = test_pack_variants.pack


@pytest.fixture(autouse=True)
def no_products_of_8_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """On every machine `infer` takes the pack itself here, unless a test says otherwise."""
    monkeypatch.setattr(network, "multiplies_8_bits", lambda: False)


def test_the_recording_that_comes_along_is_speech() -> None:
    assert len(find_speech(audio.read(SPEECH).samples).samples) > 3 * 16_000
    assert SPEECH.stat().st_size < 50_000


def test_the_recording_is_in_a_wheel() -> None:
    """Which has all of the package's folder that git has."""
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert SPEECH.is_relative_to(ROOT / "s2f_edge")
    assert wheel["packages"] == ["s2f_edge"]
    assert not {"include", "exclude", "only-include"} & set(wheel)
    ignored = subprocess.run(["git", "check-ignore", "--quiet", "--no-index", SPEECH], cwd=ROOT, check=False)
    assert ignored.returncode == 1  # 0: it is ignored, 128: git could not say


@pytest.mark.slow
def test_the_default_pack_is_measured_with_all_its_variants() -> None:
    done = test_cli.process("bench", "--device", "cpu", "--seconds-each", "0.1", "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
    facts = json.loads(done.stdout)
    packs = {each.manifest.weights: each for each in every_variant()}
    assert len(packs) > 1
    assert {m["precision"] for m in facts["measured"]} == set(packs)
    for m in facts["measured"]:
        assert m["pack_mb"] * 1e6 == pytest.approx(sum(f.bytes for f in packs[m["precision"]].manifest.files.values()))
        assert 100 * m["choice"]["workers"] < m["peak_mib"] < 1_000 * m["choice"]["workers"]
    assert len(facts["advice"]) == 2 + len(packs) - 1
    assert facts["machine"]["usable_cores"] == usable()
    assert all(facts["machine"][name] for name in ("processor", "architecture", "cores", "python", "numpy"))
    assert facts["machine"]["onnxruntime"].count(".") == 2
    assert facts["left_out"] == []  # CUDA was not wished for


@pytest.mark.slow
def test_it_measures_and_says_what_to_choose(run: Callable[..., Any], pack: Path) -> None:
    done = run("bench", "--pack", pack, "--device", "cpu", "--seconds-each", "0.1", "--json")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.count("\n") == 1
    facts = json.loads(done.stdout)
    assert facts["pack_sha256"] == Pack.open(pack).sha256
    found = [(m["choice"]["many"], m["choice"]["workers"], m["choice"]["threads"], m["precision"])
             for m in facts["measured"]]  # fmt: skip
    cores = usable()
    assert {(False, 1, 1, "float32"), (False, 1, cores, "float32"), (False, 1, 1, "int8")} <= set(found)
    assert {(True, 1, cores, "float32"), (True, cores, 1, "float32"), (True, cores, 1, "int8")} <= set(found)
    for m in facts["measured"]:
        first, median, third = m["ms"]
        assert 0 < first <= median <= third
        assert m["faces"] >= m["choice"]["workers"]
        assert 0 < m["faces_per_s"] <= m["faces"] / 0.1  # as long as was asked for, or longer
        # A quarter of the faces took less than the first quartile, so that their mean is 0.75 of it or more.
        assert m["faces_per_s"] * first / 1e3 < m["choice"]["workers"] / 0.7
        assert m["speech_per_s"] == m["faces_per_s"] * (3 if m["choice"]["many"] else 10)
        assert m["load_s"] > 0
        assert 20 * m["choice"]["workers"] < m["peak_mib"] < 2_000 * m["choice"]["workers"]
    assert [each["options"][:1] for each in facts["advice"][:2]] == [["--threads"], ["--threads"]]
    assert facts["advice"][2]["options"] in ([], ["--variant", "int8"])


@pytest.mark.slow
def test_the_table_and_the_options_can_be_used(
    run: Callable[..., Any], pack: Path, examples: Path, tmp_path: Path
) -> None:
    done = run("bench", examples / "female.wav", "--pack", pack, "--device", "cpu", "--seconds-each", "0.1")
    assert done.exit_code == 0, done.stderr
    assert "10 s, one   1 thread, float32" in done.stdout
    assert "10 s, one   1 thread, int8" in done.stdout
    advised = [line.split("...")[1].split() for line in done.stdout.splitlines() if "s2f-edge infer ..." in line]
    assert len(advised) >= 2
    for i, options in enumerate(advised):
        out = tmp_path / f"{i}.png"
        made = run("infer", examples / "female.wav", "--pack", pack, "--out", out, *options, pack=False)
        assert made.exit_code == 0, made.stderr
        assert out.exists()


@pytest.mark.slow
def test_modules_in_the_folder_are_not_taken(run: Callable[..., Any], pack: Path) -> None:
    Path("numpy.py").write_text("raise ImportError('this is not numpy')")
    done = run("bench", "--pack", pack, "--device", "cpu", "--seconds-each", "0.1")
    assert done.exit_code == 0, done.stderr


@pytest.mark.parametrize("quiet", [False, True])
@pytest.mark.slow
def test_a_terminal_gets_a_bar(pack: Path, quiet: bool) -> None:
    terminal, end = pty.openpty()
    words = ("bench", "--pack", pack, "--device", "cpu", "--seconds-each", "0.1", *["--quiet"] * quiet)
    running = test_cli.start(*words, stdout=subprocess.PIPE, stderr=end)
    os.close(end)
    out, _ = running.communicate(timeout=60)
    shown = b""
    with contextlib.suppress(OSError):  # Linux ends the terminal of a process that has ended with EIO
        while part := os.read(terminal, 4096):
            shown += part
    os.close(terminal)
    assert running.returncode == 0
    assert b"s2f-edge infer ..." in out
    count = len(choices(Pack.open(pack), "cpu", usable()))
    assert (f"{count}/{count}" in shown.decode()) is not quiet
    assert (shown == b"") is quiet


def measured(
    choice: Choice, ms: float = 100.0, rate: float = 10.0, mib: float | None = 200.0, mb: float = 20.0
) -> Measured:
    return Measured(choice, choice.variant or "float32", 10, (ms, ms, ms), rate, 0.1, mib, mb)


ONE, TWO = Choice(False, 1, 1), Choice(False, 1, 2)
THREADS, PROCESSES = Choice(True, 1, 2), Choice(True, 2, 1)


@pytest.mark.parametrize(("ms", "chosen"), [(96.0, "1"), (90.0, "2"), (110.0, "1")])
def test_threads_that_save_less_than_a_twentieth_are_not_taken(ms: float, chosen: str) -> None:
    found = advice([measured(ONE), measured(TWO, ms), measured(PROCESSES)], False)
    assert found[0].options == ["--threads", chosen]
    assert f"{ms if chosen == '2' else 100:.0f} ms" in found[0].text


@pytest.mark.parametrize(("rate", "options"), [(10.4, ["2", "1"]), (11.0, ["1", "2"]), (9.0, ["2", "1"])])
def test_of_processes_as_fast_the_ones_of_less_memory_are_taken(rate: float, options: list[str]) -> None:
    found = advice([measured(ONE), measured(THREADS, mib=200.0), measured(PROCESSES, rate=rate, mib=300.0)], False)
    assert found[1].options == ["--threads", options[0], "--jobs", options[1]]


def test_memory_that_is_not_known_is_not_said() -> None:
    assert "200 MiB" in advice([measured(ONE), measured(PROCESSES)], False)[1].text
    assert "MiB" not in advice([measured(ONE), measured(PROCESSES, mib=None)], False)[1].text


@pytest.mark.parametrize(
    ("ms", "options"), [(20.0, ["--device", "cuda"]), (98.0, ["--device", "cpu", "--threads", "1"])]
)
def test_cuda_is_advised_where_it_is_faster_and_not_where_it_ties(ms: float, options: list[str]) -> None:
    """The processor is named, since infer would take CUDA."""
    found = [measured(ONE), measured(Choice(False, 1, 1, "cuda"), ms), measured(PROCESSES)]
    assert advice(found, True)[0].options == options


def test_where_infer_would_take_cuda_what_holds_for_the_processor_names_it() -> None:
    found = [measured(ONE), measured(PROCESSES), measured(INT8, 50.0)]
    assert [each.options for each in advice(found, True)] == [
        ["--device", "cpu", "--threads", "1"],
        ["--device", "cpu", "--threads", "1", "--jobs", "2"],
        ["--device", "cpu", "--variant", "int8"],
    ]


INT8 = Choice(False, 1, 1, "cpu", "int8")


def test_a_variant_is_told_beside_the_pack_with_the_same_threads() -> None:
    many = Choice(True, 2, 1, "cpu", "int8")
    found = advice(
        [measured(ONE), measured(PROCESSES), measured(INT8, 50.0, mb=5.0), measured(many, rate=15.0, mb=5.0)], False
    )
    assert [each.options for each in found[:2]] == [["--threads", "1"], ["--threads", "1", "--jobs", "2"]]
    assert "2.00 (1 thread), 1.50 (2 x 1 thread)" in found[2].text
    assert "5.0 MB instead of 20.0 (float32)" in found[2].text
    assert found[2].options == ["--variant", "int8"]


@pytest.mark.parametrize("ms", [96.0, 100.0, 150.0])
def test_a_variant_that_is_no_faster_is_not_advised(ms: float) -> None:
    found = advice([measured(ONE), measured(PROCESSES), measured(INT8, ms)], False)
    assert "no faster" in found[2].text
    assert found[2].options == []


def test_where_infer_takes_int8_the_pack_itself_is_told_beside_it() -> None:
    usual = [replace(each, variant="int8") for each in (ONE, TWO, PROCESSES)]
    itself = [measured(ONE, 200.0), measured(PROCESSES, rate=5.0)]
    found = advice([measured(choice) for choice in usual] + itself, False)
    assert [each.options for each in found[:2]] == [["--threads", "1"], ["--threads", "1", "--jobs", "2"]]
    assert "100 ms" in found[0].text
    assert found[2].text.startswith("float32, ")
    assert "no faster on this machine: 0.50 (1 thread), 0.50 (2 x 1 thread)" in found[2].text
    faster = advice([measured(choice) for choice in usual] + [measured(ONE, 50.0), measured(PROCESSES)], False)
    assert faster[2].options == ["--variant", "float32"]
    on_gpu = advice([*map(measured, usual), *itself, measured(Choice(False, 1, 1, "cuda"), 20.0)], True)
    assert on_gpu[0].options == ["--device", "cuda"]


@pytest.mark.parametrize("usual", ["int8", None])
def test_what_infer_takes_is_measured_first(pack: Path, monkeypatch: pytest.MonkeyPatch, usual: str | None) -> None:
    monkeypatch.setattr(network, "multiplies_8_bits", lambda: usual is not None)
    found = choices(Pack.open(pack), "cpu", 4)
    assert [c.threads for c in found if not c.many and c.variant == usual] == [1, 2, 4]
    assert {(c.many, c.threads) for c in found if c.variant != usual} == {(False, 1), (False, 4), (True, 1)}
    assert [c.variant for c in found] == sorted((c.variant for c in found), key=lambda each: each != usual)
    assert {c.variant for c in found} == {"int8", None}


def test_choices_double_threads_up_to_all(pack: Path) -> None:
    found = choices(Pack.open(pack), "cpu", 6)
    assert [c.threads for c in found if not c.many and c.variant is None] == [1, 2, 4, 6]
    assert {(c.workers, c.threads) for c in found if c.many} == {(1, 6), (6, 1)}
    assert len(found) == len(set(found))
    alone = choices(Pack.open(pack), "cpu", 1)
    assert {(c.many, c.workers, c.threads) for c in alone} == {(False, 1, 1), (True, 1, 1)}
    assert len(alone) == len(set(alone))


def test_cuda_is_measured_where_it_is(pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_module, "chosen_providers", lambda device: ["CUDAExecutionProvider"])
    assert {c.device for c in choices(Pack.open(pack), "auto", 2)} == {"cpu", "cuda"}
    assert {c.device for c in choices(Pack.open(pack), "cuda", 2)} == {"cuda"}


@pytest.mark.slow
def test_cuda_that_does_not_run_is_left_out_and_said(
    run: Callable[..., Any], pack: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_module, "chosen_providers", lambda device: ["CUDAExecutionProvider"])
    done = run("bench", "--pack", pack, "--seconds-each", "0.1", "--json")
    facts = json.loads(done.stdout)
    assert {m["choice"]["device"] for m in facts["measured"]} == {"cpu"}
    assert "CUDA was requested" in facts["left_out"][0]
    assert facts["advice"][0]["options"][:2] == ["--device", "cpu"]


@pytest.mark.slow
def test_cuda_that_is_not_there_is_said(run: Callable[..., Any], pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_module, "chosen_providers", lambda device: ["CPUExecutionProvider"])
    done = run("bench", "--pack", pack, "--seconds-each", "0.1")
    assert done.stdout.endswith("Not measured: CUDA, which this onnxruntime does not have.\n")
    assert "--device" not in done.stdout


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
    told = json.loads(run("bench", tmp_path / "none.wav", "--pack", pack, "--json").stdout)
    assert (told["error"], told["exit_status"]) == ("unreadable-audio", 10)


def test_a_process_that_dies_is_an_error(pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Bench(None, pack, "cpu", 0.1)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(WorkerError, match="before its time"):
        found.measure(ONE)


def test_one_of_several_that_dies_says_why(pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others wait to be told to begin; nobody waits for them."""
    started: list[list[str]] = []

    class FirstFails(bench_module._MeasuredProcess):
        def __init__(self, words: list[str], limits: dict[str, str]) -> None:
            started.append(words)
            super().__init__(words if len(started) > 1 else [words[0], "no number", words[2]], limits)

    found = Bench(None, pack, "cpu", 0.1)
    monkeypatch.setattr(bench_module, "_MeasuredProcess", FirstFails)
    with pytest.raises(WorkerError, match="could not convert string to float: 'no number'"):
        found.measure(PROCESSES)
    assert len(started) == 2


def test_a_process_tells_its_errors(pack: Path) -> None:
    found = Bench(None, pack, "cpu", 0.1)
    (pack / "voice.onnx").write_bytes(b"something else")
    with pytest.raises(PackIntegrityError, match=r"voice\.onnx"):
        found.measure(ONE)


@pytest.mark.slow
def test_loading_is_of_all_networks(
    pack: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An object that is made loads one of them."""

    class Slow(pipeline.Speech2Face):
        def __init__(self, *arguments: Any, **named: Any) -> None:
            time.sleep(0.3)
            super().__init__(*arguments, **named)

        def load(self) -> None:
            time.sleep(0.3)
            super().load()

    monkeypatch.setattr(pipeline, "Speech2Face", Slow)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    worker.main(str(SPEECH), 0.1, {"pack": str(pack), "device": "cpu", "threads": 1})
    assert json.loads(capsys.readouterr().out)["load_s"] > 0.6


def test_a_system_that_does_not_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows: neither /proc nor resource."""
    with monkeypatch.context() as patched:
        patched.setattr(Path, "exists", lambda self: False)
        patched.setitem(sys.modules, "resource", None)
        assert worker.peak_mib() is None
        assert machine_facts()["instructions"] == ""
        assert machine().endswith(f"onnxruntime {machine_facts()['onnxruntime']}")
    ready = {"load_s": 0.1, "precision": "float32", "pack_mb": 20.0}
    done = {"ms": [1.0], "s": 0.1, "peak_mib": None}
    assert bench_module._combined(ONE, [ready], [done]).peak_mib is None


def test_peak_memory_is_of_this_process() -> None:
    peak = worker.peak_mib()
    assert peak is not None
    assert 20 < peak < 100_000


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.slow
def test_ctrl_c_ends_all_processes(pack: Path, count: int) -> None:
    """While they measure: before that they would end by themselves, with their parent."""
    code = (
        "import s2f_edge.bench.measure as b\n"
        f"b.choices = lambda *_: [b.Choice({count > 1}, {count}, 1)]\n"
        "begin = b._MeasuredProcess.begin\n"
        "b._MeasuredProcess.begin = lambda self: (begin(self), print('begun', flush=True))\n"
        "from s2f_edge.cli.main import main; main()"
    )

    def children() -> list[str]:
        return subprocess.run(
            ["pgrep", "-f", f"bench.worker.*{pack}"], capture_output=True, text=True, check=False
        ).stdout.split()

    running = subprocess.Popen(
        [sys.executable, "-c", code, "bench", "--pack", str(pack), "--seconds-each", "60"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    assert running.stdout is not None
    assert [running.stdout.readline() for _ in range(count)] == [b"begun\n"] * count
    time.sleep(0.5)
    assert len(children()) == count
    running.send_signal(signal.SIGINT)
    out, said = running.communicate(timeout=30)
    assert running.returncode == 130
    assert said == b"Interrupted; no partial files are left.\n"
    assert out == b""
    assert not children()
