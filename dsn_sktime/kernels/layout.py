"""Layout of time-batch matrices: series, segments, halos, offsets of weights.

A time-batch matrix has a row per channel. Its columns are vectors of the processor: the
same time step of as many series as a vector has *lanes*. A tap of a kernel is then a shift
by whole vectors, so each load is aligned, whatever the number of series.

Few series would leave lanes empty. They are cut into ``n_segments`` stretches of equal
length first, each of which has a lane of its own. Lanes beyond the last series, and steps
beyond the end of a series, are not *observed*: they hold what changes nothing.

The lanes are taken in *groups* of one vector. A matrix is, group after group, that group's
steps. In a padded matrix each group's steps stand between a *halo* of steps before and
after, which belong to the neighboring segments, or to the padding of the convolution.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dsn_sktime.kernels.simd import LANES, MAX_GAP

# float32 in a cache line, and lines in 4096 bytes: a way of the first-level cache.
_LINE = 16
_WAY = 64

# Input that one block of channels may take in the first-level cache, in bytes: most of the
# 32 KB that it has at least. And the steps of a tile, at most.
_CACHE_BYTES = 28_000
_TILE_STEPS = 16

# Work of a step of the halo, which is copied, beside a step that is convolved.
_HALO_COST = 0.06
# Shorter segments would leave too few sums under way at once.
_MIN_STEPS = 8
_MAX_SEGMENTS = 16


def pitch(n_columns: int, n_together: int) -> int:
    """Return the columns from one row of a matrix to the next: up to 63 cache lines more.

    The first-level cache finds a line by its address modulo 4096 bytes, and holds eight or
    twelve lines of each remainder. Where a few columns of many rows are in use at a time,
    those of one row are to continue those of the row before, modulo 4096. Rows a multiple of
    4096 bytes apart, or nearly, would throw each other out. ``n_together`` columns of each row
    are in use at a time.
    """
    n_lines, ahead = -(-n_columns // _LINE), -(-n_together // _LINE)
    return (n_lines + (ahead - n_lines) % _WAY) * _LINE


def _tile_columns(kernel_size: int) -> int:
    """Return the columns that a tile of the output is computed from."""
    return (_TILE_STEPS + kernel_size - 1) * LANES


class TimeBatch:
    """Shape of a batch of series as time-batch matrices, and of convolutions of it.

    A convolution reads a padded matrix. The gradient w.r.t. its output has halos too, so that the
    gradient w.r.t. its input is a convolution as well. Where the input was continued by its last
    step, suffix sums of the output's gradient follow in each row, which the gradient w.r.t. that
    step is computed from.

    Parameters
    ----------
    lengths : int64 array of shape (B,)
        Time steps of each series.
    n_steps : int
        Time steps L of the padded batch.
    kernel_size : int
    replicate : bool
        True if convolutions continue a series by its last time step, else by zeros.

    Attributes
    ----------
    n_segments : int
        Stretches that each series is cut into.
    segment_steps : int
        Time steps of a segment.
    n_groups : int
        Vectors that hold a time step of all segments.
    n_series_groups : int
        Vectors that hold one value for each series.
    n_columns : int
        ``n_groups * segment_steps * lanes``.
    n_observed : int
        Columns that belong to a series.
    n_before, n_after : int
        Steps of halo around each segment of the input; around each of the output's gradient it is
        the other way round.
    padded_columns : int
        Columns of a padded matrix.
    input_pitch, gradient_pitch, output_pitch : int
        Columns from one row to the next of the padded input, the output's gradient, the output.
    sums_column : int
        First column of the suffix sums in the output's gradient.
    """

    def __init__(
        self, lengths: np.ndarray, n_steps: int, kernel_size: int, replicate: bool
    ) -> None:
        self.lengths = lengths
        self.n_steps = n_steps
        self.n_series = len(lengths)
        self.n_segments = _best_segments(self.n_series, n_steps, kernel_size - 1)
        self.segment_steps = -(-n_steps // self.n_segments)
        self.n_groups = -(-self.n_series * self.n_segments // LANES)
        self.n_columns = self.n_groups * self.segment_steps * LANES
        self.n_observed = int(lengths.sum())
        self.kernel_size = kernel_size
        self.replicate = replicate
        self.n_before = 0 if replicate else (kernel_size - 1) // 2
        self.n_after = kernel_size - 1 - self.n_before
        self.n_series_groups = -(-self.n_series // LANES)
        self.padded_columns = self.n_groups * (self.segment_steps + kernel_size - 1) * LANES
        self.input_pitch = pitch(self.padded_columns, _tile_columns(kernel_size))
        self.sums_column = -(-self.padded_columns // _LINE) * _LINE
        n_sums = self.n_series_groups * kernel_size * LANES if replicate else 0
        self.gradient_pitch = pitch(self.sums_column + n_sums, _tile_columns(kernel_size))
        self.output_pitch = pitch(self.n_columns, _TILE_STEPS * LANES)

    def cells(self, n_before: int = 0, n_after: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Return series and time step that each column of a padded matrix stands for, int64.

        The series is -1 where a lane is empty. The step may lie outside the series.
        """
        lane = np.arange(self.n_groups * LANES).reshape(self.n_groups, 1, LANES)
        step = np.arange(-n_before, self.segment_steps + n_after)[:, None]
        series, segment = np.divmod(lane, self.n_segments)
        series = np.where(series < self.n_series, series, -1)
        step = segment * self.segment_steps + step
        shape = np.broadcast_shapes(series.shape, step.shape)
        return np.broadcast_to(series, shape).ravel(), step.ravel()

    def columns(
        self, series: np.ndarray, step: np.ndarray, n_before: int = 0, n_after: int = 0
    ) -> np.ndarray:
        """Return the column, outside the halos, of steps that lie in their series."""
        lane = series * self.n_segments + step // self.segment_steps
        in_group = n_before + step % self.segment_steps
        per_group = n_before + self.segment_steps + n_after
        return (lane // LANES * per_group + in_group) * LANES + lane % LANES

    def is_observed(self, series: np.ndarray, step: np.ndarray) -> np.ndarray:
        """Return True where a cell belongs to a series."""
        return (series >= 0) & (step >= 0) & (step < self.lengths[series])


def _best_segments(n_series: int, n_steps: int, halo: int) -> int:
    """Return how many segments per series give the least work."""

    def cost(n_segments: int) -> float:
        n_groups = -(-n_series * n_segments // LANES)
        n_steps_each = max(-(-n_steps // n_segments), _MIN_STEPS)
        return n_groups * (n_steps_each + _HALO_COST * halo)

    return min(range(1, min(n_steps, _MAX_SEGMENTS) + 1), key=cost)


@dataclass(frozen=True)
class Weights:
    """A layer's weights in the order in which a convolution takes them.

    Two weights of the same channel and row whose steps are not far apart are a *pair*: most
    of what the one is multiplied with, the other is too, and is loaded once. A pair, or a
    weight without partner, is a *read*. Reads are sorted by block of channels, by row of
    what is computed, and by gap, which is 0 for a single weight. All arrays are int32.
    """

    # Place of each weight in the layer's vector of values; a pair's second weight, which is
    # further ahead, follows its first.
    order: np.ndarray
    # Of each read: row that is read, and how many steps ahead; of a pair its first weight's.
    channel: np.ndarray
    step: np.ndarray
    # Reads of each block, row and gap: (n_blocks, n_rows, MAX_GAP + 1).
    counts: np.ndarray

    @property
    def n_blocks(self) -> int:
        """Blocks of the channels that are read, whose tiles fit into the first-level cache."""
        return len(self.counts)

    def offsets(self, row_pitch: int) -> np.ndarray:
        """Return the offset of each read from the start of its tile, in float32 elements: int32."""
        return _offsets(self.channel, self.step, row_pitch)


class KernelIndex:
    """A layer's activated positions, and how the kernels read them.

    ``index`` holds the sorted positions in the flattened kernels of ``shape`` (C_out, C_in, k).
    """

    def __init__(self, index: np.ndarray, shape: tuple[int, int, int]) -> None:
        check_countable(math.prod(shape))
        self.shape = shape
        # A copy: the layer's index changes in place.
        self._index = index.astype(np.int32)
        self._weights: dict[bool, Weights] = {}

    @property
    def n_activated(self) -> int:
        """Number of activated positions."""
        return len(self._index)

    @property
    def forward(self) -> Weights:
        """Weights that compute output channels from the padded input."""
        return self._sorted(is_backward=False)

    @property
    def backward(self) -> Weights:
        """Weights that compute input channels from the output's gradient."""
        return self._sorted(is_backward=True)

    def _sorted(self, is_backward: bool) -> Weights:
        # Not functools.cached_property: that of Python 3.11 takes a lock, which a process that
        # is forked meanwhile would find taken forever.
        if is_backward not in self._weights:
            self._weights[is_backward] = self._sort(is_backward)
        return self._weights[is_backward]

    def widened(self, kernel_size: int) -> KernelIndex:
        """Return the same kernels among ``kernel_size`` taps, centered as padding by zeros does."""
        n_out, n_in, own = self.shape
        if own == kernel_size:
            return self
        out_channel, in_channel, tap = self._decode()
        tap = tap + (kernel_size - 1) // 2 - (own - 1) // 2
        index = (out_channel.astype(np.int64) * n_in + in_channel) * kernel_size + tap
        return KernelIndex(index, (n_out, n_in, kernel_size))

    def starts(self) -> np.ndarray:
        """Return the first weight of each output channel, and the end, int64."""
        per_channel = self.shape[1] * self.shape[2]
        return np.searchsorted(self._index, np.arange(self.shape[0] + 1) * per_channel)

    def offsets(self, row_pitch: int) -> np.ndarray:
        """Return what each weight reads of the padded input, as :meth:`Weights.offsets`."""
        _, in_channel, tap = self._decode()
        return _offsets(in_channel, tap, row_pitch)

    def _decode(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return output channel, input channel and tap of each weight."""
        out_channel, rest = np.divmod(self._index, self.shape[1] * self.shape[2])
        in_channel, tap = np.divmod(rest, self.shape[2])
        return out_channel, in_channel, tap

    def _sort(self, is_backward: bool) -> Weights:
        n_rows, n_read, kernel_size = self.shape
        row, channel, step = self._decode()
        order = np.arange(len(row))
        if is_backward:
            n_rows, n_read = n_read, n_rows
            # From the end, so that steps ascend: they count from the last tap.
            order = order[::-1][_argsort(channel[::-1], n_rows)]
            row, channel, step = channel[order], row[order], kernel_size - 1 - step[order]
        first, gap = _reads(row, channel, step)
        row, channel, step = row[first], channel[first], step[first]
        n_blocks = _n_blocks(n_read, kernel_size)
        block = channel.astype(np.int64) * n_blocks // n_read
        key = (block * n_rows + row) * (MAX_GAP + 1) + gap
        n_keys = n_blocks * n_rows * (MAX_GAP + 1)
        by_key = _argsort(key, n_keys)
        counts = np.bincount(key, minlength=n_keys)
        weights = _with_partners(first[by_key], gap[by_key] > 0)
        return Weights(
            order[weights].astype(np.int32),
            channel[by_key].astype(np.int32),
            step[by_key].astype(np.int32),
            counts.astype(np.int32).reshape(n_blocks, n_rows, MAX_GAP + 1),
        )


def _argsort(keys: np.ndarray, n_keys: int) -> np.ndarray:
    """Sort stably; numpy is many times faster where 16 bits do."""
    return np.argsort(keys.astype(np.uint16) if n_keys <= 2**16 else keys, kind="stable")


def _offsets(channel: np.ndarray, step: np.ndarray, row_pitch: int) -> np.ndarray:
    offsets = channel.astype(np.int64) * row_pitch + step.astype(np.int64) * LANES
    check_countable(int(offsets.max()))
    return offsets.astype(np.int32)


def check_countable(largest: int) -> None:
    """Raise ValueError unless an int32 can count to the largest place in an array."""
    if largest >= 2**31 - 1:
        raise ValueError(
            "a batch is too large for the sparse engine: channels times padded time steps "
            "times series, and the weights of dense kernels, must stay below 2**31. Lower "
            "batch_size or shorten the series."
        )


def _n_blocks(n_read: int, kernel_size: int) -> int:
    tile = 4 * _tile_columns(kernel_size)
    return -(-n_read // max(1, _CACHE_BYTES // tile))


def _reads(row: np.ndarray, channel: np.ndarray, step: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first weight of each read, and the steps to its partner, 0 if it has none.

    Weights of the same row and channel must be neighbors, their steps ascending.
    """
    gap = step[1:] - step[:-1]
    is_near = (gap <= MAX_GAP) & (row[1:] == row[:-1]) & (channel[1:] == channel[:-1])
    # Neighbors that are near make runs; within each, every second weight is a first one.
    starts = np.flatnonzero(np.concatenate([[True], ~is_near]))
    in_run = np.arange(len(step)) - np.repeat(starts, np.diff(starts, append=len(step)))
    first = np.flatnonzero(in_run % 2 == 0)
    return first, np.append(gap * is_near, 0)[first]


def _with_partners(first: np.ndarray, has_partner: np.ndarray) -> np.ndarray:
    """Return the weights of the reads: each first one, followed by its partner."""
    n_weights = 1 + has_partner
    is_partner = np.ones(n_weights.sum(), dtype=np.int64)
    is_partner[np.cumsum(n_weights) - n_weights] = 0
    return np.repeat(first, n_weights) + is_partner
