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
from numba import njit

from dsn_sktime.kernels.simd import (
    LANES,
    MAX_DOTS,
    MAX_VECTORS,
    accumulate_tile,
    dot_products,
)

__all__ = [
    "adam_step",
    "batch_norm_relu",
    "batch_norm_relu_backward",
    "convolve",
    "pad",
    "suffix_sums",
    "weight_gradient",
]

# Columns whose products are summed before the next weights get their turn: 8 KB of the
# output gradient stay in the first-level cache.
_DOT_COLUMNS = 2048


@njit(nogil=True, cache=True)
def convolve(
    x, offsets, values, starts, n_blocks, out, out_column, n_columns, shift, observed, first, last
):
    """``out[row, out_column + p] = sum over w of values[w] * x[offsets[w] + p]``.

    Parameters
    ----------
    x : array of shape (C_in * width,)
        A flattened matrix; ``offsets[w] + n_columns`` stays within its size.
    offsets, values : arrays of shape (n,)
        Sorted by output row, then by block of input channels.
    starts : int64 array of shape (C_out * n_blocks + 1,)
        First weight of each block of each row, and the end.
    n_blocks : int
    out : array of shape (C_out, >= out_column + n_columns)
    n_columns : int
        Multiple of LANES.
    shift : array of shape (C_out,) or (0,)
        If given, ``out = relu(sum + shift) * observed``.
    observed : array of shape (n_columns,)
        1 where a column belongs to a series, else 0; read only with ``shift``.
    """
    zero = np.float32(0)
    n_vectors = n_columns // LANES
    n_tiles = (n_vectors + MAX_VECTORS - 1) // MAX_VECTORS
    for tile in range(n_tiles):
        begin = tile * n_vectors // n_tiles * LANES
        end = (tile + 1) * n_vectors // n_tiles * LANES
        for block in range(n_blocks):
            for row in range(first, last):
                weight = starts[row * n_blocks + block]
                accumulate_tile(
                    (end - begin) // LANES,
                    x.ctypes.data + 4 * begin,
                    offsets.ctypes.data + 4 * weight,
                    values.ctypes.data + 4 * weight,
                    starts[row * n_blocks + block + 1] - weight,
                    out.ctypes.data + 4 * (row * out.shape[1] + out_column + begin),
                    block == 0,
                )
                if block == n_blocks - 1 and shift.size > 0:
                    part = out[row, out_column + begin : out_column + end]
                    counts = observed[begin:end]
                    for p in range(end - begin):
                        total = part[p] + shift[row]
                        # Not max(): that asks about NaN, and the loop is no longer vectors.
                        part[p] = (total if total > zero else zero) * counts[p]


@njit(nogil=True, cache=True)
def weight_gradient(x, offsets, starts, n_blocks, y, y_column, n_columns, out, first, last):
    """``out[w] = sum over p of y[row of w, y_column + p] * x[offsets[w] + p]``.

    Parameters
    ----------
    x : array of shape (C_in * width,)
        A flattened matrix; ``offsets[w] + n_columns`` stays within its size.
    offsets, starts, n_blocks
        As in :func:`convolve`.
    y : array of shape (C_out, >= y_column + n_columns)
        Zero wherever x does not count.
    n_columns : int
        Multiple of LANES.
    out : array of shape (n,)
    """
    out[starts[first * n_blocks] : starts[last * n_blocks]] = 0
    for begin in range(0, n_columns, _DOT_COLUMNS):
        size = min(_DOT_COLUMNS, n_columns - begin)
        for row in range(first, last):
            weight, end = starts[row * n_blocks], starts[(row + 1) * n_blocks]
            while weight < end:
                n_dots = min(MAX_DOTS, end - weight)
                dot_products(
                    n_dots,
                    x.ctypes.data + 4 * begin,
                    offsets.ctypes.data + 4 * weight,
                    y.ctypes.data + 4 * (row * y.shape[1] + y_column + begin),
                    size,
                    out.ctypes.data + 4 * weight,
                )
                weight += n_dots


@njit(nogil=True, cache=True, fastmath={"reassoc", "nsz", "contract"})
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
        total = np.float32(0)
        for p in range(width):
            total += y[row, p] * observed[p]
        centre = np.float32(total / n_observed)
        total = np.float32(0)
        for p in range(width):
            deviation = (y[row, p] - centre) * observed[p]
            total += deviation * deviation
        spread = np.float32(total / n_observed)
        scale = np.float32(weight[row] / math.sqrt(spread + eps))
        shift = bias[row] - centre * scale
        for p in range(width):
            out[row, p] = max(y[row, p] * scale + shift, np.float32(0)) * observed[p]
        mean[row] = centre
        variance[row] = spread


@njit(nogil=True, cache=True, fastmath={"reassoc", "nsz", "contract"})
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
        level = bias[row] - centre * scale
        plain = zero
        scaled = zero
        for p in range(width):
            passes = y[row, p] * scale + level > zero
            g = (gradient[row, p] if passes else zero) * observed[p]
            plain += g
            scaled += g * (y[row, p] - centre)
        scaled *= rstd
        weight_gradient[row] = scaled
        bias_gradient[row] = plain
        slope = -scale * rstd * scaled / np.float32(n_observed)
        shift = -scale * plain / np.float32(n_observed) - slope * centre
        for p in range(width):
            passes = y[row, p] * scale + level > zero
            g = gradient[row, p] if passes else zero
            y_gradient[row, column + p] = (g * scale + y[row, p] * slope + shift) * observed[p]


@njit(nogil=True, cache=True)
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


@njit(nogil=True, cache=True)
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


@njit(nogil=True, cache=True)
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
