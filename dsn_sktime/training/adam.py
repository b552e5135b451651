"""Adam whose bias correction counts the steps of each weight by itself."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache

import torch
from torch import Tensor, nn

from dsn_sktime.kernels import adam_step

__all__ = ["Adam"]


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
                self.state[parameter] = {
                    "step": torch.zeros_like(parameter, dtype=torch.int32),
                    "exp_avg": torch.zeros_like(parameter),
                    "exp_avg_sq": torch.zeros_like(parameter),
                }

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take one step along the parameters' gradients."""
        for group in self.param_groups:
            trained = [one for one in group["params"] if one.grad is not None]
            if trained:
                adam_step(
                    trained,
                    [self.state[parameter] for parameter in trained],
                    _bias_corrections(group["betas"], trained[0].dtype),
                    group["lr"],
                    group["betas"],
                    group["eps"],
                )

    @torch.no_grad()
    def replace_weights(self, parameter: nn.Parameter, source: Tensor) -> None:
        """Let the state follow weights that moved; grown weights start from zero.

        Parameters
        ----------
        parameter : Parameter of shape (n,)
        source : int64 tensor of shape (n,)
            Former place of each weight, or -1 where a new one stands.
        """
        for state in self.state[parameter].values():
            state.copy_(state[source.clamp(min=0)].masked_fill(source < 0, 0))


@lru_cache(maxsize=8)
def _bias_corrections(betas: tuple[float, float], dtype: torch.dtype) -> Tensor:
    """Tabulate ``1 / (1 - beta**t)`` until ``dtype`` cannot tell it from 1."""
    n_steps = math.ceil(math.log(torch.finfo(dtype).eps / 4) / math.log(max(betas)))
    t = torch.arange(n_steps + 1, dtype=torch.float64)
    return torch.stack([1 / (1 - beta**t) for beta in betas]).to(dtype)
