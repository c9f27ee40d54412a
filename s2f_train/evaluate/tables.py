"""What an evaluation gives, before it is a page or a file: figures, tables, charts, grids of faces."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from s2f_train.data.pictures import Picture as Picture

Kind = Literal["text", "count", "share", "number", "figure", "share figure"]


@dataclass(frozen=True)
class Figure:
    """A number that was measured, with its interval of 95 %.

    Attributes:
        value: NaN where nothing could be measured.
        low, high: ends of the interval; None where there is none.
        n: how many trials, pictures or pairs it comes from.
    """

    value: float
    low: float | None = None
    high: float | None = None
    n: int = 0

    def to_dict(self) -> dict[str, float | int | None]:
        """Plain JSON values; what is not finite is null."""
        return {"value": finite(self.value), "low": finite(self.low), "high": finite(self.high), "n": self.n}


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        key: of the rows' dictionaries.
        label: what stands above it.
        kind: of its values. "share" is a float from 0 to 1, shown in per cent; "figure" and "share figure"
            are a `Figure`.
        digits: after the point.
        better: which way is better, for the eye.
    """

    key: str
    label: str
    kind: Kind = "share figure"
    digits: int = 1
    better: Literal["", "higher", "lower"] = ""


@dataclass(frozen=True)
class Table:
    """Rows of one protocol; a value that is missing or None is shown as a dash.

    A row may have `"_kind"`: "system", "reference", "baseline" or "ceiling", which sets it apart, and
    `"_note"`: why the row is not to be compared. A table that is `folded` shows its title until it is opened.
    """

    key: str
    title: str
    note: str
    columns: list[Column]
    rows: list[dict[str, Any]]
    folded: bool = False


@dataclass(frozen=True)
class Chart:
    """Lines over steps that have names ("20 dB", "10 dB") in their order.

    Attributes:
        lines: name of a line -> one `Figure` a step, or None.
        share: whether values are from 0 to 1 and shown in per cent.
    """

    key: str
    title: str
    note: str
    x_label: str
    y_label: str
    steps: list[str]
    lines: dict[str, list[Figure | None]]
    share: bool = True


@dataclass(frozen=True)
class Grid:
    """Pictures in rows: one row a voice, one column a system.

    Attributes:
        columns: what stands above each column of pictures.
        rows: (what stands beside it, its pictures; None where there is none).
    """

    key: str
    title: str
    note: str
    columns: list[str]
    rows: list[tuple[str, list[Picture | None]]]


@dataclass(frozen=True)
class Sheet:
    """Pictures side by side as they are, to look at: up to 256 pixels wide."""

    key: str
    title: str
    note: str
    pictures: Sequence[Picture]
    folded: bool = False


Part = Table | Chart | Grid | Sheet


@dataclass(frozen=True)
class Section:
    """A part of the report: its title, a few sentences, and what is shown, in order."""

    title: str
    text: str
    parts: Sequence[Part]


@dataclass(frozen=True)
class Evaluation:
    """All of it.

    Attributes:
        title: such as "default 1 on 184 voices".
        summary: (figure or words, what it is) for the tiles at the top.
        facts: what was evaluated, on what, by which judges, with which settings; plain JSON values.
        warnings: sentences that a reader must see first.
        sections: in the order of the report.
        pages: name of a file beside the report -> its HTML.
        kind: what it is, in its words and in the format of its JSON.
        reading: how its figures are read; "": as those of an evaluation.
    """

    title: str
    summary: list[tuple[str, str]]
    facts: dict[str, Any]
    warnings: list[str] = field(default_factory=list)
    sections: list[Section] = field(default_factory=list)
    pages: dict[str, str] = field(default_factory=dict)
    kind: str = "evaluation"
    reading: str = ""


def finite(value: float | None) -> float | None:
    """For JSON, which knows neither NaN nor infinity."""
    return None if value is None or not math.isfinite(value) else float(value)
