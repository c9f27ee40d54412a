"""What a speaking face costs: seconds of work for a second of video, and the wait for its first frame.

    OPENBLAS_NUM_THREADS=1 python benchmarks/talk.py RECORDING [--cores 1 2] [--rounds 5] [--pack PACK] [--size 256]

Each number of cores in a process of its own that may use no more; networks get as many threads. Warm: the networks are
loaded, the face is there.
`wall` is by the clock, `work` the time of all its threads together, which other load on the machine changes less.
The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def measured(recording: Path, rounds: int, pack: Path | None, size: int, cores: int) -> dict[str, float]:
    """The best of some rounds: seconds for a second of video, and to the first frame after the face."""
    from s2f_edge import Speech2Face

    model = Speech2Face(pack, device="cpu", threads=cores)
    model.load()
    best: dict[str, float] = {}
    for _ in range(rounds):
        with model.talk(recording, seed=0, size=size) as talk, tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            frames = iter(talk)
            next(frames)  # the still
            next(frames)
            found = {"first frame": time.perf_counter() - began}
            done = {"frames": lambda: sum(1 for _ in talk), "mp4": lambda: talk.save(Path(folder) / "a.mp4")}
            for name, work in done.items():
                wall, cpu = time.perf_counter(), time.process_time()
                work()
                found[f"{name}, wall"] = (time.perf_counter() - wall) / talk.seconds
                found[f"{name}, work"] = (time.process_time() - cpu) / talk.seconds
        best = {key: min(value, best.get(key, value)) for key, value in found.items()}
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recording", type=Path)
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pack", type=Path)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.here:
        os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[: given.cores[0]]))
        print(json.dumps(measured(given.recording, given.rounds, given.pack, given.size, given.cores[0])))
        return
    found = {}
    for cores in given.cores:
        words = [*sys.argv[1:], "--cores", str(cores), "--here"]
        said = subprocess.run([sys.executable, __file__, *words], check=True, capture_output=True, text=True).stdout
        found[cores] = json.loads(said)
        print(f"{cores} cores: " + ", ".join(f"{name} {value:.3f} s" for name, value in found[cores].items()))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
