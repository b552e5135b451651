"""The Omni-Scale CNN, top to bottom (Tang et al., ICLR 2022, figure 3)."""

from __future__ import annotations

import torch
from torch import nn

from dsn_sktime.layers import FeatureNetwork, LinearHead, MaskedBatchNorm1d
from dsn_sktime.layers.feature_network import FeatureLayer
from dsn_sktime.oscnn.kernel_sizes import OSLayerShape, os_layer_shapes
from dsn_sktime.oscnn.multi_size_conv1d import MultiSizeConv1d


class OSLayer(FeatureLayer):
    """Convolutions of several kernel sizes, BatchNorm, ReLU."""

    def __init__(
        self, shape: OSLayerShape, generator: torch.Generator | None, backend: str
    ) -> None:
        super().__init__()
        self.bottleneck = None
        self.conv = MultiSizeConv1d(shape, generator, backend)
        self.norm = MaskedBatchNorm1d(shape.out_channels)


class OSCNNNetwork(FeatureNetwork):
    """Three Omni-Scale layers, global average pooling and a linear head.

    Parameters
    ----------
    n_variates : int
        Variates (channels) m of a series.
    n_classes : int
        Number c of classes.
    largest_kernel_size : int, default=89
        Upper bound of the kernel sizes, which are 1 and the primes up to it. The
        classifier takes a quarter of the series' length, at most 89.
    layer_budgets : (int, int), default=(1024, 229376)
        Weights of the first layer per variate, and of the second layer.
    generator : torch.Generator, optional
        Draws all weights; torch's global one if None.
    backend : {"auto", "sparse", "dense"}, default="auto"
        As in :class:`dsn_sktime.network.DSNNetwork`.

    Raises
    ------
    ValueError
        If a count is below 1 or a budget leaves no filter.
    """

    def __init__(
        self,
        n_variates: int,
        n_classes: int,
        largest_kernel_size: int = 89,
        layer_budgets: tuple[int, int] = (1024, 229376),
        generator: torch.Generator | None = None,
        backend: str = "auto",
    ) -> None:
        super().__init__(backend)
        self.n_variates, self.n_pool, self.padding = n_variates, 1, "zeros"
        counts = {"n_variates": n_variates, "n_classes": n_classes}
        for name, count in {**counts, "largest_kernel_size": largest_kernel_size}.items():
            if count < 1:
                raise ValueError(f"{name} must be at least 1, found {count}.")
        shapes = os_layer_shapes(n_variates, largest_kernel_size, layer_budgets)
        self.kernel_size = max(shape.kernel_sizes[-1] for shape in shapes)
        self.layers = nn.ModuleList(OSLayer(shape, generator, backend) for shape in shapes)
        self.head = LinearHead(shapes[-1].out_channels, n_classes, generator)

    def convs(self) -> list[MultiSizeConv1d]:
        """Return the convolutions, from input to output."""
        return [layer.conv for layer in self.layers if isinstance(layer, OSLayer)]
