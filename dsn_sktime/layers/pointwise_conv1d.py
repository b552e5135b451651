"""1x1 convolution: one dense matrix applied at each time step."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class PointwiseConv1d(nn.Module):
    """1x1 convolution without bias.

    Parameters
    ----------
    in_channels, out_channels : int
    generator : torch.Generator, optional
        Draws the weights, uniform in +-1/sqrt(in_channels) as ``torch.nn.Conv1d`` does;
        torch's global generator if None.

    Attributes
    ----------
    weight : Parameter of shape (out_channels, in_channels)
    """

    def __init__(
        self, in_channels: int, out_channels: int, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.weight = nn.Parameter(
            torch.empty(out_channels, in_channels, device="cpu", dtype=torch.float32)
        )
        bound = in_channels**-0.5
        nn.init.uniform_(self.weight, -bound, bound, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels, L) to (B, out_channels, L), or (in_channels, L) without B."""
        if x.ndim == 2:
            return self.weight @ x
        return F.conv1d(x, self.weight[:, :, None])

    def extra_repr(self) -> str:
        """Describe the layer within ``repr``."""
        return f"{self.in_channels}, {self.out_channels}"
