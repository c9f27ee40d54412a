"""Pictures in the report, as HTML."""

from __future__ import annotations

from html import escape

from PIL import Image

from s2f_train.evaluate.tables import Grid, Sheet
from s2f_train.page import data_uri

PIXELS = 160  # of a picture's side in a grid, which shows it at 128: sharp, and a few kB each
SHEET_PIXELS = 256  # in a sheet, at most: as large as it is made


def grid_html(grid: Grid) -> str:
    """Rows of pictures under the names of their systems."""
    head = "".join(f"<th scope='col'>{escape(column)}</th>" for column in grid.columns)
    rows = []
    for label, pictures in grid.rows:
        cells = []
        for column, picture in zip(grid.columns, pictures, strict=True):
            if picture is None:
                cells.append("<td><span class='none' title='no picture'>–</span></td>")
                continue
            told = escape(f"{column}: {label}")
            cells.append(f"<td><img alt='{told}' src='{data_uri(Image.fromarray(picture), PIXELS)}'></td>")
        rows.append(f"<tr><th scope='row'>{escape(label)}</th>{''.join(cells)}</tr>")
    body = f"<tbody>{''.join(rows)}</tbody>"
    empty = "" if grid.rows else "<p class='empty'>No pictures.</p>"
    return f"<div class='card data grid'><table><thead><tr><th></th>{head}</tr></thead>{body}</table>{empty}</div>"


def sheet_html(sheet: Sheet) -> str:
    """Pictures alone."""
    shown = "".join(
        f"<img alt='{escape(sheet.title)}, {i}' src='{data_uri(Image.fromarray(picture), SHEET_PIXELS)}'>"
        for i, picture in enumerate(sheet.pictures, 1)
    )
    return f"<div class='card sheet'>{shown or '<p>No pictures.</p>'}</div>"
