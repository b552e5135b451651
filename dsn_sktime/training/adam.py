"""Adam whose bias correction counts the steps of each weight by itself."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cache
from typing import Any

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
        Of one type and on one device.
    lr : float
        Each of ``param_groups`` has its own; a tensor of shape () may take its place, which
        a step in a CUDA graph reads anew each time.
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
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if weights:
                adam_step(
                    weights,
                    [weight.grad for weight in weights],
                    [self.state[weight] for weight in weights],
                    _bias_corrections(group["betas"], weights[0].dtype, weights[0].device),
                    group["lr"],
                    group["betas"],
                    group["eps"],
                )

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load moments and step counts into the tensors that hold them.

        The parent would put others in their place, of which a CUDA graph knows nothing.

        Parameters
        ----------
        state_dict : dict
            What ``state_dict`` of an optimizer of the same parameters returned.
        """
        before = {weight: self.state[weight] for weight in self.state}
        super().load_state_dict(state_dict)
        for weight, state in before.items():
            for name, tensor in state.items():
                tensor.copy_(self.state[weight][name])
            self.state[weight] = state

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


# Never forgotten: a CUDA graph reads the table that it was captured with.
@cache
def _bias_corrections(
    betas: tuple[float, float], dtype: torch.dtype, device: torch.device | None = None
) -> Tensor:
    """Tabulate ``1 / (1 - beta**t)`` until ``dtype`` cannot tell it from 1."""
    n_steps = math.ceil(math.log(torch.finfo(dtype).eps / 4) / math.log(max(betas)))
    t = torch.arange(n_steps + 1, dtype=torch.float64)
    return torch.stack([1 / (1 - beta**t) for beta in betas]).to(device, dtype)
