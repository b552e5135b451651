"""Series in plain arrays, in the precision that they were given in."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

# Values per chunk: 2 MiB in float64.
_CHUNK_SIZE = 2**18
# Larger values are fill values (1e20, 9.97e36) or time stamps in nanoseconds, and their
# squares soon exceed float32.
_MAX_VALUE = 1e15


@dataclass(frozen=True)
class RawPanel:
    """Series as given, not yet scaled or copied.

    Attributes
    ----------
    series : array of shape (n, m, L), or list of n arrays of shape (m, length)
        Real numbers; missing ones are NaN.
    ids : Index or None
        Labels of the series, where the container has any.
    variate_names : tuple or None
        Labels of the variates, where the container has any.
    layout : str
        How the container was read, for error messages.
    n_padded : int
        Series whose trailing missing steps were removed.
    sample_weight : float64 array of shape (n,) or None
        Weights of the series in training.
    validation : (RawPanel, array of shape (n_val,)) or None
        Series that a training on these is validated on, and their targets.
    """

    series: np.ndarray | list[np.ndarray]
    ids: pd.Index | None = None
    variate_names: tuple[Hashable, ...] | None = None
    layout: str = ""
    n_padded: int = 0
    sample_weight: np.ndarray | None = None
    validation: tuple[RawPanel, Any] | None = None

    def __len__(self) -> int:
        return len(self.series)

    @property
    def n_variates(self) -> int:
        """Variates m of each series."""
        return self.series[0].shape[0]

    @property
    def lengths(self) -> np.ndarray:
        """Time steps of each series."""
        if isinstance(self.series, np.ndarray):
            return np.full(len(self), self.series.shape[2])
        return np.array([one.shape[1] for one in self.series])

    def take(self, rows: np.ndarray) -> RawPanel:
        """Return some of the series."""
        series = self.series
        taken = series[rows] if isinstance(series, np.ndarray) else [series[row] for row in rows]
        ids = None if self.ids is None else self.ids[rows]
        weight = None if self.sample_weight is None else self.sample_weight[rows]
        return replace(self, series=taken, ids=ids, n_padded=0, sample_weight=weight)

    def take_variates(self, columns: np.ndarray) -> RawPanel:
        """Return the series with their named variates in another order."""
        names = self.variate_names or ()
        series = [one[columns] for one in self.series]
        return replace(self, series=series, variate_names=tuple(names[one] for one in columns))

    def chunks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield rows and float64 copies (k, m, length) of consecutive series of equal length."""
        changes: list[int] = []
        if not isinstance(self.series, np.ndarray):
            changes = (np.flatnonzero(np.diff(self.lengths)) + 1).tolist()
        for first, end in pairwise([0, *changes, len(self)]):
            size = max(1, _CHUNK_SIZE // self.series[first].size)
            for start in range(first, end, size):
                rows = slice(start, min(start + size, end))
                with np.errstate(over="ignore"):  # Infinite values are found later.
                    chunk = np.array(self.series[rows], dtype=np.float64, order="C")
                yield rows, chunk

    def place(self, row: int, variate: int) -> str:
        """Name a series and a variate as the container does; else number them."""
        series = _label([] if self.ids is None else self.ids.tolist(), row)
        name = self.variate_label(variate)
        counted = "" if series and name else " (counted from 0)"
        return f"series {series or row}, variate {name or variate}{counted}"

    def variate_label(self, variate: int) -> str | None:
        """Return the name of a variate in quotes, None if it has no other than its number."""
        return _label(list(self.variate_names or ()), variate)

    def check_values(self) -> None:
        """Raise ValueError if values are infinite or beyond 1e15."""
        for rows, chunk in self.chunks():
            wrong = np.abs(chunk) > _MAX_VALUE
            if wrong.any():
                row, variate, step = np.argwhere(wrong)[0]
                value = chunk[row, variate, step]
                where = f"in {self.place(rows.start + row, variate)}"
                if np.isinf(value):
                    raise ValueError(
                        f"X must be finite, found {value:g} {where}. Replace infinite values; "
                        "missing values may be NaN."
                    )
                raise ValueError(
                    f"X must have values up to {_MAX_VALUE:g}, as larger ones overflow in single "
                    f"precision, found {value:g} {where}. Mark fill values as missing (NaN), or "
                    "rescale the variate."
                )

    def without_padding(self) -> RawPanel:
        """Remove the trailing steps of each series that are missing in all variates.

        Raise ValueError if a series is missing throughout, as its length is then unknown.
        """
        # Most series are ruled out by their last step.
        ends = (
            np.isnan(self.series[:, :, -1]).all(1)
            if isinstance(self.series, np.ndarray)
            else np.array([np.isnan(one[:, -1]).all() for one in self.series])
        )
        padded = np.flatnonzero(ends)
        if len(padded) == 0:
            return self
        trimmed = list(self.series)
        for row in padded:
            observed = np.flatnonzero(~np.isnan(trimmed[row]).all(0))
            trimmed[row] = trimmed[row][:, : observed[-1] + 1 if len(observed) else 0]
        empty = np.array([one.shape[1] == 0 for one in trimmed])
        if empty.any():
            raise ValueError(
                "X must have at least one value per series that is not missing, found "
                f"{listed(empty)} without any. Remove these series."
            )
        return replace(self, series=trimmed, n_padded=len(padded))


def listed(mask: np.ndarray) -> str:
    """Return how many series a mask holds, and the first."""
    rows = np.flatnonzero(mask)
    return f"{len(rows)} (the first is number {rows[0]}, counted from 0)"


def _label(labels: list, number: int) -> str | None:
    # Numbers from 0 are often made up.
    return None if labels == list(range(len(labels))) else repr(labels[number])
