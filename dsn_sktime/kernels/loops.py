"""Loops over one chunk of a layer: a tile or a strip of columns, or some rows.

Matrices are given by address and by the columns from one row to the next, their *pitch*;
see :mod:`dsn_sktime.kernels.layout` for what their columns mean. Nothing is checked here:
the engine does that once. Each function writes only its chunk, and no result depends on
which thread did which chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from dsn_sktime.kernels.jit import code_address, compiled
from dsn_sktime.kernels.pointers import floats, longs
from dsn_sktime.kernels.simd import (
    LANES,
    MAX_DOTS,
    MAX_GAP,
    MAX_VECTORS,
    TILE_ROWS,
    TILE_VECTORS,
    accumulate_tile,
    call_convolution,
    dot_products,
    multiply_rows,
    multiply_tile,
    prefetch,
    reduce_vectors,
)

# Reordered sums and fused multiply-adds, but NaN and infinity as they are.
MATHS = {"reassoc", "nsz", "contract"}

# Columns of a strip, which a matrix product takes at a time. Rows may lie a page apart: fewer
# columns of each at a time would wait for memory, more would leave too few strips for the threads.
STRIP_COLUMNS = 96
_STRIP_STEPS = STRIP_COLUMNS // LANES

# Columns that are summed before the next weights and rows get their turn: what many rows read
# of some fifty channels stays in the second-level cache.
DOT_COLUMNS = 1024
# The same for products of rows, which are to stay in the first-level cache.
PRODUCT_COLUMNS = 512

# Columns from one row to the next of what a thread packs for itself, an odd number of cache
# lines: a strip or a tile, and rows for products of rows.
PACKED_PITCH = max(STRIP_COLUMNS, MAX_VECTORS * LANES) + 16
PRODUCT_PITCH = PRODUCT_COLUMNS + 16

# Rows of a chunk, and weights of one.
ROWS = 12
N_ORDERED = 4096

# Rows of a strip or tile lie far apart, so the processor does not foresee the next one: it is
# asked for so many rows ahead. Bytes of a cache line.
_ROWS_AHEAD = 4
_LINE_BYTES = 64


def scratch_columns(n_channels: int) -> int:
    """Return the float32 that each thread needs for itself."""
    return max(n_channels * PACKED_PITCH, ROWS * PRODUCT_PITCH)


@compiled()
def n_chunks(n, per_chunk):
    """Return the chunks that ``n`` rows or weights make."""
    return (n + per_chunk - 1) // per_chunk


@compiled()
def n_tiles(n_steps):
    """Return the tiles of a group of ``n_steps``: as few as the registers allow."""
    return (n_steps + MAX_VECTORS - 1) // MAX_VECTORS


@compiled()
def n_strips(n_steps):
    """Return the strips of a group of ``n_steps``."""
    return (n_steps + _STRIP_STEPS - 1) // _STRIP_STEPS


@compiled()
def chunk_of_group(chunk, per_group, n_steps):
    """Return group, first time step and end of a chunk; each group has ``per_group``."""
    group, number = divmod(chunk, per_group)
    return group, number * n_steps // per_group, (number + 1) * n_steps // per_group


@compiled()
def prefetch_row(row, n):
    """Prefetch the cache lines of ``n`` float32 from an address on."""
    for line in range(row & -_LINE_BYTES, row + 4 * n, _LINE_BYTES):
        prefetch(line)


# Address of the machine code for tiles of each number of vectors; 0 until it is needed. The
# 7 loops over pairs of each, unrolled over the vectors, take as long to compile as all else.
_CONVOLUTIONS = np.zeros(MAX_VECTORS + 1, np.int64)


def convolutions(sizes: Iterable[int]) -> int:
    """Compile the convolution of tiles of so many vectors; return the address of the table."""
    for n_vectors in sizes:
        if _CONVOLUTIONS[n_vectors] == 0:
            _CONVOLUTIONS[n_vectors] = code_address(_convolution(n_vectors), 8)
    return _CONVOLUTIONS.ctypes.data


def _convolution(n_vectors: int) -> Callable:
    def convolution(x, offsets, values, counts, n_blocks, out, out_pitch, n_rows):
        for block in range(n_blocks):
            for row in range(n_rows):
                if block == 0 and row + _ROWS_AHEAD < n_rows:
                    prefetch_row(out + 4 * (row + _ROWS_AHEAD) * out_pitch, n_vectors * LANES)
                offsets, values = accumulate_tile(
                    n_vectors,
                    x,
                    offsets,
                    values,
                    counts + 4 * (MAX_GAP + 1) * (block * n_rows + row),
                    out + 4 * row * out_pitch,
                    block == 0,
                )

    # numba names machine code by this; equal names would be taken for the same code.
    convolution.__qualname__ += f"_{n_vectors}"
    return convolution


def tile_sizes(n_steps: int) -> set[int]:
    """Return the numbers of vectors of the tiles of a group of ``n_steps``."""
    n = n_tiles.py_func(n_steps)
    return {n_steps // n, -(-n_steps // n)}


@compiled()
def convolve_tile(table, x, offsets, values, counts, n_blocks, n_vectors, out, out_pitch, n_rows):
    """``out[row, p] = sum of value * x[offset + p]`` over the weights of each row.

    ``table`` is from :func:`convolutions`, which was given ``n_vectors``. ``x`` and ``out`` are
    where the tile starts in the first row; ``offsets``, ``values`` and ``counts`` are as in
    :class:`~dsn_sktime.kernels.layout.Weights`.
    """
    function = longs(table, MAX_VECTORS + 1)[n_vectors]
    call_convolution(function, x, offsets, values, counts, n_blocks, out, out_pitch, n_rows)


@compiled(MATHS)
def tile_moments(y, y_pitch, observed, n_rows, moments):
    """Write mean and sum of squared deviations of each row of a tile, (n_rows, 2).

    ``y`` is where the tile starts in the first row; ``observed`` is 1 where a column counts.
    """
    n = observed.size
    count = np.float32(0)
    for p in range(n):
        count += observed[p]
    share = np.float32(1) / max(count, np.float32(1))
    for row in range(n_rows):
        values = floats(y + 4 * row * y_pitch, n)
        total = np.float32(0)
        for p in range(n):
            total += values[p] * observed[p]
        mean = total * share
        squares = np.float32(0)
        for p in range(n):
            deviation = (values[p] - mean) * observed[p]
            squares += deviation * deviation
        moments[row, 0] = mean
        moments[row, 1] = squares


@compiled()
def merge_moments(moments, counts, row):
    """Return mean and (biased) variance of a row from those of its tiles.

    The tiles' deviations are from their own means, so nothing is lost to cancellation.
    ``counts`` are the columns of each tile that count.
    """
    n = 0.0
    mean = 0.0
    squares = 0.0
    for tile in range(len(counts)):
        count = counts[tile]
        if count > 0:
            distance = moments[tile, row, 0] - mean
            total = n + count
            mean += distance * count / total
            squares += moments[tile, row, 1] + distance * distance * n * count / total
            n = total
    return mean, squares / n


@compiled(MATHS)
def _activated(value, mean, scale, bias, observed):
    zero = np.float32(0)
    before = (value - mean) * scale + bias
    # Not max(): NaN is to stay what it is.
    return (zero if before <= zero else before) * observed


@compiled(MATHS)
def activate(y, y_pitch, observed, mean, scale, bias, first, last, out, out_pitch):
    """``out = relu((y - mean) * scale + bias) * observed`` for the rows ``first..last-1``.

    ``y`` is where the strip starts in row 0, ``out`` where it starts in row ``first``.
    """
    n = observed.size
    for row in range(first, last):
        values = floats(y + 4 * row * y_pitch, n)
        activated = floats(out + 4 * (row - first) * out_pitch, n)
        if row + _ROWS_AHEAD < last:
            prefetch_row(y + 4 * (row + _ROWS_AHEAD) * y_pitch, n)
        for p in range(n):
            activated[p] = _activated(values[p], mean[row], scale[row], bias[row], observed[p])


@compiled(MATHS)
def activate_in_place(y, y_pitch, observed, mean, scale, bias):
    """Apply :func:`activate` to all rows of a tile, in place."""
    for row in range(mean.size):
        values = floats(y + 4 * row * y_pitch, observed.size)
        for p in range(observed.size):
            values[p] = _activated(values[p], mean[row], scale[row], bias[row], observed[p])


@compiled()
def multiply_strip(left, row_stride, stride, right, right_pitch, n, n_vectors, out, pitch, n_rows):
    """``out[r, p] = sum over i < n of left[r * row_stride + i * stride] * right[i, p]``."""
    for vector in range(0, n_vectors, TILE_VECTORS):
        for row in range(0, n_rows, TILE_ROWS):
            multiply_tile(
                min(TILE_ROWS, n_rows - row),
                min(TILE_VECTORS, n_vectors - vector),
                left + 4 * row * row_stride,
                row_stride,
                stride,
                right + 4 * vector * LANES,
                right_pitch,
                n,
                out + 4 * (row * pitch + vector * LANES),
                pitch,
            )


@compiled()
def row_products(left, left_pitch, n_left, right, right_pitch, n_right, n, out, out_pitch):
    """``out[i, j] += sum over p < n of left[i, p] * right[j, p]``."""
    for i in range(0, n_left, TILE_ROWS):
        for j in range(0, n_right, TILE_VECTORS):
            multiply_rows(
                min(TILE_ROWS, n_left - i),
                min(TILE_VECTORS, n_right - j),
                left + 4 * i * left_pitch,
                left_pitch,
                right + 4 * j * right_pitch,
                right_pitch,
                n,
                out + 4 * (i * out_pitch + j),
                out_pitch,
            )


@compiled(MATHS)
def relu_gradient(gradient, y, observed, mean, scale, bias):
    """Backward of ReLU for a row of a strip, in place.

    Return the sum of the gradients, and that of the gradients times ``y - mean``.
    """
    zero = np.float32(0)
    plain = zero
    scaled = zero
    for p in range(observed.size):
        deviation = y[p] - mean
        g = (zero if deviation * scale + bias <= zero else gradient[p]) * observed[p]
        gradient[p] = g
        plain += g
        scaled += g * deviation
    return plain, scaled


@compiled(MATHS)
def batch_norm_gradient(gradient, y, observed, mean, scale, slope, offset):
    """``gradient = (gradient * scale + (y - mean) * slope + offset) * observed``, in place."""
    for p in range(observed.size):
        through = gradient[p] * scale + (y[p] - mean) * slope + offset
        gradient[p] = through * observed[p]


@compiled()
def gather(row, source, out):
    """``out[i] = row[source[i]]``, or 0 where the source is negative."""
    for i in range(source.size):
        # Unsigned: no check for an index that counts from the end.
        out[i] = row[np.uint32(source[i])] if source[i] >= 0 else np.float32(0)


@compiled()
def copy_rows(source, source_pitch, n, out, out_pitch, n_rows):
    """Copy ``n`` columns of some rows from one matrix to another, by address."""
    for row in range(n_rows):
        to = floats(out + 4 * row * out_pitch, n)
        values = floats(source + 4 * row * source_pitch, n)
        # No slices: numba would compile the text of the error for unequal shapes.
        for p in range(n):
            to[p] = values[p]


@compiled()
def pool_lanes(row, stride, starts, stops, shares, out, pitch):
    """Average the time steps of each bin of all lanes, where bins have the same borders in all.

    ``row`` is the address of one channel's activations, ``stride`` the columns from one group to
    the next, ``shares`` the address of ``1 / (stop - start)`` of each bin, ``out`` that of n_bins
    rows of the lanes of all groups, ``pitch``.
    """
    for group in range(pitch // LANES):
        for i in range(starts.size):
            first = np.int64(starts[i])
            # A row of one factor times the vectors: plain loops took five times as long.
            multiply_tile(
                1,
                1,
                shares + 4 * i,
                0,
                0,
                row + 4 * (group * stride + first * LANES),
                LANES,
                stops[i] - first,
                out + 4 * (i * pitch + group * LANES),
                pitch,
            )


@compiled(MATHS)
def pool_lanes_gradient(gradient, pitch, starts, stops, shares, out, stride):
    """Add the gradient w.r.t. one channel's activations to ``out``; see :func:`pool_lanes`."""
    for group in range(pitch // LANES):
        for i in range(starts.size):
            grad_bin = floats(gradient + 4 * (i * pitch + group * LANES), LANES)
            share = floats(shares, starts.size)[i]
            for step in range(starts[i], stops[i]):
                found = floats(out + 4 * (group * stride + step * LANES), LANES)
                for lane in range(LANES):
                    found[lane] += grad_bin[lane] * share


@compiled()
def pool_series(row, columns, starts, stops, out):
    """Average one channel's time steps of each bin of each series, wherever they stand.

    ``columns`` are those of each time step of each series, ``starts`` and ``stops`` indices of
    them; ``out`` has the length n_bins * B.
    """
    for i in range(out.size):
        total = np.float32(0)
        for step in range(starts[i], stops[i]):
            total += row[np.uint32(columns[np.uint32(step)])]
        out[i] = total / np.float32(stops[i] - starts[i])


@compiled()
def pool_series_gradient(gradient, columns, starts, stops, out):
    """Add the gradient w.r.t. one channel's activations to ``out``; see :func:`pool_series`."""
    for i in range(gradient.size):
        each = gradient[i] / np.float32(stops[i] - starts[i])
        for step in range(starts[i], stops[i]):
            out[np.uint32(columns[np.uint32(step)])] += each


@compiled()
def tile_statistics(x, n_vectors, out, out_pitch, n_rows):
    """Write sum, maximum and number of positive values of each lane, for the rows of a tile.

    The pitch of the tile is PACKED_PITCH.
    """
    for row in range(n_rows):
        to = out + 4 * row * out_pitch
        reduce_vectors(n_vectors, x + 4 * row * PACKED_PITCH, LANES, to)


@compiled()
def merge_statistics(tiles, n_tiles, one, scratch, out, pitch):
    """Merge sums, maxima and numbers of positive values of tiles, three vectors of each.

    ``one`` is the address of a 1, ``scratch`` that of room for three vectors; those of ``out``
    are ``pitch`` columns apart.
    """
    for i in range(3):
        start = tiles + 4 * i * LANES
        multiply_tile(1, 1, one, 0, 0, start, 3 * LANES, n_tiles, out + 4 * i * pitch, 0)
    reduce_vectors(n_tiles, tiles + 4 * LANES, 3 * LANES, scratch)
    found, largest = floats(out + 4 * pitch, LANES), floats(scratch + 4 * LANES, LANES)
    for lane in range(LANES):
        found[lane] = largest[lane]


@compiled()
def fill(row, to, source):
    """``row[to[i]] = row[source[i]]``, or 0 where the source is negative."""
    for i in range(to.size):
        value = row[np.uint32(source[i])] if source[i] >= 0 else np.float32(0)
        row[np.uint32(to[i])] = value


@compiled()
def suffix_sums(row, sums_column, source):
    """Reverse cumulative sums of the output gradient per series: backward of replicate padding.

    For tap d = 0..k-1 writes into column ``sums_column + ((k - 1 - d) + k * g) * LANES + b``
    the sum of the gradients of series b of vector g from step ``max(0, length - 1 - d)`` on.
    ``source``, of shape (n_vectors, k, LANES), is the column of step ``length - 1 - d`` of each
    series, -1 where there is none.
    """
    kernel_size = source.shape[1]
    for group in range(source.shape[0]):
        for lane in range(LANES):
            total = np.float32(0)
            for tap in range(kernel_size):
                column = source[group, tap, lane]
                if column >= 0:
                    total += row[column]
                to = sums_column + (group * kernel_size + kernel_size - 1 - tap) * LANES + lane
                row[to] = total


@compiled()
def stretch(group_columns):
    """Return how much is summed before other weights and rows get their turn.

    Columns of each group, and groups: several only where each is done whole.
    """
    return min(group_columns, DOT_COLUMNS), max(1, DOT_COLUMNS // group_columns)


@compiled()
def weight_gradient(x, offsets, begin, end, y, n, n_groups, x_stride, y_stride, out):
    """``out[w] += sum over columns of y[column] * x[offsets[w] + column]``, begin <= w < end.

    ``x`` and ``y`` are the addresses of the first column, of the first row and of the row of
    these weights; there are ``n`` columns of each group, and so many columns to the next.
    """
    for weight in range(begin, end, MAX_DOTS):
        dot_products(
            min(MAX_DOTS, end - weight),
            x,
            offsets + 4 * weight,
            y,
            n,
            n_groups,
            x_stride,
            y_stride,
            out + 4 * weight,
        )
