"""Accuracies taken from files of publications."""

import re
from pathlib import Path

import pandas as pd


def read_published(path: Path) -> pd.DataFrame:
    """Read published accuracies from a CSV file: by data set (row) and labelled classifier.

    Its first column is "dataset", the others are classifiers, with notes such as "(mean 10)",
    "(5-ens)" or "(fold 0)" in their names. Raise ValueError if the file has another form, or
    entries that are not accuracies in 0..1.
    """
    try:
        table = pd.read_csv(path, encoding="utf-8-sig")
    except ValueError as error:  # pandas' own are of this kind
        raise ValueError(f"{path} is not a table of published accuracies: {error}.") from error
    if len(table.columns) < 2 or table.columns[0] != "dataset":
        raise ValueError(
            f"{path} must start with the column 'dataset' and have a column of accuracies for each "
            f"classifier, found {', '.join(map(str, table.columns))}."
        )
    given = table.set_index("dataset")
    if (repeated := given.index[given.index.duplicated()]).size:
        raise ValueError(f"{path} must list each data set once, found {repeated[0]!r} again.")
    accuracy = given.apply(pd.to_numeric, errors="coerce")
    wrong = (accuracy.isna() & given.notna()) | (accuracy < 0) | (accuracy > 1)
    for dataset, classifier in wrong.stack()[lambda cells: cells].index:
        found = f"{given[classifier].to_dict()[dataset]!r} of {classifier!r} on {dataset!r}"
        raise ValueError(f"{path} must hold accuracies in 0..1, found {found}.")
    return accuracy.rename(columns=_label)


def _label(column: str) -> str:
    """Turn "ROCKET (mean 10)" into "ROCKET (published, mean of 10 runs)"."""
    name, _, note = column.strip().removesuffix(")").partition(" (")
    note = re.sub(r"\bmean (\d+)", r"mean of \1 runs", note.replace("fold 0", "1 run"))
    note = re.sub(r"\b(\d+)-ens\b", r"ensemble of \1", note)
    return f"{name} (published, {note})" if note else f"{name} (published)"
