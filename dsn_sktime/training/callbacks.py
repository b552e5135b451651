"""Callbacks: what may watch a training run, stop it, save it."""

from __future__ import annotations

import os
import tempfile
from numbers import Integral
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from dsn_sktime.training.trainer import Trainer

__all__ = ["Callback", "Checkpoint", "EarlyStopping", "ProgressBar"]


class Callback:
    """Base class of callbacks: does nothing.

    A callback may set ``trainer.should_stop = True`` to end training after the current
    epoch. With ``n_estimators > 1`` each network calls it in turn, or a copy of it in
    another process if ``n_jobs`` asks for several. Its ``repr`` is part of what tells
    checkpoints of one fit from those of another: mention there what shapes the result.
    """

    def __repr__(self) -> str:
        """Name the class."""
        return f"{type(self).__name__}()"

    def on_train_begin(self, trainer: Trainer) -> None:
        """Run before the first epoch; a checkpoint may be loaded here."""

    def on_epoch_end(self, trainer: Trainer, record: dict[str, Any]) -> None:
        """Run after each epoch; ``record`` is the newest of ``trainer.history``."""

    def on_train_end(self, trainer: Trainer) -> None:
        """Run when training ends, also by an error or Ctrl-C."""


class EarlyStopping(Callback):
    """Stop training when a figure of the history has not improved for a while.

    The figures are those of the training data: the paper's protocol has no validation
    set. The model is still that of the epoch with the lowest training loss.

    Parameters
    ----------
    monitor : {"loss", "accuracy"}, default="loss"
        Figure to watch; loss should fall, accuracy rise.
    patience : int, default=100
        Epochs without improvement after which training stops.
    min_delta : float, default=0.0
        A change up to this much is no improvement.

    Raises
    ------
    ValueError
        If ``monitor`` is none of the two or ``patience`` is below 1.
    TypeError
        If ``patience`` is no integer.
    """

    def __init__(self, monitor: str = "loss", patience: int = 100, min_delta: float = 0.0) -> None:
        if monitor not in ("loss", "accuracy"):
            raise ValueError(f"monitor must be 'loss' or 'accuracy', found {monitor!r}.")
        _check_epochs("patience", patience)
        self.monitor = monitor
        self.patience = patience
        self.min_delta = min_delta

    def __repr__(self) -> str:
        """Return the call that makes an equal callback."""
        return f"EarlyStopping({self.monitor!r}, {self.patience}, {self.min_delta})"

    def on_epoch_end(self, trainer: Trainer, record: dict[str, Any]) -> None:
        """Stop if the last improvement lies ``patience`` epochs back."""
        sign = 1 if self.monitor == "loss" else -1
        best, best_epoch = float("inf"), 0
        # Read off the history, not remembered: right after resuming, and when reused.
        for past in trainer.history:
            if sign * past[self.monitor] < best - self.min_delta:
                best, best_epoch = sign * past[self.monitor], past["epoch"]
        if record["epoch"] - best_epoch >= self.patience:
            trainer.should_stop = True


class Checkpoint(Callback):
    """Save the training run to a file, and take it up again where it broke off.

    The file's name is derived from the data, all settings that shape the result and the
    version of this package, so one folder serves a whole grid search. A ``fit`` that finds
    its file unfinished continues it, to the same weights as without the interruption; one
    that finds it finished loads the result instead of computing it again. That takes an
    integer ``random_state``: any other fit is no other's continuation.

    Files hold tensors and numbers only, are read with ``torch.load(weights_only=True)``
    and replaced atomically: a kill at any moment leaves the last complete one.

    Parameters
    ----------
    folder : str or Path
        Created if it is not there. Files in it are never deleted.
    every : int, default=10
        Epochs between two saves; the last epoch is always saved.

    Raises
    ------
    ValueError
        If ``every`` is below 1 or ``folder`` is a file.
    TypeError
        If ``every`` is no integer.
    """

    def __init__(self, folder: str | Path, every: int = 10) -> None:
        _check_epochs("every", every)
        if Path(folder).exists() and not Path(folder).is_dir():
            raise ValueError(f"folder must be a folder, found the file {str(folder)!r}.")
        self.folder = folder
        self.every = every

    def __repr__(self) -> str:
        """Return the call that makes an equal callback."""
        return f"Checkpoint({str(self.folder)!r}, {self.every})"

    def path(self, trainer: Trainer) -> Path:
        """Return the file of a training run."""
        return Path(self.folder) / f"dsn-{trainer.run_id}.pt"

    def on_train_begin(self, trainer: Trainer) -> None:
        """Continue the run that the file holds, if there is one."""
        path = self.path(trainer)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            return
        device = next(trainer.network.parameters()).device
        try:
            trainer.load_state_dict(torch.load(path, map_location=device, weights_only=True))
        except Exception as error:
            raise ValueError(
                f"the checkpoint {str(path)!r} cannot be read: {error}. Delete it to train anew."
            ) from error

    def on_epoch_end(self, trainer: Trainer, record: dict[str, Any]) -> None:
        """Save if it is time to."""
        if trainer.is_finished or (record["epoch"] + 1) % self.every == 0:
            _save_atomically(trainer.state_dict(), self.path(trainer))

    def on_train_end(self, trainer: Trainer) -> None:
        """Save that training was stopped, maybe by a callback whose turn came later."""
        if trainer.should_stop:
            _save_atomically(trainer.state_dict(), self.path(trainer))


def _check_epochs(name: str, value: object) -> None:
    message = f"{name} must be an integer number of epochs, at least 1, found {value!r}."
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(message)
    if value < 1:
        raise ValueError(message)


def _save_atomically(state: dict[str, Any], path: Path) -> None:
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException:
        os.unlink(draft)
        raise


class ProgressBar(Callback):
    """Show a tqdm bar with loss, training accuracy and the time left."""

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
        self._bar.set_postfix(
            loss=f"{record['loss']:.3f}", accuracy=f"{record['accuracy']:.3f}", refresh=False
        )
        self._bar.update()

    def on_train_end(self, trainer: Trainer) -> None:
        """Close the bar."""
        self._bar.close()
        # It holds a stream, and the classifier that keeps this callback is to be pickled.
        del self._bar
