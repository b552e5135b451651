"""Callbacks that stop training early and show its progress."""

from __future__ import annotations

from math import inf
from typing import Any

from tqdm.auto import tqdm

from dsn_sktime.training.checks import check_choice, check_integer, check_number
from dsn_sktime.training.trainer import Callback, Trainer

_MONITORS = ("loss", "accuracy", "val_loss", "val_accuracy")


class EarlyStopping(Callback):
    """Stop training when a metric of the history has not improved for a while.

    The recipe selects the kept weights, as without early stopping.

    Parameters
    ----------
    monitor : {"loss", "accuracy", "val_loss", "val_accuracy"}, default="loss"
        Metric to watch, of the training series or of the validation set; a loss should fall,
        an accuracy rise.
    patience : int, default=10
        Epochs without improvement after which training stops. With the schedule "plateau", more
        than those that it waits.
    min_delta : float, default=0.0
        Minimum change that counts as an improvement.

    Raises
    ------
    ValueError
        If ``monitor`` is none of these, ``patience`` is below 1 or ``min_delta`` is negative
        or not finite. By ``fit``, before the first epoch, if ``monitor`` needs a validation set
        and there is none, or is an accuracy and the estimator is not a classifier.
    TypeError
        If ``patience`` is not an integer or ``min_delta`` not a number.
    """

    def __init__(self, monitor: str = "loss", patience: int = 10, min_delta: float = 0.0) -> None:
        check_choice("monitor", monitor, _MONITORS)
        check_integer("patience", patience, 1)
        check_number("min_delta", min_delta, "[0, inf)")
        self.monitor = monitor
        self.patience = patience
        self.min_delta = min_delta

    def __repr__(self) -> str:
        """Return the call that makes an equal callback."""
        return f"EarlyStopping({self.monitor!r}, {self.patience}, {self.min_delta})"

    def on_train_begin(self, trainer: Trainer) -> None:
        """Stop if the history that was loaded says so."""
        if self.monitor.startswith("val_") and trainer.validation is None:
            raise ValueError(
                f"monitor={self.monitor!r} needs a validation set, found none. Set "
                "validation_fraction or pass validation_data to fit."
            )
        metric = self.monitor.removeprefix("val_")
        if metric != "loss" and metric not in trainer.objective.metrics:
            raise ValueError(
                f"monitor={self.monitor!r} needs a classifier, found the training of another "
                "estimator. Set monitor to 'loss' or 'val_loss'."
            )
        self._stop_if_due(trainer)

    def on_epoch_end(self, trainer: Trainer, record: dict[str, Any]) -> None:
        """Stop if the last improvement lies ``patience`` epochs back."""
        self._stop_if_due(trainer)

    def _stop_if_due(self, trainer: Trainer) -> None:
        sign = 1 if self.monitor.endswith("loss") else -1
        best, best_epoch = inf, 0
        # Read off the history, not remembered: right after resuming, and when reused.
        for record in trainer.history:
            if sign * record[self.monitor] < best - self.min_delta:
                best, best_epoch = sign * record[self.monitor], record["epoch"]
        if len(trainer.history) - 1 - best_epoch >= self.patience:
            trainer.should_stop = True


def _figures(trainer: Trainer, record: dict[str, Any]) -> dict[str, str]:
    """Return what is shown of an epoch, as text."""
    names = ["loss", *trainer.objective.metrics]
    names += [f"val_{name}" for name in names]
    shown = {name: f"{record[name]:.3f}" for name in names if name in record}
    if "progress" in record:
        shown["progress"] = f"{record['progress']:.0%}"
    return shown


class EpochLog(Callback):
    """Print a line per epoch, for logs."""

    def on_train_begin(self, trainer: Trainer) -> None:
        """Print how much of a training that is resumed is done."""
        if trainer.history:
            done = f"{len(trainer.history)}/{trainer.recipe.n_epochs}"
            print(f"{trainer.name}: resumed after epoch {done}", flush=True)

    def on_epoch_end(self, trainer: Trainer, record: dict[str, Any]) -> None:
        """Print epoch, losses and metrics, learning rate and seconds."""
        figures = _figures(trainer, record)
        figures |= {"lr": f"{record['lr']:.3g}", "seconds": f"{record['seconds']:.2f}"}
        epoch = f"{trainer.name}: epoch {record['epoch'] + 1}/{trainer.recipe.n_epochs}"
        print(epoch, *(f"{name}={value}" for name, value in figures.items()), flush=True)


class ProgressBar(Callback):
    """Show a tqdm bar with losses, the objective's metrics and the time left."""

    def on_train_begin(self, trainer: Trainer) -> None:
        """Open the bar at the epochs already done."""
        self._bar = tqdm(
            # With a time limit, the number of epochs that fit into it is not known.
            total=None if trainer.recipe.max_seconds else trainer.recipe.n_epochs,
            initial=len(trainer.history),
            desc=trainer.name,
            unit="epoch",
        )

    def on_epoch_end(self, trainer: Trainer, record: dict[str, Any]) -> None:
        """Advance the bar."""
        self._bar.set_postfix(_figures(trainer, record), refresh=False)
        self._bar.update()

    def on_train_end(self, trainer: Trainer) -> None:
        """Close the bar."""
        self._bar.close()
        # It holds a stream, and the classifier that keeps this callback is to be pickled.
        del self._bar
