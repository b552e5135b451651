"""Adam's update with a step count per weight, compiled or in torch's operations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from dsn_sktime.kernels.dispatch import uses_sparse_kernels

try:
    from dsn_sktime.kernels.jit import compiled
    from dsn_sktime.kernels.views import floats, ints
except ImportError:  # Without numba, of which dispatch warns, the compiled update is never called.

    def compiled(fastmath: bool | set[str] = False) -> Callable[[Callable], Any]:
        """Leave a function as it is."""
        return lambda function: function


__all__ = ["AdamSettings", "adam_step"]

# Weights whose bias corrections are looked up in a row.
_N_LOOKED_UP = 256


class AdamSettings(NamedTuple):
    """Settings of Adam beside its learning rate, as in ``torch.optim.AdamW``.

    Attributes
    ----------
    beta1, beta2 : float
        Decay rates of the first and the second moment.
    eps : float
        Added to the square root of the second moment.
    weight_decay : float
        Decoupled: each step first multiplies each weight with ``1 - lr * weight_decay``.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0


def adam_step(
    weights: list[Tensor],
    gradients: list[Tensor],
    states: list[dict[str, Tensor]],
    corrections: Tensor,
    lr: float | Tensor,
    settings: AdamSettings,
) -> None:
    """Take one optimizer step of Adam in place, with a step count per weight.

    Parameters
    ----------
    weights, gradients : lists of float tensors
        Of one dtype and on one device.
    states : list of dict of tensors
        For each tensor of weights, of its shape: "exp_avg" and "exp_avg_sq", the moments,
        and "step", the optimizer steps done (int32).
    corrections : float tensor of shape (2, m)
        Bias corrections ``1 / (1 - beta**t)`` of both moments at column t, 1 in the last.
    lr : float or tensor of shape ()
    settings : AdamSettings
    """
    is_compiled = all(uses_sparse_kernels(each) and each.is_contiguous() for each in weights)
    update = _compiled_step if is_compiled else _dense_step
    update(weights, gradients, states, corrections, lr, settings)


def _dense_step(
    weights: list[Tensor],
    gradients: list[Tensor],
    states: list[dict[str, Tensor]],
    corrections: Tensor,
    lr: float | Tensor,
    settings: AdamSettings,
) -> None:
    # All tensors at once: on a GPU they are so small that launches are what counts. Nothing is
    # read back, so that the step may be captured in a CUDA graph.
    steps, means, squares = (
        [state[name] for state in states] for name in ("step", "exp_avg", "exp_avg_sq")
    )
    torch._foreach_add_(steps, 1)
    torch._foreach_lerp_(means, gradients, 1 - settings.beta1)
    torch._foreach_mul_(squares, settings.beta2)
    torch._foreach_addcmul_(squares, gradients, gradients, value=1 - settings.beta2)
    column = _flat(steps).clamp(max=corrections.shape[1] - 1)
    first, second = corrections.index_select(1, column)
    change = (_flat(means) * first).mul_(-lr)
    change /= (_flat(squares) * second).sqrt_().add_(settings.eps)
    if settings.weight_decay:
        change -= _flat(weights) * (lr * settings.weight_decay)
    parts = change.split([weight.numel() for weight in weights])
    shaped = [part.view(weight.shape) for part, weight in zip(parts, weights, strict=True)]
    torch._foreach_add_(weights, shaped)


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def _compiled_step(
    weights: list[Tensor],
    gradients: list[Tensor],
    states: list[dict[str, Tensor]],
    corrections: Tensor,
    lr: float | Tensor,
    settings: AdamSettings,
) -> None:
    gradients = [gradient.contiguous() for gradient in gradients]
    addresses = [
        [tensor.data_ptr() for tensor in (weight, gradient, *_in_order(state))]
        for weight, gradient, state in zip(weights, gradients, states, strict=True)
    ]
    decayed = 1 - float(lr) * settings.weight_decay
    numbers = float(lr), settings.beta1, settings.beta2, settings.eps, decayed
    adam_steps(
        np.array(addresses, dtype=np.int64),
        np.array([weight.numel() for weight in weights], dtype=np.int64),
        corrections[0].numpy(),
        corrections[1].numpy(),
        *map(np.float32, numbers),
    )


def _in_order(state: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    return state["exp_avg"], state["exp_avg_sq"], state["step"]


@compiled()
def adam_steps(addresses, sizes, first, second, lr, beta1, beta2, eps, decayed):
    """Update several parameters in place.

    Parameters
    ----------
    addresses : int64 array of shape (n_parameters, 5)
        Of weights, gradients, first and second moments (float32) and step counts (int32).
    sizes : int64 array of shape (n_parameters,)
    first, second : float32 arrays of shape (m,)
        ``1 / (1 - beta**t)`` of both moments at t, 1 in the last.
    lr, beta1, beta2, eps, decayed : float32
        The last is ``1 - lr * weight_decay``.
    """
    for i in range(len(sizes)):
        n = sizes[i]
        _update(
            floats(addresses[i, 0], n),
            floats(addresses[i, 1], n),
            floats(addresses[i, 2], n),
            floats(addresses[i, 3], n),
            ints(addresses[i, 4], n),
            first,
            second,
            lr,
            beta1,
            beta2,
            eps,
            decayed,
        )


@compiled()
def _update(
    weights, gradients, means, squares, steps, first, second, lr, beta1, beta2, eps, decayed
):
    one, last = np.float32(1), np.int32(first.size - 1)
    of_first, of_second = np.empty(_N_LOOKED_UP, np.float32), np.empty(_N_LOOKED_UP, np.float32)
    # In short loops over few arrays each: only these become vector code.
    for start in range(0, weights.size, _N_LOOKED_UP):
        stop = min(start + _N_LOOKED_UP, weights.size)
        n, weight, gradient = stop - start, weights[start:stop], gradients[start:stop]
        mean, square, done = means[start:stop], squares[start:stop], steps[start:stop]
        for i in range(n):
            done[i] += np.int32(1)
            t = np.uint32(min(done[i], last))
            of_first[i], of_second[i] = first[t], second[t]
        for i in range(n):
            mean[i] += (one - beta1) * (gradient[i] - mean[i])
        for i in range(n):
            square[i] = beta2 * square[i] + (one - beta2) * gradient[i] * gradient[i]
        for i in range(n):
            denominator = np.sqrt(square[i] * of_second[i]) + eps
            weight[i] = decayed * weight[i] - lr * (mean[i] * of_first[i]) / denominator
