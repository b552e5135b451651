"""A job: one classifier with one seed on one split of one data set."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from sklearn.model_selection import PredefinedSplit, StratifiedKFold

from dsn_sktime.benchmarking.datasets import Dataset, Series
from dsn_sktime.benchmarking.estimators import entry, make, n_epochs_of, parameters_json

__all__ = ["Job", "Split", "plan"]


@dataclass(frozen=True)
class Split:
    """The archive's split, or fold number ``fold`` of ``n_folds``, counted from 1.

    Attributes
    ----------
    fold, n_folds : int
        0 of 0 is the archive's split.
    """

    fold: int = 0
    n_folds: int = 0

    def name(self, seed: int) -> str:
        """Return the name in the results file."""
        return f"fold{self.fold}of{self.n_folds}-seed{seed}" if self.n_folds else "default"

    def predefined(self, series: Series, seed: int) -> PredefinedSplit:
        """Return the split as the one fold of a scikit-learn splitter.

        Folds are stratified and shuffled by the seed, over all series of the data set.

        Raises
        ------
        ValueError
            If each class has fewer series than there are folds.
        """
        is_test = np.arange(len(series.y)) >= series.n_train
        if self.n_folds:
            folds = StratifiedKFold(self.n_folds, shuffle=True, random_state=seed)
            _, test = list(folds.split(series.y, series.y))[self.fold - 1]
            is_test = np.isin(np.arange(len(series.y)), test)
        return PredefinedSplit(np.where(is_test, 0, -1))


@dataclass(frozen=True)
class Job:
    """What is run, and how it is told from all other jobs.

    Attributes
    ----------
    dataset : Dataset
    estimator : str
        Short name or ``module:factory``.
    seed : int
        The classifier's ``random_state``, and the shuffle of folds.
    split : Split
    n_jobs : int
        Cores of the classifier.
    n_epochs : int or None
        Training epochs of a network, None for its own number.
    parameters : str
        All parameters of the classifier as JSON.
    work : float
        Estimate of its multiply-adds, for the order of jobs only.
    """

    dataset: Dataset
    estimator: str
    seed: int
    split: Split
    n_jobs: int
    n_epochs: int | None
    parameters: str
    work: float

    @property
    def digest(self) -> str:
        """Hash of all that makes it another job: a change of any parameter does."""
        split = self.split.name(self.seed)
        parts = [self.dataset.name, self.estimator, json.loads(self.parameters), self.seed, split]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]

    def __str__(self) -> str:
        return (
            f"{self.dataset.name}, {self.estimator}, seed {self.seed}, {self.split.name(self.seed)}"
        )


def plan(
    datasets: Iterable[Dataset],
    estimators: Sequence[str],
    seeds: Iterable[int],
    n_folds: int = 0,
    n_jobs: int = 1,
    n_epochs: int | None = None,
) -> list[Job]:
    """Return the jobs, those that take longest first.

    Parameters
    ----------
    datasets : iterable of Dataset
    estimators : sequence of str
        Short names or ``module:factory``.
    seeds : iterable of int
    n_folds : int, default=0
        Folds of a resample of the whole data set; 0 is the archive's split.
    n_jobs : int, default=1
        Cores of each classifier.
    n_epochs : int, optional
        Training epochs of networks instead of their own.

    Raises
    ------
    ValueError
        If an estimator is unknown or cannot be made.
    """
    runs = list(product(estimators, seeds))
    made = {(name, seed): make(name, seed, n_jobs, n_epochs) for name, seed in runs}
    splits = [Split(fold + 1, n_folds) for fold in range(n_folds)] or [Split()]
    jobs = []
    for dataset, (name, seed), split in product(datasets, made, splits):
        work = _work(dataset, name, n_epochs_of(made[name, seed]))
        parameters = parameters_json(made[name, seed])
        jobs.append(Job(dataset, name, seed, split, n_jobs, n_epochs, parameters, work))
    # Data sets together where jobs take as long: the last one read is kept in memory.
    unique = {job.digest: job for job in jobs}.values()
    return sorted(unique, key=lambda job: (-job.work, job.dataset.name))


def _work(dataset: Dataset, name: str, n_epochs: int | None) -> float:
    known = entry(name)
    steps_train = dataset.n_train * dataset.series_length
    steps_test = dataset.n_test * dataset.series_length
    if known.quadratic:
        return steps_train * steps_test * dataset.n_variates
    if n_epochs is None:
        return known.weight * (steps_train + steps_test) * dataset.n_variates
    # A training step takes about three times the multiply-adds of the forward pass alone.
    return known.weight * (3 * n_epochs * steps_train + steps_test)
