"""A panel of series as the network reads it: float32, missing values 0, padded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dsn_sktime.panel.raw_panel import RawPanel
from dsn_sktime.panel.standardization import Standardization

# Largest magnitude that a network is given. BatchNorm sums squares over a batch: with a
# factor of 1e2 from the convolutions before it and 1e7 values of a channel, float32 (3.4e38)
# still holds the sum.
_MAX_VALUE = 1e12


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
    def from_raw(cls, raw: RawPanel, standardization: Standardization) -> Panel:
        """Copy series to float32, after standardization in float64.

        Missing values become 0, which is the mean of a standardized variate. Values that are
        too large for arithmetic in single precision raise ValueError.
        """
        lengths = raw.lengths
        values = np.zeros((len(raw), raw.n_variates, lengths.max()), dtype=np.float32)
        for rows, chunk in raw.chunks():
            standardization.apply(chunk)
            chunk[np.isnan(chunk)] = 0
            _check_magnitude(chunk, raw, rows.start)
            values[rows, :, : chunk.shape[2]] = chunk
        unequal = lengths.min() < lengths.max()
        return cls(torch.from_numpy(values), torch.from_numpy(lengths) if unequal else None)

    def __len__(self) -> int:
        return len(self.values)

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


def _check_magnitude(chunk: np.ndarray, raw: RawPanel, start: int) -> None:
    too_large = ~(np.abs(chunk) <= _MAX_VALUE)
    if not too_large.any():
        return
    row, variate, step = np.argwhere(too_large)[0]
    given, scaled = raw.series[start + row][variate, step], chunk[row, variate, step]
    after = "" if given == scaled else f", which is {scaled:g} on the scale of the training series"
    raise ValueError(
        f"X must have values that single precision can square and sum, up to {_MAX_VALUE:g}, found "
        f"{given:g} in {raw.place(start + row, variate)}{after}. Mark fill values as missing "
        "(NaN), or rescale the variate."
    )
