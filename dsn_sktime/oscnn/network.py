"""The Omni-Scale CNN, top to bottom (Tang et al., ICLR 2022, figure 3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dsn_sktime.layers import MaskedBatchNorm1d
from dsn_sktime.layers.lengths import check_batch, observed_steps
from dsn_sktime.oscnn.kernel_sizes import OSLayerShape, os_layer_shapes
from dsn_sktime.oscnn.multi_size_conv1d import MultiSizeConv1d

__all__ = ["OSCNNNetwork"]


class OSLayer(nn.Module):
    """Convolutions of several kernel sizes, BatchNorm, ReLU.

    Parameters
    ----------
    shape : OSLayerShape
    generator : torch.Generator, optional
    """

    def __init__(self, shape: OSLayerShape, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.conv = MultiSizeConv1d(shape, generator)
        self.norm = MaskedBatchNorm1d(shape.out_channels)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Map (B, in_channels, L) to (B, out_channels, L)."""
        return self.norm(self.conv(x, lengths), lengths).relu()


class OSCNNNetwork(nn.Module):
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
    ) -> None:
        super().__init__()
        self.n_variates = n_variates
        counts = {"n_variates": n_variates, "n_classes": n_classes}
        for name, count in {**counts, "largest_kernel_size": largest_kernel_size}.items():
            if count < 1:
                raise ValueError(f"{name} must be at least 1, found {count}.")
        shapes = os_layer_shapes(n_variates, largest_kernel_size, layer_budgets)
        self.layers = nn.ModuleList(OSLayer(shape, generator) for shape in shapes)
        # Linear's own first weights would advance torch's global generator.
        n_features = shapes[-1].out_channels
        self.classes = nn.utils.skip_init(nn.Linear, n_features, n_classes)
        for parameter in self.classes.parameters():
            nn.init.uniform_(parameter, -(n_features**-0.5), n_features**-0.5, generator=generator)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Score each class.

        Parameters
        ----------
        x : float tensor of shape (B, m, L)
            Series, padded on the right where ``lengths`` says so.
        lengths : int tensor of shape (B,), optional
            Time steps of each series; None if none is padded. What stands in the
            padding changes neither the scores nor their gradients.

        Returns
        -------
        float tensor of shape (B, c)
            Logits; their softmax are the class probabilities.

        Raises
        ------
        TypeError, ValueError
            As :meth:`dsn_sktime.oscnn.MultiSizeConv1d.forward`.
        """
        check_batch(x, lengths, self.n_variates, self.classes.weight.dtype)
        for layer in self.layers:
            x = layer(x, lengths)
        return self.classes(_mean_over_time(x, lengths))

    def convs(self) -> list[MultiSizeConv1d]:
        """Return the convolutions, from input to output."""
        return [layer.conv for layer in self.layers if isinstance(layer, OSLayer)]


def _mean_over_time(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Average each series (B, C, L) over its own length."""
    if lengths is None:
        return x.mean(2)
    return x.where(observed_steps(lengths, x.shape[2]), 0).sum(2) / lengths[:, None]
