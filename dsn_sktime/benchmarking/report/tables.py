"""The tables of a report: text in cells, with captions that say what they are over."""

from __future__ import annotations

import json

import pandas as pd

from dsn_sktime.benchmarking.comparison import RUN, Published, Scores
from dsn_sktime.benchmarking.page import Table
from dsn_sktime.statistics import (
    average_ranks,
    cliques,
    wilcoxon_holm,
    wins_ties_losses,
)
from dsn_sktime.benchmarking.wording import (
    MISSING,
    count,
    format_number,
    list_numbers,
    one_line,
    percent,
)

__all__ = [
    "by_dataset",
    "cost_table",
    "costs",
    "datasets",
    "failures",
    "left_out",
    "measures",
    "not_told_apart",
    "parameters",
    "published_means",
    "summary",
    "too_few",
    "versions",
]

_FEWEST_TO_TELL_APART = 6
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


def summary(scores: Scores, reference: str) -> Table:
    """Compare means and ranks, best rank first."""
    common = scores.common
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
    columns |= {"Runs per data set": _runs_behind(scores), "Epochs": _epochs(scores)}
    order = list(average_ranks(common).sort_values(kind="stable").index)
    best = frozenset((order.index(name), 1) for name in _best(means))
    cells = pd.DataFrame(columns).loc[order]
    return _as_table(cells, "Estimator", " ".join(sentences).strip(), scores, best)


def too_few(common: pd.DataFrame) -> str:
    """Say that the test cannot tell apart, if so: 2 / 2**5, all signs equal, is above 5 %."""
    if len(common) >= _FEWEST_TO_TELL_APART:
        return ""
    return (
        f"With fewer than {_FEWEST_TO_TELL_APART} data sets no difference can reach 5 %, however "
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


def not_told_apart(common: pd.DataFrame) -> list[list[str]]:
    """List the sets of estimators that the test does not tell apart, by rank."""
    order = average_ranks(common).sort_values(kind="stable").index
    return cliques(wilcoxon_holm(common).loc[order, order])


def cost_table(scores: Scores) -> pd.DataFrame:
    """Return mean accuracy and costs of the measured estimators on the common data sets.

    Returns
    -------
    DataFrame
        One row per estimator; a cost that is unknown on any data set is NaN.
    """
    seconds = scores.runs["predict_seconds"] / scores.runs["n_test"].astype(float)
    means = _means(scores, list(_COSTS), predict_ms=1e3 * seconds)
    return means.assign(accuracy=scores.common[scores.measured].mean())


def _means(scores: Scores, columns: list[str], **more: pd.Series) -> pd.DataFrame:
    """Average over the runs of a data set, then over the common data sets."""
    runs = scores.runs.assign(**more)
    runs = runs[runs["dataset"].isin(scores.common.index)].astype(dict.fromkeys(columns, float))
    by_dataset = runs.groupby(["label", "dataset"])[columns].mean()
    means = by_dataset.groupby("label").agg(lambda values: values.mean(skipna=False))
    return means.reindex(scores.measured)


def costs(scores: Scores) -> Table:
    """Tell what each measured estimator costs."""
    means = cost_table(scores)
    cells = pd.DataFrame(
        {
            title: [format_number(value, digits) for value in means[column]]
            for column, (title, digits) in _COSTS.items()
        },
        index=means.index,
    )
    hosts = scores.runs["host"].nunique()
    caption = (
        f"Means over runs and {count(len(scores.common), 'data set')}; {MISSING} is not known. "
        f"Times and memory come from {hosts} kind{'' if hosts == 1 else 's'} of machine; a fit "
        f"used so many jobs: {list_numbers(scores.runs['n_jobs']) or 'not known'}."
    )
    return _as_table(cells, "Estimator", caption, scores)


def measures(scores: Scores) -> Table:
    """Average what else was measured beside accuracy."""
    means = _means(scores, list(_MEASURES)).rename(columns=_MEASURES)
    caption = (
        f"Means over runs and {count(len(scores.common), 'data set')}. Of the log loss a lower "
        f"value is better, of the others a higher one. {MISSING} where an estimator lacks it on "
        "a data set."
    )
    cells = means.map(lambda value: format_number(value, 3))
    return _as_table(cells, "Estimator", caption, scores)


def by_dataset(scores: Scores) -> Table:
    """Give every accuracy, with its standard deviation over the runs and their number."""
    n, sd = scores.over_runs("count"), scores.over_runs("std")
    cells = scores.accuracy.map(percent, na_action="ignore")
    for name in scores.measured:
        spread = sd[name].map(lambda value: "" if pd.isna(value) else f" ± {percent(value)}")
        cells[name] = cells[name] + spread + n[name].map(lambda runs: f" ({runs:.0f})")
    best = frozenset(
        (row, scores.accuracy.columns.get_loc(name) + 1)
        for row, (_, accuracies) in enumerate(scores.accuracy.iterrows())
        for name in _best(accuracies)
    )
    common = set(scores.common.index)
    cells.index = [name if name in common else f"{name} †" for name in cells.index]
    caption = (
        "Accuracy in %, mean ± standard deviation over the runs, whose number is in brackets; "
        "the best in bold. † is in no average, for want of an accuracy of every estimator."
    )
    return _as_table(cells, "Data set", caption, scores, best)


def left_out(scores: Scores, failed: pd.DataFrame) -> Table:
    """Tell which data sets are in no average, and why."""
    did_fail = set(zip(failed["dataset"], failed["label"], strict=True))

    def reason(dataset: str, name: str) -> str:
        if name in scores.published:
            return f"not in the published file: {name}"
        return f"{'failed' if (dataset, name) in did_fail else 'not run'}: {name}"

    rows = [
        [dataset, "; ".join(reason(dataset, name) for name in names)]
        for dataset, names in scores.left_out().items()
    ]
    caption = f"{count(len(rows), 'data set')} in no average, and why."
    return Table(caption, ["Data set", "Why"], rows)


def failures(failed: pd.DataFrame) -> Table:
    """List the runs that never succeeded."""
    rows = [
        [*(str(row[column]) for column in RUN), one_line(row["error"])]
        for row in failed.to_dict("records")
    ]
    header = ["Data set", "Estimator", "Seed", "Split", "Error"]
    return Table(f"{count(len(rows), 'run')} that never succeeded.", header, rows)


def published_means(published: Published) -> Table:
    """Repeat published means, numbers first."""
    means = published.means
    numbers = list(means.select_dtypes("number"))
    texts = [name for name in means if name not in ("classifier", *numbers)]
    header = ["classifier", *numbers, *texts]
    rows = [
        [MISSING if pd.isna(cell) else str(cell) for cell in row]
        for row in means[header].itertuples(index=False)
    ]
    caption = (
        "Published means, as given. Their data sets are not listed, so they enter no comparison; "
        "the numbers of two rows compare only if the protocol is the same."
    )
    return Table(caption, header, rows, published_rows=frozenset(range(len(rows))))


def parameters(scores: Scores) -> Table:
    """Tell epochs and parameters of the measured estimators."""
    epochs = _epochs(scores)
    rows = [
        [label, epochs[label], str(runs["parameters"].iloc[0])]
        for label, runs in scores.runs.groupby("label", sort=False)
    ]
    caption = "Parameters of the measured estimators (of the first run; seeds differ)."
    return Table(caption, ["Estimator", "Epochs", "Parameters"], rows)


def datasets(scores: Scores) -> Table:
    """Describe the data sets."""
    facts = scores.runs.groupby("dataset")[list(_FACTS)].first().reindex(scores.accuracy.index)
    cells = facts.rename(columns=_FACTS).map(lambda value: format_number(value, 0))
    return _as_table(cells, "Data set", "The measured data sets.", scores)


def versions(runs: pd.DataFrame) -> str:
    """List the versions that the runs were made with."""
    found: dict[str, set[str]] = {}
    for text in runs.loc[runs["versions"] != "", "versions"].unique():
        for package, version in json.loads(text).items():
            found.setdefault(package, set()).add(str(version))
    texts = [f"{name} {' and '.join(sorted(each))}" for name, each in sorted(found.items())]
    return ", ".join(texts) or "not known"


def _runs_behind(scores: Scores) -> pd.Series:
    """Say on how many runs the accuracies of each estimator stand."""
    n = scores.over_runs("count").loc[scores.common.index]
    counted = {name: list_numbers(n[name]) for name in scores.measured}
    notes = {
        name: name.partition("(published")[2].rpartition(")")[0].lstrip(", ") or "not stated"
        for name in scores.published
    }
    return pd.Series(counted | notes)


def _epochs(scores: Scores) -> pd.Series:
    epochs = scores.runs.groupby("label")["n_epochs"]
    measured = {name: list_numbers(of_label) or "none" for name, of_label in epochs}
    return pd.Series(measured | dict.fromkeys(scores.published, "as published"))


def _best(values: pd.Series) -> list[str]:
    return list(values.index[values == values.max()])


def _as_table(
    cells: pd.DataFrame,
    corner: str,
    caption: str,
    scores: Scores,
    best: frozenset[tuple[int, int]] = frozenset(),
) -> Table:
    """Make a table of text whose published rows and columns are known as such."""
    columns = [corner, *cells.columns]
    rows = [
        [str(name), *(MISSING if pd.isna(cell) else cell for cell in row)]
        for name, row in zip(cells.index, cells.to_numpy(), strict=True)
    ]
    published = set(scores.published)
    return Table(
        caption,
        columns,
        rows,
        frozenset(place for place, row in enumerate(rows) if row[0] in published),
        frozenset(place for place, name in enumerate(columns) if name in published),
        best,
    )
