"""Plots of a classifier's predictions: contributions of the time steps, and confusion."""

from __future__ import annotations

from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from dsn_sktime.explain import check_explainable, contributions
from dsn_sktime.panel import read_labels, read_panel
from dsn_sktime.plotting._axes import COLORS, axes_or_new, open_frame
from dsn_sktime.training.checks import brief_repr

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from sktime.classification.base import BaseClassifier

    from dsn_sktime.estimators import DSNClassifier

# With more classes the title names the likeliest.
_MAX_NAMED = 3
# Letters of all labels that have room beside one another.
_MAX_LETTERS = 40


def plot_contributions(
    classifier: DSNClassifier, x: Any, ax: Axes | None = None, label: Any = None
) -> Axes:
    """Plot a series, colored by how much each time step supports a class.

    Each variate has a row; several are scaled to rows of the same height. Missing steps, which may
    have contributions in a long gap, are not drawn.

    Parameters
    ----------
    classifier : DSNClassifier
        Fitted.
    x : array of shape (m, L) or (L,), or a container of one series
    ax : Axes, optional
        A new figure's if None.
    label : optional
        Class of which contributions are shown; the predicted one if None.

    Returns
    -------
    Axes

    Raises
    ------
    TypeError, ValueError, NotFittedError
        As :func:`dsn_sktime.explain.contributions`, or if ``x`` is not one series, or ``label``
        no class.
    """
    if isinstance(x, np.ndarray) and x.ndim < 3:
        x = np.atleast_2d(x)[None]
    check_explainable(classifier)
    raw = classifier._check_convert_X_for_predict(x)
    if len(raw) != 1:
        raise ValueError(f"x must be one series, found {len(raw)}. Plot them one by one.")
    found, probabilities = contributions(classifier, raw), classifier.predict_proba(raw)[0]
    labels = classifier.classes_.tolist()
    place = int(probabilities.argmax()) if label is None else _place("label", label, labels)
    names = [str(name) for name in _names(classifier)]
    ax = axes_or_new(ax)
    series = np.asarray(raw.series[0], dtype=np.float64)
    _draw_rows(ax, series, found[0, place], names, "variate")
    listed = ", ".join(
        f"{labels[one]}: {probabilities[one]:.2f}"
        for one in np.argsort(-probabilities, kind="stable")[:_MAX_NAMED]
    )
    more = ", ..." if len(labels) > _MAX_NAMED else ""
    title = f"Contributions to class {labels[place]}\nprobabilities: {listed}{more}"
    ax.set_title(title, wrap=True)
    return ax


def plot_class_means(
    classifier: DSNClassifier, X: Any, y: Any, ax: Axes | None = None, variate: Any = 0
) -> Axes:
    """Plot the mean series of each class, colored by the mean contributions to that class.

    Each class has a row, all of the same scale. A mean is over the series that have the time step.

    Parameters
    ----------
    classifier : DSNClassifier
        Fitted.
    X : container of n series
    y : array-like of shape (n,)
        Their classes.
    ax : Axes, optional
        A new figure's if None.
    variate : int or label, default=0
        Variate to plot: its name in the training series, or its place among them.

    Returns
    -------
    Axes

    Raises
    ------
    TypeError, ValueError, NotFittedError
        As :func:`dsn_sktime.explain.contributions`, or if ``X`` has no such variate, or ``y``
        other labels.
    """
    check_explainable(classifier)
    raw = classifier._check_convert_X_for_predict(X)
    row = _row_of(variate, classifier)
    labels = classifier.classes_.tolist()
    given = np.asarray(read_labels(y, raw)).tolist()
    places = np.array([_place("labels in y", label, labels) for label in given])
    found = contributions(classifier, raw)[np.arange(len(raw)), places, row]
    series = np.full(found.shape, np.nan)
    for filled, one in zip(series, raw.series, strict=True):
        filled[: one.shape[1]] = one[row]
    found[np.isnan(series)] = np.nan
    means = pd.DataFrame(series).groupby(places).mean()
    supporting = pd.DataFrame(found).groupby(places).mean()
    ax = axes_or_new(ax)
    names = [str(labels[one]) for one in means.index]
    _draw_rows(ax, means.to_numpy(), supporting.to_numpy(), names, "class")
    what = "Class means" if len(names) > 1 else f"Mean of class {names[0]}"
    if raw.n_variates > 1:
        what += f" of variate {_names(classifier)[row]}"
    ax.set_title(f"{what} and {'their' if len(names) > 1 else 'its'} contributions")
    return ax


def plot_confusion_matrix(
    classifier: BaseClassifier, X: Any, y: Any, ax: Axes | None = None
) -> Axes:
    """Plot how many series of each class are predicted as each class.

    Parameters
    ----------
    classifier : sktime classifier
        Fitted.
    X : container of n series
    y : array-like of shape (n,)
        Their classes.
    ax : Axes, optional
        A new figure's if None.

    Returns
    -------
    Axes

    Raises
    ------
    TypeError, ValueError, NotFittedError
        As the classifier's ``predict``, or if ``y`` does not belong to ``X``.
    """
    from sklearn.metrics import ConfusionMatrixDisplay

    y = read_labels(y, read_panel(X))
    ax = axes_or_new(ax)
    ConfusionMatrixDisplay.from_predictions(
        y, classifier.predict(X), cmap="Blues", colorbar=False, ax=ax
    )
    if sum(len(label.get_text()) for label in ax.get_xticklabels()) > _MAX_LETTERS:
        ax.tick_params("x", rotation=90)
    return ax


def _place(name: str, label: Any, labels: list[Any]) -> int:
    if label not in labels:
        raise ValueError(f"{name} must be one of {brief_repr(labels)}, found {label!r}.")
    return labels.index(label)


def _names(classifier: DSNClassifier) -> list[Any]:
    return list(classifier.variate_names_ or range(classifier.n_variates_))


def _row_of(variate: Any, classifier: DSNClassifier) -> int:
    names = _names(classifier)
    if variate in names:
        return names.index(variate)
    if isinstance(variate, Integral) and int(variate) in range(len(names)):
        return int(variate)
    raise ValueError(
        f"variate must be one of {brief_repr(names)} or lie in 0..{len(names) - 1}, found "
        f"{variate!r}."
    )


def _draw_rows(ax: Axes, rows: np.ndarray, found: np.ndarray, names: list[str], kind: str) -> None:
    """Draw series (r, L), colored by contributions (r, L), below one another.

    ``names`` are those of the rows, of one kind: a "variate" has a scale of its own.
    """
    from matplotlib.collections import LineCollection
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    n_rows, n_steps = rows.shape
    if n_rows > 1:
        # Not nanmin, which warns of a row without values.
        own = 1 if kind == "variate" else None
        low = np.fmin.reduce(rows, axis=own, keepdims=True)
        height = np.fmax.reduce(rows, axis=own, keepdims=True) - low
        flat = height == 0
        scaled = np.where(flat, 0.4, (rows - low) / np.where(flat, 1, height) * 0.8)
        rows = np.where(np.isnan(rows), np.nan, scaled) - np.arange(n_rows)[:, None]
        ax.set_yticks(0.4 - np.arange(n_rows), names)
        ax.set(ylabel=kind, ylim=(0.9 - n_rows, 0.9))
    else:
        ax.set_ylabel("value")
    # Each time step has the line to the middle of its neighbors, or a dash where these are missing.
    steps = np.arange(n_steps)
    ends = np.clip(np.arange(-0.5, n_steps), 0, n_steps - 1)
    # The end of a series, which padding repeats, may exceed all else.
    most = np.nanquantile(np.abs(found), 0.99) or 1.0
    colors = LinearSegmentedColormap.from_list("contribution", [COLORS[0], "0.82", COLORS[1]])
    for row, colored in zip(rows, found, strict=True):
        before, after = np.append(row[:1], row[:-1]), np.append(row[1:], row[-1:])
        left, right = (
            (row + np.where(np.isnan(other), row, other)) / 2 for other in (before, after)
        )
        lines = np.stack([np.c_[ends[:-1], left], np.c_[steps, row], np.c_[ends[1:], right]], 1)
        drawn = LineCollection(list(lines), cmap=colors, norm=Normalize(-most, most), lw=2.2)
        drawn.set(array=colored, capstyle="round")
        ax.add_collection(drawn)
    if n_rows == 1:
        ax.autoscale_view(scalex=False)
    ax.set(xlabel="time step", xlim=(0, max(n_steps - 1, 1)))
    open_frame(ax)
    bar = ax.figure.colorbar(drawn, ax=ax, label="contribution to the logit", extend="both")
    bar.outline.set_visible(False)
