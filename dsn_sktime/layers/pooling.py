"""Pooling of feature series over time: bins, or statistics."""

from __future__ import annotations

import torch
from torch import Tensor

from dsn_sktime.layers.lengths import observed_steps


def check_pool(pool: object) -> None:
    """Raise ValueError unless ``pool`` is an int of at least 1, "stats" or None."""
    is_count = isinstance(pool, int) and not isinstance(pool, bool) and pool >= 1
    if not (is_count or pool is None or (isinstance(pool, str) and pool == "stats")):
        raise ValueError(
            f"pool must be a number of bins of at least 1, 'stats' or None, found {pool!r}."
        )


def pool_features(x: Tensor, pool: int | str | None, lengths: Tensor | None = None) -> Tensor:
    """Pool activations (B, C, L), none of which is negative, each series over its own length.

    To the averages of bins, (B, C, n_bins); to mean, maximum and share of positive values,
    (B, C, 3); or not, then time steps in the padding are 0.
    """
    if lengths is not None:
        x = x.where(observed_steps(lengths, x.shape[2]), 0)
    if pool is None:
        return x
    if isinstance(pool, int):
        return x @ _bin_weights(x, pool, lengths)
    n_steps = x.shape[2] if lengths is None else lengths[:, None]
    return torch.stack([x.sum(2) / n_steps, x.amax(2), (x > 0).sum(2) / n_steps], 2).to(x.dtype)


def _bin_weights(x: Tensor, n_bins: int, lengths: Tensor | None) -> Tensor:
    """Return the weight of each time step in each bin, (L, n_bins) or (B, L, n_bins).

    The arithmetic of ``adaptive_avg_pool1d``, in operations that can be exported with a
    dynamic length.
    """
    bins = torch.arange(n_bins, device=x.device)
    n_steps = x.shape[2] if lengths is None else lengths[:, None]
    start = bins * n_steps // n_bins
    stop = ((bins + 1) * n_steps + n_bins - 1) // n_bins
    steps = torch.arange(x.shape[2], device=x.device)[:, None]
    start, stop = start[..., None, :], stop[..., None, :]
    inside = (steps >= start) & (steps < stop)
    return inside.to(x.dtype) / (stop - start)
