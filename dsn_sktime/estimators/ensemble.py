"""Training of the networks of one fit, one after another or in processes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import torch
from joblib import Parallel, delayed
from sklearn.utils import check_random_state
from torch import nn

from dsn_sktime.estimators.parameters import resolve_device
from dsn_sktime.kernels import release_memory
from dsn_sktime.runtime import compute_threads, default_switches, n_threads
from dsn_sktime.training import Batch, Callback, EpochLog, Objective, ProgressBar, Recipe, Trainer
from dsn_sktime.training.time_budget import Deadline, seconds_until

if TYPE_CHECKING:
    from dsn_sktime.estimators.network_estimator import NetworkEstimator
    from dsn_sktime.estimators.ridge_head import RidgeHeadFit
    from dsn_sktime.layers import FeatureNetwork

PROGRESS: dict[int, tuple[type[Callback], ...]] = {0: (), 1: (ProgressBar,), 2: (EpochLog,)}
"""Callbacks that show the progress, by ``verbose``."""


class Trained(NamedTuple):
    """A trained network, and what is remembered of its training."""

    number: int
    network: nn.Module
    head: nn.Module | None
    history: list[dict[str, Any]]
    best_epoch: int
    is_interrupted: bool
    # With the head, in the process that trained it.
    seconds: float


@dataclass(frozen=True)
class EnsembleFit:
    """Training of all networks of an estimator on the same series.

    ``data`` are all training series, on the CPU; ``shape`` holds variates, time steps of the
    longest series and outputs; ``run_id`` identifies data and settings.
    """

    estimator: NetworkEstimator
    data: Batch
    validation: Batch | None
    shape: tuple[int, int, int]
    objective: Objective
    recipe: Recipe
    run_id: str

    def __getstate__(self) -> dict[str, Any]:
        """Return the state with tensors as NumPy arrays, which joblib can memory-map."""
        fields = {name: self.__dict__[name] for name in self.__dataclass_fields__}
        return {**fields, **self._arrays}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Convert the arrays back to tensors."""
        batches = {name: _as_tensors(state[name]) for name in ("data", "validation")}
        self.__dict__.update(state, **batches)

    @cached_property
    def _arrays(self) -> dict[str, list[np.ndarray | None] | None]:
        # Kept: joblib writes an array to disk once, as long as it is the same object.
        return {name: _as_arrays(getattr(self, name)) for name in ("data", "validation")}

    def train_all(self) -> list[Trained]:
        """Train the networks; return them, or after Ctrl-C those that have an epoch."""
        trained: list[Trained] = []
        try:
            for one in self._each_trained():
                trained.append(one)
                if one.is_interrupted:
                    break
        except KeyboardInterrupt:
            if not trained:
                raise
        return sorted(trained, key=lambda one: one.number)

    def _each_trained(self) -> Iterator[Trained]:
        """Train the networks, and yield them one by one, so that Ctrl-C loses none."""
        estimator, n = self.estimator, self.estimator.n_estimators
        n_processes = 1 if estimator.n_jobs is None else min(n, n_threads(estimator.n_jobs))
        n_turns, seconds, used = ceil(n / n_processes), self.recipe.max_seconds, 0.0
        seeds = [*enumerate(draw_seeds(estimator.random_state, n))]
        # Those that are left when each process has trained as many have more threads each.
        n_even = n - n % n_processes
        for some in filter(None, (seeds[:n_even], seeds[n_even:])):
            deadline, n_here = None, ceil(len(some) / n_processes)
            if seconds is not None:
                # What the first networks did not need is not given to others: they ended early.
                left = min(seconds - used, seconds * n_here / n_turns)
                deadline = Deadline(left, n_here)
            n_at_once = min(n_processes, len(some))
            n_each, n_more = divmod(n_threads(estimator.n_jobs), n_at_once)
            if n_at_once > 1:
                # The longest first, so that the processes end at about the same time.
                some.sort(key=lambda one: estimator._relative_cost(one[0]), reverse=True)
            turns = [(*divmod(place, n_at_once), *one) for place, one in enumerate(some)]
            # torch needs arrays that can be written to, as in mode "c".
            found = Parallel(n_at_once, return_as="generator_unordered", mmap_mode="c")(
                delayed(self._train)(number, int(seed), n_each + (at < n_more), deadline, turn)
                for turn, at, number, seed in turns
            )
            for one in found:
                used += one.seconds / n_at_once
                yield one

    @default_switches()  # again, as this may be another thread or process
    def _train(
        self, number: int, seed: int, n_kernel_threads: int, deadline: Deadline | None, turn: int
    ) -> Trained:
        """Train one network, in a separate process if ``n_jobs`` asks for several."""
        started = time.perf_counter()
        end = None if deadline is None else deadline.end_of(turn)
        device = resolve_device(self.estimator.device)
        data, recipe, head_fit = self.data.to(device), self.recipe, None
        drawn = torch.Generator().manual_seed(seed)
        built = self.estimator._build_network(*self.shape, number, drawn)
        network = cast("FeatureNetwork", built.to(device))
        with compute_threads(n_kernel_threads):
            if end is not None:
                # Before training, to know how much time to set aside.
                head_fit = self._begin_head(data, number, seed)
                if head_fit is not None:
                    end -= head_fit.seconds_to_finish(network)
                recipe = replace(recipe, max_seconds=seconds_until(end))
            trainer = self._make_trainer(network, recipe, number, seed)
            try:
                trainer.fit(data.panel, data.target, data.sample_weight)
            except KeyboardInterrupt:
                if not trainer.is_interrupted:
                    raise
            head_fit = head_fit or self._begin_head(data, number, seed)
            head = None if head_fit is None else head_fit.finish(network)
        # Buffers of a training step on long series can take gigabytes.
        release_memory()
        outcome = trainer.history, trainer.best_epoch, trainer.is_interrupted
        return Trained(number, network, head, *outcome, time.perf_counter() - started)

    def _begin_head(self, data: Batch, number: int, seed: int) -> RidgeHeadFit | None:
        return self.estimator._begin_head(data, self.shape, self.objective, number, seed)

    def _make_trainer(self, network: nn.Module, recipe: Recipe, number: int, seed: int) -> Trainer:
        estimator, validation = self.estimator, self.validation
        if validation is not None:
            validation = validation.to(next(network.parameters()).device)
        progress = [make() for make in PROGRESS[int(estimator.verbose)]]
        return estimator._trainer(
            network,
            recipe,
            self.objective,
            seed=seed,
            callbacks=[*(estimator.callbacks or ()), *progress],
            run_id=f"{self.run_id}-{number}",
            name=f"{estimator._network_name} {number + 1}/{estimator.n_estimators}",
            validation=validation,
        )


def _as_arrays(batch: Batch | None) -> list[np.ndarray | None] | None:
    if batch is None:
        return None
    return [None if tensor is None else tensor.numpy() for tensor in batch]


def _as_tensors(arrays: Sequence[Any] | None) -> Batch | None:
    if arrays is None:
        return None
    return Batch._make(None if array is None else torch.from_numpy(array) for array in arrays)


def draw_seeds(random_state: Any, n: int) -> np.ndarray:
    """Draw a seed for each network."""
    # None means fresh entropy: numpy's global generator must not be advanced.
    rng = np.random.RandomState() if random_state is None else random_state
    return check_random_state(rng).randint(2**31 - 1, size=n)
