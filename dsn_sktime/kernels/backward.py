"""The backward pass of a whole network as one compiled function; see :mod:`.forward`."""

from __future__ import annotations

import numpy as np

from dsn_sktime.kernels import loops
from dsn_sktime.kernels.jit import compiled
from dsn_sktime.kernels.loops import PRODUCT_COLUMNS
from dsn_sktime.kernels.parts import (
    N_ORDERED,
    N_PHASES,
    PRODUCT_PITCH,
    ROWS,
    gather,
    n_parts,
    order_values,
    padded_column,
)
from dsn_sktime.kernels.pointers import float_matrix, floats, ints, longs
from dsn_sktime.kernels.simd import LANES, TILE_ROWS
from dsn_sktime.kernels.work_sharing import claim_chunks

__all__ = ["backward"]


@compiled()
def _class_gradient(batch, part):
    """Write the gradient by the scores of one class, and by its BatchNorm."""
    n, n_series, n_pool = batch.n_series * batch.n_pool, batch.n_series, batch.n_pool
    pooled = floats(batch.pooled + 4 * part * n, n)
    kept = float_matrix(batch.head_moments, batch.n_classes, 2)
    mean, rstd = kept[part, 0], kept[part, 1]
    upstream = float_matrix(batch.logit_gradient, n_series, batch.n_classes)
    plain = 0.0
    scaled = 0.0
    for series in range(n_series):
        average = loops.average(pooled[series * n_pool : (series + 1) * n_pool])
        plain += upstream[series, part]
        scaled += upstream[series, part] * (average - mean) * rstd
    floats(batch.bias_gradient, batch.n_classes)[part] = plain
    floats(batch.weight_gradient, batch.n_classes)[part] = scaled
    scale = floats(batch.weight, batch.n_classes)[part] * rstd / n_pool
    by_pooled = floats(batch.pooled_gradient + 4 * part * n, n)
    for series in range(n_series):
        offset = upstream[series, part] - plain / n_series
        for place in range(series * n_pool, (series + 1) * n_pool):
            deviation = (pooled[place] - mean) * rstd
            by_pooled[place] = scale * (offset - deviation * scaled / n_series)
    loops.pool_gradient(
        by_pooled,
        ints(batch.columns, n_series * batch.length),
        longs(batch.lengths, n_series),
        batch.length,
        n_pool,
        floats(batch.score_gradient + 4 * part * batch.pitch, batch.pitch),
    )


@compiled()
def _output_panel(layer, batch, upstream, n_next, matrix, part):
    """Write the gradient before BatchNorm of a panel, and its sums for BatchNorm's own.

    ``upstream`` is the gradient by what follows the 1x1 convolution ``matrix``, which has
    ``n_next`` rows.
    """
    per_group = loops.n_panels(batch.n_steps)
    group, step, end = loops.part_of_group(part, per_group, batch.n_steps)
    column, n = (group * batch.n_steps + step) * LANES, (end - step) * LANES
    dy = layer.dy + 4 * padded_column(batch, group, step, batch.kernel_size - 1 - batch.n_before)
    mean, scale = floats(layer.mean, layer.n_out), floats(layer.scale, layer.n_out)
    bias, observed = floats(layer.bias, layer.n_out), floats(batch.observed + 4 * column, n)
    sums = float_matrix(layer.panel_sums + 8 * part * layer.n_out, layer.n_out, 2)
    for first in range(0, layer.n_out, TILE_ROWS):
        last = min(first + TILE_ROWS, layer.n_out)
        for ahead in range(last, min(last + TILE_ROWS, layer.n_out)):
            loops.prefetch_row(dy + 4 * ahead * layer.dy_pitch, n)
            loops.prefetch_row(layer.y + 4 * (ahead * batch.pitch + column), n)
        loops.multiply_panel(
            matrix + 4 * first,
            1,
            layer.n_out,
            upstream + 4 * column,
            batch.pitch,
            n_next,
            end - step,
            dy + 4 * first * layer.dy_pitch,
            layer.dy_pitch,
            last - first,
        )
        for row in range(first, last):
            sums[row, 0], sums[row, 1] = loops.through_relu(
                floats(dy + 4 * row * layer.dy_pitch, n),
                floats(layer.y + 4 * (row * batch.pitch + column), n),
                observed,
                mean[row],
                scale[row],
                bias[row],
            )


@compiled()
def _matrix_gradient(layer, batch, upstream, n_next, gradient, scratch, part):
    """Write some columns of the gradient by the 1x1 convolution that follows a layer."""
    first, last = part * ROWS, min((part + 1) * ROWS, layer.n_out)
    float_matrix(gradient, n_next, layer.n_out)[:, first:last] = 0
    mean, scale = floats(layer.mean, layer.n_out), floats(layer.scale, layer.n_out)
    bias = floats(layer.bias, layer.n_out)
    for column in range(0, batch.n_columns, PRODUCT_COLUMNS):
        n = min(PRODUCT_COLUMNS, batch.n_columns - column)
        observed = floats(batch.observed + 4 * column, n)
        loops.activate(
            layer.y + 4 * column, batch.pitch, observed, mean, scale, bias,
            first, last, scratch, PRODUCT_PITCH,
        )  # fmt: skip
        loops.row_products(
            upstream + 4 * column, batch.pitch, n_next, scratch, PRODUCT_PITCH, last - first,
            n, gradient + 4 * first, layer.n_out,
        )  # fmt: skip


@compiled()
def _first_matrix_gradient(layer, batch, scratch, part):
    """Write some columns of the gradient by the 1x1 convolution of the series themselves."""
    n_variates = batch.n_variates
    first, last = part * ROWS, min((part + 1) * ROWS, n_variates)
    float_matrix(layer.bottleneck_gradient, layer.n_in, n_variates)[:, first:last] = 0
    for column in range(0, batch.n_columns, PRODUCT_COLUMNS):
        n = min(PRODUCT_COLUMNS, batch.n_columns - column)
        gather(batch, column, n, first, last, scratch, PRODUCT_PITCH)
        loops.row_products(
            layer.dz + 4 * column, batch.pitch, layer.n_in, scratch, PRODUCT_PITCH,
            last - first, n, layer.bottleneck_gradient + 4 * first, n_variates,
        )  # fmt: skip


@compiled()
def _batch_norm_sums(layer, batch, eps, part):
    """Merge the sums of the panels to the coefficients of BatchNorm's gradient."""
    n_all = batch.n_groups * loops.n_panels(batch.n_steps)
    sums = floats(layer.panel_sums, n_all * layer.n_out * 2).reshape((n_all, layer.n_out, 2))
    variance, scale = floats(layer.variance, layer.n_out), floats(layer.scale, layer.n_out)
    slope, offset = floats(layer.slope, layer.n_out), floats(layer.offset, layer.n_out)
    of_weight = floats(layer.weight_gradient, layer.n_out)
    of_bias = floats(layer.bias_gradient, layer.n_out)
    for row in range(part * ROWS, min((part + 1) * ROWS, layer.n_out)):
        plain = 0.0
        scaled = 0.0
        for panel in range(n_all):
            plain += sums[panel, row, 0]
            scaled += sums[panel, row, 1]
        rstd = 1 / np.sqrt(variance[row] + eps)
        of_weight[row] = scaled * rstd
        of_bias[row] = plain
        slope[row] = -scale[row] * rstd * rstd * scaled / batch.n_observed
        offset[row] = -scale[row] * plain / batch.n_observed


@compiled()
def _through_batch_norm(layer, batch, row, group, column, n):
    """Finish the gradient by some columns of an output channel."""
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
    """Fill the halos of an output channel's gradient, and take its suffix sums."""
    whole = floats(layer.dy + 4 * row * layer.dy_pitch, layer.dy_pitch)
    to, source = ints(batch.back_to, batch.n_back), ints(batch.back_from, batch.n_back)
    loops.fill(whole, to, source)
    if batch.replicate:
        n, kernel_size = batch.n_series_groups, batch.kernel_size
        sums_from = ints(batch.sums_from, n * kernel_size * LANES)
        loops.suffix_sums(whole, batch.sums_column, sums_from.reshape((n, kernel_size, LANES)))


@compiled()
def _output_rows(layer, batch, part):
    """Finish the gradient by some output channels, and take that by their weights.

    A stretch of columns at a time: it is still in the cache for the weights.
    """
    columns, stride = batch.n_steps * LANES, (batch.n_steps + batch.kernel_size - 1) * LANES
    inside = (batch.kernel_size - 1 - batch.n_before) * LANES
    starts = longs(layer.weight_starts, layer.n_out + 1)
    first, last = part * ROWS, min((part + 1) * ROWS, layer.n_out)
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
def _input_tile(layer, batch, n_tiles, part):
    """Write the gradient by one tile of a layer's input, or by the replicated last steps."""
    if part < n_tiles:
        per_group = loops.n_tiles(batch.n_steps)
        group, step, end = loops.part_of_group(part, per_group, batch.n_steps)
        x = layer.dy + 4 * padded_column(batch, group, step, 0)
        out = layer.dz + 4 * (group * batch.n_steps + step) * LANES
        _convolve_back(layer, batch, x, end - step, out, batch.pitch)
        return
    group = part - n_tiles
    x = layer.dy + 4 * (batch.sums_column + group * batch.kernel_size * LANES)
    out_pitch = batch.n_series_groups * LANES
    _convolve_back(layer, batch, x, 1, layer.last_step + 4 * group * LANES, out_pitch)


@compiled()
def _put_last_steps(layer, batch):
    """Let the gradients by the replicated last steps take their places."""
    width = batch.n_series_groups * LANES
    last_step = float_matrix(layer.last_step, layer.n_in, width)
    dz = float_matrix(layer.dz, layer.n_in, batch.pitch)
    columns = ints(batch.last_columns, batch.n_series)
    for row in range(layer.n_in):
        for series in range(batch.n_series):
            dz[row, columns[series]] = last_step[row, series]


@compiled()
def _output_gradient(layer, batch, upstream, n_next, matrix, of_matrix, scratch, counters, phase):
    """Go back through the 1x1 convolution after a layer, ReLU and BatchNorm's sums."""
    n_panels = batch.n_groups * loops.n_panels(batch.n_steps)
    for part in claim_chunks(counters, phase, n_panels + n_parts(layer.n_out, ROWS)):
        if part < n_panels:
            _output_panel(layer, batch, upstream, n_next, matrix, part)
        else:
            _matrix_gradient(layer, batch, upstream, n_next, of_matrix, scratch, part - n_panels)


@compiled()
def _weights_gradient(layer, batch, eps, counters, phase):
    """Go back through BatchNorm, and take the gradients by the weights."""
    n_merged = n_parts(layer.n_out, ROWS)
    n_ordered = n_parts(layer.n_values, N_ORDERED) if layer.dz != 0 else 0
    for part in claim_chunks(counters, phase, n_merged + n_ordered):
        if part < n_merged:
            _batch_norm_sums(layer, batch, eps, part)
        else:
            order_values(layer, layer.back_order, part - n_merged)
    for part in claim_chunks(counters, phase + 1, n_parts(layer.n_out, ROWS)):
        _output_rows(layer, batch, part)


@compiled()
def _input_gradient(layer, batch, counters, phase):
    """Go back through the sparse convolution and its padding."""
    n_tiles = batch.n_groups * loops.n_tiles(batch.n_steps)
    n_last = batch.n_series_groups if batch.replicate else 0
    for part in claim_chunks(counters, phase, n_tiles + n_last):
        _input_tile(layer, batch, n_tiles, part)
    for _ in claim_chunks(counters, phase + 1, batch.replicate):
        _put_last_steps(layer, batch)


@compiled()
def backward(layers, batches, eps, counters, thread):
    """Compute the gradients by all parameters from those by the logits.

    Parameters
    ----------
    layers, batches, eps, counters, thread
        As in :func:`forward`, which must have been called before.
    """
    batch = batches[0]
    scratch = batch.scratch + 4 * thread * batch.scratch_size
    after = N_PHASES * len(layers)
    for part in claim_chunks(counters, after, batch.n_classes):
        _class_gradient(batch, part)
    upstream, n_next = batch.score_gradient, batch.n_classes
    matrix, of_matrix = batch.classes, batch.classes_gradient
    for number in range(len(layers) - 1, -1, -1):
        layer, phase = layers[number], N_PHASES * number
        _output_gradient(
            layer, batch, upstream, n_next, matrix, of_matrix, scratch, counters, phase
        )
        _weights_gradient(layer, batch, eps, counters, phase + 1)
        if layer.dz != 0:
            _input_gradient(layer, batch, counters, phase + 3)
        upstream, n_next = layer.dz, layer.n_in
        matrix, of_matrix = layer.bottleneck, layer.bottleneck_gradient
    if layers[0].dz != 0:
        for part in claim_chunks(counters, after + 1, n_parts(batch.n_variates, ROWS)):
            _first_matrix_gradient(layers[0], batch, scratch, part)
