"""The figures of a report, each with its words."""

from __future__ import annotations

from functools import partial

import pandas as pd

from dsn_sktime.benchmarking.comparison import Scores, unique_names
from dsn_sktime.benchmarking.page import Figure, draw
from dsn_sktime.statistics import average_ranks, wins_ties_losses
from dsn_sktime.benchmarking.wording import count, format_number, percent
from dsn_sktime.plotting import plot_accuracy_cost, plot_critical_difference, plot_pairwise

__all__ = ["critical_difference", "drawn_costs", "pairwise", "plain_names"]

# Column of the costs: words on the axis, digits after the point.
_DRAWN_COSTS = {
    "multiply_adds": ("multiply-adds per series", 0),
    "n_parameters": ("parameters", 0),
    "fit_seconds": ("seconds to fit", 1),
}
_LONGEST_DRAWN_NAME = 46


def critical_difference(scores: Scores, n_bars: int) -> Figure:
    """Draw the critical-difference diagram of the common data sets."""
    common = scores.common
    ranks = average_ranks(common).sort_values(kind="stable")
    drawn = plain_names(common[ranks.index])
    listed = ", ".join(f"{name} {rank:.2f}" for name, rank in ranks.items())
    return draw(
        "critical-difference",
        partial(plot_critical_difference, drawn, published=_published(scores, ranks.index, drawn)),
        f"Critical-difference diagram. Average ranks: {listed}.",
        f"Average rank of {len(ranks)} estimators over {count(len(common), 'data set')}, best on "
        "the left. A bar joins estimators that the Wilcoxon signed-rank test with Holm's "
        "correction does not tell apart at 5 %.",
        (9, 1.0 + 0.24 * ((len(ranks) + 1) // 2 + n_bars)),
    )


def pairwise(scores: Scores, reference: str, name: str, place: int) -> Figure:
    """Draw the accuracies of one estimator against those of the reference."""
    pair = scores.common[[reference, name]]
    counts = wins_ties_losses(pair, reference).loc[name]
    drawn = plain_names(pair)
    x, y = drawn.columns
    published = _published(scores, pair.columns, drawn)
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


def drawn_costs(costs: pd.DataFrame, n_datasets: int, prefix: str = "") -> list[Figure]:
    """Draw mean accuracy against each cost that is known of an estimator.

    ``prefix`` starts the names of the figures.
    """
    return [
        _accuracy_cost(costs, column, n_datasets, prefix)
        for column in _DRAWN_COSTS
        if (costs[column] > 0).any()
    ]


def _accuracy_cost(costs: pd.DataFrame, column: str, n_datasets: int, prefix: str) -> Figure:
    axis, digits = _DRAWN_COSTS[column]
    known = costs[costs[column] > 0]
    drawn = plain_names(known.rename(columns={column: f"{axis} (mean)"}))
    listed = ", ".join(
        f"{name} {percent(row['accuracy'])} % at {format_number(row[column], digits)}"
        for name, row in known.iterrows()
    )
    return draw(
        f"{prefix}accuracy-{column.replace('_', '-')}",
        partial(plot_accuracy_cost, drawn, f"{axis} (mean)"),
        f"Mean accuracy against {axis}: {listed}.",
        f"Mean accuracy against mean {axis}, logarithmic, over {count(n_datasets, 'data set')}; "
        f"up and to the left is better. {len(known)} of the {len(costs)} measured here have "
        "both numbers.",
        (4.6, 3.4),
        wide=False,
    )


def _published(scores: Scores, names: pd.Index, drawn: pd.DataFrame) -> set[str]:
    """Return the names under which published estimators are drawn."""
    pairs = zip(names, drawn.columns, strict=True)
    return {shown for name, shown in pairs if name in scores.published}


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
