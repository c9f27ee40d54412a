"""What do the marks of a picture survive, and what do they cost?

    OPENBLAS_NUM_THREADS=1 python benchmarks/marks.py [--repeats 20]

Prints how many of 8 faces of 256 pixels, a third of them in each format, still have each layer after
what is often done to pictures; then milliseconds (median) and bytes. Needs the extra c2pa.
"""

from __future__ import annotations

import argparse
import io
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from time import perf_counter

import numpy as np
from PIL import Image

from s2f_edge import Speech2Face
from s2f_edge.marks import provenance, watermark
from s2f_edge.marks.credentials import Credentials, default
from s2f_edge.picture import MEDIA_TYPES, _file, resized
from s2f_train.data.pictures import encoded

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
LAYERS = ("metadata", "c2pa", "watermark")


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def pixels_only(image: Image.Image) -> Image.Image:
    """As a screenshot has it, or a program that keeps nothing else."""
    return Image.fromarray(np.asarray(image.convert("RGB")))


def keeping_xmp(data: bytes) -> bytes:
    """As a photo program saves an edited picture."""
    image = opened(data)
    xmp = image.info.get("xmp") or image.info["XML:com.adobe.xmp"].encode()
    brighter = pixels_only(image).point(lambda value: min(255, round(value * 1.1)))
    return encoded(brighter, "JPEG", quality=90, xmp=xmp)


DONE: dict[str, Callable[[bytes], bytes]] = {
    "nothing: the file is copied": lambda data: data,
    "brightened, saved with its XMP": keeping_xmp,
    "screenshot, or all text removed": lambda data: encoded(pixels_only(opened(data)), "PNG"),
    "JPEG of quality 75, as messengers send it": lambda data: encoded(pixels_only(opened(data)), "JPEG", quality=75),
    "JPEG of quality 30": lambda data: encoded(pixels_only(opened(data)), "JPEG", quality=30),
    "scaled to 192 pixels": lambda data: encoded(pixels_only(opened(data)).resize((192, 192)), "PNG"),
    "scaled to 64 pixels": lambda data: encoded(pixels_only(opened(data)).resize((64, 64)), "PNG"),
    "mirrored": lambda data: encoded(pixels_only(opened(data)).transpose(Image.Transpose.FLIP_LEFT_RIGHT), "PNG"),
    "turned by 5 degrees": lambda data: encoded(pixels_only(opened(data)).rotate(5, Image.Resampling.BICUBIC), "PNG"),
}


def survival() -> None:
    model = Speech2Face()
    made = [model.infer(EXAMPLES / f"{name}.wav", samples=4, seed=1) for name in ("male", "female")]
    forms = list(MEDIA_TYPES)
    pictures = [
        result.picture(256, i, forms[(4 * k + i) % 3])
        for k, result in enumerate(made)
        for i in range(len(result.faces))
    ]
    print(f"| {'done to the picture':42} | {' | '.join(LAYERS)} |")
    for name, change in DONE.items():
        layers = [provenance.read(change(data)).layers for data in pictures]
        counts = [f"{sum(layer in each for each in layers)} of {len(layers)}" for layer in LAYERS]
        print(f"| {name:42} | {' | '.join(counts)} |")


def milliseconds(work: Callable[[], object], repeats: int) -> float:
    taken = []
    for _ in range(repeats + 1):
        began = perf_counter()
        work()
        taken.append(perf_counter() - began)
    return 1e3 * statistics.median(taken[1:])


def costs(repeats: int) -> None:
    result = Speech2Face().infer(EXAMPLES / "male.wav")
    origin, signer = result.provenance, default() or Credentials.make()
    payload = watermark.make_payload(origin.generator, origin.pack_sha256)
    for size in (64, 256, 512, 1024):
        plain = resized(result.face, size)
        mark = partial(watermark.mark, plain, payload)
        marked = mark() if size >= watermark.MIN_SIZE else plain
        marking = milliseconds(mark, repeats) if size >= watermark.MIN_SIZE else 0.0
        for form, media_type in MEDIA_TYPES.items():
            write = partial(_file, marked, origin, form)
            unmarked, unsigned = _file(plain, origin, form), write()
            sign = partial(signer.sign, unsigned, media_type, asdict(origin))
            read = partial(provenance.read, signed := sign())
            print(
                f"{size:5} {form:5} {len(unmarked):7} bytes, watermark +{len(unsigned) - len(unmarked)}, "
                f"c2pa +{len(signed) - len(unsigned)}; writing {milliseconds(write, repeats):.1f} ms, "
                f"watermark {marking:.1f} ms, signing {milliseconds(sign, repeats):.1f} ms; "
                f"reading {milliseconds(read, 3):.0f} ms"
            )


def cold_start(repeats: int) -> None:
    code = (
        "import os, sys\n{before}\n"
        "from s2f_edge.cli.main import app\n"
        "app(['infer', {clip!r}, '--out', '-', '--quiet'], standalone_mode=False)\n"
        "print(sum(os.times()[:2]), file=sys.stderr)"
    )
    for name, before in (("without c2pa", "sys.modules['c2pa'] = None"), ("with c2pa", "")):
        script = code.format(before=before, clip=str(EXAMPLES / "male.wav"))
        seconds = statistics.median(
            float(subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stderr)
            for _ in range(repeats)
        )
        print(f"s2f-edge infer {name}: {1e3 * seconds:.0f} ms of processor time")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=20)
    repeats = parser.parse_args().repeats
    survival()
    costs(repeats)
    cold_start(repeats)


if __name__ == "__main__":
    main()
