"""Accuracies taken from files of publications."""

import re
from pathlib import Path
from typing import NamedTuple

import pandas as pd


class Published(NamedTuple):
    """Accuracies by data set (row) and labeled classifier (column), or means; one is empty."""

    accuracy: pd.DataFrame
    means: pd.DataFrame


def read_published(path: Path) -> Published:
    """Read published accuracies from a CSV file.

    Either its first column is "dataset" and the others are classifiers, with notes such as
    "(mean 10)", "(5-ens)" or "(fold 0)" in their names; or it has the column "classifier" and
    others that start with "mean", over data sets it does not list. Raise ValueError if the file
    has other columns, or entries that are not accuracies in 0..1.
    """
    try:
        table = pd.read_csv(path, encoding="utf-8-sig")
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a table of published accuracies: {error}.") from error
    if "classifier" in table and any(name.startswith("mean") for name in table):
        return Published(pd.DataFrame(), table)
    if len(table.columns) < 2 or table.columns[0] != "dataset":
        raise ValueError(
            f"{path} must start with the column 'dataset' and have a column of accuracies for each "
            "classifier, or have the columns 'classifier' and 'mean...', found "
            f"{', '.join(map(str, table.columns))}."
        )
    given = table.set_index("dataset")
    if (repeated := given.index[given.index.duplicated()]).size:
        raise ValueError(f"{path} must list each data set once, found {repeated[0]!r} again.")
    accuracy = given.apply(pd.to_numeric, errors="coerce")
    wrong = (accuracy.isna() & given.notna()) | (accuracy < 0) | (accuracy > 1)
    for dataset, classifier in wrong.stack()[lambda cells: cells].index:
        found = f"{given[classifier].to_dict()[dataset]!r} of {classifier!r} on {dataset!r}"
        raise ValueError(f"{path} must hold accuracies in 0..1, found {found}.")
    return Published(accuracy.rename(columns=_label), pd.DataFrame())


def _label(column: str) -> str:
    """Turn "ROCKET (mean 10)" into "ROCKET (published, mean of 10 runs)"."""
    name, _, note = column.strip().removesuffix(")").partition(" (")
    note = re.sub(r"\bmean (\d+)", r"mean of \1 runs", note.replace("fold 0", "1 run"))
    note = re.sub(r"\b(\d+)-ens\b", r"ensemble of \1", note)
    return f"{name} (published, {note})" if note else f"{name} (published)"
