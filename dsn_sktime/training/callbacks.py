"""Callbacks that stop training early and show its progress."""

from __future__ import annotations

from math import inf
from typing import Any

from tqdm.auto import tqdm

from dsn_sktime.training.checks import check_choice, check_integer, check_number
from dsn_sktime.training.trainer import Callback, Trainer

__all__ = ["EarlyStopping", "ProgressBar"]


class EarlyStopping(Callback):
    """Stop training when a metric of the history has not improved for a while.

    Metrics are computed on the training data: the paper's protocol has no validation set.
    The recipe selects the kept weights, as without early stopping.

    Parameters
    ----------
    monitor : {"loss", "accuracy"}, default="loss"
        Metric to watch; loss should fall, accuracy rise.
    patience : int, default=100
        Epochs without improvement after which training stops.
    min_delta : float, default=0.0
        Minimum change that counts as an improvement.

    Raises
    ------
    ValueError
        If ``monitor`` is neither of the two, ``patience`` is below 1 or ``min_delta`` is
        negative or not finite.
    TypeError
        If ``patience`` is not an integer or ``min_delta`` not a number.
    """

    def __init__(self, monitor: str = "loss", patience: int = 100, min_delta: float = 0.0) -> None:
        check_choice("monitor", monitor, ("loss", "accuracy"))
        check_integer("patience", patience, 1)
        check_number("min_delta", min_delta, "[0, inf)", lambda delta: 0 <= delta < inf)
        self.monitor = monitor
        self.patience = patience
        self.min_delta = min_delta

    def __repr__(self) -> str:
        """Return the call that makes an equal callback."""
        return f"EarlyStopping({self.monitor!r}, {self.patience}, {self.min_delta})"

    def on_train_begin(self, trainer: Trainer) -> None:
        """Stop if the history that was loaded says so."""
        self._stop_if_due(trainer)

    def on_epoch_end(self, trainer: Trainer, record: dict[str, Any]) -> None:
        """Stop if the last improvement lies ``patience`` epochs back."""
        self._stop_if_due(trainer)

    def _stop_if_due(self, trainer: Trainer) -> None:
        sign = 1 if self.monitor == "loss" else -1
        best, best_epoch = inf, 0
        # Read off the history, not remembered: right after resuming, and when reused.
        for record in trainer.history:
            if sign * record[self.monitor] < best - self.min_delta:
                best, best_epoch = sign * record[self.monitor], record["epoch"]
        if len(trainer.history) - 1 - best_epoch >= self.patience:
            trainer.should_stop = True


class ProgressBar(Callback):
    """Show a tqdm bar with loss, the objective's metric and the time left."""

    def on_train_begin(self, trainer: Trainer) -> None:
        """Open the bar at the epochs already done."""
        self._bar = tqdm(
            total=trainer.recipe.n_epochs,
            initial=len(trainer.history),
            desc=trainer.name,
            unit="epoch",
        )

    def on_epoch_end(self, trainer: Trainer, record: dict[str, Any]) -> None:
        """Advance the bar."""
        shown = {name: f"{record[name]:.3f}" for name in ("loss", trainer.objective.metric)}
        self._bar.set_postfix(shown, refresh=False)
        self._bar.update()

    def on_train_end(self, trainer: Trainer) -> None:
        """Close the bar."""
        self._bar.close()
        # It holds a stream, and the classifier that keeps this callback is to be pickled.
        del self._bar
