"""A chart as SVG: lines over named steps, each point with its interval."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby

from s2f_train.evaluate.tables import Chart, Figure, finite
from s2f_train.page import number

WIDTH, BOTTOM = 460, 230  # of the frame; wider if the labels of the steps need it
RIGHT, TOP = 14, 30
LETTER = 8  # pixels that a letter takes at most
LINE = 16  # from one line of a label to the next
LONGEST = 14  # letters in a line of a label
COLOURS = 7  # classes c0 to c6 of the style: those of Okabe and Ito, which the colour-blind tell apart
# Relative paths, so that a marker is a place and one of these: circle, square, diamond, triangle.
MARKERS = (
    "m-3.5,0a3.5,3.5 0 1 0 7,0a3.5,3.5 0 1 0 -7,0z",
    "m-3.2,-3.2h6.4v6.4h-6.4z",
    "m0,-4.4l4.4,4.4l-4.4,4.4l-4.4,-4.4z",
    "m0,-4.2l4.2,7.2h-8.4z",
)


def known_interval(figure: Figure) -> tuple[float, float] | None:
    """Low and high, if the value and both of them are known."""
    low, high = finite(figure.low), finite(figure.high)
    return None if low is None or high is None or finite(figure.value) is None else (low, high)


def interval(figure: Figure, share: bool, digits: int) -> str:
    """Such as "(55.1 to 64.0)"; empty where there is no interval."""
    ends = known_interval(figure)
    if ends is None:
        return ""
    low, high = (number(end, share, digits).removesuffix(" %") for end in ends)
    return f"({low} to {high})"


def digits_of(chart: Chart) -> int:
    """How many digits after the point its numbers have where they are told."""
    return 1 if chart.share else 3


def line_chart(chart: Chart, name: str) -> str:
    """The chart and its legend as HTML; colours and sizes come from the style of the page.

    Up to three lines have shaded bands for their intervals. More of them, or a point alone, would be hidden:
    points then stand side by side with whiskers.

    Args:
        name: an id that nothing else on the page has.
    """
    figures = [f for line in chart.lines.values() for f in line if f and finite(f.value) is not None]
    if not figures:
        return "<p>Nothing could be measured.</p>"
    frame = _Frame(chart, figures)
    beside = len(chart.lines) > 3 or len(chart.steps) < 3
    lines = (_line(frame, at, beside) for at in range(len(chart.lines)))
    label = f"{chart.title}: {chart.y_label} by {chart.x_label}. {', '.join(chart.lines)}."
    wide = " class='wide'" if frame.width > WIDTH else ""
    sizes = f"min-width:{0.7 * frame.width:.0f}px;max-width:{1.15 * frame.width:.0f}px"
    return (
        f"<svg{wide} viewBox='0 0 {frame.width} {frame.height}' style='{sizes}' role='img' aria-labelledby='{name}'>"
        f"<title id='{name}'>{escape(label)}</title>{''.join(frame.draw())}{''.join(lines)}</svg>"
        f"{_legend(list(chart.lines))}"
    )


@dataclass(frozen=True)
class _Point:
    x: float
    y: float
    ends: tuple[float, float] | None  # of the interval: where high and low are
    told: str


class _Frame:
    """Where values and steps of a chart are in its picture."""

    def __init__(self, chart: Chart, figures: Sequence[Figure]):
        self.chart = chart
        self._marks = _marks(figures)
        step = (self._marks[1] - self._marks[0]) * (100 if chart.share else 1)
        digits = max(0, -math.floor(math.log10(step * 1.001)))
        self._scale = [number(mark, chart.share, digits) for mark in self._marks]
        self.left = 12 + LETTER * max(map(len, self._scale))
        room = int((WIDTH - self.left - RIGHT) / len(chart.steps) / LETTER) - 1
        self._labels = _wrapped(chart.steps, room)
        widest = max(len(line) for label in self._labels for line in label)
        self.width = max(WIDTH, self.left + RIGHT + len(chart.steps) * LETTER * (widest + 1))
        self.height = BOTTOM + LINE * max(map(len, self._labels)) + 34
        self.unit = (self.width - self.left - RIGHT) / len(chart.steps)

    def across(self, step: int) -> float:
        return self.left + (step + 0.5) * self.unit

    def up(self, value: float) -> float:
        first, last = self._marks[0], self._marks[-1]
        return TOP + (BOTTOM - TOP) * (last - value) / (last - first)

    def draw(self) -> Iterator[str]:
        """The scale with its lines, and all labels."""
        for mark, told in zip(self._marks, self._scale, strict=True):
            y = self.up(mark)
            yield f"<line x1='{self.left}' x2='{self.width - RIGHT}' y1='{y:.1f}' y2='{y:.1f}'/>"
            yield _text(self.left - 8, y + 4, told, "end")
        for i, label in enumerate(self._labels):
            for at, line in enumerate(label):
                yield _text(self.across(i), BOTTOM + 18 + LINE * at, line)
        yield _text(0, 14, self.chart.y_label, "start")
        yield _text((self.left + self.width - RIGHT) / 2, self.height - 6, self.chart.x_label)


def _line(frame: _Frame, at: int, beside: bool) -> str:
    """The line at a place among all: intervals below, points above, each with its numbers as a tooltip."""
    chart, share, digits = frame.chart, frame.chart.share, digits_of(frame.chart)
    name, figures = list(chart.lines.items())[at]
    gap = min(9.0, 0.7 * frame.unit / len(chart.lines)) if beside else 0.0
    shift = gap * (at - (len(chart.lines) - 1) / 2)
    points: list[_Point | None] = []
    for i, (step, figure) in enumerate(zip(chart.steps, figures, strict=True)):
        if figure is None or finite(figure.value) is None:
            points.append(None)
            continue
        ends = known_interval(figure)
        told = f"{name}, {step}: {number(figure.value, share, digits)} {interval(figure, share, digits)}".strip()
        places = (frame.up(ends[1]), frame.up(ends[0])) if ends else None
        points.append(_Point(frame.across(i) + shift, frame.up(figure.value), places, told))
    parts = []
    for run in _runs([point if point and point.ends else None for point in points]):
        tops, bottoms = ([(p.x, p.ends[end]) for p in run if p.ends] for end in (0, 1))
        if beside or len(run) == 1:
            parts += [
                f"<path class='whisker' d='M{_places([top, bottom])}'/>"
                for top, bottom in zip(tops, bottoms, strict=True)
            ]
        else:
            parts.append(f"<path class='band' d='M{_places(tops + bottoms[::-1])}z'/>")
    parts += [
        f"<path class='line' d='M{_places([(p.x, p.y) for p in run])}'/>" for run in _runs(points) if len(run) > 1
    ]
    parts += [
        f"<path d='M{p.x:.1f},{p.y:.1f}{MARKERS[at % len(MARKERS)]}'><title>{escape(p.told)}</title></path>"
        for p in points
        if p
    ]
    return f"<g class='{_look(at)}'>{''.join(parts)}</g>"


def _runs(points: Sequence[_Point | None]) -> list[list[_Point]]:
    """Points in a row, without the gaps."""
    grouped = groupby(points, key=lambda point: point is None)
    return [[point for point in run if point] for gap, run in grouped if not gap]


def _places(places: Sequence[tuple[float, float]]) -> str:
    return "L".join(f"{x:.1f},{y:.1f}" for x, y in places)


def _text(x: float, y: float, text: str, anchor: str = "middle") -> str:
    return f"<text x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}'>{escape(text)}</text>"


def _look(at: int) -> str:
    """The colour of a line; where colours begin again, lines are dashed."""
    return f"c{at % COLOURS}{' again' if at >= COLOURS else ''}"


def _legend(names: Sequence[str]) -> str:
    items = (
        f"<li><svg class='{_look(at)}' viewBox='0 0 24 12' aria-hidden='true'><path class='line' d='M0,6H24'/>"
        f"<path d='M12,6{MARKERS[at % len(MARKERS)]}'/></svg>{escape(name)}</li>"
        for at, name in enumerate(names)
    )
    return f"<ul class='legend'>{''.join(items)}</ul>"


def _wrapped(steps: Sequence[str], room: int) -> list[list[str]]:
    """Labels in at most three lines of `room` letters, or of as many more as their words need."""
    longest = max((len(word) for step in steps for word in step.split()), default=1)
    for letters in range(max(1, room, min(longest, LONGEST)), LONGEST):
        lines = [textwrap.wrap(step, letters) or [""] for step in steps]
        if max(map(len, lines)) <= 3:
            return lines
    return [textwrap.wrap(step, max(room, LONGEST), max_lines=3, placeholder="…") or [""] for step in steps]


def _marks(figures: Sequence[Figure]) -> list[float]:
    """About five round numbers around all values and intervals."""
    ends = [end for f in figures for end in (f.value, *(known_interval(f) or ()))]
    low, high = min(ends), max(ends)
    most = max(abs(low), abs(high))
    spread = high - low if high - low > 1e-6 * most else 0.4 * most or 1.0
    scale = 10.0 ** math.floor(math.log10(spread / 4))
    step = next(scale * m for m in (1, 2, 5, 10) if scale * m >= 0.999 * spread / 4)
    first = math.floor(low / step + 1e-9)
    last = max(math.ceil(high / step - 1e-9), first + 1)
    return [step * i for i in range(first, last + 1)]
