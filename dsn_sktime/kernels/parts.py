"""What the passes have in common: how a phase is cut into parts, and a few of the parts."""

from __future__ import annotations

import numpy as np

from dsn_sktime.kernels import loops
from dsn_sktime.kernels.jit import compiled
from dsn_sktime.kernels.loops import PANEL_COLUMNS, PRODUCT_COLUMNS
from dsn_sktime.kernels.pointers import floats, ints
from dsn_sktime.kernels.simd import LANES, MAX_VECTORS

__all__ = [
    "N_ORDERED",
    "N_PHASES",
    "PACKED_PITCH",
    "PRODUCT_PITCH",
    "ROWS",
    "gather",
    "n_parts",
    "order_values",
    "padded_column",
    "scratch_columns",
]

# Of a layer, at most; the head has two more.
N_PHASES = 5

# Columns from one row to the next of what a thread packs for itself, an odd number of cache
# lines: a panel or a tile, and rows for products of rows.
PACKED_PITCH = max(PANEL_COLUMNS, MAX_VECTORS * LANES) + 16
PRODUCT_PITCH = PRODUCT_COLUMNS + 16

# Rows of a part, and weights of one.
ROWS = 12
N_ORDERED = 4096


def scratch_columns(n_channels: int) -> int:
    """Return the float32 that each thread needs for itself."""
    return max(n_channels * PACKED_PITCH, ROWS * PRODUCT_PITCH)


@compiled()
def n_parts(n_rows, per_part):
    """Return the parts that so many rows make."""
    return (n_rows + per_part - 1) // per_part


@compiled()
def padded_column(batch, group, step, n_before):
    """Return the column of a group's step in a padded matrix."""
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
def order_values(layer, order, part):
    """Copy some values to where a convolution reads them."""
    n = layer.n_values
    places, values, ordered = ints(order, n), floats(layer.values, n), floats(layer.ordered, n)
    for weight in range(part * N_ORDERED, min((part + 1) * N_ORDERED, n)):
        ordered[weight] = values[np.uint32(places[weight])]
