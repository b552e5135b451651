"""Adam's update with a step count per weight, compiled or in torch's operations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from dsn_sktime.kernels.dispatch import uses_sparse_kernels

try:
    from dsn_sktime.kernels.jit import compiled_entry
    from dsn_sktime.kernels.pointers import floats, ints
except ImportError:  # Without numba, the compiled update is never called.

    def compiled_entry(function: Callable) -> Any:
        """Leave a function as it is."""
        return function


# Weights whose bias corrections are looked up in a row.
_N_LOOKED_UP = 256


class AdamSettings(NamedTuple):
    """Settings of Adam beside its learning rate, as in ``torch.optim.AdamW``."""

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

    The state of each tensor of weights holds tensors of its shape: "exp_avg" and "exp_avg_sq",
    the moments, and "step", the optimizer steps done (int32). ``corrections``, of shape (2, m),
    are ``1 / (1 - beta**t)`` of both moments at column t, 1 in the last.
    """
    steps, means, squares = (
        [state[name] for state in states] for name in ("step", "exp_avg", "exp_avg_sq")
    )
    beta1, beta2, eps, weight_decay = settings
    if all(uses_sparse_kernels(weight) and weight.is_contiguous() for weight in weights):
        gradients = [gradient.contiguous() for gradient in gradients]
        tensors = zip(weights, gradients, means, squares, steps, strict=True)
        _update(
            np.array(
                [[one.data_ptr() for one in parameter] for parameter in tensors], dtype=np.int64
            ),
            np.array([weight.numel() for weight in weights], dtype=np.int64),
            corrections.numpy(),
            *map(np.float32, (float(lr), beta1, beta2, eps, 1 - float(lr) * weight_decay)),
        )
        return
    # All tensors at once: on a GPU they are so small that launches are what counts. Nothing is
    # read back, so that the step may be captured in a CUDA graph.
    torch._foreach_add_(steps, 1)
    torch._foreach_lerp_(means, gradients, 1 - beta1)
    torch._foreach_mul_(squares, beta2)
    torch._foreach_addcmul_(squares, gradients, gradients, value=1 - beta2)
    column = _flat(steps).clamp(max=corrections.shape[1] - 1)
    first, second = corrections.index_select(1, column)
    change = (_flat(means) * first).mul_(-lr)
    change /= (_flat(squares) * second).sqrt_().add_(eps)
    if weight_decay:
        change -= _flat(weights) * (lr * weight_decay)
    changes = change.split([weight.numel() for weight in weights])
    shaped = [one.view(weight.shape) for one, weight in zip(changes, weights, strict=True)]
    torch._foreach_add_(weights, shaped)


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


@compiled_entry
def _update(addresses, sizes, corrections, lr, beta1, beta2, eps, decayed):
    """Update several parameters in place; ``decayed`` is ``1 - lr * weight_decay``.

    ``addresses``, of shape (n_parameters, 5), are those of weights, gradients, first and second
    moments (float32) and step counts (int32).
    """
    one, last = np.float32(1), np.int32(corrections.shape[1] - 1)
    first_correction = np.empty(_N_LOOKED_UP, np.float32)
    second_correction = np.empty(_N_LOOKED_UP, np.float32)
    for parameter in range(len(sizes)):
        place = addresses[parameter]
        # In short loops over few arrays each: only these become vector code.
        for start in range(0, sizes[parameter], _N_LOOKED_UP):
            n = min(sizes[parameter] - start, _N_LOOKED_UP)
            weight, gradient = floats(place[0] + 4 * start, n), floats(place[1] + 4 * start, n)
            mean, square = floats(place[2] + 4 * start, n), floats(place[3] + 4 * start, n)
            done = ints(place[4] + 4 * start, n)
            for i in range(n):
                done[i] += np.int32(1)
                t = np.uint32(min(done[i], last))
                first_correction[i], second_correction[i] = corrections[0, t], corrections[1, t]
            for i in range(n):
                mean[i] += (one - beta1) * (gradient[i] - mean[i])
            for i in range(n):
                square[i] = beta2 * square[i] + (one - beta2) * gradient[i] * gradient[i]
            for i in range(n):
                denominator = np.sqrt(square[i] * second_correction[i]) + eps
                weight[i] = decayed * weight[i] - lr * (mean[i] * first_correction[i]) / denominator
