"""How long does a clip take, from a file to PNG bytes, beside the same way in torch; and what memory?

    OPENBLAS_NUM_THREADS=1 python benchmarks/clip.py [--threads 1] [--seconds 1.2 3 10 60 3600]
    OPENBLAS_NUM_THREADS=1 python benchmarks/clip.py --variant light

Warm: both are loaded, and take turns on the same WAV files, made of the two examples; see torch_way.py for the other
way. Both write a plain picture of 64 pixels; what one of 256 with all marks costs is told apart. A process of its own
for each length tells the largest memory. `--variant` measures ours with a variant of the default pack, against torch
with the networks of the pack itself. Where a clip takes long, it is repeated less. Prints tables and, as its last
line, JSON.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from in_turn import in_turn
from PIL import Image
from torch_way import TorchWay

from s2f_edge import Speech2Face
from s2f_edge.results import FaceResult

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
RATE = 16_000
PATIENCE_S = 20.0  # for all repeats of a clip
OURS = """
import sys
from s2f_edge import Speech2Face
model = Speech2Face(None, "cpu", int(sys.argv[2]), sys.argv[3] or None)
model.infer(sys.argv[1], gender="general").picture(64)
"""
TELL = """
from s2f_edge.bench.worker import peak_mib
print(peak_mib())
"""
TORCHS = """
import sys, torch
sys.path.insert(0, sys.argv[3])
from torch_way import TorchWay
torch.set_num_threads(int(sys.argv[2]))
TorchWay()(sys.argv[1])
"""


def plain(result: FaceResult) -> bytes:
    """A PNG without marks, as the other way writes it."""
    file = io.BytesIO()
    Image.fromarray(result.faces[0]).save(file, "PNG")
    return file.getvalue()


def peak_mib(code: str, *words: str) -> int:
    """The largest resident size of a process, as itself tells it: what its parent could tell includes the parent's."""
    done = subprocess.run(
        [sys.executable, "-c", code + TELL, *words],
        env={**os.environ, "PYTHONPATH": str(EXAMPLES.parent)}, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    return round(float(done.stdout))


def of_clip(model: Speech2Face, other: TorchWay, path: Path, most: int) -> dict[str, Any]:
    """Medians and spreads of both ways, and the stages of ours."""
    stages: list[dict[str, float]] = []

    def ours() -> bytes:
        result = model.infer(path, gender="general")
        stages.append(result.timings_ms)
        return plain(result)

    times = in_turn({"ours": ours, "torch": lambda: other(path)}, most, patience_s=PATIENCE_S)
    row: dict[str, Any] = {"repeats": len(times["ours"])}
    for way, found in times.items():
        low, median, high = np.percentile(found, [25, 50, 75])
        row |= {f"{way}_ms": round(float(median), 1), f"{way}_spread_ms": round(float(high - low), 1)}
    row["share_of_torch"] = round(row["ours_ms"] / row["torch_ms"], 3)
    row["stages_ms"] = {stage: round(statistics.median(s[stage] for s in stages), 2) for stage in stages[-1]}
    return row


def show(rows: list[dict[str, Any]]) -> None:
    print("| clip | ours | torch | ours of torch | ours for each second | memory, ours | memory, torch |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        ways = (f"{row[f'{way}_ms']:,.1f} ms (± {row[f'{way}_spread_ms'] / 2:.1f})" for way in ("ours", "torch"))
        each = f"{row['ours_ms'] / row['seconds']:.1f} ms"
        memory = (f"{row[f'{way}_mib']:,} MiB" if f"{way}_mib" in row else "" for way in ("ours", "torch"))
        print("|", " | ".join([f"{row['seconds']:g} s", *ways, f"{row['share_of_torch']:.2f}", each, *memory]), "|")
    print("\n| clip |", " | ".join(rows[0]["stages_ms"]), "|\n" + "|---" * (len(rows[0]["stages_ms"]) + 1) + "|")
    for row in rows:
        print("|", " | ".join([f"{row['seconds']:g} s", *(f"{ms:,.1f} ms" for ms in row["stages_ms"].values())]), "|")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variant", help="a variant of the default pack, such as light (default: as it is)")
    parser.add_argument("--seconds", type=float, nargs="+", default=[1.2, 3, 10, 60, 3600])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=30)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    read = [soundfile.read(EXAMPLES / f"{name}.wav", dtype="float32")[0] for name in ("male", "female")]
    speech, rows = np.concatenate(read)[RATE // 2 :], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model, other = Speech2Face(None, "cpu", given.threads, given.variant), TorchWay()
        model.load()
        for seconds in given.seconds:
            path = folder / f"{seconds:g}.wav"
            soundfile.write(path, np.resize(speech, int(seconds * RATE)), RATE)
            row = of_clip(model, other, path, given.repeats)
            row["ours_mib"] = peak_mib(OURS, str(path), str(given.threads), given.variant or "")
            row["torch_mib"] = peak_mib(TORCHS, str(path), str(given.threads), str(Path(__file__).parent))
            rows.append({"seconds": seconds, **row})
        result = model.infer(EXAMPLES / "male.wav", gender="general")
        marks = in_turn({"plain": lambda: plain(result), "marks": lambda: result.picture(256)}, given.repeats)
    what = f"{given.variant or 'the pack itself'}; {given.threads} thread(s)"
    print(f"ours: {what}; medians, ± half of the spread between quartiles\n")
    show(rows)
    pictures = {name: round(statistics.median(found), 1) for name, found in marks.items()}
    print(f"\nA plain PNG of 64 pixels takes {pictures['plain']} ms, one of 256 with all marks {pictures['marks']} ms.")
    facts = {"variant": given.variant, "threads": given.threads}
    print(json.dumps({**facts, "clips": rows, "picture_ms": pictures}))


if __name__ == "__main__":
    main()
