"""Results: a file per job, named by the job's digest, and the CSV file that they make.

The records of ``results.csv`` lie in the folder ``results.csv.jobs``. Each is written by
``os.replace``, so processes that are killed or share the folder leave whole records only.
"""

import csv
import json
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock

_SHARES = ("accuracy", "balanced_accuracy", "f1_macro", "auroc", "calibration_error")
_REALS = (*_SHARES, "log_loss", "fit_seconds", "predict_seconds", "peak_memory_mb")
_SHAPES = ("n_train", "n_test", "n_variates", "series_length", "n_classes")
_INTEGERS = ("seed", "n_epochs", "n_parameters", "multiply_adds", *_SHAPES, "n_jobs")
# Patterns of texts: below 10**18 an integer has 64 bits.
_PATTERNS = dict.fromkeys(_INTEGERS, r"\d{0,18}") | dict.fromkeys(_SHAPES, r"([1-9]\d{0,17})?")
_PATTERNS |= dict.fromkeys(("dataset", "estimator", "split", "job"), ".+")
_PATTERNS |= {"seed": r"\d{1,18}", "status": "ok|failed"}
_PATTERNS["started"] = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)"

COLUMNS = (
    *("dataset", "estimator", "seed", "split", "parameters", "job", "status", "error"),
    *("accuracy", "balanced_accuracy", "f1_macro", "log_loss", "calibration_error", "auroc"),
    *("fit_seconds", "predict_seconds", "n_epochs", "n_parameters", "multiply_adds"),
    *("peak_memory_mb", *_SHAPES, "n_jobs", "versions", "host", "started"),
)


def folder_of(path: str | Path) -> Path:
    """Return the folder of the records of a results file."""
    return Path(f"{path}.jobs")


def write(path: str | Path, record: Mapping[str, Any]) -> None:
    """Write or replace the record of a job; the results file stays as it is until :func:`export`.

    The record has a value for each of :data:`COLUMNS`, None or NaN where there is none. Line breaks
    in texts become spaces. Raise OSError if it cannot be written, as on a full disk.
    """
    _check_columns(record, "the record")
    folder_of(path).mkdir(exist_ok=True)
    values = {name: _plain(record[name]) for name in COLUMNS}
    _replace(folder_of(path) / f"{record['job']}.json", json.dumps(values, indent=1) + "\n")


def read(path: str | Path) -> pd.DataFrame:
    """Read the results file and the records in its folder, which replace lines of their jobs.

    Return a row per job with :data:`COLUMNS`, in the order of the results file, further ones by
    their start: metrics, seconds and megabytes as float64, counts as Int64, all else as text.
    Raise FileNotFoundError if there is neither; ValueError, with file and line, if a column is
    missing or a value cannot be one of its column.
    """
    path, folder = Path(path), folder_of(path)
    lines = _lines(path) if path.is_file() or not folder.is_dir() else []
    records = sorted(map(_record, sorted(folder.glob("*.json"))), key=lambda one: one["started"])
    table = _typed(pd.DataFrame([*lines, *records], columns=[*COLUMNS, "where"], dtype=object))
    last = dict(zip(table["job"], table.index, strict=True))
    return table.loc[list(last.values())].reset_index(drop=True)


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


def _lines(path: Path) -> Iterator[dict[str, str]]:
    """Yield the texts of each line, and under "where" its place."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines, jobs = csv.DictReader(file, strict=True), set[str]()
        try:
            _check_columns(COLUMNS if lines.fieldnames is None else lines.fieldnames, "the file")
            for row in lines:
                if None in row or None in row.values():
                    raise ValueError(f"it must have {len(COLUMNS)} fields")
                if row["job"] in jobs:
                    raise ValueError(f"it repeats job {row['job']}, delete one of the lines")
                jobs.add(row["job"])
                yield row | {"where": f"{path}, line {lines.line_num}"}
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is not UTF-8 text: {error.reason}.") from error
        except (csv.Error, ValueError) as error:
            raise ValueError(f"{path}, line {lines.line_num}: {error}.") from error


def _record(file: Path) -> dict[str, str]:
    """Return the texts of a record, and under "where" its file."""
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        _check_columns(values, "the record")
        if values["job"] != file.stem:
            raise ValueError(f"the file must be named by its job, found job {values['job']!r}")
        texts = {name: "" if one is None else str(one) for name, one in values.items()}
        return texts | {"where": f"{file} (delete it to run the job again)"}
    except (ValueError, TypeError) as error:
        raise ValueError(f"{file}: {error}. Delete it to run the job again.") from error


def _check_columns(found: Collection[str], what: str) -> None:
    if sorted(found) != sorted(COLUMNS):
        differing = ", ".join(sorted({*found} ^ {*COLUMNS})) or "some twice"
        raise ValueError(f"{what} does not have the columns of this version: {differing[:300]}")


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    """Give columns their types; raise ValueError if a text cannot be a value of its column."""
    valid = {name: table[name].str.fullmatch(_PATTERNS[name]) for name in _PATTERNS}
    for name in _REALS:
        number = pd.to_numeric(table[name], errors="coerce")
        valid[name] = number.between(0, 1 if name in _SHARES else 2.0**63) | (table[name] == "")
    for name in ("parameters", "versions"):
        known = {text: _is_object(text) for text in table[name].unique()}
        valid[name] = table[name].map(known) | ((table[name] == "") & (name == "versions"))
    valid["accuracy"] &= (table["accuracy"] != "") | (table["status"] == "failed")
    for name, is_valid in valid.items():
        for _, row in table[~is_valid.astype(bool)].iterrows():
            raise ValueError(f"{row['where']}: {name} cannot be {row[name][:60]!r}.")
    types = dict.fromkeys(_REALS, "float64") | dict.fromkeys(_INTEGERS, "Int64")
    numbers = table[list(types)].map(lambda text: text or None).astype(types)
    return table.assign(**numbers)[list(COLUMNS)]
