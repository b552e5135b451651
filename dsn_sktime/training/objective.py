"""What training minimises, and the metric of its history."""

from __future__ import annotations

from typing import Protocol, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from dsn_sktime.training.checks import check_number

__all__ = ["CrossEntropy", "Objective"]


class Objective(Protocol):
    """Interface of objectives, the only way in which a trainer uses outputs and targets."""

    metric: str
    """Name of the metric in the history."""

    def to(self, device: torch.device) -> Self:
        """Return the objective with its tensors on a device."""

    def loss(self, outputs: Tensor, target: Tensor, sample_weight: Tensor | None) -> Tensor:
        """Return the mean loss of a batch, of shape ()."""

    def n_correct(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Return the metric summed over the series of a batch, of shape ()."""


class CrossEntropy:
    """Cross-entropy of class logits; the metric is accuracy.

    Parameters
    ----------
    class_weight : float tensor of shape (c,), optional
        Weight of each class.
    label_smoothing : float in [0, 1), default=0.0
        Share of a target that is spread evenly over all classes.
    """

    metric = "accuracy"

    def __init__(self, class_weight: Tensor | None = None, label_smoothing: float = 0.0) -> None:
        check_number("label_smoothing", label_smoothing, "[0, 1)", lambda share: 0 <= share < 1)
        self.class_weight = class_weight
        self.label_smoothing = float(label_smoothing)

    def to(self, device: torch.device) -> Self:
        """Return the objective with its tensors on a device."""
        weight = self.class_weight
        return type(self)(None if weight is None else weight.to(device), self.label_smoothing)

    def loss(self, outputs: Tensor, target: Tensor, sample_weight: Tensor | None) -> Tensor:
        """Return the weighted mean loss of a batch.

        Parameters
        ----------
        outputs : float tensor of shape (B, c)
            Logits.
        target : int64 tensor of shape (B,)
            Class indices.
        sample_weight : float tensor of shape (B,), optional
            Weight of each series, multiplied by the weight of its class. If all are 0, the
            loss is 0.
        """
        smoothing = self.label_smoothing
        if sample_weight is None:
            return F.cross_entropy(outputs, target, self.class_weight, label_smoothing=smoothing)
        losses = F.cross_entropy(
            outputs, target, self.class_weight, reduction="none", label_smoothing=smoothing
        )
        weight = sample_weight
        if self.class_weight is not None:
            weight = weight * self.class_weight[target]
        tiny = torch.finfo(weight.dtype).tiny
        return (losses * sample_weight).sum() / weight.sum().clamp(min=tiny)

    def n_correct(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Count the series that are classified correctly."""
        return (outputs.argmax(1) == target).sum()
