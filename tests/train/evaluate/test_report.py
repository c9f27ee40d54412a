"""The folder that an evaluation is written to: whole, the same each time, strict, and safe to open."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from s2f_train.evaluate.report import FORMAT, NOTICE, as_json, is_report, page, write_report
from s2f_train.evaluate.tables import Chart, Column, Evaluation, Figure, Grid, Section, Table

NAN = float("nan")
TRIALS = "trial,right\r\n1,1\r\n"
EVIL = "<script>alert('1')</script> & \"co\""
VOID = {"meta", "img", "br"}


def figure(value: float, about: float = 0.04, n: int = 1840) -> Figure:
    return Figure(value, value - about, value + about, n)


def picture(seed: int, size: int = 64) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)


def matching() -> Table:
    columns = [
        Column("name", "", "text"),
        Column("all", "1:2, all", better="higher"),
        Column("same", "1:2, same gender", better="higher"),
        Column("rank", "median rank", "figure", 2, better="lower"),
        Column("ten", "1:10", digits=2),
        Column("trials", "trials", "count"),
        Column("share", "abstained", "share"),
        Column("seconds", "seconds", "number", 3),
    ]
    rows: list[dict[str, Any]] = [
        {
            "name": "default 1",
            "all": Figure(0.5969, 0.5512, 0.64, 1840),
            "same": figure(0.531),
            "rank": Figure(1234.5, 1100, 1400.25, 300),
            "ten": figure(0.2),
            "trials": 12345,
            "share": 0.0625,
            "seconds": -0.0001,
            "_kind": "system",
        },
        {
            "name": f"pictures {EVIL} with a name that is so long that it has to be broken",
            "all": Figure(NAN, NAN, NAN),
            "same": None,
            "trials": np.int64(7),
            "share": np.float32(0.5),
            "seconds": NAN,
            "_kind": "reference",
            "_note": f"It saw these people in training. {EVIL}",
        },
        {"name": "random face", "all": figure(0.5), "same": Figure(0.5), "_kind": "baseline"},
        {"name": "mean face", "all": figure(0.5, 0), "_kind": "baseline", "_note": "The same for all."},
        {"name": "silence", "all": figure(0.49), "_kind": "baseline", "_note": "The same for all."},
        {"name": "the person's other photo", "all": figure(0.97, 0.01), "_kind": "ceiling"},
    ]
    return Table("match_1of2", "Matching", "Right if the face is nearer.\n\nWen's protocol.", columns, rows)


def curve(key: str = "noise", lines: int = 2) -> Chart:
    steps = ["clean", "20 dB", "10 dB", "5 dB", "0 dB"]
    found: dict[str, list[Figure | None]] = {
        f"{EVIL if i == 0 else 'system'} {i}": [figure(0.8 - 0.05 * i - 0.06 * k) for k in range(len(steps))]
        for i in range(lines)
    }
    found[next(iter(found))][2] = None
    return Chart(key, "With noise", "Babble.", "signal to noise", "right", steps, found)


def made() -> Evaluation:
    one = Table("one", "One row", "", [Column("a", "name", "text"), Column("b", "FID", "figure")], [])
    grid = Grid("best", "The best", "", ["photo", EVIL], [("woman, 30s", [picture(0), None]), (EVIL, [picture(1)] * 2)])
    judges = {"dlib": {"sha256": "0f" * 32, "size": 128, "used in training": False}, "age": {"sha256": "ab" * 32}}
    facts = {"pack": "default 1", "seed": 20240101, "people": 181, "judges": judges, "store": {"a": [1, 2], "b": NAN}}
    return Evaluation(
        f"default 1 on 184 voices {EVIL}",
        [("59.7 % (55.1 to 64.0)", "matching"), ("not measured", EVIL)],
        {**facts, "path": EVIL},
        [f"The judge was used in training. {EVIL}"],
        [
            Section("Matching", "Which of two people is it?", [matching(), curve(), curve("more", 9)]),
            Section("Distribution", "", [one, replace(one, rows=[{"a": "ours", "b": figure(123.4, 5)}])]),
            Section("Faces", "By chance.", [grid, Grid("none", "No rows", "", ["photo"], [])]),
            Section(f"Words only {EVIL}", "Nothing more.", []),
        ],
    )


class Page(HTMLParser):
    """A page as a browser would read it; fails on tags that close what is not open."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)
        if "tr" in self.open:
            self.rows[-1][-1] += data

    def row(self, begin: str) -> list[str]:
        return next(row for row in self.rows if row and row[0].startswith(begin))


def test_numbers_are_shown_for_people() -> None:
    found = Page(page(made()))
    assert found.row("default 1")[1:] == [
        "59.7 % (55.1 to 64.0)",
        "53.1 % (49.1 to 57.1)",
        "1,234.50 (1,100.00 to 1,400.25)",
        "20.00 % (16.00 to 24.00)",
        "12,345",
        "6.2 %",
        "0.000",
    ]
    assert found.row("pictures")[1:] == ["–", "–", "–", "–", "7", "50.0 %", "–"]
    assert found.row("random face")[1:3] == ["50.0 % (46.0 to 54.0)", "50.0 %"]
    assert found.row("ours") == ["ours", "123.4 (118.4 to 128.4)"]
    assert "Nothing could be measured." in found.text
    assert "59.7 % " in found.text
    assert "(55.1 to 64.0)" in found.text


def test_arrows_say_which_way_is_better() -> None:
    head = next(row for row in Page(page(made())).rows if "trials" in row)
    assert head[1:5] == ["1:2, all↑", "1:2, same gender↑", "median rank↓", "1:10"]


def test_kinds_are_set_apart_and_notes_are_numbered() -> None:
    html = page(made())
    found = Page(html)
    groups = [tag[1]["class"] for tag in found.tags if tag[0] == "tbody" and "class" in tag[1]]
    assert groups[:4] == ["system", "reference", "baseline", "ceiling"]
    assert [row for row in found.rows if row in (["Reference"], ["Baselines"], ["Ceiling"])] == [
        ["Reference"],
        ["Baselines"],
        ["Ceiling"],
    ]
    assert found.row("mean face")[0] == "mean face2"
    assert found.row("silence")[0] == "silence2"
    assert html.count("</sup> The same for all.</li>") == 1
    assert html.count("</sup> It saw these people in training.") == 1


def test_the_notice_warnings_facts_and_contents_are_there() -> None:
    found = Page(page(made()))
    assert found.text.count(NOTICE) == 2
    assert found.text.index(f"The judge was used in training. {EVIL}") < found.text.index("matching")
    assert found.row("dlib") == ["dlib", "0f" * 32, "128", "no"]
    assert found.row("age") == ["age", "ab" * 32, "–", "–"]
    assert found.row("seed") == ["seed", "20240101"]
    ids = [tag[1]["id"] for tag in found.tags if "id" in tag[1]]
    links = [tag[1]["href"] for tag in found.tags if tag[0] == "a"]
    assert len(set(ids)) == len(ids)
    assert len(links) == 11
    assert {f"#{name}" for name in ids} >= set(links)


def test_nothing_is_run_or_fetched() -> None:
    html = page(made())
    found = Page(html)
    assert not {tag for tag, _ in found.tags} & {"script", "link", "iframe", "object", "embed", "base", "form"}
    for tag, attributes in found.tags:
        assert not [name for name in attributes if name.startswith("on")], tag
        for name in ("src", "href", "srcset", "action", "data", "poster", "xlink:href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:image/")), (tag, attributes)
    assert not re.search(r"url\(|@import|https?://", html)
    policy = next(tag[1]["content"] for tag in found.tags if "http-equiv" in tag[1])
    assert policy is not None
    assert policy.startswith("default-src 'none';")


def test_all_text_is_escaped() -> None:
    html = page(made())
    assert "<script" not in html
    # Twice in the title, in the contents and in the head of a section; a tile, fact, warning, row, note, legend ...
    assert "\n".join(Page(html).text).count(EVIL) >= 14
    assert any(tag == "img" and attributes["alt"] == f"{EVIL}: {EVIL}" for tag, attributes in Page(html).tags)


def test_pictures_are_small() -> None:
    rows: list[tuple[str, list[Any]]] = [
        (f"voice {i}", [picture(10 * i + k, 224) for k in range(6)]) for i in range(24)
    ]
    grid = Grid("grid", "Faces", "", list("abcdef"), rows)
    html = page(Evaluation("faces", [], {}, [], [Section("Faces", "", [grid])]))
    # Noise is the worst that JPEG can be given, and three such grids have to stay below 15 MB.
    assert html.count("data:image/jpeg;base64,") == 144
    assert len(html) < 5_000_000


def test_an_evaluation_of_nothing_is_a_page() -> None:
    html = page(Evaluation("nothing", [], {}))
    assert Page(html).text.count(NOTICE) == 2
    assert "Contents" not in html


# ---------------------------------------------------------------------------------- files


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


def test_json_is_strict_and_plain(tmp_path: Path) -> None:
    write_report(made(), tmp_path / "report", {"trials.csv": TRIALS})
    whole = json.loads((tmp_path / "report" / "report.json").read_text(encoding="utf-8"), parse_constant=refuse)
    assert whole["format"] == FORMAT
    assert whole["title"] == made().title
    assert whole["warnings"] == made().warnings
    assert whole["summary"][0] == {"value": "59.7 % (55.1 to 64.0)", "what": "matching"}
    assert whole["facts"]["judges"]["dlib"]["size"] == 128
    assert whole["facts"]["store"] == {"a": [1, 2], "b": None}
    table, chart, _ = whole["sections"][0]["parts"]
    assert (table["kind"], table["key"], table["columns"][1]["better"]) == ("table", "match_1of2", "higher")
    first, second = table["rows"][:2]
    assert first["all"] == {"value": 0.5969, "low": 0.5512, "high": 0.64, "n": 1840}
    assert second["all"] == {"value": None, "low": None, "high": None, "n": 0}
    assert (second["same"], second["trials"], second["share"], second["seconds"]) == (None, 7, 0.5, None)
    assert second["_kind"] == "reference"
    assert chart["kind"] == "chart"
    assert chart["steps"] == curve().steps
    assert chart["lines"]["system 1"][0]["n"] == 1840
    assert chart["lines"][f"{EVIL} 0"][2] is None
    assert whole["sections"][2]["parts"][0] == {"kind": "grid", "key": "best"}


def test_the_same_bytes_each_time(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_report(made(), tmp_path / name, {"trials.csv": TRIALS})
    for name in ("report.html", "report.json", "trials.csv"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize("trials", [TRIALS, TRIALS.encode()])
def test_trials_are_kept_byte_by_byte(tmp_path: Path, trials: str | bytes) -> None:
    write_report(made(), tmp_path / "report", {"trials.csv": trials})
    assert (tmp_path / "report" / "trials.csv").read_bytes() == TRIALS.encode()


def test_names_that_are_no_utf8_are_written(tmp_path: Path) -> None:
    write_report(replace(made(), title="voice \udcff.wav"), tmp_path / "report", {"trials.csv": "\udcff"})
    assert "voice ?.wav" in (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert is_report(tmp_path / "report")


def test_an_older_report_is_replaced_whole(tmp_path: Path) -> None:
    folder = tmp_path / "report"
    write_report(made(), folder, {"trials.csv": TRIALS})
    (folder / "old.txt").write_text("old")
    write_report(replace(made(), title="new"), folder, {"trials.csv": TRIALS})
    assert sorted(path.name for path in folder.iterdir()) == ["report.html", "report.json", "trials.csv"]
    assert "<h1>new</h1>" in (folder / "report.html").read_text(encoding="utf-8")
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


@pytest.mark.parametrize("content", [None, "no json", "[]", '{"format": "s2f store 1"}', "\ud83d"])
def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, content: str | None) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "thesis.txt").write_text("dear")
    if content is not None:
        (folder / "report.json").write_bytes(content.encode("utf-8", "surrogatepass"))
    with pytest.raises(FileExistsError, match="something else; choose another folder"):
        write_report(made(), folder, {"trials.csv": TRIALS})
    assert (folder / "thesis.txt").read_text() == "dear"
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    assert not is_report(folder)


def test_nothing_half_written_remains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "report"
    write_report(made(), folder, {"trials.csv": TRIALS})
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    write = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if path.name == "trials.csv":
            raise OSError(28, "No space left on device")
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        write_report(replace(made(), title="new"), folder, {"trials.csv": TRIALS})
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


def test_what_json_cannot_say_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        write_report(replace(made(), facts={"what": object()}), tmp_path / "report", {"trials.csv": TRIALS})
    assert list(tmp_path.iterdir()) == []
    assert "NaN" not in as_json(made())
