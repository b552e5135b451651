"""Sparse convolution as a dense one over kernels that are zero where not activated.

The authors' arithmetic, at the full cost of the dense kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor
from torch.nn import functional as F

__all__ = ["adam_step", "dense_kernels", "sparse_conv1d"]


def dense_kernels(values: Tensor, index: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Write activated weights into dense kernels that are zero elsewhere.

    Parameters
    ----------
    values : float tensor of shape (n_activated,)
    index : int64 tensor of shape (n_activated,)
        Distinct positions in the flattened kernels.
    shape : (C_out, C_in, k)

    Returns
    -------
    float tensor of shape (C_out, C_in, k)
    """
    flat = values.new_zeros(shape[0] * shape[1] * shape[2])
    return flat.index_put((index,), values).view(shape)


def sparse_conv1d(
    x: Tensor,
    values: Tensor,
    index: Tensor,
    shape: tuple[int, int, int],
    on_dense_gradient: Callable[[Tensor], None] | None = None,
) -> Tensor:
    """Convolve a padded batch; see :func:`dsn_sktime.kernels.sparse_conv1d`.

    ``shape`` is that of the kernels, (C_out, C_in, k).
    """
    kernels = dense_kernels(values, index, shape)
    if on_dense_gradient is not None and kernels.requires_grad:
        kernels.register_hook(on_dense_gradient)
    return F.conv1d(x, kernels)


def adam_step(
    parameters: Sequence[Tensor],
    states: Sequence[dict[str, Tensor]],
    corrections: Tensor,
    lr: float,
    betas: tuple[float, float],
    eps: float,
) -> None:
    """Take Adam's step in place; see :func:`dsn_sktime.kernels.adam_step`."""
    for weights, state in zip(parameters, states, strict=True):
        gradient = weights.grad
        step, mean, square = state["step"], state["exp_avg"], state["exp_avg_sq"]
        step += 1
        mean.lerp_(gradient, 1 - betas[0])
        square.mul_(betas[1]).addcmul_(gradient, gradient, value=1 - betas[1])
        column = step.clamp(max=corrections.shape[1] - 1).long()
        first, second = corrections.to(weights.device)[:, column]
        weights.addcdiv_(mean * first, (square * second).sqrt_().add_(eps), value=-lr)
