"""Would a service gain by giving the networks the windows and faces of several requests at once?

    python benchmarks/together.py [--variant int8] [--device cuda] [--threads 1] [--repeats 10]

What a window of 2 s costs the voice network, and a face the renderer, when so many come in one call: milliseconds for
each, the least of all calls, which take turns, and the processor time of the same, which depends little on what else
the machine does. Says, too, whether all give the same to the bit. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import math
from time import perf_counter, process_time

import numpy as np

from s2f_edge import Speech2Face
from s2f_edge.terms import VARIANTS

WINDOWS, FACES = (1, 2, 3, 6, 8, 16), (1, 2, 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variant", choices=VARIANTS)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=10)
    given = parser.parse_args()
    model = Speech2Face(None, given.device, given.threads, given.variant)
    manifest, random = model.pack.manifest, np.random.default_rng(0)
    files = {"window": (manifest.voice.file, WINDOWS), "face": (manifest.renderer or "", FACES)}
    least: dict[str, list[float]] = {}
    first: dict[str, np.ndarray] = {}
    same = True
    for turn in range(given.repeats + 1):
        for name, (file, counts) in files.items():
            taken = manifest.files[file].inputs
            shapes = {t.name: [max(counts), *(length or 200 for length in t.shape[1:])] for t in taken}
            values = {key: random.uniform(-1, 1, shape).astype(np.float32) for key, shape in shapes.items()}
            first.pop(name, None)
            for count in counts:
                inputs = {key: value[:count] for key, value in values.items()}
                began = perf_counter(), process_time()
                (made,) = model.network(file).run(inputs).values()
                took = [(perf_counter() - began[0]) * 1e3 / count, (process_time() - began[1]) * 1e3 / count]
                same &= np.array_equal(first.setdefault(name, made)[0], made[0])
                if turn:  # the first loads and warms up
                    key = f"{name} x{count}"
                    least[key] = list(map(min, least.get(key, [math.inf] * 2), took))
    print(f"{model.provider}, {manifest.weights}, {given.threads} thread(s): milliseconds for each\n")
    for key, (wall, processor) in least.items():
        print(f"{key:12}{wall:8.2f}{processor:8.2f} of processor time")
    print(f"\nAll give the same to the bit: {'yes' if same else 'no'}.")
    print(json.dumps({"provider": model.provider, "weights": manifest.weights, "ms": least, "same": same}))


if __name__ == "__main__":
    main()
