"""The tables of a report, with captions that state the data sets."""

import json
from collections.abc import Iterable

import pandas as pd

from dsn_sktime.benchmarking.report.comparison import RUN, Comparison
from dsn_sktime.benchmarking.report.formatting import count, numbers, one_line
from dsn_sktime.benchmarking.report.page import MISSING, Table
from dsn_sktime.statistics import average_ranks, wilcoxon_holm, wins_ties_losses

_FEWEST_FOR_5_PERCENT = 6
_COSTS = {
    "n_parameters": "Parameters",
    "multiply_adds": "Multiply-adds per series",
    "fit_seconds": "Fit (s)",
    "predict_ms": "Predict (ms per series)",
    "peak_memory_mb": "Peak memory (MB)",
}
_MEASURES = {
    "balanced_accuracy": "Balanced accuracy",
    "f1_macro": "F1, macro",
    "log_loss": "Log loss",
    "calibration_error": "Calibration error",
    "auroc": "AUROC",
}
_FACTS = {
    "n_train": "Training series",
    "n_test": "Test series",
    "n_variates": "Variates",
    "series_length": "Time steps",
    "n_classes": "Classes",
}
_FORMATS = dict.fromkeys([*_COSTS.values(), *_FACTS.values()], "{:,.0f}")
_FORMATS |= dict.fromkeys(_MEASURES.values(), "{:.3f}")
_FORMATS |= {"Fit (s)": "{:,.1f}", "Predict (ms per series)": "{:,.2f}"}


def summary(compared: Comparison, reference: str) -> Table:
    """Compare means and ranks, best rank first."""
    common = compared.common
    ranks = average_ranks(common).sort_values(kind="stable")
    columns = {"Mean accuracy (%)": 100 * common.mean()}
    formats = {"Mean accuracy (%)": "{:.2f}", "Average rank": "{:.2f}", "p (Holm)": _p_value}
    caption = f"Means over {count(len(common), 'data set')}."
    if common.shape[1] > 1:
        counts = wins_ties_losses(common, reference).astype(str).agg(" / ".join, axis=1)
        columns |= {"Average rank": ranks, f"Wins / ties / losses against {reference}": counts}
        caption += (
            " The best average rank comes first. Wins, ties and losses are those of the row "
            f"against {reference}; p is of the Wilcoxon signed-rank test between the two, adjusted "
            f"by Holm's step-down procedure for all pairs. {too_few(common)}"
        )
        if len(common) > 1:
            columns["p (Holm)"] = wilcoxon_holm(common)[reference].drop(reference)
    notes = {name: name.partition("(published")[2].strip(", )") for name in compared.published}
    n_runs = compared.over_runs("count").loc[common.index].apply(numbers)
    columns["Runs per data set"] = pd.Series({**n_runs, **notes}).replace("", "not stated")
    columns["Epochs"] = _epochs(compared)
    cells = pd.DataFrame(columns).loc[ranks.index].rename_axis("Estimator")
    best = cells[["Mean accuracy (%)"]] == cells["Mean accuracy (%)"].max()
    return Table(caption.strip(), cells, formats, best)


def too_few(common: pd.DataFrame) -> str:
    """Say that no difference is significant, if so: 2 / 2**5, all signs equal, is above 5 %."""
    few = f"With fewer than {_FEWEST_FOR_5_PERCENT} data sets no difference can reach 5 %, however "
    return "" if len(common) >= _FEWEST_FOR_5_PERCENT else f"{few}large it is."


def mean_costs(compared: Comparison, columns: Iterable[str] = _COSTS) -> pd.DataFrame:
    """Return means over the common data sets, by measured estimator; NaN if unknown on any."""
    runs = compared.runs[compared.runs["dataset"].isin(compared.common.index)]
    per_series = 1e3 * runs["predict_seconds"] / runs["n_test"].astype(float)
    runs = runs.assign(predict_ms=per_series).astype(dict.fromkeys(columns, float))
    by_dataset = runs.groupby(["label", "dataset"])[list(columns)].mean()
    means = by_dataset.groupby("label").agg(lambda values: values.mean(skipna=False))
    return means.reindex(compared.measured).assign(accuracy=compared.common.mean())


def costs(compared: Comparison) -> Table:
    """List the costs of each measured estimator."""
    hosts = compared.runs["host"].nunique()
    caption = (
        f"Means over runs and {count(len(compared.common), 'data set')}; {MISSING} is not known. "
        f"Times and memory come from {count(hosts, 'kind')} of machine; a fit used so many jobs: "
        f"{numbers(compared.runs['n_jobs']) or 'not known'}."
    )
    return _named(mean_costs(compared), _COSTS, caption)


def measures(compared: Comparison) -> Table:
    """Average the metrics other than accuracy that are known at all: older files lack some."""
    caption = (
        f"Means over runs and {count(len(compared.common), 'data set')}. Of the log loss a lower "
        f"value is better, of the others a higher one. {MISSING} where an estimator lacks it on "
        "a data set."
    )
    means = mean_costs(compared, _MEASURES).dropna(axis="columns", how="all")
    return _named(means, _MEASURES, caption)


def by_dataset(compared: Comparison) -> Table:
    """List every accuracy, with its standard deviation over the runs and their number."""
    accuracy, n, sd = compared.accuracy, compared.over_runs("count"), compared.over_runs("std")
    cells = (100 * accuracy).map("{:.1f}".format, na_action="ignore").astype(object)
    for name in compared.measured:
        spread = (100 * sd[name]).map(" ± {:.1f}".format, na_action="ignore").fillna("")
        cells[name] += spread + n[name].map(" ({:.0f})".format)
    cells.index += accuracy.isna().any(axis=1).map({False: "", True: " †"})
    caption = (
        "Accuracy in %, mean ± standard deviation over the runs, whose number is in brackets; "
        "the best in bold. † is in no average, for want of an accuracy of every estimator."
    )
    best = accuracy.eq(accuracy.max(axis=1), axis=0)
    return Table(caption, cells.rename_axis("Data set"), best=best)


def left_out(compared: Comparison, failed: pd.DataFrame) -> Table:
    """List the data sets that are in no average, and why."""
    did_fail = set(zip(failed["dataset"], failed["label"], strict=True))
    gaps, reasons = compared.accuracy.isna().stack(), dict[str, list[str]]()
    for dataset, name in gaps[gaps].index:
        reason = "failed" if (dataset, name) in did_fail else "not run"
        reason = "not in the published file" if name in compared.published else reason
        reasons.setdefault(dataset, []).append(f"{reason}: {name}")
    caption = f"{count(len(reasons), 'data set')} in no average, and why."
    why = pd.Series({dataset: "; ".join(found) for dataset, found in reasons.items()}, dtype=object)
    return Table(caption, why.rename("Why").rename_axis("Data set").to_frame())


def failures(failed: pd.DataFrame) -> Table:
    """List the runs that never succeeded."""
    cells = failed[[*RUN, "error"]].assign(error=failed["error"].map(one_line))
    cells.columns = pd.Index(["Data set", "Estimator", "Seed", "Split", "Error"])
    caption = f"{count(len(cells), 'run')} that never succeeded."
    return Table(caption, cells.set_index("Data set"))


def parameters(compared: Comparison) -> Table:
    """List epochs and parameters of the measured estimators."""
    of_first = compared.runs.groupby("label", sort=False)["parameters"].first()
    cells = pd.DataFrame({"Epochs": _epochs(compared)[of_first.index], "Parameters": of_first})
    caption = "Parameters of the measured estimators (of the first run; seeds differ)."
    return Table(caption, cells.rename_axis("Estimator"))


def datasets(compared: Comparison) -> Table:
    """Describe the data sets."""
    facts = compared.runs.groupby("dataset")[list(_FACTS)].first()
    facts = facts.reindex(compared.accuracy.index)
    return _named(facts, _FACTS, "The measured data sets.")


def versions(runs: pd.DataFrame) -> str:
    """List the versions that the runs were made with."""
    used = pd.DataFrame([json.loads(text) for text in runs["versions"].unique() if text])
    found = {name: sorted(used[name].dropna().astype(str).unique()) for name in sorted(used)}
    return ", ".join(f"{name} {' and '.join(each)}" for name, each in found.items()) or "not known"


def _epochs(compared: Comparison) -> pd.Series:
    epochs = compared.runs.groupby("label")["n_epochs"]
    measured = {name: numbers(of_label) or "none" for name, of_label in epochs}
    return pd.Series(measured | dict.fromkeys(compared.published, "as published"))


def _named(values: pd.DataFrame, titles: dict[str, str], caption: str) -> Table:
    cells = values[[name for name in titles if name in values]].rename(columns=titles)
    corner = "Data set" if titles is _FACTS else "Estimator"
    return Table(caption, cells.rename_axis(corner), _FORMATS)


def _p_value(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
