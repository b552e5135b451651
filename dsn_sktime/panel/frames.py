"""Read series from data frames: long, nested and wide ones."""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_datetime64_any_dtype, is_numeric_dtype

from dsn_sktime.panel.raw_panel import RawPanel
from dsn_sktime.panel.values import as_numbers, holds_values

_CELLS = "A nested frame has one row per series and one column per variate."
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


def read_frame(X: pd.DataFrame, variate_names: tuple[Hashable, ...] | None) -> RawPanel:
    """Read a frame according to its index and cells; see :func:`read_panel`."""
    if X.index.nlevels > 2 or X.columns.nlevels > 1:
        raise ValueError(
            "X must have an index of two levels (series, time) and one of columns (variates), "
            f"found {X.index.nlevels} and {X.columns.nlevels}. Use X.stack() for a level of the "
            "columns that is time, and X.droplevel(...) for those that number nothing."
        )
    if X.size and any(holds_values(cell) for cell in X.iloc[0]):
        return _read_nested(X)
    return _read_long(X) if X.index.nlevels == 2 else _read_wide(X, variate_names)


def _read_long(X: pd.DataFrame) -> RawPanel:
    """Read rows of time steps with an index (series, time)."""
    check_columns(X)
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
    values = as_numbers(X)
    if not (np.diff(order) == 1).all():
        values = values[order]
    series = np.split(values.T, np.flatnonzero(np.diff(codes)) + 1, axis=1) if len(X) else []
    return RawPanel(series, pd.Index(ids), tuple(X.columns), _LONG)


def _read_nested(X: pd.DataFrame) -> RawPanel:
    """Read a frame whose cells are univariate series."""
    check_names(X)
    series = []
    for number in range(len(X)):
        cells = [X.iat[number, column] for column in range(X.shape[1])]
        if not all(holds_values(cell) and np.ndim(cell) == 1 for cell in cells):
            raise ValueError(
                "X must have a univariate series in each cell where it has some, found others in "
                f"row {number} (counted from 0). Series of several variates are read from a list."
            )
        cells = [
            in_time_order(cell, number) if isinstance(cell, pd.Series) else cell for cell in cells
        ]
        lengths = {len(cell) for cell in cells}
        if len(lengths) > 1 or not _share_index(cells):
            # As in sktime: aligned by time, missing where a variate has no value.
            aligned = {i: pd.Series(cell) for i, cell in enumerate(cells)}
            for cell in aligned.values():
                _check_unique(cell.index, number)
            series.append(as_numbers(pd.DataFrame(aligned)).T)
        else:
            series.append(np.stack([as_numbers(cell) for cell in cells]))
    return RawPanel(series, X.index, tuple(X.columns), _CELLS)


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
    check_columns(X, may_be_table=True)
    return RawPanel(as_numbers(X.iloc[:, _step_order(X.columns)])[:, None], X.index, layout=_WIDE)


def _step_order(columns: pd.Index) -> np.ndarray:
    """Return the order of columns that are numbered or dated; of others, as they are."""
    if not _is_time(columns):
        parts = [re.fullmatch(r"(.*?)(\d+)", str(name), re.S) for name in columns]
        if len({part and part[1] for part in parts}) > 1 or None in parts:
            return np.arange(len(columns))
        columns = pd.Index([int(part[2]) for part in parts if part])
    return columns.argsort(kind="stable")


def check_columns(X: pd.DataFrame, may_be_table: bool = False, where: str = "") -> None:
    """Raise if columns are not numeric or, in what ``may_be_table``, look like ids or labels."""
    if not may_be_table:
        check_names(X, where)
    wrong = [name for name, dtype in X.dtypes.items() if not is_numeric_dtype(dtype)]
    if may_be_table:
        wrong += [name for name in X.columns if name not in wrong and looks_like_key(name)]
        wrong = wrong or _keys_by_value(X)
    if not wrong:
        return
    is_text, whose = not is_numeric_dtype(X.dtypes.iloc[0]), "" if where else "X."
    if is_text and len(wrong) == X.shape[1] and not any(map(looks_like_key, wrong)):
        raise TypeError(
            f"X must hold real numbers, found dtype {X.dtypes.iloc[0]} in column "
            f"{wrong[0]!r}{where}. Convert it, for example with {whose}astype(float)."
        )
    if not may_be_table:
        raise TypeError(
            f"X must hold real numbers, found dtype {X.dtypes[wrong[0]]} in column "
            f"{wrong[0]!r}{where}. Convert it, or use {whose}drop(columns={wrong!r})."
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


def _matches(pattern: re.Pattern, name: Hashable) -> bool:
    return isinstance(name, str) and pattern.fullmatch(name.strip()) is not None


def _keys_by_value(X: pd.DataFrame) -> list:
    """Find a column that numbers blocks of rows, and one that increases within each."""
    first = as_numbers(X.iloc[:, :3]).astype(np.float64).T
    for i, ids in enumerate(first):
        if not (ids % 1 == 0).all():
            continue
        same = np.diff(ids) == 0
        n_blocks = 1 + np.count_nonzero(~same)
        # Eight or more increases are unlikely by chance.
        if not 1 < n_blocks <= len(X) - 8 or n_blocks != len(np.unique(ids)):
            continue
        for j, times in enumerate(first):
            if j != i and (np.diff(times)[same] > 0).all():
                return [X.columns[i], X.columns[j]]
    return []


def _quoted(columns: pd.Index) -> str:
    names = [repr(name) for name in columns[:6]]
    return ", ".join(names) + (f", ... ({len(columns)} in all)" if len(columns) > 6 else "")


def check_names(X: pd.DataFrame, where: str = "") -> None:
    """Raise ValueError if two columns have the same name."""
    again = X.columns[X.columns.duplicated()]
    if len(again):
        raise ValueError(
            f"X must have columns of different names, found {again[0]!r} several times{where}. "
            "Rename them."
        )


def looks_like_key(name: Hashable) -> bool:
    """Return True if a column of this name holds ids, times or labels of series."""
    return any(_matches(pattern, name) for pattern in (_ID_NAME, _TIME_NAME, _LABEL_NAME))


def in_time_order(rows: Any, number: int) -> Any:
    """Return a Series or frame of one series in the order of its index's last level."""
    time = rows.index.get_level_values(-1)
    # A Series that was a row of a wide frame is indexed by the names of columns.
    if time.is_monotonic_increasing or (isinstance(rows, pd.Series) and not _is_time(time)):
        return rows
    _check_time(time, f"as the index of series {number} (counted from 0)")
    _check_unique(time, number)
    return rows.iloc[time.argsort()]


def _is_time(index: pd.Index) -> bool:
    # The second are time stamps, periods and durations.
    return is_numeric_dtype(index.dtype) or hasattr(index, "asi8")


def _check_unique(time: pd.Index, number: int) -> None:
    if not time.is_unique or time.hasnans:
        raise ValueError(
            "X must have an increasing time index in each series, found time steps that occur "
            f"twice or are missing in series {number} (counted from 0). Use reset_index(drop=True) "
            "if the rows are in order, else drop duplicates."
        )


def _check_time(index: pd.Index, where: str) -> None:
    """Raise TypeError unless an index can put time steps in order."""
    if _is_time(index):
        return
    raise TypeError(
        f"X must have numbers or time stamps {where}, to put the steps in order by, found dtype "
        f"{index.dtype}. Convert them, for example with pandas.to_datetime."
    )
