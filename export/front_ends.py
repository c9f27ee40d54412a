"""`s2f_edge.hearing.frontend` as parts of an ONNX graph: waveform in, windows for the voice network out.

Frames in seconds that are no speech are left out, as `Rows.cut` does it, and of a long recording some windows are
heard, as `s2f_edge.hearing.chosen` has it.

Sound is framed by indices, one window at a time, so that memory does not grow with the clip (but
for `logmel-64`, whose normalisation is over the whole clip). The spectrum is a matrix product, as
in `s2f_edge.hearing.features`; no operator is used that small builds of a runtime lack.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from export.graphs import Graph, Value, matrix
from s2f_edge.hearing import fbank, features, melpower
from s2f_edge.hearing.features import HOP, PCM_SCALE, PRE_EMPHASIS, WINDOW
from s2f_edge.hearing.frontend import Fbank80FrontEnd, HighPass, LogMel64FrontEnd, MelPower40FrontEnd
from s2f_edge.hearing.speech_gate import WINDOW_FRAMES

Voice = Callable[[Value], Value]  # float32 (1, ...) features of a window -> float32 (1, embedding)

LOGMEL_BLOCK = 100  # frames
MOST_DOUBLED = 20  # times that stretches of a long recording can double


def embedding_of(
    graph: Graph, front_end: str, waveform: Value, used: Value, voice: Voice, size: int, most: int | None = None
) -> Value:
    """The voice embedding of the clip: mean over its windows, normalised to unit length.

    Args:
        waveform: float32 (n,), voiced sound at 16 kHz; n is at least 1.
        used: bool (seconds,): which of its seconds are heard, at least one; what follows is as the last one.
        voice: puts the network into the graph.
        size: of its embedding.
        most: windows that are heard; None hears all.

    Returns:
        float32, (size,).
    """
    sound = _Sound(graph, waveform, used)
    total = {"fbank-80": _fbank80, "logmel-64": _logmel64, "melpower-40": _melpower40}[front_end](
        graph, sound, voice, size, most
    )
    length = (total * total).sum(keep=True).apply("Sqrt")
    return total / length.apply("Max", np.array([1e-12], np.float32))


@dataclass(frozen=True)
class _Sound:
    """Voiced sound, and which of its seconds are heard."""

    graph: Graph
    waveform: Value
    used: Value

    def kept(self, count: Value) -> Value:
        """Those of so many (int64, (1,)) frames or pieces of 10 ms that are heard: int64, (n,)."""
        last = self.graph.length(self.used) - np.array([1])
        numbers = self.graph.range(count)
        seconds = (numbers / np.array([WINDOW_FRAMES])).apply("Min", last)
        return numbers.apply("Compress", self.used.apply("Gather", seconds, axis=0), axis=0)


def _over(graph: Graph, starts: Value, body: Callable[[Value], Value], *shape: int) -> Value:
    """What a body makes of each start (int64, ()): float32, (starts, *shape)."""
    (made,) = graph.scan(lambda start: (body(start),), [(starts, TensorProto.INT64, ())], outputs=(shape,))
    return made


@cache
def spectrum_matrix(window: tuple[float, ...], fft_size: int, bins: int) -> NDArray[np.float32]:
    """The window and the discrete Fourier transform: (len(window), 2 bins), cosines then sines."""
    angle = 2.0 * np.pi * np.outer(np.arange(len(window)), np.arange(bins)) / fft_size
    return matrix(np.array(window)[:, None] * np.concatenate([np.cos(angle), np.sin(angle)], axis=1))


def _power(frames: Value, window: NDArray[Any], fft_size: int, bins: int) -> Value:
    """Power spectra of frames: float32 (m, 400) -> (m, bins)."""
    spectrum = frames @ spectrum_matrix(tuple(window.tolist()), fft_size, bins)
    real, imaginary = spectrum.cut(1, 0, bins), spectrum.cut(1, bins, 2 * bins)
    return real * real + imaginary * imaginary


def _frames(graph: Graph, samples: Value, numbers: Value) -> Value:
    """Frames by their numbers (int64, (m,)): float32, (m, 400); samples must be long enough."""
    places = numbers.apply("Unsqueeze", np.array([1], np.int64)) * np.int64(HOP) + np.arange(WINDOW)[None]
    return samples.apply("Gather", places, axis=0)


# ------------------------------------------------------------------------------ fbank-80


def _fbank80(graph: Graph, sound: _Sound, voice: Voice, size: int, most: int | None) -> Value:
    width = Fbank80FrontEnd.WINDOW_FRAMES
    padded = graph.joined(sound.waveform, np.zeros(WINDOW, np.float32))  # for a clip shorter than one frame
    count = graph.length(sound.waveform) - np.array([WINDOW - HOP])
    count = (count / np.array([HOP])).apply("Max", np.array([1]))  # from 160 samples on no division of a negative
    kept = sound.kept(count)
    count = graph.length(kept)
    last = count.apply("Max", np.array([width])) - np.array([width])
    before = (last + np.array([width - 1])) / np.array([width])

    def window(start: Value) -> Value:
        numbers = kept.apply("Gather", (start + np.arange(width)) % count, axis=0)  # a short clip is repeated
        logs = fbank_frames(graph, padded, numbers)
        return logs - logs.mean(0, keep=True)

    def everything() -> Value:
        return graph.joined(graph.range(before) * np.int64(width), last)

    starts = everything()
    if most is not None:
        whole = count / np.array([width])

        def clear(start: Value) -> Value:
            logs = window(start)
            return (logs * logs).mean().apply("Min", Fbank80FrontEnd.CLEAR)

        def some() -> Value:
            starts = graph.range(whole) * np.int64(width)
            return _chosen(graph, _over(graph, starts, clear), most) * np.int64(width)

        enough = whole.apply("GreaterOrEqual", np.array([most]))
        starts = graph.either(enough, some, everything, ("windows",), TensorProto.INT64)

    def body(start: Value) -> Value:
        return voice(window(start).shaped(1, width, fbank.FBANK_BINS)).shaped(size)

    return _over(graph, starts, body, size).sum(0)


def _chosen(graph: Graph, quality: Value, most: int) -> Value:
    """`ChosenWindows` of at least so many windows: from their quality, float32 (n,), numbers, int64 (most,)."""
    count = graph.length(quality)
    doubled = 2 * most * 2 ** np.arange(MOST_DOUBLED)
    times = (count - doubled).apply("Clip", np.int64(0), np.int64(1)).sum(0, keep=True)
    stretch = graph.value(2 ** np.arange(MOST_DOUBLED + 1)).apply("Gather", times, axis=0)
    stretches = (count + stretch - np.array([1])) / stretch
    edges = (graph.value(np.arange(most + 1)) * stretches + np.array([most - 1])) / np.array([most]) * stretch

    def best(start: Value, end: Value) -> tuple[Value]:
        begin = start.shaped(1)
        place = quality.cut(0, begin, end.shaped(1)).apply("ArgMax", axis=0, keepdims=1)
        return ((begin + place).cast(TensorProto.FLOAT),)

    ends = [(edges.cut(0, i, i + most), TensorProto.INT64, ()) for i in range(2)]
    return graph.scan(best, ends, outputs=((1,),))[0].shaped(-1).cast(TensorProto.INT64)


def fbank_frames(graph: Graph, samples: Value, numbers: Value) -> Value:
    """`fbank-80` of frames by their numbers, int64 (m,): float32 (m, 80); samples must be long enough."""
    # The pre-emphasis inside a frame is part of the matrix; the window is zero on the first sample.
    window = np.hanning(WINDOW) ** fbank.POVEY_POWER
    filters = fbank.fbank_filters() * PCM_SCALE**2
    x = _frames(graph, samples, numbers)
    x = x - x.mean(1, keep=True)
    y = graph.joined(x.cut(1, 0, 1), x.cut(1, 1, WINDOW) - x.cut(1, 0, WINDOW - 1) * PRE_EMPHASIS, axis=1)
    energies = _power(y, window, fbank.FBANK_FFT, len(filters)) @ matrix(filters)
    return energies.apply("Max", fbank.FBANK_FLOOR).apply("Log")


# ----------------------------------------------------------------------------- logmel-64


class LogMel:
    """`logmel-64` of a waveform in a graph: frames by their numbers."""

    def __init__(self, graph: Graph, waveform: Value) -> None:
        self._graph = graph
        self._samples = graph.joined(waveform * PCM_SCALE, np.zeros(1, np.float32))
        self._length = graph.length(waveform)
        self.count = self._length / np.array([HOP]) + np.array([1])  # frames, int64, (1,)

    def _left(self, starts: Value) -> Value:
        """Samples of a frame that are in the signal; the others repeat them. Of none, the zero at the end is taken."""
        return (self._length - starts).apply("Min", np.array([WINDOW])).apply("Max", np.array([1]))

    def frames(self, numbers: Value) -> Value:
        """int64 (m,), below `count` -> float32 (m, 64), natural-log energies."""
        starts = numbers * np.int64(HOP)
        column = starts.apply("Unsqueeze", np.array([1], np.int64))
        x = self._samples.apply("Gather", column + np.arange(WINDOW)[None] % self._left(column), axis=0)
        # The sample before a frame is the last one of the previous frame; before the first there is none.
        earlier = (starts - np.int64(HOP)).apply("Max", np.int64(0))
        last = self._samples.apply("Gather", earlier + np.int64(WINDOW - 1) % self._left(earlier), axis=0)
        any_before = numbers.apply("Min", np.int64(1)).cast(TensorProto.FLOAT)
        before = (last * any_before).apply("Unsqueeze", np.array([1], np.int64))
        x = x - self._graph.joined(before, x.cut(1, 0, WINDOW - 1), axis=1) * PRE_EMPHASIS
        filters = features.logmel_filters()
        energies = _power(x, np.hamming(WINDOW), features.LOGMEL_FFT, len(filters)) @ matrix(filters)
        return energies.apply("Max", features.LOGMEL_FLOOR).apply("Log")


def _logmel64(graph: Graph, sound: _Sound, voice: Voice, size: int, _: int | None) -> Value:
    logmel = LogMel(graph, sound.waveform)
    kept, bins = sound.kept(logmel.count), features.LOGMEL_BINS
    count = graph.length(kept)
    blocks = (count + np.array([LOGMEL_BLOCK - 1])) / np.array([LOGMEL_BLOCK])
    made = _over(
        graph,
        graph.range(blocks) * np.int64(LOGMEL_BLOCK),
        lambda start: logmel.frames(kept.apply("Gather", (start + np.arange(LOGMEL_BLOCK)) % count, axis=0)),
        LOGMEL_BLOCK,
        bins,
    )
    frames = made.shaped(-1, bins).cut(0, 0, count)
    centred = frames - frames.mean(0, keep=True)
    centred = centred - centred.mean(0, keep=True)  # what float32 left of it
    spread = (centred * centred).mean(0, keep=True).apply("Sqrt") + float(np.finfo(np.float32).eps)
    normalised = centred / spread
    repeated = count.apply("Max", np.array([LogMel64FrontEnd.MIN_FRAMES]))
    normalised = normalised.apply("Gather", graph.range(repeated) % count, axis=0)

    # numpy.array_split: the first windows have one frame more
    most = np.array([LogMel64FrontEnd.MAX_FRAMES])
    windows = (repeated + (most - 1)) / most
    each, longer = repeated / windows, repeated % windows
    number = graph.range(windows)
    starts = number * each + number.apply("Min", longer)
    lengths = each + (longer - number).apply("Min", np.array([1])).apply("Max", np.array([0]))

    def body(start: Value, length: Value) -> tuple[Value]:
        begin, span = start.shaped(1), length.shaped(1)
        window = normalised.cut(0, begin, begin + span)
        inputs = graph.op("Transpose", window, perm=[1, 0]).apply("Unsqueeze", np.array([0], np.int64))
        return (voice(inputs).shaped(size) * length.cast(TensorProto.FLOAT),)

    kind = TensorProto.INT64
    (made,) = graph.scan(body, [(starts, kind, ()), (lengths, kind, ())], outputs=((size,),))
    return made.sum(0)


# --------------------------------------------------------------------------- melpower-40


def _high_passed(graph: Graph, waveform: Value) -> Value:
    """`frontend.HighPass`: a state that goes from one piece of 160 samples to the next."""
    weights, fading = HighPass._tables()
    pieces = graph.joined(waveform, np.zeros(HOP, np.float32))
    whole = (graph.length(waveform) + np.array([HOP - 1])) / np.array([HOP])
    pieces = pieces.cut(0, 0, whole * np.array([HOP])).shaped(-1, HOP)

    def body(mean: Value, piece: Value) -> tuple[Value, Value]:
        own = (piece.shaped(1, HOP) @ matrix(weights)).shaped(HOP)
        filtered = piece - own - mean * matrix(fading)
        return mean * matrix(fading[-1:]) + own.cut(0, HOP - 1, HOP), filtered

    first = waveform.cut(0, 0, 1)
    _, made = graph.scan(body, [(pieces, TensorProto.FLOAT, (HOP,))], [(first, (1,))], outputs=((HOP,),))
    return made.shaped(-1).cut(0, 0, graph.length(waveform))


def _melpower40(graph: Graph, sound: _Sound, voice: Voice, size: int, _: int | None) -> Value:
    front = MelPower40FrontEnd
    width, step = front.WINDOW_FRAMES, front.STEP_FRAMES
    x = _high_passed(graph, sound.waveform)
    length = graph.length(sound.waveform)
    pieces = (length + np.array([HOP - 1])) / np.array([HOP])
    heard = sound.kept(pieces)
    # The last piece may be a shorter one.
    missing = (pieces * np.array([HOP]) - length) * heard.cut(0, -1, np.iinfo(np.int64).max).apply(
        "Equal", pieces - np.array([1])
    ).cast(TensorProto.INT64)
    power = graph.joined(x, np.zeros(HOP, np.float32)).cut(0, 0, pieces * np.array([HOP])).shaped(-1, HOP)
    power = power.apply("Gather", heard, axis=0)
    all_frames = length / np.array([HOP]) + np.array([1])
    length = graph.length(heard) * np.array([HOP]) - missing
    energy = (power * power).sum().apply("Max", 1e-20)
    factor = length.cast(TensorProto.FLOAT) * (10.0 ** (front.LOUDNESS_DBFS / 10.0)) / energy
    after = np.zeros(width * HOP + WINDOW, np.float32)
    padded = graph.joined(np.zeros(WINDOW // 2, np.float32), x, after)

    frames = length / np.array([HOP]) + np.array([1])
    count = (frames + np.array([step - width])).apply("Max", np.array([0])) / np.array([step]) + np.array([1])
    covered = length - (count - np.array([1])) * np.array([step * HOP])
    enough = covered.apply("Less", np.array([int(front.MIN_COVERAGE * width * HOP)])).cast(TensorProto.INT64)
    count = (count - enough).apply("Max", np.array([1]))

    window = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(WINDOW) / WINDOW)
    filters = melpower.melpower_filters()

    kept = graph.joined(sound.kept(all_frames), all_frames + np.arange(width))  # silence comes after them

    def body(start: Value) -> Value:
        numbers = kept.apply("Gather", start + np.arange(width), axis=0)
        power = _power(_frames(graph, padded, numbers), window, WINDOW, len(filters)) @ matrix(filters)
        return voice((power * factor).shaped(1, width, melpower.MELPOWER_BINS)).shaped(size)

    return _over(graph, graph.range(count) * np.int64(step), body, size).sum(0)
