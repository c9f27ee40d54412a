"""`s2f_edge.hearing.speech_gate` as a part of an ONNX graph: is it speech, noise, a tone or music?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from onnx import TensorProto

from export.front_ends import fbank_frames
from export.graphs import Graph, Value
from s2f_edge.hearing.features import HOP, WINDOW
from s2f_edge.hearing.speech_gate import (
    BANDS,
    BINS,
    CLASSES,
    ENOUGH_AGAINST,
    ENOUGH_FOR,
    GLIDES,
    LAGS,
    LOGIT_LIMIT,
    LOWEST_BIN,
    MEDIAN,
    RANGE,
    RANKS,
    RISES,
    SPARE_FRAMES,
    WINDOW_FRAMES,
    SpeechGate,
    tables,
)


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
    padded = graph.joined(waveform, np.zeros(WINDOW, np.float32))  # for a clip shorter than one frame
    width = WINDOW_FRAMES
    inside = (graph.length(waveform) - np.array([WINDOW - HOP])) / np.array([HOP])
    count = inside.apply("Max", np.array([1]))
    # Whole windows, and one more that ends with the clip where enough is left.
    windows = ((count + np.array([width - SPARE_FRAMES])) / np.array([width])).apply("Max", np.array([1]))
    latest = (count - np.array([width])).apply("Max", np.array([0]))
    starts = (graph.range(windows) * np.int64(width)).apply("Min", latest)

    def body(start: Value) -> tuple[Value, Value]:
        frames = fbank_frames(graph, padded, (start + np.arange(width)) % count)
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


def _lagged(x: Value, lag: int) -> tuple[Value, Value]:
    """Frames from `lag` on, and those that are `lag` earlier."""
    return x.cut(0, lag, WINDOW_FRAMES), x.cut(0, 0, WINDOW_FRAMES - lag)


def _statistics(graph: Graph, frames: Value) -> Value:
    """`speech_gate.window_statistics` of one window, line by line: float32 (100, 80) -> (k,)."""
    x = frames.cut(1, LOWEST_BIN, LOWEST_BIN + BINS)
    x = (x - x.reduced("Max")).apply("Max", -RANGE)
    return graph.joined(*(part.shaped(-1) for part in (*_of_bands(graph, x), *_of_cells(graph, x))))


def _of_bands(graph: Graph, x: Value) -> list[Value]:
    table = tables()
    columns = x @ table.columns
    peak = x.reduced("Max", 1, keep=True) - columns.cut(1, 9, 10)
    columns = graph.joined(columns, peak, (x * x).mean(1, keep=True).apply("Sqrt"), axis=1)
    out: list[Value] = []
    for lag in RISES:
        later, before = _lagged(columns.cut(1, 0, BANDS), lag)
        moved = later - before
        up, all_ = ((moved * other).mean(0).shaped(2, 4).sum(1) for other in (moved.apply("Max", 0.0), moved))
        out.append(up / (all_ + 1e-3))
    ranked = graph.ops("TopK", 2, columns.cut(1, 8, 10), graph.whole(WINDOW_FRAMES), axis=0, largest=0, sorted=1)[0]
    out.append(ranked.apply("Gather", np.array(RANKS), axis=0) - ranked.cut(0, MEDIAN, MEDIAN + 1))

    means = columns.mean(0)
    columns = columns - means
    squares = columns * columns
    variance = squares.mean(0)
    spread, floored = variance.apply("Sqrt"), variance + 0.01
    skewness = (squares * columns).mean(0) / (floored * floored.apply("Sqrt"))
    out += [means.cut(0, 0, 8) - means.cut(0, 9, 10), means.cut(0, 10, 12), spread, skewness]

    bands = columns.cut(1, 0, BANDS)
    waves = graph.value(table.waves) @ (bands.cut(1, 0, 8, 2) + bands.cut(1, 1, 8, 2))
    waves = waves * waves
    share = graph.value(table.groups) @ (waves.cut(0, 0, 32) + waves.cut(0, 32, 64))
    out.append((share / (share.sum(0, keep=True) + 1.0) + 1e-3).apply("Log"))

    scaled = bands / (spread.cut(0, 0, BANDS) + 0.1)
    together = graph.op("Transpose", scaled, perm=[1, 0]) @ scaled
    out.append(together.shaped(1, -1) @ table.apart / float(WINDOW_FRAMES))
    return out


def _of_cells(graph: Graph, x: Value) -> list[Value]:
    table = tables()
    fine = x @ table.fine
    energies, still = (fine * fine).mean(0, keep=True), fine.mean(0, keep=True)
    energy = energies @ table.halves + 1e-3
    moving, steady, gliding = [], [], []
    for lag in LAGS:
        later, before = _lagged(x, lag)
        moving.append((later - before).apply("Abs").mean(0, keep=True) @ table.halves)
        later, before = _lagged(fine, lag)
        same = (later * before).mean(0, keep=True)
        steady.append(same @ table.halves / energy)
        if lag in GLIDES:
            risen = (later.cut(1, 1, BINS) * before.cut(1, 0, BINS - 1)).mean(0, keep=True) @ table.above
            fallen = (later.cut(1, 0, BINS - 1) * before.cut(1, 1, BINS)).mean(0, keep=True) @ table.below
            gliding.append((risen.apply("Max", fallen) - same @ table.middle) / energy)
    quarters = energies @ table.quarters
    standing = (still * still) @ table.quarters / (quarters + 1e-3)
    return [quarters.apply("Sqrt"), standing, *steady, *gliding, *moving]


def _log_probabilities(graph: Graph, statistics: Value) -> Value:
    """`SpeechGate.log_probabilities` of one window: float32 (k,) -> (4,)."""
    gate = SpeechGate.load()
    x = ((statistics - gate.mean) / gate.scale).apply("Clip", np.float32(-4.0), np.float32(4.0)).shaped(1, -1)
    for i, (weight, bias) in enumerate(gate.layers):
        x = x @ weight + bias
        if i + 1 < len(gate.layers):
            x = x.apply("Relu")
    return graph.op("LogSoftmax", x, axis=-1).shaped(len(CLASSES))
