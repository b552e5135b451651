"""The layers of a network as one compiled call: forward, backward through autograd, predict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from dsn_sktime.kernels.backward import backward
from dsn_sktime.kernels.buffers import empty_matrix
from dsn_sktime.kernels.forward import N_PHASES, forward, predict
from dsn_sktime.kernels.plan import (
    BATCH,
    LAYER,
    N_LAYER_FIELDS,
    BatchTables,
    Block,
    Output,
    Plan,
    fields,
)
from dsn_sktime.kernels.simd import LANES
from dsn_sktime.kernels.threads import run_on_threads, threads_worth
from dsn_sktime.kernels.work_sharing import new_counters

_N_PLANS = 8
# Calls of predictions that a plan keeps, and the float32 that each may hold: a new one costs a
# tenth of a small prediction.
_N_IDLE = 2
_IDLE_SIZE = 2**21

_GRADIENTS = fields(LAYER, "bottleneck_gradient", "bias_gradient")
_SETTINGS = fields(LAYER, "eps", "momentum")


class Engine:
    """Computes the features of a network for batches of any shape.

    Its plans are the only thing that it keeps. A plan holds for the batches of one shape and for
    the topology that it was made for: it is made anew when a layer has another KernelIndex. The
    oldest are dropped beyond a few. Tensors are looked at in every call.
    """

    def __init__(self) -> None:
        self._plans: dict[tuple, Plan] = {}

    def __reduce__(self) -> tuple:
        """Leave the plans out of copies and pickles: they hold addresses."""
        return Engine, ()

    def features(
        self,
        blocks: Sequence[Block],
        kernel_size: int,
        replicate: bool,
        x: Tensor,
        lengths: Tensor | None,
        output: Output,
    ) -> Tensor:
        """Compute the features of a batch.

        ``x``, ``lengths`` and the result are those of ``FeatureNetwork.features``, which ``output``
        describes; ``kernel_size`` is that of the largest convolution, ``replicate`` True if
        convolutions continue a series by its last time step, else by zeros. Gradients w.r.t. the
        blocks' parameters flow back from the bins of the last layer in training, and from nothing
        else. Tensors of another type or shape raise TypeError or ValueError.
        """
        training = blocks[0].training
        n_bins = output.pool if isinstance(output.pool, int) else 0
        # What differs between layers of one topology.
        kinds = tuple((one.bottleneck is None, one.on_dense_gradient is None) for one in blocks)
        key = x.shape, kernel_size, replicate, lengths is None, training, output, kinds
        plan = self._plans.get(key)
        tables = None if plan is None else plan.full_tables
        if tables is None:
            # Copied: the caller may use the tensor again before the backward pass.
            kept = None if lengths is None else lengths.numpy().copy()
            tables = BatchTables(kept, x.shape, kernel_size, replicate, n_bins)
        if plan is None or any(
            index is not block.topology for index, block in zip(plan.indices, blocks, strict=True)
        ):
            if plan is None and len(self._plans) >= _N_PLANS:
                # With a default: another thread may drop the same one.
                self._plans.pop(next(iter(list(self._plans)), key), None)
            plan = self._plans[key] = Plan(tables, blocks, output, training)
        if training and torch.is_grad_enabled():
            parameters = [tensor for block in blocks for tensor in block.tensors[:5]]
            return _Features.apply(plan, tables, blocks, x, *parameters)
        call = None if training else _idle_call(plan, tables)
        call = call or _Call(plan, tables)
        found = call.run_forward(blocks, x.detach().contiguous())
        is_kept = tables is plan.full_tables and len(plan.idle) < _N_IDLE
        if not training and is_kept and call.size <= _IDLE_SIZE:
            plan.idle.append(call)
        return found


def _idle_call(plan: Plan, tables: BatchTables) -> _Call | None:
    """Return a call of a prediction that is over and had the same tables, if there is one."""
    try:
        # Another thread may take the last one.
        call = plan.idle.pop()
    except IndexError:
        return None
    is_same = call.tables is tables and call.n_threads == threads_worth(plan.cost)
    return call if is_same else None


def _pointers(plan: Plan, blocks: Sequence[Block]) -> list[int]:
    """Return where the tensors of all blocks are.

    Compiled code trusts their types and shapes: they are checked here, in every call.
    """
    tensors = [tensor for block in blocks for tensor in block.tensors if tensor is not None]
    if (
        [*map(Tensor.size, tensors)] != plan.shapes
        or not all(map(Tensor.is_contiguous, tensors))
        or {(tensor.dtype, tensor.is_cpu) for tensor in tensors} != {(torch.float32, True)}
    ):
        _refuse(tensors, plan.shapes)
    return [*map(Tensor.data_ptr, tensors)]


def _refuse(tensors: Sequence[Tensor], shapes: Sequence[tuple[int, ...]]) -> NoReturn:
    """Raise for the first tensor that compiled code cannot read."""
    for tensor, shape in zip(tensors, shapes, strict=True):
        if tensor.shape != shape:
            raise ValueError(
                "all tensors of a layer must have the sizes of its convolution, found shape "
                f"{tuple(tensor.shape)} instead of {tuple(shape)}. Build a network of the sizes "
                "that it is to have."
            )
        if tensor.dtype != torch.float32 or not tensor.is_contiguous() or not tensor.is_cpu:
            raise TypeError(
                "all parameters and statistics of a network must be on the CPU, contiguous and "
                f"of the type of its input, torch.float32, found {tensor.dtype} on "
                f"{tensor.device} with strides {tensor.stride()}. Convert the whole network by "
                "network.to(device, dtype)."
            )
    raise AssertionError("no tensor differs")


class _Call:
    """Memory and records of a forward pass and the backward passes that follow it.

    Attributes
    ----------
    tables : BatchTables
    n_threads : int
    size : int
        float32 of the memory.
    memory : float32 array or None
        All matrices. Autograd keeps it after the forward pass, as a saved tensor, so that it is
        used again as soon as autograd lets it go.
    """

    def __init__(self, plan: Plan, tables: BatchTables) -> None:
        self._plan, self.tables = plan, tables
        self.n_threads = threads_worth(plan.cost)
        self.size = plan.memory_size + self.n_threads * plan.scratch_size
        self.memory: np.ndarray | None = empty_matrix(self.size)
        self._pointers: list[int] = []
        self._base = self.memory.ctypes.data
        numbers = plan.numbers + self._base * plan.relative
        n = len(plan.layers) * N_LAYER_FIELDS
        numbers[n:] += tables.row
        self._layers, self._batch = numbers[:n].view(LAYER), numbers[n:].view(BATCH)
        self._numbers = numbers[:n].reshape(-1, N_LAYER_FIELDS)

    def run_forward(self, blocks: Sequence[Block], x: Tensor) -> Tensor:
        """Return the features; ``x`` must live until the last pass."""
        plan, batch, memory = self._plan, self._batch, self.memory
        assert memory is not None, "a forward pass comes first"
        pointers = _pointers(plan, blocks)
        if pointers != self._pointers:
            self._numbers[plan.tensor_places] = self._pointers = pointers
        settings = [(block.eps, block.momentum) for block in blocks]
        self._numbers[:, _SETTINGS].view(np.float64)[...] = settings
        features = torch.from_numpy(empty_matrix(*plan.feature_shape))
        batch["x"], batch["features"] = x.data_ptr(), features.data_ptr()
        self._run(forward if plan.training else predict)
        if plan.n_pooled == 0:
            return self._maps(memory)
        return plan.series_features(features, self.tables.batch.lengths)

    def run_backward(
        self, memory: Tensor, features_gradient: Tensor, blocks: Sequence[Block]
    ) -> list[Tensor | None]:
        """Return the gradients w.r.t. the parameters of all blocks, as vectors."""
        sizes = self._plan.gradient_sizes
        flat = torch.from_numpy(empty_matrix(sum(sizes)))
        self._numbers[:, _GRADIENTS] = flat.data_ptr() + self._plan.gradient_offsets
        upstream = self._plan.engine_gradient(features_gradient)
        self._batch["feature_gradient"] = upstream.data_ptr()
        self._run(backward)
        gradients = iter(flat.split(sizes))
        found: list[Tensor | None] = []
        for number, block in enumerate(blocks):
            for tensor in block.tensors[:4]:
                vector = next(gradients)
                found.append(None if tensor is None else vector.view(tensor.shape))
            # BatchNorm takes the mean off: a bias before it changes nothing.
            found.append(None if block.conv_bias is None else torch.zeros_like(block.conv_bias))
            if block.on_dense_gradient is not None:
                block.on_dense_gradient(self._dense_gradient(memory, number))
        return found

    def _run(self, function: Callable) -> None:
        layers, batch = self._layers, self._batch
        counters = new_counters(N_PHASES * len(layers) + 1)
        run_on_threads(
            lambda thread: function(layers, batch, counters.ctypes.data, thread), self.n_threads
        )

    def _maps(self, memory: np.ndarray) -> Tensor:
        """Return the activations of the layers that are asked for, (B, C, L)."""
        columns = self.tables.columns
        pitch = self._plan.time_batch.output_pitch
        rows = [
            memory[(start - self._base) // 4 :][: n * pitch].reshape(n, pitch)
            for start, n, wanted in self._layers[["map", "n_out", "feature_channel"]].tolist()
            if wanted
        ]
        found = np.concatenate([row[:, columns.ravel()] for row in rows])
        return torch.from_numpy(found.reshape(-1, *columns.shape)).transpose(0, 1)

    def _dense_gradient(self, memory: Tensor, number: int) -> Tensor:
        batch, record = self._plan.time_batch, self._layers[number]
        n_out, n_in, _ = self._plan.indices[number].shape
        z = self._padded(memory, record["z"], n_in, batch.input_pitch)
        dy = self._padded(memory, record["dy"], n_out, batch.gradient_pitch)
        return dense_gradient(z, dy[:, :, batch.n_after :][:, :, : batch.segment_steps])

    def _padded(self, memory: Tensor, start: int, n_rows: int, row_pitch: int) -> Tensor:
        """View a padded matrix as (n_rows, n_groups, time steps, LANES)."""
        batch, first = self._plan.time_batch, (int(start) - self._base) // 4
        rows = memory[first : first + n_rows * row_pitch].view(n_rows, row_pitch)
        return rows[:, : batch.padded_columns].view(n_rows, batch.n_groups, -1, LANES)


def dense_gradient(x: Tensor, gradient: Tensor) -> Tensor:
    """Return the gradient w.r.t. every weight of a convolution, of shape (C_out, C_in, k).

    One matrix product per tap, of the padded input and the gradient w.r.t. the output. Both have
    channels at axis 0 and time at axis 2.
    """
    n_steps, rows = gradient.shape[2], gradient.flatten(1)
    taps = x.shape[2] - n_steps + 1
    return torch.stack(
        [rows @ x[:, :, tap : tap + n_steps].flatten(1).T for tap in range(taps)], dim=2
    )


class _Features(torch.autograd.Function):
    """Bins of the last layer as a function of the blocks' parameters."""

    @staticmethod
    def forward(
        ctx: Any,
        plan: Plan,
        tables: BatchTables,
        blocks: Sequence[Block],
        x: Tensor,
        *parameters: Tensor | None,
    ) -> Tensor:
        """Return features of shape (B, C, n_bins)."""
        call, x = _Call(plan, tables), x.detach().contiguous()
        features = call.run_forward(blocks, x)
        memory, call.memory = torch.from_numpy(call.memory), None
        # Detached, a parameter keeps the memory that the call has the address of.
        kept = [None if one is None else one.detach() for one in parameters]
        ctx.save_for_backward(memory, x, *kept)
        ctx.call, ctx.blocks, ctx.address = call, blocks, memory.data_ptr()
        return features

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients w.r.t. the tensors that :meth:`forward` took."""
        memory = ctx.saved_tensors[0]
        if memory.data_ptr() != ctx.address:
            raise RuntimeError(
                "the sparse engine's backward pass needs the memory of its forward pass, found a "
                "copy of it. Train without checkpointing and without hooks on saved tensors."
            )
        return None, None, None, None, *ctx.call.run_backward(memory, gradient, ctx.blocks)
