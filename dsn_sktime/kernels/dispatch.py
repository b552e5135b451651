"""The one place that chooses the arithmetic: sparse kernels or masked dense ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from dsn_sktime.kernels import dense

try:
    from dsn_sktime.kernels import sparse
    from dsn_sktime.kernels.layout import KernelIndex
except ImportError:  # numba is not available for every platform and Python
    sparse = None  # type: ignore[assignment]
    KernelIndex = None  # type: ignore[assignment,misc]

BACKENDS = ("auto", "sparse", "dense")


def check_backend(backend: str) -> None:
    """Raise ValueError unless ``backend`` is one of BACKENDS."""
    if not isinstance(backend, str) or backend not in BACKENDS:
        raise ValueError(f"backend must be one of {BACKENDS}, found {backend!r}.")


def uses_sparse_kernels(x: Tensor, backend: str = "auto") -> bool:
    """Return True if the sparse kernels compute ``x``.

    They need float32 on the CPU, and numba. "auto" leaves what ``torch.export`` and
    ``torch.compile`` trace to the dense kernels, "sparse" raises RuntimeError where they cannot.
    """
    if backend == "dense":
        return False
    can = sparse is not None and x.is_cpu and x.dtype == torch.float32
    can = can and not torch.compiler.is_compiling()
    if backend == "sparse" and not can:
        where = "without numba" if sparse is None else f"of {x.dtype} on {x.device}"
        raise RuntimeError(
            "backend='sparse' needs numba and tensors of torch.float32 on the CPU, outside of "
            f"torch.export and torch.compile, found tensors {where}. Choose backend='auto'."
        )
    return can


def sparse_conv1d(
    x: Tensor,
    values: Tensor,
    index: Tensor,
    shape: tuple[int, int, int],
    kernel_index: Callable[[], KernelIndex],
    group_taps: Sequence[int] | None = None,
    on_dense_gradient: Callable[[Tensor], None] | None = None,
    backend: str = "auto",
) -> Tensor:
    """Convolve a padded batch (B, C_in, L + k - 1) with sparse kernels, stride 1, no bias.

    Parameters
    ----------
    x, values, index, shape
        The batch, the activated weights and their sorted positions in the flattened kernels of
        ``shape`` (C_out, C_in, k).
    kernel_index : callable
        Returns the same positions, decoded on the CPU. Only the sparse kernels ask for
        them: from a GPU the index would have to be waited for.
    group_taps : sequence of int, optional
        Taps at the start of the kernel beyond which the kernels of each of so many equal
        groups of output channels have no value; k for all if None.
    on_dense_gradient : callable, optional
        Called during the backward pass with the gradient w.r.t. *every* weight within these
        taps, a tensor of shape (C_out, C_in, k); what it holds beyond them is undefined.
        Without it that gradient need not be computed.
    backend : {"auto", "sparse", "dense"}, default="auto"
    """
    if values.shape != index.shape:
        raise ValueError(
            f"values must have shape {tuple(index.shape)}, one for each activated position, "
            f"found {tuple(values.shape)}."
        )
    if uses_sparse_kernels(x, backend):
        return sparse.SparseConvolution.apply(x, values, kernel_index(), on_dense_gradient)
    return dense.sparse_conv1d(x, values, index, shape, group_taps, on_dense_gradient)
