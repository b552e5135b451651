"""Adam whose bias correction counts the steps of each weight by itself."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cache

import torch
from torch import Tensor, nn

from dsn_sktime.kernels import adam_step

__all__ = ["Adam"]


class Adam:
    """Adam [1]_ with a step count per weight.

    As long as no weight is replaced it is ``torch.optim.Adam``. When a topology update
    grows a weight, its moments and its step count start at zero: fresh moments under an
    old count would make its first hundred steps 3 to 6 times too large.

    It is no ``torch.optim.Optimizer``: to make one imports torch's compiler, which takes
    longer than all else that a first fit waits for.

    Parameters
    ----------
    params : iterable of Parameter
        Of one type and on one device.
    lr : float or tensor of shape ()
        Learning rate, which may be set anew before each step; a step in a CUDA graph reads
        a tensor each time.
    betas : (float, float)
    eps : float

    Attributes
    ----------
    state : dict
        For each parameter a dict of tensors of its shape: "step" (int32), "exp_avg" and
        "exp_avg_sq".

    References
    ----------
    .. [1] Kingma and Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: float | Tensor,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        self.lr = lr
        self.betas = betas
        self.eps = eps
        self.state: dict[Tensor, dict[str, Tensor]] = {
            parameter: {
                "step": torch.zeros_like(parameter, dtype=torch.int32),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }
            for parameter in params
        }

    def zero_grad(self) -> None:
        """Forget the parameters' gradients."""
        for parameter in self.state:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Take one step along the parameters' gradients; one without a gradient stays."""
        gradients: dict[Tensor, Tensor] = {
            weight: weight.grad for weight in self.state if weight.grad is not None
        }
        if gradients:
            weights = list(gradients)
            adam_step(
                weights,
                list(gradients.values()),
                [self.state[weight] for weight in weights],
                _bias_corrections(self.betas, weights[0].dtype, weights[0].device),
                self.lr,
                self.betas,
                self.eps,
            )

    def state_dict(self) -> list[dict[str, Tensor]]:
        """Return moments and step counts, parameter by parameter."""
        return list(self.state.values())

    @torch.no_grad()
    def load_state_dict(self, state_dict: list[dict[str, Tensor]]) -> None:
        """Copy moments and step counts into the tensors that hold them.

        Parameters
        ----------
        state_dict : list of dict
            What ``state_dict`` of an optimizer of the same parameters returned.
        """
        for state, loaded in zip(self.state.values(), state_dict, strict=True):
            for name, tensor in state.items():
                tensor.copy_(loaded[name])

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
