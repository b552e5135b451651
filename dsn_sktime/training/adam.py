"""Adam and AdamW with a step count per weight, for weights that are replaced in training."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cache

import torch
from torch import Tensor, nn

from dsn_sktime.kernels import AdamSettings, adam_step

__all__ = ["Adam"]


class Adam:
    """Adam [1]_ with a step count per weight.

    As long as no weight is replaced it is ``torch.optim.Adam``, and with weight decay
    ``torch.optim.AdamW`` [2]_. When a topology update grows a weight, its moments and its
    step count start at zero: fresh moments under an old count would make its first hundred
    optimizer steps 3 to 6 times too large.

    It is no ``torch.optim.Optimizer``: to make one imports torch's compiler, which takes
    longer than all else that a first fit waits for.

    Parameters
    ----------
    params : iterable of Parameter
        Of one dtype and on one device.
    lr : float or tensor of shape ()
        Learning rate, which may be set anew before each optimizer step; a CUDA graph reads
        the tensor at each replay.
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
        self.lr = lr
        self.settings = settings
        self.state: dict[Tensor, dict[str, Tensor]] = {
            parameter: {
                "step": torch.zeros_like(parameter, dtype=torch.int32),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }
            for parameter in params
        }

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
        """Move the state with its weights; that of grown weights starts at zero.

        Parameters
        ----------
        parameter : Parameter of shape (n,)
        source : int64 tensor of shape (n,)
            Former place of each weight, or -1 for a grown one.
        """
        for state in self.state[parameter].values():
            state.copy_(state[source.clamp(min=0)].masked_fill(source < 0, 0))


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
