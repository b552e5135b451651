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
from dsn_sktime.training.batches import Augmentation, Batch, Use, random_stream, shuffled_rows, take
from dsn_sktime.training.cuda_graph import CapturedStep, CudaGraphs
from dsn_sktime.training.objective import Objective
from dsn_sktime.training.recipe import Recipe
from dsn_sktime.training.run_state import check_run_state
from dsn_sktime.training.time_budget import TimeBudget
from dsn_sktime.training.weight_state import WeightState


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
        """Run when training ends, also by an error, another callback's at its begin, or Ctrl-C."""


class Trainer:
    """Training of one network with Adam.

    Parameters
    ----------
    network : torch.nn.Module
        Maps values (B, m, L) and lengths to outputs (B, c). Trained in place, on its device.
    recipe : Recipe
    objective : Objective
        Loss of outputs and targets, and the metrics of the history.
    seed : int
        Fixes the order of batches and everything else that is drawn.
    callbacks : sequence of Callback, default=()
    run_id : str, default=""
        Identifies data and settings: runs with the same ``run_id`` and ``seed`` are equal.
    name : str, default="network"
        Label of the progress.
    augment : callable, optional
        Maps each training batch and a numpy Generator to a batch of the same shapes.
    validation : Batch, optional
        Series that the loss and the metrics are computed on after each epoch, on the network's
        device.

    Attributes
    ----------
    history : list of dict
        One record per epoch: "epoch" (from 0), "loss" and the objective's metrics (means over
        the training series), "lr" (of the first optimizer step), "seconds". With a validation
        set also "val_loss" and the metrics with the prefix ``"val_"``, of the network in evaluation
        mode, which is not the average of ``keep="average"``. With ``max_seconds`` also
        "progress", the share of the training that is done. Of an epoch that the time cuts
        short, loss and metrics are those of the previous epoch for the series not reached.
    best_epoch : int
        Epoch of the kept state, -1 before the first.
    best_state : dict of str to Tensor
        Kept state: the network's at the end of that epoch, or the average.
    n_resumed : int
        Epochs of the history that were loaded.
    optimizer : Adam
    should_stop : bool
        A callback that sets it ends training after the current epoch.
    is_interrupted : bool
        True if Ctrl-C ended training and the network holds the kept state nevertheless.
    graphs : CudaGraphs or None
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
        validation: Batch | None = None,
    ) -> None:
        self.network = network
        self.recipe = recipe
        self.seed = seed
        self.callbacks = callbacks
        self.run_id = run_id
        self.name = name
        self.augment = augment
        self.validation = validation
        self.history: list[dict[str, Any]] = []
        self.best_epoch = -1
        self.best_state: dict[str, Tensor] = {}
        self.n_resumed = 0
        self.should_stop = False
        self.is_interrupted = False
        self._budget: TimeBudget | None = None
        self._device = next(network.parameters()).device
        is_cuda = self._device.type == "cuda"
        self.graphs = CudaGraphs(self._device) if is_cuda else None
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
        """True if all epochs are done or the time is, or a callback stopped after an epoch."""
        is_time_up = bool(self.history) and self.history[-1].get("progress", 0) >= 1
        return is_time_up or len(self.history) >= (1 if self.should_stop else self.recipe.n_epochs)

    def fit(self, panel: Panel, target: Tensor, sample_weight: Tensor | None = None) -> None:
        """Train until the recipe's last epoch, the end of its time or a callback's stop.

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
            If the training loss or the validation loss is no longer finite.
        KeyboardInterrupt
            By Ctrl-C. After the first epoch the network is finished first, as if a callback
            had stopped training after the last complete epoch.
        """
        with default_switches():
            given = panel.values, panel.lengths, target, sample_weight
            # Autograd cannot save tensors that were made in inference mode.
            data = Batch._make(
                one.clone() if one is not None and one.is_inference() else one for one in given
            )
            step: Callable[[Batch], Tensor] = self._step
            if self.graphs is not None and panel.lengths is None:
                step = CapturedStep(self._step, self.graphs)
            try:
                self._run_epochs(data, step)
                self._load_kept(data)
            except KeyboardInterrupt:
                if self.best_state:
                    self._load_kept(data)
                    self.is_interrupted = True
                raise

    def _run_epochs(self, data: Batch, step: Callable[[Batch], Tensor]) -> None:
        begun: list[Callback] = []
        try:
            for callback in self.callbacks:
                callback.on_train_begin(self)
                begun.append(callback)
            self._budget = self._time_budget(len(data.target))
            while not self.is_finished:
                self._run_epoch(data, step)
                for callback in self.callbacks:
                    callback.on_epoch_end(self, self.history[-1])
        finally:
            for callback in begun:
                callback.on_train_end(self)

    def _load_kept(self, data: Batch) -> None:
        """Load the kept state, with BatchNorm statistics that belong to it."""
        self.network.load_state_dict(self.best_state)
        if self._recomputes_statistics:
            rows_of_batches = self._rows(data, Use.BATCH_NORM, self.best_epoch)
            update_bn(self.network, (take(data, rows) for rows in rows_of_batches))
        self.network.eval()

    @property
    def _recomputes_statistics(self) -> bool:
        return self.recipe.update_bn or self.recipe.keep == "average"

    def _time_budget(self, n_series: int) -> TimeBudget | None:
        if self.recipe.max_seconds is None:
            return None
        used = self.history[-1]["progress"] if self.history else 0.0
        n_validation = 0 if self.validation is None else len(self.validation.target)
        n_closing = n_validation + (n_series if self._recomputes_statistics else 0)
        n_batches = math.ceil(n_closing / self.recipe.batch_size)
        return TimeBudget(self.recipe.max_seconds, used, n_batches, self._device)

    def _run_epoch(self, data: Batch, step: Callable[[Batch], Tensor]) -> None:
        started, epoch = time.perf_counter(), len(self.history)
        self.network.train()
        rows_of_batches = list(self._rows(data, Use.SHUFFLING, epoch))
        n_batches = len(rows_of_batches)
        n_steps, n_done, n_seen = self.recipe.n_epochs * n_batches, epoch * n_batches, 0
        progress = self.history[-1].get("progress", 0.0) if self.history else 0.0
        progress = max(progress, n_done / n_steps)
        lr = first_lr = self.recipe.learning_rate(progress, self.history)
        noise = random_stream(self.seed, Use.AUGMENTATION, epoch)
        totals = torch.zeros(len(self._figures), dtype=torch.float64, device=self._device)
        for number, rows in enumerate(rows_of_batches):
            batch = take(data, rows)
            if self.augment is not None:
                batch = self.augment(batch, noise)
            if self.recipe.is_annealed_by_step:
                lr = self.recipe.learning_rate(progress, self.history)
            self.optimizer.lr = lr if self.graphs is None else self._lr.fill_(lr)
            totals += self._take_step(step, batch, epoch, is_last=number == n_batches - 1)
            if self.average is not None and self.recipe.is_averaged(progress):
                self.average.update()
            n_seen += len(rows)
            share_used = 0.0 if self._budget is None else self._budget.count_step()
            progress = min(max(progress, (n_done + number + 1) / n_steps, share_used), 1.0)
            if progress == 1:
                break
        record = {"epoch": epoch, **self._means(totals, n_seen, len(data.target)), "lr": first_lr}
        record |= self._validate()
        best = self._best(record)
        record |= self._end_epoch(epoch, progress)
        if self._budget is not None:
            record["progress"] = progress
        self.history.append({**record, "seconds": time.perf_counter() - started})
        # After the record: Ctrl-C in between leaves an earlier epoch, which is complete.
        self.best_epoch, self.best_state = best

    def _means(self, totals: Tensor, n_seen: int, n: int) -> dict[str, float]:
        """Return loss and metrics, with those of the previous epoch for series not seen."""
        sums = zip(self._figures, totals.tolist(), strict=True)
        means = {name: total / n_seen for name, total in sums}
        if n_seen == n or not self.history:
            return means
        share, previous = n_seen / n, self.history[-1]
        return {name: share * means[name] + (1 - share) * previous[name] for name in means}

    @torch.no_grad()
    def _validate(self) -> dict[str, float]:
        """Return loss and metrics of the validation set, in evaluation mode."""
        data, objective = self.validation, self.objective
        if data is None:
            return {}
        self.network.eval()
        series = data.panel.chunks(self.recipe.batch_size)
        outputs = torch.cat([self.network(part.values, part.lengths) for part in series])
        found = {"val_loss": objective.loss(outputs, data.target, data.sample_weight).item()}
        sums = objective.metric_sums(outputs, data.target)
        for name, total in zip(objective.metrics, sums, strict=True):
            found[f"val_{name}"] = total.item() / len(data.target)
        return found

    def _take_step(
        self, step: Callable[[Batch], Tensor], batch: Batch, epoch: int, is_last: bool
    ) -> Tensor:
        """Take an optimizer step; subclasses may override it."""
        return step(batch)

    def _step(self, batch: Batch) -> Tensor:
        """Take an optimizer step, and return the batch's sums of the loss and the metrics."""
        self.optimizer.zero_grad()
        outputs = self.network(batch.values, batch.lengths)
        loss = self.objective.loss(outputs, batch.target, batch.sample_weight)
        loss.backward()
        self.optimizer.step()
        sums = self.objective.metric_sums(outputs.detach(), batch.target)
        return torch.stack([one.double() for one in (loss.detach() * len(batch.target), *sums)])

    def _end_epoch(self, epoch: int, progress: float) -> dict[str, Any]:
        """Run after each epoch, for subclasses; return entries for the epoch's record."""
        return {}

    def _rows(self, data: Batch, use: Use, epoch: int) -> Iterator[Tensor]:
        rng = random_stream(self.seed, use, epoch)
        return shuffled_rows(len(data.target), self.recipe.batch_size, rng, self._device)

    @property
    def _figures(self) -> tuple[str, ...]:
        return ("loss", *self.objective.metrics)

    def _best(self, record: dict[str, Any]) -> tuple[int, dict[str, Tensor]]:
        """Return epoch and state to keep after an epoch with this record."""
        epoch, followed = record["epoch"], "loss" if self.validation is None else "val_loss"
        for name, of in (("loss", "training"), ("val_loss", "validation")):
            if not math.isfinite(record.get(name, 0)):
                raise FloatingPointError(
                    f"the {of} loss became {record[name]} in epoch {epoch}. Scale the series (for "
                    "example to mean 0 and variance 1) or lower lr."
                )
        lowest = math.inf if self.best_epoch < 0 else self.history[self.best_epoch][followed]
        if self.recipe.keep == "best" and record[followed] > lowest:
            return self.best_epoch, self.best_state
        state = {name: tensor.clone() for name, tensor in self.network.state_dict().items()}
        return epoch, state if self.average is None else state | self.average.averaged()

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
        figures = list(self._figures)
        figures += [f"val_{name}" for name in figures if self.validation is not None]
        figures += ["progress"] if self.recipe.max_seconds is not None else []
        check_run_state(state, self.state_dict(), self.network, self.recipe, figures)
        self.network.load_state_dict(state["network"])
        for follower, loaded in zip(self.followers, state["followers"], strict=True):
            follower.load_state_dict(loaded)
        self.seed = state["seed"]
        self.should_stop = state["finished"]
        self.history = list(state["history"])
        self.n_resumed = len(self.history)
        self.best_epoch = state["best_epoch"]
        self.best_state = state["best_state"]
