"""The page about a store."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from s2f_train.data.store import Store
from s2f_train.prepare.item import PrepareSettings
from s2f_train.prepare.plan import plan
from s2f_train.prepare.store_report import histogram, page, reason, write
from tests.train.made_sources import SMALL, made_source, prepared


class Balance(HTMLParser):
    """Fails on tags that close what is not open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "img", "line"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def texts(html: str) -> list[str]:
    parser = Balance()
    parser.feed(html)
    parser.close()
    assert parser.open == []
    return parser.text


def test_prepare_writes_it(made_store: Store) -> None:
    assert (made_store.folder / "report.html").read_text() == page(made_store)


def test_it_has_the_counts(made_store: Store) -> None:
    found = texts(page(made_store))
    for value, what in (("5", "identities"), ("12", "voices"), ("15", "faces"), ("0", "items left out")):
        assert found[found.index(what) - 1] == value
    hours = sum(s.seconds for s in made_store.voices) / 3600
    assert found[found.index("hours of speech") - 1] == f"{hours:.2f}"


def test_names_and_notes_are_escaped(made_store: Store) -> None:
    html = page(made_store)
    assert "3 rows without files: &lt;a&gt;, b &amp; c." in html
    assert "<a>" not in html


def test_no_one_is_named_and_nothing_is_fetched(made_store: Store) -> None:
    html = page(made_store)
    for name in made_store.identities:
        assert not re.search(rf"\b{re.escape(name)}\b", html)
    without_pictures = re.sub(r"src='data:image/jpeg;base64,[^']+'", "", html)
    assert not re.search(r"https?:|<script|<link|src=|url\(", without_pictures)
    assert html.count("data:image/jpeg") == 15


def test_it_is_the_same_each_time(made_store: Store, tmp_path: Path) -> None:
    assert write(made_store, tmp_path / "a.html").read_bytes() == write(made_store, tmp_path / "b.html").read_bytes()


def test_reasons_of_items_that_were_left_out_are_counted(tmp_path: Path) -> None:
    source = made_source(tmp_path / "data", 4, 0)
    for name in ("v000.wav", "v002.wav"):
        (tmp_path / "data" / name).write_text("<b>no sound</b>")
    store = prepared(plan([source], SMALL, PrepareSettings()), tmp_path / "store")
    found = texts(page(store))
    assert found[found.index("items left out") - 1] == "2"
    row = next(i for i, text in enumerate(found) if "no sound that can be read" in text)
    assert found[row - 2 : row + 2 : 3] == ["made", "2"]
    assert "<h2>Faces</h2>" not in page(store)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (
            "too little speech: 0.31 s in 2.00 s of sound; 0.5 s is needed",
            "too little speech: 0.00 s in 3.10 s of sound",
        ),
        ("the file cannot be decoded beyond 1.0 s (x)", "the file cannot be decoded beyond 21.7 s (x)"),
        ("The 1,234 bytes are no picture: cannot identify", "The 27 bytes are no picture: truncated"),
    ],
)
def test_like_reasons_are_one(one: str, other: str) -> None:
    assert reason(one) == reason(other)


@pytest.mark.parametrize("values", [[0], [1], [3, 0, 7], [10_000] * 40, [1_234_567, 1]])
def test_bars_stay_in_the_picture(values: list[int]) -> None:
    svg = histogram([str(i) for i in range(len(values))], values)
    assert svg.count("<rect") == len(values)
    for x, y, width, height in re.findall(r"<rect x='(.+?)' y='(.+?)' width='(.+?)' height='(.+?)'", svg):
        assert 0 <= float(x) <= float(x) + float(width) <= 480
        assert 0 <= float(y) <= float(y) + float(height) <= 190
    heights = [float(h) for h in re.findall(r"<rect [^>]*height='(.+?)'", svg)]
    assert heights[values.index(max(values))] == max(heights)
