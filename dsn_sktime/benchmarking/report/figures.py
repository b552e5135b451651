"""The figures of a report, each with its words."""

from functools import partial

import pandas as pd

from dsn_sktime.benchmarking.report.comparison import Comparison
from dsn_sktime.benchmarking.report.page import Figure, draw
from dsn_sktime.benchmarking.report.tables import count
from dsn_sktime.plotting import comparison as plots
from dsn_sktime.statistics import average_ranks, wins_ties_losses

_COSTS = {
    "multiply_adds": "multiply-adds per series (mean)",
    "n_parameters": "parameters (mean)",
    "fit_seconds": "seconds to fit (mean)",
}


def critical_difference(compared: Comparison) -> Figure:
    """Draw the critical-difference diagram of the common data sets."""
    common = compared.common
    ranks = average_ranks(common).sort_values(kind="stable")
    return draw(
        "critical-difference",
        partial(plots.plot_critical_difference, common[ranks.index], published=compared.published),
        f"Average rank of {len(ranks)} estimators over {count(len(common), 'data set')}, best on "
        "the left. A bar joins estimators without a significant difference at 5 % by the Wilcoxon "
        "signed-rank test with Holm's correction.",
        (9, 1.4 + 0.22 * len(ranks)),
    )


def pairwise(compared: Comparison, reference: str, place: int, name: str) -> Figure:
    """Draw the accuracies of one estimator against those of the reference."""
    pair = compared.common[[reference, name]]
    counts = wins_ties_losses(pair, reference).loc[name]
    return draw(
        f"pair-{place}",
        lambda ax: plots.plot_pairwise(pair, reference, name, ax, compared.published),
        f"{name} against {reference}: {counts['wins']} wins, {counts['ties']} ties, "
        f"{counts['losses']} losses on {count(len(pair), 'data set')}; mean "
        f"{100 * pair[name].mean():.1f} against {100 * pair[reference].mean():.1f} %.",
        (3.6, 3.6),
    )


def accuracy_costs(costs: pd.DataFrame, n_datasets: int) -> list[Figure]:
    """Draw mean accuracy against each cost that is known of an estimator."""
    return [
        draw(
            f"accuracy-{column.replace('_', '-')}",
            partial(plots.plot_accuracy_cost, known.rename(columns={column: axis}), axis),
            f"Mean accuracy against {axis}, logarithmic, over {count(n_datasets, 'data set')}; up "
            f"and to the left is better. {len(known)} of the {len(costs)} measured here have both.",
            (4.6, 3.4),
        )
        for column, axis in _COSTS.items()
        if len(known := costs[costs[column] > 0])
    ]


def settings(common: pd.DataFrame) -> Figure:
    """Draw the accuracies by setting of a study."""
    return draw(
        "accuracy",
        partial(plots.plot_settings, common),
        f"Accuracy by setting. A thin line is one of {count(len(common), 'data set')}, mean over "
        "its runs; the thick line is their mean.",
        (7.5, 3.8),
    )
