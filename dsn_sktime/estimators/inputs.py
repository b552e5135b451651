"""Reading of what users pass to ``fit`` and ``predict``: series and class labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from dsn_sktime.panel import check_real

__all__ = ["read_labels", "read_series"]


def read_series(X: Any) -> Any:
    """Return the series that ``fit`` or ``predict`` was given as an sktime container.

    Parameters
    ----------
    X : array of shape (n, m, L) or (n, L), or any other sktime panel container

    Returns
    -------
    array of shape (n, m, L) or sktime panel container
        Containers other than arrays and lists are left to sktime's checks.

    Raises
    ------
    TypeError
        If an array does not hold real numbers.
    ValueError
        If an array has other axes, or there are no series, variates or time steps.
    """
    if isinstance(X, np.ndarray):
        check_real(X)
        if X.ndim not in (2, 3):
            raise ValueError(
                "X must have the axes (series, variates, time steps), or (series, time steps) of "
                f"univariate series, found shape {X.shape}."
            )
    if (isinstance(X, np.ndarray) and 0 in X.shape) or (isinstance(X, list) and not X):
        found = "an empty list" if isinstance(X, list) else f"shape {X.shape}"
        raise ValueError(
            f"X must have at least one series, one variate and one time step, found {found}."
        )
    return X[:, None] if isinstance(X, np.ndarray) and X.ndim == 2 else X


def read_labels(X: Any, y: Any) -> Any:
    """Return class labels that can be sorted, one per series.

    Parameters
    ----------
    X : sktime panel container
        Series that the labels belong to.
    y : array-like of shape (n,) or (n, q)

    Returns
    -------
    array, Series or DataFrame

    Raises
    ------
    TypeError
        If labels of different types cannot be sorted.
    ValueError
        If labels are missing, or there are more or fewer of them than series.
    """
    if isinstance(y, list | tuple | pd.Categorical | pd.Index):
        y = np.asarray(y)
    if y is None or np.ndim(y) == 0:
        raise ValueError(f"y must hold one class label per series, found {y!r}.")
    n_missing = int(np.count_nonzero(pd.isna(y)))
    if n_missing:
        raise ValueError(
            f"y must hold one class label per series, found {n_missing} missing labels. "
            "Remove these series or label them."
        )
    if np.ndim(y) == 1:
        _check_sortable(y)
    if _n_series(X) not in (None, len(y)):
        raise ValueError(
            f"X and y must be of the same length, found {_n_series(X)} series in X and {len(y)} "
            "labels in y. Arrays have the axes (series, variates, time steps)."
        )
    return y


def _check_sortable(y: Any) -> None:
    try:
        np.unique(np.asarray(y))
    except TypeError as error:
        types = " and ".join(sorted({type(label).__name__ for label in y}))
        raise TypeError(
            f"y must hold class labels that can be sorted, found {types}. Convert them to "
            "one type, for example with y.astype(str)."
        ) from error


def _n_series(X: Any) -> int | None:
    """Count the series of the common containers; None leaves the others to sktime."""
    if isinstance(X, pd.DataFrame) and X.index.nlevels == 2:
        return X.index.droplevel(-1).nunique()
    return len(X) if isinstance(X, np.ndarray | list) or _is_nested(X) else None


def _is_nested(X: Any) -> bool:
    return isinstance(X, pd.DataFrame) and X.size > 0 and isinstance(X.iat[0, 0], pd.Series)
