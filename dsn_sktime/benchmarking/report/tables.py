"""The tables of a report: cells of text, with captions that state the data sets."""

import json

import numpy as np
import pandas as pd

from dsn_sktime.benchmarking.report.comparison import RUN, Comparison
from dsn_sktime.benchmarking.report.formatting import MISSING, count, number, numbers, one_line
from dsn_sktime.benchmarking.report.page import Table
from dsn_sktime.benchmarking.report.published import Published
from dsn_sktime.statistics import average_ranks, wilcoxon_holm, wins_ties_losses

_FEWEST_FOR_5_PERCENT = 6
# Title and digits after the point.
_COLUMNS = {
    "n_parameters": ("Parameters", 0),
    "multiply_adds": ("Multiply-adds per series", 0),
    "fit_seconds": ("Fit (s)", 1),
    "predict_ms": ("Predict (ms per series)", 2),
    "peak_memory_mb": ("Peak memory (MB)", 0),
    "balanced_accuracy": ("Balanced accuracy", 3),
    "f1_macro": ("F1, macro", 3),
    "log_loss": ("Log loss", 3),
    "calibration_error": ("Calibration error", 3),
    "auroc": ("AUROC", 3),
    "n_train": ("Training series", 0),
    "n_test": ("Test series", 0),
    "n_variates": ("Variates", 0),
    "series_length": ("Time steps", 0),
    "n_classes": ("Classes", 0),
}
_COSTS, _MEASURES, _FACTS = list(_COLUMNS)[:5], list(_COLUMNS)[5:10], list(_COLUMNS)[10:]


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
        caption += (
            " The best average rank comes first. Wins, ties and losses are those of the row "
            f"against {reference}; p is of the Wilcoxon signed-rank test between the two, adjusted "
            f"by Holm's step-down procedure for all pairs. {too_few(common)}"
        )
        if len(common) > 1:
            p_values = wilcoxon_holm(common)[reference].drop(reference)
            columns["p (Holm)"] = p_values.map(lambda p: "< 0.001" if p < 0.001 else f"{p:.3f}")
    n_runs = compared.over_runs("count").loc[common.index].apply(numbers).to_dict()
    notes = {name: name.partition("(published")[2].strip(", )") for name in compared.published}
    n_runs |= {name: note or "not stated" for name, note in notes.items()}
    columns |= {"Runs per data set": pd.Series(n_runs), "Epochs": _epochs(compared)}
    ranked = ranks.sort_values(kind="stable").index
    cells = pd.DataFrame(columns).loc[ranked]
    best = np.zeros((len(cells), 1 + cells.shape[1]), bool)
    best[:, 1] = means[ranked] == means.max()
    return _table("Estimator", cells, caption.strip(), best)


def too_few(common: pd.DataFrame) -> str:
    """Say that no difference is significant, if so: 2 / 2**5, all signs equal, is above 5 %."""
    few = f"With fewer than {_FEWEST_FOR_5_PERCENT} data sets no difference can reach 5 %, however "
    return "" if len(common) >= _FEWEST_FOR_5_PERCENT else f"{few}large it is."


def mean_costs(compared: Comparison, columns: list[str] = _COSTS) -> pd.DataFrame:
    """Return means over the common data sets, by measured estimator; NaN if unknown on any."""
    runs = compared.runs[compared.runs["dataset"].isin(compared.common.index)]
    per_series = 1e3 * runs["predict_seconds"] / runs["n_test"].astype(float)
    runs = runs.assign(predict_ms=per_series).astype(dict.fromkeys(columns, float))
    by_dataset = runs.groupby(["label", "dataset"])[columns].mean()
    means = by_dataset.groupby("label").agg(lambda values: values.mean(skipna=False))
    return means.reindex(compared.measured).assign(accuracy=compared.common.mean())


def costs(compared: Comparison) -> Table:
    """List the costs of each measured estimator."""
    hosts = compared.runs["host"].nunique()
    caption = (
        f"Means over runs and {count(len(compared.common), 'data set')}; {MISSING} is not known. "
        f"Times and memory come from {hosts} kind{'' if hosts == 1 else 's'} of machine; a fit "
        f"used so many jobs: {numbers(compared.runs['n_jobs']) or 'not known'}."
    )
    return _formatted("Estimator", mean_costs(compared)[_COSTS], caption)


def measures(compared: Comparison) -> Table:
    """Average the metrics other than accuracy that are known at all: older files lack some."""
    caption = (
        f"Means over runs and {count(len(compared.common), 'data set')}. Of the log loss a lower "
        f"value is better, of the others a higher one. {MISSING} where an estimator lacks it on "
        "a data set."
    )
    means = mean_costs(compared, _MEASURES)[_MEASURES].dropna(axis="columns", how="all")
    return _formatted("Estimator", means, caption)


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
    gaps, reasons = compared.accuracy.isna().stack(), dict[str, list[str]]()
    for dataset, name in gaps[gaps].index:
        reason = "failed" if (dataset, name) in did_fail else "not run"
        reason = "not in the published file" if name in compared.published else reason
        reasons.setdefault(dataset, []).append(f"{reason}: {name}")
    rows = [(dataset, "; ".join(found)) for dataset, found in reasons.items()]
    caption = f"{count(len(rows), 'data set')} in no average, and why."
    return Table(caption, pd.DataFrame(rows, columns=["Data set", "Why"]))


def failures(failed: pd.DataFrame) -> Table:
    """List the runs that never succeeded."""
    cells = failed[[*RUN, "error"]].astype(str).assign(error=failed["error"].map(one_line))
    cells.columns = pd.Index(["Data set", "Estimator", "Seed", "Split", "Error"])
    caption = f"{count(len(cells), 'run')} that never succeeded."
    return Table(caption, cells.reset_index(drop=True))


def published_means(published: Published) -> Table:
    """Repeat published means, numbers first."""
    cells = published.means.set_index("classifier")
    first = list(cells.select_dtypes("number"))
    cells = cells[first + [name for name in cells if name not in first]]
    caption = (
        "Published means, as given. Their data sets are not listed, so they enter no comparison; "
        "the numbers of two rows compare only if the protocol is the same."
    )
    return _table("classifier", cells.map(str, na_action="ignore"), caption)


def parameters(compared: Comparison) -> Table:
    """List epochs and parameters of the measured estimators."""
    of_first = compared.runs.groupby("label", sort=False)["parameters"].first()
    cells = pd.DataFrame({"Epochs": _epochs(compared)[of_first.index], "Parameters": of_first})
    caption = "Parameters of the measured estimators (of the first run; seeds differ)."
    return _table("Estimator", cells, caption)


def datasets(compared: Comparison) -> Table:
    """Describe the data sets."""
    facts = compared.runs.groupby("dataset")[_FACTS].first().reindex(compared.accuracy.index)
    return _formatted("Data set", facts, "The measured data sets.")


def versions(runs: pd.DataFrame) -> str:
    """List the versions that the runs were made with."""
    used = pd.DataFrame([json.loads(text) for text in runs["versions"].unique() if text])
    found = {name: sorted(used[name].dropna().astype(str).unique()) for name in sorted(used)}
    return ", ".join(f"{name} {' and '.join(each)}" for name, each in found.items()) or "not known"


def _epochs(compared: Comparison) -> pd.Series:
    epochs = compared.runs.groupby("label")["n_epochs"]
    measured = {name: numbers(of_label) or "none" for name, of_label in epochs}
    return pd.Series(measured | dict.fromkeys(compared.published, "as published"))


def _formatted(corner: str, values: pd.DataFrame, caption: str) -> Table:
    titles = [_COLUMNS[name][0] for name in values]
    texts = [[number(value, _COLUMNS[name][1]) for value in values[name]] for name in values]
    cells = pd.DataFrame(dict(zip(titles, texts, strict=True)), values.index)
    return _table(corner, cells, caption)


def _table(corner: str, cells: pd.DataFrame, caption: str, best: np.ndarray | None = None) -> Table:
    """Make the index the first column, called ``corner``, and fill gaps with a dash."""
    filled = cells.astype(object).where(cells.notna(), MISSING)
    return Table(caption, filled.rename_axis(index=corner, columns=None).reset_index(), best)
