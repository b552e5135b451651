"""The forward pass of a whole network as one compiled function, to train and to predict.

Every thread calls the same function;
:func:`~dsn_sktime.kernels.work_sharing.claim_chunks` deals out the chunks of each phase.

In training BatchNorm and ReLU are not stored. Whoever reads a layer's activations, forward the
next 1x1 convolution and backward its gradients, computes them from the convolution's output
again. A prediction knows the statistics beforehand, and stores not even that output.
"""

from __future__ import annotations

import numpy as np

from dsn_sktime.kernels import loops
from dsn_sktime.kernels.jit import compiled
from dsn_sktime.kernels.parts import (
    N_ORDERED,
    N_PHASES,
    PACKED_PITCH,
    ROWS,
    gather,
    n_parts,
    order_values,
    padded_column,
)
from dsn_sktime.kernels.pointers import float_matrix, floats, ints, longs
from dsn_sktime.kernels.simd import LANES
from dsn_sktime.kernels.work_sharing import claim_chunks

__all__ = ["forward", "predict"]


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
        PACKED_PITCH,
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
        gather(batch, column, size, 0, n, scratch, PACKED_PITCH)
    loops.multiply_panel(matrix, n, 1, scratch, PACKED_PITCH, n, end - step, out, out_pitch, n_rows)


@compiled()
def _input_panel(layers, batch, number, scratch, part):
    """Write a panel of a layer's input: of the 1x1 convolution, or of the series itself."""
    layer = layers[number]
    per_group = loops.n_panels(batch.n_steps)
    group, step, end = loops.part_of_group(part, per_group, batch.n_steps)
    out = layer.z + 4 * padded_column(batch, group, step, batch.n_before)
    if layer.bottleneck != 0:
        _mix_panel(
            layers, batch, number, scratch, group, step, end,
            layer.bottleneck, layer.n_in, out, layer.z_pitch,
        )  # fmt: skip
    else:
        column = (group * batch.n_steps + step) * LANES
        gather(batch, column, (end - step) * LANES, 0, layer.n_in, out, layer.z_pitch)


@compiled()
def _fill_rows(layer, batch, part):
    to, source = ints(batch.fill_to, batch.n_fill), ints(batch.fill_from, batch.n_fill)
    for row in range(part * ROWS, min((part + 1) * ROWS, layer.n_in)):
        loops.fill(floats(layer.z + 4 * row * layer.z_pitch, layer.z_pitch), to, source)


@compiled()
def _convolve(layer, batch, group, step, n_vectors, out, out_pitch):
    """Convolve one tile, for all output channels."""
    loops.convolve_tile(
        layer.z + 4 * padded_column(batch, group, step, 0),
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
    for row in range(part * ROWS, min((part + 1) * ROWS, layer.n_out)):
        centre, spread = loops.merge_moments(moments, counts, row)
        mean[row], variance[row] = centre, spread
        scale[row] = weight[row] / np.sqrt(spread + eps)
        running_mean[row] += momentum * (centre - running_mean[row])
        running_variance[row] += momentum * (spread * unbiased - running_variance[row])


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
def forward(layers, batches, eps, momentum, counters, thread):
    """Compute the logits of a batch of series.

    Parameters
    ----------
    layers : array of LAYER, shape (n_layers,)
    batches : array of BATCH, shape (1,)
    eps, momentum : float
        BatchNorm's.
    counters : int64
        Address of the counters of ``N_PHASES * n_layers + 2`` phases.
    thread : int
        Number of the calling thread.
    """
    batch = batches[0]
    scratch = batch.scratch + 4 * thread * batch.scratch_size
    n_panels = batch.n_groups * loops.n_panels(batch.n_steps)
    n_tiles = batch.n_groups * loops.n_tiles(batch.n_steps)
    for number in range(len(layers)):
        layer, phase = layers[number], N_PHASES * number
        for part in claim_chunks(counters, phase, n_panels + n_parts(layer.n_values, N_ORDERED)):
            if part < n_panels:
                _input_panel(layers, batch, number, scratch, part)
            else:
                order_values(layer, layer.order, part - n_panels)
        for part in claim_chunks(counters, phase + 1, n_parts(layer.n_in, ROWS)):
            _fill_rows(layer, batch, part)
        for part in claim_chunks(counters, phase + 2, n_tiles):
            _output_tile(layer, batch, part)
        for part in claim_chunks(counters, phase + 3, n_parts(layer.n_out, ROWS)):
            _statistics(layer, batch, eps, momentum, part)
    for part in claim_chunks(counters, N_PHASES * len(layers), n_panels):
        _score_panel(layers, batch, scratch, part)
    for part in claim_chunks(counters, N_PHASES * len(layers) + 1, batch.n_classes):
        _class_logits(batch, eps, momentum, part)


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
def _next_input_tile(layers, batch, number, scratch, part):
    """Take one tile from a layer's input to the next one's, or to the scores.

    What lies between, the output of the convolution, never leaves the cache.
    """
    layer, after = layers[number], number + 1
    per_group = loops.n_tiles(batch.n_steps)
    group, step, end = loops.part_of_group(part, per_group, batch.n_steps)
    column, n_vectors = (group * batch.n_steps + step) * LANES, end - step
    _convolve(layer, batch, group, step, n_vectors, scratch, PACKED_PITCH)
    loops.activate_in_place(
        scratch,
        PACKED_PITCH,
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
        out = following.z + 4 * padded_column(batch, group, step, batch.n_before)
        out_pitch = following.z_pitch
    loops.multiply_panel(
        matrix, layer.n_out, 1, scratch, PACKED_PITCH, layer.n_out, n_vectors,
        out, out_pitch, n_rows,
    )  # fmt: skip


@compiled()
def predict(layers, batches, eps, counters, thread):
    """Compute the logits of a batch of series, BatchNorm with its running statistics.

    Parameters
    ----------
    layers, batches, eps, counters, thread
        As in :func:`forward`.
    """
    batch = batches[0]
    scratch = batch.scratch + 4 * thread * batch.scratch_size
    n_tiles = batch.n_groups * loops.n_tiles(batch.n_steps)
    n_panels = batch.n_groups * loops.n_panels(batch.n_steps)
    for part in claim_chunks(counters, 0, n_panels):
        _input_panel(layers, batch, 0, scratch, part)
    for number in range(len(layers)):
        layer, phase = layers[number], 2 * number + 1
        n_filled = n_parts(layer.n_in, ROWS)
        n_ordered = n_parts(layer.n_values, N_ORDERED)
        for part in claim_chunks(counters, phase, n_filled + n_ordered + 1):
            if part < n_filled:
                _fill_rows(layer, batch, part)
            elif part < n_filled + n_ordered:
                order_values(layer, layer.order, part - n_filled)
            else:
                _running_statistics(layer, eps)
        for part in claim_chunks(counters, phase + 1, n_tiles):
            _next_input_tile(layers, batch, number, scratch, part)
    for part in claim_chunks(counters, 2 * len(layers) + 1, batch.n_classes):
        _class_logits(batch, eps, 0.0, part)
