"""A page that shows what a store is: counts, hours, durations, genders, splits, ages, faces. One file of HTML."""

from __future__ import annotations

import base64
import io
import math
import random
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from PIL import Image

from s2f_train.data.store import Sample, Store, read_lines

NAME = "report.html"
GRID = 8  # faces a side
TILE = 96  # pixels a face at most
REASONS = 10
BARS = 40  # of speech, at most
SPLITS = ("train", "valid", "test")
GROUPS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)  # upper ends: how many voices an identity has

STYLE = """
:root{color-scheme:light dark;--ground:#fbfaf8;--card:#fff;--ink:#1d1f24;--soft:#666b76;--line:#e4e2dd;--bar:#3b6ea8}
@media(prefers-color-scheme:dark){:root{--ground:#15171b;--card:#1d2026;--ink:#e7e8ea;--soft:#9aa0ab;--line:#31353d;
--bar:#6ea1dc}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1120px;padding:40px 24px 64px;background:var(--ground);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif;font-variant-numeric:tabular-nums}
h1{font-size:26px;margin:0;font-weight:650;letter-spacing:-.01em}
h2{font-size:17px;margin:40px 0 12px;font-weight:650}
h3{font-size:14px;margin:0 0 8px;font-weight:600;color:var(--soft)}
p{margin:4px 0;color:var(--soft);max-width:75ch;overflow-wrap:anywhere}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px;margin-top:24px}
.card{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:14px 16px;overflow-x:auto}
.tiles b{display:block;font-size:24px;font-weight:650;line-height:1.25}.tiles span{color:var(--soft);font-size:13px}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(440px,1fr));gap:16px}
table{border-collapse:collapse;width:100%}
th{font-weight:500;color:var(--soft);font-size:13px}
th,td{padding:6px 10px;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
th:first-child,td:first-child,.text{text-align:left}
td.text{white-space:normal;overflow-wrap:anywhere}
tr:last-child td{border-bottom:0}
.bar{display:inline-block;width:110px;height:8px;border-radius:4px;background:var(--line);overflow:hidden;
margin-left:10px;vertical-align:middle}.bar i{display:block;height:100%;background:var(--bar)}
svg{display:block;width:100%;height:auto}svg text{fill:var(--soft);font-size:11px}svg rect{fill:var(--bar)}
svg line{stroke:var(--line)}
.faces{display:grid;grid-template-columns:repeat(8,1fr);gap:4px;max-width:560px}
.faces img{width:100%;display:block;border-radius:4px}
"""


def write(store: Store, path: Path | None = None) -> Path:
    """Writes the page of a store, beside its shards unless told otherwise."""
    path = path or store.folder / NAME
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_text(page(store), encoding="utf-8")
    temporary.replace(path)
    return path


def page(store: Store) -> str:
    """The page as HTML that needs nothing from elsewhere."""
    facts = store.facts
    counts = facts["counts"]
    name = escape(store.folder.resolve().name)
    settings = [[key, value] for key, value in facts["settings"].items() if value is not None]
    splits = {split: counts["splits"][split] for split in SPLITS if split in counts["splits"]}
    skipped = list(read_lines(store.folder / "skipped.jsonl"))
    notes = [(source_name, note) for source_name, source in facts["sources"].items() for note in source["notes"]]
    parts = [
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>",
        "<meta name='viewport' content='width=device-width,initial-scale=1'>",
        f"<title>Store {name}</title><style>{STYLE}</style></head><body><h1>{name}</h1>",
        f"<p>A store of voices and faces for training. Made by {escape(str(facts['made_by']))}.</p>",
        _tiles(counts),
        "<h2>Sources</h2>",
        _sources(facts["sources"]),
        "<h2>Who is in it</h2><div class='pair'>",
        _shares("Gender", counts["genders"]),
        _shares("Split", splits),
        "</div>",
        _charts(store),
        *_faces(store),
        _reasons(skipped),
        _notes(notes),
        "<h2>Settings</h2>",
        _table(["", ""], settings, {0, 1}),
        "</body></html>\n",
    ]
    return "".join(parts)


# ------------------------------------------------------------------------------- tables


def _tiles(counts: dict[str, Any]) -> str:
    tiles = [
        (_number(counts["identities"]), "identities"),
        (_number(counts["voices"]), "voices"),
        (_hours(counts["hours"]), "hours of speech"),
        (_number(counts["faces"]), "faces"),
        (_size(counts["bytes"]), "in shards"),
        (_number(counts["skipped"]), "items left out"),
    ]
    cards = (f"<div class='card'><b>{value}</b><span>{what}</span></div>" for value, what in tiles)
    return f"<div class='tiles'>{''.join(cards)}</div>"


def _sources(sources: dict[str, Any]) -> str:
    rows = [
        [
            name,
            *(_number(row[what]) for what in ("identities", "voices")),
            _hours(row["hours"]),
            *(_number(row[what]) for what in ("faces", "skipped")),
        ]
        for name, row in sources.items()
    ]
    return _table(["", "identities", "voices", "hours", "faces", "left out"], rows)


def _shares(title: str, groups: dict[str, Any]) -> str:
    total = sum(row["identities"] for row in groups.values()) or 1
    names = {"m": "male", "f": "female"}
    rows = []
    for name, row in groups.items():
        share = row["identities"] / total
        bar = f"<span class='bar'><i style='width:{100 * share:.1f}%'></i></span>"
        cells = [_number(row["identities"]) + bar, _number(row["voices"]), _hours(row["hours"]), _number(row["faces"])]
        rows.append([escape(names.get(name, name)), *cells])
    return _table([title, "identities", "voices", "hours", "faces"], rows, raw=True)


def _reasons(skipped: list[dict[str, Any]]) -> str:
    if not skipped:
        return ""
    counted = Counter((row["source"], row["kind"], reason(row["why"])) for row in skipped).most_common()
    rows = [[source, kind, why, _number(number)] for (source, kind, why), number in counted[:REASONS]]
    more = f"<p>And {len(counted) - REASONS} rarer reasons.</p>" if len(counted) > REASONS else ""
    told = "<p>Each of them is in skipped.jsonl, with its reason.</p>"
    return f"<h2>Left out</h2>{told}{_table(['source', 'kind', 'why', 'items'], rows, {0, 1, 2})}{more}"


def reason(why: str) -> str:
    """What the reasons of many items have in common: without details, digits and names of files."""
    return re.sub(r"\d[\d.,]*", "…", why.split(": ")[0])


def _notes(notes: list[tuple[str, str]]) -> str:
    if not notes:
        return ""
    return f"<h2>Notes on the sources</h2>{_table(['', ''], [list(note) for note in notes], {0, 1})}"


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]], text: Iterable[int] = (0,), raw: bool = False) -> str:
    """A table; `text` columns stand left and may break. `raw`: the cells are HTML already."""
    left = set(text)

    def row(tag: str, cells: Sequence[Any]) -> str:
        marked = (
            f"<{tag}{' class=text' if i in left else ''}>{cell if raw else escape(str(cell))}</{tag}>"
            for i, cell in enumerate(cells)
        )
        return f"<tr>{''.join(marked)}</tr>"

    top = row("th", head) if any(head) else ""
    return f"<div class='card'><table>{top}{''.join(row('td', cells) for cells in rows)}</table></div>"


# ------------------------------------------------------------------------------- charts


def _charts(store: Store) -> str:
    charts = []
    if store.voices:
        longest = max(s.seconds for s in store.voices)
        step = next((step for step in (0.5, 1, 2, 5, 10) if longest / step < BARS), longest / BARS)
        bars = Counter(int(s.seconds // step) for s in store.voices)
        labels = [f"{step * i:g}" for i in range(max(bars) + 1)]
        charts.append(("Speech per voice, in seconds", labels, [bars[i] for i in range(len(labels))]))
        charts.append(("Voices per identity", *_grouped(store.voices)))
    if store.faces:
        charts.append(("Faces per identity", *_grouped(store.faces)))
    ages = Counter(int(who.age // 5) for who in store.identities.values() if who.age is not None and who.age >= 0)
    if ages:
        first, last = min(ages), max(ages)
        values = [ages[i] for i in range(first, last + 1)]
        charts.append(("Age of identities, where known", [f"{5 * i}" for i in range(first, last + 1)], values))
    cards = (f"<div class='card'><h3>{title}</h3>{histogram(labels, values)}</div>" for title, labels, values in charts)
    return f"<h2>Distributions</h2><div class='pair'>{''.join(cards)}</div>"


def _grouped(samples: list[Sample]) -> tuple[list[str], list[int]]:
    """How many identities have 1, 2, 3-5, ... samples."""
    each = Counter(s.identity for s in samples).values()
    ends = [end for end in GROUPS if end < max(each)] + [max(each)]
    begins = [1, *(end + 1 for end in ends)]
    labels = [f"{begin}" if begin == end else f"{begin}–{end}" for begin, end in zip(begins, ends, strict=False)]
    values = [sum(begin <= n <= end for n in each) for begin, end in zip(begins, ends, strict=False)]
    return labels, values


def histogram(labels: Sequence[str], values: Sequence[int]) -> str:
    """Bars as SVG, each with its number as a tooltip; labels are left out where they would touch."""
    width, height, left, bottom = 480, 190, 44, 22
    top, step = 8, (480 - 44) / len(values)
    most = max([*values, 1])
    parts = []
    for mark in _marks(most):
        y = top + (height - top - bottom) * (1 - mark / most)
        parts.append(f"<line x1='{left}' x2='{width}' y1='{y:.1f}' y2='{y:.1f}'/>")
        parts.append(f"<text x='{left - 6}' y='{y + 4:.1f}' text-anchor='end'>{_number(mark)}</text>")
    every = max(1, math.ceil(max(7 * len(label) + 6 for label in labels) / step))
    for i, (label, value) in enumerate(zip(labels, values, strict=True)):
        x, size = left + i * step, (height - top - bottom) * value / most
        bar = (
            f"x='{x + step * 0.08:.1f}' y='{height - bottom - size:.1f}' width='{step * 0.84:.1f}' height='{size:.1f}'"
        )
        parts.append(f"<rect {bar} rx='1.5'><title>{escape(label)}: {_number(value)}</title></rect>")
        if i % every == 0:
            middle = f"x='{x + step / 2:.1f}' y='{height - 6}' text-anchor='middle'"
            parts.append(f"<text {middle}>{escape(label)}</text>")
    return f"<svg viewBox='0 0 {width} {height}' role='img'>{''.join(parts)}</svg>"


def _marks(most: int) -> list[int]:
    """About four round numbers from 0 to `most`."""
    rough = most / 4
    scale = 10 ** math.floor(math.log10(max(rough, 1)))
    step = max(1, next(int(scale * m) for m in (1, 2, 5, 10) if scale * m >= rough))
    return list(range(0, most + 1, step))


# -------------------------------------------------------------------------------- faces


def _faces(store: Store) -> list[str]:
    """A grid of faces for each view; without names, since no one is to be looked up here."""
    views: dict[str, list[Sample]] = {}
    for sample in store.faces:
        views.setdefault(sample.view, []).append(sample)
    parts = ["<h2>Faces</h2><div class='pair'>"] if views else []
    for view, samples in sorted(views.items()):
        some = random.Random(0).sample(samples, min(len(samples), GRID * GRID))
        pictures = "".join(f"<img alt='' src='{_data_uri(store, sample)}'>" for sample in some)
        title = f"{escape(view)}: {len(some)} of {_number(len(samples))}, by chance"
        parts.append(f"<div class='card'><h3>{title}</h3><div class='faces'>{pictures}</div></div>")
    return [*parts, "</div>"] if views else []


def _data_uri(store: Store, sample: Sample) -> str:
    member = "png" if "png" in sample.members else "jpg"
    with Image.open(io.BytesIO(store.read(sample, member))) as image:
        image.thumbnail((TILE, TILE))
        file = io.BytesIO()
        image.convert("RGB").save(file, "JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


# ------------------------------------------------------------------------------ numbers


def _number(value: int) -> str:
    return f"{value:,}"


def _hours(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:,.2f}"


def _size(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:,.0f} {unit}" if unit == "B" else f"{size:,.1f} {unit}"
        size /= 1000
    return f"{size:,.2f} TB"
