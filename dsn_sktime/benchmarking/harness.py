"""One job on sktime's ClassificationBenchmark, and the row of the results file it makes.

The harness turns any panel into a pandas frame with one row per time step and asks for
predictions twice. To have the classifier's own times and memory all the same, what it is
given as series are their row numbers: :class:`_ByRow` looks up the series that they stand
for, in the form that the classifier reads without conversion, and measures.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import cache, lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sktime.benchmarking.classification import ClassificationBenchmark
from sktime.classification.base import BaseClassifier
from threadpoolctl import threadpool_limits

from dsn_sktime import __version__
from dsn_sktime.benchmarking.costs import costs
from dsn_sktime.benchmarking.datasets import Series, load
from dsn_sktime.benchmarking.estimators import entry, make
from dsn_sktime.benchmarking.jobs import Job
from dsn_sktime.benchmarking.speed.memory import PeakMemory
from dsn_sktime.benchmarking.results import COLUMNS
from dsn_sktime.benchmarking.scores import scorers

__all__ = ["failure", "identity", "run_job"]

_PACKAGES = ("joblib", "numba", "numpy", "scikit-learn", "sktime", "torch")
_LONGEST_ERROR = 500


def run_job(job: Job) -> dict[str, Any]:
    """Run a job and return its row of the results file, also if it raises.

    Parameters
    ----------
    job : Job

    Returns
    -------
    dict
        A value for each column of a results file, None where there is none.
    """
    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    row.update(identity(job))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _fill(row, job)
    except Exception as error:  # whatever a classifier may raise: the other jobs go on
        row.update(failure(f"{type(error).__name__}: {error}"))
    return row


def failure(message: str) -> dict[str, str]:
    """Return the columns that tell of a job that failed."""
    return {"status": "failed", "error": " ".join(message.split())[:_LONGEST_ERROR]}


def identity(job: Job) -> dict[str, Any]:
    """Return the columns that are known before a job runs."""
    parameters = json.loads(job.parameters)
    return {
        "dataset": job.dataset.name,
        "estimator": job.estimator,
        "seed": job.seed,
        "split": job.split.name(job.seed),
        "parameters": job.parameters,
        "job": job.digest,
        "n_epochs": parameters.get("n_epochs", parameters.get("num_epochs")),
        "n_jobs": job.n_jobs,
        "versions": _versions(),
        "host": _host(),
        "started": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def _fill(row: dict[str, Any], job: Job) -> None:
    """Run the job and fill its row as far as it gets."""
    series = load(job.dataset)
    split = job.split.predefined(series, job.seed)
    train, test = next(split.split())
    classes = np.unique(series.y[train])
    shape = (series.n_variates, series.longest(train), len(classes))
    row.update(zip(("n_variates", "series_length", "n_classes"), shape, strict=True))
    row.update(n_train=len(train), n_test=len(test))
    classifier = make(job.estimator, job.seed, job.n_jobs, job.n_epochs)
    if counted := costs(classifier, *shape):
        row.update(counted._asdict())
    recorder = _Recorder(classifier, series, by_argmax=entry(job.estimator).argmax)
    with _cores(job.n_jobs):
        _warm_up(job.estimator, series.n_variates)
        with PeakMemory() as memory:
            scores = _benchmark(job, recorder, split, scorers(classes))
    row.update(fit_seconds=recorder.fit_seconds, predict_seconds=recorder.predict_seconds)
    row.update(scores, peak_memory_mb=memory.megabytes, status="ok")


def _benchmark(
    job: Job, recorder: _Recorder, split: Any, scores: list[Callable[..., float]]
) -> dict[str, float]:
    logging.getLogger("sktime.benchmarking").setLevel(logging.CRITICAL)  # it tells of failures
    rows = np.arange(len(recorder.series.y), dtype=float).reshape(-1, 1, 1)
    benchmark = ClassificationBenchmark()
    # Ids of the whole job, so that a result is never taken for another's.
    benchmark.add_estimator(_ByRow(recorder), f"{job.estimator}-{job.digest}")
    task = f"{job.dataset.name}-{job.split.name(job.seed)}"
    benchmark.add_task((rows, recorder.series.y), split, scores, task)
    table = benchmark.run()
    # The harness does not raise, and an error_score would be stored as a result.
    for failed in benchmark.failed_experiments:
        raise recorder.error or RuntimeError(f"{failed.exception_type}: {failed.exception_message}")
    return {score.__name__: float(table[f"{score.__name__}_mean"].iloc[0]) for score in scores}


class _Recorder:
    """The classifier of a job, its data and what was measured of it."""

    def __init__(self, classifier: BaseClassifier, series: Series, by_argmax: bool) -> None:
        self.classifier = classifier
        self.series = series
        self.by_argmax = by_argmax
        self.fit_seconds: float | None = None
        self.predict_seconds: float | None = None
        self.error: Exception | None = None
        self.probabilities: np.ndarray | None = None

    def __deepcopy__(self, memo: dict) -> _Recorder:
        # sktime's harness clones what it runs: all clones measure into this one.
        return self

    def fit(self, rows: np.ndarray) -> None:
        X, y = self.series.take(rows), self.series.y[rows]
        started = time.perf_counter()
        self.classifier.fit(X, y)
        self.fit_seconds = time.perf_counter() - started

    def predict(self, rows: np.ndarray) -> np.ndarray:
        X = self.series.take(rows)
        started = time.perf_counter()
        if self.by_argmax:
            self.probabilities = self.classifier.predict_proba(X)
            labels = self.classifier.classes_[self.probabilities.argmax(1)]
        else:
            labels = self.classifier.predict(X)
        self.predict_seconds = time.perf_counter() - started
        return labels

    def predict_proba(self, rows: np.ndarray) -> np.ndarray:
        if self.probabilities is None:
            self.probabilities = self.classifier.predict_proba(self.series.take(rows))
        return self.probabilities


class _ByRow(BaseClassifier):
    """Classifier of row numbers: the series that they stand for go to the recorder's."""

    _tags = {"X_inner_mtype": "numpy3D", "capability:predict_proba": True}

    def __init__(self, recorder: _Recorder) -> None:
        self.recorder = recorder
        super().__init__()

    def _fit(self, X: np.ndarray, y: np.ndarray) -> _ByRow:
        self._measured(self.recorder.fit, X)
        return self

    def _predict(self, X: np.ndarray) -> np.ndarray:
        return self._measured(self.recorder.predict, X)

    def _predict_proba(self, X: np.ndarray) -> np.ndarray:
        return self._measured(self.recorder.predict_proba, X)

    def _measured(self, measure: Callable[[np.ndarray], Any], X: np.ndarray) -> Any:
        try:
            return measure(X[:, 0, 0].astype(int))
        except Exception as error:
            self.recorder.error = error
            raise


@contextmanager
def _cores(n: int) -> Iterator[None]:
    """Hold the thread pools of torch, OpenMP and BLAS to a number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        with threadpool_limits(n):
            yield
    finally:
        torch.set_num_threads(before)


@cache
def _warm_up(estimator: str, n_variates: int) -> None:
    """Fit and predict four short series, so that no job's time holds a compilation."""
    classifier = make(estimator, seed=0, n_epochs=1)
    X = np.random.default_rng(0).normal(size=(4, n_variates, 32))
    with suppress(Exception):  # the job itself will raise where it matters
        classifier.fit(X, np.array(["0", "0", "1", "1"])).predict_proba(X)


@lru_cache(maxsize=1)
def _versions() -> str:
    found = {name: version(name) for name in _PACKAGES}
    return json.dumps({"dsn_sktime": __version__, "python": platform.python_version(), **found})


@lru_cache(maxsize=1)
def _host() -> str:
    parts = [_processor(), f"{os.cpu_count()} cores"]
    if torch.cuda.is_available():
        parts.append(torch.cuda.get_device_name())
    return ", ".join(parts)


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
