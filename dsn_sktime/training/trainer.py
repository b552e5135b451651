"""The training loop: epochs, batches, optimizer steps, and the kept state."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dsn_sktime.kernels import AdamSettings
from dsn_sktime.panel import Panel
from dsn_sktime.runtime import default_switches
from dsn_sktime.training.adam import Adam
from dsn_sktime.training.averaging import WeightAverage, update_bn
from dsn_sktime.training.batches import (
    Augmentation,
    Batch,
    Use,
    random_stream,
    shuffled_rows,
    take,
)
from dsn_sktime.training.cuda_graph import CapturedStep, CudaGraphs, Graphs
from dsn_sktime.training.objective import Objective
from dsn_sktime.training.recipe import Recipe
from dsn_sktime.training.run_state import check_run_state
from dsn_sktime.training.weight_state import WeightState

__all__ = ["Callback", "Trainer"]


class Callback:
    """Base class of callbacks, which may watch, stop or save a training run.

    A callback may set ``trainer.should_stop = True`` to end training after the current
    epoch. With ``n_estimators > 1`` each network calls it in turn, or a copy of it in
    another process if ``n_jobs`` asks for several. A checkpoint is identified by the
    ``repr`` of the callbacks, among others: include every setting that changes the result.
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


class Trainer:
    """Training of one network with Adam.

    Parameters
    ----------
    network : torch.nn.Module
        Maps values (B, m, L) and lengths to outputs (B, c). Trained in place, on the device
        where it lies.
    recipe : Recipe
    objective : Objective
        Loss of outputs and targets, and the metric of the history.
    seed : int
        Fixes the order of batches, and all else that is drawn.
    callbacks : sequence of Callback, default=()
    run_id : str, default=""
        Names data and settings: runs of the same ``run_id`` and ``seed`` are the same.
    name : str, default="network"
        Label of the progress bar.
    augment : callable, optional
        Maps each training batch and a numpy Generator to a batch of the same shapes.

    Attributes
    ----------
    history : list of dict
        One record per epoch: "epoch" (from 0), "loss" and the objective's metric (means over
        the training series), "lr" (of the first optimizer step), "seconds".
    best_epoch : int
        Epoch of the kept state, -1 before the first.
    best_state : dict of str to Tensor
        Kept state: the network's at the end of that epoch.
    n_resumed : int
        Epochs of the history that were loaded.
    optimizer : Adam
    should_stop : bool
        A callback that sets it ends training after the current epoch.
    graphs : Graphs or None
        Capture optimizer steps on series of equal length to replay them: CUDA graphs where
        the network lies on a GPU. Forward hooks then run at the first steps only.
    """

    def __init__(
        self,
        network: nn.Module,
        recipe: Recipe,
        objective: Objective,
        seed: int,
        callbacks: Sequence[Callback] = (),
        run_id: str = "",
        name: str = "network",
        augment: Augmentation | None = None,
    ) -> None:
        self.network = network
        self.recipe = recipe
        self.seed = seed
        self.callbacks = callbacks
        self.run_id = run_id
        self.name = name
        self.augment = augment
        self.history: list[dict[str, Any]] = []
        self.best_epoch = -1
        self.best_state: dict[str, Tensor] = {}
        self.n_resumed = 0
        self.should_stop = False
        self._device = next(network.parameters()).device
        is_cuda = self._device.type == "cuda"
        self.graphs: Graphs | None = CudaGraphs(self._device) if is_cuda else None
        with default_switches():
            self.objective = objective.to(self._device)
            settings = AdamSettings(weight_decay=recipe.weight_decay)
            self.optimizer = Adam(network.parameters(), recipe.lr, settings)
            self.average = WeightAverage(network) if recipe.keep == "average" else None
            # A captured step would take a number for a constant.
            self._lr = torch.zeros((), dtype=torch.float64, device=self._device)
        # All that moves with the weights when a topology update moves them.
        averages = [] if self.average is None else [self.average]
        self.followers: list[WeightState] = [self.optimizer, *averages]

    @property
    def is_finished(self) -> bool:
        """True if all epochs are done, or a callback stopped training after at least one."""
        return len(self.history) >= (1 if self.should_stop else self.recipe.n_epochs)

    def fit(self, panel: Panel, target: Tensor, sample_weight: Tensor | None = None) -> None:
        """Train until the recipe's last epoch or until a callback stops it.

        It does not depend on the caller's gradient mode, inference mode, autocast or
        defaults of torch, and leaves them as they are.

        Parameters
        ----------
        panel : Panel
            n training series, on the network's device.
        target : tensor of shape (n, ...)
            What the objective compares outputs with: class indices for cross-entropy.
        sample_weight : float tensor of shape (n,), optional
            Weight of each series in the loss.

        Raises
        ------
        FloatingPointError
            If the training loss is no longer finite.
        """
        with default_switches():
            data = _without_inference(Batch(panel.values, panel.lengths, target, sample_weight))
            for callback in self.callbacks:
                callback.on_train_begin(self)
            step: Callable[[Batch], Tensor] = self._step
            if self.graphs is not None and panel.lengths is None:
                step = CapturedStep(self._step, self.graphs)
            try:
                while not self.is_finished:
                    record = self._run_epoch(data, step)
                    self.history.append(record)
                    for callback in self.callbacks:
                        callback.on_epoch_end(self, record)
            finally:
                for callback in self.callbacks:
                    callback.on_train_end(self)
            self.network.load_state_dict(self.best_state)
            if self.recipe.update_bn or self.recipe.keep == "average":
                rows_of_batches = self._rows(data, Use.BATCH_NORM, self.best_epoch)
                update_bn(self.network, (take(data, rows) for rows in rows_of_batches))
            self.network.eval()

    def _run_epoch(self, data: Batch, step: Callable[[Batch], Tensor]) -> dict[str, Any]:
        started, epoch = time.perf_counter(), len(self.history)
        self.network.train()
        rows_of_batches = list(self._rows(data, Use.SHUFFLING, epoch))
        n_batches = len(rows_of_batches)
        rates = self.recipe.learning_rates(self.history, n_batches)
        noise = random_stream(self.seed, Use.AUGMENTATION, epoch)
        totals = torch.zeros(2, dtype=torch.float64, device=self._device)
        for number, (rows, lr) in enumerate(zip(rows_of_batches, rates, strict=True)):
            batch = take(data, rows)
            if self.augment is not None:
                batch = self.augment(batch, noise)
            self.optimizer.lr = lr if self.graphs is None else self._lr.fill_(lr)
            totals += self._take_step(step, batch, epoch, is_last=number == n_batches - 1)
            if self.average is not None and self.recipe.is_averaged(epoch, number, n_batches):
                self.average.update()
        loss, metric = (total / len(data.target) for total in totals.tolist())
        self._keep(epoch, loss)
        record = {"epoch": epoch, "loss": loss, self.objective.metric: metric, "lr": rates[0]}
        record |= self._end_epoch(epoch)
        return {**record, "seconds": time.perf_counter() - started}

    def _take_step(
        self, step: Callable[[Batch], Tensor], batch: Batch, epoch: int, is_last: bool
    ) -> Tensor:
        """Take an optimizer step; subclasses may override it."""
        return step(batch)

    def _step(self, batch: Batch) -> Tensor:
        """Take an optimizer step, and return the batch's sums of the loss and the metric."""
        self.optimizer.zero_grad()
        outputs = self.network(batch.values, batch.lengths)
        loss = self.objective.loss(outputs, batch.target, batch.sample_weight)
        loss.backward()
        self.optimizer.step()
        n_correct = self.objective.n_correct(outputs.detach(), batch.target)
        return torch.stack([(loss.detach() * len(batch.target)).double(), n_correct.double()])

    def _end_epoch(self, epoch: int) -> dict[str, Any]:
        """Run after each epoch, for subclasses; return entries for the epoch's record."""
        return {}

    def _rows(self, data: Batch, use: Use, epoch: int) -> Iterator[Tensor]:
        rng = random_stream(self.seed, use, epoch)
        return shuffled_rows(len(data.target), self.recipe.batch_size, rng, self._device)

    def _keep(self, epoch: int, loss: float) -> None:
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"the training loss became {loss} in epoch {epoch}. Scale the series (for "
                "example to mean 0 and variance 1) or lower lr."
            )
        is_best = self.best_epoch < 0 or loss <= self.history[self.best_epoch]["loss"]
        if is_best or self.recipe.keep != "best":
            self.best_epoch = epoch
            state = self.network.state_dict()
            self.best_state = {name: tensor.clone() for name, tensor in state.items()}
            if self.average is not None:
                self.best_state |= self.average.averaged()

    def state_dict(self) -> dict[str, Any]:
        """Return all that :meth:`load_state_dict` needs to go on from here.

        Tensors, numbers, strings, lists and dicts only, so ``torch.load`` reads it with
        ``weights_only=True``.
        """
        return {
            "seed": self.seed,
            "finished": self.is_finished,
            "history": self.history,
            "best_epoch": self.best_epoch,
            "best_state": self.best_state,
            "network": self.network.state_dict(),
            "followers": [follower.state_dict() for follower in self.followers],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue a training run from what :meth:`state_dict` returned.

        Raises
        ------
        ValueError
            If the state does not match this run. Nothing is then changed.
        """
        check_run_state(state, self.state_dict(), self.network, self.recipe, self.objective.metric)
        self.network.load_state_dict(state["network"])
        for follower, loaded in zip(self.followers, state["followers"], strict=True):
            follower.load_state_dict(loaded)
        self.seed = state["seed"]
        self.should_stop = state["finished"]
        self.history = list(state["history"])
        self.n_resumed = len(self.history)
        self.best_epoch = state["best_epoch"]
        self.best_state = state["best_state"]


def _without_inference(data: Batch) -> Batch:
    """Copy tensors that were made in inference mode, which autograd cannot save."""
    return Batch._make(
        tensor.clone() if tensor is not None and tensor.is_inference() else tensor
        for tensor in data
    )
