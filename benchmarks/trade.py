"""Likeness against looks: matching by the distance from photographs, of all systems of reports, as a picture.

    python benchmarks/trade.py [NAME=]REPORT... [--name SYSTEM=TEXT] [--out docs/trade.svg]

REPORT is a folder of `evaluate --photographs`; all must be of the same voices and photographs. NAME is what its first
system is called: packs in several reports may all be named `default`. Packs count by their general generator. Of
systems with one name the first is taken. Prints the figures as a table too.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 56, 24, 28, 48
KEYS = {"2_False": "impostors of any gender", "2_True": "of the same gender"}
COLOURS = {"2_False": "#0072b2", "2_True": "#d55e00"}
OTHERS = (": auto", ": male", ": female")
TABLES = ("matching", "realism")
SAME = ("voices", "real faces", "photographs")


@dataclass(frozen=True)
class Figures:
    """Of one system: (value, low, high) of matching, in percent, and of distance and sharpness."""

    matching: dict[str, tuple[float, float, float]]
    distance: tuple[float, float, float]
    sharpness: tuple[float, float, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reports", nargs="+", metavar="[NAME=]REPORT", help="folder that holds report.json")
    parser.add_argument("--name", action="append", default=[], metavar="SYSTEM=TEXT", help="what to call a system")
    parser.add_argument("--out", type=Path, default=Path("docs/trade.svg"))
    arguments = parser.parse_args()
    found: dict[str, Figures] = {}
    facts: dict[str, Any] = {}
    for given in arguments.reports:
        name, _, folder = given.rpartition("=")
        report = json.loads((Path(folder) / "report.json").read_bytes())
        facts = facts or report["facts"]
        if any(report["facts"].get(key) != facts.get(key) for key in SAME):
            raise SystemExit(f"error: {folder} is of other voices or photographs than the first report.")
        systems = figures_of(report)
        if name and systems:
            systems = {name: systems.pop(next(iter(systems))), **systems}
        found = systems | found
    if len(found) < 2:
        raise SystemExit("error: fewer than two systems have matching and a distance; was it made with --photographs?")
    names = dict(text.split("=", 1) for text in arguments.name if "=" in text)
    shown = {names.get(name, name): f for name, f in sorted(found.items(), key=lambda item: item[1].distance[0])}
    print("| faces | distance | sharpness | matching, any gender | same gender |\n|---|---|---|---|---|")
    for name, figures in shown.items():
        told = [f"{value:.1f} % ({low:.1f} to {high:.1f})" for value, low, high in figures.matching.values()]
        print(f"| {name} | {figures.distance[0]:.2f} | {figures.sharpness[0]:.2f} | {' | '.join(told)} |")
    arguments.out.write_text(drawn(shown))


def figures_of(report: dict[str, Any]) -> dict[str, Figures]:
    """The systems of a report whose matching and distance are known, by their names."""
    tables = {part.get("key"): part for section in report["sections"] for part in section["parts"]}
    rows = {key: {row["system"]: row for row in tables.get(key, {"rows": []})["rows"]} for key in TABLES}
    found = {}
    for system, row in rows["matching"].items():
        looks = rows["realism"].get(system)
        if looks and row["_kind"] in ("system", "reference") and not system.endswith(OTHERS):
            found[system.removesuffix(": general")] = Figures(
                {key: _figure(row[key], 100) for key in KEYS}, _figure(looks["distance"]), _figure(looks["sharp"])
            )
    return found


def drawn(systems: dict[str, Figures]) -> str:
    """The picture as SVG: distances on a logarithmic scale, matching in percent with its intervals."""
    distances = [f.distance[0] for f in systems.values()]
    ends = [end for f in systems.values() for figure in f.matching.values() for end in figure[1:]]
    first, last = math.log(min(distances) / 1.25), math.log(max(distances) * 1.25)
    bottom, top = 5 * math.floor(min(ends) / 5) - 5, 5 * math.ceil(max(ends) / 5)  # names stand at the bottom

    def across(distance: float) -> float:
        return LEFT + (math.log(distance) - first) / (last - first) * (WIDTH - LEFT - RIGHT)

    def up(percent: float) -> float:
        return HEIGHT - BOTTOM - (percent - bottom) / (top - bottom) * (HEIGHT - TOP - BOTTOM)

    parts = []
    for percent in range(bottom, top + 1, 5):
        parts.append(f'<path d="M{LEFT} {up(percent):.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(_text(LEFT - 8, up(percent) + 4, f"{percent} %", "end"))
    marks = (d for d in (0.5, 1, 2, 4, 8, 16) if first <= math.log(d) <= last)
    parts.extend(_text(across(distance), HEIGHT - BOTTOM + 18, f"{distance:g}") for distance in marks)
    parts.append(_text(WIDTH / 2, HEIGHT - 8, "distance from photographs (1: two sets of photographs)"))
    for at, (key, what) in enumerate(KEYS.items()):
        colour = COLOURS[key]
        places = [(across(f.distance[0]), *(up(percent) for percent in f.matching[key])) for f in systems.values()]
        line = "L".join(f"{x:.1f} {y:.1f}" for x, y, _, _ in places)
        parts.append(f'<path d="M{line}" fill="none" stroke="{colour}" stroke-opacity=".4"/>')
        for x, y, low, high in places:
            parts.append(f'<path d="M{x:.1f} {low:.1f}V{high:.1f}" stroke="{colour}" stroke-opacity=".4"/>')
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>')
        parts.append(_text(LEFT + 8 + 260 * at, 16, f"matching 1:2, {what}", "start", colour))
    for at, (name, f) in enumerate(systems.items()):
        row = HEIGHT - BOTTOM - 10 - 14 * (at % 3)  # names of near points stand on three rows
        parts.append(_text(across(f.distance[0]), row, name))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        f'font-size="12"><rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>{"".join(parts)}</svg>\n'
    )


def _figure(figure: dict[str, Any], scale: float = 1.0) -> tuple[float, float, float]:
    value = figure["value"]
    low, high = (value if figure[end] is None else figure[end] for end in ("low", "high"))
    return scale * value, scale * low, scale * high


def _text(x: float, y: float, text: str, anchor: str = "middle", colour: str = "#333") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'


if __name__ == "__main__":
    main()
