"""The table of a run over many recordings, and going on where it stopped.

A row is added when the pictures of its recording lie where they should, so whatever ends the run, a row
stands for something whole. What is added is JSON lines; Parquet, which can only be written in one go, is
made of them at the end.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

from s2f_edge.batch import parquet
from s2f_edge.batch.make import Row
from s2f_edge.errors import OutputError, UsageError
from s2f_edge.files import replacing

ENDINGS = (".jsonl", ".parquet")
LOCKED_BYTE = (1 << 31) - 2  # the last that Windows can lock


class PreviousRow(NamedTuple):
    """A row of the earlier run: the absolute paths of its pictures, or that it failed."""

    pictures: tuple[str, ...]
    failed: bool


class Table:
    """Rows on the disk; use it as a context.

    Args:
        path: *.jsonl, or *.parquet, beside which the rows are collected in a *.jsonl.
        settings: such as rows have, for Parquet; None stands for those of pictures.

    Raises:
        UsageError: another ending.
        RuntimeSetupError: Parquet is asked for without pyarrow.
    """

    def __init__(self, path: str, settings: Row | None = None) -> None:
        self.path = Path(path)
        if self.path.suffix.lower() not in ENDINGS:
            raise UsageError(f"--table {path} ends with neither {ENDINGS[0]} nor {ENDINGS[1]}; give one of them.")
        self._parquet = self.path if self.path.suffix.lower() == ENDINGS[1] else None
        if self._parquet:
            parquet.pyarrow()
        self.rows_path = self.path.with_suffix(ENDINGS[0]) if self._parquet else self.path
        self._settings = settings
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Table:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file:
            self._file.close()
            self._file = None

    # ------------------------------------------------------------------------- beginning

    def begin(self, overwrite: bool) -> None:
        """Starts an empty table.

        Raises:
            UsageError: there is one, and it may not be replaced.
            OutputError: it cannot be written.
        """
        for path in {self.path, self.rows_path}:
            if path.exists() and not overwrite:
                raise UsageError(f"{path} exists. Add --resume to continue it, or --overwrite to start again.")
        with self._errors():
            self.rows_path.parent.mkdir(parents=True, exist_ok=True)
            self._open()
            self._file.truncate(0)  # type: ignore[union-attr]
            if self._parquet:
                self._parquet.unlink(missing_ok=True)

    def resume(self, settings: Row, wanted: set[str], again: bool) -> dict[str, PreviousRow]:
        """Continues an existing table, or starts one; returns its rows by the absolute path of the recording.

        Rows of recordings that are to be done once more are taken out: failures where `again` is
        set, and those whose pictures are gone or of another size.

        Args:
            settings: `Options.settings`, which the rows must have.
            wanted: whole paths of the recordings of this run; rows of others stay as they are.
            again: whether failures are to be tried once more.

        Raises:
            UsageError: the rows were made with other settings.
            OutputError: it is no table of ours, another run is writing it, or it cannot be written.
        """
        if not self.rows_path.exists():
            if self._parquet and self._parquet.exists():
                raise OutputError(
                    f"{self._parquet} exists without {self.rows_path}, which --resume needs. Give another "
                    "--table, or --overwrite in place of --resume."
                )
            self.begin(False)
            return {}
        with self._errors():
            self._open()
            known: dict[str, PreviousRow] = {}
            left_out = 0
            end = 0
            kept: list[tuple[int, int]] = []  # parts of the file, from and to
            for begin, end, row in self._whole_rows():
                self._same(settings, row)
                name, before = _before(row)
                if name in known or (name in wanted and not _stays(row, before, again)):
                    left_out += 1
                    continue
                known[name] = before
                if kept and kept[-1][1] == begin:
                    begin, _ = kept.pop()
                kept.append((begin, end))
            if left_out:
                self._keep(kept)
            else:
                self._file.truncate(end)  # type: ignore[union-attr]
        return known

    def _whole_rows(self) -> Iterator[tuple[int, int, Row]]:
        """Rows with where each begins and ends. A last one that was cut off, or that a power cut garbled, is none."""
        assert self._file
        self._file.seek(0)
        begin = bad = 0
        for number, line in enumerate(self._file, 1):
            row = _parsed(line)
            if bad or (row is None and number == 1 and not _cut_off(line)):
                raise OutputError(
                    f"Line {bad or 1} of {self.rows_path} is not a row of s2f-edge. Remove the line, or give another "
                    "--table."
                )
            if row is None:
                bad = number
            else:
                yield begin, begin + len(line), row
            begin += len(line)

    def _same(self, settings: Row, row: Row) -> None:
        earlier = row["settings"]
        names = [name for name in {**earlier, **settings} if earlier.get(name) != settings.get(name)]
        if names:
            differ = "; ".join(
                f"{name} was {_brief(earlier.get(name))}, is {_brief(settings.get(name))}" for name in names
            )
            raise UsageError(
                f"{self.rows_path} was started with other settings: {differ}. Give the same ones to continue, or "
                "another --table."
            )

    def _keep(self, parts: list[tuple[int, int]]) -> None:
        """Leaves only these parts of the file, in one step."""
        assert self._file
        mode = self.rows_path.stat().st_mode & 0o777
        with replacing(self.rows_path) as temporary, temporary.open("wb") as file:
            for begin, end in parts:
                self._file.seek(begin)
                while begin < end:
                    data = self._file.read(min(1 << 20, end - begin))
                    file.write(data)
                    begin += len(data)
            if sys.platform == "win32":  # which replaces no file that is open
                self._file.close()
        self.rows_path.chmod(mode)
        self._file.close()
        self._open()

    def _open(self) -> None:
        """Opens the rows for reading and adding, alone."""
        self._file = self.rows_path.open("a+b")
        # Its inode is looked at since another run may just have put another file in its place.
        if not _locked(self._file) or os.fstat(self._file.fileno()).st_ino != self.rows_path.stat().st_ino:
            raise OutputError(f"Another run is writing {self.rows_path}. Wait until it ends, or give another --table.")

    # ---------------------------------------------------------------------------- adding

    def add(self, row: Row) -> None:
        """Appends a row; it survives the end of the process.

        Raises:
            OutputError: it cannot be written.
        """
        assert self._file
        with self._errors():
            self._file.write(json.dumps(row).encode() + b"\n")
            self._file.flush()

    def finish(self) -> None:
        """Flushes all rows to disk and writes the Parquet file.

        Raises:
            OutputError: it cannot be written.
        """
        assert self._file
        with self._errors():
            os.fsync(self._file.fileno())
            if self._parquet:
                parquet.write((row for _, _, row in self._whole_rows()), self._parquet, self._settings)

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OutputError:
            raise
        except OSError as error:
            raise OutputError(f"{self.path} cannot be written: {error.strerror or error}.") from None


def _parsed(line: bytes) -> Row | None:
    """A row; None where the line is none, or not whole."""
    if not line.endswith(b"\n"):
        return None
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    kinds = {"file": str, "pictures": list, "picture_bytes": list, "settings": dict, "folder": str}
    if isinstance(row, dict) and all(isinstance(row.get(name), kind) for name, kind in kinds.items()):
        return row
    return None


def _cut_off(line: bytes) -> bool:
    """Whether this may be the first row of a run that was killed, and not the file of somebody else."""
    start = b'{"file": "'
    return not line.strip(b"\0") or (not line.endswith(b"\n") and start[: len(line)] == line[: len(start)])


def whole_path(name: str, folder: str = "") -> str:
    """The path by which a recording is known, whatever folder the command runs in."""
    return os.path.realpath(Path(folder, name))


def _before(row: Row) -> tuple[str, PreviousRow]:
    folder = row["folder"]
    pictures = tuple(os.path.abspath(Path(folder, picture)) for picture in row["pictures"])  # noqa: PTH100
    return whole_path(row["file"], folder), PreviousRow(pictures, row.get("error") is not None)


def _stays(row: Row, before: PreviousRow, again: bool) -> bool:
    if before.failed:
        return not again
    try:
        sizes = [Path(picture).stat().st_size for picture in before.pictures]
    except OSError:
        return False
    return bool(sizes == row["picture_bytes"])


def _brief(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:13]}...{text[-1]}"


def _locked(file: IO[bytes]) -> bool:
    """Whether no other run has the file; where the system cannot tell, it is taken for granted."""
    if sys.platform == "win32":
        import msvcrt

        file.seek(LOCKED_BYTE)  # Windows locks bytes, also past the end, and nobody else can read one that is locked
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a network disk without locks
        return True
    return True
