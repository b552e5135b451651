"""The forward pass of a whole network as one compiled function, to train and to predict.

Every thread calls the same function;
:func:`~dsn_sktime.kernels.work_sharing.claim_chunks` deals out the chunks of each phase.

In training BatchNorm and ReLU are not stored: whatever reads a layer's activations, the next 1x1
convolution and its gradient, computes them from the convolution's output again. In a prediction
the statistics are known beforehand, and not even that output is stored.
"""

from __future__ import annotations

import numpy as np

from dsn_sktime.kernels import loops
from dsn_sktime.kernels.jit import compiled, compiled_entry
from dsn_sktime.kernels.loops import N_ORDERED, PACKED_PITCH, ROWS, n_chunks
from dsn_sktime.kernels.plan import BINS_OF_LANES, BINS_OF_SERIES, STATISTICS
from dsn_sktime.kernels.pointers import float_matrix, floats, ints
from dsn_sktime.kernels.simd import LANES
from dsn_sktime.kernels.work_sharing import claim_chunks

# Of a layer, at most; the network has one more.
N_PHASES = 6


@compiled()
def padded_column(batch, group, step, n_before):
    """Return the column of a group's time step in a padded matrix."""
    return (group * (batch.n_steps + batch.kernel_size - 1) + n_before + step) * LANES


@compiled()
def gather(batch, column, n, first, last, out, out_pitch):
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
def order_values(layer, order, chunk):
    """Copy some values to where a convolution reads them."""
    n = layer.n_values
    places, values, ordered = ints(order, n), floats(layer.values, n), floats(layer.ordered, n)
    for weight in range(chunk * N_ORDERED, min((chunk + 1) * N_ORDERED, n)):
        ordered[weight] = values[np.uint32(places[weight])]


@compiled()
def activate(layer, batch, y, y_pitch, column, n, first, last, out, out_pitch):
    """Write the activations of ``n`` columns from ``column`` on, for channels ``first..last-1``.

    ``y`` is the address of the convolution's output in that column.
    """
    loops.activate(
        y,
        y_pitch,
        floats(batch.observed + 4 * column, n),
        floats(layer.mean, layer.n_out),
        floats(layer.scale, layer.n_out),
        floats(layer.bias, layer.n_out),
        first,
        last,
        out,
        out_pitch,
    )


@compiled()
def _input_strip(layers, batch, number, scratch, chunk):
    """Write a strip of a layer's input: of the 1x1 convolution, or what it would read."""
    layer = layers[number]
    per_group = loops.n_strips(batch.n_steps)
    group, step, end = loops.chunk_of_group(chunk, per_group, batch.n_steps)
    column, n, n_read = (group * batch.n_steps + step) * LANES, (end - step) * LANES, layer.n_in
    z = layer.z + 4 * padded_column(batch, group, step, batch.n_before)
    out, out_pitch = z, layer.z_pitch
    if layer.bottleneck != 0:
        out, out_pitch, n_read = scratch, PACKED_PITCH, batch.n_variates
    if number > 0:
        before = layers[number - 1]
        n_read, y = before.n_out, before.y + 4 * column
        activate(before, batch, y, batch.pitch, column, n, 0, n_read, out, out_pitch)
    else:
        gather(batch, column, n, 0, n_read, out, out_pitch)
    if layer.bottleneck != 0:
        loops.multiply_strip(
            layer.bottleneck, n_read, 1, scratch, PACKED_PITCH, n_read, end - step,
            z, layer.z_pitch, layer.n_in,
        )  # fmt: skip


@compiled()
def _fill_rows(layer, batch, chunk):
    to, source = ints(batch.fill_to, batch.n_fill), ints(batch.fill_from, batch.n_fill)
    for row in range(chunk * ROWS, min((chunk + 1) * ROWS, layer.n_in)):
        loops.fill(floats(layer.z + 4 * row * layer.z_pitch, layer.z_pitch), to, source)


@compiled()
def _convolve(layer, batch, group, step, n_vectors, out, out_pitch):
    """Convolve one tile, for all output channels."""
    loops.convolve_tile(
        batch.convolutions,
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
def _output_tile(layer, batch, chunk):
    """Compute one tile of a convolution, and its moments for BatchNorm."""
    per_group = loops.n_tiles(batch.n_steps)
    group, step, end = loops.chunk_of_group(chunk, per_group, batch.n_steps)
    column = (group * batch.n_steps + step) * LANES
    out = layer.y + 4 * column
    _convolve(layer, batch, group, step, end - step, out, batch.pitch)
    loops.tile_moments(
        out,
        batch.pitch,
        floats(batch.observed + 4 * column, (end - step) * LANES),
        layer.n_out,
        float_matrix(layer.moments + 8 * chunk * layer.n_out, layer.n_out, 2),
    )


@compiled()
def _batch_statistics(layer, batch, chunk):
    """Merge the moments of the tiles to statistics of some rows; update the running ones."""
    n_all = batch.n_groups * loops.n_tiles(batch.n_steps)
    counts = floats(batch.counts, n_all)
    moments = floats(layer.moments, n_all * layer.n_out * 2).reshape((n_all, layer.n_out, 2))
    weight = floats(layer.weight, layer.n_out)
    mean, variance = floats(layer.mean, layer.n_out), floats(layer.variance, layer.n_out)
    scale = floats(layer.scale, layer.n_out)
    running_mean = floats(layer.running_mean, layer.n_out)
    running_variance = floats(layer.running_variance, layer.n_out)
    unbiased = batch.n_observed / max(batch.n_observed - 1, 1)
    for row in range(chunk * ROWS, min((chunk + 1) * ROWS, layer.n_out)):
        center, spread = loops.merge_moments(moments, counts, row)
        mean[row], variance[row] = center, spread
        scale[row] = weight[row] / np.sqrt(spread + layer.eps)
        if layer.conv_bias != 0:
            center += floats(layer.conv_bias, layer.n_out)[row]
        running_mean[row] += layer.momentum * (center - running_mean[row])
        running_variance[row] += layer.momentum * (spread * unbiased - running_variance[row])


@compiled()
def _running_statistics(layer):
    """Compute BatchNorm's coefficients from its running statistics."""
    weight = floats(layer.weight, layer.n_out)
    mean, scale = floats(layer.mean, layer.n_out), floats(layer.scale, layer.n_out)
    running_mean = floats(layer.running_mean, layer.n_out)
    running_variance = floats(layer.running_variance, layer.n_out)
    for row in range(layer.n_out):
        mean[row] = running_mean[row]
        if layer.conv_bias != 0:
            mean[row] -= floats(layer.conv_bias, layer.n_out)[row]
        scale[row] = weight[row] / np.sqrt(running_variance[row] + layer.eps)


@compiled()
def _take_statistics(layer, batch, activated, n_vectors, tile):
    """Take the statistics of one tile of activations, packed."""
    n_tiles = batch.n_groups * loops.n_tiles(batch.n_steps)
    out = layer.tile_statistics + 4 * 3 * tile * LANES
    loops.tile_statistics(activated, n_vectors, out, 3 * n_tiles * LANES, layer.n_out)


@compiled()
def _feature_tile(layer, batch, scratch, chunk):
    """Store one tile of a layer's activations, or take its statistics."""
    per_group = loops.n_tiles(batch.n_steps)
    group, step, end = loops.chunk_of_group(chunk, per_group, batch.n_steps)
    column, n = (group * batch.n_steps + step) * LANES, (end - step) * LANES
    out, pitch = layer.map + 4 * column, batch.pitch
    if batch.output == STATISTICS:
        out, pitch = scratch, PACKED_PITCH
    y = layer.y + 4 * column
    activate(layer, batch, y, batch.pitch, column, n, 0, layer.n_out, out, pitch)
    if batch.output == STATISTICS:
        _take_statistics(layer, batch, scratch, end - step, chunk)


@compiled()
def _pool_rows(layer, batch, scratch, chunk):
    """Pool the activations of some channels."""
    n_bins, pitch, n_tiles = batch.n_pooled, batch.feature_pitch, loops.n_tiles(batch.n_steps)
    for row in range(chunk * ROWS, min((chunk + 1) * ROWS, layer.n_out)):
        activated = layer.map + 4 * row * batch.pitch
        out = batch.features + 4 * (layer.feature_channel - 1 + row) * n_bins * pitch
        if batch.output == STATISTICS:
            for group in range(batch.n_groups):
                first = (row * batch.n_groups + group) * n_tiles
                tiles = layer.tile_statistics + 4 * first * 3 * LANES
                to = out + 4 * group * LANES
                loops.merge_statistics(tiles, n_tiles, batch.one, scratch, to, pitch)
        elif batch.output == BINS_OF_LANES:
            starts, stops = ints(batch.bin_starts, n_bins), ints(batch.bin_stops, n_bins)
            loops.pool_lanes(
                activated, batch.n_steps * LANES, starts, stops, batch.bin_shares, out, pitch
            )  # fmt: skip
        elif batch.output == BINS_OF_SERIES:
            n = n_bins * batch.n_series
            loops.pool_series(
                floats(activated, batch.pitch),
                ints(batch.columns, batch.n_series * batch.length),
                ints(batch.bin_starts, n),
                ints(batch.bin_stops, n),
                floats(out, n),
            )


@compiled_entry
def forward(layers, batches, counters, thread):
    """Compute the features of a batch of series, BatchNorm with the batch's statistics.

    ``layers`` are records LAYER, ``batches`` is one record BATCH, ``counters`` the address of
    those of ``N_PHASES * n_layers + 1`` phases, ``thread`` the number of the calling thread.
    """
    batch = batches[0]
    scratch = batch.scratch + 4 * thread * batch.scratch_size
    n_strips = batch.n_groups * loops.n_strips(batch.n_steps)
    n_tiles = batch.n_groups * loops.n_tiles(batch.n_steps)
    for number in range(len(layers)):
        layer, phase = layers[number], N_PHASES * number
        n_rows = n_chunks(layer.n_out, ROWS)
        for chunk in claim_chunks(counters, phase, n_strips + n_chunks(layer.n_values, N_ORDERED)):
            if chunk < n_strips:
                _input_strip(layers, batch, number, scratch, chunk)
            else:
                order_values(layer, layer.order, chunk - n_strips)
        for chunk in claim_chunks(counters, phase + 1, n_chunks(layer.n_in, ROWS)):
            _fill_rows(layer, batch, chunk)
        for chunk in claim_chunks(counters, phase + 2, n_tiles):
            _output_tile(layer, batch, chunk)
        for chunk in claim_chunks(counters, phase + 3, n_rows):
            _batch_statistics(layer, batch, chunk)
        if layer.feature_channel != 0:
            for chunk in claim_chunks(counters, phase + 4, n_tiles):
                _feature_tile(layer, batch, scratch, chunk)
            for chunk in claim_chunks(counters, phase + 5, n_rows):
                _pool_rows(layer, batch, scratch, chunk)


@compiled()
def _next_input_tile(layers, batch, number, scratch, chunk):
    """Take one tile from a layer's input to the next one's, or to the features.

    The convolution's output in between never leaves the cache.
    """
    layer, after = layers[number], number + 1
    per_group = loops.n_tiles(batch.n_steps)
    group, step, end = loops.chunk_of_group(chunk, per_group, batch.n_steps)
    column, n_vectors = (group * batch.n_steps + step) * LANES, end - step
    _convolve(layer, batch, group, step, n_vectors, scratch, PACKED_PITCH)
    activated, pitch, n = scratch, PACKED_PITCH, n_vectors * LANES
    if layer.map != 0:
        activated, pitch = layer.map + 4 * column, batch.pitch
        activate(
            layer, batch, scratch, PACKED_PITCH, column, n, 0, layer.n_out, activated, pitch
        )  # fmt: skip
    else:
        loops.activate_in_place(
            scratch,
            PACKED_PITCH,
            floats(batch.observed + 4 * column, n),
            floats(layer.mean, layer.n_out),
            floats(layer.scale, layer.n_out),
            floats(layer.bias, layer.n_out),
        )
    if batch.output == STATISTICS and layer.feature_channel != 0:
        _take_statistics(layer, batch, scratch, n_vectors, chunk)
    if after == len(layers):
        return
    following = layers[after]
    out = following.z + 4 * padded_column(batch, group, step, batch.n_before)
    if following.bottleneck == 0:
        loops.copy_rows(activated, pitch, n, out, following.z_pitch, layer.n_out)
        return
    loops.multiply_strip(
        following.bottleneck, layer.n_out, 1, activated, pitch, layer.n_out, n_vectors,
        out, following.z_pitch, following.n_in,
    )  # fmt: skip


@compiled_entry
def predict(layers, batches, counters, thread):
    """Compute the features of a batch of series, BatchNorm with its running statistics."""
    batch = batches[0]
    scratch = batch.scratch + 4 * thread * batch.scratch_size
    n_tiles = batch.n_groups * loops.n_tiles(batch.n_steps)
    n_strips = batch.n_groups * loops.n_strips(batch.n_steps)
    for chunk in claim_chunks(counters, N_PHASES * len(layers), n_strips):
        _input_strip(layers, batch, 0, scratch, chunk)
    for number in range(len(layers)):
        layer, phase = layers[number], N_PHASES * number
        n_filled = n_chunks(layer.n_in, ROWS)
        n_ordered = n_chunks(layer.n_values, N_ORDERED)
        for chunk in claim_chunks(counters, phase, n_filled + n_ordered + 1):
            if chunk < n_filled:
                _fill_rows(layer, batch, chunk)
            elif chunk < n_filled + n_ordered:
                order_values(layer, layer.order, chunk - n_filled)
            else:
                _running_statistics(layer)
        for chunk in claim_chunks(counters, phase + 1, n_tiles):
            _next_input_tile(layers, batch, number, scratch, chunk)
        if layer.feature_channel != 0:
            for chunk in claim_chunks(counters, phase + 2, n_chunks(layer.n_out, ROWS)):
                _pool_rows(layer, batch, scratch, chunk)
