"""Where things stand in time-batch matrices: widths, columns, offsets of weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

__all__ = ["ALIGNMENT", "Convolution", "KernelIndex", "TimeBatch", "Weights"]

# Columns; a multiple of every vector's length, so that no loop needs a tail.
ALIGNMENT = 16

# Input that one block of channels may take in the first-level cache, in bytes, and the
# columns of a tile of it.
_CACHE_BYTES = 40_000
_TILE_COLUMNS = 256

_N_REMEMBERED = 8


def _aligned(n_columns: int) -> int:
    """Round up to whole cache lines, and to an odd number of them.

    Rows an even number of lines apart share the sets of the first-level cache: at a power
    of two they all fall into the same one.
    """
    return (-(-n_columns // ALIGNMENT) | 1) * ALIGNMENT


class TimeBatch:
    """Shape of a batch of series as time-batch matrices.

    Parameters
    ----------
    lengths : int64 array of shape (B,)
        Time steps of each series.
    n_steps : int
        Time steps L of the padded batch.

    Raises
    ------
    ValueError
        If a length lies outside 1..n_steps.
    """

    def __init__(self, lengths: np.ndarray, n_steps: int) -> None:
        if lengths.min() < 1 or lengths.max() > n_steps:
            raise ValueError(
                f"lengths must lie in 1..{n_steps}, the time steps of the batch, found "
                f"{lengths.min()}..{lengths.max()}."
            )
        self.lengths = lengths
        self.n_steps = n_steps
        self.n_series = len(lengths)
        self.n_filled = n_steps * self.n_series
        self.n_columns = _aligned(self.n_filled)
        self.n_observed = int(lengths.sum())

    @property
    def is_full(self) -> bool:
        """Whether all series have the batch's length."""
        return self.n_observed == self.n_filled

    @cached_property
    def observed(self) -> np.ndarray:
        """float32 array of shape (n_columns,): 1 where a column belongs to a series."""
        observed = np.zeros(self.n_columns, dtype=np.float32)
        steps = np.arange(self.n_steps)[:, None]
        observed[: self.n_filled] = (steps < self.lengths).ravel()
        return observed

    @cached_property
    def last_columns(self) -> np.ndarray:
        """Column of the last time step of each series."""
        return (self.lengths - 1) * self.n_series + np.arange(self.n_series)


@dataclass(frozen=True)
class Convolution:
    """Columns of a convolution's padded input, and of its output's gradient.

    The input is ``[left padding | L steps | right padding]``. The output's gradient is
    kept as ``[zeros | L steps | zeros]``, so that the gradient of the input is a
    convolution as well. Where the input was continued by its last step, suffix sums of
    the gradient follow, which the gradient of that step is computed from.

    Attributes
    ----------
    n_series, n_columns : int
        B, and the columns of an unpadded matrix.
    kernel_size : int
    n_left : int
        Time steps of padding on the left.
    has_sums : bool
        Whether suffix sums follow the output's gradient.
    """

    n_series: int
    n_columns: int
    kernel_size: int
    n_left: int = 0
    has_sums: bool = False

    @property
    def _reach(self) -> int:
        return (self.kernel_size - 1) * self.n_series

    @property
    def input_column(self) -> int:
        """First column of the steps in the padded input."""
        return self.n_left * self.n_series

    @property
    def input_width(self) -> int:
        """Columns of the padded input."""
        return _aligned(self._reach + self.n_columns)

    @property
    def gradient_column(self) -> int:
        """First column of the steps in the output's gradient."""
        return self._reach - self.input_column

    @property
    def sums_column(self) -> int:
        """First column of the suffix sums in the output's gradient."""
        return _aligned(self._reach + self.n_columns)

    @property
    def gradient_width(self) -> int:
        """Columns of the output's gradient."""
        n_sums = _aligned(self._reach + self.last_step_width) if self.has_sums else 0
        return _aligned(self.sums_column + n_sums)

    @property
    def last_step_width(self) -> int:
        """Columns of a matrix of the last time step alone."""
        return _aligned(self.n_series)

    def n_blocks(self, n_channels: int) -> int:
        """Return in how many blocks the tiles of channels fit into the first-level cache."""
        per_block = max(1, _CACHE_BYTES // (4 * (_TILE_COLUMNS + self._reach)))
        return -(-n_channels // per_block)


@dataclass(frozen=True)
class Weights:
    """A layer's weights as the kernels read them, by row of what they compute.

    Attributes
    ----------
    order : int64 array of shape (n,) or None
        Place of each weight in the layer's vector of values; None if it is its own.
    offsets : int32 array of shape (n,)
    starts : int64 array of shape (n_rows * n_blocks + 1,)
        First weight of each block of each row, and the end.
    n_blocks : int
        Blocks of the channels that are read.
    """

    order: np.ndarray | None
    offsets: np.ndarray
    starts: np.ndarray
    n_blocks: int

    def ordered(self, values: np.ndarray) -> np.ndarray:
        """Return the layer's values in the order of these weights."""
        return values if self.order is None else values[self.order]

    def cost(self, n_columns: int) -> np.ndarray:
        """Return the multiply-adds of the rows before each row, and of all."""
        return self.starts[:: self.n_blocks] * n_columns


class KernelIndex:
    """A layer's activated positions, and their offsets for batches of any shape.

    Parameters
    ----------
    index : int64 array of shape (n,)
        Sorted positions in the flattened kernels.
    shape : (C_out, C_in, k)
    """

    def __init__(self, index: np.ndarray, shape: tuple[int, int, int]) -> None:
        self.shape = shape
        self.out_channel, rest = np.divmod(index, shape[1] * shape[2])
        self.in_channel, self.tap = np.divmod(rest, shape[2])
        self._weights: dict[tuple[str, Convolution], Weights] = {}

    def forward(self, conv: Convolution) -> Weights:
        """Return the weights with offsets into the padded input, by output channel."""
        return self._remembered("forward", conv, self._forward)

    def backward(self, conv: Convolution) -> Weights:
        """Return the weights with offsets into the output's gradient, by input channel."""
        return self._remembered("backward", conv, self._backward)

    def _remembered(
        self, name: str, conv: Convolution, decode: Callable[[Convolution], Weights]
    ) -> Weights:
        weights = self._weights.get((name, conv))
        if weights is None:
            # Few shapes at a time: the usual batch, the last one of an epoch.
            if len(self._weights) >= _N_REMEMBERED:
                self._weights = {}
            weights = self._weights[name, conv] = decode(conv)
        return weights

    def _forward(self, conv: Convolution) -> Weights:
        offsets = self.in_channel * conv.input_width + self.tap * conv.n_series
        n_blocks = conv.n_blocks(self.shape[1])
        block = self.in_channel * n_blocks // self.shape[1]
        starts = _starts(self.out_channel * n_blocks + block, self.shape[0] * n_blocks)
        return Weights(None, _as_offsets(offsets), starts, n_blocks)

    def _backward(self, conv: Convolution) -> Weights:
        step = self.shape[2] - 1 - self.tap
        offsets = self.out_channel * conv.gradient_width + step * conv.n_series
        n_blocks = conv.n_blocks(self.shape[0])
        block = self.out_channel * n_blocks // self.shape[0]
        starts = _starts(self.in_channel * n_blocks + block, self.shape[1] * n_blocks)
        order = np.argsort(self.in_channel, kind="stable")
        return Weights(order, _as_offsets(offsets[order]), starts, n_blocks)


def _starts(key: np.ndarray, n_keys: int) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(np.bincount(key, minlength=n_keys))])


def _as_offsets(offsets: np.ndarray) -> np.ndarray:
    if offsets.max() >= 2**31 - 1:
        raise ValueError(
            "a batch is too large for the sparse engine: channels times padded time steps times "
            "series must stay below 2**31. Lower batch_size or shorten the series."
        )
    return offsets.astype(np.int32)
