"""Read series from the containers that users hold them in."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from pandas.core.groupby import DataFrameGroupBy

from dsn_sktime.panel.frames import check_columns, in_time_order, read_frame
from dsn_sktime.panel.raw_panel import RawPanel, listed
from dsn_sktime.panel.values import as_numbers, holds_values
from dsn_sktime.panel.variates import matching_order

_ARRAY = "Arrays have the axes (series, variates, time steps); a single series is X[None]."
_LIST = (
    "A list has one item per series: an array (variates, time steps), or a frame with one row "
    "per time step."
)


def read_panel(X: Any, variate_names: tuple[Hashable, ...] | None = None) -> RawPanel:
    """Read series from any container into plain arrays.

    Parameters
    ----------
    X : array of shape (n, m, L) or (n, L), list of arrays, frame, tensor or sktime container
        Masked values count as missing. Trailing steps that are missing in every variate of
        a series are padding and are removed. A RawPanel is returned as it is.
    variate_names : tuple or None, default=None
        Labels of the variates that a model was fitted with, to recognize a single series.

    Raises
    ------
    TypeError
        If ``X`` is not such a container or does not hold real numbers.
    ValueError
        If there are no series, variates or time steps, if series have different variates,
        or if values are infinite or beyond 1e15.
    """
    if isinstance(X, RawPanel):
        return X
    raw = _read(X, variate_names)
    lengths = raw.lengths if len(raw) else np.array([0])
    if (lengths == 0).all() or raw.n_variates == 0:
        found = f"shape {np.shape(X)}" if hasattr(X, "shape") else f"{len(raw)} empty series"
        raise ValueError(
            "X must have at least one series, one variate and one time step, found "
            f"{found if len(raw) or hasattr(X, 'shape') else 'an empty list'}."
        )
    if (lengths == 0).any():
        raise ValueError(
            f"X must have at least one time step per series, found {listed(lengths == 0)} "
            "without any. Remove these series."
        )
    raw.check_values()
    return raw.without_padding()


def _read(X: Any, variate_names: tuple[Hashable, ...] | None) -> RawPanel:
    if isinstance(X, np.ndarray) and X.dtype == object and X.ndim == 1:
        X = list(X)  # how numpy holds arrays of unequal length
    if isinstance(X, np.ndarray | torch.Tensor):
        return _read_array(as_numbers(X))
    if isinstance(X, pd.DataFrame):
        return read_frame(X, variate_names)
    if isinstance(X, list | tuple):
        return _read_list(X)
    if isinstance(X, pd.Series) and len(X) and holds_values(X.iloc[0]):
        return replace(_read_list(list(X)), ids=X.index)
    return _read_other(X)


def _read_array(values: np.ndarray) -> RawPanel:
    if values.ndim not in (2, 3):
        raise ValueError(
            "X must have the axes (series, variates, time steps), or (series, time steps) of "
            f"univariate series, found shape {values.shape}. A single series is X[None, None], or "
            "X[None] if it has several variates."
        )
    return RawPanel(values[:, None] if values.ndim == 2 else values, layout=_ARRAY)


# Lists.


def _read_list(items: list | tuple) -> RawPanel:
    if items and not any(holds_values(item) or hasattr(item, "__array__") for item in items):
        raise TypeError(
            f"X must be a list of series, found a list of {type(items[0]).__name__}. A list of "
            "one univariate series is [X]."
        )
    series, names = [], []
    for number, item in enumerate(items):
        one, own_names = _read_item(item, number)
        series.append(one)
        names.append(own_names)
    _check_variates(series, are_arrays=not any(names))
    first = names[0] if names else None
    for number, own in enumerate(names):
        if first is not None and own not in (None, first):
            order = matching_order(own, first, "of the first series", f" in series {number}")
            series[number] = series[number][order]
    return RawPanel(series, variate_names=first, layout=_LIST)


def _read_item(item: Any, number: int) -> tuple[np.ndarray, tuple[Hashable, ...] | None]:
    """Return a series of shape (m, length) and the names of its variates."""
    if isinstance(item, pd.DataFrame):
        check_columns(item, where=f" in series {number} (counted from 0)")
        return as_numbers(in_time_order(item, number)).T, tuple(item.columns)
    if isinstance(item, pd.Series):
        item = in_time_order(item, number)
    try:
        values = as_numbers(item)
    except ValueError:  # lists of lists of unequal length
        values = None
    if values is None or values.ndim not in (1, 2):
        found = type(item).__name__ if values is None else f"shape {values.shape}"
        raise ValueError(
            "X must be a list of arrays of shape (variates, time steps) or (time steps,), found "
            f"{found} as series {number} (counted from 0)."
        )
    return np.atleast_2d(values), None


def _check_variates(series: list[np.ndarray], are_arrays: bool) -> None:
    n_variates = np.array([one.shape[0] for one in series])
    other = n_variates != n_variates[:1]
    if not other.any():
        return
    remedy = (
        "If these arrays have the axes (time steps, variates), use [x.T for x in X]."
        if are_arrays and len({one.shape[1] for one in series}) == 1
        else "Add or remove columns."
    )
    raise ValueError(
        f"X must have the same number of variates in each series, {n_variates[0]} as in the "
        f"first, found {listed(other)} with another. {remedy}"
    )


# Other containers.


def _read_other(X: Any) -> RawPanel:
    from sktime.datatypes import check_is_scitype, convert_to

    module = type(X).__module__.partition(".")[0]
    # Of sktime's remaining containers, each from a package of its own.
    if module not in ("builtins", "numpy", "pandas", "scipy", "torch") and (
        check_is_scitype(X, "Panel")
    ):
        return _read_list(convert_to(X, "df-list", "Panel"))
    if hasattr(X, "toarray"):
        remedy = "Use X.toarray(): sparse arrays are not read."
    elif isinstance(X, dict):
        remedy = "Use list(X.values())."
    elif isinstance(X, pd.Series):
        remedy = "A single series is [X]; several, with an index (series, time), X.to_frame()."
    elif isinstance(X, DataFrameGroupBy):
        remedy = "Use [frame for _, frame in X], without the columns of ids and times."
    elif hasattr(X, "to_pandas"):
        remedy = "Use X.to_pandas()."
    elif hasattr(X, "__array__"):
        remedy = "Use numpy.asarray(X), with the axes (series, variates, time steps)."
    elif isinstance(X, Iterable) and not isinstance(X, str | bytes):
        remedy = "Use list(X)."
    else:
        remedy = "See the page 'From sensor tables to panels' of the guide."
    found = repr(X) if X is None or isinstance(X, str | int | float) else type(X).__name__
    raise TypeError(
        "X must be an array of shape (series, variates, time steps), a list of series, a frame or "
        f"another panel container of sktime, found {found}. {remedy}"
    )
