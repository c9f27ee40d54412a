"""How often the watermark of a talking face is found in its mp4, and after a messenger packed that again.

    OPENBLAS_NUM_THREADS=1 python benchmarks/talk_marks.py RECORDING... [--count 200] [--seconds 1.5] [--pack PACK]

For each recording the face of the pack says its beginning, in an mp4 as `s2f-edge talk` writes it. That is
packed again with H.264 Baseline, preset veryfast: enlarged to 640 pixels with CRF 28, and at 256 pixels with CRF 28
and 30. Columns: in how many the mark is found and read right, in the first frame alone, in one from the middle alone,
and as `provenance` looks (the first frame, and the mean of several); least and median score of the last. A score of
9.36 is needed. The last line is JSON.
"""

from __future__ import annotations

import argparse
import io
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import av
import numpy as np
from PIL import Image

from s2f_edge.errors import AudioError
from s2f_edge.hearing import audio
from s2f_edge.marks import provenance_video, watermark
from s2f_edge.picture import Pixels
from s2f_edge.pipeline import Speech2Face

AGAIN = {"640 pixels, CRF 28": (640, 28), "256 pixels, CRF 28": (256, 28), "256 pixels, CRF 30": (256, 30)}
LOOKS = ("first", "middle", "provenance")


def frames_of(data: bytes) -> list[Pixels]:
    with av.open(io.BytesIO(data)) as media:
        return [frame.to_ndarray(format="rgb24") for frame in media.decode(video=0)]


def packed_again(frames: list[Pixels], side: int, crf: int) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as media:
        options = {"crf": str(crf), "preset": "veryfast", "profile": "baseline"}
        stream = media.add_stream("libx264", rate=25, options=options)
        stream.width = stream.height = side
        stream.pix_fmt = "yuv420p"
        for pixels in frames:
            large = np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC))
            media.mux(stream.encode(av.VideoFrame.from_ndarray(large, format="rgb24")))
        media.mux(stream.encode())
    return file.getvalue()


def looked_at(data: bytes, payload: int) -> dict[str, tuple[bool, float]]:
    """For each look, whether the right mark is found, and its score."""
    frames = frames_of(data)
    marks = {
        "first": watermark.find(frames[0]),
        "middle": watermark.find(frames[len(frames) // 2]),
        "provenance": provenance_video.look("it", io.BytesIO(data), "mp4").mark,
    }
    return {name: (bool(mark) and mark.payload == payload, mark.score if mark else 0.0) for name, mark in marks.items()}


def measured(
    model: Speech2Face, recording: Path, seconds: float
) -> Iterator[tuple[str, dict[str, tuple[bool, float]]]]:
    sound = audio.read(recording).samples
    with tempfile.TemporaryDirectory() as folder, model.talk(sound[: round(seconds * 16_000)], 16_000) as talk:
        path = Path(folder, "a.mp4")
        talk.save(path)
        data = path.read_bytes()
    payload = watermark.make_payload(talk.result.generator, talk.result.pack_sha256)
    yield "as written", looked_at(data, payload)
    frames = frames_of(data)
    for name, (side, crf) in AGAIN.items():
        yield name, looked_at(packed_again(frames, side, crf), payload)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", nargs="+", type=Path)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--pack", type=Path)
    told = parser.parse_args()
    model = Speech2Face(told.pack, threads=1)
    rows: dict[str, list[dict[str, tuple[bool, float]]]] = {}
    done = 0
    for recording in told.recordings:
        try:
            for name, looks in measured(model, recording, told.seconds):
                rows.setdefault(name, []).append(looks)
        except AudioError as error:
            print(f"{recording} is left out: {error}")
            continue
        done += 1
        if done == told.count:
            break
    result: dict[str, Any] = {"clips": done}
    print(f"{done} clips{'first':>22}{'middle':>8}{'provenance':>12}{'score':>16}")
    for name, all_looks in rows.items():
        counts = [sum(looks[look][0] for looks in all_looks) for look in LOOKS]
        scores = [looks["provenance"][1] for looks in all_looks]
        result[name] = {**dict(zip(LOOKS, counts, strict=True)), "score": [min(scores), median(scores)]}
        print(f"{name:22}{counts[0]:>10}{counts[1]:>8}{counts[2]:>12}{min(scores):>9.1f}{median(scores):>7.1f}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
