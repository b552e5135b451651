"""A panel of series as the network reads it: float32, missing values 0, padded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from pandas.api.types import is_numeric_dtype
from torch import Tensor

__all__ = ["Panel", "check_real"]


@dataclass(frozen=True)
class Panel:
    """Series of equal or unequal length.

    Attributes
    ----------
    values : float32 tensor of shape (n, m, L)
        Series, the shorter ones padded with zeros on the right to the longest, L.
    lengths : int64 tensor of shape (n,) or None
        Time steps of each series; None if all have length L.
    """

    values: Tensor
    lengths: Tensor | None = None

    @classmethod
    def from_sktime(cls, X: np.ndarray | list[pd.DataFrame]) -> Panel:
        """Copy an sktime container of mtype numpy3D or df-list.

        Missing values become 0, as in the authors' code.

        Parameters
        ----------
        X : array of shape (n, m, L), or list of n frames of shape (length, m)
            No axis of the array may have size 0, and the list may not be empty.

        Raises
        ------
        TypeError
            If the values are not real numbers.
        ValueError
            If a frame has no time step or another number of variates than the first, or if
            there are infinite values.
        """
        if isinstance(X, np.ndarray):
            return cls(torch.from_numpy(_as_float32(X)))
        lengths = np.array([len(series) for series in X])
        if lengths.min() == 0:
            raise ValueError(
                f"X must have at least one time step per series, found {_where(lengths == 0)} "
                "without any. Remove these series."
            )
        n_variates = np.array([series.shape[1] for series in X])
        if (n_variates != n_variates[0]).any():
            raise ValueError(
                f"X must have the same number of variates in each series, {n_variates[0]} as in "
                f"the first, found {_where(n_variates != n_variates[0])} with another. Add or "
                "remove columns."
            )
        values = np.zeros((len(X), n_variates[0], lengths.max()), dtype=np.float32)
        for row, series in zip(values, X, strict=True):
            row[:, : len(series)] = _as_float32(_numbers(series).T)
        unequal = lengths.min() < lengths.max()
        return cls(torch.from_numpy(values), torch.from_numpy(lengths) if unequal else None)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def n_variates(self) -> int:
        """Variates m of each series."""
        return self.values.shape[1]

    def take(self, rows: Tensor | slice) -> Panel:
        """Return some series, padded to the longest among them."""
        if self.lengths is None:
            return Panel(self.values[rows])
        lengths = self.lengths[rows]
        return Panel(self.values[rows, :, : int(lengths.max())], lengths)

    def chunks(self, size: int) -> Iterator[Panel]:
        """Yield consecutive parts of at most ``size`` series."""
        for start in range(0, len(self), size):
            yield self.take(slice(start, start + size))

    def to(self, device: torch.device) -> Panel:
        """Return the panel on a device."""
        lengths = None if self.lengths is None else self.lengths.to(device)
        return Panel(self.values.to(device), lengths)


def _numbers(series: pd.DataFrame) -> np.ndarray:
    values = series.to_numpy()
    if values.dtype == object and all(map(is_numeric_dtype, series.dtypes)):
        return series.to_numpy(np.float64)  # Of bool and float columns pandas makes objects.
    return values


def check_real(values: np.ndarray) -> None:
    """Raise TypeError unless an array holds real numbers."""
    if values.dtype.kind in "biuf":
        return
    remedy = (
        "Of complex series pass the real and the imaginary part as two variates."
        if values.dtype.kind == "c"
        else "Convert it, for example with X.astype(float)."
    )
    raise TypeError(f"X must hold real numbers, found dtype {values.dtype}. {remedy}")


def _as_float32(values: np.ndarray) -> np.ndarray:
    """Copy real numbers to float32, missing values to 0."""
    check_real(values)
    with np.errstate(over="ignore"):
        copied = np.array(values, dtype=np.float32, order="C")
    infinite = np.isinf(copied)
    if infinite.any():
        raise ValueError(
            f"X must be finite in single precision, found {int(infinite.sum())} infinite "
            "values or values beyond 3.4e38. Replace them; missing values may be NaN."
        )
    # Not nan_to_num, which takes as much memory again.
    copied[np.isnan(copied)] = 0
    return copied


def _where(mask: np.ndarray) -> str:
    rows = np.flatnonzero(mask)
    return f"{len(rows)} (the first is number {rows[0]}, counted from 0)"
