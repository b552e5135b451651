"""A whole network as two compiled calls: forward, and backward through autograd.

What a call needs is worked out once per shape of batch and topology, as a :class:`_Plan`.
A step then takes one piece of memory, writes where the parameters are into the plan's
tables, and runs a team of threads over them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from dsn_sktime.kernels import passes
from dsn_sktime.kernels.layout import Convolution, KernelIndex, TimeBatch, pitch
from dsn_sktime.kernels.loops import n_panels, n_tiles
from dsn_sktime.kernels.simd import LANES
from dsn_sktime.kernels.team import counters
from dsn_sktime.kernels.threads import run_team, team_size
from dsn_sktime.kernels.workspace import empty_matrix

__all__ = ["Engine", "Layer"]

_N_PLANS = 8
# float32 between what shares memory; tests put guards there.
_GAP = 0


@dataclass(frozen=True)
class Layer:
    """What one dynamic sparse layer consists of.

    Attributes
    ----------
    kernels : KernelIndex
        Topology of the sparse convolution.
    bottleneck : tensor of shape (C_in, C) or None
        Matrix of the 1x1 convolution; only the first layer may have none.
    values : tensor of shape (n_activated,)
    weight, bias : tensors of shape (C_out,)
        BatchNorm's. At prediction its scale is folded into the values: the weight is not
        read, and the bias is all that is left of it.
    on_dense_gradient : callable or None
        Called in the backward pass with the gradient by every weight.
    """

    kernels: KernelIndex
    bottleneck: Tensor | None
    values: Tensor
    weight: Tensor
    bias: Tensor
    on_dense_gradient: Callable[[Tensor], None] | None = None

    @property
    def parameters(self) -> tuple[Tensor | None, ...]:
        """Tensors that have gradients."""
        return self.bottleneck, self.values, self.weight, self.bias


class Engine:
    """Computes class scores of time steps with sparse layers, for any batch.

    Parameters
    ----------
    kernel_size : int
    replicate : bool
        Whether convolutions continue a series by its last step, or surround it by zeros.
    eps : float
        BatchNorm's.
    """

    def __init__(self, kernel_size: int, replicate: bool, eps: float) -> None:
        self.kernel_size = kernel_size
        self.replicate = replicate
        self.eps = eps
        self._shapes: dict[tuple[int, int], _Shape] = {}
        self._plans: dict[tuple, _Plan] = {}

    def train(
        self, x: Tensor, lengths: Tensor | None, layers: Sequence[Layer], classes: Tensor
    ) -> tuple[Tensor, Tensor, int]:
        """Score each time step, BatchNorm with the batch's statistics; autograd follows.

        Parameters
        ----------
        x : float32 tensor of shape (B, m, L)
        lengths : int64 tensor of shape (B,) or None
        layers : sequence of Layer
        classes : tensor of shape (c, C_out)
            Matrix of the head's 1x1 convolution.

        Returns
        -------
        scores : tensor of shape (B, c, L)
            0 at steps that are not observed.
        moments : tensor of shape (n_layers, 2, C_out)
            Mean and (biased) variance of each layer's channels before BatchNorm.
        n_observed : int
            Steps that the moments are taken over.
        """
        shape = self._shape(x, lengths)
        parameters = [tensor for layer in layers for tensor in layer.parameters]
        scores, moments = _Scores.apply(self, shape, x, layers, classes, *parameters)
        return shape.series(scores), moments, shape.batch.n_observed

    def predict(
        self, x: Tensor, lengths: Tensor | None, layers: Sequence[Layer], classes: Tensor
    ) -> Tensor:
        """Score each time step, BatchNorm folded into the layers; no gradients.

        Arguments and result are those of :meth:`train`, without the moments.
        """
        shape = self._shape(x, lengths)
        plan = self._plan(shape, layers, classes, training=False)
        step = _Step(plan, shape, layers, classes)
        step.forward(shape.time_batch(x), self.eps)
        return shape.series(step.scores)

    def _shape(self, x: Tensor, lengths: Tensor | None) -> _Shape:
        n_series, _, n_steps = x.shape
        if lengths is not None:
            return _Shape(lengths.numpy(), n_steps, self.kernel_size, self.replicate)
        key = n_series, n_steps
        if key not in self._shapes:
            _make_room(self._shapes)
            lengths_all = np.full(n_series, n_steps)
            self._shapes[key] = _Shape(lengths_all, n_steps, self.kernel_size, self.replicate)
        return self._shapes[key]

    def _plan(
        self, shape: _Shape, layers: Sequence[Layer], classes: Tensor, training: bool
    ) -> _Plan:
        keeps = tuple(layer.on_dense_gradient is not None for layer in layers)
        key = shape.batch.key, len(classes), training, keeps
        kernels = [layer.kernels for layer in layers]
        plan = self._plans.get(key)
        # Another topology has another index.
        if plan is None or any(a is not b for a, b in zip(plan.kernels, kernels, strict=True)):
            _make_room(self._plans)
            plan = self._plans[key] = _Plan(shape.conv, layers, len(classes), training)
        return plan


def _make_room(remembered: dict) -> None:
    """Forget all before it becomes too much: batches of a fit have few shapes."""
    if len(remembered) >= _N_PLANS:
        remembered.clear()


class _Shape:
    """Tables of a batch of series: which columns are observed, what stands in the halos."""

    def __init__(
        self, lengths: np.ndarray, n_steps: int, kernel_size: int, replicate: bool
    ) -> None:
        self.batch = batch = TimeBatch(lengths, n_steps, LANES, kernel_size)
        self.conv = conv = Convolution.of(batch, kernel_size, replicate)
        series, step = batch.cells()
        cell = series * n_steps + step
        self.source = torch.from_numpy(np.where(batch.is_observed(series, step), cell, -1))
        every = np.arange(batch.n_series)
        self.columns = torch.from_numpy(
            batch.columns(every[:, None], np.arange(n_steps)).ravel()
        )
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
        self.record = self._record()

    def _tile_counts(self) -> np.ndarray:
        per_group, n_steps = n_tiles(self.batch.segment_steps), self.batch.segment_steps
        by_step = self.batch.observed.reshape(-1, n_steps, LANES).sum(2)
        starts = np.arange(per_group) * n_steps // per_group
        return np.add.reduceat(by_step, starts, axis=1).astype(np.float32).ravel()

    def _record(self) -> np.ndarray:
        batch, conv = self.batch, self.conv
        record = np.zeros(1, passes.BATCH)
        record["observed"] = _address(batch.observed)
        record["counts"] = _address(self.counts)
        record["fill_to"], record["fill_from"] = map(_address, self.fill)
        record["back_to"], record["back_from"] = map(_address, self.back)
        record["sums_from"] = _address(self.sums_from)
        record["last_columns"] = _address(self.last_columns)
        record["n_fill"], record["n_back"] = len(self.fill[0]), len(self.back[0])
        record["n_groups"], record["n_steps"] = batch.n_groups, batch.segment_steps
        record["n_columns"], record["pitch"] = batch.n_columns, pitch(batch.n_columns)
        record["n_observed"], record["n_series"] = batch.n_observed, batch.n_series
        record["kernel_size"], record["n_before"] = conv.kernel_size, conv.n_before
        record["n_series_groups"] = conv.n_series_groups
        record["sums_column"], record["replicate"] = conv.sums_column, conv.replicate
        return record

    def time_batch(self, x: Tensor) -> np.ndarray:
        """Rearrange (B, m, L) to a time-batch matrix (m, pitch); 0 where not observed."""
        n_series, n_variates, n_steps = x.shape
        series = x.detach().transpose(0, 1).reshape(n_variates, n_series * n_steps)
        # A column of zeros at the end, which -1 stands for.
        series = torch.nn.functional.pad(series, (0, 1)).numpy()
        matrix = empty_matrix(n_variates, pitch(self.batch.n_columns))
        matrix[:, : self.batch.n_columns] = series[:, self.source.numpy()]
        return matrix

    def series(self, matrix: Tensor) -> Tensor:
        """Rearrange a time-batch matrix (C, pitch) to (B, C, L)."""
        series = matrix.index_select(1, self.columns)
        return series.view(len(matrix), self.batch.n_series, self.batch.n_steps).transpose(0, 1)


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


def _address(array: np.ndarray) -> int:
    return array.ctypes.data


class _Memory:
    """Lays out the matrices of a step in one piece of memory."""

    def __init__(self) -> None:
        self.n = _GAP

    def place(self, *shape: int) -> int:
        """Return where in memory a matrix is to stand, in bytes."""
        start = self.n
        # Whole cache lines, which torch aligns memory to.
        self.n += -(-int(np.prod(shape)) // 16) * 16 + _GAP
        return 4 * start


class _Plan:
    """Tables of a network for batches of one shape, and how its memory is laid out."""

    def __init__(
        self, conv: Convolution, layers: Sequence[Layer], n_classes: int, training: bool
    ) -> None:
        self.kernels = [layer.kernels for layer in layers]
        self.conv = conv
        self.training = training
        self.n_classes = n_classes
        self.layers = np.zeros(len(layers), passes.LAYER)
        self.in_memory = np.zeros(len(layers), passes.LAYER)
        self._memory = _Memory()
        self._shared: dict[str, int] = {}
        self._arrays: list[np.ndarray] = []
        for number, layer in enumerate(layers):
            self._add_topology(number, layer)
            self._place_matrices(number, layer)
        self.scratch = self._memory.place(0)
        widest = max(kernels.shape[0] for kernels in self.kernels)
        self.scratch_columns = passes.scratch_columns(widest)
        n_columns = conv.n_groups * conv.segment_steps * conv.lanes
        n_weights = sum(
            len(kernels.tap) + kernels.shape[0] * kernels.shape[1] for kernels in self.kernels
        )
        self.cost = n_weights * n_columns

    def _keep(self, array: np.ndarray) -> int:
        self._arrays.append(array)
        return _address(array)

    def _add_topology(self, number: int, layer: Layer) -> None:
        record, conv, kernels = self.layers[number], self.conv, layer.kernels
        record["n_out"], record["n_in"] = kernels.shape[:2]
        record["z_pitch"], record["dy_pitch"] = conv.input_pitch, conv.gradient_pitch
        weights = kernels.forward(LANES)
        record["offsets"] = self._keep(weights.offsets(conv.input_pitch, LANES))
        record["starts"], record["n_blocks"] = self._keep(weights.starts), weights.n_blocks
        if self.training:
            weights = kernels.backward(LANES)
            record["back_offsets"] = self._keep(weights.offsets(conv.gradient_pitch, LANES))
            record["back_order"] = self._keep(weights.order)
            record["back_starts"] = self._keep(weights.starts)
            record["back_blocks"] = weights.n_blocks

    def _place_matrices(self, number: int, layer: Layer) -> None:
        conv = self.conv
        n_out, n_in, _ = layer.kernels.shape
        columns = pitch(conv.n_groups * conv.segment_steps * LANES)
        if not self.training:
            # A layer's input is no longer read when the next layer's is written.
            self._place(number, "z", n_in, conv.input_pitch, shared=f"z{n_in}")
            self._place(number, "y", n_out, columns, shared="y")
            return
        self._place(number, "z", n_in, conv.input_pitch)
        self._place(number, "y", n_out, columns)
        of_dy = None if layer.on_dense_gradient else "dy"
        self._place(number, "dy", n_out, conv.gradient_pitch, shared=of_dy)
        if layer.bottleneck is not None:
            self._place(number, "dz", n_in, columns, shared=f"dz{n_in}")
            width = conv.n_series_groups * LANES
            self._place(number, "last_step", n_in, width, shared=f"last_step{n_in}")
            self._place(number, "ordered", len(layer.values), shared=f"{len(layer.values)}")
        for name in ("scale", "slope", "offset"):
            self._place(number, name, n_out)
        n_each = conv.n_groups * n_tiles(conv.segment_steps)
        self._place(number, "moments", n_each, n_out, 2, shared="moments")
        n_each = conv.n_groups * n_panels(conv.segment_steps)
        self._place(number, "panel_sums", n_each, n_out, 2, shared="panel_sums")

    def _place(self, number: int, name: str, *shape: int, shared: str | None = None) -> None:
        if shared is None:
            place = self._memory.place(*shape)
        else:
            if shared not in self._shared:
                self._shared[shared] = self._memory.place(*shape)
            place = self._shared[shared]
        self.layers[number][name] = place
        self.in_memory[number][name] = 1

    def memory_size(self, n_threads: int) -> int:
        """Return the float32 that a step takes."""
        return self._memory.n + n_threads * self.scratch_columns + _GAP


class _Step:
    """One pass through a plan: its memory, and where parameters and results are."""

    def __init__(
        self, plan: _Plan, shape: _Shape, layers: Sequence[Layer], classes: Tensor
    ) -> None:
        # Their tables are referred to by address.
        self.plan, self.shape = plan, shape
        self.n_threads = team_size(plan.cost)
        self.memory = empty_matrix(plan.memory_size(self.n_threads))
        self.layers, self.batch = plan.layers.copy(), shape.record.copy()
        self.batch["n_classes"], self.batch["training"] = plan.n_classes, plan.training
        self.batch["scratch_size"] = plan.scratch_columns
        base = _address(self.memory)
        n_fields = len(passes.LAYER)
        numbers = self.layers.view(np.int64).reshape(-1, n_fields)
        numbers += base * plan.in_memory.view(np.int64).reshape(-1, n_fields)
        self.batch["scratch"] = base + plan.scratch
        n_out = plan.kernels[0].shape[0]
        self.moments = torch.empty(len(layers), 2, n_out)
        if not plan.training:
            self._fold(n_out)
        for record, layer, moments in zip(self.layers, layers, self.moments, strict=True):
            self._set_parameters(record, layer, moments)
        self.batch["classes"] = classes.data_ptr()
        columns = int(self.batch["pitch"][0])
        self.scores = torch.from_numpy(empty_matrix(len(classes), columns))
        self.batch["scores"] = self.scores.data_ptr()

    def _fold(self, n_out: int) -> None:
        """Leave of BatchNorm the bias only."""
        self.moments[:, 0] = 0
        self.moments[:, 1] = 1
        self.layers["scale"] = self.moments[0, 1].data_ptr()

    def _set_parameters(self, record: np.ndarray, layer: Layer, moments: Tensor) -> None:
        if layer.bottleneck is not None:
            record["bottleneck"] = layer.bottleneck.data_ptr()
        record["values"] = layer.values.data_ptr()
        record["weight"], record["bias"] = layer.weight.data_ptr(), layer.bias.data_ptr()
        record["mean"], record["variance"] = moments[0].data_ptr(), moments[1].data_ptr()

    def forward(self, x: np.ndarray, eps: float) -> None:
        """Compute the scores."""
        self.batch["x"], self.batch["n_variates"] = _address(x), len(x)
        self._run(passes.forward, eps)

    def backward(
        self, gradient: Tensor, gradients: list[Tensor | None], of_classes: Tensor, eps: float
    ) -> None:
        """Write the gradients by the parameters, four of each layer."""
        self.batch["score_gradient"] = gradient.data_ptr()
        self.batch["classes_gradient"] = of_classes.data_ptr()
        names = ("bottleneck", "values", "weight", "bias")
        for number, record in enumerate(self.layers):
            for name, tensor in zip(names, gradients[4 * number :], strict=False):
                if tensor is not None:
                    record[f"{name}_gradient"] = tensor.data_ptr()
        self._run(passes.backward, eps)

    def _run(self, function: Callable, eps: float) -> None:
        layers, batch = self.layers, self.batch
        team = counters(passes.N_PHASES * len(layers) + 1)
        run_team(lambda thread: function(layers, batch, eps, team, thread), self.n_threads)

    def dense_gradient(self, memory: Tensor, number: int) -> Tensor:
        """Return the gradient by every weight of a layer: one matrix product per tap."""
        conv, kernels = self.plan.conv, self.plan.kernels[number]
        n_out, n_in, kernel_size = kernels.shape
        record, n_steps = self.layers[number], conv.segment_steps
        z = self._padded(memory, record["z"], n_in, conv.input_pitch)
        dy = self._padded(memory, record["dy"], n_out, conv.gradient_pitch)
        inside = dy[:, :, conv.n_after : conv.n_after + n_steps].reshape(n_out, -1)
        taps = [
            inside @ z[:, :, tap : tap + n_steps].reshape(n_in, -1).T for tap in range(kernel_size)
        ]
        return torch.stack(taps, dim=2)

    def _padded(self, memory: Tensor, address: int, n_rows: int, row_pitch: int) -> Tensor:
        start = (int(address) - memory.data_ptr()) // 4
        rows = memory[start : start + n_rows * row_pitch]
        columns = rows.view(n_rows, row_pitch)[:, : self.plan.conv.padded_columns]
        return columns.view(n_rows, self.plan.conv.n_groups, -1, LANES)


class _Scores(torch.autograd.Function):
    """Scores of the time steps by the layers' parameters and the head's matrix."""

    @staticmethod
    def forward(
        ctx: Any,
        engine: Engine,
        shape: _Shape,
        x: Tensor,
        layers: Sequence[Layer],
        classes: Tensor,
        *parameters: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Return scores (c, pitch) and moments (n_layers, 2, C_out)."""
        plan = engine._plan(shape, layers, classes, training=True)
        step = _Step(plan, shape, layers, classes)
        series = shape.time_batch(x)
        step.forward(series, engine.eps)
        scores, moments = step.scores, step.moments
        kept = map(torch.from_numpy, (step.memory, series))
        # What is saved this way, unlike what is on ctx, is let go after the backward pass.
        ctx.save_for_backward(classes, moments, *kept, *parameters)
        del step.memory, step.scores, step.moments
        ctx.step, ctx.eps = step, engine.eps
        ctx.on_dense_gradient = [layer.on_dense_gradient for layer in layers]
        ctx.mark_non_differentiable(moments)
        return scores, moments

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, _: Any) -> tuple[Tensor | None, ...]:
        """Return the gradients by the tensors that :meth:`forward` took."""
        classes, _, memory, _, *parameters = ctx.saved_tensors
        gradients = [None if one is None else torch.empty_like(one) for one in parameters]
        of_classes = torch.empty_like(classes)
        ctx.step.backward(gradient.contiguous(), gradients, of_classes, ctx.eps)
        for number, callback in enumerate(ctx.on_dense_gradient):
            if callback is not None:
                callback(ctx.step.dense_gradient(memory, number))
        return None, None, None, None, of_classes, *gradients
