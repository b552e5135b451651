"""The tables of a report: cells of text, with captions that say what they are over."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

from dsn_sktime.benchmarking.report.comparison import RUN, Comparison
from dsn_sktime.benchmarking.report.formatting import (
    MISSING,
    count,
    format_number,
    list_numbers,
    one_line,
    percent,
)
from dsn_sktime.benchmarking.report.page import Table
from dsn_sktime.benchmarking.report.published import Published
from dsn_sktime.statistics import average_ranks, wilcoxon_holm, wins_ties_losses

__all__ = [
    "by_dataset",
    "costs",
    "datasets",
    "failures",
    "left_out",
    "mean_costs",
    "measures",
    "parameters",
    "published_means",
    "summary",
    "too_few",
    "versions",
]

_FEWEST_FOR_5_PERCENT = 6
# Column of the costs: title, digits after the point.
_COSTS = {
    "n_parameters": ("Parameters", 0),
    "multiply_adds": ("Multiply-adds per series", 0),
    "fit_seconds": ("Fit (s)", 1),
    "predict_ms": ("Predict (ms per series)", 2),
    "peak_memory_mb": ("Peak memory (MB)", 0),
}
_MEASURES = {
    "balanced_accuracy": "Balanced accuracy",
    "f1_macro": "F1, macro",
    "log_loss": "Log loss",
    "auroc": "AUROC",
}
_FACTS = {
    "n_train": "Training series",
    "n_test": "Test series",
    "n_variates": "Variates",
    "series_length": "Time steps",
    "n_classes": "Classes",
}


def summary(compared: Comparison, reference: str) -> Table:
    """Compare means and ranks, best rank first."""
    common = compared.common
    means = common.mean()
    columns = {"Mean accuracy (%)": (100 * means).map("{:.2f}".format)}
    sentences = [f"Means over {count(len(common), 'data set')}."]
    if common.shape[1] > 1:
        columns |= _against(common, reference)
        sentences += [
            "The best average rank comes first.",
            f"Wins, ties and losses are those of the row against {reference}; p is of the "
            "Wilcoxon signed-rank test between the two, adjusted by Holm's step-down procedure "
            "for all pairs.",
            too_few(common),
        ]
    columns |= {"Runs per data set": _runs_behind(compared), "Epochs": _epochs(compared)}
    ranked = average_ranks(common).sort_values(kind="stable").index
    cells = pd.DataFrame(columns).loc[ranked]
    best = np.zeros((len(cells), 1 + cells.shape[1]), bool)
    best[:, 1] = means[ranked] == means.max()
    return _named("Estimator", cells, " ".join(sentences).strip(), best)


def too_few(common: pd.DataFrame) -> str:
    """Say that no difference is significant, if so: 2 / 2**5, all signs equal, is above 5 %."""
    if len(common) >= _FEWEST_FOR_5_PERCENT:
        return ""
    return (
        f"With fewer than {_FEWEST_FOR_5_PERCENT} data sets no difference can reach 5 %, however "
        "large it is."
    )


def _against(common: pd.DataFrame, reference: str) -> dict[str, pd.Series]:
    counts = wins_ties_losses(common, reference).astype(str).agg(" / ".join, axis=1)
    columns = {
        "Average rank": average_ranks(common).map("{:.2f}".format),
        f"Wins / ties / losses against {reference}": counts.reindex(common.columns),
    }
    if len(common) > 1:
        p_values = wilcoxon_holm(common)[reference].drop(reference)
        texts = p_values.map(lambda p: "< 0.001" if p < 0.001 else f"{p:.3f}")
        columns["p (Holm)"] = texts.reindex(common.columns)
    return columns


def mean_costs(compared: Comparison) -> pd.DataFrame:
    """Return mean accuracy and costs of the measured estimators on the common data sets.

    One row per estimator; a cost that is unknown on any data set is NaN.
    """
    seconds = compared.runs["predict_seconds"] / compared.runs["n_test"].astype(float)
    means = _means(compared, list(_COSTS), predict_ms=1e3 * seconds)
    return means.assign(accuracy=compared.common[compared.measured].mean())


def _means(compared: Comparison, columns: list[str], **more: pd.Series) -> pd.DataFrame:
    """Average over the runs of a data set, then over the common data sets."""
    runs = compared.runs.assign(**more)
    runs = runs[runs["dataset"].isin(compared.common.index)].astype(dict.fromkeys(columns, float))
    by_dataset = runs.groupby(["label", "dataset"])[columns].mean()
    means = by_dataset.groupby("label").agg(lambda values: values.mean(skipna=False))
    return means.reindex(compared.measured)


def costs(compared: Comparison) -> Table:
    """List the costs of each measured estimator."""
    means = mean_costs(compared)
    columns = {
        title: means[column].map(lambda value, digits=digits: format_number(value, digits))
        for column, (title, digits) in _COSTS.items()
    }
    hosts = compared.runs["host"].nunique()
    caption = (
        f"Means over runs and {count(len(compared.common), 'data set')}; {MISSING} is not known. "
        f"Times and memory come from {hosts} kind{'' if hosts == 1 else 's'} of machine; a fit "
        f"used so many jobs: {list_numbers(compared.runs['n_jobs']) or 'not known'}."
    )
    return _named("Estimator", pd.DataFrame(columns), caption)


def measures(compared: Comparison) -> Table:
    """Average the metrics other than accuracy."""
    means = _means(compared, list(_MEASURES)).rename(columns=_MEASURES)
    caption = (
        f"Means over runs and {count(len(compared.common), 'data set')}. Of the log loss a lower "
        f"value is better, of the others a higher one. {MISSING} where an estimator lacks it on "
        "a data set."
    )
    return _named("Estimator", means.map(lambda value: format_number(value, 3)), caption)


def by_dataset(compared: Comparison) -> Table:
    """List every accuracy, with its standard deviation over the runs and their number."""
    accuracy, n, sd = compared.accuracy, compared.over_runs("count"), compared.over_runs("std")
    cells = accuracy.map(percent, na_action="ignore")
    for name in compared.measured:
        spread = sd[name].map(lambda value: "" if pd.isna(value) else f" ± {percent(value)}")
        cells[name] = cells[name] + spread + n[name].map(lambda runs: f" ({runs:.0f})")
    best = accuracy.eq(accuracy.max(axis=1), axis=0).to_numpy()
    common = set(compared.common.index)
    cells.index = [name if name in common else f"{name} †" for name in cells.index]
    caption = (
        "Accuracy in %, mean ± standard deviation over the runs, whose number is in brackets; "
        "the best in bold. † is in no average, for want of an accuracy of every estimator."
    )
    return _named("Data set", cells, caption, np.insert(best, 0, False, axis=1))


def left_out(compared: Comparison, failed: pd.DataFrame) -> Table:
    """List the data sets that are in no average, and why."""
    did_fail = set(zip(failed["dataset"], failed["label"], strict=True))

    def reason(dataset: str, name: str) -> str:
        if name in compared.published:
            return f"not in the published file: {name}"
        return f"{'failed' if (dataset, name) in did_fail else 'not run'}: {name}"

    gaps = compared.accuracy.isna()
    why = {
        dataset: "; ".join(reason(dataset, name) for name in gaps.columns[row])
        for dataset, row in gaps[gaps.any(axis=1)].iterrows()
    }
    caption = f"{count(len(why), 'data set')} in no average, and why."
    return _named("Data set", pd.DataFrame({"Why": why}, dtype=object), caption)


def failures(failed: pd.DataFrame) -> Table:
    """List the runs that never succeeded."""
    cells = failed[[*RUN, "error"]].astype(str).reset_index(drop=True)
    cells["error"] = cells["error"].map(one_line)
    cells.columns = ["Data set", "Estimator", "Seed", "Split", "Error"]
    return Table(f"{count(len(cells), 'run')} that never succeeded.", cells)


def published_means(published: Published) -> Table:
    """Repeat published means, numbers first."""
    means = published.means
    numbers = list(means.select_dtypes("number"))
    texts = [name for name in means if name not in ("classifier", *numbers)]
    cells = means[["classifier", *numbers, *texts]].map(
        lambda cell: MISSING if pd.isna(cell) else str(cell)
    )
    caption = (
        "Published means, as given. Their data sets are not listed, so they enter no comparison; "
        "the numbers of two rows compare only if the protocol is the same."
    )
    return Table(caption, cells)


def parameters(compared: Comparison) -> Table:
    """List epochs and parameters of the measured estimators."""
    of_first = compared.runs.groupby("label", sort=False)["parameters"].first()
    cells = pd.DataFrame({"Epochs": _epochs(compared)[of_first.index], "Parameters": of_first})
    caption = "Parameters of the measured estimators (of the first run; seeds differ)."
    return _named("Estimator", cells, caption)


def datasets(compared: Comparison) -> Table:
    """Describe the data sets."""
    facts = compared.runs.groupby("dataset")[list(_FACTS)].first().reindex(compared.accuracy.index)
    cells = facts.rename(columns=_FACTS).map(lambda value: format_number(value, 0))
    return _named("Data set", cells, "The measured data sets.")


def versions(runs: pd.DataFrame) -> str:
    """List the versions that the runs were made with."""
    found: dict[str, set[str]] = {}
    for text in runs.loc[runs["versions"] != "", "versions"].unique():
        for package, version in json.loads(text).items():
            found.setdefault(package, set()).add(str(version))
    texts = [f"{name} {' and '.join(sorted(each))}" for name, each in sorted(found.items())]
    return ", ".join(texts) or "not known"


def _runs_behind(compared: Comparison) -> pd.Series:
    """Return the number of runs behind the accuracies of each estimator."""
    n = compared.over_runs("count").loc[compared.common.index]
    counted = {name: list_numbers(n[name]) for name in compared.measured}
    notes = {
        name: name.partition("(published")[2].rpartition(")")[0].lstrip(", ") or "not stated"
        for name in compared.published
    }
    return pd.Series(counted | notes)


def _epochs(compared: Comparison) -> pd.Series:
    epochs = compared.runs.groupby("label")["n_epochs"]
    measured = {name: list_numbers(of_label) or "none" for name, of_label in epochs}
    return pd.Series(measured | dict.fromkeys(compared.published, "as published"))


def _named(corner: str, cells: pd.DataFrame, caption: str, best: np.ndarray | None = None) -> Table:
    """Make the index the first column, called ``corner``, and fill gaps with a dash."""
    filled = cells.astype(object).where(cells.notna(), MISSING)
    return Table(caption, filled.rename_axis(index=corner, columns=None).reset_index(), best)
