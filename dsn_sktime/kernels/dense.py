"""Sparse convolution as dense ones over kernels that are zero where not activated.

The authors' arithmetic, but for the taps that a kernel group may never activate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["adam_step", "dense_kernels", "sparse_conv1d"]


def dense_kernels(values: Tensor, index: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Write activated weights into dense kernels that are zero elsewhere.

    Parameters
    ----------
    values : float tensor of shape (n_activated,)
    index : int tensor of shape (n_activated,)
        Distinct positions in the flattened kernels.
    shape : (C_out, C_in, k)

    Returns
    -------
    float tensor of shape (C_out, C_in, k)
    """
    flat = values.new_zeros(shape[0] * shape[1] * shape[2])
    return flat.index_put((index.long(),), values).view(shape)


def sparse_conv1d(
    x: Tensor,
    values: Tensor,
    index: Tensor,
    shape: tuple[int, int, int],
    group_taps: Sequence[int] | None = None,
    on_dense_gradient: Callable[[Tensor], None] | None = None,
) -> Tensor:
    """Convolve a padded batch; see :func:`dsn_sktime.kernels.sparse_conv1d`."""
    kernels = dense_kernels(values, index, shape)
    if on_dense_gradient is not None and kernels.requires_grad:
        kernels.register_hook(on_dense_gradient)
    if group_taps is None:
        return F.conv1d(x, kernels)
    n_steps = x.shape[2] - shape[2] + 1
    groups = zip(kernels.chunk(len(group_taps)), group_taps, strict=True)
    return torch.cat([F.conv1d(x[:, :, : n_steps + n - 1], own[:, :, :n]) for own, n in groups], 1)


def adam_step(
    weights: list[Tensor],
    gradients: list[Tensor],
    states: list[dict[str, Tensor]],
    corrections: Tensor,
    lr: float | Tensor,
    betas: tuple[float, float],
    eps: float,
) -> None:
    """Take Adam's step in place; see :func:`dsn_sktime.kernels.adam_step`.

    All tensors at once: on a GPU they are so small that launches are what counts. Nothing
    is read back, so that the step may be captured in a CUDA graph.
    """
    steps, means, squares = (
        [state[name] for state in states] for name in ("step", "exp_avg", "exp_avg_sq")
    )
    torch._foreach_add_(steps, 1)
    torch._foreach_lerp_(means, gradients, 1 - betas[0])
    torch._foreach_mul_(squares, betas[1])
    torch._foreach_addcmul_(squares, gradients, gradients, value=1 - betas[1])
    column = _flat(steps).clamp(max=corrections.shape[1] - 1)
    first, second = corrections.index_select(1, column)
    change = (_flat(means) * first).mul_(-lr)
    change /= (_flat(squares) * second).sqrt_().add_(eps)
    parts = change.split([weight.numel() for weight in weights])
    shaped = [part.view(weight.shape) for part, weight in zip(parts, weights, strict=True)]
    torch._foreach_add_(weights, shaped)


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.reshape(-1) for tensor in tensors])
