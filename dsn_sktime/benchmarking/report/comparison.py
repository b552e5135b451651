"""Measured and published accuracies: one per data set and estimator."""

import json
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import NamedTuple

import pandas as pd

from dsn_sktime.benchmarking.report.published import Published

RUN = ["dataset", "label", "seed", "split"]
"""Columns that identify a run."""

# Parameters that do not make another estimator: the seed has a column of its own, and
# results do not depend on the others.
_NEUTRAL = ("random_state", "n_jobs", "verbose", "device")
# Published accuracies come with six decimals; finer differences are ties.
_DECIMALS = 6


class Comparison(NamedTuple):
    """Accuracies to compare.

    ``runs`` are successful results, with the column "label" of the estimator. ``accuracy`` is
    the mean over the runs of a data set (row) and an estimator (column), NaN where there is none;
    its columns are the labels in ``measured`` and ``published``.
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
    labels = results["estimator"].astype(str)
    parameters = results["parameters"].map(_shaping_parameters)
    for _, rows in parameters.groupby(labels):
        distinct = list({json.dumps(p, sort_keys=True): p for p in rows}.values())
        keys = sorted({key for p in distinct for key in p})
        differing = [key for key in keys if len({json.dumps(p.get(key)) for p in distinct}) > 1]
        if differing:
            labels[rows.index] += rows.map(lambda p, keys=differing: f" ({_listed(p, keys)})")
    return labels


def _shaping_parameters(text: str) -> dict[str, object]:
    return {k: v for k, v in json.loads(text).items() if k.split("__")[-1] not in _NEUTRAL}


def _listed(parameters: dict[str, object], keys: Iterable[str]) -> str:
    return ", ".join(f"{key}={parameters.get(key)}" for key in keys)


def protocols(results: pd.DataFrame) -> pd.Series:
    """Name the protocol of each result: "default", or "5-fold" and the like."""
    return results["split"].str.replace(r"^fold\d+of(\d+)-seed\d+$", r"\1-fold", regex=True)


def split_runs(results: pd.DataFrame, protocol: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the last success of each run of a protocol, and the last failure of the others."""
    rows = results.assign(label=estimator_labels(results))[protocols(results) == protocol]
    is_ok = rows["status"] == "ok"
    runs, failed = (rows[one].drop_duplicates(RUN, keep="last") for one in (is_ok, ~is_ok))
    succeeded = pd.MultiIndex.from_frame(runs[RUN])
    return runs, failed[~pd.MultiIndex.from_frame(failed[RUN]).isin(succeeded)]


def collect(
    runs: pd.DataFrame, published: Sequence[Published] = (), estimators: Sequence[str] = ()
) -> Comparison:
    """Put measured and published accuracies side by side, on the data sets that were measured.

    ``estimators`` are those to compare, in this order; all, in the order of the files, if empty.
    A published one may be given without its note, "ROCKET" for "ROCKET (published, mean of 10
    runs)". Raise ValueError if one is unknown, or none of them was measured.
    """
    measured = list(dict.fromkeys(runs["label"]))
    mean = runs.groupby(["dataset", "label"])["accuracy"].mean().unstack("label")
    tables = [mean[measured], *(one.accuracy.reindex(mean.index) for one in published)]
    accuracy = pd.concat(tables, axis=1).astype(float).round(_DECIMALS)
    accuracy.columns = unique_names(list(accuracy.columns))
    if estimators:
        accuracy = accuracy[[resolve(name, list(accuracy.columns)) for name in estimators]]
    measured = [name for name in accuracy if name in measured]
    if not measured:
        raise ValueError("estimators must have a measured one, found published ones only.")
    others = [name for name in accuracy if name not in measured]
    runs = runs[runs["label"].isin(measured)]
    return Comparison(runs, accuracy.dropna(how="all"), measured, others)


def unique_names(names: list[str]) -> list[str]:
    """Add a number to a repeated name, such as one classifier in two files."""
    return [
        name if name not in names[:place] else f"{name} [{names[:place].count(name) + 1}]"
        for place, name in enumerate(names)
    ]


def resolve(name: str, labels: Sequence[str]) -> str:
    """Return the label that is ``name``, or is so without the note of a published one.

    Raise ValueError if there is none, or more than one.
    """
    exact = [label for label in labels if label == name]
    found = exact or [label for label in labels if label.split(" (published")[0] == name]
    if not found:
        raise ValueError(f"unknown estimator {name!r}. {did_you_mean(name, labels)}")
    if len(found) > 1:
        raise ValueError(f"estimator {name!r} may be each of {found}. Give one of them in full.")
    return found[0]


def did_you_mean(name: str, names: Sequence[str]) -> str:
    """List the names there are, the nearest first."""
    nearest = get_close_matches(name, names, n=1, cutoff=0.4)
    hint = f"Did you mean {nearest[0]!r}? " if nearest else ""
    return f"{hint}There are: {', '.join(names)}."
