"""A process of `s2f-edge bench`: makes faces of one recording until its time is over, and says what that took.

    python -m s2f_edge.bench.worker RECORDING SECONDS '{"pack": null, "variant": null, "device": "cpu", "threads": 1}'

It says a line of JSON when it is ready, begins when it is sent a line, and says another one at its end. It ends, too,
when nobody is there to send the line.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

WARM_UP = 2  # faces before the first that counts


def main(recording: str, seconds: float, options: dict[str, Any]) -> None:
    from s2f_edge.errors import S2FError
    from s2f_edge.pipeline import Speech2Face

    try:
        began = perf_counter()
        model = Speech2Face(**options)
        model.load()
        load_s = perf_counter() - began

        def face() -> float:
            began = perf_counter()
            model.infer(Path(recording).read_bytes()).picture()
            return (perf_counter() - began) * 1e3

        for _ in range(WARM_UP):
            face()
    except S2FError as error:
        print(json.dumps(error.to_dict()), flush=True)
        return
    manifest = model.pack.manifest
    pack_mb = sum(file.bytes for file in manifest.files.values()) / 1e6
    print(json.dumps({"load_s": load_s, "precision": manifest.weights, "pack_mb": pack_mb}), flush=True)
    if not sys.stdin.readline():
        return
    times: list[float] = []
    began = perf_counter()
    while not times or perf_counter() - began < seconds:
        times.append(face())
    print(json.dumps({"ms": times, "s": perf_counter() - began, "peak_mib": peak_mib()}), flush=True)


def peak_mib() -> float | None:
    """The largest resident size of this process; None where the system does not say."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage's would be that of the process before the program began, if that was larger
        line = next((line for line in status.read_text("utf-8").splitlines() if line.startswith("VmHWM:")), None)
        return float(line.split()[1]) / 1024 if line else None
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)  # macOS counts bytes


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), json.loads(sys.argv[3]))
