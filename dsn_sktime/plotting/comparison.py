"""Comparison of classifiers over data sets."""

from __future__ import annotations

from collections.abc import Collection
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from dsn_sktime.plotting._axes import COLORS, axes_or_new, open_frame
from dsn_sktime.plotting._labels import label_points
from dsn_sktime.statistics import average_ranks, wilcoxon_holm, wins_ties_losses

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PUBLISHED_COLOR = "#767676"
# A range of costs below it has ticks between the powers of ten.
_FEW_DECADES = 1e3
# Characters of a line below a tick.
_TICK_WIDTH = 16
# More labels than this have no room beside one another.
_MAX_LEVEL_TICKS = 6


def plot_critical_difference(
    table: pd.DataFrame, ax: Axes | None = None, published: Collection[str] = ()
) -> Axes:
    """Draw the critical-difference diagram of classifiers compared on data sets.

    Classifiers are placed at their average rank, 1 being best. The dots on a bar are
    classifiers of which no two differ significantly, at 5 % in the Wilcoxon signed-rank test [1]_
    with Holm's correction; a bar may cross others.

    Parameters
    ----------
    table : DataFrame
        One row per data set, one column per classifier; the entries are scores of
        which a higher one is better, such as accuracies.
    ax : Axes, optional
        A new figure's if None.
    published : collection of str, default=()
        Classifiers whose scores were not measured but taken from publications; they are
        drawn gray and slanted.

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
    p_values = wilcoxon_holm(table)
    import scikit_posthocs

    ax = axes_or_new(ax)
    ranks = average_ranks(table)
    drawn = scikit_posthocs.critical_difference_diagram(
        ranks,
        p_values,
        ax=ax,
        color_palette={
            name: _PUBLISHED_COLOR if name in published else "black" for name in ranks.index
        },
        label_fmt_left="{label} ({rank:.2f})",
        label_fmt_right="({rank:.2f}) {label}",
        text_h_margin=0.02 * (ranks.max() - ranks.min()),
        # A bar may cross classifiers that are not of its set.
        crossbar_props={"marker": "o", "ms": 5},
    )
    # The library writes the labels in the order of the ranks, the worse half backwards.
    by_rank = list(ranks.sort_values().index)
    half = (len(by_rank) + 1) // 2
    for name, label in zip(by_rank[:half] + by_rank[half:][::-1], drawn["labels"], strict=True):
        label.set_fontstyle("italic" if name in published else "normal")
    ax.set_title("Mean rank (1 is best)")
    return ax


def plot_pairwise(
    table: pd.DataFrame, x: str, y: str, ax: Axes | None = None, published: Collection[str] = ()
) -> Axes:
    """Plot the accuracies of one classifier against another's.

    A point is a data set; above the diagonal the classifier of the vertical axis is the
    better one. The title counts its wins, ties and losses, and the data sets of the
    largest difference to either side are named.

    Parameters
    ----------
    table : DataFrame
        Accuracies in 0..1, one row per data set, one column per classifier.
    x, y : str
        Columns of the horizontal and of the vertical axis.
    ax : Axes, optional
        A new figure's if None.
    published : collection of str, default=()
        Classifiers whose scores were not measured but taken from publications. If either
        is, the points are hollow and gray.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If an accuracy of the two is missing, or there is none.
    """
    pair = table[[x, y]]
    if pair.empty or pair.isna().to_numpy().any():
        raise ValueError(
            f"table must hold accuracies of {x!r} and {y!r} on one data set or more and none "
            f"missing, found {len(pair)} data sets and {int(pair.isna().sum().sum())} missing."
        )
    from matplotlib.ticker import MaxNLocator

    ax = axes_or_new(ax)
    low = max(0.0, pair.to_numpy().min() - 0.06)
    ax.plot([low, 1.02], [low, 1.02], color="0.5", lw=1, zorder=1)
    measured = not {x, y} & set(published)
    ax.plot(
        pair[x],
        pair[y],
        "o",
        ms=5,
        mew=1,
        color=COLORS[0] if measured else _PUBLISHED_COLOR,
        mfc=COLORS[0] if measured else "none",
        alpha=0.8,
    )
    counts = wins_ties_losses(pair, x).loc[y]
    ax.set(xlim=(low, 1.02), ylim=(low, 1.02), xlabel=x, ylabel=y, aspect="equal")
    ax.set_title(f"{counts['wins']} wins, {counts['ties']} ties, {counts['losses']} losses")
    open_frame(ax)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(5, steps=(1, 2, 5, 10)))
    difference = pair[y] - pair[x]
    named = [difference.idxmax()] if difference.max() > 0 else []
    named += [difference.idxmin()] if difference.min() < 0 else []
    label_points(ax, pair.loc[named].to_numpy(), named, size=7, avoid=pair.to_numpy())
    return ax


def plot_accuracy_cost(table: pd.DataFrame, cost: str, ax: Axes | None = None) -> Axes:
    """Plot accuracy against cost, one point per classifier.

    Parameters
    ----------
    table : DataFrame
        One row per classifier, with "accuracy" in 0..1 and the cost; rows in which
        either is missing are left out.
    cost : str
        Column of the cost, such as "multiply_adds". The axis is logarithmic.
    ax : Axes, optional
        A new figure's if None.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If no classifier has both, or a cost is not above 0.
    """
    known = table[["accuracy", cost]].dropna().astype(float)
    if known.empty or (known[cost] <= 0).any():
        raise ValueError(
            f"table must have a classifier with an accuracy and a {cost} above 0, and no other "
            f"{cost}, found {known[cost].tolist()}."
        )
    from matplotlib.ticker import EngFormatter, LogLocator, NullLocator

    ax = axes_or_new(ax)
    for number, (_, row) in enumerate(known.iterrows()):
        ax.plot(row[cost], row["accuracy"], "o", ms=7, color=COLORS[number % len(COLORS)])
    ax.set(xscale="log", xlabel=cost, ylabel="mean accuracy")
    low, high = known[cost].min() / 2.5, known[cost].max() * 2.5
    ax.set_xlim(low, high)
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 3) if high / low < _FEW_DECADES else (1,)))
    ax.xaxis.set_minor_locator(NullLocator())
    # Not "300m" for parts of a second.
    ax.xaxis.set_major_formatter(EngFormatter(sep="") if low >= 1 else "{x:g}")
    spread = max(known["accuracy"].max() - known["accuracy"].min(), 0.01)
    ax.set_ylim(known["accuracy"].min() - 0.25 * spread, known["accuracy"].max() + 0.25 * spread)
    ax.grid(color="0.9")
    open_frame(ax)
    label_points(ax, known[[cost, "accuracy"]].to_numpy(), list(known.index))
    return ax


def plot_settings(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw accuracy by setting: a line per data set, and their mean.

    Parameters
    ----------
    table : DataFrame
        Accuracies in 0..1, one row per data set, one column per setting, in the order of
        the axis.
    ax : Axes, optional
        A new figure's if None.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If the table is empty or accuracies are missing.
    """
    if table.empty or table.isna().to_numpy().any():
        raise ValueError(
            "table must hold accuracies on one data set or more and none missing, found shape "
            f"{table.shape} and {int(table.isna().sum().sum())} missing."
        )
    ax = axes_or_new(ax)
    places = np.arange(table.shape[1])
    few = len(table) < len(COLORS)  # The last one is the mean's.
    for number, (name, accuracies) in enumerate(table.iterrows()):
        color = COLORS[number] if few else "0.7"
        ax.plot(places, accuracies, "o-", ms=3, lw=1, color=color, label=name if few else None)
    ax.plot(places, table.mean(), "s-", ms=6, lw=2.5, color=COLORS[-1], label="mean")
    if len(places) <= _MAX_LEVEL_TICKS:
        ax.set_xticks(places, [fill(str(name), _TICK_WIDTH) for name in table.columns])
    else:
        names = [str(name) for name in table.columns]
        ax.set_xticks(places, names, rotation=35, ha="right", rotation_mode="anchor")
    ax.set(xlim=(-0.3, len(places) - 0.7), ylabel="accuracy")
    ax.grid(axis="y", color="0.9")
    open_frame(ax)
    ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    return ax
