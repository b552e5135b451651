"""Class head: pooling to bins, 1x1 convolution to classes, BatchNorm, average."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dsn_sktime.kernels import sparse
from dsn_sktime.layers.batch_norm import MaskedBatchNorm1d
from dsn_sktime.layers.lengths import observed_steps
from dsn_sktime.layers.pointwise_conv1d import PointwiseConv1d

__all__ = ["ClassHead", "adaptive_pool"]


class ClassHead(nn.Module):
    """Turn feature series into one score per class.

    Parameters
    ----------
    in_channels : int
    n_classes : int
    n_pool : int
        Bins of the adaptive average pooling over time. Bin j averages the steps from
        ``floor(j * L / n_pool)`` up to ``ceil((j + 1) * L / n_pool)``, so series
        shorter than ``n_pool`` are fine.
    generator : torch.Generator, optional
    """

    def __init__(
        self,
        in_channels: int,
        n_classes: int,
        n_pool: int,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.n_pool = n_pool
        self.classes = PointwiseConv1d(in_channels, n_classes, generator)
        self.norm = MaskedBatchNorm1d(n_classes)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Map (B, in_channels, L) to scores (logits) of shape (B, n_classes)."""
        return self.norm(self.classes(adaptive_pool(x, self.n_pool, lengths))).mean(2)

    def fused(self) -> sparse.Head:
        """Return the head as the sparse engine takes it."""
        return sparse.Head(self.classes.weight, self.norm.fused(), self.n_pool)


def adaptive_pool(x: Tensor, n_bins: int, lengths: Tensor | None = None) -> Tensor:
    """Average each series over ``n_bins`` bins that span its own length.

    Parameters
    ----------
    x : float tensor of shape (B, C, L)
    n_bins : int
    lengths : int tensor of shape (B,), optional
        Lengths of the series in a padded batch.

    Returns
    -------
    float tensor of shape (B, C, n_bins)
    """
    if lengths is None:
        return F.adaptive_avg_pool1d(x, n_bins)
    bins = torch.arange(n_bins, device=x.device)
    start = bins * lengths[:, None] // n_bins
    stop = ((bins + 1) * lengths[:, None] + n_bins - 1) // n_bins
    steps = torch.arange(x.shape[2], device=x.device)[:, None]
    # weights: (B, L, n_bins), zero outside the bin and so in all padding.
    inside = (steps >= start[:, None, :]) & (steps < stop[:, None, :])
    weights = inside.to(x.dtype) / (stop - start)[:, None, :]
    padding = ~observed_steps(lengths, x.shape[2])
    return x.masked_fill(padding, 0) @ weights
