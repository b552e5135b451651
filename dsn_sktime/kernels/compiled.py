"""The sparse engine's loops over time-batch matrices, compiled by numba.

A time-batch matrix has a row per channel and a column per (time step, series), the
series innermost: column ``t * B + b``. A tap is then a shift by ``tap * B`` columns.
Rows are padded to a multiple of ``ALIGNMENT`` columns, so that loops need no tails;
what stands in the padding is finite, and zero where a kernel's contract says so.

All arrays are C-contiguous float32, offsets int32. Nothing is checked here: the layers
do that once. Each function works on the rows ``first <= row < last`` of its output, so
that threads can share the work; no result depends on how it is shared.
"""

from __future__ import annotations

import math

import numpy as np

from dsn_sktime.kernels.jit import compiled

__all__ = [
    "adam_step",
    "batch_norm_relu",
    "batch_norm_relu_backward",
    "pad",
    "suffix_sums",
]


@compiled(fastmath={"reassoc", "nsz", "contract"})
def batch_norm_relu(y, observed, n_observed, weight, bias, eps, out, mean, variance, first, last):
    """``out = relu(weight * (y - mean) / sqrt(variance + eps) + bias) * observed``.

    Parameters
    ----------
    y, out : arrays of shape (C, width)
    observed : array of shape (width,)
        1 where a column counts, 0 in the padding, whose ``out`` becomes 0.
    n_observed : int
    weight, bias : arrays of shape (C,)
    mean, variance : arrays of shape (C,)
        Written: the (biased) statistics of the columns that count.
    """
    width = observed.size
    for row in range(first, last):
        # Sums of what is left of the first value: float32 has few digits to spare.
        pivot = y[row, 0]
        total = np.float32(0)
        for p in range(width):
            total += (y[row, p] - pivot) * observed[p]
        centre = np.float32(pivot + total / n_observed)
        total = np.float32(0)
        for p in range(width):
            deviation = (y[row, p] - centre) * observed[p]
            total += deviation * deviation
        spread = np.float32(total / n_observed)
        scale = np.float32(weight[row] / math.sqrt(spread + eps))
        for p in range(width):
            value = (y[row, p] - centre) * scale + bias[row]
            out[row, p] = max(value, np.float32(0)) * observed[p]
        mean[row] = centre
        variance[row] = spread


@compiled(fastmath={"reassoc", "nsz", "contract"})
def batch_norm_relu_backward(
    gradient,
    y,
    observed,
    n_observed,
    weight,
    bias,
    mean,
    variance,
    eps,
    y_gradient,
    column,
    weight_gradient,
    bias_gradient,
    first,
    last,
):
    """Turn the gradient by the result of batch_norm_relu into those by its inputs.

    Parameters
    ----------
    gradient, y : arrays of shape (C, width)
    y_gradient : array of shape (C, >= column + width)
        Written from ``column`` on; 0 in the padding.
    weight_gradient, bias_gradient : arrays of shape (C,)
        Written.
    """
    width = observed.size
    zero = np.float32(0)
    for row in range(first, last):
        rstd = np.float32(1 / math.sqrt(variance[row] + eps))
        centre = mean[row]
        scale = weight[row] * rstd
        plain = zero
        scaled = zero
        for p in range(width):
            deviation = y[row, p] - centre
            g = (gradient[row, p] if deviation * scale + bias[row] > zero else zero) * observed[p]
            plain += g
            scaled += g * deviation
        scaled *= rstd
        weight_gradient[row] = scaled
        bias_gradient[row] = plain
        slope = -scale * rstd * scaled / np.float32(n_observed)
        shift = -scale * plain / np.float32(n_observed)
        for p in range(width):
            deviation = y[row, p] - centre
            g = gradient[row, p] if deviation * scale + bias[row] > zero else zero
            y_gradient[row, column + p] = (g * scale + deviation * slope + shift) * observed[p]


@compiled()
def pad(x, column, lengths, n_steps, replicate):
    """Fill what surrounds ``n_steps`` time steps from ``column`` on, and the padding in them.

    With ``replicate`` true each series goes on with its last step, to the last column
    that is a whole step; everything else becomes 0.
    """
    n_series = lengths.size
    end = column + n_steps * n_series
    n_after = (x.shape[1] - end) // n_series
    for row in range(x.shape[0]):
        x[row, :column] = 0
        x[row, end:] = 0
        for b in range(n_series):
            final = np.float32(0)
            if replicate:
                final = x[row, column + (lengths[b] - 1) * n_series + b]
            for t in range(lengths[b], n_steps + n_after):
                x[row, column + t * n_series + b] = final


@compiled()
def suffix_sums(y_gradient, column, sums_column, lengths, kernel_size, first, last):
    """Gather what the replicated last step of each series gets back.

    For tap d = 0..k-1 writes into column ``sums_column + (k - 1 - d) * B + b`` the sum of
    the gradients of series b from step ``max(0, length - 1 - d)`` on.

    Parameters
    ----------
    y_gradient : array of shape (C_out, width)
        Gradient of step t of series b in column ``column + t * B + b``.
    lengths : int64 array of shape (B,)
    """
    n_series = lengths.size
    for row in range(first, last):
        for b in range(n_series):
            total = np.float32(0)
            for tap in range(kernel_size):
                step = lengths[b] - 1 - tap
                if step >= 0:
                    total += y_gradient[row, column + step * n_series + b]
                y_gradient[row, sums_column + (kernel_size - 1 - tap) * n_series + b] = total


@compiled()
def adam_step(weights, gradients, means, squares, steps, first, second, lr, beta1, beta2, eps):
    """One step of Adam, each weight with its own step count.

    Parameters
    ----------
    weights, gradients, means, squares : arrays of shape (n,)
    steps : int32 array of shape (n,)
        Steps done; raised by one.
    first, second : arrays of shape (m,)
        ``1 / (1 - beta**t)`` of both moments at t, 1 in the last.
    lr, beta1, beta2, eps : float32
    """
    one, last = np.float32(1), np.int32(first.size - 1)
    for i in range(weights.size):
        gradient = gradients[i]
        means[i] += (one - beta1) * (gradient - means[i])
        squares[i] = beta2 * squares[i] + (one - beta2) * gradient * gradient
        steps[i] += np.int32(1)
        # Unsigned, or each look-up would ask first whether to count from the end.
        t = np.uint32(min(steps[i], last))
        denominator = np.sqrt(squares[i] * second[t]) + eps
        weights[i] -= lr * (means[i] * first[t]) / denominator
