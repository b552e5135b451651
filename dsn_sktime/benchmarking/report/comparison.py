"""What was measured and what was published: one accuracy per data set and estimator."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

__all__ = [
    "RUN",
    "Published",
    "Scores",
    "collect",
    "did_you_mean",
    "estimator_labels",
    "failed_runs",
    "protocols",
    "read_published",
    "resolve",
    "successful_runs",
    "unique_names",
]

RUN = ("dataset", "label", "seed", "split")
"""Columns that tell a run from every other."""

# Parameters that do not make another estimator: the seed has a column of its own, and
# results do not depend on the others.
_NEUTRAL = ("random_state", "n_jobs", "verbose", "device")
# Published accuracies come with six decimals; finer differences are ties.
_DECIMALS = 6


@dataclass(frozen=True)
class Published:
    """Accuracies taken from a file of publications.

    ``accuracy`` has a row per data set and a column per classifier; ``means`` a row per
    classifier, where a file gives no more than that. One of the two is empty.
    """

    accuracy: pd.DataFrame
    means: pd.DataFrame


@dataclass(frozen=True)
class Scores:
    """Accuracies to compare.

    Attributes
    ----------
    runs : DataFrame
        The successful rows of the results file, with the column "label" of the estimator.
    accuracy : DataFrame
        Mean accuracy over the runs of a data set (row) and an estimator (column), NaN
        where there is none; measured estimators first, then published ones.
    measured, published : list of str
        The columns of either kind.
    """

    runs: pd.DataFrame
    accuracy: pd.DataFrame
    measured: list[str]
    published: list[str]

    @property
    def common(self) -> pd.DataFrame:
        """The rows of ``accuracy`` that have no gap: what averages and ranks are over."""
        return self.accuracy.dropna()

    def left_out(self) -> dict[str, list[str]]:
        """Return the data sets that are in no average, and who has no accuracy on them."""
        gaps = self.accuracy.isna()
        return {
            dataset: [name for name in gaps.columns if row[name]]
            for dataset, row in gaps.iterrows()
            if row.any()
        }

    def over_runs(self, statistic: str, column: str = "accuracy") -> pd.DataFrame:
        """Aggregate a column over the runs of each data set and measured estimator."""
        grouped = self.runs.groupby(["dataset", "label"])[column].agg(statistic)
        return grouped.unstack("label").reindex(self.accuracy.index, columns=self.measured)


def estimator_labels(results: pd.DataFrame) -> pd.Series:
    """Name the estimator of each row.

    Where one short name was run with several parameter sets, what differs between them
    is added, so that their results are not averaged.

    Parameters
    ----------
    results : DataFrame
        Rows of a results file.

    Returns
    -------
    Series of str

    Raises
    ------
    ValueError
        If the parameters of a row are not a JSON object.
    """
    labels = results["estimator"].astype(str)
    parameters = results["parameters"].map(_shaping_parameters)
    for _, rows in parameters.groupby(labels):
        distinct = list({json.dumps(p, sort_keys=True): p for p in rows}.values())
        keys = sorted({key for p in distinct for key in p})
        differing = [key for key in keys if len({json.dumps(p.get(key)) for p in distinct}) > 1]
        if differing:
            suffix = rows.map(lambda p, keys=differing: _listed(p, keys))
            labels = labels.where(~labels.index.isin(rows.index), labels + " (" + suffix + ")")
    return labels


def _shaping_parameters(text: object) -> dict[str, object]:
    try:
        parameters = json.loads(str(text))
    except json.JSONDecodeError:
        parameters = None
    if not isinstance(parameters, dict):
        raise ValueError(f"column 'parameters' must hold JSON objects, found {str(text)[:60]!r}.")
    return {k: v for k, v in parameters.items() if k.split("__")[-1] not in _NEUTRAL}


def _listed(parameters: dict[str, object], keys: Iterable[str]) -> str:
    return ", ".join(f"{key}={parameters.get(key)}" for key in keys)


def protocols(results: pd.DataFrame) -> pd.Series:
    """Name the protocol of each row: "default", or "5-fold" and the like."""
    return (
        results["split"]
        .astype(str)
        .str.replace(r"^fold\d+of(\d+)-seed\d+$", r"\1-fold", regex=True)
    )


def successful_runs(results: pd.DataFrame, protocol: str) -> pd.DataFrame:
    """Return the successful rows of a protocol, the last one of each run, with labels."""
    rows = results.assign(label=estimator_labels(results))
    rows = rows[(protocols(rows) == protocol) & (rows["status"] == "ok")]
    rows = rows[rows["accuracy"].notna()]
    return rows.drop_duplicates(RUN, keep="last")


def failed_runs(results: pd.DataFrame, runs: pd.DataFrame, protocol: str) -> pd.DataFrame:
    """Return the last failure of each run of a protocol that is not among ``runs``."""
    rows = results.assign(label=estimator_labels(results))
    rows = rows[(protocols(rows) == protocol) & (rows["status"] != "ok")]
    rows = rows.drop_duplicates(RUN, keep="last")
    columns = list(RUN)
    succeeded = pd.MultiIndex.from_frame(runs[columns])
    return rows[~pd.MultiIndex.from_frame(rows[columns]).isin(succeeded)]


def collect(
    runs: pd.DataFrame, published: Sequence[Published], estimators: Sequence[str] = ()
) -> Scores:
    """Put measured and published accuracies side by side.

    Parameters
    ----------
    runs : DataFrame
        Of :func:`successful_runs`.
    published : sequence of Published
    estimators : sequence of str, default=()
        Those to compare, in this order; all, in the order of the files, if empty. A
        published one may be given without its note, "ROCKET" for
        "ROCKET (published, mean of 10 runs)".

    Returns
    -------
    Scores
        On the data sets that were measured.

    Raises
    ------
    ValueError
        If an estimator is unknown, or none of them was measured.
    """
    measured = list(dict.fromkeys(runs["label"]))
    mean = runs.groupby(["dataset", "label"])["accuracy"].mean().unstack("label")
    tables = [mean[measured], *(one.accuracy.reindex(mean.index) for one in published)]
    accuracy = pd.concat(tables, axis=1).astype(float).round(_DECIMALS)
    accuracy.columns = unique_names(list(accuracy.columns))
    if estimators:
        accuracy = accuracy[[resolve(name, list(accuracy.columns)) for name in estimators]]
    chosen = list(accuracy.columns)
    if not set(chosen) & set(measured):
        raise ValueError("estimators must have a measured one, found published ones only.")
    return Scores(
        runs[runs["label"].isin(chosen)],
        accuracy.dropna(how="all"),
        [name for name in chosen if name in measured],
        [name for name in chosen if name not in measured],
    )


def unique_names(names: list[str]) -> list[str]:
    """Add a number to a name that came up before, as of one classifier in two files."""
    return [
        name if name not in names[:place] else f"{name} [{names[:place].count(name) + 1}]"
        for place, name in enumerate(names)
    ]


def resolve(name: str, labels: Sequence[str]) -> str:
    """Find an estimator by its label, or by its label without the note of a published one.

    Raises
    ------
    ValueError
        If there is none, or more than one.
    """
    exact = [label for label in labels if label == name]
    found = exact or [label for label in labels if label.split(" (published")[0] == name]
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(f"estimator {name!r} may be each of {found}. Give one of them in full.")
    raise ValueError(f"unknown estimator {name!r}. {did_you_mean(name, labels)}")


def did_you_mean(name: str, names: Sequence[str]) -> str:
    """List the names there are, the nearest first."""
    nearest = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    hint = f"Did you mean {nearest[0]!r}? " if nearest else ""
    return f"{hint}There are: {', '.join(names)}."


def read_published(path: Path) -> Published:
    """Read accuracies from a file of publications.

    Either its first column is "dataset" and the others are classifiers, with notes such
    as "(mean 10)", "(5-ens)" or "(fold 0)" in their names; or it has the column
    "classifier" and others that start with "mean", over data sets it does not list.

    Parameters
    ----------
    path : Path
        A CSV file; accuracies are in 0..1.

    Returns
    -------
    Published
        Every column is labelled as published.

    Raises
    ------
    ValueError
        If the file has other columns, or entries that are no accuracies.
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
