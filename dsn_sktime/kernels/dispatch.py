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

__all__ = ["sparse_conv1d", "uses_sparse_kernels"]


def uses_sparse_kernels(x: Tensor) -> bool:
    """Tell whether the sparse kernels do ``x``: float32 on the CPU, where numba is."""
    return sparse is not None and x.device.type == "cpu" and x.dtype == torch.float32


def sparse_conv1d(
    x: Tensor,
    values: Tensor,
    index: Tensor,
    shape: tuple[int, int, int],
    kernel_index: Callable[[], KernelIndex],
    group_taps: Sequence[int] | None = None,
    on_dense_gradient: Callable[[Tensor], None] | None = None,
) -> Tensor:
    """Convolve a padded batch with sparse kernels, stride 1, no bias.

    Parameters
    ----------
    x : float tensor of shape (B, C_in, L + k - 1)
        The batch, already padded.
    values : float tensor of shape (n_activated,)
        The activated weights; the gradient that flows back has this shape too.
    index : int tensor of shape (n_activated,)
        Positions of the values in the flattened kernels, sorted.
    shape : (C_out, C_in, k)
        Shape of the kernels.
    kernel_index : callable
        Returns the same positions, decoded on the CPU. Only the sparse kernels ask for
        them: from a GPU the index would have to be waited for.
    group_taps : sequence of int, optional
        Taps at the start of the kernel beyond which the kernels of each of so many equal
        groups of output channels have no value; k for all if None.
    on_dense_gradient : callable, optional
        Called during the backward pass with the gradient by *every* weight within these
        taps, a tensor of shape (C_out, C_in, k); what it holds beyond them means nothing.
        Without it that gradient need not be computed.

    Returns
    -------
    float tensor of shape (B, C_out, L)
    """
    if uses_sparse_kernels(x):
        return sparse.SparseConvolution.apply(x, values, kernel_index(), on_dense_gradient)
    return dense.sparse_conv1d(x, values, index, shape, group_taps, on_dense_gradient)
