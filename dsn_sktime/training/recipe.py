"""How a network is trained: the numbers, and the schedules that follow from them."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["GROWTHS", "Recipe"]

GROWTHS = ("random", "gradient", None)

# The authors' code: the drop fraction anneals over the first 80 % of the training
# steps and never falls below 0.001.
_ANNEALED_SHARE = 0.8
_LEAST_DROP_FRACTION = 0.001


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

    def learning_rate(self, epoch: int) -> float:
        """Return the cosine-annealed learning rate of an epoch, counted from 0."""
        return self.lr_min + (self.lr - self.lr_min) * _half_cosine(epoch / self.n_epochs)

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


def _half_cosine(share: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * share))
