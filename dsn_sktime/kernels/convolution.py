"""The sparse convolution alone and the gradient w.r.t. its values, as compiled functions."""

from __future__ import annotations

import numpy as np

from dsn_sktime.kernels import loops
from dsn_sktime.kernels.jit import compiled_entry
from dsn_sktime.kernels.loops import ROWS, n_chunks
from dsn_sktime.kernels.simd import LANES
from dsn_sktime.kernels.work_sharing import claim_chunks


@compiled_entry
def convolve(table, x, offsets, values, counts, n_groups, n_steps, kernel_size, out, counters):
    """Convolve a padded matrix, with all of its halo after the time steps.

    ``table`` is from :func:`~dsn_sktime.kernels.loops.convolutions`, ``offsets``, ``values`` and
    ``counts`` are as in :class:`~dsn_sktime.kernels.layout.Weights`; ``counters`` is the address
    of those of one phase.
    """
    per_group = loops.n_tiles(n_steps)
    for chunk in claim_chunks(counters, 0, n_groups * per_group):
        group, step, end = loops.chunk_of_group(chunk, per_group, n_steps)
        loops.convolve_tile(
            table,
            x.ctypes.data + 4 * (group * (n_steps + kernel_size - 1) + step) * LANES,
            # Signed as their increments: numba would make floats of both.
            np.int64(offsets.ctypes.data),
            np.int64(values.ctypes.data),
            np.int64(counts.ctypes.data),
            counts.shape[0],
            end - step,
            out.ctypes.data + 4 * (group * n_steps + step) * LANES,
            out.shape[1],
            out.shape[0],
        )


@compiled_entry
def values_gradient(x, offsets, starts, dy, n_groups, n_steps, kernel_size, out, counters):
    """Add the gradient w.r.t. the values of a convolution to ``out``.

    ``starts`` are the first weight of each output channel, and the end; ``dy`` is the gradient
    w.r.t. the output, 0 in columns that no series has; the others are as in :func:`convolve`.
    """
    n_rows, columns, stride = len(starts) - 1, n_steps * LANES, (n_steps + kernel_size - 1) * LANES
    n, n_at_once = loops.stretch(columns)
    for chunk in claim_chunks(counters, 0, n_chunks(n_rows, ROWS)):
        for group in range(0, n_groups, n_at_once):
            for column in range(0, columns, n):
                for row in range(chunk * ROWS, min((chunk + 1) * ROWS, n_rows)):
                    loops.weight_gradient(
                        x.ctypes.data + 4 * (group * stride + column),
                        offsets.ctypes.data,
                        starts[row],
                        starts[row + 1],
                        dy.ctypes.data + 4 * (row * dy.shape[1] + group * columns + column),
                        min(n, columns - column),
                        min(n_at_once, n_groups - group),
                        stride,
                        columns,
                        out.ctypes.data,
                    )
