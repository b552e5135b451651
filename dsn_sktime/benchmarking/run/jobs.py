"""Jobs: one classifier with one seed on one split of one data set, each run and measured."""

import hashlib
import json
import os
import platform
import re
import time
import warnings
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn import metrics as sklearns
from sklearn.model_selection import StratifiedKFold
from threadpoolctl import threadpool_limits
from torch.utils.benchmark import set_torch_threads

from dsn_sktime._version import __version__
from dsn_sktime.benchmarking.datasets import Dataset, load
from dsn_sktime.benchmarking.estimators import registry
from dsn_sktime.benchmarking.run.results import COLUMNS
from dsn_sktime.benchmarking.speed.limits import PeakMemory

_PACKAGES = ("joblib", "numba", "numpy", "scikit-learn", "sktime", "torch")


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

    def rows(self, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return row numbers of training and test series; the seed shuffles stratified folds."""
        if self.n_folds:
            folds = StratifiedKFold(self.n_folds, shuffle=True, random_state=self.seed)
            return list(folds.split(y, y))[self.fold - 1]
        return np.arange(self.dataset.n_train), np.arange(self.dataset.n_train, len(y))


def plan(
    datasets: Iterable[Dataset],
    estimators: Sequence[str],
    seeds: Sequence[int],
    n_folds: int = 0,
    n_jobs: int = 1,
    n_epochs: int | None = None,
) -> list[Job]:
    """Return the jobs by data set; no folds is the archive's split.

    The data set with the job that probably takes longest comes first, and of its jobs this one.
    Raise ValueError if an estimator cannot be made.
    """
    made = {pair: registry.make(*pair, n_jobs, n_epochs) for pair in product(estimators, seeds)}
    folds, jobs = range(1, n_folds + 1) if n_folds else [0], dict[str, Job]()
    for dataset, seed, fold, name in product(datasets, seeds, folds, estimators):
        own = made[name, seed].get_params(deep=False)
        size = dataset.n_train * dataset.series_length * dataset.n_variates
        work = (registry.n_epochs_of(own) or 1) * (own.get("n_estimators") or 1) * size
        parameters = registry.parameters_json(made[name, seed])
        job = Job(dataset, name, seed, fold, n_folds, n_jobs, n_epochs, parameters, work)
        jobs[job.digest] = job
    ordered = sorted(jobs.values(), key=lambda job: -job.work)
    # The jobs of a data set follow each other: the last one read is kept in memory.
    names = list(dict.fromkeys(job.dataset.name for job in ordered))
    return sorted(ordered, key=lambda job: names.index(job.dataset.name))


def run_job(job: Job) -> dict[str, Any]:
    """Run a job and return its record; an exception is recorded, not raised."""
    record = _identity(job)
    try:
        with warnings.catch_warnings(action="ignore"):
            _fill(record, job)
    except Exception as error:  # of any kind: the other jobs continue
        message = " ".join(f"{type(error).__name__}: {error}".split())[:500]
        record |= {"status": "failed", "error": message}
    return record


def failure(job: Job, message: str) -> dict[str, Any]:
    """Return the record of a job that failed before it returned one."""
    return _identity(job) | {"status": "failed", "error": message}


def metrics(
    y_true: np.ndarray, labels: np.ndarray, probabilities: np.ndarray, classes: np.ndarray
) -> dict[str, float]:
    """Compare n true labels with predicted labels (n,) and probabilities (n, c).

    ``classes`` are the c sorted labels of the training series. Log loss and AUROC are NaN where
    they are not defined: with one class, with test labels that were not trained and, AUROC, with
    a class that the test labels lack. The calibration error is that of Guo et al. (ICML 2017).
    """
    auroc, loss = np.nan, np.nan
    if len(classes) > 1 and np.isin(y_true, classes).all():
        loss = sklearns.log_loss(y_true, probabilities, labels=classes)
        if len(classes) == len(np.unique(y_true)):
            scores = probabilities[:, 1] if len(classes) == 2 else probabilities
            auroc = sklearns.roc_auc_score(y_true, scores, labels=classes, multi_class="ovr")
    confidence = probabilities.max(1)
    bins = np.minimum((15 * confidence).astype(int), 14)
    gaps = np.bincount(bins, (labels == y_true) - confidence)
    values = {
        "accuracy": sklearns.accuracy_score(y_true, labels),
        "balanced_accuracy": sklearns.balanced_accuracy_score(y_true, labels),
        "f1_macro": sklearns.f1_score(y_true, labels, average="macro"),
        "log_loss": loss,
        "calibration_error": np.abs(gaps).sum() / len(bins),
        "auroc": auroc,
    }
    return {name: float(value) for name, value in values.items()}


def _identity(job: Job) -> dict[str, Any]:
    """Return the entries of a record that are known before the job runs."""
    known = ("estimator", "seed", "split", "parameters", "n_jobs")
    record = dict.fromkeys(COLUMNS) | {name: getattr(job, name) for name in known}
    record |= environment() | {"dataset": job.dataset.name, "job": job.digest}
    record["n_epochs"] = registry.n_epochs_of(json.loads(job.parameters))
    return record | {"started": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}


def _fill(record: dict[str, Any], job: Job) -> None:
    """Run the job and fill its record as far as it gets."""
    (panel, y), m = load(job.dataset), job.dataset.n_variates
    train, test = job.rows(y)
    X, X_test = (
        panel[rows] if isinstance(panel, np.ndarray) else [panel[row] for row in rows]
        for rows in (train, test)
    )
    longest = X.shape[2] if isinstance(X, np.ndarray) else max(map(len, X))
    record |= {"n_train": len(train), "n_test": len(test), "n_variates": m}
    record |= {"series_length": longest, "n_classes": len(np.unique(y[train]))}
    classifier = registry.make(job.estimator, job.seed, job.n_jobs, job.n_epochs)
    is_argmax = registry.entry(job.estimator).argmax
    record |= registry.costs(classifier, m, longest, record["n_classes"])
    with set_torch_threads(job.n_jobs), threadpool_limits(job.n_jobs):
        _warm_up(job.estimator, m)
        with PeakMemory() as memory:
            started = time.perf_counter()
            classifier.fit(X, y[train])
            fitted = time.perf_counter()
            found = (classifier.predict_proba if is_argmax else classifier.predict)(X_test)
            ended = time.perf_counter()
        labels = classifier.classes_[found.argmax(1)] if is_argmax else found
        probabilities = found if is_argmax else classifier.predict_proba(X_test)
    record |= metrics(y[test], labels, probabilities, classifier.classes_)
    record |= {"fit_seconds": fitted - started, "predict_seconds": ended - fitted}
    record |= {"peak_memory_mb": memory.megabytes, "status": "ok"}


@cache
def _warm_up(estimator: str, n_variates: int) -> None:
    """Fit and predict four short series, so that no job's time includes a compilation."""
    classifier = registry.make(estimator, seed=0, n_epochs=1)
    X = np.random.default_rng(0).normal(size=(4, n_variates, 32))
    with suppress(Exception):  # the job itself raises if it matters
        classifier.fit(X, np.array(["0", "0", "1", "1"])).predict_proba(X)


@cache
def environment() -> dict[str, str]:
    """Return the columns of versions and machine."""
    versions = {"dsn_sktime": __version__, "python": platform.python_version()}
    versions |= {name: version(name) for name in _PACKAGES}
    processor, cpuinfo = platform.processor() or platform.machine(), Path("/proc/cpuinfo")
    if cpuinfo.is_file() and (model := re.search(r"model name\s*: (.+)", cpuinfo.read_text())):
        processor = model[1]
    gpu = [torch.cuda.get_device_name()] if torch.cuda.is_available() else []
    host = ", ".join([processor, f"{os.cpu_count()} cores", *gpu])
    return {"versions": json.dumps(versions), "host": host}
