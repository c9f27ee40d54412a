"""What does a chunk of a voice cost while it is spoken, after 1, 10, 60 and 600 seconds?

    OPENBLAS_NUM_THREADS=1 python benchmarks/stream.py [--seconds 1 10 60 600] [--threads 1] [--served]

After so many seconds 80 more chunks of 100 ms come, which are four windows of the default voice network; after every
fifth one the voice is looked at, as the service does. Beside it stands what a look costs that hears all the sound
once more. With `--served`, it is instead the work of each face of a real server's stream, from the last sound to
the picture with its marks, while the two examples are spoken to it in real time; and how long after their end the
last face is there. Prints a table and, as its last line, JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import perf_counter, sleep

import numpy as np
import soundfile
from serve import ours
from websockets.sync.client import connect

from s2f_edge import Speech2Face
from s2f_edge.live import LiveVoice

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
RATE = 16_000
CHUNK_S, CHUNKS, LOOK_EVERY = 0.1, 80, 5


def milliseconds(work: Callable[[], object]) -> float:
    began = perf_counter()
    work()
    return (perf_counter() - began) * 1e3


def measured(model: Speech2Face, sound: np.ndarray, seconds: float, repeats: int) -> dict[str, float]:
    at, step = int(seconds * RATE), int(CHUNK_S * RATE)
    pushes, looks, again = [], [], []
    for _ in range(repeats):
        live = LiveVoice(model)
        for i in range(0, at, RATE):
            live.push(sound[i : min(i + RATE, at)])
        taken = []
        for i in range(CHUNKS):
            chunk = sound[at + i * step : at + (i + 1) * step]
            taken.append(milliseconds(partial(live.push, chunk)))
            if (i + 1) % LOOK_EVERY == 0:
                looks.append(milliseconds(live.voice))
        pushes.append(statistics.mean(taken))
        end = live.voice(final=True)
        heard = sound[: at + CHUNKS * step]
        began = perf_counter()
        whole = model.embed(heard, RATE)
        again.append((perf_counter() - began) * 1e3)
    return {
        "heard_s": seconds,
        "chunk_ms": round(statistics.median(pushes), 3),
        "chunk_spread_ms": round(max(pushes) - min(pushes), 3),
        "look_ms": round(statistics.median(looks), 2),
        "look_spread_ms": round(float(np.subtract(*np.percentile(looks, [75, 25]))), 2),
        "whole_again_ms": round(statistics.median(again), 1),
        "difference_at_end": float(np.abs(end.embedding - whole.embedding).max()),
    }


def served(threads: int, picture: str, repeats: int) -> dict[str, float]:
    """What the server says that each of its faces cost, and how long after the end the last one comes."""
    costs, waits = [], []
    with ours(["--concurrency", "1", "--threads", str(threads)]) as (port, _):
        for name in ("male", "female") * repeats:
            pcm = soundfile.read(EXAMPLES / f"{name}.wav", dtype="int16")[0].tobytes()
            step = int(CHUNK_S * RATE) * 2
            with connect(f"ws://127.0.0.1:{port}/v1/stream", max_size=None) as socket:
                socket.send(json.dumps({"format": picture}))
                began = perf_counter()
                for i, at in enumerate(range(0, len(pcm), step)):
                    sleep(max(0.0, began + i * CHUNK_S - perf_counter()))
                    socket.send(pcm[at : at + step])
                socket.send(json.dumps({"type": "end"}))
                ended = perf_counter()
                faces = [message for message in map(json.loads, socket) if message["type"] == "face"]
                waits.append((perf_counter() - ended) * 1e3)  # its last message is the face of the whole
            costs += [face["work_ms"] for face in faces if not face["final"]]
    return {
        "threads": threads,
        "faces": len(costs),
        "p50_ms": round(float(np.percentile(costs, 50)), 1),
        "p95_ms": round(float(np.percentile(costs, 95)), 1),
        "max_ms": round(max(costs), 1),
        "wait_p50_ms": round(float(np.percentile(waits, 50)), 1),
        "wait_max_ms": round(max(waits), 1),
    }


def print_served(threads: int, repeats: int) -> None:
    rows = {picture: served(threads, picture, repeats) for picture in ("webp", "png", "jpeg")}
    print("| picture | faces | p50 | p95 | most | the last, after the end of speech | most |")
    print("|---|---|---|---|---|---|---|")
    for picture, row in rows.items():
        print(
            f"| {picture} | {row['faces']} | {row['p50_ms']} ms | {row['p95_ms']} ms | {row['max_ms']} ms "
            f"| {row['wait_p50_ms']} ms | {row['wait_max_ms']} ms |"
        )
    print(json.dumps({"served": rows}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, nargs="+", default=[1, 10, 60, 600])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--served", action="store_true", help="ask a real server")
    arguments = parser.parse_args()
    if arguments.served:
        print_served(arguments.threads, arguments.repeats)
        return
    read = [soundfile.read(EXAMPLES / f"{name}.wav", dtype="float32")[0] for name in ("male", "female")]
    most = max(arguments.seconds) + CHUNK_S * CHUNKS + 1
    sound = np.resize(np.concatenate(read)[RATE // 2 :], int(most * RATE))  # speech from the first sample on
    model = Speech2Face(device="cpu", threads=arguments.threads)
    model.load()
    measured(model, sound, 1.0, 1)  # warm
    rows = [measured(model, sound, seconds, arguments.repeats) for seconds in arguments.seconds]
    print("| heard | a chunk of 100 ms, mean | a look | hearing all again | largest difference at the end |")
    print("|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row['heard_s']:g} s | {row['chunk_ms']:.2f} ms (± {row['chunk_spread_ms'] / 2:.2f}) "
            f"| {row['look_ms']:.1f} ms (± {row['look_spread_ms'] / 2:.1f}) | {row['whole_again_ms']:,.0f} ms "
            f"| {row['difference_at_end']:.1e} |"
        )
    print(json.dumps({"threads": arguments.threads, "rows": rows}))


if __name__ == "__main__":
    main()
