"""The one place that chooses the arithmetic: sparse kernels or masked dense ones."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from dsn_sktime.kernels import dense
from dsn_sktime.kernels.layout import KernelIndex

try:
    from dsn_sktime.kernels import sparse
except ImportError as error:  # numba is not there for every platform and Python
    warnings.warn(
        f"numba cannot be imported ({error}): sparse layers cost as much as dense ones.",
        RuntimeWarning,
        stacklevel=2,
    )
    sparse = None  # type: ignore[assignment]

__all__ = ["adam_step", "sparse_conv1d", "uses_sparse_kernels"]


def uses_sparse_kernels(x: Tensor) -> bool:
    """Tell whether the sparse kernels do ``x``: float32 on the CPU, where numba is."""
    return sparse is not None and x.device.type == "cpu" and x.dtype == torch.float32


def sparse_conv1d(
    x: Tensor,
    values: Tensor,
    index: Tensor,
    kernels: KernelIndex,
    on_dense_gradient: Callable[[Tensor], None] | None = None,
) -> Tensor:
    """Convolve a padded batch with sparse kernels, stride 1, no bias.

    Parameters
    ----------
    x : float tensor of shape (B, C_in, L + k - 1)
        The batch, already padded.
    values : float tensor of shape (n_activated,)
        The activated weights; the gradient that flows back has this shape too.
    index : int64 tensor of shape (n_activated,)
        Positions of the values in the flattened (C_out, C_in, k) kernels, sorted.
    kernels : KernelIndex
        The same positions, decoded.
    on_dense_gradient : callable, optional
        Called during the backward pass with the gradient by *every* weight, a tensor of
        shape (C_out, C_in, k). Without it that gradient need not be computed.

    Returns
    -------
    float tensor of shape (B, C_out, L)
    """
    if uses_sparse_kernels(x):
        return sparse.SparseConvolution.apply(x, values, kernels, on_dense_gradient)
    return dense.sparse_conv1d(x, values, index, kernels.shape, on_dense_gradient)


def adam_step(
    parameters: Sequence[Tensor],
    states: Sequence[dict[str, Tensor]],
    corrections: Tensor,
    lr: float,
    betas: tuple[float, float],
    eps: float,
) -> None:
    """Take one step of Adam in place, with a step count for each weight.

    Parameters
    ----------
    parameters : sequence of float tensors
        Each with its gradient, of one type and on one device.
    states : sequence of dict
        For each parameter tensors of its shape: "exp_avg" and "exp_avg_sq", the moments,
        and "step", the steps done (int32).
    corrections : tensor of shape (2, m)
        Bias corrections ``1 / (1 - beta**t)`` of both moments at column t, 1 in the last.
    lr : float
    betas : (float, float)
    eps : float
    """
    fast = all(map(_is_plain, parameters))
    take_step = sparse.adam_step if fast else dense.adam_step
    take_step(parameters, states, corrections, lr, betas, eps)


def _is_plain(parameter: Tensor) -> bool:
    return uses_sparse_kernels(parameter) and parameter.is_contiguous()
