"""How many recordings a second does `s2f-edge infer` work through, and in what memory?

    S2F_DATA=... python benchmarks/files.py rates [--clips 80] [--repeats 4]
    S2F_DATA=... python benchmarks/files.py long FOLDER [--clips 10000] --kill-after 5000
    S2F_DATA=... python benchmarks/files.py long FOLDER

`rates`: the same short clips of real speech by a loop in one process with one thread, and by two workers of `s2f-edge
infer --table`; they take turns, and runs during which others used the machine are left out. `long`: a run over many
clips (hard links to those there are), ended with kill -9 after so many rows; the second call goes on with it by
--resume and checks what lies there. The memory of all its processes is read every second. Clips are those of
$S2F_DATA/data/voices of 2 s and more. The last line is JSON.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from PIL import Image

OTHERS = 0.05  # a run in which other processes had more of the machine is left out, if there are others
ROOT = Path(__file__).resolve().parent.parent
LOOP = """
import sys, time
from pathlib import Path
from s2f_edge import Speech2Face
from s2f_edge.errors import S2FError
from s2f_edge.files import write_whole
model = Speech2Face(device="cpu", threads=1)
model.load()
began = time.perf_counter()
for name in Path(sys.argv[1]).read_text().splitlines():
    try:
        picture = model.infer(name).picture(256)
    except S2FError:
        continue
    write_whole(Path(sys.argv[2], Path(name).stem + ".face.png"), picture)
print(time.perf_counter() - began)
"""


def clips(folder: Path, count: int) -> list[Path]:
    """So many short clips of real speech; where there are fewer, they come again under other names."""
    voices = Path(os.environ["S2F_DATA"]) / "data" / "voices"
    with (voices / "clips.csv").open() as file:
        long = {row["clip"] for row in csv.DictReader(file) if float(row["seconds"]) >= 2.0}
    with tarfile.open(voices / "voices.tar") as tar:
        tar.extractall(folder / "all", filter="data")
    found = sorted(path for path in (folder / "all").rglob("*.ogg") if path.stem in long)
    random.Random(0).shuffle(found)
    (folder / "in").mkdir()
    chosen = []
    for i in range(count):
        chosen.append(folder / "in" / f"{found[i % len(found)].stem}-{i // len(found)}.ogg")
        os.link(found[i % len(found)], chosen[-1])
    return chosen


def command(folder: Path, *options: str) -> list[str]:
    """`s2f-edge infer` over all clips."""
    code = "from s2f_edge.cli.main import main; main()"
    out = ["--out", str(folder / "faces"), "--table", str(folder / "rows.jsonl"), "--device", "cpu"]
    return [sys.executable, "-c", code, "infer", str(folder / "in"), *out, *options]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def emptied(folder: Path) -> None:
    shutil.rmtree(folder / "faces", ignore_errors=True)
    (folder / "faces").mkdir()
    (folder / "rows.jsonl").unlink(missing_ok=True)


# ------------------------------------------------------------------------------- rates


def by_loop(folder: Path) -> tuple[float, float]:
    """Seconds of the whole process, and of its loop."""
    emptied(folder)
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", LOOP, str(folder / "list.txt"), str(folder / "faces")],
        env=environment() | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return time.perf_counter() - began, float(done.stdout)


def by_command(folder: Path, count: int, *options: str) -> tuple[float, float]:
    """Seconds of the whole run, and what all recordings take at the rate after the first of them."""
    emptied(folder)
    began = time.perf_counter()
    done = subprocess.run(command(folder, *options), env=environment(), capture_output=True, text=True, check=False)
    taken = time.perf_counter() - began
    rows = (folder / "rows.jsonl").read_text().count("\n")
    rate = re.findall(r", ([\d.]+) a second", done.stderr)  # that of the last line is of the whole run
    if rows != count or not rate:
        raise SystemExit(f"{rows} of {count} rows: {done.stderr}")
    return taken, count / float(rate[-1])


def rates(folder: Path, count: int, repeats: int, seconds: float) -> None:
    (folder / "list.txt").write_text("\n".join(map(str, clips(folder, count))))
    ways: dict[str, Callable[[], tuple[float, float]]] = {
        "a loop, 1 thread": lambda: by_loop(folder),
        "2 workers, 1 thread each": lambda: by_command(folder, count, "--jobs", "2"),
    }
    found: dict[str, list[Taken]] = {name: [] for name in ways}
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        lacking = {name for name in ways if sum(each.others < OTHERS for each in found[name]) < repeats}
        if not lacking:
            break
        for name, way in ways.items():
            if name in lacking:
                found[name].append(timed(way, count))
    failed = sum('"error": null' not in line for line in (folder / "rows.jsonl").read_text().splitlines())
    print(f"{count} clips of 2 s and more, {failed} of them refused; recordings a second once started\n")
    print(
        "| | median | best | worst | runs, left out | start | processor time of each |\n|---|---|---|---|---|---|---|"
    )
    facts = {}
    for name, times in found.items():
        clean = [each for each in times if each.others < OTHERS] or [min(times, key=lambda each: each.others)]
        steady = [count / each.steady_s for each in clean]
        facts[name] = {
            "median": round(statistics.median(steady), 2),
            "best": round(max(steady), 2),
            "worst": round(min(steady), 2),
            "runs": len(clean),
            "left_out": len(times) - len(clean),
            "others": round(max(each.others for each in clean), 3),
            "start_s": round(statistics.median(each.whole_s - each.steady_s for each in clean), 2),
            "processor_ms": round(statistics.median(each.processor_ms for each in clean), 1),
        }
        row = "| {} | {median:.1f} | {best:.1f} | {worst:.1f} | {runs}, {left_out} | {others:.0%} | {start_s:.1f} s |"
        print((row + " {processor_ms:.0f} ms |").format(name, **facts[name]))
    two, one = facts["2 workers, 1 thread each"], facts["a loop, 1 thread"]
    of_both = {kind: round(two[kind] / (2 * one[kind]), 3) for kind in ("median", "best")}
    if max(one["others"], two["others"]) >= OTHERS:
        print("\nNo run was undisturbed; measure again.")
    print(f"\nTwo workers have {of_both['median']:.0%} of twice the loop's rate (best runs: {of_both['best']:.0%}).")
    print(json.dumps({"clips": count, "refused": failed, "rates": facts, "of_both_cores": of_both}))


class Taken(NamedTuple):
    """What a run took; `others` is the share of the machine that other processes had meanwhile."""

    whole_s: float
    steady_s: float
    processor_ms: float
    others: float


def timed(way: Callable[[], tuple[float, float]], count: int) -> Taken:
    before, busy = os.times(), _busy()
    whole, steady = way()
    after = os.times()
    used = sum(after[:4]) - sum(before[:4])
    others = max(0.0, (_busy() - busy - used) / (whole * (os.cpu_count() or 1)))
    return Taken(whole, steady, used / count * 1e3, others)


def _busy() -> float:
    """Seconds that all cores together have worked, or were taken away by the host."""
    ticks = [int(each) for each in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")


# -------------------------------------------------------------------------------- long


class Memory(threading.Thread):
    """Reads the memory of a process and of those that it started, every second: MB, each process's own and its share of
    what they have in common."""

    def __init__(self, process: int) -> None:
        super().__init__(daemon=True)
        self.read: list[float] = []
        self._process = process

    def run(self) -> None:
        while Path(f"/proc/{self._process}").exists():
            kilobytes = sum(map(_kilobytes, _family(self._process)))
            if kilobytes:
                self.read.append(kilobytes / 1024)
            time.sleep(1.0)


def _family(process: int) -> list[int]:
    try:
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:
        children = []
    return [process, *(each for child in children for each in _family(int(child)))]


def _kilobytes(process: int) -> int:
    try:
        told = re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{process}/smaps_rollup").read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(told[1]) if told else 0


def watched(folder: Path, until: int | None, *options: str) -> tuple[float, list[float], str]:
    """Runs the command, killed after so many rows; seconds, memory by second, and what it said at its end."""
    began = time.perf_counter()
    running = subprocess.Popen(command(folder, *options), env=environment(), stderr=subprocess.PIPE, text=True)
    memory = Memory(running.pid)
    memory.start()
    killer = threading.Thread(target=_kill_after, args=(folder / "rows.jsonl", until, running), daemon=True)
    if until:
        killer.start()
    _, said = running.communicate()
    return time.perf_counter() - began, memory.read, said.strip().splitlines()[-1] if said.strip() else ""


def _kill_after(table: Path, rows: int, running: subprocess.Popen[str]) -> None:
    while running.poll() is None:
        if table.exists() and table.read_bytes().count(b"\n") >= rows:
            for process in _family(running.pid):  # the workers too, while they write
                os.kill(process, signal.SIGKILL)
        time.sleep(0.5)


def long(folder: Path, count: int, kill_after: int | None) -> None:
    """Begins a run in `folder`, or goes on with the one that is there; killed after so many rows, or to its end."""
    table, resumed = folder / "rows.jsonl", (folder / "rows.jsonl").exists()
    expected = sorted((folder / "in").iterdir()) if resumed else clips(folder, count)
    before = table.read_bytes().count(b"\n") if resumed else 0
    seconds, memory, said = watched(folder, kill_after, *(["--resume"] if resumed else []))
    rows = table.read_bytes().count(b"\n")
    pictures = [path for path in (folder / "faces").iterdir() if not path.name.startswith(".")]
    for path in pictures:
        Image.open(path).load()  # which fails if it is not whole
    tenth = max(1, len(memory) // 10)
    facts = {
        "rows_before": before,
        "rows": rows,
        "whole_pictures": len(pictures),
        "seconds": round(seconds, 1),
        "a_second": round((rows - before) / seconds, 2),
        "memory_mb": [round(statistics.median(memory[i : i + tenth]), 1) for i in range(0, len(memory), tenth)],
        "said": said,
    }
    if kill_after is None:
        told = [json.loads(line) for line in table.read_text().splitlines()]
        named = sorted(name for row in told for name in row["pictures"])
        facts["each recording is one row"] = sorted(row["file"] for row in told) == sorted(map(str, expected))
        facts["each picture is in one row"] = len(set(named)) == len(named)
        facts["nothing else lies there"] = sorted(map(str, (folder / "faces").iterdir())) == named
    for name, value in facts.items():
        print(f"{name.replace('_', ' ')}: {value}")
    print(json.dumps(facts))
    if any(value is False for value in facts.values()):
        raise SystemExit(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ways = parser.add_subparsers(dest="way", required=True)
    short = ways.add_parser("rates")
    short.add_argument("--clips", type=int, default=80)
    short.add_argument("--repeats", type=int, default=4)
    short.add_argument("--seconds", type=float, default=180.0, help="after which no round begins")
    many = ways.add_parser("long")
    many.add_argument("--clips", type=int, default=10_000)
    many.add_argument("folder", type=Path, help="made by the first run, gone on with by the next")
    many.add_argument("--kill-after", type=int)
    arguments = parser.parse_args()
    if arguments.way == "long":
        arguments.folder.mkdir(parents=True, exist_ok=True)
        (arguments.folder / "faces").mkdir(exist_ok=True)
        long(arguments.folder.resolve(), arguments.clips, arguments.kill_after)
        return
    with tempfile.TemporaryDirectory() as name:
        rates(Path(name), arguments.clips, arguments.repeats, arguments.seconds)


if __name__ == "__main__":
    main()
