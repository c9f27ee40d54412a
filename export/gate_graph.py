"""`s2f_edge.hearing.speech_gate` as a part of an ONNX graph: is it speech, noise, a tone or music?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from onnx import TensorProto

from export.front_ends import LogMel
from export.graphs import Graph, Value
from s2f_edge.hearing.features import HOP, LOGMEL_BINS, WINDOW
from s2f_edge.hearing.speech_gate import (
    CLASSES,
    ENOUGH_AGAINST,
    ENOUGH_FOR,
    LOGIT_LIMIT,
    RANGE,
    SPARE_FRAMES,
    WINDOW_FRAMES,
    SpeechGate,
    fine_matrix,
    modulation_tables,
)

HALF = LOGMEL_BINS // 2


@dataclass(frozen=True)
class Sound:
    """What `speech_gate.Windows` says of each second of a sound, at its end.

    Attributes:
        odds: log odds of speech, float32 (seconds,).
        logs: log probabilities of `CLASSES`, float32 (seconds, 4).
        speech: is it a part of a stretch of speech? bool (seconds,).
    """

    odds: Value
    logs: Value
    speech: Value

    def used(self) -> Value:
        """Seconds of speech, or all if there are none: bool (seconds,)."""
        return self.speech.apply("Or", self.speech.cast(TensorProto.FLOAT).reduced("Max", keep=True).apply("Less", 0.5))

    def verdict(self) -> tuple[Value, Value]:
        """Probability of speech, float32 (1,), and mean log probability of `CLASSES`, float32 (4,), of `used`."""
        weights = self.used().cast(TensorProto.FLOAT)
        weights = weights / weights.sum(0, keep=True)
        return (weights * self.odds).sum(0, keep=True).apply("Sigmoid"), (weights.shaped(-1, 1) * self.logs).sum(0)


def sound_of(graph: Graph, waveform: Value) -> Sound:
    """What the gate says of a waveform of 16 kHz.

    Of its last second, 0.4 s must be there, which then begins earlier; a clip of less than a second is repeated to one,
    however short.
    """
    logmel = LogMel(graph, waveform)
    width = WINDOW_FRAMES
    # Frames that run past the end are left out, as `SpeechMeter` does.
    inside = (graph.length(waveform) - np.array([WINDOW - HOP])) / np.array([HOP])
    count = inside.apply("Max", np.array([1]))
    # Whole windows, and one more that ends with the clip where enough is left.
    windows = ((count + np.array([width - SPARE_FRAMES])) / np.array([width])).apply("Max", np.array([1]))
    latest = (count - np.array([width])).apply("Max", np.array([0]))
    starts = (graph.range(windows) * np.int64(width)).apply("Min", latest)

    def body(start: Value) -> tuple[Value, Value]:
        frames = logmel.frames((start + np.arange(width)) % count)
        logs = _log_probabilities(graph, _statistics(graph, frames))
        others = logs.cut(0, 1, len(CLASSES)).apply("Exp").sum(keep=True) + 1e-12
        odds = logs.cut(0, 0, 1) - others.apply("Log")
        limited = odds.apply("Clip", np.float32(-LOGIT_LIMIT), np.float32(LOGIT_LIMIT))
        return limited - SpeechGate.load().offset, logs.apply("Max", -2.0 * LOGIT_LIMIT)

    odds, logs = graph.scan(body, [(starts, TensorProto.INT64, ())], outputs=((1,), (len(CLASSES),)))
    odds = odds.shaped(-1)
    return Sound(odds, logs, _stretches(graph, odds))


def _stretches(graph: Graph, odds: Value) -> Value:
    """`speech_gate.Windows`: which seconds are in stretches of speech; bool (seconds,).

    Kinds of stretches are 1 for speech, -1 for other sound, and 0 for what is not decided.
    """

    def weigh(kind: Value, evidence: Value, odds: Value) -> tuple[Value, ...]:
        evidence = evidence + odds
        signed = kind * (evidence.apply("GreaterOrEqual", 0.0).cast(TensorProto.FLOAT) * 2.0 - 1.0)
        still = graph.op("Where", signed.apply("Greater", 0.0), kind, graph.value(0.0))
        begins = kind.apply("Less", 0.5).apply("And", evidence.apply("GreaterOrEqual", ENOUGH_FOR))
        ends = kind.apply("Greater", -0.5).apply("And", evidence.apply("LessOrEqual", -ENOUGH_AGAINST))
        decided = graph.op("Where", begins, graph.value(1.0), graph.op("Where", ends, graph.value(-1.0), still))
        open_ = decided.apply("Equal", 0.0)
        zero = graph.value(0.0)
        return graph.op("Where", open_, kind, decided), graph.op("Where", open_, evidence, zero), decided

    kind, _, decided = graph.scan(weigh, [(odds, TensorProto.FLOAT, ())], [(graph.value(0.0), ())] * 2)

    # What is not decided is as what is decided next, and in the end as `Windows.finish` has it.
    def filled(later: Value, decided: Value) -> tuple[Value, ...]:
        known = graph.op("Where", decided.apply("Equal", 0.0), later, decided)
        return known, known

    missed = decided.reduced("Max").apply("Less", 0.5).apply("And", odds.sum().apply("GreaterOrEqual", 0.0))
    last = kind.apply("Greater", -0.5).apply("Or", missed).cast(TensorProto.FLOAT) * 2.0 - 1.0
    _, marks = graph.scan(filled, [(_reversed(decided), TensorProto.FLOAT, ())], [(last, ())])
    return _reversed(marks).apply("Greater", 0.0)


def _reversed(values: Value) -> Value:
    return values.cut(0, -1, np.iinfo(np.int64).min, -1)


def _skew(x: Value) -> Value:
    centred = x - x.mean(0, keep=True)
    squares = centred * centred
    spread = squares.mean(0) + 0.01
    return (squares * centred).mean(0) / (spread * spread.apply("Sqrt"))


def _lagged(x: Value, lag: int) -> tuple[Value, Value]:
    """Frames from `lag` on, and those that are `lag` earlier."""
    return x.cut(0, lag, WINDOW_FRAMES), x.cut(0, 0, WINDOW_FRAMES - lag)


def _spread(x: Value) -> Value:
    """Standard deviation over the last axis of (n,) or (n, m)."""
    centred = x - x.reduced("Mean", -1, keep=True)
    return (centred * centred).reduced("Mean", -1).apply("Sqrt")


def _statistics(graph: Graph, window: Value) -> Value:
    """`speech_gate.window_statistics` of one window, line by line: float32 (100, 64) -> (k,)."""
    frames = WINDOW_FRAMES
    x = (window - window.reduced("Max")).apply("Max", -RANGE)
    out: list[Value] = []

    bands = x.shaped(frames, 8, 8).mean(2)
    loud, means = bands.mean(1), bands.mean(0)
    centred = bands - means
    spread = (centred * centred).mean(0).apply("Sqrt")
    out += [means - means.mean(), spread, _skew(bands)]

    waves, groups = modulation_tables()
    pairs = centred.cut(1, 0, 8, 2) + centred.cut(1, 1, 8, 2)
    modulation = graph.op("Transpose", pairs, perm=[1, 0]) @ waves
    real, imaginary = modulation.cut(1, 0, 32), modulation.cut(1, 32, 64)
    share = (real * real + imaginary * imaginary) @ groups
    out.append((share / (share.sum(1, keep=True) + 1.0) + 1e-3).apply("Log"))

    for lag in (1, 2, 4, 8, 16, 32):
        later, earlier = _lagged(x, lag)
        moved = (later - earlier).apply("Abs")
        out += [moved.cut(1, 0, HALF).mean(), moved.cut(1, HALF, 2 * HALF).mean()]
    for lag in (1, 4):
        later, earlier = _lagged(bands, lag)
        moved = later - earlier
        up = moved.apply("Max", 0.0)
        for low in (0, 4):
            rise, both = up.cut(1, low, low + 4), moved.cut(1, low, low + 4)
            out.append((rise * rise).sum() / ((both * both).sum() + 0.1))

    fine = x @ fine_matrix()
    for quarter in range(4):
        cells = fine.cut(1, 16 * quarter, 16 * quarter + 16)
        energy, standing = (cells * cells).mean(), cells.mean(0)
        out += [energy.apply("Sqrt"), (standing * standing).mean() / (energy + 1e-3)]
    for low in (0, HALF):
        cells = fine.cut(1, low, low + HALF)
        energy = (cells * cells).mean() + 1e-3
        for lag in (1, 2, 4, 8, 16, 32):
            later, earlier = _lagged(cells, lag)
            out.append((later * earlier).mean() / energy)
        for lag in (4, 8):
            later, earlier = _lagged(cells, lag)
            middle = earlier.cut(1, 1, HALF - 1)
            still = (later.cut(1, 1, HALF - 1) * middle).mean()
            risen = (later.cut(1, 2, HALF) * middle).mean()
            fallen = (later.cut(1, 0, HALF - 2) * middle).mean()
            out.append((risen.apply("Max", fallen) - still) / energy)

    peak = x.reduced("Max", 1) - x.mean(1)
    flat = _spread(x)
    out += [peak.mean(), _spread(peak), flat.mean(), _spread(flat)]
    tilt = bands.cut(1, 5, 8).mean(1) - bands.cut(1, 0, 3).mean(1)
    out += [_spread(tilt), _skew(tilt)]

    def ranked(values: Value) -> Value:
        return graph.ops("TopK", 2, values, graph.whole(frames), largest=0, sorted=1)[0]

    spans = ranked(tilt)
    out += [spans.cut(0, 90, 91) - spans.cut(0, 50, 51), spans.cut(0, 50, 51) - spans.cut(0, 10, 11)]
    levels = ranked(loud)
    out += [levels.cut(0, i, i + 1) - levels.cut(0, 50, 51) for i in (2, 10, 25, 75, 90, 97)]
    scaled = centred / (spread + 0.1)
    for apart in range(1, 8):
        together = scaled.cut(1, 0, 8 - apart) * scaled.cut(1, apart, 8)
        out.append((together.sum(0) / float(frames)).mean())
    return graph.joined(*(part.shaped(-1) for part in out))


def _log_probabilities(graph: Graph, statistics: Value) -> Value:
    """`SpeechGate.log_probabilities` of one window: float32 (k,) -> (4,)."""
    gate = SpeechGate.load()
    x = ((statistics - gate.mean) / gate.scale).apply("Clip", np.float32(-4.0), np.float32(4.0)).shaped(1, -1)
    for i, (weight, bias) in enumerate(gate.layers):
        x = x @ weight + bias
        if i + 1 < len(gate.layers):
            x = x.apply("Relu")
    return graph.op("LogSoftmax", x, axis=-1).shaped(len(CLASSES))
