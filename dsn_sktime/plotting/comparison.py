"""Comparison of classifiers over data sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from dsn_sktime.plotting._axes import axes_or_new

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_critical_difference"]


def plot_critical_difference(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw the critical-difference diagram of classifiers compared on data sets.

    Classifiers stand at their mean rank, 1 being best; a bar joins those that the
    Wilcoxon signed-rank test with Holm's correction does not tell apart at 5 %.

    Parameters
    ----------
    table : DataFrame
        One row per data set, one column per classifier; the entries are scores of
        which a higher one is better, such as accuracies.
    ax : Axes, optional
        A new figure's if None.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If there are fewer than two rows or columns, or scores are missing.

    References
    ----------
    .. [1] A. Benavoli, G. Corani and F. Mangili, "Should We Really Use Post-Hoc Tests
       Based on Mean-Ranks?", Journal of Machine Learning Research 17, 2016.
    """
    if min(table.shape) < 2:
        raise ValueError(
            "table must have at least 2 data sets (rows) and 2 classifiers (columns), found "
            f"shape {table.shape}."
        )
    if table.isna().to_numpy().any():
        raise ValueError(
            f"table must have no missing scores, found {int(table.isna().sum().sum())}. Leave "
            "out the data sets or classifiers that are incomplete."
        )
    import scikit_posthocs

    ax = axes_or_new(ax)
    p_values = scikit_posthocs.posthoc_wilcoxon(
        table.melt(var_name="classifier", value_name="score"),
        val_col="score",
        group_col="classifier",
        # Ties split: the default drops them, and fails where two columns are equal.
        zero_method="zsplit",
        p_adjust="holm",
    )
    ranks = table.rank(axis=1, ascending=False).mean()
    scikit_posthocs.critical_difference_diagram(
        ranks, p_values, ax=ax, color_palette=dict.fromkeys(ranks.index, "black")
    )
    ax.set_title("Mean rank (1 is best)")
    return ax
