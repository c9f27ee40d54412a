"""How near to the machine's limit do the networks run, and what does torch take for the same?

    python benchmarks/networks.py [--threads 1] [--repeats 40]

voice is the voice network, face the generator and the renderer, one after the other; int8 is that variant of ours. The
limit is the best rate of a product of two matrices in the same run. All are called in turn, so that a busy moment meets
each; a figure is the median after a warm-up, with the least beside it. The last line is JSON.
torch runs modules of the pack's shapes, with other weights: that changes nothing of the time.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable

import numpy as np
import torch
from in_turn import in_turn
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torch_way import networks

from s2f_edge import Speech2Face
from s2f_edge.pack.network import onnxruntime
from s2f_edge.pack.pack import Pack

SIDE = 768  # of the matrices whose product gives the limit


def product(threads: int) -> Callable[[], object]:
    """A product of two matrices, as onnxruntime does it."""
    sides, random = [SIDE, SIDE], np.random.default_rng(1)
    a, b = (random.random(sides, np.float32) for _ in range(2))
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["a", "b"], ["c"])],
        "product",
        [helper.make_tensor_value_info("a", TensorProto.FLOAT, sides)],
        [helper.make_tensor_value_info("c", TensorProto.FLOAT, sides)],
        [numpy_helper.from_array(b, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime().SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime().InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"a": a})


def operations(module: nn.Module, x: torch.Tensor) -> float:
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        module(x)
    return float(counter.get_total_flops())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=40)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    pack = Pack.open()
    voice, face = networks()
    modules = {"voice": voice, "face": face}
    size, random = pack.manifest.voice.embedding_size, np.random.default_rng(2)
    models = {
        "ours": Speech2Face(device="cpu", threads=given.threads, variant=None),
        "int8": Speech2Face(device="cpu", threads=given.threads, variant="int8"),
    }
    heard = {way: model.network(pack.manifest.voice.file) for way, model in models.items()}
    ours: dict[str, Callable[[str, np.ndarray], object]] = {
        "voice": lambda way, x: heard[way].run({"features": x}),
        "face": lambda way, x: models[way].generate(x, "general"),
    }
    calls: dict[str, Callable[[], object]] = {"limit": product(given.threads)}
    flops = {"limit": 2.0 * SIDE**3}
    for kind, call in ours.items():
        one = (200, 80) if kind == "voice" else (size,)
        module = modules[kind]
        for batch in (1, 5):
            x = random.normal(size=(batch, *one)).astype(np.float32)
            tensor = torch.from_numpy(x)
            key = f"{kind} x{batch}"
            flops[key] = operations(module, tensor)
            calls |= {f"{key}, {way}": lambda call=call, way=way, x=x: call(way, x) for way in models}
            calls[f"{key}, torch"] = lambda module=module, tensor=tensor: module(tensor)
    with torch.inference_mode():
        times = in_turn(calls, given.repeats, warm_up=3, prime=True)
        found = {name: (statistics.median(each), min(each)) for name, each in times.items()}
    limit = flops["limit"] / found["limit"][1] / 1e6
    print(f"{given.threads} thread(s); limit {limit:.0f} GFLOP/s (product of matrices of {SIDE}x{SIDE}, best of all)\n")
    print(f"  {'':34}{'median':>9}{'least':>9}   GFLOP/s at the least, share of the limit")
    shares = {}
    for name, (median, least) in found.items():
        if name != "limit":
            rate = flops[name.split(",")[0]] / least / 1e6
            shares[name] = round(rate / limit, 3)
            print(f"  {name:34}{median:9.2f}{least:9.2f}   {rate:8.1f}  {rate / limit:6.0%}")
    print(
        json.dumps(
            {
                "threads": given.threads,
                "limit_gflops": round(limit, 1),
                "median_ms": {name: round(median, 2) for name, (median, _) in found.items()},
                "least_ms": {name: round(least, 2) for name, (_, least) in found.items()},
                "share_of_limit": shares,
            }
        )
    )


if __name__ == "__main__":
    main()
