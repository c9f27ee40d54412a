"""The table of a run as a Parquet file."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from s2f_edge.batch.make import COLUMNS, Options, Row
from s2f_edge.errors import RuntimeSetupError
from s2f_edge.files import replacing

ROWS_AT_ONCE = 5000


def pyarrow() -> Any:
    """The package pyarrow.

    Raises:
        RuntimeSetupError: it is not installed.
    """
    try:
        importlib.import_module("pyarrow.parquet")
        return importlib.import_module("pyarrow")
    except ImportError:
        raise RuntimeSetupError(
            "Parquet needs pyarrow: pip install 's2f-edge[parquet]'. Or give a --table that ends with .jsonl."
        ) from None


def _schema(settings_row: Row | None) -> Any:
    pa = pyarrow()
    kinds = {str: pa.string(), float: pa.float64(), int: pa.int64(), bool: pa.bool_()}
    settings = {
        name: str if value is None else type(value) for name, value in (settings_row or Options().settings()).items()
    }
    settings["seed"] = int
    return pa.schema(
        [
            ("file", pa.string()),
            ("pictures", pa.list_(pa.string())),
            ("picture_bytes", pa.list_(pa.int64())),
            *((name, kinds[kind]) for name, kind in COLUMNS.items()),
            ("warnings", pa.list_(pa.string())),
            ("error", pa.string()),
            ("reason", pa.string()),
            ("message", pa.string()),
            ("ms", pa.float64()),
            ("folder", pa.string()),
            ("settings", pa.struct([(name, kinds[kind]) for name, kind in settings.items()])),
        ]
    )


def write(rows: Iterator[Row], path: Path, settings: Row | None = None) -> None:
    """Writes a table, some thousand rows at a time, all of it or nothing.

    Args:
        settings: such as rows have; None stands for those of pictures.

    Raises:
        OutputError: it cannot be written.
    """
    pa, schema = pyarrow(), _schema(settings)
    with replacing(path) as temporary, pa.parquet.ParquetWriter(temporary, schema) as writer:
        while some := [_text(row) for row in islice(rows, ROWS_AT_ONCE)]:
            writer.write_table(pa.Table.from_pylist(some, schema))


def _text(value: Any) -> Any:
    """Names that are no UTF-8, which JSON can have and Parquet cannot, with escapes."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, list):
        return [_text(each) for each in value]
    return {name: _text(each) for name, each in value.items()} if isinstance(value, dict) else value
