"""What training keeps for each single weight, and what follows a weight that moves."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class WeightState:
    """Tensors of the shapes of some parameters, zero at first.

    Parameters
    ----------
    params : iterable of Parameter
    names : iterable of str
        Of the tensors that are of the parameters' dtype.

    Attributes
    ----------
    state : dict
        For each parameter a dict of tensors of its shape: "step" (int32), the optimizer
        steps counted, and those of the names.
    """

    def __init__(self, params: Iterable[nn.Parameter], names: Iterable[str]) -> None:
        self.state: dict[Tensor, dict[str, Tensor]] = {
            parameter: {
                "step": torch.zeros_like(parameter, dtype=torch.int32, requires_grad=False),
                **{name: torch.zeros_like(parameter, requires_grad=False) for name in names},
            }
            for parameter in params
        }

    def state_dict(self) -> list[dict[str, Tensor]]:
        """Return the tensors, parameter by parameter."""
        return list(self.state.values())

    @torch.no_grad()
    def load_state_dict(self, state_dict: list[dict[str, Tensor]]) -> None:
        """Copy into the tensors what ``state_dict`` returned for the same parameters."""
        for state, loaded in zip(self.state.values(), state_dict, strict=True):
            for name, tensor in state.items():
                tensor.copy_(loaded[name])

    @torch.no_grad()
    def replace_weights(self, parameter: nn.Parameter, source: Tensor) -> None:
        """Move the entries with their weights; entries of grown weights start at zero.

        ``source`` (int64, of the parameter's shape) is the former place of each weight, or -1
        for a grown one.
        """
        for state in self.state[parameter].values():
            state.copy_(state[source.clamp(min=0)].masked_fill(source < 0, 0))
