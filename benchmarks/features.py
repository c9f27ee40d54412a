"""What do the features cost, beside a frame-by-frame extractor and python_speech_features; and the gate, beside the
voice detector?

    OPENBLAS_NUM_THREADS=1 python benchmarks/features.py [--seconds 10] [--repeats 40]

All are called in turn, so that a busy moment meets each; a figure is the median after a warm-up, with half of the
spread between quartiles; of the gate and its parts, the least. numpy alone makes ours. The environment variable sets
the threads of its matrix products. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from collections.abc import Callable
from pathlib import Path

import numpy as np
import python_speech_features
import soundfile
from in_turn import in_turn
from torch_way import frame_by_frame, speech_of, torch_fbank

from s2f_edge.hearing.fbank import FbankStream, fbank
from s2f_edge.hearing.features import Float32s, logmel
from s2f_edge.hearing.levels import SECOND, Levels, Power
from s2f_edge.hearing.melpower import melpower
from s2f_edge.hearing.quality import SpeechMeter, SpeechQuality
from s2f_edge.hearing.speech_gate import WINDOW_FRAMES, SpeechGate, window_statistics
from s2f_edge.hearing.stft import compressed_stft
from s2f_edge.hearing.vad import find_speech

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "male.wav"

GATE = "quality and gate, with the front end's fbank"


def medians(calls: dict[str, Callable[[], object]], repeats: int) -> dict[str, tuple[float, float]]:
    """Milliseconds of each call: median and the spread between quartiles."""
    quartiles = {name: statistics.quantiles(found, n=4) for name, found in in_turn(calls, repeats, 2).items()}
    return {name: (q[1], q[2] - q[0]) for name, q in quartiles.items()}


def of_gate(clip: Float32s, repeats: int) -> dict[str, float]:
    """Milliseconds of quality and gate and of their parts, and of what comes before them: the least of each."""
    speech = find_speech(clip)
    frames = FbankStream().push(speech.samples)
    whole = len(frames) // WINDOW_FRAMES * WINDOW_FRAMES
    windows = frames[:whole].reshape(-1, WINDOW_FRAMES, frames.shape[1])
    given, gate = window_statistics(windows), SpeechGate.load()

    def measure(frames: Float32s | None) -> SpeechQuality:
        meter = SpeechMeter()
        meter.push(clip, speech.samples, frames)
        return meter.finish(speech.segments)

    def levels() -> None:
        of_all, power_of_all, power = Levels(), Power(), Power()
        of_all.push(clip)
        power_of_all.push(clip)
        power.push(speech.samples)
        of_all.around(speech.segments, speech.segments[:0]).background()

    assert len(speech.samples) > SECOND
    calls: dict[str, Callable[[], object]] = {
        "voice activity": lambda: find_speech(clip),
        "fbank of what it keeps": lambda: FbankStream().push(speech.samples),
        GATE: lambda: measure(frames),
        "quality and gate, with their own": lambda: measure(None),
        "statistics": lambda: window_statistics(windows),
        "network": lambda: gate.log_probabilities(given),
        "levels": levels,
    }
    return {name: min(found) for name, found in in_turn(calls, repeats, 2).items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--repeats", type=int, default=40)
    given = parser.parse_args()
    speech, rate = soundfile.read(EXAMPLE, dtype="float32")
    clip = np.resize(speech, int(given.seconds * rate))
    # The references do the same work.
    assert np.abs(frame_by_frame(clip) - logmel(clip)).max() < 1e-3
    assert np.median(np.abs(torch_fbank(clip).numpy() - fbank(clip))) < 1e-3
    found = medians(
        {
            "log-mel, ours": lambda: logmel(clip),
            "log-mel, frame by frame": lambda: frame_by_frame(clip),
            "log-mel, python_speech_features": lambda: python_speech_features.logfbank(clip, nfilt=64, nfft=1024),
            "fbank, ours": lambda: fbank(clip),
            "fbank, torch, whole clip at once": lambda: torch_fbank(clip),
            "mel power, ours": lambda: melpower(clip),
            "STFT of 6 s, ours": lambda: compressed_stft(clip[: 6 * rate]),
            "speech, ours": lambda: find_speech(clip),
            "speech, published collector": lambda: speech_of(clip),
        },
        given.repeats,
    )
    threads = os.environ.get("OPENBLAS_NUM_THREADS", "all")
    print(f"{given.seconds:g} s, median of {given.repeats}, numpy with {threads} thread(s)\n")
    for name, (median, spread) in found.items():
        print(f"  {name:34} {median:8.2f} ms  ± {spread / 2:.2f}")
    ours = found["log-mel, ours"][0]
    gate = of_gate(clip, given.repeats)
    print("\n  the gate, beside the voice detector, the least of each")
    for name, ms in gate.items():
        print(f"  {name:46} {ms:8.2f} ms, {ms / gate['voice activity']:.2f} of voice activity")
    print(
        json.dumps(
            {
                "seconds": given.seconds,
                "threads": threads,
                "gate_of_voice_activity": round(gate[GATE] / gate["voice activity"], 3),
                "gate_ms": {name: round(ms, 3) for name, ms in gate.items()},
                "median_ms": {name: round(median, 2) for name, (median, _) in found.items()},
                "faster_than_frame_by_frame": round(found["log-mel, frame by frame"][0] / ours, 2),
                "faster_than_python_speech_features": round(found["log-mel, python_speech_features"][0] / ours, 2),
            }
        )
    )


if __name__ == "__main__":
    main()
