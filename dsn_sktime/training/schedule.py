"""Learning rate of each optimizer step: pure functions, so that a resumed run goes on as before."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

# An epoch's loss is a new lowest one if it is below the lowest by this share of it, and a
# learning rate moves if it moves by more than this: torch's ReduceLROnPlateau, as published.
_MIN_IMPROVEMENT = 1e-4
_MIN_REDUCTION = 1e-8

# torch's OneCycleLR, as published: the first rate is the peak's 25th part, and the peak is
# reached after three tenths of the optimizer steps.
_FIRST_SHARE = 1 / 25
_WARM_UP = 0.3


def half_cosine(progress: float) -> float:
    """Anneal 1 to 0 along a half cosine while ``progress`` goes from 0 to 1."""
    return 0.5 * (1 + math.cos(math.pi * progress))


def one_cycle(progress: float) -> float:
    """Return the share of the peak learning rate after a share of the optimizer steps [1]_.

    It rises along a half cosine from 1/25 to 1, reached at 0.3, and falls along another
    to 0 at the end.

    References
    ----------
    .. [1] Smith and Topin, "Super-Convergence: Very Fast Training of Neural Networks Using
       Large Learning Rates", 2019.
    """
    if progress < _WARM_UP:
        return 1 - (1 - _FIRST_SHARE) * half_cosine(progress / _WARM_UP)
    return half_cosine((progress - _WARM_UP) / (1 - _WARM_UP))


def plateau(
    history: Sequence[dict[str, Any]], lr: float, lr_min: float, factor: float, patience: int
) -> float:
    """Return the learning rate of the epoch after a history of records with "loss".

    It is what ``torch.optim.lr_scheduler.ReduceLROnPlateau`` gives: the rate is multiplied
    by ``factor``, down to ``lr_min``, when the loss has not reached a new minimum for more
    than ``patience`` epochs.
    """
    lowest, n_bad = math.inf, 0
    for record in history:
        if record["loss"] < lowest * (1 - _MIN_IMPROVEMENT):
            lowest, n_bad = record["loss"], 0
        else:
            n_bad += 1
        if n_bad > patience:
            reduced, n_bad = max(lr * factor, lr_min), 0
            lr = reduced if lr - reduced > _MIN_REDUCTION else lr
    return lr
