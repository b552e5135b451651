"""Adam and AdamW with a step count per weight, for weights that are replaced in training."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cache

import torch
from torch import Tensor, nn

from dsn_sktime.kernels import AdamSettings, adam_step
from dsn_sktime.training.weight_state import WeightState


class Adam(WeightState):
    """Adam [1]_ with a step count per weight.

    As long as no weight is replaced it is ``torch.optim.Adam``, and with weight decay
    ``torch.optim.AdamW`` [2]_. When a topology update grows a weight, its moments and its
    step count start at zero: fresh moments under an old count would make its first hundred
    optimizer steps 3 to 6 times too large.

    It is not a ``torch.optim.Optimizer``: constructing one imports torch's compiler, which
    takes longer than the rest of the start-up of a first fit.

    Parameters
    ----------
    params : iterable of Parameter
        Of one dtype and on one device.
    lr : float or tensor of shape ()
        Learning rate; can be set before each optimizer step. A CUDA graph reads the tensor
        at each replay.
    settings : AdamSettings

    Attributes
    ----------
    state : dict
        For each parameter a dict of tensors of its shape: "step" (int32), "exp_avg" and
        "exp_avg_sq".

    References
    ----------
    .. [1] Kingma and Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015.
    .. [2] Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: float | Tensor,
        settings: AdamSettings = AdamSettings(),  # noqa: B008 (a tuple of numbers)
    ) -> None:
        super().__init__(params, ("exp_avg", "exp_avg_sq"))
        self.lr = lr
        self.settings = settings

    def zero_grad(self) -> None:
        """Set the parameters' gradients to None."""
        for parameter in self.state:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Take one optimizer step; parameters without a gradient are left alone."""
        gradients: dict[Tensor, Tensor] = {
            weight: weight.grad for weight in self.state if weight.grad is not None
        }
        if gradients:
            weights = list(gradients)
            adam_step(
                weights,
                list(gradients.values()),
                [self.state[weight] for weight in weights],
                bias_corrections(self.settings, weights[0].dtype, weights[0].device),
                self.lr,
                self.settings,
            )


# Never dropped: a CUDA graph reads the table that it was captured with.
@cache
def bias_corrections(
    settings: AdamSettings, dtype: torch.dtype, device: torch.device | None = None
) -> Tensor:
    """Tabulate ``1 / (1 - beta**t)`` up to the t from which on it is 1 in ``dtype``."""
    betas = settings.beta1, settings.beta2
    n_steps = math.ceil(math.log(torch.finfo(dtype).eps / 4) / math.log(max(betas)))
    t = torch.arange(n_steps + 1, dtype=torch.float64, device="cpu")
    return torch.stack([1 / (1 - beta**t) for beta in betas]).to(device, dtype)
