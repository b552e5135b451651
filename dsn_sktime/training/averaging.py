"""Average of the weights over optimizer steps, and BatchNorm statistics that belong to it."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from dsn_sktime.training.batches import Batch
from dsn_sktime.training.weight_state import WeightState


class WeightAverage(WeightState):
    """Mean of the parameters over optimizer steps (stochastic weight averaging [1]_).

    Steps are counted for each weight separately: the mean of a weight that a topology update
    grows is over the steps since then.

    Parameters
    ----------
    network : torch.nn.Module

    Attributes
    ----------
    state : dict
        For each parameter a dict of tensors of its shape: "step" (int32), the optimizer
        steps averaged, and "mean".

    References
    ----------
    .. [1] Izmailov, Podoprikhin, Garipov, Vetrov and Wilson, "Averaging Weights Leads to
       Wider Optima and Better Generalization", UAI 2018.
    """

    def __init__(self, network: nn.Module) -> None:
        self._names: dict[Tensor, str] = {
            parameter: name for name, parameter in network.named_parameters()
        }
        super().__init__(network.parameters(), ("mean",))

    @torch.no_grad()
    def update(self) -> None:
        """Take the present weights into the mean."""
        for parameter, state in self.state.items():
            state["step"] += 1
            state["mean"] += (parameter - state["mean"]) / state["step"]

    @torch.no_grad()
    def averaged(self) -> dict[str, Tensor]:
        """Return the means by the names of the parameters.

        A weight that no step was averaged of is as it is.
        """
        return {
            self._names[parameter]: torch.where(state["step"] > 0, state["mean"], parameter)
            for parameter, state in self.state.items()
        }


@torch.no_grad()
def update_bn(network: nn.Module, batches: Iterable[Batch]) -> None:
    """Recompute the running statistics of BatchNorm layers as means over batches.

    As ``torch.optim.swa_utils.update_bn``, but each batch counts by its size. The network
    computes in training mode, without gradients.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm1d)]
    momenta = [norm.momentum for norm in norms]
    network.train()
    n_seen = 0
    try:
        for batch in batches:
            n_seen += len(batch.target)
            for norm in norms:
                norm.momentum = len(batch.target) / n_seen
            network(batch.values, batch.lengths)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
