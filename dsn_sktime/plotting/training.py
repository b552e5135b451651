"""Plots of the training history."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from dsn_sktime.plotting._axes import COLOURS, axes_or_new, check_trained

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from dsn_sktime.estimators import DSNClassifier

__all__ = ["plot_history"]


def plot_history(estimator: DSNClassifier, ax: Axes | None = None) -> Axes:
    """Plot training loss and accuracy by epoch, and mark the epoch whose weights are kept.

    For an ensemble, each network has a line.

    Parameters
    ----------
    estimator : DSNClassifier
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
    right = ax.twinx()
    best_epochs = np.atleast_1d(estimator.best_epoch_)
    for number, history in pd.DataFrame(estimator.history_).groupby("network"):
        ax.plot(history["epoch"], history["loss"], color=COLOURS[0], lw=1)
        right.plot(history["epoch"], history["accuracy"], color=COLOURS[1], lw=1, ls="--")
        kept = history.iloc[best_epochs[number]]
        ax.plot(kept["epoch"], kept["loss"], "o", color=COLOURS[6])
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(xlabel="epoch", title="Training history (dot: kept epoch)", ylim=(0, None))
    ax.set_ylabel("training loss (solid)", color=COLOURS[0])
    right.set_ylabel("training accuracy (dashed)", color=COLOURS[1])
    right.set_ylim(0, 1.02)
    return ax
