"""One dynamic sparse layer: 1x1 convolution, sparse convolution, BatchNorm, ReLU."""

from __future__ import annotations

import torch

from dsn_sktime.layers.batch_norm import MaskedBatchNorm1d
from dsn_sktime.layers.feature_network import FeatureLayer
from dsn_sktime.layers.pointwise_conv1d import PointwiseConv1d
from dsn_sktime.layers.sparse_conv1d import SparseConv1d


class SparseModule(FeatureLayer):
    """Dynamic sparse layer of the paper (figure 2).

    Parameters
    ----------
    in_channels : int
    n_bottleneck : int or None
        Channels after the 1x1 convolution that comes first; None leaves it out.
    n_filters : int
        Output channels of one kernel group.
    kernel_size, n_kernel_groups, sparsity, padding, topology_init, generator, backend
        As in :class:`SparseConv1d`.
    """

    def __init__(
        self,
        in_channels: int,
        n_bottleneck: int | None,
        n_filters: int,
        kernel_size: int,
        n_kernel_groups: int,
        sparsity: float,
        padding: str,
        topology_init: str,
        generator: torch.Generator | None = None,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        out_channels = n_filters * n_kernel_groups
        self.bottleneck = None
        if n_bottleneck is not None:
            self.bottleneck = PointwiseConv1d(in_channels, n_bottleneck, generator)
            in_channels = n_bottleneck
        own = kernel_size, n_kernel_groups, sparsity, padding, topology_init, generator, backend
        self.conv = SparseConv1d(in_channels, out_channels, *own)
        self.norm = MaskedBatchNorm1d(out_channels)
