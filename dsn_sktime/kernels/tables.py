"""What the passes are told of a network and of a batch: tables of addresses and numbers.

One row per layer, and one for the batch: were they arrays of their own, numba would compile
anew for every number of layers.
"""

from __future__ import annotations

import numpy as np

__all__ = ["BATCH", "LAYER", "fields", "numbers"]


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


def numbers(records: np.ndarray) -> np.ndarray:
    """Return records of int64 as a matrix, which shares their memory."""
    return records.view(np.int64).reshape(len(records), -1)


def fields(dtype: np.dtype, first: str, last: str) -> slice:
    """Return the columns from one field to another, of those matrices."""
    names = dtype.names or ()
    return slice(names.index(first), names.index(last) + 1)
