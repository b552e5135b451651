"""The backward pass of a whole network as one compiled function; see :mod:`.forward`."""

from __future__ import annotations

import numpy as np

from dsn_sktime.kernels import loops
from dsn_sktime.kernels.forward import N_PHASES, activate, gather, order_values, padded_column
from dsn_sktime.kernels.jit import compiled, compiled_entry
from dsn_sktime.kernels.loops import N_ORDERED, PRODUCT_COLUMNS, PRODUCT_PITCH, ROWS, n_chunks
from dsn_sktime.kernels.plan import BINS_OF_LANES
from dsn_sktime.kernels.pointers import float_matrix, floats, ints, longs
from dsn_sktime.kernels.simd import LANES, TILE_ROWS
from dsn_sktime.kernels.work_sharing import claim_chunks


@compiled()
def _through_relu(layer, batch, row, strip, column, n, dy):
    """Backward of ReLU for one row of a strip, and its sums for BatchNorm's gradient."""
    sums = floats(layer.strip_sums + 8 * (strip * layer.n_out + row), 2)
    sums[0], sums[1] = loops.relu_gradient(
        floats(dy + 4 * row * layer.dy_pitch, n),
        floats(layer.y + 4 * (row * batch.pitch + column), n),
        floats(batch.observed + 4 * column, n),
        floats(layer.mean, layer.n_out)[row],
        floats(layer.scale, layer.n_out)[row],
        floats(layer.bias, layer.n_out)[row],
    )


@compiled()
def _feature_gradient(layer, batch, chunk):
    """Backward of pooling and ReLU for some channels of the last layer."""
    n_bins, pitch = batch.n_pooled, batch.feature_pitch
    n_after = batch.kernel_size - 1 - batch.n_before
    per_group = loops.n_strips(batch.n_steps)
    for row in range(chunk * ROWS, min((chunk + 1) * ROWS, layer.n_out)):
        gradient = batch.feature_gradient + 4 * row * n_bins * pitch
        dy = layer.dy + 4 * row * layer.dy_pitch
        whole = floats(dy, padded_column(batch, batch.n_groups, 0, 0))
        whole[:] = 0
        if batch.output == BINS_OF_LANES:
            starts, stops = ints(batch.bin_starts, n_bins), ints(batch.bin_stops, n_bins)
            first, stride = padded_column(batch, 0, 0, n_after), padded_column(batch, 1, 0, 0)
            loops.pool_lanes_gradient(
                gradient, pitch, starts, stops, batch.bin_shares, dy + 4 * first, stride
            )  # fmt: skip
        else:
            n = n_bins * batch.n_series
            loops.pool_series_gradient(
                floats(gradient, n),
                ints(batch.gradient_columns, batch.n_series * batch.length),
                ints(batch.bin_starts, n),
                ints(batch.bin_stops, n),
                whole,
            )
        for strip in range(batch.n_groups * per_group):
            group, step, end = loops.chunk_of_group(strip, per_group, batch.n_steps)
            dy = layer.dy + 4 * padded_column(batch, group, step, n_after)
            column = (group * batch.n_steps + step) * LANES
            _through_relu(layer, batch, row, strip, column, (end - step) * LANES, dy)


@compiled()
def _output_strip(layer, batch, following, chunk):
    """Backward of the 1x1 convolution after a layer, if any, and of ReLU for a strip.

    Reads the gradient w.r.t. the input of the layer ``following``.
    """
    per_group = loops.n_strips(batch.n_steps)
    group, step, end = loops.chunk_of_group(chunk, per_group, batch.n_steps)
    column, n = (group * batch.n_steps + step) * LANES, (end - step) * LANES
    dy = layer.dy + 4 * padded_column(batch, group, step, batch.kernel_size - 1 - batch.n_before)
    upstream = following.dz + 4 * column
    for first in range(0, layer.n_out, TILE_ROWS):
        last = min(first + TILE_ROWS, layer.n_out)
        for ahead in range(last, min(last + TILE_ROWS, layer.n_out)):
            loops.prefetch_row(dy + 4 * ahead * layer.dy_pitch, n)
            loops.prefetch_row(layer.y + 4 * (ahead * batch.pitch + column), n)
        out = dy + 4 * first * layer.dy_pitch
        if following.bottleneck == 0:
            source = upstream + 4 * first * batch.pitch
            loops.copy_rows(source, batch.pitch, n, out, layer.dy_pitch, last - first)
        else:
            loops.multiply_strip(
                following.bottleneck + 4 * first,
                1,
                layer.n_out,
                upstream,
                batch.pitch,
                following.n_in,
                end - step,
                out,
                layer.dy_pitch,
                last - first,
            )
        for row in range(first, last):
            _through_relu(layer, batch, row, chunk, column, n, dy)


@compiled()
def _matrix_gradient(layers, batch, number, scratch, chunk):
    """Write some columns of the gradient w.r.t. the 1x1 convolution of a layer's input."""
    layer = layers[number]
    n_read = batch.n_variates if number == 0 else layers[number - 1].n_out
    first, last = chunk * ROWS, min((chunk + 1) * ROWS, n_read)
    float_matrix(layer.bottleneck_gradient, layer.n_in, n_read)[:, first:last] = 0
    for column in range(0, batch.n_columns, PRODUCT_COLUMNS):
        n = min(PRODUCT_COLUMNS, batch.n_columns - column)
        if number == 0:
            gather(batch, column, n, first, last, scratch, PRODUCT_PITCH)
        else:
            before = layers[number - 1]
            y = before.y + 4 * column
            activate(
                before, batch, y, batch.pitch, column, n, first, last, scratch, PRODUCT_PITCH
            )  # fmt: skip
        loops.row_products(
            layer.dz + 4 * column, batch.pitch, layer.n_in, scratch, PRODUCT_PITCH,
            last - first, n, layer.bottleneck_gradient + 4 * first, n_read,
        )  # fmt: skip


@compiled()
def _batch_norm_sums(layer, batch, chunk):
    """Merge the sums of the strips to the coefficients of BatchNorm's gradient."""
    n_all = batch.n_groups * loops.n_strips(batch.n_steps)
    sums = floats(layer.strip_sums, n_all * layer.n_out * 2).reshape((n_all, layer.n_out, 2))
    variance, scale = floats(layer.variance, layer.n_out), floats(layer.scale, layer.n_out)
    slope, offset = floats(layer.slope, layer.n_out), floats(layer.offset, layer.n_out)
    grad_weight = floats(layer.weight_gradient, layer.n_out)
    grad_bias = floats(layer.bias_gradient, layer.n_out)
    for row in range(chunk * ROWS, min((chunk + 1) * ROWS, layer.n_out)):
        plain = 0.0
        scaled = 0.0
        for strip in range(n_all):
            plain += sums[strip, row, 0]
            scaled += sums[strip, row, 1]
        rstd = 1 / np.sqrt(variance[row] + layer.eps)
        grad_weight[row] = scaled * rstd
        grad_bias[row] = plain
        slope[row] = -scale[row] * rstd * rstd * scaled / batch.n_observed
        offset[row] = -scale[row] * plain / batch.n_observed


@compiled()
def _through_batch_norm(layer, batch, row, group, column, n):
    """Backward of BatchNorm for some columns of an output channel."""
    stride = batch.n_steps + batch.kernel_size - 1
    inside = group * stride + batch.kernel_size - 1 - batch.n_before
    outside = group * batch.n_steps * LANES + column
    loops.batch_norm_gradient(
        floats(layer.dy + 4 * (row * layer.dy_pitch + inside * LANES + column), n),
        floats(layer.y + 4 * (row * batch.pitch + outside), n),
        floats(batch.observed + 4 * outside, n),
        floats(layer.mean, layer.n_out)[row],
        floats(layer.scale, layer.n_out)[row],
        floats(layer.slope, layer.n_out)[row],
        floats(layer.offset, layer.n_out)[row],
    )


@compiled()
def _fill_gradient(layer, batch, row):
    """Fill the halos of an output channel's gradient, and compute its suffix sums."""
    whole = floats(layer.dy + 4 * row * layer.dy_pitch, layer.dy_pitch)
    to, source = ints(batch.back_to, batch.n_back), ints(batch.back_from, batch.n_back)
    loops.fill(whole, to, source)
    if batch.replicate:
        n, kernel_size = batch.n_series_groups, batch.kernel_size
        sums_from = ints(batch.sums_from, n * kernel_size * LANES)
        loops.suffix_sums(whole, batch.sums_column, sums_from.reshape((n, kernel_size, LANES)))


@compiled()
def _output_rows(layer, batch, chunk):
    """Backward of BatchNorm for some output channels, and the gradient w.r.t. their weights.

    A stretch of columns at a time: it is still in the cache for the weights.
    """
    columns, stride = batch.n_steps * LANES, (batch.n_steps + batch.kernel_size - 1) * LANES
    inside = (batch.kernel_size - 1 - batch.n_before) * LANES
    starts = longs(layer.weight_starts, layer.n_out + 1)
    first, last = chunk * ROWS, min((chunk + 1) * ROWS, layer.n_out)
    floats(layer.values_gradient, layer.n_values)[starts[first] : starts[last]] = 0
    n, n_groups = loops.stretch(columns)
    for group in range(0, batch.n_groups, n_groups):
        n_here = min(n_groups, batch.n_groups - group)
        for column in range(0, columns, n):
            size = min(n, columns - column)
            for row in range(first, last):
                for each in range(group, group + n_here):
                    _through_batch_norm(layer, batch, row, each, column, size)
                at = group * stride + column
                loops.weight_gradient(
                    layer.z + 4 * at,
                    layer.weight_offsets,
                    starts[row],
                    starts[row + 1],
                    layer.dy + 4 * (row * layer.dy_pitch + inside + at),
                    size,
                    n_here,
                    stride,
                    stride,
                    layer.values_gradient,
                )
    for row in range(first, last):
        _fill_gradient(layer, batch, row)


@compiled()
def _convolve_back(layer, batch, x, n_vectors, out, out_pitch):
    loops.convolve_tile(
        batch.convolutions,
        x,
        layer.back_offsets,
        layer.ordered,
        layer.back_counts,
        layer.back_blocks,
        n_vectors,
        out,
        out_pitch,
        layer.n_in,
    )


@compiled()
def _input_tile(layer, batch, n_tiles, chunk):
    """Write the gradient w.r.t. one tile of a layer's input, or w.r.t. the series' last steps."""
    if chunk < n_tiles:
        per_group = loops.n_tiles(batch.n_steps)
        group, step, end = loops.chunk_of_group(chunk, per_group, batch.n_steps)
        x = layer.dy + 4 * padded_column(batch, group, step, 0)
        out = layer.dz + 4 * (group * batch.n_steps + step) * LANES
        _convolve_back(layer, batch, x, end - step, out, batch.pitch)
        return
    group = chunk - n_tiles
    x = layer.dy + 4 * (batch.sums_column + group * batch.kernel_size * LANES)
    out_pitch = batch.n_series_groups * LANES
    _convolve_back(layer, batch, x, 1, layer.last_step + 4 * group * LANES, out_pitch)


@compiled()
def _scatter_last_steps(layer, batch):
    """Scatter the gradient w.r.t. each series' last time step into dz."""
    width = batch.n_series_groups * LANES
    last_step = float_matrix(layer.last_step, layer.n_in, width)
    dz = float_matrix(layer.dz, layer.n_in, batch.pitch)
    columns = ints(batch.last_columns, batch.n_series)
    for row in range(layer.n_in):
        for series in range(batch.n_series):
            dz[row, columns[series]] = last_step[row, series]


@compiled()
def _weights_gradient(layer, batch, counters, phase):
    """Backward of BatchNorm, and the gradients w.r.t. the weights."""
    n_merged = n_chunks(layer.n_out, ROWS)
    n_ordered = n_chunks(layer.n_values, N_ORDERED) if layer.dz != 0 else 0
    for chunk in claim_chunks(counters, phase, n_merged + n_ordered):
        if chunk < n_merged:
            _batch_norm_sums(layer, batch, chunk)
        else:
            order_values(layer, layer.back_order, chunk - n_merged)
    for chunk in claim_chunks(counters, phase + 1, n_chunks(layer.n_out, ROWS)):
        _output_rows(layer, batch, chunk)


@compiled()
def _input_gradient(layer, batch, counters, phase):
    """Backward of the sparse convolution and its padding."""
    n_tiles = batch.n_groups * loops.n_tiles(batch.n_steps)
    n_last = batch.n_series_groups if batch.replicate else 0
    for chunk in claim_chunks(counters, phase, n_tiles + n_last):
        _input_tile(layer, batch, n_tiles, chunk)
    for _ in claim_chunks(counters, phase + 1, batch.replicate):
        _scatter_last_steps(layer, batch)


@compiled_entry
def backward(layers, batches, counters, thread):
    """Compute the gradients w.r.t. all parameters from those w.r.t. the last layer's bins.

    The forward pass must have been called with these records before.
    """
    batch = batches[0]
    scratch = batch.scratch + 4 * thread * batch.scratch_size
    n_strips = batch.n_groups * loops.n_strips(batch.n_steps)
    for number in range(len(layers) - 1, -1, -1):
        layer, phase = layers[number], N_PHASES * number
        n_rows = n_chunks(layer.n_out, ROWS)
        if number == len(layers) - 1:
            for chunk in claim_chunks(counters, phase, n_rows):
                _feature_gradient(layer, batch, chunk)
        else:
            following = layers[number + 1]
            n_products = n_rows if following.bottleneck != 0 else 0
            for chunk in claim_chunks(counters, phase, n_strips + n_products):
                if chunk < n_strips:
                    _output_strip(layer, batch, following, chunk)
                else:
                    _matrix_gradient(layers, batch, number + 1, scratch, chunk - n_strips)
        _weights_gradient(layer, batch, counters, phase + 1)
        if layer.dz != 0:
            _input_gradient(layer, batch, counters, phase + 3)
    if layers[0].dz != 0:
        n_rows = n_chunks(batch.n_variates, ROWS)
        for chunk in claim_chunks(counters, N_PHASES * len(layers), n_rows):
            _matrix_gradient(layers, batch, 0, scratch, chunk)
