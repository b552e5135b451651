"""Colors and axes shared by the plots."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sktime.exceptions import NotFittedError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from dsn_sktime.estimators import DSNClassifier, DSNRegressor

__all__ = ["COLOURS", "axes_or_new", "check_trained", "open_frame"]

# Okabe and Ito's palette, which suits all kinds of color vision; black last.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")


def axes_or_new(ax: Axes | None) -> Axes:
    """Return ``ax``, or the axes of a new figure if it is None."""
    if ax is not None:
        return ax
    from matplotlib import pyplot as plt

    return plt.subplots(figsize=(6.4, 4.4), layout="constrained")[1]


def open_frame(ax: Axes) -> None:
    """Hide the upper and right spines."""
    ax.spines[["top", "right"]].set_visible(False)


def check_trained(estimator: DSNClassifier | DSNRegressor) -> None:
    """Raise NotFittedError unless the estimator has a trained network."""
    estimator.check_is_fitted()
    if not hasattr(estimator, "networks_"):
        raise NotFittedError(
            f"this {type(estimator).__name__} was fitted to a single class, so no network "
            "was trained and there is nothing to plot. Fit it to two classes or more."
        )
