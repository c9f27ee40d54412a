"""What does a face cost in a browser, and in a phone's runtime, on one thread? And is it the server's?

    python -m export.to_browser browser/
    python benchmarks/browser.py browser/ [--real 20]

Medians of several runs, on this machine's processor. First, how much the detector of speech matters. Chromium: the
first use (download from this machine, compiling, one clip), the first after a reload, and then clips of several
lengths: `ms` until the first picture of 512 pixels, which is the sum of the stages, and `all_ms` until the fourth; in
the page as it is served, with threads, and in one that is not isolated, with one. Runtime: the single file with its
renderer, run by onnxruntime, as ONNX and in ORT format, one face, with the peak of the process's memory. With S2F_DATA
set, also how near the browser's faces are to the server's on real recordings. Ends with a line of JSON. Needs the
groups test and train.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests" / "service"), str(ROOT)]

RATE = 16_000
SECONDS = (3, 5, 10, 60)
REPEATS = 5

RUNTIME = """
import json, re, sys, time
import numpy as np
from s2f_edge.pack.network import onnxruntime
ort = onnxruntime()
options = ort.SessionOptions()
options.intra_op_num_threads, options.log_severity_level = 1, 3
began = time.perf_counter()
session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
loaded = time.perf_counter() - began
feeds = {"generator": np.zeros(1, np.int32), "noise": np.zeros((1, session.get_inputs()[2].shape[1]), np.float32)}
said = {"load": loaded * 1e3}
for path in sys.argv[2:]:
    feeds["waveform"] = np.load(path)
    times = []
    for _ in range(5):
        began = time.perf_counter()
        session.run(None, feeds)
        times.append(time.perf_counter() - began)
    said[path] = float(np.median(times)) * 1e3
said["peak_mb"] = int(re.search("VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1]) / 1024
print(json.dumps(said))
"""

MAKE = """async letters => {
    const device = await import("./device.js");
    await device.look();
    const bytes = Uint8Array.from(atob(letters), letter => letter.charCodeAt(0));
    const began = performance.now();
    const on = { progress() {}, signal: new AbortController().signal };
    const made = await device.facesHere(new Blob([bytes]), { gender: "auto", count: 4, others: false }, on);
    const timings = { ...made.facts.timings_ms };
    const ms = performance.now() - began;
    await made.rest;
    const all_ms = performance.now() - began;
    const reader = new FileReader();
    const url = await new Promise(resolve => {
        reader.onload = () => resolve(reader.result);
        reader.readAsDataURL(made.faces[0].blob);
    });
    return { ms, all_ms, threads: made.facts.threads, timings, png: url.split(",")[1] };
}"""


def wav(samples: Any) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, RATE, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def clips() -> dict[int, Any]:
    """Both examples in a loop, cut to each length."""
    both = np.concatenate([soundfile.read(ROOT / "examples" / f"{n}.wav")[0] for n in ("male", "female")])
    return {seconds: np.resize(both, seconds * RATE).astype(np.float32) for seconds in SECONDS}


def in_runtime() -> dict[str, dict[str, float]]:
    from export.mobile import ort_format
    from export.single_file import single_file
    from s2f_edge.pack.pack import Pack

    found = {}
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        (scratch / "face.onnx").write_bytes(data := single_file(Pack.open()))
        (scratch / "face.ort").write_bytes(ort_format(data)[0])
        for seconds, samples in clips().items():
            np.save(scratch / f"{seconds}.npy", samples)
        waves = [str(scratch / f"{seconds}.npy") for seconds in SECONDS]
        for model in (scratch / "face.onnx", scratch / "face.ort"):
            done = subprocess.run(
                [sys.executable, "-c", RUNTIME, str(model), *waves],
                check=True, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
            )  # fmt: skip
            said = json.loads(done.stdout)
            found[model.name] = {
                "mb": model.stat().st_size / 1e6,
                "load_ms": said["load"],
                **{f"{seconds} s": said[path] for seconds, path in zip(SECONDS, waves, strict=True)},
                "peak_mb": said["peak_mb"],
            }
    return found


def without_detector() -> list[float]:
    """PSNR in dB of the faces of examples/ if nothing took the pauses away."""
    from export.single_file import run, single_file
    from export.verify import open_session
    from s2f_edge import Speech2Face
    from s2f_edge.pack.pack import Pack
    from s2f_edge.terms import GENDERS

    model, session, found = Speech2Face(device="cpu", variant=None), open_session(single_file(Pack.open())), []
    for name in ("male", "female"):
        path = ROOT / "examples" / f"{name}.wav"
        result, samples = model.infer(path), soundfile.read(path, dtype="float32")[0]
        size = model.pack.manifest.noise_size
        used = GENDERS.index(result.generator)
        face = run(session, samples, np.zeros((1, size), np.float32), used)["faces"][0]
        found.append(10 * np.log10(255.0**2 / np.square(face.astype(float) - result.face).mean()))
    return [float(ratio) for ratio in found]


def by_length(make: Callable[[bytes], dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Medians in ms for each length, of the whole and of its stages."""
    found = {}
    for seconds, samples in clips().items():
        made = [make(wav(samples)) for _ in range(REPEATS)]
        rows = [{**{k: m[k] for k in ("threads", "ms", "all_ms")}, **m["timings"]} for m in made]
        found[f"{seconds} s"] = {name: statistics.median(row[name] for row in rows) for name in rows[0]}
    return found


def real(count: int) -> list[bytes]:
    """Recordings of LibriSpeech and AVSpeech, from S2F_DATA."""
    folder = os.environ.get("S2F_DATA")
    found: list[bytes] = []
    for name in ("librispeech", "avspeech") if folder else ():
        with tarfile.open(Path(str(folder)) / "data" / name / f"{name}.tar") as archive:
            members = [member for member in archive if member.name.endswith(".ogg")]
            for member in members[:: len(members) // (count // 2)][: count // 2]:
                file = archive.extractfile(member)
                assert file
                found.append(file.read())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="that export.to_browser wrote")
    parser.add_argument("--real", type=int, default=20, help="recordings of S2F_DATA to compare (default: 20)")
    arguments = parser.parse_args()

    import httpx
    from browser import launch, not_isolated, opened, wait_until
    from conftest import start
    from playwright.sync_api import sync_playwright

    manifest = json.loads((arguments.folder / "manifest.json").read_text())
    sent = {name: file["sent"] / 1e6 for name, file in manifest["files"].items()}
    speaking = sum(sent.pop(manifest["talk"][name]) for name in ("animator", "motion")) if manifest["talk"] else 0.0
    result: dict[str, Any] = {
        "download_mb": sum(sent.values()),
        "download_to_speak_mb": speaking,
        "without_detector_psnr_db": without_detector(),
        "runtime": in_runtime(),
    }
    print("without the detector, PSNR in dB:", [round(ratio, 1) for ratio in result["without_detector_psnr_db"]])
    for name, row in result["runtime"].items():
        print(f"{name:12}", "  ".join(f"{key} {value:.1f}" for key, value in row.items()))
    server = start("--on-device", str(arguments.folder))
    try:
        with sync_playwright() as playwright:
            chromium = launch(playwright, ROOT / "examples" / "male.wav")
            with opened(chromium, server.url, service_workers="allow") as page:
                page.set_default_timeout(120_000)
                page.evaluate("navigator.serviceWorker.ready.then(() => true)")
                wait_until(page, "navigator.serviceWorker.controller !== null")

                def make(sound: bytes) -> dict[str, Any]:
                    made: dict[str, Any] = page.evaluate(MAKE, base64.b64encode(sound).decode())
                    return made

                ten = wav(clips()[10])
                result["browser"] = {"version": chromium.version, "first_ms": make(ten)["ms"]}
                again = []
                for _ in range(3):
                    page.reload()
                    page.wait_for_selector("[data-screen=home]:visible")
                    again.append(make(ten)["ms"])
                result["browser"]["after_reload_ms"] = statistics.median(again)
                result["browser"] |= by_length(make)
                for name, row in result["browser"].items():
                    print(name, {k: round(v) for k, v in row.items()} if isinstance(row, dict) else row)

                ratios = []
                for sound in real(arguments.real):
                    fields = {"samples": 1, "size": 512, "format": "json"}
                    answer = httpx.post(f"{server.url}/v1/face", files={"file": ("x", sound)}, data=fields, timeout=60)
                    if answer.status_code != 200:
                        continue  # not a second of speech
                    theirs = base64.b64decode(answer.json()["pictures"][0]["base64"])
                    pair = [
                        np.asarray(Image.open(io.BytesIO(data)), np.float64)
                        for data in (theirs, base64.b64decode(make(sound)["png"]))
                    ]
                    ratios.append(10 * np.log10(255.0**2 / max(np.square(pair[0] - pair[1]).mean(), 1e-9)))
                if ratios:
                    result["psnr_db"] = {
                        "recordings": len(ratios), "least": min(ratios), "median": statistics.median(ratios)
                    }  # fmt: skip
                    print("PSNR against the server:", {k: round(v, 1) for k, v in result["psnr_db"].items()})
            with opened(chromium, server.url) as page:
                page.set_default_timeout(120_000)
                not_isolated(page)
                make(ten)
                result["one_thread"] = by_length(make)
                for name, row in result["one_thread"].items():
                    print("one thread,", name, {k: round(v) for k, v in row.items()})
    finally:
        server.stop()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
