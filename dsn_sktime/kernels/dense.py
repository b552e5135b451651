"""Sparse convolution as dense ones over kernels that are zero where not activated.

The authors' arithmetic, but for the taps that a kernel group may never activate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def sparse_conv1d(
    x: Tensor,
    values: Tensor,
    index: Tensor,
    shape: tuple[int, int, int],
    group_taps: Sequence[int] | None = None,
    on_dense_gradient: Callable[[Tensor], None] | None = None,
) -> Tensor:
    """Convolve a padded batch; see :func:`dsn_sktime.kernels.sparse_conv1d`."""
    zeros = values.new_zeros(shape[0] * shape[1] * shape[2])
    kernels = zeros.index_put((index.long(),), values).view(shape)
    if on_dense_gradient is not None and kernels.requires_grad:
        kernels.register_hook(on_dense_gradient)
    if group_taps is None:
        return F.conv1d(x, kernels)
    n_steps = x.shape[2] - shape[2] + 1
    groups = zip(kernels.chunk(len(group_taps)), group_taps, strict=True)
    return torch.cat([F.conv1d(x[:, :, : n_steps + n - 1], own[:, :, :n]) for own, n in groups], 1)
