"""Results: a file per job, named by the job's digest, and the CSV file that they make.

The records of ``results.csv`` lie in the folder ``results.csv.jobs``. Each is written by
``os.replace``, so processes that are killed or share the folder leave whole records only.
"""

from __future__ import annotations

import csv
import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock

__all__ = ["COLUMNS", "export", "folder_of", "read", "write"]

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
"""Columns of results, in their order."""

_SHARES = {*_MEASURES} - {"log_loss"}
_REALS = (*_MEASURES, *_SECONDS, "peak_memory_mb")
_INTEGERS = ("seed", *_COSTS, *_SHAPES, "n_jobs")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)")


def folder_of(path: str | Path) -> Path:
    """Return the folder of the records of a results file."""
    return Path(f"{path}.jobs")


def write(path: str | Path, record: Mapping[str, Any]) -> None:
    """Write the record of a job, or replace it.

    Parameters
    ----------
    path : str or Path
        Results file, which itself stays as it is until :func:`export`.
    record : mapping
        A value for each of :data:`COLUMNS`, None or NaN where there is none. Line breaks in
        texts become spaces.

    Raises
    ------
    OSError
        If the record cannot be written, as on a full disk.
    ValueError
        If the record has other columns.
    """
    if set(record) != set(COLUMNS):
        raise ValueError(f"a record must have the columns of results, {_difference(record)}.")
    folder_of(path).mkdir(exist_ok=True)
    values = {name: _plain(record[name]) for name in COLUMNS}
    _replace(folder_of(path) / f"{record['job']}.json", json.dumps(values, indent=1) + "\n")


def read(path: str | Path) -> pd.DataFrame:
    """Read the results file and the records in its folder.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    DataFrame
        One row per job with :data:`COLUMNS`, in the order of the results file, further records
        by their start. Metrics, seconds and megabytes are float64 with NaN where unknown, counts
        are pandas' Int64 with NA, all else is text. A record holds instead of a line of its job.

    Raises
    ------
    FileNotFoundError
        If there is neither.
    ValueError
        With file and line, if a column is missing or a value cannot be one of its column.
    """
    path, rows = Path(path), dict[str, dict[str, Any]]()
    if path.is_file() or not folder_of(path).is_dir():
        for line, row in _csv_rows(path):
            if row["job"] in rows:
                raise ValueError(f"{path}, line {line} repeats job {row['job']}: delete one.")
            rows[row["job"]] = row
    records = [_record(file) for file in sorted(folder_of(path).glob("*.json"))]
    rows |= {record["job"]: record for record in sorted(records, key=lambda one: one["started"])}
    table = pd.DataFrame(list(rows.values()), columns=list(COLUMNS))
    types = dict.fromkeys(_REALS, "float64") | dict.fromkeys(_INTEGERS, "Int64")
    return table.astype({**dict.fromkeys(COLUMNS, "object"), **types})


def export(path: str | Path) -> None:
    """Write all results into the results file, in one piece."""
    lock = FileLock(folder_of(path) / "export.lock")
    with lock:
        _replace(Path(path), read(path).to_csv(index=False, lineterminator="\n"))


def _replace(path: Path, text: str) -> None:
    draft = path.with_name(f"{path.name}.tmp")
    try:
        with draft.open("w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except OSError as error:
        with suppress(OSError):
            draft.unlink()
        raise OSError(
            f"{path} cannot be written ({error.strerror or error}); results written before are "
            "kept, so mend that and start again."
        ) from error


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return " ".join(value.splitlines())
    return None if value is None or pd.isna(value) else value


def _csv_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield line number and parsed values of each line."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(file, strict=True)
            header = next(lines, list(COLUMNS))
            if set(header) != set(COLUMNS) or len(header) != len(COLUMNS):
                raise ValueError(f"it is not a results file of this version, {_difference(header)}")
            for fields in lines:
                if len(fields) not in (0, len(COLUMNS)):
                    raise ValueError(f"expected {len(COLUMNS)} fields, found {len(fields)}")
                if fields:
                    yield lines.line_num, _parsed(dict(zip(header, fields, strict=True)))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: {error.reason}.") from error
    except (csv.Error, ValueError) as error:
        raise ValueError(f"{path}, line {max(lines.line_num, 1)}: {error}.") from error


def _record(file: Path) -> dict[str, Any]:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(values, dict) or set(values) != set(COLUMNS):
            raise ValueError(f"it is not a record of this version, {_difference(values)}")
        texts = {name: "" if values[name] is None else str(values[name]) for name in COLUMNS}
        if texts["job"] != file.stem:
            raise ValueError(f"the file must be named by its job, found job {texts['job']!r}")
        return _parsed(texts)
    except ValueError as error:
        raise ValueError(f"{file}: {error}. Delete it to run the job again.") from error


def _parsed(texts: dict[str, str]) -> dict[str, Any]:
    """Return typed values; raise ValueError if one cannot be what its column says."""
    row = {name: _value(name, text) for name, text in texts.items()}
    for name in ("dataset", "estimator", "seed", "split", "job"):
        if row[name] in ("", None):
            raise ValueError(f"{name} is missing")
    if row["status"] not in ("ok", "failed"):
        raise ValueError(f"status must be 'ok' or 'failed', found {row['status']!r}")
    if row["status"] == "ok" and row["accuracy"] is None:
        raise ValueError("accuracy is missing though status is 'ok'")
    return row


def _value(name: str, text: str) -> Any:
    if name in ("parameters", "versions"):
        _check_json(name, text)
    if name == "started" and not _TIME.fullmatch(text):
        raise ValueError(f"started must be a time such as 2026-01-02T03:04:05Z, found {text!r}")
    if name not in _REALS + _INTEGERS:
        return text
    if not text:
        return None
    most = 1 if name in _SHARES else 2**63 - 1
    kind = "an integer" if name in _INTEGERS else "a number"
    try:
        value = int(text) if name in _INTEGERS else float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= most:
        end = f" in 0..{most}" if name in _SHARES else " of at least 0"
        raise ValueError(f"{name} must be {kind}{end}, found {text[:60]!r}")
    return value


def _check_json(name: str, text: str) -> None:
    try:
        is_object = isinstance(json.loads(text), dict)
    except ValueError:
        is_object = False
    if not is_object and (text or name == "parameters"):
        raise ValueError(f"{name} must be a JSON object, found {text[:60]!r}")


def _difference(found: Any) -> str:
    found = list(found) if isinstance(found, list | Mapping) else []
    missing = [name for name in COLUMNS if name not in found]
    unknown = [name for name in found if name not in COLUMNS]
    parts = [f"without {', '.join(missing)}"] if missing else []
    parts += [f"with the unknown {', '.join(map(repr, unknown))[:200]}"] if unknown else []
    return " and ".join(parts) or "some columns are there twice"
