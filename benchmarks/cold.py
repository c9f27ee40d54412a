"""What does a face cost whose process has yet to start: `s2f-edge infer`, and the same with torch?

    python benchmarks/cold.py [--repeats 7]

Both start in a fresh process, read the same 3 s of speech and write a picture; the command takes the default pack and
each of its variants, the torch way loads its networks from a checkpoint and takes this project's features. Modules are
compiled beforehand, as pip does it. Time is that of the process, with that of its processors, which a busy machine
disturbs less; memory its largest resident size. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import soundfile

from s2f_edge.pack.pack import variants

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "male.wav"
SECONDS = 3

# The last two sign pictures, and need the extra c2pa.
LIBRARIES = """
import numpy, onnxruntime, soundfile, webrtcvad, typer, PIL.Image, PIL.PngImagePlugin
import cryptography.x509, c2pa
"""

MAKE = """
import json, sys, torch
from torch import nn
from s2f_edge.pack.pack import Pack
from s2f_train.models.campplus import CamPlusPlus
from s2f_train.models.appearance_generator import AppearanceGenerator
from s2f_train.models.renderer import Renderer
facts = json.loads((Pack.open().folder / "manifest.json").read_text())
shape, drawn, voice = facts["generator_settings"]["generator_general"], facts["renderer"]["settings"], facts["voice"]
size, pooled = voice["embedding_size"], voice["settings"]["encoder_settings"]["embedding_size"]
networks = [CamPlusPlus(pooled), nn.Linear(pooled, size), AppearanceGenerator(**shape), Renderer(**drawn)]
sizes = [size, pooled, shape, drawn]
torch.save([network.state_dict() for network in networks] + [sizes], sys.argv[1])
"""

TORCH = """
import sys, soundfile, torch
import numpy as np
from PIL import Image
from torch import nn
from s2f_edge.hearing.fbank import fbank
from s2f_train.models.campplus import CamPlusPlus
from s2f_train.models.appearance_generator import AppearanceGenerator
from s2f_train.models.renderer import Renderer
*states, (size, pooled, shape, drawn) = torch.load(sys.argv[1], weights_only=True)
voice, projection = CamPlusPlus(pooled), nn.Linear(pooled, size)
generator, renderer = AppearanceGenerator(**shape), Renderer(**drawn)
for network, state in zip((voice, projection, generator, renderer), states):
    network.load_state_dict(state)
    network.eval()
samples, rate = soundfile.read(sys.argv[2], dtype="float32")
frames = fbank(samples)
windows = np.stack([frames[i : i + 200] for i in range(0, len(frames) - 199, 200)])
windows -= windows.mean(axis=1, keepdims=True)
with torch.inference_mode():
    embedding = nn.functional.normalize(projection(voice(torch.from_numpy(windows))).sum(0, keepdim=True))
    face = renderer(*generator(embedding, torch.zeros(1, shape["latent_size"])))[0]
Image.fromarray((face * 127.5 + 127.5).round().byte().permute(1, 2, 0).numpy()).save(sys.argv[3])
"""


def run(command: list[str], environment: dict[str, str]) -> tuple[float, float, float]:
    """(seconds, seconds of the processors, MiB) of a process that ends well."""
    began = perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment)
    assert child.stderr is not None
    told = child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    seconds = perf_counter() - began
    if os.waitstatus_to_exitcode(status) != 0:
        raise SystemExit(f"{' '.join(command)[:100]}: {told.decode()}")
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        checkpoint, picture, clip = f"{folder}/networks.pt", f"{folder}/face.png", f"{folder}/speech.wav"
        samples, rate = soundfile.read(EXAMPLE, dtype="int16")
        soundfile.write(clip, samples[: SECONDS * rate], rate)
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment["PYTHONPYCACHEPREFIX"] = f"{folder}/compiled"
        subprocess.run([sys.executable, "-c", MAKE, checkpoint], check=True)
        edge = [sys.executable, "-m", "s2f_edge", "infer", clip, "--out", picture]
        commands = {
            "s2f-edge infer": edge,
            **{
                f"s2f-edge infer --variant {name}": [*edge, "--variant", name]
                for name in list(variants())[1:]  # the first is the pack itself
            },
            "the same with torch": [sys.executable, "-c", TORCH, checkpoint, clip, picture],
            "python, numpy, onnxruntime alone": [sys.executable, "-c", "import numpy, onnxruntime"],
            "all libraries of the command alone": [sys.executable, "-c", LIBRARIES],
        }
        found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in commands}
        for turn in range(given.repeats + 1):
            for name, command in commands.items():
                Path(picture).unlink(missing_ok=True)
                result = run(command, environment)
                if turn:  # the first reads files from the disk, and compiles modules
                    found[name].append(result)
    medians = {name: tuple(statistics.median(v) for v in zip(*rows, strict=True)) for name, rows in found.items()}
    for name, (seconds, busy, memory) in medians.items():
        print(f"  {name:34} {seconds:6.2f} s (least {min(found[name])[0]:.2f})  {busy:6.2f} s busy  {memory:6.0f} MiB")
    ours, torchs = medians["s2f-edge infer"], medians["the same with torch"]
    print(
        json.dumps(
            {
                "seconds": {name: round(seconds, 3) for name, (seconds, _, _) in medians.items()},
                "mib": {name: round(memory) for name, (_, _, memory) in medians.items()},
                "share_of_torch_time": round(ours[0] / torchs[0], 2),
                "share_of_torch_busy_time": round(ours[1] / torchs[1], 2),
                "share_of_torch_memory": round(ours[2] / torchs[2], 2),
            }
        )
    )


if __name__ == "__main__":
    main()
