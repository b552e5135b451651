"""The forward and the backward pass of a whole network, each one compiled function.

Every thread of a team calls the same function; :func:`~dsn_sktime.kernels.team.share` deals
out the parts of each phase. Where arrays are and how large is in two tables of int64, one
row per layer in the first: numba would compile anew for every number of layers else.

BatchNorm and ReLU are not stored. Whoever reads a layer's activations, forward the next 1x1
convolution and backward its gradients, computes them from the convolution's output again.
"""

from __future__ import annotations

import numpy as np

from dsn_sktime.kernels import loops
from dsn_sktime.kernels.jit import compiled
from dsn_sktime.kernels.loops import PANEL_COLUMNS, PRODUCT_COLUMNS
from dsn_sktime.kernels.simd import LANES, MAX_VECTORS, TILE_ROWS
from dsn_sktime.kernels.team import share
from dsn_sktime.kernels.views import float_matrix, floats, ints, longs

__all__ = ["BATCH", "LAYER", "N_PHASES", "backward", "forward", "scratch_columns"]


def _record(*names: str) -> np.dtype:
    return np.dtype([(name, np.int64) for name in names])


# Addresses unless said otherwise. The first ones lie in the memory of one step.
LAYER = _record(
    # Matrices: padded input (n_in, z_pitch), convolution's output (n_out, pitch), its
    # gradient (n_out, dy_pitch), gradient by the input before padding (n_in, pitch).
    "z",
    "y",
    "dy",
    "dz",
    # Vectors of n_out: BatchNorm as (y - mean) * scale + bias; its gradient's coefficients.
    "mean",
    "variance",
    "scale",
    "slope",
    "offset",
    # Per tile (n_tiles, n_out, 2), per panel (n_panels, n_out, 2); values in the order of the
    # convolution; gradient by the last step of each series (n_in, vectors of series).
    "moments",
    "panel_sums",
    "ordered",
    "last_step",
    # Parameters and running statistics; gradients by the parameters.
    "bottleneck",
    "values",
    "weight",
    "bias",
    "running_mean",
    "running_variance",
    "bottleneck_gradient",
    "values_gradient",
    "weight_gradient",
    "bias_gradient",
    # Topology: as the convolutions forward and backward take it, and by weight.
    "order",
    "offsets",
    "counts",
    "back_order",
    "back_offsets",
    "back_counts",
    "weight_offsets",
    "weight_starts",
    # Numbers.
    "n_blocks",
    "back_blocks",
    "n_values",
    "n_in",
    "n_out",
    "z_pitch",
    "dy_pitch",
)

BATCH = _record(
    # In the memory of one step: scores (n_classes, pitch) and their gradient, bins of scores
    # (n_classes, n_series * n_pool) and theirs, BatchNorm's mean and 1 / deviation
    # (n_classes, 2), and what each thread has for itself.
    "scores",
    "score_gradient",
    "pooled",
    "pooled_gradient",
    "head_moments",
    "scratch",
    # Series (n_series, n_variates, length); logits (n_series, n_classes), their gradient.
    "x",
    "logits",
    "logit_gradient",
    # Head: matrix, BatchNorm and running statistics; gradients by the parameters.
    "classes",
    "weight",
    "bias",
    "running_mean",
    "running_variance",
    "classes_gradient",
    "weight_gradient",
    "bias_gradient",
    # 1 or 0 for each column; what it shows of the first variate; columns of each series;
    # the lengths; columns that count in each tile.
    "observed",
    "source",
    "columns",
    "lengths",
    "counts",
    # Halos of the padded input and of the output's gradient, int32 columns.
    "fill_to",
    "fill_from",
    "back_to",
    "back_from",
    # Columns of the steps before a series' end, and of its last one.
    "sums_from",
    "last_columns",
    # Numbers.
    "scratch_size",
    "n_variates",
    "n_classes",
    "n_pool",
    "n_fill",
    "n_back",
    "n_groups",
    "n_steps",
    "length",
    "pitch",
    "n_columns",
    "n_observed",
    "kernel_size",
    "n_before",
    "n_series",
    "n_series_groups",
    "sums_column",
    "replicate",
    "training",
)

# Of a layer; the head has two more.
N_PHASES = 5

# Columns from one packed row to the next, an odd number of cache lines.
_PACKED_PITCH = max(PANEL_COLUMNS, MAX_VECTORS * LANES) + 16
_PRODUCT_PITCH = PRODUCT_COLUMNS + 16

# Rows of a part.
_ROWS = 12
# Weights of one.
_N_ORDERED = 4096


def scratch_columns(n_channels: int) -> int:
    """Return the float32 that each thread needs for itself."""
    return max(n_channels * _PACKED_PITCH, _ROWS * _PRODUCT_PITCH)


@compiled()
def _n_parts(n_rows, per_part):
    return (n_rows + per_part - 1) // per_part


@compiled()
def _padded_column(batch, group, step, n_before):
    """Return the column of a group's step in a padded matrix."""
    return (group * (batch.n_steps + batch.kernel_size - 1) + n_before + step) * LANES


@compiled()
def _pack(layer, batch, column, n, scratch):
    """Write the activations of a panel into a thread's own memory."""
    loops.activate(
        layer.y + 4 * column,
        batch.pitch,
        floats(batch.observed + 4 * column, n),
        floats(layer.mean, layer.n_out),
        floats(layer.scale, layer.n_out),
        floats(layer.bias, layer.n_out),
        0,
        layer.n_out,
        scratch,
        _PACKED_PITCH,
    )


@compiled()
def _gather(batch, column, n, first, last, out, out_pitch):
    """Write some columns of the series, variates ``first..last-1``; 0 where not observed."""
    source = ints(batch.source + 4 * column, n)
    size = batch.n_series * batch.n_variates * batch.length
    for row in range(first, last):
        loops.gather(
            floats(batch.x, size)[row * batch.length :],
            source,
            floats(out + 4 * (row - first) * out_pitch, n),
        )


@compiled()
def _mix_panel(layers, batch, number, scratch, group, step, end, matrix, n_rows, out, out_pitch):
    """Multiply a matrix by a panel of what layer ``number`` reads."""
    column, size = (group * batch.n_steps + step) * LANES, (end - step) * LANES
    n = batch.n_variates
    if number > 0:
        n = layers[number - 1].n_out
        _pack(layers[number - 1], batch, column, size, scratch)
    else:
        _gather(batch, column, size, 0, n, scratch, _PACKED_PITCH)
    loops.multiply_panel(
        matrix, n, 1, scratch, _PACKED_PITCH, n, end - step, out, out_pitch, n_rows
    )


@compiled()
def _input_panel(layers, batch, number, scratch, part):
    """Write a panel of a layer's input: of the 1x1 convolution, or of the series itself."""
    layer = layers[number]
    per_group = loops.n_panels(batch.n_steps)
    group, step, end = loops.part_of_group(part, per_group, batch.n_steps)
    out = layer.z + 4 * _padded_column(batch, group, step, batch.n_before)
    if layer.bottleneck != 0:
        _mix_panel(
            layers, batch, number, scratch, group, step, end,
            layer.bottleneck, layer.n_in, out, layer.z_pitch,
        )  # fmt: skip
    else:
        column = (group * batch.n_steps + step) * LANES
        _gather(batch, column, (end - step) * LANES, 0, layer.n_in, out, layer.z_pitch)


@compiled()
def _order_values(layer, order, part):
    """Copy some values to where a convolution reads them."""
    n = layer.n_values
    places, values, ordered = ints(order, n), floats(layer.values, n), floats(layer.ordered, n)
    for weight in range(part * _N_ORDERED, min((part + 1) * _N_ORDERED, n)):
        ordered[weight] = values[np.uint32(places[weight])]


@compiled()
def _fill_rows(layer, batch, part):
    to, source = ints(batch.fill_to, batch.n_fill), ints(batch.fill_from, batch.n_fill)
    for row in range(part * _ROWS, min((part + 1) * _ROWS, layer.n_in)):
        loops.fill(floats(layer.z + 4 * row * layer.z_pitch, layer.z_pitch), to, source)


@compiled()
def _convolve(layer, batch, group, step, n_vectors, out, out_pitch):
    """Convolve one tile, for all output channels."""
    loops.convolve_tile(
        layer.z + 4 * _padded_column(batch, group, step, 0),
        layer.offsets,
        layer.ordered,
        layer.counts,
        layer.n_blocks,
        n_vectors,
        out,
        out_pitch,
        layer.n_out,
    )


@compiled()
def _output_tile(layer, batch, part):
    """Compute one tile of a convolution, and its moments for BatchNorm."""
    per_group = loops.n_tiles(batch.n_steps)
    group, step, end = loops.part_of_group(part, per_group, batch.n_steps)
    column = (group * batch.n_steps + step) * LANES
    out = layer.y + 4 * column
    _convolve(layer, batch, group, step, end - step, out, batch.pitch)
    loops.tile_moments(
        out,
        batch.pitch,
        floats(batch.observed + 4 * column, (end - step) * LANES),
        layer.n_out,
        float_matrix(layer.moments + 8 * part * layer.n_out, layer.n_out, 2),
    )


@compiled()
def _statistics(layer, batch, eps, momentum, part):
    """Merge the moments of the tiles to the statistics of some rows, and the running ones."""
    n_all = batch.n_groups * loops.n_tiles(batch.n_steps)
    counts = floats(batch.counts, n_all)
    moments = floats(layer.moments, n_all * layer.n_out * 2).reshape((n_all, layer.n_out, 2))
    weight = floats(layer.weight, layer.n_out)
    mean, variance = floats(layer.mean, layer.n_out), floats(layer.variance, layer.n_out)
    scale = floats(layer.scale, layer.n_out)
    running_mean = floats(layer.running_mean, layer.n_out)
    running_variance = floats(layer.running_variance, layer.n_out)
    unbiased = batch.n_observed / max(batch.n_observed - 1, 1)
    for row in range(part * _ROWS, min((part + 1) * _ROWS, layer.n_out)):
        centre, spread = loops.merge_moments(moments, counts, row)
        mean[row], variance[row] = centre, spread
        scale[row] = weight[row] / np.sqrt(spread + eps)
        running_mean[row] += momentum * (centre - running_mean[row])
        running_variance[row] += momentum * (spread * unbiased - running_variance[row])


@compiled()
def _running_statistics(layer, eps):
    """Let the running statistics be those of a layer."""
    weight = floats(layer.weight, layer.n_out)
    mean, scale = floats(layer.mean, layer.n_out), floats(layer.scale, layer.n_out)
    running_mean = floats(layer.running_mean, layer.n_out)
    running_variance = floats(layer.running_variance, layer.n_out)
    for row in range(layer.n_out):
        mean[row] = running_mean[row]
        scale[row] = weight[row] / np.sqrt(running_variance[row] + eps)


@compiled()
def _score_panel(layers, batch, scratch, part):
    """Multiply the head's matrix by a panel of the last activations."""
    per_group = loops.n_panels(batch.n_steps)
    group, step, end = loops.part_of_group(part, per_group, batch.n_steps)
    out = batch.scores + 4 * (group * batch.n_steps + step) * LANES
    _mix_panel(
        layers, batch, len(layers), scratch, group, step, end,
        batch.classes, batch.n_classes, out, batch.pitch,
    )  # fmt: skip


@compiled()
def _class_logits(batch, eps, momentum, part):
    """Pool the scores of one class, normalise them, and average them to logits."""
    n = batch.n_series * batch.n_pool
    pooled = floats(batch.pooled + 4 * part * n, n)
    loops.pool(
        floats(batch.scores + 4 * part * batch.pitch, batch.pitch),
        ints(batch.columns, batch.n_series * batch.length),
        longs(batch.lengths, batch.n_series),
        batch.length,
        batch.n_pool,
        pooled,
    )
    running_mean = floats(batch.running_mean, batch.n_classes)
    running_variance = floats(batch.running_variance, batch.n_classes)
    mean, variance = float(running_mean[part]), float(running_variance[part])
    if batch.training:
        mean, variance = loops.moments(pooled)
        running_mean[part] += momentum * (mean - running_mean[part])
        unbiased = variance * n / max(n - 1, 1)
        running_variance[part] += momentum * (unbiased - running_variance[part])
    rstd = 1 / np.sqrt(variance + eps)
    kept = float_matrix(batch.head_moments, batch.n_classes, 2)
    kept[part, 0], kept[part, 1] = mean, rstd
    weight, bias = floats(batch.weight, batch.n_classes), floats(batch.bias, batch.n_classes)
    logits = float_matrix(batch.logits, batch.n_series, batch.n_classes)
    for series in range(batch.n_series):
        average = loops.average(pooled[series * batch.n_pool : (series + 1) * batch.n_pool])
        logits[series, part] = (average - mean) * rstd * weight[part] + bias[part]


@compiled()
def forward(layers, batches, eps, momentum, team, thread):
    """Compute the logits of a batch of series.

    Parameters
    ----------
    layers : array of LAYER, shape (n_layers,)
    batches : array of BATCH, shape (1,)
    eps, momentum : float
        BatchNorm's.
    team : int64 array
        Counters of ``N_PHASES * n_layers + 2`` phases.
    thread : int
        Number of the calling thread in its team.
    """
    batch = batches[0]
    scratch = batch.scratch + 4 * thread * batch.scratch_size
    n_panels = batch.n_groups * loops.n_panels(batch.n_steps)
    n_tiles = batch.n_groups * loops.n_tiles(batch.n_steps)
    for number in range(len(layers)):
        layer, phase = layers[number], N_PHASES * number
        for part in share(team, phase, n_panels + _n_parts(layer.n_values, _N_ORDERED)):
            if part < n_panels:
                _input_panel(layers, batch, number, scratch, part)
            else:
                _order_values(layer, layer.order, part - n_panels)
        for part in share(team, phase + 1, _n_parts(layer.n_in, _ROWS)):
            _fill_rows(layer, batch, part)
        for part in share(team, phase + 2, n_tiles):
            _output_tile(layer, batch, part)
        for part in share(team, phase + 3, _n_parts(layer.n_out, _ROWS)):
            _statistics(layer, batch, eps, momentum, part)
    for part in share(team, N_PHASES * len(layers), n_panels):
        _score_panel(layers, batch, scratch, part)
    for part in share(team, N_PHASES * len(layers) + 1, batch.n_classes):
        _class_logits(batch, eps, momentum, part)


@compiled()
def _next_input_tile(layers, batch, number, scratch, part):
    """Take one tile from a layer's input to the next one's, or to the scores.

    What lies between, the output of the convolution, never leaves the cache.
    """
    layer, after = layers[number], number + 1
    per_group = loops.n_tiles(batch.n_steps)
    group, step, end = loops.part_of_group(part, per_group, batch.n_steps)
    column, n_vectors = (group * batch.n_steps + step) * LANES, end - step
    _convolve(layer, batch, group, step, n_vectors, scratch, _PACKED_PITCH)
    loops.activate_in_place(
        scratch,
        _PACKED_PITCH,
        floats(batch.observed + 4 * column, n_vectors * LANES),
        floats(layer.mean, layer.n_out),
        floats(layer.scale, layer.n_out),
        floats(layer.bias, layer.n_out),
    )
    matrix, n_rows = batch.classes, batch.n_classes
    out, out_pitch = batch.scores + 4 * column, batch.pitch
    if after < len(layers):
        following = layers[after]
        matrix, n_rows = following.bottleneck, following.n_in
        out = following.z + 4 * _padded_column(batch, group, step, batch.n_before)
        out_pitch = following.z_pitch
    loops.multiply_panel(
        matrix, layer.n_out, 1, scratch, _PACKED_PITCH, layer.n_out, n_vectors,
        out, out_pitch, n_rows,
    )  # fmt: skip


@compiled()
def predict(layers, batches, eps, team, thread):
    """Compute the logits of a batch of series, BatchNorm with its running statistics.

    Parameters
    ----------
    layers, batches, eps, team, thread
        As in :func:`forward`.
    """
    batch = batches[0]
    scratch = batch.scratch + 4 * thread * batch.scratch_size
    n_tiles = batch.n_groups * loops.n_tiles(batch.n_steps)
    n_panels = batch.n_groups * loops.n_panels(batch.n_steps)
    for part in share(team, 0, n_panels):
        _input_panel(layers, batch, 0, scratch, part)
    for number in range(len(layers)):
        layer, phase = layers[number], 2 * number + 1
        n_filled = _n_parts(layer.n_in, _ROWS)
        n_ordered = _n_parts(layer.n_values, _N_ORDERED)
        for part in share(team, phase, n_filled + n_ordered + 1):
            if part < n_filled:
                _fill_rows(layer, batch, part)
            elif part < n_filled + n_ordered:
                _order_values(layer, layer.order, part - n_filled)
            else:
                _running_statistics(layer, eps)
        for part in share(team, phase + 1, n_tiles):
            _next_input_tile(layers, batch, number, scratch, part)
    for part in share(team, 2 * len(layers) + 1, batch.n_classes):
        _class_logits(batch, eps, 0.0, part)


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
    dy = layer.dy + 4 * _padded_column(batch, group, step, batch.kernel_size - 1 - batch.n_before)
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
    first, last = part * _ROWS, min((part + 1) * _ROWS, layer.n_out)
    float_matrix(gradient, n_next, layer.n_out)[:, first:last] = 0
    mean, scale = floats(layer.mean, layer.n_out), floats(layer.scale, layer.n_out)
    bias = floats(layer.bias, layer.n_out)
    for column in range(0, batch.n_columns, PRODUCT_COLUMNS):
        n = min(PRODUCT_COLUMNS, batch.n_columns - column)
        observed = floats(batch.observed + 4 * column, n)
        loops.activate(
            layer.y + 4 * column, batch.pitch, observed, mean, scale, bias,
            first, last, scratch, _PRODUCT_PITCH,
        )  # fmt: skip
        loops.row_products(
            upstream + 4 * column, batch.pitch, n_next, scratch, _PRODUCT_PITCH, last - first,
            n, gradient + 4 * first, layer.n_out,
        )  # fmt: skip


@compiled()
def _first_matrix_gradient(layer, batch, scratch, part):
    """Write some columns of the gradient by the 1x1 convolution of the series themselves."""
    n_variates = batch.n_variates
    first, last = part * _ROWS, min((part + 1) * _ROWS, n_variates)
    float_matrix(layer.bottleneck_gradient, layer.n_in, n_variates)[:, first:last] = 0
    for column in range(0, batch.n_columns, PRODUCT_COLUMNS):
        n = min(PRODUCT_COLUMNS, batch.n_columns - column)
        _gather(batch, column, n, first, last, scratch, _PRODUCT_PITCH)
        loops.row_products(
            layer.dz + 4 * column, batch.pitch, layer.n_in, scratch, _PRODUCT_PITCH,
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
    for row in range(part * _ROWS, min((part + 1) * _ROWS, layer.n_out)):
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
def _output_rows(layer, batch, part):
    """Finish the gradient by some output channels, and take that by their weights."""
    group_columns = batch.n_steps * LANES
    stride = (batch.n_steps + batch.kernel_size - 1) * LANES
    inside = (batch.kernel_size - 1 - batch.n_before) * LANES
    starts = longs(layer.weight_starts, layer.n_out + 1)
    mean, scale = floats(layer.mean, layer.n_out), floats(layer.scale, layer.n_out)
    slope, offset = floats(layer.slope, layer.n_out), floats(layer.offset, layer.n_out)
    to, source = ints(batch.back_to, batch.n_back), ints(batch.back_from, batch.n_back)
    first, last = part * _ROWS, min((part + 1) * _ROWS, layer.n_out)
    for row in range(first, last):
        dy = layer.dy + 4 * row * layer.dy_pitch
        for group in range(batch.n_groups):
            column = group * group_columns
            loops.batch_norm_gradient(
                floats(dy + 4 * (group * stride + inside), group_columns),
                floats(layer.y + 4 * (row * batch.pitch + column), group_columns),
                floats(batch.observed + 4 * column, group_columns),
                mean[row],
                scale[row],
                slope[row],
                offset[row],
            )
        whole = floats(dy, layer.dy_pitch)
        loops.fill(whole, to, source)
        if batch.replicate:
            n, kernel_size = batch.n_series_groups, batch.kernel_size
            sums_from = ints(batch.sums_from, n * kernel_size * LANES)
            loops.suffix_sums(whole, batch.sums_column, sums_from.reshape((n, kernel_size, LANES)))
    loops.weight_gradient(
        layer.z,
        layer.weight_offsets,
        starts[first : last + 1],
        layer.dy + 4 * (first * layer.dy_pitch + inside),
        layer.dy_pitch,
        batch.n_groups,
        group_columns,
        stride,
        stride,
        layer.values_gradient,
    )


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
        x = layer.dy + 4 * _padded_column(batch, group, step, 0)
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
def _output_gradient(layer, batch, upstream, n_next, matrix, of_matrix, scratch, team, phase):
    """Go back through the 1x1 convolution after a layer, ReLU and BatchNorm's sums."""
    n_panels = batch.n_groups * loops.n_panels(batch.n_steps)
    for part in share(team, phase, n_panels + _n_parts(layer.n_out, _ROWS)):
        if part < n_panels:
            _output_panel(layer, batch, upstream, n_next, matrix, part)
        else:
            _matrix_gradient(layer, batch, upstream, n_next, of_matrix, scratch, part - n_panels)


@compiled()
def _weights_gradient(layer, batch, eps, team, phase):
    """Go back through BatchNorm, and take the gradients by the weights."""
    n_merged = _n_parts(layer.n_out, _ROWS)
    n_ordered = _n_parts(layer.n_values, _N_ORDERED) if layer.dz != 0 else 0
    for part in share(team, phase, n_merged + n_ordered):
        if part < n_merged:
            _batch_norm_sums(layer, batch, eps, part)
        else:
            _order_values(layer, layer.back_order, part - n_merged)
    for part in share(team, phase + 1, _n_parts(layer.n_out, _ROWS)):
        _output_rows(layer, batch, part)


@compiled()
def _input_gradient(layer, batch, team, phase):
    """Go back through the sparse convolution and its padding."""
    n_tiles = batch.n_groups * loops.n_tiles(batch.n_steps)
    n_last = batch.n_series_groups if batch.replicate else 0
    for part in share(team, phase, n_tiles + n_last):
        _input_tile(layer, batch, n_tiles, part)
    for _ in share(team, phase + 1, batch.replicate):
        _put_last_steps(layer, batch)


@compiled()
def backward(layers, batches, eps, team, thread):
    """Compute the gradients by all parameters from those by the logits.

    Parameters
    ----------
    layers, batches, eps, team, thread
        As in :func:`forward`, which must have been called before.
    """
    batch = batches[0]
    scratch = batch.scratch + 4 * thread * batch.scratch_size
    after = N_PHASES * len(layers)
    for part in share(team, after, batch.n_classes):
        _class_gradient(batch, part)
    upstream, n_next = batch.score_gradient, batch.n_classes
    matrix, of_matrix = batch.classes, batch.classes_gradient
    for number in range(len(layers) - 1, -1, -1):
        layer, phase = layers[number], N_PHASES * number
        _output_gradient(layer, batch, upstream, n_next, matrix, of_matrix, scratch, team, phase)
        _weights_gradient(layer, batch, eps, team, phase + 1)
        if layer.dz != 0:
            _input_gradient(layer, batch, team, phase + 3)
        upstream, n_next = layer.dz, layer.n_in
        matrix, of_matrix = layer.bottleneck, layer.bottleneck_gradient
    if layers[0].dz != 0:
        for part in share(team, after + 1, _n_parts(batch.n_variates, _ROWS)):
            _first_matrix_gradient(layers[0], batch, scratch, part)


@compiled()
def convolve(x, offsets, values, counts, n_groups, n_steps, kernel_size, out, team):
    """Convolve a padded matrix, on its own.

    Parameters
    ----------
    x : array of shape (C_in, x_pitch)
        Padded matrix, all of its halo after the steps.
    offsets, values, counts : arrays
        As in :class:`~dsn_sktime.kernels.layout.Weights`.
    n_groups, n_steps, kernel_size : int
    out : array of shape (C_out, pitch)
    team : int64 array
        Counters of one phase.
    """
    per_group = loops.n_tiles(n_steps)
    for part in share(team, 0, n_groups * per_group):
        group, step, end = loops.part_of_group(part, per_group, n_steps)
        loops.convolve_tile(
            x.ctypes.data + 4 * (group * (n_steps + kernel_size - 1) + step) * LANES,
            # Signed, as what the loop moves them on by: numba would make floats of both.
            np.int64(offsets.ctypes.data),
            np.int64(values.ctypes.data),
            np.int64(counts.ctypes.data),
            counts.shape[0],
            end - step,
            out.ctypes.data + 4 * (group * n_steps + step) * LANES,
            out.shape[1],
            out.shape[0],
        )


@compiled()
def gradient_by_values(x, offsets, starts, dy, n_groups, n_steps, kernel_size, out, team):
    """Take the gradient by the values of a convolution, on its own.

    Parameters
    ----------
    x, offsets, n_groups, n_steps, kernel_size, team
        As in :func:`convolve`.
    starts : int64 array of shape (C_out + 1,)
        First weight of each output channel, and the end.
    dy : array of shape (C_out, pitch)
        Gradient by the output, 0 in columns that no series has.
    out : array of shape (n,)
    """
    n_rows = len(starts) - 1
    for part in share(team, 0, _n_parts(n_rows, _ROWS)):
        first, last = part * _ROWS, min((part + 1) * _ROWS, n_rows)
        loops.weight_gradient(
            x.ctypes.data,
            offsets.ctypes.data,
            starts[first : last + 1],
            dy.ctypes.data + 4 * first * dy.shape[1],
            dy.shape[1],
            n_groups,
            n_steps * LANES,
            (n_steps + kernel_size - 1) * LANES,
            n_steps * LANES,
            out.ctypes.data,
        )
