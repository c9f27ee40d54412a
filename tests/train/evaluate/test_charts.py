"""Charts as SVG."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import pytest

from s2f_train.evaluate.charts import interval, line_chart
from s2f_train.evaluate.tables import Chart, Figure

STEPS = ["clean", "20 dB", "10 dB", "5 dB", "0 dB"]


def line(*values: float | None, about: float | None = 0.05) -> list[Figure | None]:
    found: list[Figure | None] = []
    for value in values:
        ends = (None, None) if value is None or about is None else (value - about, value + about)
        found.append(None if value is None else Figure(value, *ends, n=9))
    return found


def chart(lines: dict[str, list[Figure | None]], steps: list[str] = STEPS, share: bool = True) -> Chart:
    return Chart("noise", "With noise", "", "signal to noise", "right", steps, lines, share)


def drawn(made: Chart) -> ElementTree.Element:
    """The picture, once it is known to be XML and to hold every point and letter."""
    root = ElementTree.fromstring(f"<div>{line_chart(made, 'a')}</div>")
    svg = root[0]
    _, _, width, height = map(float, svg.attrib["viewBox"].split())
    for element in svg.iter():
        places = [tuple(map(float, place)) for place in re.findall(r"[ML](-?[\d.]+),(-?[\d.]+)", element.get("d", ""))]
        if element.tag == "text":
            letters = 7.0 * len(element.text or "")
            begin = (
                float(element.attrib["x"])
                - letters * {"start": 0, "middle": 0.5, "end": 1}[element.attrib["text-anchor"]]
            )
            places += [(begin, float(element.attrib["y"])), (begin + letters, float(element.attrib["y"]))]
        assert all(0 <= x <= width and 0 <= y <= height for x, y in places), ElementTree.tostring(element)
    return svg


def points(svg: ElementTree.Element, at: int = 0) -> list[tuple[float, float]]:
    """Where the markers of a line are."""
    paths = [path.attrib["d"] for path in svg.findall("g")[at].findall("path") if path.find("title") is not None]
    return [tuple(map(float, re.match(r"M(.+?),([\d.]+)", path).groups())) for path in paths]  # type: ignore[union-attr, misc]


def test_points_are_where_the_scale_says() -> None:
    svg = drawn(chart({"ours": line(0.9, 0.8, 0.75, 0.6, 0.5)}))
    heights = [y for _, y in points(svg)]
    scale = {
        float((text.text or "").removesuffix(" %")): float(text.attrib["y"]) - 4
        for text in svg.findall("text")
        if (text.text or "").endswith("%")
    }
    (low, bottom), (high, top) = min(scale.items()), max(scale.items())
    for value, y in zip((90, 80, 75, 60, 50), heights, strict=True):
        assert y == pytest.approx(bottom + (value - low) * (top - bottom) / (high - low), abs=0.2)
    assert 4 <= len(scale) <= 7


def test_points_tell_their_numbers() -> None:
    svg = drawn(chart({"ours <b>": line(0.9, None, 0.75)}, STEPS[:3]))
    told = [title.text for title in svg.findall("g/path/title")]
    assert told == ["ours <b>, clean: 90.0 % (85.0 to 95.0)", "ours <b>, 10 dB: 75.0 % (70.0 to 80.0)"]
    title = svg.find("title")
    assert svg.attrib["role"] == "img"
    assert title is not None
    assert svg.attrib["aria-labelledby"] == title.attrib["id"] == "a"
    assert title.text == "With noise: right by signal to noise. ours <b>."


@pytest.mark.parametrize(
    ("values", "lines", "bands", "whiskers"),
    [
        ((0.9, 0.8, 0.7, 0.6, 0.5), 1, 1, 0),
        ((0.9, 0.8, None, 0.6, 0.5), 2, 2, 0),
        ((0.9, None, 0.7, 0.6, math.nan), 1, 1, 1),
        ((None, None, 0.7, None, None), 0, 0, 1),
    ],
)
def test_what_is_not_known_is_a_gap(values: tuple[float | None, ...], lines: int, bands: int, whiskers: int) -> None:
    svg = drawn(chart({"ours": line(*values)}))
    found = [path.get("class") for path in svg.findall("g/path")]
    assert [found.count(name) for name in ("line", "band", "whisker")] == [lines, bands, whiskers]
    assert len(points(svg)) == sum(value is not None and not math.isnan(value) for value in values)


def test_a_band_is_only_where_an_interval_is() -> None:
    assert "band" not in line_chart(chart({"ours": line(0.9, 0.8, 0.7, 0.6, 0.5, about=None)}), "a")
    assert "whisker" not in line_chart(chart({"ours": line(0.9, 0.8, 0.7, 0.6, 0.5, about=None)}), "a")


def test_many_lines_stand_beside_each_other() -> None:
    svg = drawn(chart({f"system {i}": line(0.9, 0.8, 0.7, 0.6, 0.5) for i in range(9)}))
    first = [points(svg, at)[0][0] for at in range(9)]
    assert first == sorted(first)
    assert len(set(first)) == 9
    assert first[-1] < points(svg, 0)[1][0]
    looks = [group.attrib["class"] for group in svg.findall("g")]
    assert len(set(looks)) == 9
    assert looks[7] == "c0 again"


@pytest.mark.parametrize(
    "figures",
    [
        line(0.5),
        line(0.0, about=None),
        line(0.1 + 0.2, 0.3, about=None),
        line(-1e-9, 1e9),
        line(1e-12, 2e-12, about=1e-13),
        line(-3.0, -2.0),
        [Figure(0.5, math.nan, math.inf)],
    ],
)
@pytest.mark.parametrize("share", [True, False])
def test_any_values_have_a_scale(figures: list[Figure | None], share: bool) -> None:
    svg = drawn(chart({"ours": figures}, STEPS[: len(figures)], share))
    assert len(points(svg)) == len(figures)


@pytest.mark.parametrize(
    "steps", [["GSM telephone band with a very long name indeed"] * 3, [""] * 2, ["x" * 60] * 4, ["10"] * 30]
)
def test_labels_do_not_touch(steps: list[str]) -> None:
    svg = drawn(chart({"ours": line(*[0.5] * len(steps))}, steps))
    labels = [text for text in svg.findall("text") if float(text.attrib["y"]) > 240][:-1]
    ends: dict[str, float] = {}
    for text in labels:
        half = 3.5 * len(text.text or "")
        assert float(text.attrib["x"]) - half >= ends.get(text.attrib["y"], 0)
        ends[text.attrib["y"]] = float(text.attrib["x"]) + half


@pytest.mark.parametrize("made", [chart({}), chart({"ours": line(math.nan)}, ["clean"]), chart({"ours": []}, [])])
def test_nothing_measured_is_said(made: Chart) -> None:
    assert line_chart(made, "a") == "<p>Nothing could be measured.</p>"


@pytest.mark.parametrize(
    ("figure", "told"),
    [
        (Figure(0.5969, 0.5512, 0.64), "(55.1 to 64.0)"),
        (Figure(0.5), ""),
        (Figure(0.5, 0.4, math.nan), ""),
        (Figure(math.nan, 0.4, 0.6), ""),
        (Figure(-0.0001, -0.0002, 0.1), "(0.0 to 10.0)"),
    ],
)
def test_intervals_in_words(figure: Figure, told: str) -> None:
    assert interval(figure, True, 1) == told
