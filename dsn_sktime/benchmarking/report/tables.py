"""The tables of a report: cells of text, with captions that say what they are over."""

import json
from collections.abc import Mapping

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

_FEWEST_FOR_5_PERCENT = 6
# Column: title, digits after the point.
_COSTS = {
    "n_parameters": ("Parameters", 0),
    "multiply_adds": ("Multiply-adds per series", 0),
    "fit_seconds": ("Fit (s)", 1),
    "predict_ms": ("Predict (ms per series)", 2),
    "peak_memory_mb": ("Peak memory (MB)", 0),
}
_MEASURES = {
    "balanced_accuracy": ("Balanced accuracy", 3),
    "f1_macro": ("F1, macro", 3),
    "log_loss": ("Log loss", 3),
    "auroc": ("AUROC", 3),
}
_FACTS = {
    "n_train": ("Training series", 0),
    "n_test": ("Test series", 0),
    "n_variates": ("Variates", 0),
    "series_length": ("Time steps", 0),
    "n_classes": ("Classes", 0),
}


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
            texts = p_values.map(lambda p: "< 0.001" if p < 0.001 else f"{p:.3f}")
            columns["p (Holm)"] = texts
    columns |= {"Runs per data set": _runs_behind(compared), "Epochs": _epochs(compared)}
    ranked = ranks.sort_values(kind="stable").index
    cells = pd.DataFrame(columns).loc[ranked]
    best = np.zeros((len(cells), 1 + cells.shape[1]), bool)
    best[:, 1] = means[ranked] == means.max()
    return _table("Estimator", cells, caption.strip(), best)


def too_few(common: pd.DataFrame) -> str:
    """Say that no difference is significant, if so: 2 / 2**5, all signs equal, is above 5 %."""
    few = f"With fewer than {_FEWEST_FOR_5_PERCENT} data sets no difference can reach 5 %, however "
    return "" if len(common) >= _FEWEST_FOR_5_PERCENT else f"{few}large it is."


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
    hosts = compared.runs["host"].nunique()
    caption = (
        f"Means over runs and {count(len(compared.common), 'data set')}; {MISSING} is not known. "
        f"Times and memory come from {hosts} kind{'' if hosts == 1 else 's'} of machine; a fit "
        f"used so many jobs: {list_numbers(compared.runs['n_jobs']) or 'not known'}."
    )
    return _table("Estimator", _formatted(mean_costs(compared), _COSTS), caption)


def measures(compared: Comparison) -> Table:
    """Average the metrics other than accuracy."""
    caption = (
        f"Means over runs and {count(len(compared.common), 'data set')}. Of the log loss a lower "
        f"value is better, of the others a higher one. {MISSING} where an estimator lacks it on "
        "a data set."
    )
    means = _means(compared, list(_MEASURES))
    return _table("Estimator", _formatted(means, _MEASURES), caption)


def by_dataset(compared: Comparison) -> Table:
    """List every accuracy, with its standard deviation over the runs and their number."""
    accuracy, n, sd = compared.accuracy, compared.over_runs("count"), compared.over_runs("std")
    cells = accuracy.map(percent, na_action="ignore")
    for name in compared.measured:
        spread = sd[name].map(lambda value: "" if pd.isna(value) else f" ± {percent(value)}")
        cells[name] = cells[name] + spread + n[name].map(lambda runs: f" ({runs:.0f})")
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
    return _table("Data set", pd.DataFrame({"Why": why}, dtype=object), caption)


def failures(failed: pd.DataFrame) -> Table:
    """List the runs that never succeeded."""
    cells = failed[[*RUN, "error"]].astype(str).assign(error=failed["error"].map(one_line))
    cells.columns = pd.Index(["Data set", "Estimator", "Seed", "Split", "Error"])
    caption = f"{count(len(cells), 'run')} that never succeeded."
    return Table(caption, cells.reset_index(drop=True))


def published_means(published: Published) -> Table:
    """Repeat published means, numbers first."""
    cells = published.means.set_index("classifier")
    numbers = list(cells.select_dtypes("number"))
    cells = cells[numbers + [name for name in cells if name not in numbers]]
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
    facts = compared.runs.groupby("dataset").first().reindex(compared.accuracy.index)
    return _table("Data set", _formatted(facts, _FACTS), "The measured data sets.")


def versions(runs: pd.DataFrame) -> str:
    """List the versions that the runs were made with."""
    found: dict[str, set[str]] = {}
    for text in filter(None, runs["versions"].unique()):
        for package, version in json.loads(text).items():
            found.setdefault(package, set()).add(str(version))
    texts = [f"{name} {' and '.join(sorted(each))}" for name, each in sorted(found.items())]
    return ", ".join(texts) or "not known"


def _runs_behind(compared: Comparison) -> pd.Series:
    """Return the number of runs behind the accuracies of each estimator."""
    counted = compared.over_runs("count").loc[compared.common.index].apply(list_numbers)
    notes = {
        name: name.partition("(published")[2].rpartition(")")[0].lstrip(", ") or "not stated"
        for name in compared.published
    }
    return pd.Series({**counted, **notes})


def _epochs(compared: Comparison) -> pd.Series:
    epochs = compared.runs.groupby("label")["n_epochs"]
    measured = {name: list_numbers(of_label) or "none" for name, of_label in epochs}
    return pd.Series(measured | dict.fromkeys(compared.published, "as published"))


def _formatted(numbers: pd.DataFrame, columns: Mapping[str, tuple[str, int]]) -> pd.DataFrame:
    """Return text of the given columns, under their titles."""
    return pd.DataFrame(
        {
            title: [format_number(value, digits) for value in numbers[name]]
            for name, (title, digits) in columns.items()
        },
        numbers.index,
    )


def _table(corner: str, cells: pd.DataFrame, caption: str, best: np.ndarray | None = None) -> Table:
    """Make the index the first column, called ``corner``, and fill gaps with a dash."""
    filled = cells.astype(object).where(cells.notna(), MISSING)
    return Table(caption, filled.rename_axis(index=corner, columns=None).reset_index(), best)
