"""A pack's motion network with its front end: sound to the motion of a face, one piece after the other.

Inputs (all are needed):

- `waveform` float32 (samples,): a piece of a recording at 16 kHz, mono, in [-1, 1]
- `at`       int64 (1,): number of the piece's frame of 10 ms with which the first wanted frame of video begins
- `frames`   int64 (1,): how many frames of video are wanted, 25 a second

Output: `offsets` float32 (frames, 68, 2), as `s2f_edge.talk.motion` has them. A frame of video has four of 10 ms, and
the network looks at `before` of them before it and `after` behind it, which stand in the pack's manifest; where a piece
has none, as at the ends of a recording, its first or last one counts as if it went on.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto

from export.front_ends import fbank_frames
from export.graphs import Graph, Value
from export.verify import ParityError, open_session
from s2f_edge.hearing.features import HOP, WINDOW, Float32s
from s2f_edge.pack.pack import Pack
from s2f_edge.talk.motion import PER_FRAME, POINTS, MotionNetwork, motion_of

TOLERANCE = 1e-4  # in units of the distance of the eyes: a hundredth of a pixel


def motion_file(pack: Pack) -> bytes:
    """The model; the pack must have a motion network."""
    info = pack.manifest.motion
    assert info
    graph = Graph()
    waveform, at, frames = (Value(graph, name) for name in ("waveform", "at", "frames"))
    padded = graph.joined(waveform, np.zeros(WINDOW, np.float32))  # for a piece shorter than one frame
    count = (graph.length(waveform) - np.array([WINDOW - HOP])) / np.array([HOP])
    last = count.apply("Max", np.array([1])) - np.array([1])
    wanted = frames * np.array([PER_FRAME]) + np.array([info.before + info.after])
    places = graph.range(wanted) + at - np.array([info.before])
    features = fbank_frames(graph, padded, places.apply("Max", np.array([0])).apply("Min", last))
    model = onnx.load_from_string(pack.read(info.file))
    offsets = graph.network(model, features=features.apply("Unsqueeze", np.array([0])))["offsets"]
    inputs: list[tuple[str, int, list[int | str]]] = [
        ("waveform", TensorProto.FLOAT, ["samples"]), ("at", TensorProto.INT64, [1]), ("frames", TensorProto.INT64, [1])
    ]  # fmt: skip
    shaped = offsets.shaped(-1, POINTS, 2)
    made = graph.model(
        inputs, [(shaped, "offsets", TensorProto.FLOAT, ["frames", POINTS, 2])], {"s2f.network": "motion"}
    )
    data: bytes = made.SerializeToString()
    return data


def judge_motion(data: bytes, pack: Pack, clips: list[Float32s]) -> float:
    """The largest difference from the runtime's motion, on whole clips.

    Raises:
        ParityError: it is above 1e-4.
    """
    session, network = open_session(data), MotionNetwork(pack)
    differences = []
    for clip in clips:
        wanted = motion_of(network, clip)
        given: dict[str, Any] = {"waveform": clip, "at": np.zeros(1, np.int64), "frames": np.array([len(wanted)])}
        differences.append(float(np.abs(session.run(None, given)[0] - wanted).max()))
    if not max(differences) <= TOLERANCE:
        raise ParityError(f"Motion in the browser differs by {max(differences):.2e}; {TOLERANCE:g} is allowed.")
    return max(differences)
