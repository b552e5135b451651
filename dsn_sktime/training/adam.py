"""Adam whose bias correction counts the steps of each weight by itself."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

__all__ = ["Adam"]

_MOMENTS = ("step", "exp_avg", "exp_avg_sq")


class Adam(torch.optim.Optimizer):
    """Adam [1]_ with a step count per weight.

    As long as no weight is replaced it is ``torch.optim.Adam``. When a topology update
    grows a weight, its moments and its step count start at zero: fresh moments under an
    old count would make its first hundred steps 3 to 6 times too large.

    Parameters
    ----------
    params : iterable of Parameter
    lr : float
    betas : (float, float)
    eps : float

    References
    ----------
    .. [1] Kingma and Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps})
        for group in self.param_groups:
            for parameter in group["params"]:
                self.state[parameter] = {name: torch.zeros_like(parameter) for name in _MOMENTS}

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take one step along the parameters' gradients."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    _adam_step(parameter, parameter.grad, self.state[parameter], group)

    @torch.no_grad()
    def replace_weights(self, parameter: nn.Parameter, source: Tensor) -> None:
        """Let the state follow weights that moved; grown weights start from zero.

        Parameters
        ----------
        parameter : Parameter of shape (n,)
        source : int64 tensor of shape (n,)
            Former place of each weight, or -1 where a new one stands.
        """
        for name in _MOMENTS:
            state = self.state[parameter][name]
            state.copy_(state[source.clamp(min=0)].masked_fill(source < 0, 0))


def _adam_step(parameter: Tensor, gradient: Tensor, state: dict, group: dict) -> None:
    beta1, beta2 = group["betas"]
    step, mean, square = (state[name] for name in _MOMENTS)
    step += 1
    mean.lerp_(gradient, 1 - beta1)
    square.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
    denominator = (square / (1 - beta2**step)).sqrt_().add_(group["eps"])
    parameter.addcdiv_(mean / (1 - beta1**step), denominator, value=-group["lr"])
