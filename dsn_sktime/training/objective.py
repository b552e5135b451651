"""What training minimizes, and the metrics of its history."""

from __future__ import annotations

from typing import Protocol, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from dsn_sktime.training.checks import check_number


class Objective(Protocol):
    """Interface of objectives, the only way in which a trainer uses outputs and targets."""

    metrics: tuple[str, ...]
    """Names of the metrics in the history, beside the loss."""

    def to(self, device: torch.device) -> Self:
        """Return the objective with its tensors on a device."""

    def loss(self, outputs: Tensor, target: Tensor, sample_weight: Tensor | None) -> Tensor:
        """Return the mean loss of a batch, of shape ()."""

    def metric_sums(self, outputs: Tensor, target: Tensor) -> list[Tensor]:
        """Return each metric summed over the series of a batch, of shape ()."""


class CrossEntropy:
    """Cross-entropy of class logits; the metric is accuracy.

    Parameters
    ----------
    class_weight : float tensor of shape (c,), optional
        Weight of each class.
    label_smoothing : float in [0, 1), default=0.0
        Share of a target that is spread evenly over all classes.
    """

    metrics: tuple[str, ...] = ("accuracy",)

    def __init__(self, class_weight: Tensor | None = None, label_smoothing: float = 0.0) -> None:
        check_number("label_smoothing", label_smoothing, "[0, 1)")
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
        return _weighted_mean(losses * sample_weight, weight)

    def metric_sums(self, outputs: Tensor, target: Tensor) -> list[Tensor]:
        """Count the series that are classified correctly."""
        return [(outputs.argmax(1) == target).sum()]


class SquaredError:
    """Mean squared error of one output per series."""

    metrics: tuple[str, ...] = ()

    def to(self, device: torch.device) -> Self:
        """Return the objective, which has no tensors."""
        return self

    def loss(self, outputs: Tensor, target: Tensor, sample_weight: Tensor | None) -> Tensor:
        """Return the weighted mean loss of a batch.

        Parameters
        ----------
        outputs : float tensor of shape (B, 1)
        target : float tensor of shape (B,)
        sample_weight : float tensor of shape (B,), optional
            Weight of each series. If all are 0, the loss is 0.
        """
        errors = (outputs[:, 0] - target) ** 2
        if sample_weight is None:
            return errors.mean()
        return _weighted_mean(errors * sample_weight, sample_weight)

    def metric_sums(self, outputs: Tensor, target: Tensor) -> list[Tensor]:
        """Return no metric."""
        return []


def _weighted_mean(weighted: Tensor, weight: Tensor) -> Tensor:
    return weighted.sum() / weight.sum().clamp(min=torch.finfo(weight.dtype).tiny)
