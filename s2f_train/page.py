"""What our pages of HTML share: their looks, tables, pictures inside the page. A page needs nothing from elsewhere."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from PIL import Image

from s2f_train.data.pictures import encoded

# The browser itself then refuses to fetch or run anything.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"

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
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(440px,100%),1fr));gap:16px}
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


def document(title: str, body: str, style: str = "") -> str:
    """A whole page.

    Args:
        title: plain text, of the window.
        body: HTML.
        style: what this page has beside `STYLE`.
    """
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        "<meta name='viewport' content='width=device-width,initial-scale=1'>"
        f"<title>{escape(title)}</title><style>{STYLE}{style}</style></head><body>{body}</body></html>\n"
    )


def table(head: Sequence[str], rows: Iterable[Sequence[Any]], text: Iterable[int] = (0,), raw: bool = False) -> str:
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


def facts(entries: Mapping[str, Any]) -> str:
    """Plain JSON values as HTML: single values as one table, then what holds more under its name.

    Records that are alike, such as the judges with their hashes, become one table with a row each.
    """
    single = [(key, value) for key, value in entries.items() if not _holds_more(value)]
    rows = "".join(f"<tr><th>{_words(key)}</th><td>{_value(value)}</td></tr>" for key, value in single)
    parts = [f"<table>{rows}</table>" if rows else ""]
    for key, value in entries.items():
        if _holds_more(value):
            named = value if isinstance(value, Mapping) else {str(i): entry for i, entry in enumerate(value, 1)}
            alike = all(isinstance(entry, Mapping) for entry in named.values())
            shown = _records(named) if alike else f"<div class='inner'>{facts(named)}</div>"
            parts.append(f"<h3>{_words(key)}</h3>{shown}")
    return "".join(parts)


def _holds_more(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(isinstance(entry, list | tuple | Mapping) for entry in value)
    return isinstance(value, Mapping) and bool(value)


def _records(records: Mapping[str, Mapping[str, Any]]) -> str:
    keys = list(dict.fromkeys(key for record in records.values() for key in record))
    head = "".join(f"<th>{_words(key)}</th>" for key in keys)
    rows = (
        f"<tr><th>{_words(name)}</th>{''.join(f'<td>{_value(record.get(key))}</td>' for key in keys)}</tr>"
        for name, record in records.items()
    )
    return f"<div class='scroll'><table><tr><th></th>{head}</tr>{''.join(rows)}</table></div>"


def _words(key: Any) -> str:
    return escape(str(key).replace("_", " "))


def _value(value: Any) -> str:
    if value is None or value in ({}, [], ""):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple) and not _holds_more(value):
        return ", ".join(map(_value, value))
    if isinstance(value, Mapping):
        return "<br>".join(f"{_words(key)}: {_value(entry)}" for key, entry in value.items())
    return f"<code>{value}</code>" if re.fullmatch("[0-9a-f]{16,}", str(value)) else escape(str(value))


def data_uri(image: Image.Image, most: int) -> str:
    """A picture as JPEG for `src`, at most `most` pixels wide and high."""
    small = image.convert("RGB")
    small.thumbnail((most, most))
    return "data:image/jpeg;base64," + base64.b64encode(encoded(small, "JPEG", quality=88)).decode()


def number(value: float | None, share: bool = False, digits: int = 0) -> str:
    """A number for people: thousands apart, a share in per cent, a dash for what is not known."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{100 * value:z,.{digits}f} %" if share else f"{value:z,.{digits}f}"
