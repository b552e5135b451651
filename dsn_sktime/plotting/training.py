"""Plots of the training history."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from dsn_sktime.plotting._axes import COLOURS, axes_or_new, check_trained

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from dsn_sktime.estimators import DSNClassifier, DSNRegressor

__all__ = ["plot_history"]


def plot_history(estimator: DSNClassifier | DSNRegressor, ax: Axes | None = None) -> Axes:
    """Plot loss and accuracy by epoch, and mark the epoch whose weights are kept.

    A regressor has no accuracy. Those of a validation set are thick lines. For an ensemble, each
    network has a line.

    Parameters
    ----------
    estimator : DSNClassifier or DSNRegressor
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
    best_epochs = np.atleast_1d(estimator.best_epoch_)
    records = pd.DataFrame(estimator.history_)
    right = ax.twinx() if "accuracy" in records else None
    is_validated = "val_loss" in records
    widths = {"": 1, "val_": 2.5} if is_validated else {"": 1}
    for number, history in records.groupby("network"):
        for of, width in widths.items():
            ax.plot(history["epoch"], history[f"{of}loss"], color=COLOURS[0], lw=width)
            if right is not None:
                accuracy = history[f"{of}accuracy"]
                right.plot(history["epoch"], accuracy, color=COLOURS[1], lw=width, ls="--")
        kept = history.iloc[best_epochs[number]]
        followed = "val_loss" if is_validated else "loss"
        ax.plot(kept["epoch"], kept[followed], "o", color=COLOURS[6])
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(xlabel="epoch", title="Training history (dot: kept epoch)", ylim=(0, None))
    of = "" if is_validated else "training "
    thick = "; validation: thick" if is_validated else ""
    ax.set_ylabel(f"{of}loss (solid{thick})", color=COLOURS[0])
    if right is not None:
        right.set_ylabel(f"{of}accuracy (dashed{thick})", color=COLOURS[1])
        right.set_ylim(0, 1.02)
    return ax
