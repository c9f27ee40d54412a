"""What does a chunk of a voice cost while it is spoken, after 1, 10, 60 and 600 seconds?

    OPENBLAS_NUM_THREADS=1 python benchmarks/stream.py [--seconds 1 10 60 600] [--threads 1] [--page]

After so many seconds 80 more chunks of 100 ms come, which are four windows of the default voice network; after every
fifth one the voice is looked at, as the service does. Beside it stands what a look costs that hears all the sound
once more. With `--page`, it is instead how long after a person ends a recording of 6 s the page of a real server shows
the last face, in Chromium, whose microphone plays an example. Prints a table and, as its last line, JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import perf_counter

import numpy as np
import soundfile
from serve import ours

from s2f_edge import Speech2Face
from s2f_edge.live import LiveVoice

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
RATE = 16_000
SPOKEN_S = 6.0
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


# When the recording was ended, when the last face had come, and when it was shown.
WATCH = """
const Plain = WebSocket;
const times = {};
window.times = times;
window.WebSocket = class extends Plain {
  constructor(...given) {
    super(...given);
    this.addEventListener("message", ({ data }) => {
      const message = JSON.parse(data);
      if (message.final) Object.assign(times, { come: performance.now(), work: message.work_ms });
    });
  }
};
addEventListener("DOMContentLoaded", () => {
  document.querySelector("#shutter").addEventListener("click", () => (times.ended = performance.now()), true);
  document.querySelector("#live-face").addEventListener("load", () => {
    if (times.come) requestAnimationFrame(() => (times.shown = performance.now()));
  });
});
"""


def on_page(repeats: int) -> dict[str, float]:
    """How long after the end of a recording the page has its last face, and shows it."""
    from playwright.sync_api import sync_playwright

    from tests.service.browser import launch, opened, record, wait_until, write_microphone

    times = []
    with ours([]) as (port, _), tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        chromium = launch(playwright, write_microphone(EXAMPLES / "male.wav", Path(folder) / "microphone.wav"))
        for _ in range(1 + repeats):
            with opened(chromium, f"http://127.0.0.1:{port}") as page:
                page.add_init_script(WATCH)
                page.reload()
                page.click("#home-record")
                page.check("#live-on")
                record(page, SPOKEN_S)
                wait_until(page, "Boolean(times.shown)")
                times.append(page.evaluate("times"))
    waits = {name: [each[name] - each["ended"] for each in times[1:]] for name in ("come", "shown")}
    return {
        "repeats": repeats,
        "come_p50_ms": round(float(np.percentile(waits["come"], 50)), 1),
        "shown_p50_ms": round(float(np.percentile(waits["shown"], 50)), 1),
        "shown_max_ms": round(max(waits["shown"]), 1),
        "work_p50_ms": round(statistics.median(each["work"] for each in times[1:]), 1),
    }


def print_page(repeats: int) -> None:
    found = on_page(repeats)
    print("| recordings | last face has come, after the end | is shown | at most | work of the server |")
    print("|---|---|---|---|---|")
    print(
        f"| {found['repeats']} | {found['come_p50_ms']} ms | {found['shown_p50_ms']} ms "
        f"| {found['shown_max_ms']} ms | {found['work_p50_ms']} ms |"
    )
    print(json.dumps({"page": found}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, nargs="+", default=[1, 10, 60, 600])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--page", action="store_true", help="ask the page of a real server, in Chromium")
    arguments = parser.parse_args()
    if arguments.page:
        sys.path.insert(0, str(ROOT))
        print_page(arguments.repeats)
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
