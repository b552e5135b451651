"""A whole network as two compiled calls: forward, and backward through autograd.

What a call needs is worked out once per shape of batch and topology, as a :class:`_Plan`.
A step then takes one piece of memory, writes where the parameters are into the plan's
tables, and runs a team of threads over them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from dsn_sktime.kernels import passes
from dsn_sktime.kernels.layout import (
    Convolution,
    KernelIndex,
    TimeBatch,
    Weights,
    check_countable,
)
from dsn_sktime.kernels.loops import n_panels, n_tiles
from dsn_sktime.kernels.simd import LANES
from dsn_sktime.kernels.team import counters
from dsn_sktime.kernels.threads import run_team, team_size
from dsn_sktime.kernels.workspace import empty_matrix

__all__ = ["Engine", "Head", "Layer", "Norm"]

_N_PLANS = 8
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


class Layer(NamedTuple):
    """What one dynamic sparse layer consists of.

    Attributes
    ----------
    kernels : KernelIndex
        Topology of the sparse convolution.
    bottleneck : tensor of shape (C_in, C) or None
        Matrix of the 1x1 convolution; only the first layer may have none.
    values : tensor of shape (n_activated,)
    norm : Norm
    on_dense_gradient : callable or None
        Called in the backward pass with the gradient by every weight.
    """

    kernels: KernelIndex
    bottleneck: Tensor | None
    values: Tensor
    norm: Norm
    on_dense_gradient: Callable[[Tensor], None] | None = None

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
    def parameters(self) -> tuple[Tensor, ...]:
        """Tensors that have gradients."""
        return self.classes, self.norm.weight, self.norm.bias


class Engine:
    """Computes a network of sparse layers for batches of any shape.

    Parameters
    ----------
    kernel_size : int
    replicate : bool
        Whether convolutions continue a series by its last step, or surround it by zeros.
    eps, momentum : float
        BatchNorm's.
    """

    def __init__(self, kernel_size: int, replicate: bool, eps: float, momentum: float) -> None:
        self.kernel_size = kernel_size
        self.replicate = replicate
        self.eps = eps
        self.momentum = momentum
        self._shapes: dict[tuple[int, int], _Shape] = {}
        self._plans: dict[tuple, _Plan] = {}

    def train(
        self, x: Tensor, lengths: Tensor | None, layers: Sequence[Layer], head: Head
    ) -> Tensor:
        """Compute logits, BatchNorm with the batch's statistics; autograd follows.

        Parameters
        ----------
        x : float32 tensor of shape (B, m, L)
        lengths : int64 tensor of shape (B,) or None
        layers : sequence of Layer
        head : Head

        Returns
        -------
        tensor of shape (B, c)

        Raises
        ------
        ValueError
            If the batch is one time step, which has no variance.
        """
        shape = self._shape(x, lengths)
        if shape.batch.n_observed == 1:
            raise ValueError(
                "BatchNorm needs more than one time step to train, found one series of one "
                "step. Train on more series at a time."
            )
        parameters = [tensor for layer in layers for tensor in layer.parameters]
        return _Logits.apply(self, shape, x, layers, head, *parameters, *head.parameters)

    def predict(
        self, x: Tensor, lengths: Tensor | None, layers: Sequence[Layer], head: Head
    ) -> Tensor:
        """Compute logits, BatchNorm with its running statistics; no gradients.

        Arguments and result are those of :meth:`train`.
        """
        step = self._step(self._shape(x, lengths), x, layers, head, training=False)
        step.run(passes.predict, self.eps)
        return step.logits

    def _step(
        self, shape: _Shape, x: Tensor, layers: Sequence[Layer], head: Head, training: bool
    ) -> _Step:
        plan = self._plan(shape, layers, head, training)
        return _Step(plan, shape, x.detach().contiguous(), layers, head)

    def _shape(self, x: Tensor, lengths: Tensor | None) -> _Shape:
        n_series, n_variates, n_steps = x.shape
        settings = n_variates, self.kernel_size, self.replicate
        if lengths is not None:
            # Copied: the caller may use the tensor again before the backward pass.
            return _Shape(lengths.numpy().copy(), n_steps, *settings)
        key = n_series, n_steps
        # Not looked up twice: another thread may make room in between.
        shape = self._shapes.get(key)
        if shape is None:
            _make_room(self._shapes)
            shape = self._shapes[key] = _Shape(np.full(n_series, n_steps), n_steps, *settings)
        return shape

    def _plan(self, shape: _Shape, layers: Sequence[Layer], head: Head, training: bool) -> _Plan:
        keeps = tuple(layer.on_dense_gradient is not None for layer in layers)
        key = shape.batch.key, training, keeps
        kernels = [layer.kernels for layer in layers]
        plan = self._plans.get(key)
        # Another topology has another index.
        if plan is None or any(a is not b for a, b in zip(plan.kernels, kernels, strict=True)):
            _make_room(self._plans)
            plan = self._plans[key] = _Plan(shape.conv, shape.n_variates, layers, head, training)
        return plan


def _make_room(remembered: dict) -> None:
    """Forget all before it becomes too much: batches of a fit have few shapes."""
    if len(remembered) >= _N_PLANS:
        remembered.clear()


class _Shape:
    """Tables of a batch of series: which columns are observed, what stands in the halos."""

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
        self.record = self._record()

    def _tile_counts(self) -> np.ndarray:
        per_group, n_steps = n_tiles(self.batch.segment_steps), self.batch.segment_steps
        by_step = self.batch.observed.reshape(-1, n_steps, LANES).sum(2)
        starts = np.arange(per_group) * n_steps // per_group
        return np.add.reduceat(by_step, starts, axis=1).astype(np.float32).ravel()

    def _record(self) -> np.ndarray:
        """Return the tables' addresses and sizes."""
        batch, conv = self.batch, self.conv
        record = np.zeros(1, passes.BATCH)
        record["source"], record["columns"] = _address(self.source), _address(self.columns)
        record["lengths"] = _address(self.lengths)
        record["n_variates"], record["length"] = self.n_variates, batch.n_steps
        record["observed"] = _address(batch.observed)
        record["counts"] = _address(self.counts)
        record["fill_to"], record["fill_from"] = map(_address, self.fill)
        record["back_to"], record["back_from"] = map(_address, self.back)
        record["sums_from"] = _address(self.sums_from)
        record["last_columns"] = _address(self.last_columns)
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
        self,
        conv: Convolution,
        n_variates: int,
        layers: Sequence[Layer],
        head: Head,
        training: bool,
    ) -> None:
        self.kernels = [layer.kernels for layer in layers]
        self.conv = conv
        self.training = training
        self.layers, self.batch = np.zeros(len(layers), passes.LAYER), np.zeros(1, passes.BATCH)
        # 1 for each address in these that counts from the start of a step's memory.
        self._relative = np.zeros_like(self.layers), np.zeros_like(self.batch)
        self._memory = _Memory()
        self._shared: dict[str, int] = {}
        self._arrays: list[np.ndarray] = []
        for number, layer in enumerate(layers):
            self._add_topology(number, layer)
            self._place_matrices(number, layer)
        self._place_head(n_variates, head)
        parameters = [one for layer in layers for one in layer.parameters] + [*head.parameters]
        self.shapes = [None if one is None else one.shape for one in parameters]
        self.sizes = [0 if one is None else one.numel() for one in parameters]
        self.offsets = 4 * np.cumsum([0, *self.sizes[:-1]])
        of_layers = sum(kernels.shape[0] * kernels.shape[1] for kernels in self.kernels)
        self.cost = (of_layers + sum(one.n_activated for one in self.kernels)) * conv.n_columns

    def _keep(self, array: np.ndarray) -> int:
        self._arrays.append(array)
        return _address(array)

    def _add_topology(self, number: int, layer: Layer) -> None:
        record, conv, kernels = self.layers[number], self.conv, layer.kernels
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

    def _place_matrices(self, number: int, layer: Layer) -> None:
        conv, columns = self.conv, self.conv.output_pitch
        n_out, n_in, _ = layer.kernels.shape
        n_values = layer.kernels.n_activated
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
        of_dy = None if layer.on_dense_gradient else "dy"
        self._place(number, "dy", n_out, conv.gradient_pitch, shared=of_dy)
        if layer.bottleneck is not None:
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
        self.batch["scratch_size"] = self.scratch_size = passes.scratch_columns(widest)
        sizes = {
            "scores": (n_classes, columns),
            "score_gradient": (n_classes, columns),
            "pooled": (n_classes, self.conv.n_series, head.n_pool),
            "pooled_gradient": (n_classes, self.conv.n_series, head.n_pool),
            "head_moments": (n_classes, 2),
            "scratch": (0,),
        }
        for name, size in sizes.items():
            self.batch[name], self._relative[1][name] = self._memory.place(*size), 1

    def memory_size(self, n_threads: int) -> int:
        """Return the float32 that a step takes."""
        return self._memory.n + n_threads * self.scratch_size + _GAP

    def tables(self, shape: _Shape, base: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the tables of layers and batch for a step whose memory is at ``base``."""
        # As matrices of int64: numpy copies records field by field.
        layers = _numbers(self.layers) + base * _numbers(self._relative[0])
        batch = _numbers(self.batch) + base * _numbers(self._relative[1])
        batch += _numbers(shape.record)
        return layers.view(passes.LAYER)[:, 0], batch.view(passes.BATCH)[:, 0]


def _numbers(records: np.ndarray) -> np.ndarray:
    """Return records of int64 as a matrix, which shares their memory."""
    return records.view(np.int64).reshape(len(records), -1)


def _fields(dtype: np.dtype, first: str, last: str) -> slice:
    """Return the columns from one field to another, of those matrices."""
    names = dtype.names or ()
    return slice(names.index(first), names.index(last) + 1)


_PARAMETERS = _fields(passes.LAYER, "bottleneck", "running_variance")
_GRADIENTS = _fields(passes.LAYER, "bottleneck_gradient", "bias_gradient")
_HEAD_PARAMETERS = _fields(passes.BATCH, "classes", "running_variance")
_HEAD_GRADIENTS = _fields(passes.BATCH, "classes_gradient", "bias_gradient")


def _empty(*shape: int) -> Tensor:
    """Return what compiled code may write to, whatever torch's defaults are."""
    return torch.empty(shape, dtype=torch.float32, device="cpu")


def _pointers(tensors: Sequence[Tensor | None]) -> list[int]:
    for tensor in tensors:
        if tensor is not None and (tensor.dtype != torch.float32 or not tensor.is_contiguous()):
            raise TypeError(
                "all parameters and statistics of a network must be contiguous and of the type "
                f"of its input, torch.float32, found {tensor.dtype} with strides "
                f"{tensor.stride()}. Convert the whole network by network.to(dtype)."
            )
    return [0 if tensor is None else tensor.data_ptr() for tensor in tensors]


class _Step:
    """One pass through a plan: its memory, and where parameters and results are."""

    def __init__(
        self, plan: _Plan, shape: _Shape, x: Tensor, layers: Sequence[Layer], head: Head
    ) -> None:
        # Their tables are referred to by address.
        self.plan, self.shape = plan, shape
        self.n_threads = team_size(plan.cost)
        self.memory, self.x = empty_matrix(plan.memory_size(self.n_threads)), x
        self.layers, self.batch = plan.tables(shape, _address(self.memory))
        _numbers(self.layers)[:, _PARAMETERS] = [
            _pointers((layer.bottleneck, layer.values, *layer.norm)) for layer in layers
        ]
        _numbers(self.batch)[0, _HEAD_PARAMETERS] = _pointers((head.classes, *head.norm))
        self.logits = _empty(len(x), len(head.classes))
        self.batch["x"], self.batch["logits"] = _pointers((x, self.logits))

    def run(self, function: Callable, *numbers: float) -> None:
        """Call a compiled function on a team of threads."""
        layers, batch = self.layers, self.batch
        team = counters(passes.N_PHASES * len(layers) + 2)
        run_team(lambda thread: function(layers, batch, *numbers, team, thread), self.n_threads)

    def gradients(self, upstream: Tensor, eps: float) -> list[Tensor | None]:
        """Return the gradients by the parameters of layers and head."""
        plan = self.plan
        flat = _empty(sum(plan.sizes))
        addresses = np.where(np.array(plan.sizes) > 0, flat.data_ptr() + plan.offsets, 0)
        _numbers(self.layers)[:, _GRADIENTS] = addresses[:-3].reshape(len(self.layers), -1)
        _numbers(self.batch)[0, _HEAD_GRADIENTS] = addresses[-3:]
        self.batch["logit_gradient"] = upstream.data_ptr()
        self.run(passes.backward, eps)
        parts = flat.split(plan.sizes)
        return [
            None if shape is None else part.view(shape)
            for part, shape in zip(parts, plan.shapes, strict=True)
        ]

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


class _Logits(torch.autograd.Function):
    """Logits of the series by the parameters of layers and head."""

    @staticmethod
    def forward(
        ctx: Any,
        engine: Engine,
        shape: _Shape,
        x: Tensor,
        layers: Sequence[Layer],
        head: Head,
        *parameters: Tensor | None,
    ) -> Tensor:
        """Return logits of shape (B, c)."""
        step = engine._step(shape, x, layers, head, training=True)
        step.run(passes.forward, engine.eps, engine.momentum)
        logits = step.logits
        # What is saved this way, unlike what is on ctx, is let go after the backward pass.
        # The gradient by the first 1x1 convolution is read from the batch again.
        ctx.save_for_backward(torch.from_numpy(step.memory), step.x, *parameters)
        del step.memory, step.x, step.logits
        ctx.step, ctx.eps = step, engine.eps
        ctx.on_dense_gradient = [layer.on_dense_gradient for layer in layers]
        return logits

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients by the tensors that :meth:`forward` took."""
        memory, *_ = ctx.saved_tensors
        gradients = ctx.step.gradients(upstream.contiguous(), ctx.eps)
        for number, callback in enumerate(ctx.on_dense_gradient):
            if callback is not None:
                callback(ctx.step.dense_gradient(memory, number))
        return None, None, None, None, None, *gradients
