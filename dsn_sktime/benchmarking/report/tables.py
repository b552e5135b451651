"""The tables of a report: cells of text, with captions that state the data sets."""

import json

import numpy as np
import pandas as pd

from dsn_sktime.benchmarking.report.comparison import RUN, Comparison
from dsn_sktime.benchmarking.report.page import Table
from dsn_sktime.statistics import average_ranks, wilcoxon_holm, wins_ties_losses

_MISSING = "\N{EN DASH}"
# Column: title, and format of a number.
_COSTS = {
    "n_parameters": ("Parameters", "{:,.0f}"),
    "multiply_adds": ("Multiply-adds per series", "{:,.0f}"),
    "fit_seconds": ("Fit (s)", "{:,.1f}"),
    "predict_ms": ("Predict (ms per series)", "{:,.2f}"),
    "peak_memory_mb": ("Peak memory (MB)", "{:,.0f}"),
    "balanced_accuracy": ("Balanced accuracy", "{:.3f}"),
    "f1_macro": ("F1, macro", "{:.3f}"),
    "log_loss": ("Log loss", "{:.3f}"),
    "calibration_error": ("Calibration error", "{:.3f}"),
    "auroc": ("AUROC", "{:.3f}"),
}


def count(n: int, noun: str) -> str:
    """Format a number and its noun: "1 run", "2 runs"."""
    return f"{n} {noun if n == 1 else noun + 's'}"


def numbers(values: pd.Series) -> str:
    """List the distinct whole numbers, or their range if there are more than four."""
    texts = [f"{value:,.0f}" for value in sorted(values.dropna().unique())]
    return ", ".join(texts) if len(texts) < 5 else f"{texts[0]} to {texts[-1]}"


def versions(texts: pd.Series) -> str:
    """List the versions of packages, each set of them once."""
    found = [json.loads(text) for text in sorted({*texts} - {""})]
    return "; ".join(", ".join(f"{name} {each[name]}" for name in each) for each in found)


def summary(compared: Comparison, reference: str) -> Table:
    """Compare means and ranks, best rank first."""
    common = compared.common
    means, ranks = common.mean(), average_ranks(common)
    columns = {"Mean accuracy (%)": (100 * means).map("{:.2f}".format)}
    caption = f"Means over {count(len(common), 'data set')}."
    if common.shape[1] > 1:
        counts = wins_ties_losses(common, reference).astype(str).agg(" / ".join, axis=1)
        columns["Average rank"] = ranks.map("{:.2f}".format)
        columns[f"Wins / ties / losses against {reference}"] = counts
        caption += " Wins, ties and losses are those of the row."
    if min(common.shape) > 1:
        p_values = wilcoxon_holm(common)[reference].drop(reference)
        columns["p (Holm)"] = p_values.map(lambda p: "< 0.001" if p < 0.001 else f"{p:.3f}")
        caption += f" p: signed-rank test against {reference}, Holm's correction for all pairs."
        if len(common) < 6:
            caption += " With fewer than 6 data sets it is above 5 %, whatever they show."
    epochs = compared.runs.groupby("label")["n_epochs"].agg(numbers).replace("", "none")
    n_runs = compared.over_runs("count").loc[common.index].apply(numbers)
    columns |= {"Runs per data set": n_runs, "Epochs": epochs}
    ranked = ranks.sort_values(kind="stable").index
    cells = pd.DataFrame(columns).loc[ranked]
    best = np.zeros((len(cells), 1 + cells.shape[1]), bool)
    best[:, 1] = means[ranked] == means.max()
    return _table("Estimator", cells, caption, best)


def mean_costs(compared: Comparison) -> pd.DataFrame:
    """Return means over the common data sets, by measured estimator; NaN if unknown on any."""
    runs = compared.runs[compared.runs["dataset"].isin(compared.common.index)]
    per_series = 1e3 * runs["predict_seconds"] / runs["n_test"].astype(float)
    runs = runs.assign(predict_ms=per_series).astype(dict.fromkeys(_COSTS, float))
    by_dataset = runs.groupby(["label", "dataset"])[list(_COSTS)].mean()
    means = by_dataset.groupby("label").agg(lambda values: values.mean(skipna=False))
    return means.reindex(compared.measured)


def costs(compared: Comparison) -> Table:
    """List costs and measures of each measured estimator, those that are known of any."""
    means = mean_costs(compared).dropna(axis="columns", how="all")
    cells = {
        title: means[name].map(form.format, na_action="ignore")
        for name, (title, form) in _COSTS.items()
        if name in means
    }
    caption = (
        f"Means over runs and {count(len(compared.common), 'data set')}, on "
        f"{count(compared.runs['host'].nunique(), 'kind')} of machine, with n_jobs "
        f"{numbers(compared.runs['n_jobs']) or _MISSING}. {_MISSING} is not known on "
        "every data set. Of log loss and calibration error, a lower value is better."
    )
    return _table("Estimator", pd.DataFrame(cells, means.index), caption)


def by_dataset(compared: Comparison) -> Table:
    """List every accuracy, with its standard deviation over the runs and their number."""
    accuracy, n, sd = compared.accuracy, compared.over_runs("count"), compared.over_runs("std")
    cells = (100 * accuracy).map("{:.1f}".format, na_action="ignore")
    for name in compared.measured:
        spread = (100 * sd[name]).map(" ± {:.1f}".format, na_action="ignore").fillna("")
        cells[name] += spread + n[name].map(" ({:.0f})".format)
    best = accuracy.eq(accuracy.max(axis=1), axis=0).to_numpy()
    cells.index += accuracy.isna().any(axis=1).map({False: "", True: " †"})
    caption = (
        "Accuracy in %, mean ± standard deviation over the runs, whose number is in brackets; "
        "the best in bold. † is in no average, for want of an accuracy of every estimator."
    )
    return _table("Data set", cells, caption, np.insert(best, 0, False, axis=1))


def left_out(compared: Comparison, failed: pd.DataFrame) -> Table:
    """List the data sets that are in no average, and why."""
    did_fail = set(zip(failed["dataset"], failed["label"], strict=True))
    # Where all failed, there is no row.
    datasets = compared.accuracy.index.union(failed["dataset"])
    gaps = compared.accuracy.reindex(datasets).isna().stack()
    reasons: dict[str, list[str]] = {}
    for dataset, name in gaps[gaps].index:
        if name in compared.published and dataset not in compared.accuracy.index:
            continue  # Published accuracies are kept for measured data sets only.
        reason = "failed" if (dataset, name) in did_fail else "not run"
        reason = "not in the published file" if name in compared.published else reason
        reasons.setdefault(dataset, []).append(f"{reason}: {name}")
    cells = pd.DataFrame({"Why": {dataset: "; ".join(found) for dataset, found in reasons.items()}})
    return _table("Data set", cells, f"{count(len(cells), 'data set')} in no average, and why.")


def failures(failed: pd.DataFrame) -> Table:
    """List the runs that never succeeded."""
    cells = failed[[*RUN, "error"]].astype(str).assign(error=failed["error"].str[:300])
    cells.columns = pd.Index(["Data set", "Estimator", "Seed", "Split", "Error"])
    caption = f"{count(len(cells), 'run')} that never succeeded."
    return _table("Data set", cells.set_index("Data set"), caption)


def published_means(means: pd.DataFrame) -> Table:
    """Repeat published means."""
    caption = (
        "Published means, as given, over data sets that are not listed: they enter no comparison, "
        "and two of them compare only if their protocol is the same."
    )
    cells = means.set_index("classifier").map(str, na_action="ignore")
    return _table("classifier", cells, caption)


def parameters(compared: Comparison) -> Table:
    """List the parameters of the measured estimators."""
    first = compared.runs.groupby("label", sort=False)["parameters"].first()
    caption = "Parameters of the measured estimators (of the first run; seeds differ)."
    return _table("Estimator", first.to_frame("Parameters"), caption)


def _table(corner: str, cells: pd.DataFrame, caption: str, best: np.ndarray | None = None) -> Table:
    """Make the index the first column, called ``corner``, and fill gaps with a dash."""
    filled = cells.astype(object).where(cells.notna(), _MISSING)
    return Table(caption, filled.rename_axis(index=corner, columns=None).reset_index(), best)
