"""Memory layout and tables of the compiled passes, per network, topology and shape of batch.

The passes take one record per layer and one for the batch, whose fields are addresses and
numbers: numba would compile functions of arrays anew for every number of layers, and functions
of a named tuple of arrays take seven times as long to compile.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from dsn_sktime.kernels import loops
from dsn_sktime.kernels.layout import KernelIndex, TimeBatch, Weights, check_countable
from dsn_sktime.kernels.loops import scratch_columns
from dsn_sktime.kernels.simd import LANES

# Not compiled: Python calls them here.
_n_tiles, _n_strips = loops.n_tiles.py_func, loops.n_strips.py_func

# Addresses unless said otherwise.
_LAYER_FIELDS = (
    # In the call's memory. Matrices: padded input (n_in, z_pitch), the convolution's output
    # (n_out, pitch), its gradient (n_out, dy_pitch), gradient w.r.t. the input before padding
    # (n_in, pitch), activations where they are pooled or returned (n_out, pitch).
    *["z", "y", "dy", "dz", "map"],
    # Vectors of n_out: BatchNorm as (y - mean) * scale + bias; its gradient's coefficients.
    *["mean", "variance", "scale", "slope", "offset"],
    # Per tile (n_tiles, n_out, 2), per strip (n_strips, n_out, 2); values in the convolution's
    # order; gradient w.r.t. the last time step of each series (n_in, vectors of series);
    # statistics of tiles (n_out, n_tiles, 3, LANES).
    *["moments", "strip_sums", "ordered", "last_step", "tile_statistics"],
    # Parameters, running statistics, gradients w.r.t. the parameters. 0 for no 1x1 convolution
    # and no bias.
    *["bottleneck", "values", "weight", "bias", "conv_bias", "running_mean", "running_variance"],
    *["bottleneck_gradient", "values_gradient", "weight_gradient", "bias_gradient"],
    # Topology: for the convolutions forward and backward, and by weight.
    *["order", "offsets", "counts", "back_order", "back_offsets", "back_counts"],
    *["weight_offsets", "weight_starts"],
    # Numbers. 1 + the first channel of the layer's features, 0 if they are not wanted.
    *["n_blocks", "back_blocks", "n_values", "n_in", "n_out"],
    *["z_pitch", "dy_pitch", "feature_channel"],
)

_BATCH_FIELDS = (
    # Memory of each thread, in the call's memory. Series (n_series, n_variates, length);
    # features (n_features, n_pooled, feature_pitch) and their gradient.
    *["scratch", "x", "features", "feature_gradient"],
    # Per column: 1 if observed else 0; element of the first variate. Per tile: columns observed.
    *["observed", "source", "counts"],
    # Per time step of each series: its column, and its column in the output's gradient.
    *["columns", "gradient_columns"],
    # Halos of the padded input and of the output's gradient, int32 columns.
    *["fill_to", "fill_from", "back_to", "back_from"],
    # Columns of the time steps before a series' end, and of its last one.
    *["sums_from", "last_columns"],
    # From loops.convolutions.
    *["convolutions"],
    # First time step and end of each bin, of all lanes or of each series, and what it takes of
    # each time step, float32.
    *["bin_starts", "bin_stops", "bin_shares"],
    # A float32 1.
    *["one"],
    # Numbers.
    *["output", "n_pooled", "feature_pitch", "scratch_size", "n_variates"],
    *["n_fill", "n_back", "n_groups", "n_steps", "length", "pitch", "n_columns"],
    *["n_observed", "kernel_size", "n_before", "n_series", "n_series_groups"],
    *["sums_column", "replicate"],
)

LAYER = np.dtype([(name, np.int64) for name in _LAYER_FIELDS] + [("eps", "f8"), ("momentum", "f8")])
BATCH = np.dtype([(name, np.int64) for name in _BATCH_FIELDS])
N_LAYER_FIELDS = len(_LAYER_FIELDS) + 2


def fields(dtype: np.dtype, first: str, last: str) -> slice:
    """Return the fields ``first`` to ``last`` of records that are seen as numbers."""
    names = dtype.names or ()
    return slice(names.index(first), names.index(last) + 1)


class Block(NamedTuple):
    """One layer: [1x1 convolution,] sparse convolution, BatchNorm, ReLU."""

    topology: KernelIndex
    # Called in the backward pass with the gradient w.r.t. every weight of the dense kernels.
    on_dense_gradient: Callable[[Tensor], None] | None
    # Matrix of the 1x1 convolution, (n_in, C).
    bottleneck: Tensor | None
    values: Tensor
    # Of BatchNorm, but for the convolution's bias: (n_out,).
    weight: Tensor
    bias: Tensor
    conv_bias: Tensor | None
    running_mean: Tensor
    running_var: Tensor
    eps: float
    momentum: float
    # True if BatchNorm takes the batch's statistics, the same in all blocks.
    training: bool

    @property
    def tensors(self) -> tuple[Tensor | None, ...]:
        """Tensors in the order of the records' fields: five parameters come first."""
        return self[2:9]


_TENSORS = fields(LAYER, "bottleneck", "running_variance")


class Output(NamedTuple):
    """Features to compute: of the last layer or of all, pooled as by ``pool_features``."""

    every_layer: bool
    pool: int | str | None


# Values of the batch's field "output": bins whose borders are the same in all lanes, bins of
# each series, statistics, activations that are not pooled.
BINS_OF_LANES, BINS_OF_SERIES, STATISTICS, MAPS = range(4)


class BatchTables:
    """Tables of a batch: observed columns, what the halos hold, bins of the pooling over time.

    ``lengths``, which must not change, are None if no series is padded; ``shape`` is (B, m, L),
    ``n_bins`` 0 where nothing is pooled to bins.

    Attributes
    ----------
    batch : TimeBatch
    is_full : bool
        True if no series is padded.
    lanes_share_bins : bool
        True if bins have the same borders in all lanes.
    row : int64 array
        These fields of a BATCH record; the others are 0.
    """

    def __init__(
        self,
        lengths: np.ndarray | None,
        shape: Sequence[int],
        kernel_size: int,
        replicate: bool,
        n_bins: int,
    ) -> None:
        check_countable(math.prod(shape))
        n_series, n_variates, n_steps = shape
        self.is_full = lengths is None
        lengths = np.full(n_series, n_steps) if lengths is None else lengths
        self.batch = batch = TimeBatch(lengths, n_steps, kernel_size, replicate)
        check_countable(batch.gradient_pitch)
        series, step = batch.cells()
        first = series * n_variates * n_steps + step
        is_observed = batch.is_observed(series, step)
        self.observed = is_observed.astype(np.float32)
        self.source = np.where(is_observed, first, -1).astype(np.int32)
        every, steps = np.arange(batch.n_series)[:, None], np.arange(n_steps)
        self.columns = batch.columns(every, steps).astype(np.int32)
        halo = batch.n_after, batch.n_before
        self.gradient_columns = batch.columns(every, steps, *halo).astype(np.int32)
        self.fill = _halo(batch, batch.n_before, batch.n_after, replicate)
        self.back = _halo(batch, *halo, replicate=False)
        before_end = lengths[:, None] - 1 - np.arange(kernel_size)
        sums = batch.columns(every, before_end, *halo)
        self.sums_from = np.full((batch.n_series_groups * LANES, kernel_size), -1, dtype=np.int32)
        self.sums_from[: batch.n_series] = np.where(before_end >= 0, sums, -1)
        self.sums_from = np.ascontiguousarray(
            self.sums_from.reshape(-1, LANES, kernel_size).transpose(0, 2, 1)
        )
        self.last_columns = batch.columns(every[:, 0], lengths - 1).astype(np.int32)
        self.counts = self._tile_counts()
        is_whole = n_steps % batch.n_segments == 0 and n_bins % batch.n_segments == 0
        self.lanes_share_bins = self.is_full and is_whole
        if self.lanes_share_bins:
            self._add_bins(n_bins // batch.n_segments, batch.segment_steps, 0)
        else:
            # As indices of the columns of all series.
            self._add_bins(n_bins, lengths, np.arange(n_series) * n_steps)
        self.row = self._record(n_variates).view(np.int64)

    def _add_bins(self, n_bins: int, n_steps: np.ndarray | int, first: np.ndarray | int) -> None:
        """Cut time steps from ``first`` on into bins, which overlap where they are not whole."""
        bins = np.arange(n_bins)[:, None]
        self.bin_starts = (first + bins * n_steps // max(n_bins, 1)).astype(np.int32)
        self.bin_stops = (first - -(bins + 1) * n_steps // max(n_bins, 1)).astype(np.int32)
        self.bin_shares = (1 / (self.bin_stops - self.bin_starts)).astype(np.float32)

    def _tile_counts(self) -> np.ndarray:
        per_group, n_steps = _n_tiles(self.batch.segment_steps), self.batch.segment_steps
        by_step = self.observed.reshape(-1, n_steps, LANES).sum(2)
        starts = np.arange(per_group) * n_steps // per_group
        return np.add.reduceat(by_step, starts, axis=1).astype(np.float32).ravel()

    def _record(self, n_variates: int) -> np.ndarray:
        """Return the tables' addresses and sizes."""
        batch = self.batch
        record = np.zeros(1, BATCH)
        columns = "columns", "gradient_columns", "sums_from", "last_columns"
        bins = "bin_starts", "bin_stops", "bin_shares"
        for name in ("observed", "source", "counts", *columns, *bins):
            record[name] = getattr(self, name).ctypes.data
        for kind, halo in (("fill", self.fill), ("back", self.back)):
            record[f"{kind}_to"], record[f"{kind}_from"] = (one.ctypes.data for one in halo)
            record[f"n_{kind}"] = len(halo[0])
        sizes = "n_groups", "n_columns", "n_observed", "n_series", "n_series_groups"
        for name in (*sizes, "kernel_size", "n_before", "sums_column", "replicate"):
            record[name] = getattr(batch, name)
        record["n_variates"], record["length"] = n_variates, batch.n_steps
        record["n_steps"], record["pitch"] = batch.segment_steps, batch.output_pitch
        return record


def _halo(
    batch: TimeBatch, n_before: int, n_after: int, replicate: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return the columns of a padded matrix to fill, and the columns to copy, -1 for zeros."""
    series, step = batch.cells(n_before, n_after)
    n_steps = batch.segment_steps
    inside = np.zeros((batch.n_groups, n_before + n_steps + n_after, LANES), dtype=bool)
    inside[:, n_before : n_before + n_steps] = True
    observed = batch.is_observed(series, step)
    to = np.flatnonzero(~(inside.ravel() & observed))
    series, step, observed = series[to], step[to], observed[to]
    if replicate:
        last = batch.lengths[series] - 1
        step = np.minimum(step, last)
        observed = series >= 0
    source = np.where(observed, batch.columns(series, step, n_before, n_after), -1)
    return to.astype(np.int32), source.astype(np.int32)


class Plan:
    """Memory layout and records of a network for batches of one shape.

    Attributes
    ----------
    indices : list of KernelIndex
        Topology of each block, which the plan holds for.
    shapes : list of torch.Size
        Shape that each tensor of the blocks must have.
    idle : list
        Calls of predictions that are over.
    tensor_places : tuple of two int64 arrays
        Record and field of each tensor's address.
    layers, batch : arrays of LAYER and BATCH
        The records, without what a call fills in.
    numbers, relative : int64 arrays
        The same records as numbers; 1 for each address that counts from the memory's start.
    cost : int
        Multiply-adds of a forward pass, roughly.
    memory_size : int
        float32 of a call's memory, without ``scratch_size`` for each thread at its end.
    gradient_sizes : list of int
        Numbers in the gradient w.r.t. each parameter.
    gradient_offsets : int64 array of shape (n_layers, 4)
        Bytes from the first gradient to each.
    """

    def __init__(
        self, tables: BatchTables, blocks: Sequence[Block], output: Output, training: bool
    ) -> None:
        self.time_batch, self.training = tables.batch, training
        self.full_tables = tables if tables.is_full else None
        self.indices = [block.topology for block in blocks]
        self.idle: list[Any] = []
        self._widened = [index.widened(self.time_batch.kernel_size) for index in self.indices]
        n = len(blocks) * N_LAYER_FIELDS
        self.numbers = np.zeros(n + len(_BATCH_FIELDS), np.int64)
        self.relative = np.zeros_like(self.numbers)
        self.layers, self.batch = self.numbers[:n].view(LAYER), self.numbers[n:].view(BATCH)
        self._relative_layers = self.relative[:n].view(LAYER)
        self.memory_size = 0
        self._shared: dict[str, int] = {}
        self._arrays: list[np.ndarray] = []
        self._choose_pooling(output, tables)
        # The gradient w.r.t. the last step of each series is a tile of one vector.
        of_last_step = {1} if training and self.time_batch.replicate else set()
        sizes = loops.tile_sizes(self.time_batch.segment_steps) | of_last_step
        self.batch["convolutions"] = loops.convolutions(sizes)
        n_read = int(tables.row[fields(BATCH, "n_variates", "n_variates")][0])
        self.shapes: list[torch.Size] = []
        places: list[tuple[int, int]] = []
        widest = n_read
        for number, block in enumerate(blocks):
            n_out, n_in, _ = block.topology.shape
            vector = (n_out,)
            if block.bottleneck is None and n_in != n_read:
                raise ValueError(
                    f"layer {number} must read {n_read} channels, those before it, found a "
                    f"convolution of {n_in}. Build a network of the sizes that it is to have."
                )
            shapes = (n_in, n_read), (block.topology.n_activated,), *[vector] * 5
            for place, tensor in enumerate(block.tensors, start=_TENSORS.start):
                if tensor is not None:
                    self.shapes.append(torch.Size(shapes[place - _TENSORS.start]))
                    places.append((number, place))
            self._add_topology(number)
            needs_dz = number > 0 or block.bottleneck is not None
            self._place_matrices(number, needs_dz, block.on_dense_gradient is not None)
            if output.every_layer or number == len(blocks) - 1:
                self._place_features(number)
            n_read, widest = n_out, max(widest, n_out)
        self.tensor_places = tuple(np.array(places).T)
        self.feature_shape = self.n_features, self.n_pooled, self.feature_pitch
        self.batch["scratch_size"] = self.scratch_size = scratch_columns(widest)
        # At the end: its size depends on the number of threads.
        self.batch["scratch"] = 4 * self.memory_size
        self.relative[n:].view(BATCH)["scratch"] = 1
        self.gradient_sizes = [
            0 if tensor is None else tensor.numel()
            for block in blocks
            for tensor in block.tensors[:4]
        ]
        before = [0, *self.gradient_sizes[:-1]]
        self.gradient_offsets = 4 * np.cumsum(before).reshape(len(blocks), -1)
        n_bottleneck = sum(one.shape[0] * one.shape[1] for one in self.indices)
        n_weights = n_bottleneck + sum(one.n_activated for one in self.indices)
        self.cost = n_weights * self.time_batch.n_columns

    def _keep(self, array: np.ndarray) -> int:
        self._arrays.append(array)
        return array.ctypes.data

    def _add_topology(self, number: int) -> None:
        record, batch, kernels = self.layers[number], self.time_batch, self._widened[number]
        record["n_out"], record["n_in"] = kernels.shape[:2]
        record["z_pitch"], record["dy_pitch"] = batch.input_pitch, batch.gradient_pitch
        record["n_values"] = kernels.n_activated
        self._add_weights(record, "", kernels.forward, batch.input_pitch)
        if self.training:
            self._add_weights(record, "back_", kernels.backward, batch.gradient_pitch)
            record["weight_offsets"] = self._keep(kernels.offsets(batch.input_pitch))
            record["weight_starts"] = self._keep(kernels.starts())

    def _add_weights(self, record: np.void, kind: str, weights: Weights, row_pitch: int) -> None:
        record[f"{kind}order"] = self._keep(weights.order)
        record[f"{kind}offsets"] = self._keep(weights.offsets(row_pitch))
        record[f"{kind}counts"] = self._keep(weights.counts)
        record[f"{kind}blocks" if kind else "n_blocks"] = weights.n_blocks

    def _place_matrices(self, number: int, needs_dz: bool, keeps_dy: bool) -> None:
        batch, columns = self.time_batch, self.time_batch.output_pitch
        n_out, n_in, _ = self.indices[number].shape
        n_values = self.indices[number].n_activated
        self._place(number, "ordered", n_values, shared=f"ordered{n_values}")
        self._place(number, "mean", n_out)
        self._place(number, "scale", n_out)
        if not self.training:
            # One layer's input is read while the next one's is written.
            shared = f"z{n_in} {number % 2}"
            self._place(number, "z", n_in, batch.input_pitch, shared=shared)
            return
        self._place(number, "z", n_in, batch.input_pitch)
        self._place(number, "y", n_out, columns)
        shared_dy = None if keeps_dy else f"dy{n_out}"
        self._place(number, "dy", n_out, batch.gradient_pitch, shared=shared_dy)
        if needs_dz:
            self._place(number, "dz", n_in, columns, shared=f"dz{n_in}")
            width = batch.n_series_groups * LANES
            self._place(number, "last_step", n_in, width, shared=f"last_step{n_in}")
        for name in ("variance", "slope", "offset"):
            self._place(number, name, n_out)
        n_each = batch.n_groups * _n_tiles(batch.segment_steps)
        self._place(number, "moments", n_each, n_out, 2, shared=f"moments{n_out}")
        n_each = batch.n_groups * _n_strips(batch.segment_steps)
        self._place(number, "strip_sums", n_each, n_out, 2, shared=f"strip_sums{n_out}")

    def _place(self, number: int, name: str, *shape: int, shared: str | None = None) -> None:
        place = None if shared is None else self._shared.get(shared)
        if place is None:
            place = 4 * self.memory_size
            # Whole cache lines, which torch aligns memory to.
            self.memory_size += -(-int(np.prod(shape)) // 16) * 16
            if shared is not None:
                self._shared[shared] = place
        self.layers[number][name], self._relative_layers[number][name] = place, 1

    def _choose_pooling(self, output: Output, tables: BatchTables) -> None:
        batch = self.time_batch
        self.n_features, self.n_pooled = 0, 0
        self.feature_pitch, self._n_segments = batch.n_groups * LANES, batch.n_segments
        if output.pool is None:
            self.output = MAPS
        elif isinstance(output.pool, str):
            self.output, self.n_pooled = STATISTICS, 3
            self.batch["one"] = self._keep(np.ones(1, np.float32))
        elif tables.lanes_share_bins:
            self.output, self.n_pooled = BINS_OF_LANES, output.pool // batch.n_segments
        else:
            self.output, self.n_pooled = BINS_OF_SERIES, output.pool
            self.feature_pitch, self._n_segments = batch.n_series, 1
        self.batch["output"], self.batch["n_pooled"] = self.output, self.n_pooled
        self.batch["feature_pitch"] = self.feature_pitch

    def _by_series(self, features: Tensor) -> Tensor:
        """View features as (n_features, n_segments, n_pooled, B)."""
        n_segments, n_bins, pitch = self._n_segments, self.n_pooled, self.feature_pitch
        shape = self.n_features, n_segments, n_bins, self.time_batch.n_series
        return features.as_strided(shape, (n_bins * pitch, 1, pitch, n_segments))

    def series_features(self, features: Tensor, lengths: np.ndarray) -> Tensor:
        """Return the engine's features as (B, n_features, n)."""
        # Few operations of torch: together they take as long as a layer of a short series.
        segments = self._by_series(features)
        if self.output != STATISTICS:
            return segments.flatten(1, 2).permute(2, 0, 1)
        found = segments.sum(1)
        torch.amax(segments[:, :, 1], 1, out=found[:, 1])
        divisors = np.ones((3, len(lengths)), np.float32)
        divisors[::2] = lengths
        return (found / torch.from_numpy(divisors)).permute(2, 0, 1)

    def engine_gradient(self, gradient: Tensor) -> Tensor:
        """Return the gradient w.r.t. features (B, n_features, n) in the engine's order."""
        if self._n_segments == 1 and self.feature_pitch == len(gradient):
            return gradient.permute(1, 2, 0).contiguous()
        found = torch.zeros(self.feature_shape, dtype=torch.float32, device="cpu")
        segments = gradient.permute(1, 2, 0).unflatten(1, (self._n_segments, -1))
        self._by_series(found).copy_(segments)
        return found

    def _place_features(self, number: int) -> None:
        n_out = self.indices[number].shape[0]
        self.layers[number]["feature_channel"] = self.n_features + 1
        self.n_features += n_out
        if self.output == STATISTICS:
            n_tiles = self.time_batch.n_groups * _n_tiles(self.time_batch.segment_steps)
            name = "tile_statistics"
            self._place(number, name, n_out, n_tiles, 3, LANES, shared=f"{name}{n_out}")
        else:
            shared = None if self.output == MAPS else f"map{n_out}"
            self._place(number, "map", n_out, self.time_batch.output_pitch, shared=shared)
