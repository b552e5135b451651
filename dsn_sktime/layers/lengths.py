"""Masks for batches of series that differ in length."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["observed_steps"]


def observed_steps(lengths: Tensor, n_steps: int) -> Tensor:
    """Mark the time steps that belong to a series rather than to padding.

    Parameters
    ----------
    lengths : int tensor of shape (B,)
    n_steps : int
        Length L of the padded batch.

    Returns
    -------
    bool tensor of shape (B, 1, L)
    """
    steps = torch.arange(n_steps, device=lengths.device)
    return (steps < lengths[:, None])[:, None, :]
