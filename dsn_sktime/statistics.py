"""Comparison of classifiers over data sets: ranks, wins, signed-rank tests.

Every function takes a table of accuracies, or another measure of which a higher one is better:
one row per data set and one column per classifier, without missing entries.
"""

from __future__ import annotations

import pandas as pd

__all__ = ["average_ranks", "wilcoxon_holm", "wins_ties_losses"]


def average_ranks(table: pd.DataFrame) -> pd.Series:
    """Return the mean rank of each classifier, 1 being best.

    Parameters
    ----------
    table : DataFrame
        Accuracies; classifiers that tie on a data set share the mean of their ranks.

    Returns
    -------
    Series
        Indexed by classifier, in the order of the columns.
    """
    return table.rank(axis=1, ascending=False).mean()


def wins_ties_losses(table: pd.DataFrame, reference: str) -> pd.DataFrame:
    """Count the data sets on which each classifier does better than a reference.

    Parameters
    ----------
    table : DataFrame
        Accuracies.
    reference : str
        Column to compare the others with.

    Returns
    -------
    DataFrame
        "wins", "ties" and "losses" of each classifier against the reference, which
        itself is left out.
    """
    others = table.drop(columns=reference)
    difference = others.sub(table[reference], axis=0)
    counts = {
        "wins": (difference > 0).sum(),
        "ties": (difference == 0).sum(),
        "losses": (difference < 0).sum(),
    }
    return pd.DataFrame(counts)


def wilcoxon_holm(table: pd.DataFrame) -> pd.DataFrame:
    """Test each pair of classifiers for a difference.

    Two-sided Wilcoxon signed-rank tests [1]_, adjusted for their number by Holm's
    step-down procedure. A difference of zero counts half for either side.

    Parameters
    ----------
    table : DataFrame
        Accuracies on two data sets or more of two classifiers or more. With fewer than six
        data sets no p-value can fall below 5 %.

    Returns
    -------
    DataFrame
        Adjusted p-values, symmetric, 1 on the diagonal.

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

    return scikit_posthocs.posthoc_wilcoxon(
        table.melt(var_name="classifier", value_name="score"),
        val_col="score",
        group_col="classifier",
        # Zeros split: the default drops them, and fails where two columns are equal.
        zero_method="zsplit",
        p_adjust="holm",
    )
