"""Does a face speak fluently in the browser? Frames a second at 256 pixels, and how soon the first one comes.

    python -m export.to_browser browser/
    python benchmarks/browser_talk.py browser/

In Chromium, on this machine, with examples/male.wav. `first`: from the face to its first moved frame, for the first
face, whose workers load while it is made, and for another one. `shown`: frames that were shown while the
recording played, and how many frames late they were together. `alone`: milliseconds of a frame in one worker with
nothing else to do. Ends with a line of JSON.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import statistics
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

REPEATS = 3

SPEAK = """async letters => {
    const device = await import("./device.js");
    const { HereTalk, loadWorkers } = await import("./talk-here.js");
    await device.look();
    const blob = new Blob([Uint8Array.from(atob(letters), letter => letter.charCodeAt(0))]);
    const on = { progress() {}, signal: new AbortController().signal, loaded: loadWorkers };
    const made = await device.facesHere(blob, { gender: "auto", count: 4, others: false }, on);
    const { generator, level_dbfs: level } = made.facts;
    const audio = new Audio(URL.createObjectURL(blob));
    audio.muted = true;
    const said = { first_ms: [] };
    let talk, canvas;
    for (const _ of [1, 2]) {
        canvas = document.createElement("canvas");
        const began = performance.now();
        talk = new HereTalk(canvas, audio, { blob }, { look: made.faces[0].look, generator, level, seed: 0 }, () => {});
        await talk.prepare();
        while (!talk.show.ready.has(1)) await new Promise(resolve => setTimeout(resolve, 1));
        said.first_ms.push(performance.now() - began);
        if (said.first_ms.length === 1) talk.end();
    }
    await audio.play();
    await new Promise(resolve => audio.addEventListener("ended", resolve));
    Object.assign(said, talk.show.counts, { seconds: audio.duration, frames: talk.motion.count });
    talk.end();
    await new Promise(resolve => setTimeout(resolve, 1000));
    const began = performance.now();
    for (let i = 0; i < 50; i++) await talk.show.workers.frame(talk.motion.at(i));
    said.alone_ms = (performance.now() - began) / 50;
    return said;
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="that export.to_browser wrote")
    arguments = parser.parse_args()

    from playwright.sync_api import sync_playwright

    from tests.service.browser import launch, opened
    from tests.service.conftest import start

    sound = base64.b64encode((ROOT / "examples" / "male.wav").read_bytes()).decode()
    server = start("--on-device", str(arguments.folder))
    runs: list[dict[str, Any]] = []
    try:
        with sync_playwright() as playwright:
            chromium = launch(playwright, ROOT / "examples" / "male.wav")
            for _ in range(REPEATS):
                with opened(chromium, server.url) as page:
                    page.set_default_timeout(300_000)
                    runs.append(page.evaluate(SPEAK, sound))
                run = runs[-1]
                print(
                    f"first frame {run['first_ms'][0]:.0f} ms, of another face {run['first_ms'][1]:.0f} ms; "
                    f"{run['shown']} of {run['frames']} frames shown, {run['shown'] / run['seconds']:.1f} a second, "
                    f"{run['late']} late; alone {run['alone_ms']:.1f} ms a frame"
                )
            version = chromium.version
    finally:
        server.stop()
    result = {
        "chromium": version,
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "first_ms": statistics.median(run["first_ms"][0] for run in runs),
        "first_of_another_ms": statistics.median(run["first_ms"][1] for run in runs),
        "frames_a_second": statistics.median(run["shown"] / run["seconds"] for run in runs),
        "alone_ms": statistics.median(run["alone_ms"] for run in runs),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
