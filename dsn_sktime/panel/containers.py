"""Read series from the containers that users hold them in."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable
from typing import Any

import numpy as np
import pandas as pd
import torch
from pandas.api.types import is_datetime64_any_dtype, is_numeric_dtype

from dsn_sktime.panel.raw_panel import RawPanel, listed
from dsn_sktime.panel.variates import matching_order

__all__ = ["read_panel"]

_ARRAY = "Arrays have the axes (series, variates, time steps); a single series is X[None]."
_LIST = (
    "A list has one item per series: an array (variates, time steps), or a frame with one row "
    "per time step."
)
_WIDE = (
    "A frame with one index level has one row per series and one column per time step; one with a "
    "row per time step is read from X.set_index([<series id>, <time>]), a single one from [X]."
)
_LONG = "A frame with two index levels has the levels (series, time) and a column per variate."

# Columns of a table that are not time steps.
_ID_NAME = re.compile(
    r"(.*[ _])?(ids?|uuid|instance|case|series|subject|window|unit)|unnamed: \d+", re.I
)
_TIME_NAME = re.compile(r"(.*[ _])?(time[ _]?(stamp|step|index)?s?|datetime|date|ts|t)", re.I)
_LABEL_NAME = re.compile(r"(.*[ _])?(labels?|class|target)", re.I)


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
        found = f"shape {np.shape(X)}" if hasattr(X, "shape") else f"{len(raw)} series without any"
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
        return _read_array(_numbers(X))
    if isinstance(X, pd.DataFrame):
        return _read_frame(X, variate_names)
    if isinstance(X, list | tuple):
        return _read_list(X)
    if isinstance(X, pd.Series) and len(X) and _holds_values(X.iloc[0]):
        return RawPanel(_read_list(list(X)).series, ids=X.index, layout=_LIST)
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
    if items and not any(_holds_values(item) or hasattr(item, "__array__") for item in items):
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
            order = matching_order(own, first, f"those of the first series, in series {number}")
            series[number] = series[number][order]
    return RawPanel(series, variate_names=first, layout=_LIST)


def _read_item(item: Any, number: int) -> tuple[np.ndarray, tuple[Hashable, ...] | None]:
    """Return a series of shape (m, length) and the names of its variates."""
    if isinstance(item, pd.DataFrame):
        return _numbers(_in_time_order(item, number)).T, _names(item)
    try:
        values = _numbers(item)
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


def _in_time_order(frame: pd.DataFrame, number: int) -> pd.DataFrame:
    if frame.index.nlevels > 1 or frame.index.is_monotonic_increasing:
        return frame
    _check_time(frame.index, f"as the index of series {number} (counted from 0)")
    if not frame.index.is_unique or frame.index.hasnans:
        raise ValueError(
            "X must have an increasing time index in each series, found time steps that occur "
            f"twice or are missing in series {number} (counted from 0). Use reset_index(drop=True) "
            "if the rows are in order, else drop duplicates."
        )
    return frame.sort_index()


def _check_time(index: pd.Index, where: str) -> None:
    if is_numeric_dtype(index.dtype) or hasattr(index, "asi8"):  # or time stamps, periods, ...
        return
    raise TypeError(
        f"X must have numbers or time stamps {where}, to put the steps in order by, found dtype "
        f"{index.dtype}. Convert them, for example with pandas.to_datetime."
    )


# Frames.


def _read_frame(X: pd.DataFrame, variate_names: tuple[Hashable, ...] | None) -> RawPanel:
    if X.index.nlevels > 2 or X.columns.nlevels > 1:
        raise ValueError(
            "X must have an index of two levels (series, time) and one of columns (variates), "
            f"found {X.index.nlevels} and {X.columns.nlevels}. Use X.stack() for a level of the "
            "columns that is time, and X.droplevel(...) for those that number nothing."
        )
    if X.size and any(_holds_values(cell) for cell in X.iloc[0]):
        return _read_nested(X)
    return _read_long(X) if X.index.nlevels == 2 else _read_wide(X, variate_names)


def _read_long(X: pd.DataFrame) -> RawPanel:
    """Read rows of time steps with an index (series, time)."""
    _check_columns(X)
    codes, ids = pd.factorize(X.index.get_level_values(0))
    time = X.index.get_level_values(1)
    _check_time(time, "in the second level of its index")
    if _matches(_TIME_NAME, X.index.names[0]) and _matches(_ID_NAME, X.index.names[1]):
        raise ValueError(
            f"X must have an index (series, time), found the levels {list(X.index.names)}. Use "
            "X.swaplevel()."
        )
    times = pd.factorize(time, sort=True)[0]
    if (codes < 0).any() or (times < 0).any():
        raise ValueError(
            "X must have an index without missing values, found rows without a series id or a "
            "time. Remove or complete them."
        )
    order = np.lexsort((times, codes))
    codes, times = codes[order], times[order]
    again = np.flatnonzero((np.diff(codes) == 0) & (np.diff(times) == 0))
    if len(again):
        raise ValueError(
            "X must have one row per series and time, found several for series "
            f"{ids[codes[again[0]]]} and time {time[order[again[0]]]}. Give series that share an "
            "id different ones, or drop duplicate rows."
        )
    values = _numbers(X)
    if not (np.diff(order) == 1).all():
        values = values[order]
    series = np.split(values.T, np.flatnonzero(np.diff(codes)) + 1, axis=1) if len(X) else []
    return RawPanel(series, pd.Index(ids), _names(X), _LONG)


def _read_nested(X: pd.DataFrame) -> RawPanel:
    """Read a frame whose cells are univariate series."""
    series = []
    for number in range(len(X)):
        cells = [X.iat[number, column] for column in range(X.shape[1])]
        if not all(_holds_values(cell) and np.ndim(cell) == 1 for cell in cells):
            raise ValueError(
                "X must have a univariate series in each cell where it has some, found others in "
                f"row {number} (counted from 0). Series of several variates are read from a list."
            )
        lengths = {len(cell) for cell in cells}
        if len(lengths) > 1 or not _share_index(cells):
            # As in sktime: aligned by time, missing where a variate has no value.
            aligned = pd.DataFrame({i: pd.Series(cell) for i, cell in enumerate(cells)})
            series.append(_numbers(aligned).T)
        else:
            series.append(np.stack([_numbers(cell) for cell in cells]))
    return RawPanel(series, X.index, _names(X), _LIST)


def _share_index(cells: list) -> bool:
    indices = [cell.index for cell in cells if isinstance(cell, pd.Series)]
    return all(index.equals(indices[0]) for index in indices[1:])


def _read_wide(X: pd.DataFrame, variate_names: tuple[Hashable, ...] | None) -> RawPanel:
    """Read one row per series and one column per time step; refuse what looks like a table."""
    is_single = X.shape[1] == 1 < len(X) or (
        variate_names is not None and set(variate_names) == set(X.columns)
    )
    if is_single:
        raise ValueError(
            "X must have a row per series and a column per time step, or an index (series, time), "
            f"found a frame of shape {X.shape} with the columns {_quoted(X.columns)}. If it is a "
            "single series with a row per time step, use [X]; if it holds several, use "
            "X.set_index([<series id>, <time>])."
        )
    _check_columns(X, long=True)
    return RawPanel(_numbers(X)[:, None], X.index, layout=_WIDE)


def _check_columns(X: pd.DataFrame, long: bool = False) -> None:
    """Raise if columns are no numbers or, where ``long``, look like ids, times or labels."""
    wrong = [name for name, dtype in X.dtypes.items() if not is_numeric_dtype(dtype)]
    if long:
        wrong += [name for name in X.columns if name not in wrong and _is_key(name)]
        wrong = wrong or _keys_by_value(X)
    if not wrong:
        return
    is_text = not is_numeric_dtype(X.dtypes.iloc[0])
    if is_text and len(wrong) == X.shape[1] and not any(map(_is_key, wrong)):
        raise TypeError(
            f"X must hold real numbers, found dtype {X.dtypes.iloc[0]} in column {wrong[0]!r}. "
            "Convert it, for example with X.astype(float)."
        )
    if not long:
        raise TypeError(
            f"X must hold real numbers, found dtype {X.dtypes[wrong[0]]} in column {wrong[0]!r}. "
            f"Convert it, or use X.drop(columns={wrong!r})."
        )
    raise TypeError(_table_message(X, wrong))


def _table_message(X: pd.DataFrame, wrong: list) -> str:
    """Return the one line that turns a table with ids, times or labels into a panel."""
    labels = [name for name in wrong if _matches(_LABEL_NAME, name)]
    times = [
        name
        for name in wrong
        if is_datetime64_any_dtype(X.dtypes[name]) or _matches(_TIME_NAME, name)
    ]
    ids = [name for name in wrong if name not in labels + times]
    times = times or ids[1:2]
    found = f"X must be a panel of series, found a table with the columns {_quoted(X.columns)}. "
    if labels and not ids and not times:
        return found + f"Labels are passed as y: use X.drop(columns={labels!r})."
    keys = f"{ids[0]!r}" if ids else "<series id>", f"{times[0]!r}" if times else "<time>"
    sensors = [name for name in X.columns if name not in wrong]
    chosen = f"[{sensors!r}]" if 0 < len(sensors) < 10 and len(wrong) > 2 else ""
    return found + (
        f"With one row per time step use X.set_index([{', '.join(keys)}]){chosen}; with one row "
        f"per series and one column per time step use X.drop(columns={wrong!r})."
    )


def _is_key(name: Hashable) -> bool:
    return any(_matches(pattern, name) for pattern in (_ID_NAME, _TIME_NAME, _LABEL_NAME))


def _matches(pattern: re.Pattern, name: Hashable) -> bool:
    return isinstance(name, str) and pattern.fullmatch(name.strip()) is not None


def _keys_by_value(X: pd.DataFrame) -> list:
    """Find a column that numbers blocks of rows, and one that increases within each."""
    first = _numbers(X.iloc[:, :3]).astype(np.float64).T
    for i, ids in enumerate(first):
        if not (ids % 1 == 0).all():
            continue
        same = np.diff(ids) == 0
        n_blocks = 1 + np.count_nonzero(~same)
        # Eight increases or more do not happen by chance.
        if not 1 < n_blocks <= len(X) - 8 or n_blocks != len(np.unique(ids)):
            continue
        for j, times in enumerate(first):
            if j != i and (np.diff(times)[same] > 0).all():
                return [X.columns[i], X.columns[j]]
    return []


def _names(frame: pd.DataFrame) -> tuple[Hashable, ...] | None:
    return tuple(frame.columns) if frame.columns.is_unique else None


def _quoted(columns: pd.Index) -> str:
    names = [repr(name) for name in columns[:6]]
    return ", ".join(names) + (f", ... ({len(columns)} in all)" if len(columns) > 6 else "")


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


# Values.


def _holds_values(cell: object) -> bool:
    kinds = pd.DataFrame | pd.Series | np.ndarray | list | tuple | torch.Tensor
    return isinstance(cell, kinds) and getattr(cell, "ndim", 1) > 0


def _numbers(values: Any) -> np.ndarray:
    """Return an array of real numbers, NaN where they are masked or missing."""
    if isinstance(values, torch.Tensor):
        values = _from_torch(values)
    if isinstance(values, np.ma.MaskedArray):
        _check_real(values)
        dtype = values.dtype if values.dtype.kind == "f" else np.float64
        return np.where(np.ma.getmaskarray(values), np.nan, values.data).astype(dtype)
    if isinstance(values, pd.DataFrame | pd.Series):
        dtypes = [values.dtype] if isinstance(values, pd.Series) else values.dtypes
        array = values.to_numpy()
        if array.dtype == object and all(map(is_numeric_dtype, dtypes)):
            # pandas returns objects for mixed bool and float columns and for nullable ones.
            array = values.to_numpy(np.float64, na_value=np.nan)
    else:
        array = np.asarray(values)
    _check_real(array)
    return array


def _from_torch(values: torch.Tensor) -> np.ndarray:
    if values.is_nested or values.layout != torch.strided or values.is_quantized or values.is_meta:
        raise TypeError(
            "X must be a dense tensor that holds its values, found another kind. Use "
            "X.unbind() of a nested tensor, X.to_dense() of a sparse one and X.dequantize() of a "
            "quantized one."
        )
    values = values.detach().cpu()
    values = values.float() if values.dtype == torch.bfloat16 else values
    return values.resolve_conj().resolve_neg().numpy()


def _check_real(values: np.ndarray) -> None:
    if values.dtype.kind in "biuf":
        return
    remedy = (
        "Of complex series pass the real and the imaginary part as two variates."
        if values.dtype.kind == "c"
        else "Convert it, for example with X.astype(float)."
    )
    raise TypeError(f"X must hold real numbers, found dtype {values.dtype}. {remedy}")
