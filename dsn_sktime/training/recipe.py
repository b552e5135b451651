"""Settings of training, and the schedules that follow from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dsn_sktime.training.checks import check_choice, check_integer, check_number
from dsn_sktime.training.schedule import half_cosine, one_cycle, plateau

GROWTHS = ("random", "gradient", None)
SCHEDULES = ("cosine", "one_cycle", "plateau")
KEEPS = ("best", "last", "average")

# The authors' code: the drop fraction anneals over the first 80 % of the training and never
# falls below 0.001.
_ANNEALED_SHARE = 0.8
_MIN_DROP_FRACTION = 0.001

# An average is taken over the last quarter of the optimizer steps.
_AVERAGED_SHARE = 0.25


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Recipe of training with Adam.

    Parameters
    ----------
    n_epochs : int
        Passes over the training data.
    max_seconds : float or None, default=None
        Seconds of training, which the schedules follow: if they end before the last epoch,
        progress is the share of them that is used. "cosine" then anneals from
        optimizer step to optimizer step; "plateau" does not depend on progress.
    batch_size : int
        Series of a training batch.
    lr : float
        Adam's learning rate at the start, or the peak of "one_cycle".
    lr_min : float, default=0.0
        What "cosine" anneals the learning rate to, and the lower bound of "plateau".
    schedule : {"cosine", "one_cycle", "plateau"}, default="cosine"
        "cosine" anneals along a half cosine from epoch to epoch, "one_cycle" rises and
        falls from optimizer step to optimizer step, "plateau" multiplies with
        ``lr_factor`` when the loss stops falling.
    lr_factor : float in (0, 1), default=0.5
        For "plateau".
    patience : int, default=50
        For "plateau": epochs without a new lowest mean training loss that are tolerated; one
        more reduces the learning rate.
    weight_decay : float, default=0.0
        Decoupled, of all parameters, as in ``torch.optim.AdamW``.
    keep : {"best", "last", "average"}, default="best"
        The trained model: "best" is the state at the end of the epoch with the lowest
        validation loss, or mean training loss where there is no validation set, the later one
        of a tie, "last" that of the last epoch, "average" the
        mean of the weights over the last quarter of the optimizer steps, for each weight
        over those since it was grown.
    update_bn : bool, default=False
        Recompute the running statistics of the BatchNorm layers for the kept weights, in one
        pass over the training series. Always done for an average.

    Raises
    ------
    ValueError, TypeError
        If a number is out of range or a choice unknown.
    """

    n_epochs: int
    max_seconds: float | None = None
    batch_size: int
    lr: float
    lr_min: float = 0.0
    schedule: str = "cosine"
    lr_factor: float = 0.5
    patience: int = 50
    weight_decay: float = 0.0
    keep: str = "best"
    update_bn: bool = False

    def __post_init__(self) -> None:
        check_integer("n_epochs", self.n_epochs, 1)
        if self.max_seconds is not None:
            check_number("max_seconds", self.max_seconds, "(0, inf)")
        check_integer("batch_size", self.batch_size, 2)
        check_number("lr", self.lr, "[0, inf)")
        check_choice("schedule", self.schedule, SCHEDULES)
        # "one_cycle" anneals to 0 and ignores lr_min.
        interval = "[0, inf)" if self.schedule == "one_cycle" else f"[0, lr={float(self.lr)}]"
        check_number("lr_min", self.lr_min, interval)
        check_number("lr_factor", self.lr_factor, "(0, 1)")
        check_integer("patience", self.patience, 0)
        check_number("weight_decay", self.weight_decay, "[0, inf)")
        check_choice("keep", self.keep, KEEPS)
        check_choice("update_bn", self.update_bn, (False, True))

    @property
    def is_annealed_by_step(self) -> bool:
        """True if the learning rate changes at each optimizer step, not at each epoch."""
        is_timed = self.max_seconds is not None
        return self.schedule == "one_cycle" or (self.schedule == "cosine" and is_timed)

    def learning_rate(self, progress: float, history: Sequence[dict[str, Any]]) -> float:
        """Return the learning rate of the optimizer step after a share of the training.

        ``progress`` is in [0, 1]. ``history`` holds the records of the epochs that are done,
        which "plateau" depends on instead.
        """
        if self.schedule == "one_cycle":
            return self.lr * one_cycle(progress)
        if self.schedule == "plateau":
            return plateau(history, self.lr, self.lr_min, self.lr_factor, self.patience)
        return self.lr_min + (self.lr - self.lr_min) * half_cosine(progress)

    def is_averaged(self, progress: float) -> bool:
        """Return True if the weights after the optimizer step at ``progress`` are averaged."""
        return self.keep == "average" and progress >= 1 - _AVERAGED_SHARE


@dataclass(frozen=True, kw_only=True)
class SparseRecipe(Recipe):
    """Recipe of dynamic sparse training: :class:`Recipe` with topology updates.

    Parameters
    ----------
    growth : {"random", "gradient", None}, default="random"
        How positions to grow are chosen; None keeps the topology fixed.
    alpha : float in [0, 1], default=0.5
        First drop fraction.
    delta_t : int, default=5
        Epochs between topology updates.
    """

    growth: str | None = "random"
    alpha: float = 0.5
    delta_t: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("growth", self.growth, GROWTHS)
        check_number("alpha", self.alpha, "[0, 1]")
        check_integer("delta_t", self.delta_t, 1)

    def drop_fraction(self, progress: float) -> float:
        """Return the share of activated weights that an update drops.

        ``progress``, in [0, 1], is the share of the training that is done.
        """
        annealed = self.alpha * half_cosine(min(progress / _ANNEALED_SHARE, 1.0))
        return max(annealed, _MIN_DROP_FRACTION)

    def is_update_epoch(self, epoch: int) -> bool:
        """Return True if the topology is updated after an epoch, counted from 0.

        It is not after the last one: the grown weights would never be trained.
        """
        done = epoch + 1
        return self.growth is not None and done % self.delta_t == 0 and done < self.n_epochs
