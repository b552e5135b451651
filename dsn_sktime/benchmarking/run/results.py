"""Results: a file per job, named by the job's digest, and the CSV file that they make.

The records of ``results.csv`` lie in the folder ``results.csv.jobs``. Each is written by
``os.replace``, so processes that are killed or share the folder leave whole records only.
"""

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
_COSTS = ("n_epochs", "n_parameters", "multiply_adds")
_SHAPES = ("n_train", "n_test", "n_variates", "series_length", "n_classes")

COLUMNS = (
    *("dataset", "estimator", "seed", "split", "parameters", "job", "status", "error"),
    *(*_MEASURES, "fit_seconds", "predict_seconds", *_COSTS, "peak_memory_mb", *_SHAPES),
    *("n_jobs", "versions", "host", "started"),
)
"""Columns of results, in their order."""

_REALS = (*_MEASURES, "fit_seconds", "predict_seconds", "peak_memory_mb")
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
    _check_columns(list(record), "a record must have the columns of results")
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
        for line, row in _csv_rows(path):
            if row["job"] in rows:
                raise ValueError(f"{path}, line {line} repeats job {row['job']}: delete one.")
            rows[row["job"]] = row
    records = [_record(file) for file in sorted(folder_of(path).glob("*.json"))]
    rows |= {record["job"]: record for record in sorted(records, key=lambda one: one["started"])}
    table = pd.DataFrame(list(rows.values()), columns=list(COLUMNS))
    types = dict.fromkeys(_REALS, "float64") | dict.fromkeys(_INTEGERS, "Int64")
    return table.astype(dict.fromkeys(COLUMNS, "object") | types)


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
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = csv.reader(file, strict=True)
        try:
            header = next(lines, list(COLUMNS))
            _check_columns(header, "it is not a results file of this version")
            for fields in filter(None, lines):
                if len(fields) != len(COLUMNS):
                    raise ValueError(f"expected {len(COLUMNS)} fields, found {len(fields)}")
                yield lines.line_num, _parsed(dict(zip(header, fields, strict=True)))
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is not UTF-8 text: {error.reason}.") from error
        except (csv.Error, ValueError) as error:
            raise ValueError(f"{path}, line {lines.line_num}: {error}.") from error


def _record(file: Path) -> dict[str, Any]:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        _check_columns(list(values), "it is not a record of this version")
        texts = {name: "" if value is None else str(value) for name, value in values.items()}
        if texts["job"] != file.stem:
            raise ValueError(f"the file must be named by its job, found job {texts['job']!r}")
        return _parsed(texts)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{file}: {error}. Delete it to run the job again.") from error


def _check_columns(found: list[str], problem: str) -> None:
    missing = [name for name in COLUMNS if name not in found]
    unknown = [name for name in found if name not in COLUMNS]
    parts = [f"without {', '.join(missing)}"] if missing else []
    parts += [f"with the unknown {', '.join(map(repr, unknown))[:200]}"] if unknown else []
    parts += ["with columns twice"] if not parts and len(found) > len(COLUMNS) else []
    if parts:
        raise ValueError(f"{problem}, {' and '.join(parts)}")


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
    if not _TIME.fullmatch(row["started"]):
        raise ValueError(f"started must be like 2026-01-02T03:04:05Z, found {row['started']!r}")
    return row


def _value(name: str, text: str) -> Any:
    if name in ("parameters", "versions") and (text or name == "parameters"):
        with suppress(ValueError):
            if isinstance(json.loads(text), dict):
                return text
        raise ValueError(f"{name} must be a JSON object, found {text[:60]!r}")
    if name not in _REALS + _INTEGERS:
        return text
    value, wanted = math.nan, "an integer" if name in _INTEGERS else "a number"
    largest, limits = 2**63 - 1, "of at least 0"
    if name in _MEASURES and name != "log_loss":
        largest, limits = 1, "in 0..1"
    with suppress(ValueError):
        value = int(text) if name in _INTEGERS else float(text)
    if text and not 0 <= value <= largest:
        raise ValueError(f"{name} must be {wanted} {limits}, found {text[:60]!r}")
    return value if text else None
