"""The figures of a report, each with its words."""

from functools import partial
from itertools import combinations

import pandas as pd

from dsn_sktime.benchmarking.report.comparison import Comparison, unique_names
from dsn_sktime.benchmarking.report.page import Figure, draw
from dsn_sktime.benchmarking.report.tables import count, mean_costs
from dsn_sktime.plotting import comparison as plots
from dsn_sktime.statistics import average_ranks, wilcoxon_holm, wins_ties_losses

_COSTS = {
    "multiply_adds": "multiply-adds per series (mean)",
    "n_parameters": "parameters (mean)",
    "fit_seconds": "seconds to fit (mean)",
}


def _shortened(common: pd.DataFrame, compared: Comparison) -> tuple[pd.DataFrame, list[str]]:
    """Shorten names that leave no room for the plot; return those of published ones, too."""
    cut = [name if len(name) < 47 else f"{name[:45]}…" for name in common]
    short = dict(zip(common, unique_names(cut), strict=True))
    published = [short[name] for name in compared.published if name in short]
    return common.rename(columns=short), published


def critical_difference(compared: Comparison) -> Figure:
    """Draw the critical-difference diagram of the common data sets."""
    common = compared.common
    ranks = average_ranks(common).sort_values(kind="stable")
    drawn, published = _shortened(common[ranks.index], compared)
    p_values = wilcoxon_holm(common)
    pairs = [pair for pair in combinations(ranks.index, 2) if p_values.loc[pair] < 0.05]
    listed = ", ".join(f"{one} and {other}" for one, other in pairs) or "none"
    return draw(
        "critical-difference",
        partial(plots.plot_critical_difference, drawn, published=published),
        f"Average rank of {len(ranks)} estimators over {count(len(common), 'data set')}, best on "
        "the left. The dots on a bar are estimators without a significant difference at 5 % by the "
        f"Wilcoxon signed-rank test with Holm's correction. Pairs that differ: {listed}.",
        (9, 1.4 + 0.22 * len(ranks)),
    )


def pairwise(compared: Comparison, reference: str, place: int, name: str) -> Figure:
    """Draw the accuracies of one estimator against those of the reference."""
    pair = compared.common[[reference, name]]
    counts = wins_ties_losses(pair, reference).loc[name]
    drawn, published = _shortened(pair, compared)
    return draw(
        f"pair-{place}",
        lambda ax: plots.plot_pairwise(drawn, drawn.columns[0], drawn.columns[1], ax, published),
        f"{name} against {reference}: {counts['wins']} wins, {counts['ties']} ties, "
        f"{counts['losses']} losses on {count(len(pair), 'data set')}; mean "
        f"{100 * pair[name].mean():.1f} against {100 * pair[reference].mean():.1f} %.",
        (3.6, 3.6),
    )


def accuracy_costs(compared: Comparison) -> list[Figure]:
    """Draw mean accuracy against each cost that is known of an estimator."""
    means, n_datasets = mean_costs(compared), len(compared.common)
    costs = _shortened(means.assign(accuracy=compared.common.mean()).T, compared)[0].T
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
