"""An evaluation as a folder: a page for people, the same numbers for programs, and every trial."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from s2f_edge import __version__
from s2f_train.evaluate.charts import digits_of, interval, known_interval, line_chart
from s2f_train.evaluate.report_pictures import grid_html, sheet_html
from s2f_train.evaluate.tables import Chart, Column, Evaluation, Figure, Grid, Kind, Part, Section, Sheet, Table, finite
from s2f_train.folders import written_whole
from s2f_train.page import document, facts, number

FORMAT = "s2f evaluation 1"
MADE_BY = f"s2f {__version__}"
STYLE = Path(__file__).with_name("style.css")
NOTICE = "A face from a voice is a plausible face, never an identification: it shows what such a voice often goes with."
READING = (
    "Ranges in brackets are intervals of 95 %, from drawing people anew unless a note says otherwise; the marks below "
    "them are drawn on one scale a column. No winner is printed bold: see whether the ranges overlap. "
    "↑ and ↓ say which way is better."
)
GROUPS = {"system": "Systems", "reference": "Reference", "baseline": "Baselines", "ceiling": "Ceiling"}
ARROWS = {"higher": "↑", "lower": "↓"}
STACKED = 4  # measured columns from which ranges stand below their values


def write_report(evaluation: Evaluation, folder: Path, beside: Mapping[str, str | bytes]) -> None:
    """Writes `report.html`, `report.json`, what is beside and the evaluation's own pages, all of them or none.

    The same evaluation gives the same bytes.

    Args:
        folder: new, empty, or of an earlier report of the same kind, which is replaced.
        beside: name of a file -> what is in it.

    Raises:
        FileExistsError: the folder is something else.
        OSError: it cannot be written.
    """
    texts = {"report.html": page(evaluation), "report.json": as_json(evaluation), **beside, **evaluation.pages}
    with written_whole(folder, lambda old: is_report(old, evaluation.kind)) as new:
        for name, text in texts.items():
            (new / name).write_bytes(text.encode("utf-8", "replace") if isinstance(text, str) else text)


def is_report(folder: Path, kind: str = "evaluation") -> bool:
    """Whether a folder is what `write_report` makes of an evaluation of a kind."""
    try:
        facts = json.loads((folder / "report.json").read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(facts, dict) and facts.get("format") == _format(kind)


def _format(kind: str) -> str:
    return FORMAT.replace("evaluation", kind)


# ----------------------------------------------------------------------------- for programs


def as_json(evaluation: Evaluation) -> str:
    """All facts, tables and charts as strict JSON: a figure is an object, what is not finite is null."""
    whole = {
        "format": _format(evaluation.kind),
        "made_by": MADE_BY,
        "title": evaluation.title,
        "notice": NOTICE,
        "summary": [{"value": value, "what": what} for value, what in evaluation.summary],
        "warnings": evaluation.warnings,
        "facts": evaluation.facts,
        "sections": [
            {"title": section.title, "text": section.text, "parts": [_part_facts(part) for part in section.parts]}
            for section in evaluation.sections
        ],
    }
    return json.dumps(_plain(whole), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _part_facts(part: Part) -> dict[str, Any]:
    kind = type(part).__name__.lower()
    if isinstance(part, Grid | Sheet):
        return {"kind": kind, "key": part.key}
    return {"kind": kind, **vars(part)}


def _plain(value: Any) -> Any:
    """What JSON knows, of everything an evaluation may hold."""
    if isinstance(value, Figure):
        return value.to_dict()
    if isinstance(value, Column):
        return dict(vars(value))
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return finite(value) if isinstance(value, float) else value


# ------------------------------------------------------------------------------- for people


def page(evaluation: Evaluation) -> str:
    """The page as HTML that needs nothing from elsewhere, pictures included."""
    sections = [_section(section, i) for i, section in enumerate(evaluation.sections, 1)]
    body = (
        f"<header><h1>{escape(evaluation.title)}</h1><p>{_article(evaluation.kind)}, made by {escape(MADE_BY)}.</p>",
        f"<p class='promise'>{NOTICE}</p></header>",
        _warnings(evaluation.warnings),
        _tiles(evaluation.summary),
        _links(evaluation.pages),
        _facts(evaluation.facts),
        f"<p class='reading'>{escape(evaluation.reading or READING)}</p>",
        f"<div class='with-contents'>{_contents(evaluation.sections)}",
        f"<main>{''.join(sections)}</main></div><footer><p>{NOTICE}</p></footer>",
    )
    return document(evaluation.title, "".join(body), STYLE.read_text(encoding="utf-8"))


def _article(kind: str) -> str:
    return f"A{'n' if kind[0] in 'aeiou' else ''} {kind}"


def _warnings(warnings: Sequence[str]) -> str:
    if not warnings:
        return ""
    items = "".join(f"<li>{escape(warning)}</li>" for warning in warnings)
    return f"<div class='card warnings'><h2>Read this first</h2><ul>{items}</ul></div>"


def _tiles(summary: Sequence[tuple[str, str]]) -> str:
    """An interval at the end of a value stands below it."""
    cards = []
    for value, what in summary:
        split = re.fullmatch(r"(.+?) (\([^()]* to [^()]*\))", value)
        shown = f"{escape(split[1])} <small>{escape(split[2])}</small>" if split else escape(value)
        cards.append(f"<div class='card'><b>{shown}</b><span>{escape(what)}</span></div>")
    return f"<div class='tiles'>{''.join(cards)}</div>" if cards else ""


def _links(pages: Mapping[str, str]) -> str:
    """To what lies beside the report."""
    shown = ", ".join(f"<a href='{escape(name, quote=True)}'>{escape(name)}</a>" for name in pages)
    return (
        f"<p class='reading'>Beside this page: {shown}, where a person says which picture is the photograph.</p>"
        if pages
        else ""
    )


def _contents(sections: Sequence[Section]) -> str:
    entries = []
    for i, section in enumerate(sections, 1):
        parts = "".join(
            f"<li><a href='#s{i}-{k}'>{escape(part.title)}</a></li>"
            for k, part in enumerate(section.parts, 1)
            if not (isinstance(part, Table | Sheet) and part.folded)
        )
        below = f"<ul>{parts}</ul>" if parts else ""
        entries.append(f"<li><a href='#s{i}'>{escape(section.title)}</a>{below}</li>")
    if not entries:
        return ""
    return f"<nav class='card contents' aria-label='Contents'><h2>Contents</h2><ul>{''.join(entries)}</ul></nav>"


def _facts(entries: Mapping[str, Any]) -> str:
    if not entries:
        return ""
    what = "What was measured, on what, by which judges, with which settings"
    return f"<details class='card facts'><summary>{what}</summary><div>{facts(entries)}</div></details>"


def _section(section: Section, i: int) -> str:
    """Charts that follow each other stand side by side."""
    parts = []
    placed = [(f"s{i}-{k}", part) for k, part in enumerate(section.parts, 1)]
    for charts, run in groupby(placed, key=lambda place: isinstance(place[1], Chart)):
        shown = "".join(_part(part, name) for name, part in run)
        parts.append(f"<div class='charts'>{shown}</div>" if charts else shown)
    return f"<section id='s{i}'><h2>{escape(section.title)}</h2>{_paragraphs(section.text)}{''.join(parts)}</section>"


def _part(part: Part, name: str) -> str:
    top = f"<h3>{escape(part.title)}</h3>{_paragraphs(part.note)}"
    if isinstance(part, Chart):
        numbers = f"<details><summary>Numbers</summary>{_table(_numbers(part), marks=False)}</details>"
        shown = f"<div class='scroll'>{line_chart(part, f'{name}-title')}</div>"
        return f"<div class='card' id='{name}'>{top}{shown}{numbers}</div>"
    if isinstance(part, Table | Sheet) and part.folded:
        below = f"{_paragraphs(part.note)}{_table(part) if isinstance(part, Table) else sheet_html(part)}"
        return f"<details class='part' id='{name}'><summary>{escape(part.title)}</summary>{below}</details>"
    shown = (
        _table(part) if isinstance(part, Table) else sheet_html(part) if isinstance(part, Sheet) else grid_html(part)
    )
    return f"<div class='part' id='{name}'>{top}{shown}</div>"


def _paragraphs(text: str) -> str:
    return "".join(f"<p>{escape(paragraph)}</p>" for paragraph in re.split(r"\n\s*\n", text) if paragraph.strip())


def _numbers(chart: Chart) -> Table:
    """What a chart shows, as a table."""
    kind: Kind = "share figure" if chart.share else "figure"
    columns = [Column("step", chart.x_label, "text")]
    columns += [Column(f"line {i}", line, kind, digits_of(chart)) for i, line in enumerate(chart.lines)]
    rows = [
        {"step": step, **{f"line {i}": line[at] for i, line in enumerate(chart.lines.values())}}
        for at, step in enumerate(chart.steps)
    ]
    return Table("", "", "", columns, rows)


# ----------------------------------------------------------------------------------- tables


def _table(table: Table, marks: bool = True) -> str:
    """Rows of one kind that follow each other are a group, baselines and ceilings below a line and softer."""
    head = "".join(_head(column) for column in table.columns)
    scales = {column.key: _scale(table, column) if marks else None for column in table.columns}
    notes = list(dict.fromkeys(row["_note"] for row in table.rows if row.get("_note")))
    groups: list[str] = []
    for kind, run in groupby(table.rows, key=_kind):
        title = GROUPS[kind] if groups or kind != "system" else ""
        label = f"<tr class='group'><th colspan='{len(table.columns)}'><span>{title}</span></th></tr>" if title else ""
        rows = "".join(f"<tr>{''.join(_cells(row, table.columns, scales, notes))}</tr>" for row in run)
        groups.append(f"<tbody class='{kind}'>{label}{rows}</tbody>")
    stacked = " class='stacked'" if sum("figure" in column.kind for column in table.columns) >= STACKED else ""
    empty = "" if table.rows else "<p class='empty'>Nothing could be measured.</p>"
    told = "".join(f"<li><sup>{i}</sup> {escape(str(note))}</li>" for i, note in enumerate(notes, 1))
    below = f"<ol class='notes'>{told}</ol>" if told else ""
    shown = f"<table{stacked}><thead><tr>{head}</tr></thead>{''.join(groups)}</table>"
    return f"<div class='card data'>{shown}{empty}</div>{below}"


def _kind(row: Mapping[str, Any]) -> str:
    kind = row.get("_kind")
    return kind if kind in GROUPS else "system"


def _head(column: Column) -> str:
    arrow = ""
    if column.better:
        told = f"{column.better} is better"
        arrow = f"<span class='better' role='img' aria-label='{told}' title='{told}'>{ARROWS[column.better]}</span>"
    return f"<th scope='col'{_left(column)}>{escape(column.label)}{arrow}</th>"


def _left(column: Column) -> str:
    return " class='text'" if column.kind == "text" else ""


def _cells(
    row: Mapping[str, Any],
    columns: Sequence[Column],
    scales: Mapping[str, tuple[float, float] | None],
    notes: list[Any],
) -> Iterator[str]:
    """The first of a row is its heading, with the number of its footnote."""
    for i, column in enumerate(columns):
        shown = _shown(row.get(column.key), column, scales[column.key])
        if i:
            yield f"<td{_left(column)}>{shown}</td>"
        else:
            mark = f"<sup>{notes.index(row['_note']) + 1}</sup>" if row.get("_note") else ""
            yield f"<th scope='row'>{shown}{mark}</th>"


def _shown(value: Any, column: Column, scale: tuple[float, float] | None) -> str:
    """A value as HTML; a figure with its interval in words and, where the column has a scale, as a mark."""
    share, digits = "share" in column.kind, 0 if column.kind == "count" else column.digits
    if isinstance(value, Figure):
        shown = number(value.value, share, digits)
        ends = known_interval(value)
        if ends is None:
            return shown
        told = f"{shown} <span class='range'>{interval(value, share, digits)}</span>"
        return f"<span title='n = {number(value.n)}'>{told}</span>{_mark(value.value, ends, scale)}"
    if column.kind != "text" and isinstance(value, int | float | np.number) and not isinstance(value, bool):
        return number(float(value), share, digits)
    unknown = value is None or (isinstance(value, float) and finite(value) is None)
    return "–" if unknown else escape(str(value))


def _scale(table: Table, column: Column) -> tuple[float, float] | None:
    """From the lowest to the highest end in a column, if there are two intervals to compare."""
    found = [
        ends
        for row in table.rows
        if isinstance(value := row.get(column.key), Figure) and (ends := known_interval(value))
    ]
    low, high = min((ends[0] for ends in found), default=0), max((ends[1] for ends in found), default=0)
    return (low, high) if len(found) > 1 and high > low else None


def _mark(value: float, ends: tuple[float, float], scale: tuple[float, float] | None) -> str:
    if scale is None:
        return ""
    low, high, at = (min(100.0, max(0.0, 100 * (end - scale[0]) / (scale[1] - scale[0]))) for end in (*ends, value))
    line = f"<i style='left:{low:.1f}%;width:{max(0.0, high - low):.1f}%'></i>"
    return f"<span class='whisker-of' aria-hidden='true'>{line}<b style='left:{at:.1f}%'></b></span>"
