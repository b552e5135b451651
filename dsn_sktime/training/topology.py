"""Applies topology updates to a network while it is trained."""

from __future__ import annotations

import numpy as np
import torch

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
    values = layer.values.detach().cpu().numpy()
    gradient = layer.dense_gradient
    update = update_topology(
        layer.groups,
        layer.index.cpu().numpy(),
        values,
        drop_fraction,
        rng,
        None if gradient is None else gradient.cpu().numpy(),
    )
    survived = update.source >= 0
    layer.set_topology(update.index, np.where(survived, values[update.source], 0))
    source = torch.from_numpy(update.source).to(layer.index.device)
    optimizer.replace_weights(layer.values, source)
    layer.dense_gradient = None
    return update.n_grown
