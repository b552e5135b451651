"""Heads: pooled features in, logits out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dsn_sktime.layers.batch_norm import MaskedBatchNorm1d
from dsn_sktime.layers.pointwise_conv1d import PointwiseConv1d

HEADS = ("bins", "linear")


class ClassHead(nn.Module):
    """Class head of the paper: 1x1 convolution of bins, BatchNorm over classes, average.

    The paper convolves before it pools to bins. Both are linear: the function is the same.

    Parameters
    ----------
    in_channels : int
    n_classes : int
    generator : torch.Generator, optional
        Draws the weights; torch's global one if None.
    """

    def __init__(
        self, in_channels: int, n_classes: int, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.classes = PointwiseConv1d(in_channels, n_classes, generator)
        self.norm = MaskedBatchNorm1d(n_classes)

    def forward(self, pooled: Tensor) -> Tensor:
        """Map bins (B, in_channels, n_pool) to logits (B, n_classes)."""
        n_series, n_channels, n_pool = pooled.shape
        # All bins as time steps of one series, in the order of the engine's memory.
        bins = pooled.permute(1, 2, 0).reshape(n_channels, n_pool * n_series)
        return self.norm(self.classes(bins)[None]).view(-1, n_pool, n_series).mean(1).T


class LinearHead(nn.Module):
    """Linear layer with bias on the average over time.

    Parameters
    ----------
    in_channels : int
    n_outputs : int
    generator : torch.Generator, optional
        Draws weights and bias, uniform in +-1/sqrt(in_channels) as ``torch.nn.Linear``
        does; torch's global one if None.
    """

    def __init__(
        self, in_channels: int, n_outputs: int, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        # Linear's own first weights would advance torch's global generator.
        self.linear = nn.utils.skip_init(
            nn.Linear, in_channels, n_outputs, device="cpu", dtype=torch.float32
        )
        for parameter in self.linear.parameters():
            nn.init.uniform_(parameter, -(in_channels**-0.5), in_channels**-0.5, generator)

    def forward(self, pooled: Tensor) -> Tensor:
        """Map the average over time (B, in_channels, 1) to outputs (B, n_outputs)."""
        return self.linear(pooled.mean(2))
