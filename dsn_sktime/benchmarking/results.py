"""The results file: a CSV file with one line per job, which grows as jobs end.

Several processes may append to it at once, and each may be killed at any moment: a line
is written under a file lock in one piece, and one that was cut short is told from a whole
one and dropped.
"""

from __future__ import annotations

import csv
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from io import RawIOBase, StringIO
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock

__all__ = ["COLUMNS", "append", "lock_path", "read"]

_MEASURES = ("accuracy", "balanced_accuracy", "f1_macro", "log_loss", "auroc")
_SECONDS = ("fit_seconds", "predict_seconds")
_COSTS = ("n_epochs", "n_parameters", "multiply_adds")
_SHAPES = ("n_train", "n_test", "n_variates", "series_length", "n_classes")

COLUMNS = (
    *("dataset", "estimator", "seed", "split", "parameters", "job", "status", "error"),
    *_MEASURES,
    *_SECONDS,
    *_COSTS,
    "peak_memory_mb",
    *_SHAPES,
    *("n_jobs", "versions", "host", "started"),
)
"""Columns of a results file, in their order."""

_REALS = (*_MEASURES, *_SECONDS, "peak_memory_mb")
_INTEGERS = ("seed", *_COSTS, *_SHAPES, "n_jobs")
_HEADER = ",".join(COLUMNS) + "\n"

# The last column, by whose form a line that was cut short is told from a whole one.
_STARTED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)")


def read(path: str | Path) -> pd.DataFrame:
    """Read a results file.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    DataFrame
        One row per line, in the order of the file, with :data:`COLUMNS`: scores, seconds and
        megabytes are float64 with NaN for an empty field, counts are pandas' Int64 with NA,
        all else is text with "" for an empty field.

    Warns
    -----
    UserWarning
        If a line was cut short or is otherwise not a whole row. It is left out.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file has other columns.
    """
    text = Path(path).read_text(encoding="utf-8", errors="replace")
    _check_header(path, text)
    rows, broken = [], []
    for number, line in enumerate(text.split("\n")[1:], start=2):
        row = _parse(line)
        if row is not None:
            rows.append(row)
        elif line.strip():
            broken.append(number)
    if broken:
        numbers = ", ".join(map(str, broken))
        warnings.warn(
            f"{path}: line {numbers} is not a whole row and is left out: it was cut short or "
            "edited.",
            stacklevel=2,
        )
    return _typed(pd.DataFrame(rows, columns=list(COLUMNS), dtype=str))


def append(path: str | Path, row: Mapping[str, Any]) -> None:
    """Append a row, and the header to a new file, for good before this returns.

    A line that was cut short at the end of the file is removed first. If the row cannot be
    written in full, nothing of it is left in the file.

    Parameters
    ----------
    path : str or Path
        Results file, which need not exist; its folder must.
    row : mapping
        A value for each of :data:`COLUMNS`; None and NaN stand for an empty field. Line
        breaks in texts become spaces.

    Raises
    ------
    OSError
        If the file cannot be written, as on a full disk.
    ValueError
        If the row or the file has other columns.
    """
    if set(row) != set(COLUMNS):
        raise ValueError(
            f"a row must have the columns of a results file, found {_difference(tuple(row))}."
        )
    with FileLock(lock_path(path)), open(path, "a+b", buffering=0) as file:
        _append_line(path, file, _line(row))


def lock_path(path: str | Path) -> Path:
    """Return the lock file of a results file, which may be deleted when nobody uses it."""
    return Path(f"{path}.lock")


def _append_line(path: str | Path, file: RawIOBase, line: bytes) -> None:
    file.seek(0)
    content = file.read() or b""
    end = _whole_length(path, content)
    before = _HEADER.encode() if end == 0 else b"\n" if content[end - 1 : end] != b"\n" else b""
    try:
        file.truncate(end)
        _write_all(file, before + line)
        os.fsync(file.fileno())
    except OSError:
        file.truncate(end)
        raise


def _whole_length(path: str | Path, content: bytes) -> int:
    """Return the length in bytes without a last line that was cut short."""
    _check_header(path, content.decode("utf-8", errors="replace"))
    last = content.rpartition(b"\n")[2]
    is_whole = _parse(last.decode("utf-8", errors="replace")) is not None
    return len(content) if is_whole else len(content) - len(last)


def _write_all(file: RawIOBase, data: bytes) -> None:
    while data:
        data = data[file.write(data) or 0 :]


def _check_header(path: str | Path, text: str) -> None:
    header, line_break, _ = text.partition("\n")
    found = tuple(header.strip().split(","))
    # A file cut short in its header has no rows to lose.
    was_cut = not line_break and _HEADER.startswith(header)
    if found != COLUMNS and not was_cut:
        raise ValueError(
            f"{path} is not a results file of this version: {_difference(found)}. "
            "Name another file."
        )


def _difference(found: tuple[str, ...]) -> str:
    missing = [name for name in COLUMNS if name not in found]
    unknown = [name for name in found if name not in COLUMNS]
    parts = [f"without {', '.join(missing)}"] if missing else []
    parts += [f"with the unknown {', '.join(map(repr, unknown))[:200]}"] if unknown else []
    return " and ".join(parts) or "the columns are in another order"


def _parse(line: str) -> list[str] | None:
    """Return the fields of a line, or None if it is not a whole row."""
    try:
        fields = next(csv.reader([line.rstrip("\r")], strict=True), [])
    except csv.Error:
        return None
    is_whole = len(fields) == len(COLUMNS) and _STARTED.fullmatch(fields[-1])
    return fields if is_whole and all(_numbers_parse(fields)) else None


def _numbers_parse(fields: list[str]) -> Iterator[bool]:
    for name, field in zip(COLUMNS, fields, strict=True):
        if field and (name in _REALS or name in _INTEGERS):
            try:
                yield float(field) is not None
            except ValueError:
                yield False


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    for name in (*_REALS, *_INTEGERS):
        # Not pd.to_numeric, which rounds in the last digit.
        table[name] = table[name].replace("", "nan").map(float).astype("float64")
    return table.astype(dict.fromkeys(_INTEGERS, "Int64"))


def _line(row: Mapping[str, Any]) -> bytes:
    fields = [_field(row[name]) for name in COLUMNS]
    written = StringIO()
    csv.writer(written, lineterminator="\n").writerow(fields)
    return written.getvalue().encode()


def _field(value: Any) -> Any:
    if isinstance(value, str):
        return " ".join(value.splitlines())
    return "" if value is None or pd.isna(value) else value
