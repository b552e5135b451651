"""Accuracies taken from files of publications."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

__all__ = ["Published", "read_published"]


@dataclass(frozen=True)
class Published:
    """Accuracies taken from a file of publications.

    ``accuracy`` has a row per data set and a column per classifier; ``means`` a row per
    classifier, where a file gives no more than that. One of the two is empty.
    """

    accuracy: pd.DataFrame
    means: pd.DataFrame


def read_published(path: Path) -> Published:
    """Read published accuracies from a CSV file, and label each classifier as published.

    Either its first column is "dataset" and the others are classifiers, with notes such
    as "(mean 10)", "(5-ens)" or "(fold 0)" in their names; or it has the column
    "classifier" and others that start with "mean", over data sets it does not list. Raise
    ValueError if the file has other columns, or entries that are no accuracies in 0..1.
    """
    try:
        table = pd.read_csv(path)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no table of published accuracies: {error}.") from error
    if "classifier" in table and any(name.startswith("mean") for name in table):
        return Published(pd.DataFrame(), table)
    if len(table.columns) < 2 or table.columns[0] != "dataset":
        raise ValueError(
            f"{path} must start with the column 'dataset' and have a column of accuracies for "
            "each classifier, or have the columns 'classifier' and 'mean...', found "
            f"{', '.join(map(str, table.columns))}."
        )
    accuracy = table.set_index("dataset").apply(pd.to_numeric, errors="coerce")
    _check_accuracies(path, table.set_index("dataset"), accuracy)
    accuracy.columns = [_published_label(name) for name in accuracy.columns]
    return Published(accuracy, pd.DataFrame())


def _check_accuracies(path: Path, given: pd.DataFrame, accuracy: pd.DataFrame) -> None:
    repeated = accuracy.index[accuracy.index.duplicated()].tolist()
    if repeated:
        raise ValueError(f"{path} must list each data set once, found {repeated[0]!r} again.")
    wrong = (accuracy.isna() & given.notna()) | (accuracy < 0) | (accuracy > 1)
    if wrong.to_numpy().any():
        dataset, classifier = wrong.stack()[lambda cells: cells].index[0]
        found = given.loc[[dataset], classifier].item()
        raise ValueError(
            f"{path} must hold accuracies in 0..1, found {found!r} of {classifier!r} on "
            f"{dataset!r}."
        )


def _published_label(column: str) -> str:
    """Turn "ROCKET (mean 10)" into "ROCKET (published, mean of 10 runs)"."""
    name, note = re.fullmatch(r"(.*?)(?: \((.*)\))?", column.strip()).groups()  # type: ignore[union-attr]
    if note is None:
        return f"{name} (published)"
    note = re.sub(r"\bmean (\d+)", r"mean of \1 runs", note)
    note = re.sub(r"\b(\d+)-ens\b", r"ensemble of \1", note)
    note = re.sub(r"\bfold 0\b", "1 run", note)
    return f"{name} (published, {note})"
