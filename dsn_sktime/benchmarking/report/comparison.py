"""Measured and published accuracies: one per data set and estimator."""

import json
import re
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

# Columns that identify a run.
RUN = ["dataset", "label", "seed", "split"]
# Parameters that do not make another estimator: the seed has a column of its own, and
# results do not depend on the others.
_NEUTRAL = ("random_state", "n_jobs", "verbose", "device", "backend")


class Comparison(NamedTuple):
    """Successful runs, and mean accuracies by data set (row) and estimator (column).

    The columns are the labels in ``measured``, over the runs of that "label", and ``published``;
    an accuracy is NaN where there is none.
    """

    runs: pd.DataFrame
    accuracy: pd.DataFrame
    measured: list[str]
    published: list[str]

    @property
    def common(self) -> pd.DataFrame:
        """The rows of ``accuracy`` without gaps, which averages and ranks are over."""
        return self.accuracy.dropna()

    def over_runs(self, statistic: str) -> pd.DataFrame:
        """Aggregate the accuracy over the runs of each data set and measured estimator."""
        grouped = self.runs.groupby(["dataset", "label"])["accuracy"].agg(statistic)
        return grouped.unstack("label").reindex(self.accuracy.index, columns=self.measured)


def estimator_labels(results: pd.DataFrame) -> pd.Series:
    """Name the estimator of each result.

    Where one short name was run with several parameter sets, the name includes the parameters
    that differ, so that their results are not averaged.
    """
    labels, texts = results["estimator"].astype(str), results["parameters"]
    given = {row: json.loads(text, object_hook=_distinctive) for row, text in texts.items()}
    settings = pd.DataFrame([*given.values()], results.index).map(json.dumps)
    for _, rows in settings.groupby(labels):
        differing = sorted(rows.columns[rows.nunique() > 1])
        for row in rows.index if differing else []:
            labels[row] += f" ({', '.join(f'{name}={given[row].get(name)}' for name in differing)})"
    return labels


def _distinctive(parameters: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if name not in _NEUTRAL}


def protocols(results: pd.DataFrame) -> pd.Series:
    """Name the protocol of each result: "default", or "5-fold" and the like."""
    return results["split"].str.replace(r"^fold\d+of(\d+)-seed\d+$", r"\1-fold", regex=True)


def split_runs(results: pd.DataFrame, protocol: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the last success of each run of a protocol, and the last failure of the others."""
    rows = results[protocols(results) == protocol]
    rows = rows.assign(label=estimator_labels(rows))
    is_ok = rows["status"] == "ok"
    runs, failed = (rows[one].drop_duplicates(RUN, keep="last") for one in (is_ok, ~is_ok))
    succeeded = pd.MultiIndex.from_frame(runs[RUN])
    return runs, failed[~pd.MultiIndex.from_frame(failed[RUN]).isin(succeeded)]


def read_published(path: Path) -> pd.DataFrame:
    """Read published accuracies by data set (row) and labeled classifier (column), or means.

    Either the first column of the CSV file is "dataset" and the others are classifiers, with notes
    such as "(mean 10)", "(5-ens)" or "(fold 0)" in their names; or it has the column "classifier"
    and others that start with "mean", over data sets it does not list, and is returned as it is.
    Raise ValueError if the file has other columns, or entries that are not accuracies in 0..1.
    """
    try:
        table = pd.read_csv(path, encoding="utf-8-sig")
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a table of published accuracies: {error}.") from error
    if "classifier" in table and any(name.startswith("mean") for name in table):
        return table
    if len(table.columns) < 2 or table.columns[0] != "dataset":
        raise ValueError(
            f"{path} must start with the column 'dataset' and have others of accuracies, or have "
            f"'classifier' and 'mean...', found {', '.join(map(str, table.columns))}."
        )
    given = table.set_index("dataset")
    if (repeated := given.index[given.index.duplicated()]).size:
        raise ValueError(f"{path} must list each data set once, found {repeated[0]!r} again.")
    accuracy = given.apply(pd.to_numeric, errors="coerce")
    is_wrong = given.notna() & ~accuracy.apply(pd.Series.between, args=(0, 1))
    for dataset, name in is_wrong.stack()[lambda cells: cells].index:
        found = f"{given.to_dict()[name][dataset]!r} of {name!r} on {dataset!r}"
        raise ValueError(f"{path} must hold accuracies in 0..1, found {found}.")
    return accuracy.rename(columns=_label)


def _label(column: str) -> str:
    """Turn "ROCKET (mean 10)" into "ROCKET (published, mean of 10 runs)"."""
    name, _, note = column.strip().removesuffix(")").partition(" (")
    note = re.sub(r"\bmean (\d+)", r"mean of \1 runs", note.replace("fold 0", "1 run"))
    note = re.sub(r"\b(\d+)-ens\b", r"ensemble of \1", note)
    return f"{name} (published, {note})" if note else f"{name} (published)"


def unique_names(names: list[str]) -> list[str]:
    """Add a number to a repeated name, such as one classifier in two files."""
    repeats = [names[:place].count(name) for place, name in enumerate(names)]
    return [f"{name} [{n + 1}]" if n else name for name, n in zip(names, repeats, strict=True)]


def collect(
    runs: pd.DataFrame, published: Sequence[pd.DataFrame] = (), estimators: Sequence[str] = ()
) -> Comparison:
    """Put measured and published accuracies side by side, on the data sets that were measured.

    ``estimators`` are those to compare, in this order, all if empty; a published one may be given
    without its note. Raise ValueError if one is unknown, or none of them was measured.
    """
    measured = list(dict.fromkeys(runs["label"]))
    mean = runs.groupby(["dataset", "label"])["accuracy"].mean().unstack("label")
    tables = [mean[measured], *(one.reindex(mean.index) for one in published)]
    # Published accuracies have six decimals: finer differences are ties.
    accuracy = pd.concat(tables, axis=1).astype(float).round(6)
    accuracy.columns = unique_names(list(accuracy))
    if estimators:
        accuracy = accuracy[list(dict.fromkeys(resolve(name, [*accuracy]) for name in estimators))]
    measured = [name for name in accuracy if name in measured]
    if not measured:
        raise ValueError("estimators must have a measured one, found published ones only.")
    others = [name for name in accuracy if name not in measured]
    runs = runs[runs["label"].isin(measured)]
    return Comparison(runs, accuracy.dropna(how="all"), measured, others)


def resolve(name: str, labels: Sequence[str], kind: str = "estimator") -> str:
    """Return the label that is ``name``, or is so without the note of a published one.

    Raise ValueError if there is none, or more than one.
    """
    exact = [label for label in labels if label == name]
    found = exact or [label for label in labels if label.split(" (published")[0] == name]
    if not found:
        nearest = get_close_matches(name, labels, n=1, cutoff=0.4)
        hint = f"Did you mean {nearest[0]!r}? " if nearest else ""
        raise ValueError(f"unknown {kind} {name!r}. {hint}There are: {', '.join(labels)}.")
    if len(found) > 1:
        raise ValueError(f"{kind} {name!r} may be each of {found}. Give one of them in full.")
    return found[0]
