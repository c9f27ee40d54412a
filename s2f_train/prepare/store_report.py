"""A page that shows what a store is: counts, hours, durations, genders, splits, ages, faces. One file of HTML."""

from __future__ import annotations

import io
import math
import random
import re
from collections import Counter
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from PIL import Image

from s2f_train.data.store import Sample, Store, read_lines
from s2f_train.page import data_uri, document, number, table

NAME = "report.html"
GRID = 8  # faces a side
TILE = 96  # pixels a face at most
REASONS = 10
BARS = 40  # of speech, at most
SPLITS = ("train", "valid", "test")
GROUPS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)  # upper ends: how many voices an identity has


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
    name = store.folder.resolve().name
    settings = [[key, value] for key, value in facts["settings"].items() if value is not None]
    splits = {split: counts["splits"][split] for split in SPLITS if split in counts["splits"]}
    skipped = list(read_lines(store.folder / "skipped.jsonl"))
    notes = [(source_name, note) for source_name, source in facts["sources"].items() for note in source["notes"]]
    parts = [
        f"<h1>{escape(name)}</h1>",
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
        table(["", ""], settings, {0, 1}),
    ]
    return document(f"Store {name}", "".join(parts))


# ------------------------------------------------------------------------------- tables


def _tiles(counts: dict[str, Any]) -> str:
    tiles = [
        (number(counts["identities"]), "identities"),
        (number(counts["voices"]), "voices"),
        (_hours(counts["hours"]), "hours of speech"),
        (number(counts["faces"]), "faces"),
        (_size(counts["bytes"]), "in shards"),
        (number(counts["skipped"]), "items left out"),
    ]
    cards = (f"<div class='card'><b>{value}</b><span>{what}</span></div>" for value, what in tiles)
    return f"<div class='tiles'>{''.join(cards)}</div>"


def _sources(sources: dict[str, Any]) -> str:
    rows = [
        [
            name,
            *(number(row[what]) for what in ("identities", "voices")),
            _hours(row["hours"]),
            *(number(row[what]) for what in ("faces", "skipped")),
        ]
        for name, row in sources.items()
    ]
    return table(["", "identities", "voices", "hours", "faces", "left out"], rows)


def _shares(title: str, groups: dict[str, Any]) -> str:
    total = sum(row["identities"] for row in groups.values()) or 1
    names = {"m": "male", "f": "female"}
    rows = []
    for name, row in groups.items():
        share = row["identities"] / total
        bar = f"<span class='bar'><i style='width:{100 * share:.1f}%'></i></span>"
        cells = [number(row["identities"]) + bar, number(row["voices"]), _hours(row["hours"]), number(row["faces"])]
        rows.append([escape(names.get(name, name)), *cells])
    return table([title, "identities", "voices", "hours", "faces"], rows, raw=True)


def _reasons(skipped: list[dict[str, Any]]) -> str:
    if not skipped:
        return ""
    counted = Counter((row["source"], row["kind"], reason(row["why"])) for row in skipped).most_common()
    rows = [[source, kind, why, number(items)] for (source, kind, why), items in counted[:REASONS]]
    more = f"<p>And {len(counted) - REASONS} rarer reasons.</p>" if len(counted) > REASONS else ""
    told = "<p>Each of them is in skipped.jsonl, with its reason.</p>"
    return f"<h2>Left out</h2>{told}{table(['source', 'kind', 'why', 'items'], rows, {0, 1, 2})}{more}"


def reason(why: str) -> str:
    """What the reasons of many items have in common: without details, digits and names of files."""
    return re.sub(r"\d[\d.,]*", "…", why.split(": ")[0])


def _notes(notes: list[tuple[str, str]]) -> str:
    if not notes:
        return ""
    return f"<h2>Notes on the sources</h2>{table(['', ''], [list(note) for note in notes], {0, 1})}"


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
        parts.append(f"<text x='{left - 6}' y='{y + 4:.1f}' text-anchor='end'>{number(mark)}</text>")
    every = max(1, math.ceil(max(7 * len(label) + 6 for label in labels) / step))
    for i, (label, value) in enumerate(zip(labels, values, strict=True)):
        x, size = left + i * step, (height - top - bottom) * value / most
        bar = (
            f"x='{x + step * 0.08:.1f}' y='{height - bottom - size:.1f}' width='{step * 0.84:.1f}' height='{size:.1f}'"
        )
        parts.append(f"<rect {bar} rx='1.5'><title>{escape(label)}: {number(value)}</title></rect>")
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
        pictures = "".join(f"<img alt='' src='{_picture(store, sample)}'>" for sample in some)
        title = f"{escape(view)}: {len(some)} of {number(len(samples))}, by chance"
        parts.append(f"<div class='card'><h3>{title}</h3><div class='faces'>{pictures}</div></div>")
    return [*parts, "</div>"] if views else []


def _picture(store: Store, sample: Sample) -> str:
    member = "png" if "png" in sample.members else "jpg"
    with Image.open(io.BytesIO(store.read(sample, member))) as image:
        return data_uri(image, TILE)


# ------------------------------------------------------------------------------ numbers


def _hours(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:,.2f}"


def _size(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:,.0f} {unit}" if unit == "B" else f"{size:,.1f} {unit}"
        size /= 1000
    return f"{size:,.2f} TB"
