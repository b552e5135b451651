"""The figures of a report, each with its words."""

from collections.abc import Collection
from functools import partial

import pandas as pd

from dsn_sktime.benchmarking.report.comparison import Comparison, unique_names
from dsn_sktime.benchmarking.report.formatting import count, number
from dsn_sktime.benchmarking.report.page import Figure, draw
from dsn_sktime.plotting import comparison as plots
from dsn_sktime.statistics import average_ranks, wins_ties_losses

# Column of the costs: words on the axis, digits after the point.
_COSTS = {
    "multiply_adds": ("multiply-adds per series", 0),
    "n_parameters": ("parameters", 0),
    "fit_seconds": ("seconds to fit", 1),
}
_LONGEST_NAME = 46


def critical_difference(compared: Comparison, n_bars: int) -> Figure:
    """Draw the critical-difference diagram of the common data sets."""
    common = compared.common
    ranks = average_ranks(common).sort_values(kind="stable")
    drawn, published = _plain_names(common[ranks.index], compared.published)
    return draw(
        "critical-difference",
        partial(plots.plot_critical_difference, drawn, published=published),
        "Critical-difference diagram. Average ranks: "
        f"{', '.join(f'{name} {rank:.2f}' for name, rank in ranks.items())}.",
        f"Average rank of {len(ranks)} estimators over {count(len(common), 'data set')}, best on "
        "the left. A bar joins estimators without a significant difference at 5 % by the Wilcoxon "
        "signed-rank test with Holm's correction.",
        (9, 1.0 + 0.24 * ((len(ranks) + 1) // 2 + n_bars)),
    )


def pairwise(compared: Comparison, reference: str, place: int, name: str) -> Figure:
    """Draw the accuracies of one estimator against those of the reference."""
    pair = compared.common[[reference, name]]
    counts = wins_ties_losses(pair, reference).loc[name]
    counted = f"{counts['wins']} wins, {counts['ties']} ties, {counts['losses']} losses"
    drawn, published = _plain_names(pair, compared.published)
    x, y = drawn.columns
    return draw(
        f"pair-{place}",
        lambda ax: plots.plot_pairwise(drawn, x, y, ax, published),
        f"Scatter plot of accuracies: {name} against {reference}, {counted}.",
        f"{name} against {reference}: {counted} on {count(len(pair), 'data set')}; mean "
        f"{100 * pair[name].mean():.1f} against {100 * pair[reference].mean():.1f} %.",
        (3.6, 3.6),
        wide=False,
    )


def accuracy_costs(costs: pd.DataFrame, n_datasets: int) -> list[Figure]:
    """Draw mean accuracy against each cost that is known of an estimator."""
    return [_cost(column, costs, n_datasets) for column in _COSTS if (costs[column] > 0).any()]


def _cost(column: str, costs: pd.DataFrame, n_datasets: int) -> Figure:
    (axis, digits), known = _COSTS[column], costs[costs[column] > 0]
    drawn, _ = _plain_names(known.rename(columns={column: f"{axis} (mean)"}))
    listed = ", ".join(
        f"{name} {100 * row['accuracy']:.1f} % at {number(row[column], digits)}"
        for name, row in known.iterrows()
    )
    return draw(
        f"accuracy-{column.replace('_', '-')}",
        partial(plots.plot_accuracy_cost, drawn, f"{axis} (mean)"),
        f"Mean accuracy against {axis}: {listed}.",
        f"Mean accuracy against mean {axis}, logarithmic, over {count(n_datasets, 'data set')}; "
        f"up and to the left is better. {len(known)} of the {len(costs)} measured here have "
        "both numbers.",
        (4.6, 3.4),
        wide=False,
    )


def settings(common: pd.DataFrame) -> Figure:
    """Draw the accuracies by setting of a study."""
    means = "; ".join(f"{label} {100 * mean:.1f} %" for label, mean in common.mean().items())
    return draw(
        "accuracy",
        partial(plots.plot_settings, _plain_names(common)[0]),
        f"Accuracy by setting. Means: {means}.",
        f"Accuracy by setting. A thin line is one of {count(len(common), 'data set')}, mean over "
        "its runs; the thick line is their mean.",
        (7.5, 3.8),
    )


def _plain_names(
    table: pd.DataFrame, published: Collection[str] = ()
) -> tuple[pd.DataFrame, set[str]]:
    """Return the table with names that a plot shows as they are, and the published ones of them.

    Long ones are cut short, and a dollar sign starts no formula.
    """
    columns = unique_names([_plain(name) for name in table.columns])
    pairs = zip(table.columns, columns, strict=True)
    shown = table.set_axis(columns, axis=1).set_axis([_plain(name) for name in table.index])
    return shown, {plain for name, plain in pairs if name in published}


def _plain(name: object) -> str:
    text = " ".join(str(name).split())
    text = text if len(text) <= _LONGEST_NAME else text[: _LONGEST_NAME - 1] + "…"
    return text.replace("$", r"\$")
