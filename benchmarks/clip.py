"""How long does a clip take, stage by stage, and what do the features cost beside others?

    python benchmarks/clip.py [--seconds 10] [--repeats 30]

Each figure is the median of repeats after a warm-up; the features are measured in turn with
their references in the same run, because machines are noisy. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import numpy as np
import soundfile

from s2f_edge import Speech2Face
from s2f_edge.fbank import fbank
from s2f_edge.features import logmel, melpower

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "male.wav"


def frame_by_frame(samples: np.ndarray) -> np.ndarray:
    """Log-mel as the published extractor goes about it: one frame at a time, one FFT each."""
    from s2f_edge.features import logmel_filters

    filters, window = logmel_filters(), np.hamming(400)
    scaled, before, frames = samples * 32768.0, 0.0, []
    for start in range(0, len(scaled) + 1, 160):
        frame = np.resize(scaled[start : start + 400], 400)
        emphasised = frame - 0.97 * np.concatenate([[before], frame[:-1]])
        before = frame[-1]
        power = np.abs(np.fft.rfft(emphasised * window, 1024)) ** 2
        frames.append(np.log(np.maximum(power[: len(filters)] @ filters, 1e-5)))
    return np.array(frames)


def medians(calls: dict[str, Callable[[], object]], repeats: int) -> dict[str, tuple[float, float]]:
    """Milliseconds of each call: median and the spread between quartiles; calls take turns."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(repeats + 2):
        for name, call in calls.items():
            began = perf_counter()
            call()
            if turn >= 2:
                times[name].append((perf_counter() - began) * 1e3)
    quartiles = {name: statistics.quantiles(found, n=4) for name, found in times.items()}
    return {name: (q[1], q[2] - q[0]) for name, q in quartiles.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--repeats", type=int, default=30)
    arguments = parser.parse_args()

    import python_speech_features

    speech, rate = soundfile.read(EXAMPLE, dtype="float32")
    clip = np.resize(speech, int(arguments.seconds * rate))
    assert np.abs(frame_by_frame(clip) - logmel(clip)).max() < 1e-3  # the reference does the same work
    features = medians(
        {
            "log-mel, ours": lambda: logmel(clip),
            "log-mel, frame by frame": lambda: frame_by_frame(clip),
            "log-mel, python_speech_features": lambda: python_speech_features.logfbank(clip, nfilt=64, nfft=1024),
            "mel power, ours": lambda: melpower(clip),
            "fbank, ours": lambda: fbank(clip),
        },
        arguments.repeats,
    )
    model = Speech2Face(device="cpu")
    stages: dict[str, list[float]] = {}
    for turn in range(arguments.repeats + 2):
        result = model.infer(clip, rate)
        began = perf_counter()
        result.png(256)
        found = {**result.timings_ms, "png": (perf_counter() - began) * 1e3}
        if turn >= 2:
            for stage, ms in found.items():
                stages.setdefault(stage, []).append(ms)
    print(f"{arguments.seconds:.0f} s of speech, median of {arguments.repeats}\n")
    for name, (median, spread) in features.items():
        print(f"  {name:34} {median:8.2f} ms  ± {spread / 2:.2f}")
    print()
    for stage, found in stages.items():
        print(f"  {stage:34} {statistics.median(found):8.2f} ms")
    ours = features["log-mel, ours"][0]
    print(
        json.dumps(
            {
                "seconds": arguments.seconds,
                "stages_ms": {stage: round(statistics.median(found), 2) for stage, found in stages.items()},
                "logmel_ms": round(ours, 2),
                "faster_than_frame_by_frame": round(features["log-mel, frame by frame"][0] / ours, 1),
                "faster_than_python_speech_features": round(features["log-mel, python_speech_features"][0] / ours, 1),
            }
        )
    )


if __name__ == "__main__":
    main()
