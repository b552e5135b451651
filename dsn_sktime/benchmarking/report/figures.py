"""The figures of a report, each with its words."""

from __future__ import annotations

from functools import partial

import pandas as pd

from dsn_sktime.benchmarking.report.comparison import Comparison, unique_names
from dsn_sktime.benchmarking.report.formatting import count, format_number, percent
from dsn_sktime.benchmarking.report.page import Figure, draw
from dsn_sktime.plotting import (
    plot_accuracy_cost,
    plot_critical_difference,
    plot_pairwise,
    plot_settings,
)
from dsn_sktime.statistics import average_ranks, wins_ties_losses

__all__ = ["accuracy_costs", "critical_difference", "pairwise", "plain_names", "settings"]

# Column of the costs: words on the axis, digits after the point.
_DRAWN_COSTS = {
    "multiply_adds": ("multiply-adds per series", 0),
    "n_parameters": ("parameters", 0),
    "fit_seconds": ("seconds to fit", 1),
}
_LONGEST_DRAWN_NAME = 46


def critical_difference(compared: Comparison, n_bars: int) -> Figure:
    """Draw the critical-difference diagram of the common data sets."""
    common = compared.common
    ranks = average_ranks(common).sort_values(kind="stable")
    drawn = plain_names(common[ranks.index])
    published = _published(compared, ranks.index, drawn)
    listed = ", ".join(f"{name} {rank:.2f}" for name, rank in ranks.items())
    return draw(
        "critical-difference",
        partial(plot_critical_difference, drawn, published=published),
        f"Critical-difference diagram. Average ranks: {listed}.",
        f"Average rank of {len(ranks)} estimators over {count(len(common), 'data set')}, best on "
        "the left. A bar joins estimators without a significant difference at 5 % by the Wilcoxon "
        "signed-rank test with Holm's correction.",
        (9, 1.0 + 0.24 * ((len(ranks) + 1) // 2 + n_bars)),
    )


def pairwise(compared: Comparison, reference: str, place: int, name: str) -> Figure:
    """Draw the accuracies of one estimator against those of the reference."""
    pair = compared.common[[reference, name]]
    counts = wins_ties_losses(pair, reference).loc[name]
    drawn = plain_names(pair)
    x, y = drawn.columns
    published = _published(compared, pair.columns, drawn)
    counted = f"{counts['wins']} wins, {counts['ties']} ties, {counts['losses']} losses"
    return draw(
        f"pair-{place}",
        lambda ax: plot_pairwise(drawn, x, y, ax, published),
        f"Scatter plot of accuracies: {name} against {reference}, {counted}.",
        f"{name} against {reference}: {counted} on {count(len(pair), 'data set')}; mean "
        f"{percent(pair[name].mean())} against {percent(pair[reference].mean())} %.",
        (3.6, 3.6),
        wide=False,
    )


def accuracy_costs(costs: pd.DataFrame, n_datasets: int) -> list[Figure]:
    """Draw mean accuracy against each cost that is known of an estimator."""
    return [
        _accuracy_cost(costs, column, n_datasets)
        for column in _DRAWN_COSTS
        if (costs[column] > 0).any()
    ]


def _accuracy_cost(costs: pd.DataFrame, column: str, n_datasets: int) -> Figure:
    axis, digits = _DRAWN_COSTS[column]
    known = costs[costs[column] > 0]
    drawn = plain_names(known.rename(columns={column: f"{axis} (mean)"}))
    listed = ", ".join(
        f"{name} {percent(row['accuracy'])} % at {format_number(row[column], digits)}"
        for name, row in known.iterrows()
    )
    return draw(
        f"accuracy-{column.replace('_', '-')}",
        partial(plot_accuracy_cost, drawn, f"{axis} (mean)"),
        f"Mean accuracy against {axis}: {listed}.",
        f"Mean accuracy against mean {axis}, logarithmic, over {count(n_datasets, 'data set')}; "
        f"up and to the left is better. {len(known)} of the {len(costs)} measured here have "
        "both numbers.",
        (4.6, 3.4),
        wide=False,
    )


def settings(common: pd.DataFrame) -> Figure:
    """Draw the accuracies by setting of a study."""
    means = "; ".join(f"{label} {percent(mean)} %" for label, mean in common.mean().items())
    return draw(
        "accuracy",
        partial(plot_settings, plain_names(common)),
        f"Accuracy by setting. Means: {means}.",
        f"Accuracy by setting. A thin line is one of {count(len(common), 'data set')}, mean over "
        "its runs; the thick line is their mean.",
        (7.5, 3.8),
    )


def _published(compared: Comparison, names: pd.Index, drawn: pd.DataFrame) -> set[str]:
    """Return the names under which published estimators are drawn."""
    pairs = zip(names, drawn.columns, strict=True)
    return {shown for name, shown in pairs if name in compared.published}


def plain_names(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with row and column names that a plot shows as they are.

    Long ones are cut short, and a dollar sign starts no formula.
    """
    columns = unique_names([_plain(name) for name in table.columns])
    return table.set_axis(columns, axis=1).set_axis([_plain(name) for name in table.index])


def _plain(name: object) -> str:
    text = " ".join(str(name).split())
    if len(text) > _LONGEST_DRAWN_NAME:
        text = text[: _LONGEST_DRAWN_NAME - 1] + "…"
    return text.replace("$", r"\$")
