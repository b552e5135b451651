"""What a batch of series that differ in length is: its checks and its mask."""

from __future__ import annotations

import torch
from torch import Tensor


def check_batch(x: Tensor, lengths: Tensor | None, n_channels: int, dtype: torch.dtype) -> None:
    """Raise unless a batch fits a module with these input channels and this type of weights.

    TypeError for another type of ``x`` or of ``lengths``, ValueError for another shape or a length
    outside 1..L.
    """
    if not isinstance(x, Tensor):
        raise TypeError(
            f"x must be a tensor of shape (B, {n_channels}, L), found {type(x).__name__}. Convert "
            "it by torch.as_tensor(x)."
        )
    if x.dtype != dtype:
        raise TypeError(
            f"x must have the type of the weights, {dtype}, found {x.dtype}. Convert it by "
            "x.to(dtype), or the weights by module.to(dtype)."
        )
    if x.ndim != 3 or x.shape[1] != n_channels or 0 in x.shape:
        raise ValueError(
            f"x must have shape (B, {n_channels}, L) with L at least 1 and B at least 1, "
            f"found {tuple(x.shape)}."
        )
    if lengths is None:
        return
    if not isinstance(lengths, Tensor):
        raise TypeError(
            f"lengths must be an int64 tensor of shape ({len(x)},), found "
            f"{type(lengths).__name__}. Convert them by torch.tensor(lengths)."
        )
    if lengths.dtype != torch.int64:
        raise TypeError(f"lengths must be int64, found {lengths.dtype}.")
    if lengths.shape != x.shape[:1]:
        raise ValueError(
            f"lengths must have shape ({len(x)},), one for each series of x, found "
            f"{tuple(lengths.shape)}."
        )
    # On a GPU that would wait for the device; torch.export and torch.compile have no values.
    has_values = lengths.device.type == "cpu" and not torch.compiler.is_compiling()
    if has_values and (lengths.min() < 1 or lengths.max() > x.shape[2]):
        raise ValueError(
            f"lengths must lie in 1..{x.shape[2]}, the time steps of the batch, found "
            f"{int(lengths.min())}..{int(lengths.max())}."
        )


def observed_steps(lengths: Tensor, n_steps: int) -> Tensor:
    """Return True for steps of a series, False for its padding: bool tensor of shape (B, 1, L)."""
    steps = torch.arange(n_steps, device=lengths.device)
    return (steps < lengths[:, None])[:, None, :]
