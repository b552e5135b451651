"""What the engine works out once per network, topology and shape of a batch.

A step then takes memory, writes where the parameters are into the tables, and runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from torch import Tensor

from dsn_sktime.kernels.layout import (
    Convolution,
    KernelIndex,
    TimeBatch,
    Weights,
    check_countable,
)
from dsn_sktime.kernels.loops import n_panels, n_tiles
from dsn_sktime.kernels.parts import scratch_columns
from dsn_sktime.kernels.simd import LANES
from dsn_sktime.kernels.tables import BATCH, LAYER, numbers

__all__ = ["Head", "Kernels", "Layer", "Norm", "Plan", "Shape", "address"]

# float32 between what shares memory; tests put guards there.
_GAP = 0


class Norm(NamedTuple):
    """BatchNorm of C channels: tensors of shape (C,).

    Attributes
    ----------
    weight, bias : tensor
    running_mean, running_var : tensor
        Moved towards the batch's statistics by each training step.
    """

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor


class Kernels(Protocol):
    """What the engine asks of a sparse convolution."""

    @property
    def on_dense_gradient(self) -> Callable[[Tensor], None] | None:
        """To be called in the backward pass with the gradient by every weight."""

    def kernel_index(self) -> KernelIndex:
        """Return the present topology."""


class Layer(NamedTuple):
    """What one dynamic sparse layer consists of.

    Attributes
    ----------
    kernels : Kernels
        The sparse convolution.
    bottleneck : tensor of shape (C_in, C) or None
        Matrix of the 1x1 convolution; only the first layer may have none.
    values : tensor of shape (n_activated,)
    norm : Norm
    """

    kernels: Kernels
    bottleneck: Tensor | None
    values: Tensor
    norm: Norm

    @property
    def tensors(self) -> tuple[Tensor | None, ...]:
        """Parameters and running statistics, as the table of layers has them."""
        return self.bottleneck, self.values, *self.norm

    @property
    def parameters(self) -> tuple[Tensor | None, ...]:
        """Tensors that have gradients."""
        return self.bottleneck, self.values, self.norm.weight, self.norm.bias


class Head(NamedTuple):
    """What the class head consists of.

    Attributes
    ----------
    classes : tensor of shape (c, C_out)
        Matrix of the 1x1 convolution.
    norm : Norm
    n_pool : int
        Bins of the pooling over time.
    """

    classes: Tensor
    norm: Norm
    n_pool: int

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """Parameters and running statistics, as the table of a batch has them."""
        return self.classes, *self.norm

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        """Tensors that have gradients."""
        return self.classes, self.norm.weight, self.norm.bias


class Shape:
    """Tables of a batch of series: which columns are observed, what stands in the halos.

    Parameters
    ----------
    lengths : int64 array of shape (B,)
        Time steps of each series, which must not change.
    n_steps, n_variates : int
        Of the padded batch.
    kernel_size : int
    replicate : bool
        Whether convolutions continue a series by its last step, or surround it by zeros.

    Attributes
    ----------
    n_variates : int
    batch : TimeBatch
    conv : Convolution
    row : int64 array
        What the table of a batch says of them; 0 in its other fields.

    Raises
    ------
    ValueError
        If a length lies outside 1..n_steps, or columns are more than an int32 can count.
    """

    def __init__(
        self,
        lengths: np.ndarray,
        n_steps: int,
        n_variates: int,
        kernel_size: int,
        replicate: bool,
    ) -> None:
        check_countable(len(lengths) * n_variates * n_steps)
        self.n_variates = n_variates
        self.batch = batch = TimeBatch(lengths, n_steps, LANES, kernel_size)
        self.conv = conv = Convolution.of(batch, kernel_size, replicate)
        check_countable(conv.gradient_pitch)
        series, step = batch.cells()
        first = series * n_variates * n_steps + step
        self.source = np.where(batch.is_observed(series, step), first, -1).astype(np.int32)
        every = np.arange(batch.n_series)
        self.columns = batch.columns(every[:, None], np.arange(n_steps)).astype(np.int32)
        self.lengths = lengths
        self.fill = _halo(batch, conv.n_before, conv.n_after, replicate)
        self.back = _halo(batch, conv.n_after, conv.n_before, replicate=False)
        before_end = lengths[:, None] - 1 - np.arange(kernel_size)
        sums = batch.columns(every[:, None], before_end, conv.n_after, conv.n_before)
        self.sums_from = np.full((conv.n_series_groups * LANES, kernel_size), -1, dtype=np.int32)
        self.sums_from[: batch.n_series] = np.where(before_end >= 0, sums, -1)
        self.sums_from = np.ascontiguousarray(
            self.sums_from.reshape(-1, LANES, kernel_size).transpose(0, 2, 1)
        )
        self.last_columns = batch.columns(every, lengths - 1).astype(np.int32)
        self.counts = self._tile_counts()
        self.row = numbers(self._record())[0]

    def _tile_counts(self) -> np.ndarray:
        per_group, n_steps = n_tiles(self.batch.segment_steps), self.batch.segment_steps
        by_step = self.batch.observed.reshape(-1, n_steps, LANES).sum(2)
        starts = np.arange(per_group) * n_steps // per_group
        return np.add.reduceat(by_step, starts, axis=1).astype(np.float32).ravel()

    def _record(self) -> np.ndarray:
        """Return the tables' addresses and sizes."""
        batch, conv = self.batch, self.conv
        record = np.zeros(1, BATCH)
        record["source"], record["columns"] = address(self.source), address(self.columns)
        record["lengths"] = address(self.lengths)
        record["n_variates"], record["length"] = self.n_variates, batch.n_steps
        record["observed"] = address(batch.observed)
        record["counts"] = address(self.counts)
        record["fill_to"], record["fill_from"] = map(address, self.fill)
        record["back_to"], record["back_from"] = map(address, self.back)
        record["sums_from"] = address(self.sums_from)
        record["last_columns"] = address(self.last_columns)
        record["n_fill"], record["n_back"] = len(self.fill[0]), len(self.back[0])
        record["n_groups"], record["n_steps"] = batch.n_groups, batch.segment_steps
        record["n_columns"], record["pitch"] = batch.n_columns, conv.output_pitch
        record["n_observed"], record["n_series"] = batch.n_observed, batch.n_series
        record["kernel_size"], record["n_before"] = conv.kernel_size, conv.n_before
        record["n_series_groups"] = conv.n_series_groups
        record["sums_column"], record["replicate"] = conv.sums_column, conv.replicate
        return record


def _halo(
    batch: TimeBatch, n_before: int, n_after: int, replicate: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return the columns of a padded matrix that are filled, and those that they are from.

    That is -1 for zeros.
    """
    series, step = batch.cells(n_before, n_after)
    n_steps = batch.segment_steps
    inside = np.zeros((batch.n_groups, n_before + n_steps + n_after, batch.lanes), dtype=bool)
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


def address(array: np.ndarray) -> int:
    """Return where an array's memory starts."""
    return array.ctypes.data


class Memory:
    """Lays out the matrices of a step in one piece of memory."""

    def __init__(self) -> None:
        self.n = _GAP

    def place(self, *shape: int) -> int:
        """Return where in memory a matrix is to stand, in bytes."""
        start = self.n
        # Whole cache lines, which torch aligns memory to.
        self.n += -(-int(np.prod(shape)) // 16) * 16 + _GAP
        return 4 * start


class Plan:
    """Tables of a network for batches of one shape, and how its memory is laid out.

    Parameters
    ----------
    shape : Shape
        Of one of these batches.
    kernels : sequence of KernelIndex
        Topology of each layer.
    layers : sequence of Layer
    head : Head
    training : bool
        Whether a backward pass follows.
    keeps : sequence of bool
        Of each layer whether its dense gradient is wanted.

    Attributes
    ----------
    kernels : sequence of KernelIndex
    conv : Convolution
    layers, batch : arrays of LAYER and BATCH
        The tables, without what :meth:`tables` leaves out.
    cost : int
        Multiply-adds of a forward pass.
    scratch_size : int
        float32 that each thread has for itself.
    n_gradients : int
        Parameters, and so numbers in all gradients.
    sizes : list of int
        Of the gradient by each parameter; 0 where a layer has no 1x1 convolution.
    gradient_offsets : int64 array
        Bytes from the first gradient to each.
    """

    def __init__(
        self,
        shape: Shape,
        kernels: Sequence[KernelIndex],
        layers: Sequence[Layer],
        head: Head,
        training: bool,
        keeps: Sequence[bool],
    ) -> None:
        self.kernels, self.conv, self.training = kernels, shape.conv, training
        self.layers, self.batch = np.zeros(len(layers), LAYER), np.zeros(1, BATCH)
        # 1 for each address in these that counts from the start of a step's memory.
        self._relative = np.zeros_like(self.layers), np.zeros_like(self.batch)
        self._memory = Memory()
        self._shared: dict[str, int] = {}
        self._arrays: list[np.ndarray] = []
        for number, layer in enumerate(layers):
            self._add_topology(number)
            self._place_matrices(number, layer.bottleneck is not None, keeps[number])
        self._place_head(shape.n_variates, head)
        parameters = [one for layer in layers for one in layer.parameters] + [*head.parameters]
        self.sizes = [0 if one is None else one.numel() for one in parameters]
        self.n_gradients = sum(self.sizes)
        self.gradient_offsets = 4 * np.cumsum([0, *self.sizes[:-1]])
        of_layers = sum(one.shape[0] * one.shape[1] for one in kernels)
        self.cost = (of_layers + sum(one.n_activated for one in kernels)) * self.conv.n_columns

    def _keep(self, array: np.ndarray) -> int:
        self._arrays.append(array)
        return address(array)

    def _add_topology(self, number: int) -> None:
        record, conv, kernels = self.layers[number], self.conv, self.kernels[number]
        record["n_out"], record["n_in"] = kernels.shape[:2]
        record["z_pitch"], record["dy_pitch"] = conv.input_pitch, conv.gradient_pitch
        record["n_values"] = kernels.n_activated
        self._add_weights(record, "", kernels.forward(LANES), conv.input_pitch)
        if self.training:
            self._add_weights(record, "back_", kernels.backward(LANES), conv.gradient_pitch)
            record["weight_offsets"] = self._keep(kernels.offsets(conv.input_pitch, LANES))
            record["weight_starts"] = self._keep(kernels.starts())

    def _add_weights(self, record: np.void, kind: str, weights: Weights, row_pitch: int) -> None:
        record[f"{kind}order"] = self._keep(weights.order)
        record[f"{kind}offsets"] = self._keep(weights.offsets(row_pitch, LANES))
        record[f"{kind}counts"] = self._keep(weights.counts)
        record[f"{kind}blocks" if kind else "n_blocks"] = weights.n_blocks

    def _place_matrices(self, number: int, is_mixed: bool, keeps: bool) -> None:
        conv, columns = self.conv, self.conv.output_pitch
        n_out, n_in, _ = self.kernels[number].shape
        n_values = self.kernels[number].n_activated
        self._place(number, "ordered", n_values, shared=f"ordered{n_values}")
        self._place(number, "mean", n_out)
        self._place(number, "scale", n_out)
        if not self.training:
            # One layer's input is read while the next one's is written.
            shared = f"z{n_in} {number % 2}"
            self._place(number, "z", n_in, conv.input_pitch, shared=shared)
            return
        self._place(number, "z", n_in, conv.input_pitch)
        self._place(number, "y", n_out, columns)
        of_dy = None if keeps else "dy"
        self._place(number, "dy", n_out, conv.gradient_pitch, shared=of_dy)
        if is_mixed:
            self._place(number, "dz", n_in, columns, shared=f"dz{n_in}")
            width = conv.n_series_groups * LANES
            self._place(number, "last_step", n_in, width, shared=f"last_step{n_in}")
        for name in ("variance", "slope", "offset"):
            self._place(number, name, n_out)
        n_each = conv.n_groups * n_tiles(conv.segment_steps)
        self._place(number, "moments", n_each, n_out, 2, shared="moments")
        n_each = conv.n_groups * n_panels(conv.segment_steps)
        self._place(number, "panel_sums", n_each, n_out, 2, shared="panel_sums")

    def _place(self, number: int, name: str, *shape: int, shared: str | None = None) -> None:
        place = self._memory.place(*shape) if shared is None else self._shared.get(shared)
        if place is None:
            place = self._shared[str(shared)] = self._memory.place(*shape)
        self.layers[number][name], self._relative[0][number][name] = place, 1

    def _place_head(self, n_variates: int, head: Head) -> None:
        n_classes, columns = len(head.classes), self.conv.output_pitch
        widest = max(n_variates, *(kernels.shape[0] for kernels in self.kernels))
        self.batch["n_classes"], self.batch["n_pool"] = n_classes, head.n_pool
        self.batch["training"] = self.training
        self.batch["scratch_size"] = self.scratch_size = scratch_columns(widest)
        scores, pooled = (n_classes, columns), (n_classes, self.conv.n_series, head.n_pool)
        sizes = {"scores": scores, "pooled": pooled, "head_moments": (n_classes, 2)}
        if self.training:
            sizes |= {"score_gradient": scores, "pooled_gradient": pooled}
        # The last one: how much it is depends on the threads.
        sizes["scratch"] = (0,)
        for name, size in sizes.items():
            self.batch[name], self._relative[1][name] = self._memory.place(*size), 1

    def memory_size(self, n_threads: int) -> int:
        """Return the float32 that a step takes."""
        return self._memory.n + n_threads * self.scratch_size + _GAP

    def tables(self, base: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the tables of layers and batch for a step whose memory is at ``base``.

        What depends on the batch's lengths, and addresses of parameters, are still 0.
        """
        # As matrices of int64: numpy copies records field by field.
        layers = numbers(self.layers) + base * numbers(self._relative[0])
        batch = numbers(self.batch) + base * numbers(self._relative[1])
        return layers.view(LAYER)[:, 0], batch.view(BATCH)[:, 0]
