"""Cost and receptive fields of networks (paper, sections 4.2 and 4.5)."""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import numpy as np
import pandas as pd

from dsn_sktime.network import DSNNetwork
from dsn_sktime.oscnn import OSCNNNetwork
from dsn_sktime.topology.enrf import enrf_sizes, stack_receptive_fields

__all__ = ["Count", "count_flops", "count_parameters", "enrf", "receptive_fields"]


class Count(NamedTuple):
    """A count for the network, and for the same network with dense kernels.

    In the dense version of an OS-CNN, all kernels of a layer have its largest size.
    """

    activated: int
    dense: int


def count_parameters(network: DSNNetwork | OSCNNNetwork) -> Count:
    """Count trainable parameters: weights of the convolutions, biases, BatchNorm, head.

    In sparse convolutions only activated weights count.

    Parameters
    ----------
    network : DSNNetwork or OSCNNNetwork

    Returns
    -------
    Count

    Raises
    ------
    TypeError
        If ``network`` is not such a network.

    Examples
    --------
    >>> from dsn_sktime.analysis import count_parameters
    >>> from dsn_sktime.network import DSNNetwork
    >>> count_parameters(DSNNetwork(n_variates=1, n_classes=2))
    Count(activated=125404, dense=802153)
    >>> from dsn_sktime.oscnn import OSCNNNetwork
    >>> count_parameters(OSCNNNetwork(n_variates=1, n_classes=2)).activated
    235741
    """
    _check_network(network, (DSNNetwork, OSCNNNetwork))
    activated = sum(parameter.numel() for parameter in network.parameters())
    return Count(activated, activated + _n_left_out(network))


def count_flops(network: DSNNetwork | OSCNNNetwork, series_length: int) -> Count:
    """Count the multiply-adds of the convolutions and the head for one series.

    BatchNorm, ReLU and pooling are not counted, as in the paper.

    Parameters
    ----------
    network : DSNNetwork or OSCNNNetwork
    series_length : int
        Time steps L.

    Returns
    -------
    Count

    Raises
    ------
    ValueError
        If ``series_length`` is below 1.
    TypeError
        If ``network`` is not such a network.

    Examples
    --------
    >>> from dsn_sktime.analysis import count_flops
    >>> from dsn_sktime.network import DSNNetwork
    >>> count_flops(DSNNetwork(n_variates=9, n_classes=6), series_length=128).activated
    20284220
    """
    _check_network(network, (DSNNetwork, OSCNNNetwork))
    if series_length < 1:
        raise ValueError(f"series_length must be at least 1, found {series_length}.")
    names = "conv.values", "bottleneck.weight"
    found = [one for name, one in network.layers.named_parameters() if name.endswith(names)]
    n_head = sum(one.numel() for one in network.head.parameters() if one.ndim > 1)
    activated = series_length * sum(one.numel() for one in found) + network.n_pool * n_head
    return Count(activated, activated + series_length * _n_left_out(network))


def _check_network(network: object, kinds: tuple[type, ...] = (DSNNetwork,)) -> None:
    if not isinstance(network, kinds):
        remedy = ". Use its network_, or one of networks_" if hasattr(network, "networks_") else ""
        names = " or ".join(kind.__name__ for kind in kinds)
        raise TypeError(f"network must be a {names}, found {type(network).__name__}{remedy}.")


def _n_left_out(network: DSNNetwork | OSCNNNetwork) -> int:
    if isinstance(network, OSCNNNetwork):
        shapes = [conv.shape for conv in network.convs()]
        return sum(prod(shape.dense_shape) - shape.n_weights for shape in shapes)
    return sum(conv.groups.n_dense - conv.groups.n_activated for conv in network.sparse_convs())


def enrf(network: DSNNetwork) -> pd.DataFrame:
    """Return the effective neighbour receptive field (eNRF) of every kernel.

    Parameters
    ----------
    network : DSNNetwork

    Returns
    -------
    DataFrame
        One row per kernel: "layer", "kernel_group" (both from 1), "out_channel",
        "in_channel" (from 0) and "enrf" in time steps, 0 if no tap is activated.

    Raises
    ------
    TypeError
        If ``network`` is not such a network.
    """
    _check_network(network)
    tables = []
    for layer, conv in enumerate(network.sparse_convs(), start=1):
        sizes = enrf_sizes(conv.index.cpu().numpy(), conv.groups.shape)
        out_channel, in_channel = np.indices(sizes.shape)
        table = {
            "layer": layer,
            "kernel_group": conv.groups.group_of_channel()[out_channel.ravel()] + 1,
            "out_channel": out_channel.ravel(),
            "in_channel": in_channel.ravel(),
            "enrf": sizes.ravel(),
        }
        tables.append(pd.DataFrame(table))
    return pd.concat(tables, ignore_index=True)


def receptive_fields(network: DSNNetwork) -> pd.DataFrame:
    """Return the receptive fields of the network and how many paths have each.

    A path takes one kernel that has activated taps in each layer; its receptive field
    is ``sum(eNRF) - (layers - 1)``.

    Parameters
    ----------
    network : DSNNetwork

    Returns
    -------
    DataFrame
        "layer" (from 1: paths through the layers up to it), "receptive_field" in time
        steps and "fraction" of these paths; sizes that no path has are left out.

    Raises
    ------
    TypeError
        If ``network`` is not such a network.
    """
    _check_network(network)
    fractions = np.array([0.0, 1.0])
    tables = []
    for layer, conv in enumerate(network.sparse_convs(), start=1):
        sizes = enrf_sizes(conv.index.cpu().numpy(), conv.groups.shape)
        fractions = stack_receptive_fields(fractions, sizes)
        found = np.flatnonzero(fractions)
        table = {"layer": layer, "receptive_field": found, "fraction": fractions[found]}
        tables.append(pd.DataFrame(table))
    return pd.concat(tables, ignore_index=True)
