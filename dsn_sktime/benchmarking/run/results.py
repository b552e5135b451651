"""Results: a file per job, named by the job's digest, and the CSV file that they make.

The records of ``results.csv`` lie in the folder ``results.csv.jobs``. Each is written by
``os.replace``, so processes that are killed or share the folder leave whole records only.
"""

import csv
import json
import math
import os
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock

__all__ = ["COLUMNS", "export", "folder_of", "read", "write"]

_SHARES = ("accuracy", "balanced_accuracy", "f1_macro", "auroc", "calibration_error")
_REALS = (*_SHARES, "log_loss", "fit_seconds", "predict_seconds", "peak_memory_mb")
_SHAPES = ("n_train", "n_test", "n_variates", "series_length", "n_classes")
_INTEGERS = ("seed", "n_epochs", "n_parameters", "multiply_adds", *_SHAPES, "n_jobs")
_NEEDED = ("dataset", "estimator", "seed", "split", "job")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)")

COLUMNS = (
    *("dataset", "estimator", "seed", "split", "parameters", "job", "status", "error"),
    *("accuracy", "balanced_accuracy", "f1_macro", "log_loss", "calibration_error", "auroc"),
    *("fit_seconds", "predict_seconds", "n_epochs", "n_parameters", "multiply_adds"),
    *("peak_memory_mb", *_SHAPES, "n_jobs", "versions", "host", "started"),
)
"""Columns of results, in their order."""


def folder_of(path: str | Path) -> Path:
    """Return the folder of the records of a results file."""
    return Path(f"{path}.jobs")


def write(path: str | Path, record: Mapping[str, Any]) -> None:
    """Write or replace the record of a job; the results file stays as it is until :func:`export`.

    Parameters
    ----------
    path : str or Path
        Results file.
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
    _check_columns(record, "a record must have the columns of results")
    folder_of(path).mkdir(exist_ok=True)
    values = {name: _plain(record[name]) for name in COLUMNS}
    _replace(folder_of(path) / f"{record['job']}.json", json.dumps(values, indent=1) + "\n")


def read(path: str | Path) -> pd.DataFrame:
    """Read the results file and the records in its folder, which replace lines of their jobs.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    DataFrame
        One row per job with :data:`COLUMNS`, in the order of the results file, further records
        by their start. Metrics, seconds and megabytes are float64 with NaN where unknown, counts
        are pandas' Int64 with NA, all else is text.

    Raises
    ------
    FileNotFoundError
        If there is neither.
    ValueError
        With file and line, if a column is missing or a value cannot be one of its column.
    """
    path, rows = Path(path), dict[str, dict[str, Any]]()
    if path.is_file() or not folder_of(path).is_dir():
        rows |= {row["job"]: row for row in _csv_rows(path)}
    records = [_record(file) for file in sorted(folder_of(path).glob("*.json"))]
    rows |= {record["job"]: record for record in sorted(records, key=lambda one: one["started"])}
    table = pd.DataFrame(list(rows.values()), columns=list(COLUMNS), dtype=object)
    return table.astype(dict.fromkeys(_REALS, "float64") | dict.fromkeys(_INTEGERS, "Int64"))


def export(path: str | Path) -> None:
    """Write all results into the results file, in one piece."""
    with FileLock(folder_of(path) / "export.lock"):
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
        reason = f"{path} cannot be written ({error.strerror or error})"
        raise OSError(f"{reason}; results written before are kept: start again.") from error


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return " ".join(value.splitlines())
    return None if value is None or pd.isna(value) else value


def _csv_rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines, jobs = csv.reader(file, strict=True), set[str]()
        try:
            header = next(lines, list(COLUMNS))
            _check_columns(header, "it is not a results file of this version")
            for fields in filter(None, lines):
                if len(fields) != len(COLUMNS):
                    raise ValueError(f"expected {len(COLUMNS)} fields, found {len(fields)}")
                row = _parsed(dict(zip(header, fields, strict=True)))
                if row["job"] in jobs:
                    raise ValueError(f"it repeats job {row['job']}, delete one of the lines")
                jobs.add(row["job"])
                yield row
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is not UTF-8 text: {error.reason}.") from error
        except (csv.Error, ValueError) as error:
            raise ValueError(f"{path}, line {lines.line_num}: {error}.") from error


def _record(file: Path) -> dict[str, Any]:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        _check_columns(values, "it is not a record of this version")
        row = _parsed({name: "" if one is None else str(one) for name, one in values.items()})
        if row["job"] != file.stem:
            raise ValueError(f"the file must be named by its job, found job {row['job']!r}")
        return row
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{file}: {error}. Delete it to run the job again.") from error


def _check_columns(found: Collection[str], problem: str) -> None:
    missing = [name for name in COLUMNS if name not in found]
    unknown = [name for name in found if name not in COLUMNS]
    parts = [f"without {', '.join(missing)}"] if missing else []
    parts += [f"with the unknown {', '.join(map(repr, unknown))[:200]}"] if unknown else []
    if parts or len(found) > len(COLUMNS):
        raise ValueError(f"{problem}, {' and '.join(parts) or 'with columns twice'}")


def _parsed(texts: dict[str, str]) -> dict[str, Any]:
    """Return typed values; raise ValueError if one cannot be what its column says."""
    row: dict[str, Any] = {name: _value(name, text) for name, text in texts.items()}
    needed = (*_NEEDED, "accuracy") if row["status"] == "ok" else _NEEDED
    if missing := [name for name in needed if row[name] in ("", None)]:
        raise ValueError(f"{missing[0]} is missing, status is {row['status']!r}")
    if row["status"] not in ("ok", "failed"):
        raise ValueError(f"status must be 'ok' or 'failed', found {row['status']!r}")
    if not _TIME.fullmatch(row["started"]):
        raise ValueError(f"started must be like 2026-01-02T03:04:05Z, found {row['started']!r}")
    return row


def _value(name: str, text: str) -> Any:
    value, wanted = math.nan, "an integer" if name in _INTEGERS else "a number"
    if name in ("parameters", "versions") and (text or name == "parameters"):
        with suppress(ValueError):
            if isinstance(json.loads(text), dict):
                return text
        raise ValueError(f"{name} must be a JSON object, found {text[:60]!r}")
    if name not in _REALS + _INTEGERS:
        return text
    least, most = int(name in _SHAPES), 1 if name in _SHARES else 2**63 - 1
    wanted += " in 0..1" if name in _SHARES else f" of at least {least}"
    with suppress(ValueError):
        value = int(text) if name in _INTEGERS else float(text)
    if text and not least <= value <= most:
        raise ValueError(f"{name} must be {wanted}, found {text[:60]!r}")
    return value if text else None
