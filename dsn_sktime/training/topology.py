"""Applies topology updates to a network while it is trained."""

from __future__ import annotations

import numpy as np

from dsn_sktime.layers import SparseConv1d
from dsn_sktime.topology import update_topology
from dsn_sktime.training.adam import Adam

__all__ = ["update_layer"]


def update_layer(
    layer: SparseConv1d, optimizer: Adam, drop_fraction: float, rng: np.random.Generator
) -> int:
    """Drop and grow weights of one layer, in its kernels and in the optimizer.

    Survivors keep value, moments and step count; grown weights start at 0 with fresh
    moments.

    Parameters
    ----------
    layer : SparseConv1d
        With a ``dense_gradient``, weights grow where it is largest and it is used up;
        without, they grow at random.
    optimizer : Adam
    drop_fraction : float
    rng : numpy Generator

    Returns
    -------
    int
        Number of weights dropped, and of weights grown.
    """
    update = update_topology(
        layer.groups,
        layer.index,
        layer.values.detach(),
        drop_fraction,
        rng,
        layer.dense_gradient,
    )
    layer.move_weights(update.index, update.source)
    optimizer.replace_weights(layer.values, update.source)
    layer.dense_gradient = None
    return update.n_grown
