"""How a network is trained: the numbers, and the schedules that follow from them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

__all__ = ["GROWTHS", "PlateauRecipe", "Recipe", "Schedule"]

GROWTHS = ("random", "gradient", None)

# The authors' code: the drop fraction anneals over the first 80 % of the training
# steps and never falls below 0.001.
_ANNEALED_SHARE = 0.8
_LEAST_DROP_FRACTION = 0.001


# An epoch's loss is a new lowest one if it is below the lowest by this share of it, and a
# learning rate moves if it moves by more than this: torch's ReduceLROnPlateau, as published.
_LEAST_IMPROVEMENT = 1e-4
_LEAST_REDUCTION = 1e-8


class Schedule(Protocol):
    """What a trainer asks of a recipe."""

    @property
    def n_epochs(self) -> int:
        """Passes over the training data."""

    @property
    def batch_size(self) -> int:
        """Series of a training batch."""

    @property
    def lr(self) -> float:
        """Adam's learning rate in the first epoch."""

    def learning_rate(self, history: Sequence[dict[str, Any]]) -> float:
        """Return the learning rate of the epoch that follows the records of a history."""


@dataclass(frozen=True)
class Recipe:
    """Recipe of dynamic sparse training.

    Parameters
    ----------
    n_epochs : int
        Passes over the training data.
    batch_size : int
        Series of a training batch.
    lr, lr_min : float
        Adam's learning rate at the start, and what it is annealed to.
    growth : {"random", "gradient", None}
        How positions to grow are chosen; None keeps the topology fixed.
    alpha : float
        First drop fraction.
    delta_t : int
        Epochs between topology updates.
    """

    n_epochs: int
    batch_size: int
    lr: float
    lr_min: float
    growth: str | None
    alpha: float
    delta_t: int

    def learning_rate(self, history: Sequence[dict[str, Any]]) -> float:
        """Return the cosine-annealed learning rate of the epoch after those of a history."""
        share = len(history) / self.n_epochs
        return self.lr_min + (self.lr - self.lr_min) * _half_cosine(share)

    def drop_fraction(self, progress: float) -> float:
        """Return the share of activated weights that an update drops.

        Parameters
        ----------
        progress : float in [0, 1]
            Training steps done, of all.
        """
        annealed = self.alpha * _half_cosine(min(progress / _ANNEALED_SHARE, 1.0))
        return max(annealed, _LEAST_DROP_FRACTION)

    def is_update_epoch(self, epoch: int) -> bool:
        """Tell whether the topology is updated after an epoch, counted from 0.

        It is not after the last one: the grown weights would never be trained.
        """
        done = epoch + 1
        return self.growth is not None and done % self.delta_t == 0 and done < self.n_epochs


@dataclass(frozen=True)
class PlateauRecipe:
    """Recipe of training whose learning rate is reduced when the loss stops falling.

    Parameters
    ----------
    n_epochs : int
        Passes over the training data.
    batch_size : int
        Series of a training batch.
    lr, lr_min : float
        Adam's learning rate at the start, and its lower bound.
    factor : float
        What the learning rate is multiplied with.
    patience : int
        Epochs without a new lowest mean training loss that are let pass; it is the next
        one that reduces the learning rate.
    """

    n_epochs: int
    batch_size: int
    lr: float
    lr_min: float
    factor: float
    patience: int

    def learning_rate(self, history: Sequence[dict[str, Any]]) -> float:
        """Return the learning rate of the epoch that follows the records of a history.

        Computed from the losses alone, so a resumed fit goes on as an uninterrupted one.
        It is what ``torch.optim.lr_scheduler.ReduceLROnPlateau`` gives.
        """
        lr, lowest, n_bad = self.lr, math.inf, 0
        for record in history:
            if record["loss"] < lowest * (1 - _LEAST_IMPROVEMENT):
                lowest, n_bad = record["loss"], 0
            else:
                n_bad += 1
            if n_bad > self.patience:
                reduced, n_bad = max(lr * self.factor, self.lr_min), 0
                lr = reduced if lr - reduced > _LEAST_REDUCTION else lr
        return lr


def _half_cosine(share: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * share))
