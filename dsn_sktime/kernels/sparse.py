"""The sparse engine's convolution on its own, on batches of shape (B, C, L).

Everything costs what the activated weights cost. Tensors are float32 on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from dsn_sktime.kernels import convolution, loops
from dsn_sktime.kernels.buffers import empty_matrix
from dsn_sktime.kernels.engine import Block, Engine, Output, dense_gradient
from dsn_sktime.kernels.layout import KernelIndex, TimeBatch, Weights
from dsn_sktime.kernels.threads import run_on_threads, threads_worth
from dsn_sktime.kernels.work_sharing import new_counters

__all__ = ["Block", "Engine", "Output", "SparseConvolution"]


class SparseConvolution(torch.autograd.Function):
    """The sparse convolution alone, on batches of shape (B, C, L)."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        values: Tensor,
        kernels: KernelIndex,
        on_dense_gradient: Callable[[Tensor], None] | None,
    ) -> Tensor:
        """Map a padded batch (B, C_in, L + k - 1) to (B, C_out, L)."""
        ctx.save_for_backward(x, values)
        ctx.kernels, ctx.on_dense_gradient = kernels, on_dense_gradient
        return _correlate(x, values, kernels.forward, kernels.shape[0], kernels.shape[2])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients w.r.t. the padded batch and w.r.t. the values."""
        x, values = ctx.saved_tensors
        kernels: KernelIndex = ctx.kernels
        grad_values = None
        if ctx.needs_input_grad[1]:
            grad_values = _values_gradient(x, gradient, kernels)
        if ctx.on_dense_gradient is not None:
            ctx.on_dense_gradient(dense_gradient(x.transpose(0, 1), gradient.transpose(0, 1)))
        grad_x = None
        if ctx.needs_input_grad[0]:
            n = kernels.shape[2] - 1
            weights = kernels.backward
            padded = torch.nn.functional.pad(gradient, (n, n))
            grad_x = _correlate(padded, values, weights, kernels.shape[1], kernels.shape[2])
        return grad_x, grad_values, None, None


def _correlate(x: Tensor, values: Tensor, weights: Weights, n_out: int, kernel_size: int) -> Tensor:
    """Sum steps ahead of each step times their values: (B, C, L + k - 1) to (B, n_out, L)."""
    batch = _batch_of(x, kernel_size)
    z = _matrix(x, batch, batch.n_after, batch.input_pitch)
    y = empty_matrix(n_out, batch.output_pitch)
    offsets, ordered = weights.offsets(z.shape[1]), values.detach().numpy()[weights.order]
    shape = batch.n_groups, batch.segment_steps, kernel_size
    counters, table = new_counters(1), loops.convolutions(loops.tile_sizes(batch.segment_steps))
    run_on_threads(
        lambda _: convolution.convolve(
            table, z, offsets, ordered, weights.counts, *shape, y, counters.ctypes.data
        ),
        threads_worth(len(ordered) * batch.n_columns),
    )
    every = np.arange(batch.n_series)[:, None]
    columns = batch.columns(every, np.arange(batch.n_steps)).ravel()
    rows = torch.from_numpy(y).index_select(1, torch.from_numpy(columns))
    return rows.view(n_out, batch.n_series, batch.n_steps).transpose(0, 1)


def _batch_of(x: Tensor, kernel_size: int) -> TimeBatch:
    """Return the layout of a padded batch, whose halo lies behind the steps."""
    n_steps = x.shape[2] - kernel_size + 1
    return TimeBatch(np.full(len(x), n_steps), n_steps, kernel_size, replicate=True)


def _matrix(x: Tensor, batch: TimeBatch, n_after: int, row_pitch: int) -> np.ndarray:
    """Rearrange (B, C, L + n_after) to a time-batch matrix whose halos are the steps after."""
    n_series, n_channels, n_steps = x.shape
    series, step = batch.cells(0, n_after)
    source = np.where((series >= 0) & (step < n_steps), series * n_steps + step, -1)
    rows = x.detach().transpose(0, 1).reshape(n_channels, n_series * n_steps)
    # A column of zeros at the end, which -1 stands for.
    padded = torch.nn.functional.pad(rows, (0, 1)).numpy()
    matrix = empty_matrix(n_channels, row_pitch)
    matrix[:, : len(source)] = padded[:, source]
    return matrix


def _values_gradient(x: Tensor, gradient: Tensor, kernels: KernelIndex) -> Tensor:
    batch = _batch_of(x, kernels.shape[2])
    z = _matrix(x, batch, batch.n_after, batch.input_pitch)
    dy = _matrix(gradient, batch, 0, batch.output_pitch)
    offsets, starts = kernels.offsets(z.shape[1]), kernels.starts()
    out = np.zeros(len(offsets), dtype=np.float32)
    shape = batch.n_groups, batch.segment_steps, batch.kernel_size
    counters = new_counters(1)
    run_on_threads(
        lambda _: convolution.values_gradient(
            z, offsets, starts, dy, *shape, out, counters.ctypes.data
        ),
        threads_worth(len(out) * batch.n_columns),
    )
    return torch.from_numpy(out)
