"""Class labels, numbers and weights, one per series and in the order of the series."""

from __future__ import annotations

import re
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
import torch
from pandas.api.types import is_integer_dtype

from dsn_sktime.panel.raw_panel import RawPanel
from dsn_sktime.panel.user_warning import warn_user
from dsn_sktime.panel.values import from_torch


def read_labels(y: Any, raw: RawPanel, noun: str = "class label") -> Any:
    """Return class labels that can be sorted, one per series: an array or a DataFrame.

    A single column becomes an array (n,). A Series or frame whose index holds the ids of the
    series is put into their order. One that is numbered from 0 holds no ids and is taken by
    position, as is any for series without ids, and a frame that is numbered otherwise, as by
    sktime's evaluation, by the order of its numbers. Labels that cannot be sorted raise
    TypeError, those that are missing, of other series, or more or fewer ValueError. ``noun`` is
    what errors call a label.
    """
    y = _as_labels(y, noun)
    if isinstance(y, pd.DataFrame) and y.shape[1] > 1:
        _refuse_column_of_ids(y, raw.ids)
    if len(y) != len(raw):
        nouns = noun.removeprefix("class ") + "s"
        raise ValueError(
            f"X and y must be of the same length, found {len(raw)} series in X and {len(y)} "
            f"{nouns} in y. {_length_remedy(y, raw)}"
        )
    if isinstance(y, pd.Series | pd.DataFrame):
        # sktime refuses frames whose index does not increase.
        y = _in_order("y", y, raw.ids).reset_index(drop=True)
    if y.ndim == 1 or y.shape[1] == 1:
        y = np.asarray(y).reshape(-1)
        if noun == "class label":
            _check_sortable(y)
    return y


def read_numbers(y: Any, raw: RawPanel) -> Any:
    """Return finite numbers, one per series, as :func:`read_labels`: float64 array or DataFrame."""
    y = read_labels(y, raw, noun="number")
    values = np.asarray(y)
    if values.dtype.kind not in "biuf":
        for one in pd.Series(values.ravel()):  # numpy lists dates in nanoseconds as int.
            if not isinstance(one, Real):
                raise TypeError(
                    f"y must hold one number per series, found {type(one).__name__} such as "
                    f"{one!r}. Use a classifier for class labels, or convert them with "
                    "y.astype(float)."
                )
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError(
            f"y must hold one finite number per series, found infinity "
            f"{np.count_nonzero(~np.isfinite(values))} times. Remove these series."
        )
    return pd.DataFrame(values, columns=y.columns) if isinstance(y, pd.DataFrame) else values


def _as_labels(y: Any, noun: str) -> np.ndarray | pd.Series | pd.DataFrame:
    """Return labels as an array, or as they are if they have an index."""
    expected = f"y must hold one {noun} per series"
    if isinstance(y, torch.Tensor):
        y = from_torch(y, "y")
    if isinstance(y, list | tuple):
        y = _listed_labels(y, expected)
    elif isinstance(y, range | pd.Categorical | pd.Index | np.matrix) or (
        hasattr(y, "__array__") and not isinstance(y, np.ndarray | pd.Series | pd.DataFrame)
    ):
        y = np.asarray(y)
    if not isinstance(y, np.ndarray | pd.Series | pd.DataFrame) or np.ndim(y) == 0:
        is_brief = y is None or isinstance(y, str | int | float | np.ndarray)
        remedy = " Use pandas.Series(y)." if isinstance(y, dict) else ""
        found = repr(y) if is_brief else f"a {type(y).__name__}"
        raise ValueError(f"{expected}, found {found}.{remedy}")
    if y.ndim > 2 or (y.ndim == 2 and y.shape[1] == 0):
        raise ValueError(f"{expected}, found shape {y.shape}.")
    if isinstance(y, np.ndarray) and y.dtype.kind == "V":
        raise TypeError(f"{expected}, found a structured array. Use one of {y.dtype.names}.")
    if isinstance(y, pd.DataFrame) and not y.columns.is_unique:
        raise ValueError(f"{expected} and column, found columns of the same name. Rename them.")
    is_masked = isinstance(y, np.ma.MaskedArray) and np.ma.is_masked(y)
    n_missing = np.count_nonzero(np.ma.getmaskarray(y) if is_masked else pd.isna(y))
    if n_missing:
        raise ValueError(
            f"{expected}, found {n_missing} {'masked' if is_masked else 'missing'} "
            f"{noun.removeprefix('class ')}s. Remove these series or fill them in."
        )
    return y.data if isinstance(y, np.ma.MaskedArray) else y


def _listed_labels(y: list | tuple, expected: str) -> np.ndarray:
    # Of strings and others together, numpy makes strings, also of missing labels.
    is_mixed = len({isinstance(label, str) for label in y}) > 1
    try:
        array = np.array(y, dtype=object if is_mixed else None)
    except ValueError:
        raise ValueError(f"{expected}, found lists of unequal length.") from None
    if array.dtype != object and all(isinstance(one, str | bytes | int | float) for one in y):
        # numpy strips NUL characters, and rounds integers that are beside floats.
        is_merged = len(set(y)) > len(np.unique(array))
        return np.array(y, dtype=object) if is_merged else array
    return array


def _check_sortable(y: np.ndarray) -> None:
    try:
        if y.dtype == object:
            set(y.flat)  # Lists can be sorted, but are not labels.
        np.unique(y)
    except TypeError as error:
        types = " and ".join(sorted({type(label).__name__ for label in y}))
        raise TypeError(
            f"y must hold class labels that can be sorted, found {types}. Convert them to "
            "one type, for example with y.astype(str)."
        ) from error


def _length_remedy(y: np.ndarray | pd.Series | pd.DataFrame, raw: RawPanel) -> str:
    if isinstance(y, pd.Series | pd.DataFrame):
        if y.index.nlevels == 2 and not isinstance(raw.ids, pd.MultiIndex):
            return "Use y.groupby(level=0, sort=False).first()."
        if raw.ids is not None and y.index.has_duplicates:
            again = y.index[y.index.duplicated()].tolist()[0]
            level = 0 if y.index.nlevels == 1 else list(range(y.index.nlevels))
            first = f"Use y.groupby(level={level}, sort=False).first() if these labels are equal."
            return f"The index of y has {again!r} several times. {first}"
        if raw.ids is not None and _are_in(raw.ids, y.index).all():
            return "Select the labels of these series, with y.loc[ids]."
        if raw.ids is not None and _are_in(y.index, raw.ids).all():
            missing = raw.ids[~_are_in(raw.ids, y.index)]
            such = missing.tolist()[0]
            return f"There is none for {len(missing)} of the series, such as {such!r}."
    return raw.layout


def _refuse_column_of_ids(y: pd.DataFrame, ids: pd.Index | None) -> None:
    """Raise where a column of targets holds the ids: the index was meant to."""
    if ids is None or len(y) != len(ids) or not ids.is_unique or y.index.equals(ids):
        return
    # Numbers from 0 may be made up, and a ranking has them, too.
    if pd.RangeIndex(len(ids)).equals(ids):
        return
    for name in y.columns:
        if _are_in(ids, y[name]).all():
            others = [other for other in y.columns if other != name]
            chosen = others[0] if len(others) == 1 else others
            raise ValueError(
                f"y must hold targets, found the ids of the series in its column {name!r}. Use "
                f"y.set_index({name!r})[{chosen!r}]."
            )


def read_sample_weight(sample_weight: Any, raw: RawPanel) -> np.ndarray | None:
    """Return the weight of each series, float64, or None if all are the same.

    Those above 0 have mean 1. A Series is put into the order of the series as labels are. Weights
    that are no real numbers raise TypeError, those that are more or fewer than the series, missing,
    infinite, negative or all 0 ValueError.
    """
    expected = "sample_weight must hold one finite number of at least 0 per series"
    if isinstance(sample_weight, torch.Tensor):
        sample_weight = from_torch(sample_weight, "sample_weight")
    if isinstance(sample_weight, pd.Series):
        sample_weight = _in_order("sample_weight", sample_weight, raw.ids)
    try:
        values = np.ma.asarray(sample_weight)
        if values.dtype == object:  # such as pandas' arrays with missing values
            values = np.ma.array([np.nan if one is pd.NA else one for one in values], dtype=float)
        if values.dtype.kind not in "biuf":
            raise TypeError
        weight = np.ma.filled(values.astype(np.float64), np.nan)
    except (TypeError, ValueError):
        found = type(sample_weight).__name__
        raise TypeError(f"{expected}, found a {found} of other values.") from None
    if weight.shape != (len(raw),):
        raise ValueError(f"{expected}, found shape {weight.shape} for {len(raw)} series.")
    wrong = np.flatnonzero(~(np.isfinite(weight) & (weight >= 0)))
    if len(wrong):
        raise ValueError(
            f"{expected}, found {weight[wrong[0]]} for series {wrong[0]} (counted from 0). "
            "A series of weight 0 is left out."
        )
    if not weight.any():
        raise ValueError(f"{expected} and one above 0, found zero weights only.")
    if (weight == weight[0]).all():
        return None
    # By the largest first: sums of large numbers overflow.
    weight = weight / weight.max()
    return weight / weight[weight > 0].mean()


def _are_in(ids: pd.Index, others: Any) -> np.ndarray:
    """Return which ids are among others; a MultiIndex itself takes tuples only."""
    return ids.to_flat_index().isin(pd.Index(others, tupleize_cols=False).to_flat_index())


def _is_sorted(ids: pd.Index) -> bool:
    """Return True for ids in order, also where T2 comes before T10."""
    if ids.is_monotonic_increasing:
        return True
    parts = [re.split(r"(\d+)", str(one)) for one in ids]
    keys = [[int(part) if part.isdecimal() else part for part in one] for one in parts]
    return keys == sorted(keys)


def _in_order(
    name: str, y: pd.Series | pd.DataFrame, ids: pd.Index | None
) -> pd.Series | pd.DataFrame:
    """Put labels with an index into the order of the ids of the series."""
    if ids is None or y.index.equals(ids):
        return y
    by_position = f"pass {name}.to_numpy() if it is in the order of X"
    numbers = pd.RangeIndex(len(y))
    # A MultiIndex of series gives numbers no other type, also where sktime has made them up.
    is_numbered = numbers.equals(ids) or (
        isinstance(y.index, pd.RangeIndex) and numbers.equals(y.index)
    )
    is_unique = ids.is_unique and y.index.is_unique
    if is_unique and _are_in(ids, y.index).all():
        if not is_numbered:
            return y.iloc[y.index.get_indexer(ids)]
        raise ValueError(
            f"{name} must be in the order of X or have an index with the ids of the series, found "
            "numbers from 0 in another order than those of X, which may be ids or count the rows. "
            f"Sort X and {name} by their index if they are ids, or {by_position}."
        )
    if is_numbered:
        if isinstance(y, pd.Series) and not _is_sorted(ids):
            warn_user(
                f"{name} is numbered from 0, so it is taken to be in the order in which the series "
                f"first occur in X, which is not that of their ids. If it is not, use {name} with "
                f"the ids as its index; if it is, {by_position}."
            )
        return y
    if not is_unique:
        raise ValueError(
            f"X and {name} must have an index without duplicates where their order differs, found "
            f"{(ids if not ids.is_unique else y.index).duplicated().sum()} ids that occur again. "
            f"Make them unique, or {by_position}."
        )
    missing, remedy = ids[~_are_in(ids, y.index)], "Select these series"
    if {*map(str, ids)} <= {*map(str, y.index)}:
        remedy = f"It has them as {y.index.dtype} and X as {ids.dtype}: convert one of them"
    elif isinstance(y, pd.DataFrame) and is_integer_dtype(y.index):
        # What sktime's evaluation makes of labels, and passes some rows of in any order.
        warn_user(
            f"{name} has other numbers than the ids of the series in X as its index: it is taken "
            "in the order of these numbers, as sktime's evaluation gives it."
        )
        return y.sort_index()
    raise ValueError(
        f"{name} must have the labels of the series in X, found none in its index for "
        f"{len(missing)} of them, such as {missing.tolist()[0]!r}. {remedy}, or {by_position}."
    )
