"""Results: a file per job, named by the job's digest, and the CSV file that they make.

The records of ``results.csv`` lie in the folder ``results.csv.jobs``. Each is written by
``os.replace``, so processes that are killed or share the folder leave whole records only.
"""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock

__all__ = ["COLUMNS", "export", "folder_of", "read", "write"]

_SHARES = ["accuracy", "balanced_accuracy", "f1_macro", "auroc", "calibration_error"]
_REALS = [*_SHARES, "log_loss", "fit_seconds", "predict_seconds", "peak_memory_mb"]
_SHAPES = ["n_train", "n_test", "n_variates", "series_length", "n_classes"]
_INTEGERS = ["seed", "n_epochs", "n_parameters", "multiply_adds", *_SHAPES, "n_jobs"]
_TYPES = dict.fromkeys(_REALS, "float64") | dict.fromkeys(_INTEGERS, "Int64")

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
    if sorted(record) != sorted(COLUMNS):
        wrong = ", ".join(sorted({*record} ^ {*COLUMNS}))
        raise ValueError(f"a record must have the columns of results, missing or unknown: {wrong}")
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
        With the file, and the line of a results file, if a column is missing or a value cannot
        be one of its column.
    """
    path, folder = Path(path), folder_of(path)
    tables = [_records(folder)]
    if path.is_file() or not folder.is_dir():
        tables.insert(0, _lines(path))
    table = pd.concat(tables)
    last = table.drop_duplicates("job", keep="last").set_index("job", drop=False)
    return last.loc[table["job"].unique()].reset_index(drop=True)


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


def _lines(path: Path) -> pd.DataFrame:
    options = {"keep_default_na": False, "na_values": {name: [""] for name in _TYPES}}
    options |= {"encoding": "utf-8-sig", "float_precision": "round_trip", "index_col": False}
    texts = dict.fromkeys(COLUMNS, "object")
    try:
        return _typed(pd.read_csv(path, dtype=texts | _TYPES, **options))
    except (ValueError, TypeError, OverflowError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"the results file {path} is malformed: {reason}.") from error


def _records(folder: Path) -> pd.DataFrame:
    """Return all records in the order of their start."""
    records = []
    for file in folder.glob("*.json"):
        try:
            records.append(dict(json.loads(file.read_text(encoding="utf-8"))))
        except (ValueError, TypeError) as error:
            message = f"the result {file} is malformed: {error}. Delete it to run the job again."
            raise ValueError(message) from error
    try:
        return _typed(pd.DataFrame(records)).sort_values(["started", "job"])
    except (ValueError, TypeError) as error:
        raise ValueError(f"a result in {folder} is malformed: {error}.") from error


def _typed(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows with the columns of results; raise ValueError if they are something else."""
    if len(rows.columns) and sorted(rows) != sorted(COLUMNS):
        wrong = ", ".join(sorted({*rows} ^ {*COLUMNS}))
        raise ValueError(f"missing or unknown columns are {wrong}")
    table = rows.reindex(columns=list(COLUMNS)).astype(_TYPES)
    is_share = table[_SHARES].isna() | (table[_SHARES] >= 0) & (table[_SHARES] <= 1)
    is_known = table["status"].eq("failed") | table["status"].eq("ok") & table["accuracy"].notna()
    if not (is_share.all(axis=1) & is_known).all():
        raise ValueError("status must be 'failed', or 'ok' with an accuracy and the like in 0..1")
    texts = table.columns.difference(list(_TYPES))
    return table.fillna(dict.fromkeys(texts, "")).astype(dict.fromkeys(texts, "object"))
