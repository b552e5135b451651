"""The sparse engine: convolutions and whole layers on time-batch matrices, with gradients.

Everything costs what the activated weights cost. Tensors are float32 on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from dsn_sktime.kernels import compiled, simd
from dsn_sktime.kernels.layout import (
    ALIGNMENT,
    Convolution,
    KernelIndex,
    TimeBatch,
    Weights,
)
from dsn_sktime.kernels.threads import for_rows
from dsn_sktime.kernels.workspace import empty_matrix

__all__ = [
    "Block",
    "SparseBlock",
    "SparseConvolution",
    "adam_step",
    "from_time_batch",
    "predict_block",
    "time_batch",
]

_NONE = np.zeros(0, dtype=np.float32)


def time_batch(x: Tensor, batch: TimeBatch) -> Tensor:
    """Rearrange (B, C, L) to a time-batch matrix (C, n_columns); 0 where not observed."""
    matrix = x.permute(1, 2, 0).reshape(x.shape[1], batch.n_filled)
    matrix = torch.nn.functional.pad(matrix, (0, batch.n_columns - batch.n_filled))
    if batch.is_full:
        return matrix
    return matrix.where(torch.from_numpy(batch.observed) > 0, 0)


def from_time_batch(matrix: Tensor, batch: TimeBatch) -> Tensor:
    """Rearrange a time-batch matrix (C, n_columns) to (B, C, L)."""
    steps = matrix[:, : batch.n_filled].reshape(len(matrix), batch.n_steps, batch.n_series)
    return steps.permute(2, 0, 1)


def _empty(n: int) -> np.ndarray:
    return np.empty(n, dtype=np.float32)


def _zeros(*shape: int) -> np.ndarray:
    array = empty_matrix(*shape)
    array[:] = 0
    return array


@dataclass(frozen=True)
class Block:
    """One dynamic sparse layer, ready for batches of one shape.

    Attributes
    ----------
    batch : TimeBatch
    kernels : KernelIndex
        Of the sparse convolution.
    replicate : bool
        Whether a series is continued by its last step, or surrounded by zeros.
    eps : float
        BatchNorm's.
    on_dense_gradient : callable or None
        Called in the backward pass with the gradient by every weight.
    """

    batch: TimeBatch
    kernels: KernelIndex
    replicate: bool
    eps: float
    on_dense_gradient: Callable[[Tensor], None] | None = None

    @cached_property
    def conv(self) -> Convolution:
        """Columns of the sparse convolution."""
        kernel_size = self.kernels.shape[2]
        n_left = 0 if self.replicate else (kernel_size - 1) // 2
        return Convolution(
            self.batch.n_series, self.batch.n_columns, kernel_size, n_left, self.replicate
        )

    def padded_input(self, a: Tensor, bottleneck: Tensor | None) -> np.ndarray:
        """Apply the 1x1 convolution, if there is one, and pad in time."""
        batch, column = self.batch, self.conv.input_column
        z = empty_matrix(self.kernels.shape[1], self.conv.input_width)
        steps = torch.from_numpy(z)[:, column : column + batch.n_columns]
        if bottleneck is None:
            steps.copy_(a)
        else:
            multiply, n_parts = _matrix_product(bottleneck, a, steps)
            cost = bottleneck.numel() * batch.n_columns // n_parts
            for_rows(multiply, np.arange(n_parts + 1) * cost)
        compiled.pad(z, column, batch.lengths, batch.n_steps, self.replicate)
        return z


def _matrix_product(
    left: Tensor, right: Tensor, out: Tensor
) -> tuple[Callable[[int, int], None], int]:
    """Return the work of ``out = left @ right``, by parts of the columns, and their number.

    The parts depend on the shapes alone, so that the result does not depend on threads.
    """
    # Other threads do not know that this one wants no gradients.
    left, right, out = left.detach(), right.detach(), out.detach()
    n_lines = right.shape[1] // ALIGNMENT
    n_parts = max(1, n_lines // 32)
    bounds = [n_lines * part // n_parts * ALIGNMENT for part in range(n_parts + 1)]

    def work(first: int, last: int) -> None:
        for begin, end in pairwise(bounds[first : last + 1]):
            torch.mm(left, right[:, begin:end], out=out[:, begin:end])

    return work, n_parts


def _convolution(
    x: np.ndarray,
    weights: Weights,
    values: np.ndarray,
    out: np.ndarray,
    n_columns: int,
    shift: np.ndarray = _NONE,
    observed: np.ndarray = _NONE,
) -> Callable[[int, int], None]:
    """Return the work of a convolution, by output row; the values are in its order."""
    flat = x.reshape(-1)

    def work(first: int, last: int) -> None:
        simd.convolve(
            flat,
            weights.offsets,
            values,
            weights.starts,
            weights.n_blocks,
            out,
            n_columns,
            shift,
            observed,
            first,
            last,
        )

    return work


class SparseBlock(torch.autograd.Function):
    """1x1 convolution, sparse convolution, BatchNorm with batch statistics and ReLU."""

    @staticmethod
    def forward(
        ctx: Any,
        a: Tensor,
        bottleneck: Tensor | None,
        values: Tensor,
        weight: Tensor,
        bias: Tensor,
        block: Block,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the layer's output (C_out, n_columns), and each channel's mean and variance."""
        batch, conv = block.batch, block.conv
        z = block.padded_input(a, bottleneck)
        weights = block.kernels.forward(conv)
        n_channels = block.kernels.shape[0]
        y, out = (
            empty_matrix(n_channels, batch.n_columns),
            empty_matrix(n_channels, batch.n_columns),
        )
        mean, variance = _empty(n_channels), _empty(n_channels)
        convolve = _convolution(z, weights, values.numpy(), y, batch.n_columns)
        scale, shift = weight.numpy(), bias.numpy()

        def work(first: int, last: int) -> None:
            convolve(first, last)
            compiled.batch_norm_relu(
                y,
                batch.observed,
                batch.n_observed,
                scale,
                shift,
                block.eps,
                out,
                mean,
                variance,
                first,
                last,
            )

        for_rows(work, weights.cost(batch.n_columns))
        ctx.block = block
        kept = map(torch.from_numpy, (z, y, mean, variance))
        # Not on ctx: what is saved this way is let go after the backward pass.
        ctx.save_for_backward(a, bottleneck, values, weight, bias, *kept)
        moments = torch.from_numpy(mean), torch.from_numpy(variance)
        ctx.mark_non_differentiable(*moments)
        return torch.from_numpy(out), *moments

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        """Return the gradients by the tensors that :meth:`forward` took."""
        block: Block = ctx.block
        conv = block.conv
        a, bottleneck, values, weight, bias, *kept = ctx.saved_tensors
        z, y, mean, variance = (tensor.numpy() for tensor in kept)
        dy, of_values, of_weight, of_bias = _through_batch_norm(
            block, gradient.contiguous(), y, z, weight, bias, mean, variance
        )
        if block.on_dense_gradient is not None:
            steps = dy[:, conv.gradient_column : conv.gradient_column + block.batch.n_filled]
            block.on_dense_gradient(_dense_gradient(z, steps, conv))
        of_a = of_bottleneck = None
        if ctx.needs_input_grad[0] or bottleneck is not None:
            dz = _through_convolution(block, dy, values.numpy())
            if bottleneck is None:
                of_a = torch.from_numpy(dz)
            else:
                of_a, of_bottleneck = _through_bottleneck(
                    dz, a, bottleneck, ctx.needs_input_grad[0]
                )
        return (
            of_a,
            of_bottleneck,
            torch.from_numpy(of_values),
            torch.from_numpy(of_weight),
            torch.from_numpy(of_bias),
            None,
        )


def _through_batch_norm(
    block: Block,
    gradient: Tensor,
    y: np.ndarray,
    z: np.ndarray,
    weight: Tensor,
    bias: Tensor,
    mean: np.ndarray,
    variance: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the gradients by the convolution's output, its values, and BatchNorm's."""
    batch, conv = block.batch, block.conv
    weights = block.kernels.forward(conv)
    n_channels = len(y)
    dy = empty_matrix(n_channels, conv.gradient_width)
    of_values = _empty(len(weights.offsets))
    of_weight, of_bias = _empty(n_channels), _empty(n_channels)
    scale, shift, upstream = weight.numpy(), bias.numpy(), gradient.numpy()
    by_values = _values_gradient(z, weights, dy, conv.gradient_column, batch.n_columns, of_values)

    def work(first: int, last: int) -> None:
        dy[first:last, : conv.gradient_column] = 0
        dy[first:last, conv.gradient_column + batch.n_columns : conv.sums_column] = 0
        dy[first:last, conv.sums_column + conv.kernel_size * batch.n_series :] = 0
        compiled.batch_norm_relu_backward(
            upstream,
            y,
            batch.observed,
            batch.n_observed,
            scale,
            shift,
            mean,
            variance,
            block.eps,
            dy,
            conv.gradient_column,
            of_weight,
            of_bias,
            first,
            last,
        )
        if block.replicate:
            compiled.suffix_sums(
                dy,
                conv.gradient_column,
                conv.sums_column,
                batch.lengths,
                conv.kernel_size,
                first,
                last,
            )
        by_values(first, last)

    for_rows(work, weights.cost(batch.n_columns))
    return dy, of_values, of_weight, of_bias


def _through_convolution(block: Block, dy: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the gradient by the convolution's input before its padding."""
    batch, conv = block.batch, block.conv
    weights = block.kernels.backward(conv)
    dz = empty_matrix(block.kernels.shape[1], batch.n_columns)
    last_step = empty_matrix(len(dz), conv.last_step_width)
    ordered = weights.ordered(values)
    steps = _convolution(dy, weights, ordered, dz, batch.n_columns)
    sums = dy.reshape(-1)[conv.sums_column :]
    replicated = _convolution(sums, weights, ordered, last_step, last_step.shape[1])

    def work(first: int, last: int) -> None:
        steps(first, last)
        dz[first:last, batch.n_filled :] = 0
        if block.replicate:
            replicated(first, last)
            dz[first:last, batch.last_columns] = last_step[first:last, : batch.n_series]

    for_rows(work, weights.cost(batch.n_columns))
    return dz


def _through_bottleneck(
    dz: np.ndarray, a: Tensor, bottleneck: Tensor, needs_input: bool
) -> tuple[Tensor | None, Tensor]:
    """Return the gradients by the 1x1 convolution's input and its matrix."""
    upstream = torch.from_numpy(dz)
    matrix, of_bottleneck = bottleneck.detach(), torch.empty_like(bottleneck)
    if not needs_input:
        return None, torch.mm(upstream, a.detach().T, out=of_bottleneck)
    of_a = torch.from_numpy(empty_matrix(*a.shape))
    multiply, n_parts = _matrix_product(matrix.T, upstream, of_a)

    def work(first: int, last: int) -> None:
        if first < n_parts:
            multiply(first, min(last, n_parts))
        if last > n_parts:
            torch.mm(upstream, a.detach().T, out=of_bottleneck)

    # The gradient by the matrix is one more part, as costly as all others together.
    parts = np.array([*range(n_parts + 1), 2 * n_parts])
    for_rows(work, parts * (matrix.numel() * upstream.shape[1] // n_parts))
    return of_a, of_bottleneck


def _dense_gradient(z: np.ndarray, steps: np.ndarray, conv: Convolution) -> Tensor:
    """Return the gradient by every weight: one matrix product for each tap."""
    x, upstream, n = torch.from_numpy(z), torch.from_numpy(steps), steps.shape[1]
    taps = [
        upstream @ x[:, tap * conv.n_series : tap * conv.n_series + n].T
        for tap in range(conv.kernel_size)
    ]
    return torch.stack(taps, dim=2)


def predict_block(
    a: Tensor,
    bottleneck: Tensor | None,
    values: Tensor,
    shift: Tensor,
    block: Block,
) -> Tensor:
    """Apply a layer whose BatchNorm is folded into its weights; no gradients.

    Parameters
    ----------
    a : tensor of shape (C, n_columns)
    bottleneck : tensor of shape (C_in, C) or None
    values : tensor of shape (n_activated,)
        Activated weights times the scale of their output channel.
    shift : tensor of shape (C_out,)
    block : Block

    Returns
    -------
    tensor of shape (C_out, n_columns)
    """
    batch = block.batch
    z = block.padded_input(a, bottleneck)
    weights = block.kernels.forward(block.conv)
    out = empty_matrix(block.kernels.shape[0], batch.n_columns)
    work = _convolution(
        z, weights, values.numpy(), out, batch.n_columns, shift.numpy(), batch.observed
    )
    for_rows(work, weights.cost(batch.n_columns))
    return torch.from_numpy(out)


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
        n_series, _, n_padded = x.shape
        out_channels, in_channels, kernel_size = kernels.shape
        n_steps = n_padded - kernel_size + 1
        batch = TimeBatch(np.full(n_series, n_steps), n_steps)
        conv = Convolution(n_series, batch.n_columns, kernel_size)
        z = _zeros(in_channels, conv.input_width)
        n_filled = n_padded * n_series
        z[:, :n_filled] = x.permute(1, 2, 0).reshape(in_channels, n_filled).numpy()
        weights = kernels.forward(conv)
        y = empty_matrix(out_channels, batch.n_columns)
        for_rows(
            _convolution(z, weights, values.numpy(), y, batch.n_columns),
            weights.cost(batch.n_columns),
        )
        ctx.save_for_backward(values, torch.from_numpy(z))
        ctx.state = batch, conv, kernels, on_dense_gradient
        return from_time_batch(torch.from_numpy(y), batch)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients by the padded batch and by the values."""
        values, kept = ctx.saved_tensors
        z = kept.numpy()
        batch, conv, kernels, on_dense_gradient = ctx.state
        n_padded = batch.n_steps + conv.kernel_size - 1
        whole = TimeBatch(np.full(batch.n_series, n_padded), n_padded)
        reach = Convolution(batch.n_series, whole.n_columns, conv.kernel_size)
        dy = _zeros(kernels.shape[0], reach.gradient_width)
        end = reach.gradient_column + batch.n_filled
        dy[:, reach.gradient_column : end] = (
            gradient.permute(1, 2, 0).reshape(len(dy), batch.n_filled).numpy()
        )
        forward = kernels.forward(conv)
        of_values = _empty(len(forward.offsets))
        by_values = _values_gradient(
            z, forward, dy, reach.gradient_column, batch.n_columns, of_values
        )
        for_rows(by_values, forward.cost(batch.n_columns))
        if on_dense_gradient is not None:
            steps = dy[:, reach.gradient_column : end]
            on_dense_gradient(_dense_gradient(z, steps, conv))
        of_x = None
        if ctx.needs_input_grad[0]:
            weights = kernels.backward(reach)
            dz = empty_matrix(kernels.shape[1], whole.n_columns)
            ordered = weights.ordered(values.numpy())
            work = _convolution(dy, weights, ordered, dz, whole.n_columns)
            for_rows(work, weights.cost(whole.n_columns))
            of_x = from_time_batch(torch.from_numpy(dz), whole)
        return of_x, torch.from_numpy(of_values), None, None


def _values_gradient(
    x: np.ndarray,
    weights: Weights,
    dy: np.ndarray,
    column: int,
    n_columns: int,
    out: np.ndarray,
) -> Callable[[int, int], None]:
    """Return the work of the gradient by the values, by output row."""
    flat = x.reshape(-1)

    def work(first: int, last: int) -> None:
        simd.weight_gradient(
            flat,
            weights.offsets,
            weights.starts,
            weights.n_blocks,
            dy,
            column,
            n_columns,
            out,
            first,
            last,
        )

    return work


def adam_step(
    weights: Tensor,
    gradients: Tensor,
    state: dict[str, Tensor],
    corrections: Tensor,
    lr: float,
    betas: tuple[float, float],
    eps: float,
) -> None:
    """Take Adam's step in place; see :func:`dsn_sktime.kernels.adam_step`."""
    compiled.adam_step(
        weights.detach().numpy().reshape(-1),
        gradients.numpy().reshape(-1),
        state["exp_avg"].numpy().reshape(-1),
        state["exp_avg_sq"].numpy().reshape(-1),
        state["step"].numpy().reshape(-1),
        corrections[0].numpy(),
        corrections[1].numpy(),
        np.float32(lr),
        np.float32(betas[0]),
        np.float32(betas[1]),
        np.float32(eps),
    )
