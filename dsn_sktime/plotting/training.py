"""Plots of the training history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from dsn_sktime.estimators.fitted import check_trained
from dsn_sktime.plotting._axes import COLORS, axes_or_new
from dsn_sktime.training import Recipe

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from dsn_sktime.estimators import DSNClassifier, DSNRegressor, OSCNNClassifier


def plot_history(
    estimator: DSNClassifier | DSNRegressor | OSCNNClassifier, ax: Axes | None = None
) -> Axes:
    """Plot loss and accuracy by epoch, and mark the weights that are kept.

    A dot marks the kept epoch, a gray band the epochs over whose optimizer steps the weights
    are averaged (``keep="average"``). A regressor has no accuracy. Loss and accuracy of a
    validation set are thick lines. For an ensemble, each network has a line.

    Parameters
    ----------
    estimator : DSNClassifier, DSNRegressor or OSCNNClassifier
        Fitted.
    ax : Axes, optional
        A new figure's if None. Accuracy gets a second axis on the right.

    Returns
    -------
    Axes
        The axes of the loss.

    Raises
    ------
    NotFittedError
        If there is no trained network.
    """
    from matplotlib.ticker import MaxNLocator

    check_trained(estimator)
    ax = axes_or_new(ax)
    records = pd.DataFrame(estimator.history_)
    right = ax.twinx() if "accuracy" in records else None
    is_validated = "val_loss" in records
    widths = {"": 1, "val_": 2.5} if is_validated else {"": 1}
    marked: dict[str, Artist] = {}
    for number, history in records.groupby("network"):
        for of, width in widths.items():
            # A line of one point is not seen.
            look: dict[str, Any] = {"lw": width, "marker": "s" if len(history) == 1 else None}
            ax.plot(history["epoch"], history[f"{of}loss"], color=COLORS[0], **look)
            if right is not None:
                accuracy = history[f"{of}accuracy"]
                right.plot(history["epoch"], accuracy, color=COLORS[1], ls="--", **look)
        averaged = _averaged_epochs(estimator, history)
        if len(averaged):
            ends = averaged[0] - 0.5, averaged[-1] + 0.5
            marked["averaged weights"] = ax.axvspan(*ends, color="0.9", zorder=0)
        else:
            kept = history.iloc[np.atleast_1d(estimator.best_epoch_)[number]]
            followed = "val_loss" if is_validated else "loss"
            (dot,) = ax.plot(kept["epoch"], kept[followed], "o", color=COLORS[6])
            marked["kept epoch"] = dot
    # Above the axes, where it covers no line.
    ax.legend(
        marked.values(),
        marked.keys(),
        loc="lower right",
        bbox_to_anchor=(1.0, 1.0),
        frameon=False,
        fontsize="small",
        handlelength=1,
        borderpad=0,
    )
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.set(xlabel="epoch", xlim=(-0.5, records["epoch"].max() + 0.5))
    ax.set(ylim=(0, 1.05 * ax.dataLim.ymax))
    ax.set_title("Training history", loc="left")
    of = "" if is_validated else "training "
    thick = "; validation: thick" if is_validated else ""
    ax.set_ylabel(f"{of}loss (solid{thick})", color=COLORS[0])
    if right is not None:
        right.set_ylabel(f"{of}accuracy (dashed{thick})", color=COLORS[1])
        right.set_ylim(0, 1.02)
    return ax


def _averaged_epochs(
    estimator: DSNClassifier | DSNRegressor | OSCNNClassifier, history: pd.DataFrame
) -> np.ndarray:
    """Return the epochs of which most optimizer steps are in the average of the weights."""
    recipe = Recipe(n_epochs=estimator.n_epochs, batch_size=2, lr=0, keep=estimator.keep)
    ends = (history["epoch"].to_numpy() + 1) / estimator.n_epochs
    if "progress" in history:
        ends = history["progress"].to_numpy()
    middles = (ends + np.append(0, ends[:-1])) / 2
    return history["epoch"].to_numpy()[[recipe.is_averaged(middle) for middle in middles]]
