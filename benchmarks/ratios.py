"""Has anything got slower? Runs the benchmarks that compare us with a reference, and compares their ratios with those
that were recorded last on a machine of this kind.

    make bench                                  # or: python benchmarks/ratios.py [--only networks clip] [--all]
    python benchmarks/ratios.py --record        # keeps what it measures in benchmarks/ratios.json

A ratio has both its sides from one run, so it says more of the code than of the machine; still, processors differ in
what suits them, so each kind (model, instructions, cores) has a record of its own, and what other work does to a
machine it does not do to both sides alike. So a change counts from 10 % on, and what got worse is measured once more
before it is said. Where no record is of such a machine, nothing is compared. `--all` takes what lasts minutes too.
Ends with 1 if something got worse, and prints, as its last line, JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from s2f_edge.bench.measure import machine_facts

ROOT = Path(__file__).resolve().parent.parent
RECORD = Path(__file__).with_suffix(".json")
TOLERANCE = 0.10


class Ratio(NamedTuple):
    """A figure of a benchmark's JSON, and which way is better."""

    read: Callable[[dict[str, Any]], float]
    higher_is_better: bool


def of_torch(name: str) -> Ratio:
    return Ratio(lambda r: r["median_ms"][f"{name}, ours"] / r["median_ms"][f"{name}, torch"], False)


def of_limit(name: str) -> Ratio:
    return Ratio(lambda r: r["share_of_limit"][f"{name}, ours"], True)


def of_all_windows(minutes: int) -> tuple[list[str], dict[str, Ratio]]:
    title = "an hour" if minutes == 60 else f"{minutes} minutes"
    return ["long.py", "--examples", "--count", "1", "--minutes", str(minutes)], {
        f"{title}: time of hearing all windows": Ratio(
            lambda r: r["recordings"][0]["chosen_s"] / r["recordings"][0]["all_s"], False
        ),
        f"{title}: ms for each of its seconds": Ratio(lambda r: r["recordings"][0]["chosen_s"] / minutes / 0.06, False),
    }


def rate(server: list[dict[str, Any]]) -> float:
    return statistics.median(turn["faces_per_second"] for turn in server)


BENCHMARKS: dict[str, tuple[list[str], dict[str, Ratio]]] = {
    "networks": (
        ["networks.py", "--threads", "1", "--repeats", "20"],
        {
            "voice, a window: share of the limit": of_limit("voice x1"),
            "voice, five windows: share of the limit": of_limit("voice x5"),
            "a face: share of the limit": of_limit("face x1"),
            "voice, a window: time of torch's": of_torch("voice x1"),
            "voice, five windows: time of torch's": of_torch("voice x5"),
            "a face: time of torch's": of_torch("face x1"),
        },
    ),
    "features": (
        ["features.py"],
        {
            "log-mel: faster than frame by frame": Ratio(lambda r: r["faster_than_frame_by_frame"], True),
            "log-mel: faster than python_speech_features": Ratio(
                lambda r: r["faster_than_python_speech_features"], True
            ),
            "quality and gate: time of voice activity's": Ratio(lambda r: r["gate_of_voice_activity"], False),
        },
    ),
    "clip": (
        ["clip.py", "--seconds", "3", "10", "--repeats", "15"],
        {
            "clip of 3 s: time of the torch way's": Ratio(lambda r: r["clips"][0]["share_of_torch"], False),
            "clip of 10 s: time of the torch way's": Ratio(lambda r: r["clips"][1]["share_of_torch"], False),
            "clip of 10 s: memory of the torch way's": Ratio(
                lambda r: r["clips"][1]["ours_mib"] / r["clips"][1]["torch_mib"], False
            ),
        },
    ),
    "cold": (
        ["cold.py", "--repeats", "5"],
        {
            "cold start: time of the torch way's": Ratio(lambda r: r["share_of_torch_time"], False),
            "cold start: memory of the torch way's": Ratio(lambda r: r["share_of_torch_memory"], False),
        },
    ),
    "stream": (
        ["stream.py", "--seconds", "60", "--repeats", "2"],
        {
            "stream at 60 s: a look, of hearing all again": Ratio(
                lambda r: r["rows"][0]["look_ms"] / r["rows"][0]["whole_again_ms"], False
            ),
        },
    ),
    "long": of_all_windows(10),
    "talk": (
        ["talk.py", str(ROOT / "examples" / "male.wav"), "--cores", "1", "--rounds", "2"],
        {
            "speaking: work of its time": Ratio(lambda r: r["1"]["mp4, work"], False),
            "speaking: wait for the first frame, s": Ratio(lambda r: r["1"]["first frame"], False),
        },
    ),
    "hour": of_all_windows(60),
    "serve": (
        ["serve.py", "--minutes", "0", "--turn", "10"],
        {
            "16 clients: faster than a server that loads its models at each request": Ratio(
                lambda r: rate(r["turns"]["s2f-edge serve"]) / rate(r["turns"]["models loaded at each request"]), True
            ),
        },
    ),
}
LASTING = ("hour", "serve")  # minutes each: with --all, or when they are named


def kind() -> str:
    """What machines are alike: processor, its widest instructions, cores."""
    facts = machine_facts()
    name = " ".join(str(facts[each]) for each in ("processor", "architecture", "instructions") if facts[each])
    return f"{name}, {facts['cores']} cores"


def measured(name: str) -> dict[str, float]:
    """The ratios of one benchmark."""
    words, ratios = BENCHMARKS[name]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, str(RECORD.with_name(words[0])), *words[1:]],
        env=environment, capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    if done.returncode != 0:
        raise SystemExit(f"benchmarks/{words[0]} failed: {done.stderr.strip()}")
    result = json.loads(done.stdout.splitlines()[-1])
    return {title: round(float(ratio.read(result)), 4) for title, ratio in ratios.items()}


def worse(title: str, now: float, before: float) -> float:
    """By which share it got worse; negative: better."""
    higher = next(ratios[title].higher_is_better for _, ratios in BENCHMARKS.values() if title in ratios)
    return (before / now if higher else now / before) - 1.0


def verdict(title: str, now: float, before: float | None) -> str:
    """What a line of the table says."""
    if before is None:
        return "new"
    change = worse(title, now, before)
    if change > TOLERANCE:
        return f"WORSE by {change:.0%}"
    return f"better by {-change:.0%}" if change < -TOLERANCE else "as before"


def compared(only: list[str], record: dict[str, float]) -> dict[str, float]:
    """Measures, and what seems worse than it was a second time: the better of the two counts."""
    found: dict[str, float] = {}
    for name in only:
        print(f"benchmarks/{BENCHMARKS[name][0][0]} ...", file=sys.stderr, flush=True)
        ratios = measured(name)
        if any(worse(title, ratios[title], record[title]) > TOLERANCE for title in ratios if title in record):
            print("  something seems worse; once more", file=sys.stderr, flush=True)
            again = measured(name)
            ratios = {title: min((ratios[title], again[title]), key=lambda r: worse(title, r, 1.0)) for title in ratios}
        found |= ratios
    return found


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    some = parser.add_mutually_exclusive_group()
    some.add_argument("--only", nargs="+", choices=list(BENCHMARKS))
    some.add_argument("--all", action="store_true", help=f"also {' and '.join(LASTING)}")
    parser.add_argument("--record", action="store_true", help="keep the ratios, in place of this kind's of before")
    given = parser.parse_args(argv)
    only = given.only or [name for name in BENCHMARKS if given.all or name not in LASTING]
    records = json.loads(RECORD.read_text("utf-8")) if RECORD.exists() else {}
    kept = records.get(kind(), {"ratios": {}})
    record: dict[str, float] = kept["ratios"]
    if not record and not given.record:
        print(f"No record is of a machine like this one ({kind()}), so nothing is compared; --record keeps this one's.")
        print(f"Records are of: {'; '.join(records) or 'none'}.\n")
    found = compared(only, {} if given.record else record)
    verdicts = {title: verdict(title, now, record.get(title)) for title, now in found.items()}
    print(f"| ratio | recorded {kept.get('date', '')} | now | |\n|---|---|---|---|")
    for title, now in found.items():
        print(f"| {title} | {record.get(title, '')} | {now} | {verdicts[title]} |")
    if given.record:
        records[kind()] = {"date": datetime.now(UTC).date().isoformat(), "ratios": record | found}
        RECORD.write_text(json.dumps(records, indent=1) + "\n")
    bad = [title for title, said in verdicts.items() if said.startswith("WORSE")]
    print(json.dumps({"machine": kind(), "ratios": found, "worse": bad}))
    return int(bool(bad) and not given.record)


if __name__ == "__main__":
    sys.exit(main())
