"""Trains one network: epochs, batches, best epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dsn_sktime.panel import Panel
from dsn_sktime.training.adam import Adam
from dsn_sktime.training.captured_step import CapturedStep, CudaGraphs, Graphs
from dsn_sktime.training.recipe import Schedule

if TYPE_CHECKING:
    from dsn_sktime.training.callbacks import Callback

__all__ = ["Trainer"]

# What randomness is for. Each use in each epoch has its own stream of (seed, use,
# epoch), so a resumed fit draws what an uninterrupted one would.
_SHUFFLING = 0


class Trainer:
    """Training of one network with Adam.

    The model is the state (weights, BatchNorm statistics) at the end of the epoch with
    the lowest mean training loss, the later one of a tie.

    Parameters
    ----------
    network : torch.nn.Module
        Maps values (B, m, L) and lengths to scores (B, c). Trained in place, on the device
        where it lies.
    recipe : Recipe or PlateauRecipe
    seed : int
        Fixes the order of batches.
    callbacks : sequence of Callback, default=()
    class_weight : float tensor of shape (c,), optional
        Weight of each class in the loss.
    run_id : str, default=""
        Names data and settings of the fit: fits of the same ``run_id`` and ``seed`` are
        the same fit.
    name : str, default="network"
        What the progress bar says.

    Attributes
    ----------
    history : list of dict
        One record per epoch: "epoch" (from 0), "loss", "accuracy" (means over the
        training series), "lr", "seconds".
    best_epoch : int
        Epoch of the model, -1 before the first.
    optimizer : Adam
        Its ``lr`` is set before each epoch.
    should_stop : bool
        A callback that sets it ends training after the current epoch.
    graphs : Graphs or None
        What captures the steps of series of equal length to replay them: CUDA graphs where
        the network lies on a GPU. Forward hooks then run at the first steps only.
    """

    def __init__(
        self,
        network: nn.Module,
        recipe: Schedule,
        seed: int,
        callbacks: Sequence[Callback] = (),
        class_weight: Tensor | None = None,
        run_id: str = "",
        name: str = "network",
    ) -> None:
        self.network = network
        self.recipe = recipe
        self.seed = seed
        self.callbacks = callbacks
        self.class_weight = class_weight
        self.run_id = run_id
        self.name = name
        self.optimizer = Adam(network.parameters(), recipe.lr)
        self.history: list[dict[str, Any]] = []
        self.best_epoch = -1
        self.best_state: dict[str, Tensor] = {}
        self.should_stop = False
        device = next(network.parameters()).device
        self.graphs: Graphs | None = CudaGraphs(device) if device.type == "cuda" else None
        # A captured step would take a number for a constant.
        self._lr = torch.zeros((), dtype=torch.float64, device=device)

    @property
    def is_finished(self) -> bool:
        """Whether all epochs are done, or a callback stopped training."""
        return self.should_stop or len(self.history) >= self.recipe.n_epochs

    def fit(self, panel: Panel, codes: Tensor) -> None:
        """Train until the recipe's last epoch or until a callback stops it.

        Parameters
        ----------
        panel : Panel
            n training series, on the network's device.
        codes : int64 tensor of shape (n,)
            Class of each series, 0..c-1.

        Raises
        ------
        FloatingPointError
            If the training loss is no longer finite.
        """
        for callback in self.callbacks:
            callback.on_train_begin(self)
        step: Callable[[Tensor], Tensor] = partial(self._step, panel, codes)
        captured = step
        if self.graphs is not None and panel.lengths is None:
            captured = CapturedStep(step, self.graphs)
        try:
            while not self.is_finished:
                record = self._run_epoch(step, captured, codes)
                self.history.append(record)
                for callback in self.callbacks:
                    callback.on_epoch_end(self, record)
        finally:
            for callback in self.callbacks:
                callback.on_train_end(self)
        self.network.load_state_dict(self.best_state)
        self.network.eval()

    def _run_epoch(
        self,
        step: Callable[[Tensor], Tensor],
        captured: Callable[[Tensor], Tensor],
        codes: Tensor,
    ) -> dict[str, Any]:
        started = time.perf_counter()
        epoch = len(self.history)
        lr = self.recipe.learning_rate(self.history)
        self._set_learning_rate(lr)
        loss, accuracy = self._train_on_batches(step, captured, codes, epoch)
        self._keep_if_best(epoch, loss)
        record = {"epoch": epoch, "loss": loss, "accuracy": accuracy, "lr": lr}
        record |= self._end_epoch(epoch)
        return {**record, "seconds": time.perf_counter() - started}

    def _set_learning_rate(self, lr: float) -> None:
        self.optimizer.lr = lr if self.graphs is None else self._lr.fill_(lr)

    def _end_epoch(self, epoch: int) -> dict[str, Any]:
        """Do what a kind of training does after each epoch, and return its records."""
        return {}

    def _begin_batch(self, epoch: int, is_last: bool) -> bool:
        """Do what a kind of training does before each batch.

        Returns whether its step is an ordinary one, which may be replayed.
        """
        return True

    def _train_on_batches(
        self,
        step: Callable[[Tensor], Tensor],
        captured: Callable[[Tensor], Tensor],
        codes: Tensor,
        epoch: int,
    ) -> tuple[float, float]:
        self.network.train()
        batches = list(self._batches(codes, epoch))
        totals = torch.zeros(2, dtype=torch.float64, device=codes.device)
        for number, rows in enumerate(batches, start=1):
            is_ordinary = self._begin_batch(epoch, is_last=number == len(batches))
            totals += captured(rows) if is_ordinary else step(rows)
        loss, n_correct = totals.tolist()
        return loss / len(codes), n_correct / len(codes)

    def _step(self, panel: Panel, codes: Tensor, rows: Tensor) -> Tensor:
        """Train on some rows, and return the sum of their losses and how many are right."""
        batch, expected = panel.take(rows), codes[rows]
        self.optimizer.zero_grad()
        scores = self.network(batch.values, batch.lengths)
        loss = F.cross_entropy(scores, expected, weight=self.class_weight)
        loss.backward()
        self.optimizer.step()
        n_correct = (scores.detach().argmax(1) == expected).sum()
        return torch.stack([(loss.detach() * len(rows)).double(), n_correct.double()])

    def _batches(self, codes: Tensor, epoch: int) -> Iterator[Tensor]:
        """Yield shuffled batches of row numbers; none has a single row.

        BatchNorm has no variance to speak of in a batch of one, so a last single row
        joins the batch before it.
        """
        n = len(codes)
        # Copied to the device once, not batch by batch.
        order = torch.from_numpy(self._rng(_SHUFFLING, epoch).permutation(n)).to(codes.device)
        size = self.recipe.batch_size
        starts = [start for start in range(0, n, size) if start == 0 or start < n - 1]
        for start, stop in zip(starts, [*starts[1:], n], strict=True):
            yield order[start:stop]

    def _rng(self, use: int, epoch: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(use, epoch)))

    def _keep_if_best(self, epoch: int, loss: float) -> None:
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"the training loss became {loss} in epoch {epoch}. Scale the series (for "
                "example to mean 0 and variance 1) or lower lr."
            )
        if self.best_epoch < 0 or loss <= self.history[self.best_epoch]["loss"]:
            self.best_epoch = epoch
            state = self.network.state_dict()
            self.best_state = {name: tensor.clone() for name, tensor in state.items()}

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
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a training run where :meth:`state_dict` left it."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.seed = state["seed"]
        self.should_stop = state["finished"]
        self.history = list(state["history"])
        self.best_epoch = state["best_epoch"]
        self.best_state = state["best_state"]
