"""Draws the curves of a run, as docs/vae.md shows them: each figure of its stats.jsonl over the steps.

    python benchmarks/curves.py RUN pixel kl feature spread --out curves.png

A dot is the mean of the steps since the one before; the line is the median of nine dots.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT, MARGIN = 420, 240, 58  # of a panel, in pixels
SMOOTH = 9
INK, DOTS, LINE, GRID = "#1f2430", "#c5cede", "#2456c4", "#e6e9f0"


def curves(run: Path, names: list[str]) -> dict[str, tuple[list[int], list[float]]]:
    """(steps, values) of each figure.

    Raises:
        SystemExit: the run has no such figure.
    """
    rows = [json.loads(line) for line in (run / "stats.jsonl").read_text("utf-8").splitlines()]
    found = {}
    for name in names:
        pairs = [(row["step"], row[name]) for row in rows if name in row]
        if len(pairs) < 2:
            known = sorted({each for row in rows for each in row} - {"step"})
            raise SystemExit(f"{run} has no {name}; it has {', '.join(known)}.")
        found[name] = ([step for step, _ in pairs], [value for _, value in pairs])
    return found


def smoothed(values: list[float]) -> list[float]:
    """Medians of SMOOTH neighbours, of fewer at the ends."""
    half = SMOOTH // 2
    return [float(np.median(values[max(0, i - half) : i + half + 1])) for i in range(len(values))]


def panel(name: str, steps: list[int], values: list[float]) -> Image.Image:
    """One figure."""
    picture = Image.new("RGB", (WIDTH, HEIGHT), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(13)
    top = 1.05 * max(values)
    right, bottom = WIDTH - 26, HEIGHT - 30

    def place(step: float, value: float) -> tuple[float, float]:
        across = (step - steps[0]) / (steps[-1] - steps[0])
        return MARGIN + across * (right - MARGIN), bottom - value / top * (bottom - 30)

    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = place(steps[0], share * top)[1]
        draw.line([(MARGIN, y), (right, y)], GRID)
        draw.text((MARGIN - 6, y), f"{share * top:.3g}", INK, font, anchor="rm")
        step = steps[0] + share * (steps[-1] - steps[0])
        draw.text((place(step, 0)[0], bottom + 6), f"{step:,.0f}", INK, font, anchor="mt")
    for step, value in zip(steps, values, strict=True):
        x, y = place(step, value)
        draw.ellipse([x - 1.5, y - 1.5, x + 1.5, y + 1.5], DOTS)
    draw.line([place(*point) for point in zip(steps, smoothed(values), strict=True)], LINE, 2, "curve")
    draw.text((MARGIN, 8), f"{name}, by step", INK, ImageFont.load_default(15))
    return picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run's folder")
    parser.add_argument("names", nargs="+", help="figures, as stats.jsonl names them")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    panels = [panel(name, *found) for name, found in curves(given.run, given.names).items()]
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    sheet = Image.new("RGB", (columns * WIDTH, rows * HEIGHT), "white")
    for i, each in enumerate(panels):
        sheet.paste(each, (i % columns * WIDTH, i // columns * HEIGHT))
    sheet.save(given.out, optimize=True)
    print(f"wrote {given.out}")


if __name__ == "__main__":
    main()
