"""A job: one classifier with one seed on one split of one data set."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from sklearn.model_selection import StratifiedKFold

from dsn_sktime.benchmarking.data.datasets import Dataset, Series
from dsn_sktime.benchmarking.estimators.registry import make, n_epochs_of, parameters_json


@dataclass(frozen=True)
class Job:
    """One benchmark run; its digest identifies it.

    ``estimator`` is a short name or ``module:factory``. ``fold`` of ``n_folds``, counted from 1,
    is 0 of 0 for the archive's split; ``n_epochs`` None for the network's own number.
    ``parameters`` are all of them as JSON, ``work`` a rough estimate of the time.
    """

    dataset: Dataset
    estimator: str
    seed: int
    fold: int
    n_folds: int
    n_jobs: int
    n_epochs: int | None
    parameters: str
    work: float

    @property
    def split(self) -> str:
        """Name of the split in the results."""
        return f"fold{self.fold}of{self.n_folds}-seed{self.seed}" if self.n_folds else "default"

    @property
    def digest(self) -> str:
        """Hash of data set, estimator, seed, split and each parameter."""
        parameters = json.loads(self.parameters)
        parts = [self.dataset.name, self.estimator, parameters, self.seed, self.split]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]

    def __str__(self) -> str:
        return f"{self.dataset.name}, {self.estimator}, seed {self.seed}, {self.split}"

    def rows(self, series: Series) -> tuple[np.ndarray, np.ndarray]:
        """Return row numbers of training and test series; the seed shuffles stratified folds."""
        if self.n_folds:
            folds = StratifiedKFold(self.n_folds, shuffle=True, random_state=self.seed)
            return list(folds.split(series.y, series.y))[self.fold - 1]
        return np.arange(series.n_train), np.arange(series.n_train, len(series.y))


def plan(
    datasets: Iterable[Dataset],
    estimators: Sequence[str],
    seeds: Iterable[int],
    n_folds: int = 0,
    n_jobs: int = 1,
    n_epochs: int | None = None,
) -> list[Job]:
    """Return the jobs, those that probably take longest first; no folds is the archive's split.

    Raise ValueError if an estimator cannot be made or no class has a series for each fold.
    """
    made = {
        (name, seed): make(name, seed, n_jobs, n_epochs)
        for name, seed in product(estimators, seeds)
    }
    folds, jobs = range(1, n_folds + 1) if n_folds else [0], {}
    for dataset, ((name, seed), classifier), fold in product(datasets, made.items(), folds):
        if n_folds > dataset.largest_class:
            raise ValueError(
                f"the largest class of data set {dataset.name!r} has {dataset.largest_class} "
                f"series, too few for {n_folds} folds."
            )
        n_networks = classifier.get_params(deep=False).get("n_estimators", 1)
        size = dataset.n_train * dataset.series_length * dataset.n_variates
        work = (n_epochs_of(classifier) or 1) * n_networks * size
        parameters = parameters_json(classifier)
        job = Job(dataset, name, seed, fold, n_folds, n_jobs, n_epochs, parameters, work)
        jobs[job.digest] = job
    # Data sets together where jobs take as long: the last one read is kept in memory.
    return sorted(jobs.values(), key=lambda job: (-job.work, job.dataset.name))
