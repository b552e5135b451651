"""Run one job: fit, predict, measure."""

import json
import os
import platform
import re
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn import metrics as sklearns
from threadpoolctl import threadpool_limits

from dsn_sktime._version import __version__
from dsn_sktime.benchmarking.data.datasets import load
from dsn_sktime.benchmarking.estimators.costs import costs
from dsn_sktime.benchmarking.estimators.registry import entry, make
from dsn_sktime.benchmarking.run.jobs import Job
from dsn_sktime.benchmarking.run.results import COLUMNS
from dsn_sktime.benchmarking.speed.memory import PeakMemory

_PACKAGES = ("joblib", "numba", "numpy", "scikit-learn", "sktime", "torch")
_LONGEST_ERROR = 500


def run_job(job: Job) -> dict[str, Any]:
    """Run a job and return its record; an exception is recorded, not raised."""
    record = _identity(job)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _fill(record, job)
    except Exception as error:  # of any kind: the other jobs continue
        message = " ".join(f"{type(error).__name__}: {error}".split())[:_LONGEST_ERROR]
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
    a class that the test labels lack. AUROC of more than two classes is the mean of each class
    against the rest. The calibration error is the expected one of Guo et al. (ICML 2017), over
    15 bins of the predicted label's probability.
    """
    n_tested, auroc, loss = len(np.unique(y_true)), np.nan, np.nan
    if len(classes) > 1 and np.isin(y_true, classes).all():
        loss = sklearns.log_loss(y_true, probabilities, labels=classes)
        if len(classes) == n_tested == 2:
            auroc = sklearns.roc_auc_score(y_true == classes[1], probabilities[:, 1])
        elif len(classes) == n_tested:
            auroc = sklearns.roc_auc_score(y_true, probabilities, labels=classes, multi_class="ovr")
    return {
        "accuracy": float(sklearns.accuracy_score(y_true, labels)),
        "balanced_accuracy": float(sklearns.balanced_accuracy_score(y_true, labels)),
        "f1_macro": float(sklearns.f1_score(y_true, labels, average="macro")),
        "log_loss": float(loss),
        "calibration_error": _calibration_error(labels == y_true, probabilities.max(1)),
        "auroc": float(auroc),
    }


def _calibration_error(is_right: np.ndarray, confidence: np.ndarray, n_bins: int = 15) -> float:
    bins = np.clip((confidence * n_bins).astype(int), 0, n_bins - 1)
    return float(np.abs(np.bincount(bins, is_right - confidence)).sum() / len(bins))


def _identity(job: Job) -> dict[str, Any]:
    """Return the entries of a record that are known before the job runs."""
    parameters = json.loads(job.parameters)
    record = dict.fromkeys(COLUMNS) | _environment()
    record |= {"dataset": job.dataset.name, "estimator": job.estimator, "job": job.digest}
    record |= {"seed": job.seed, "split": job.split, "parameters": job.parameters}
    record["n_epochs"] = parameters.get("n_epochs", parameters.get("num_epochs"))
    started = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return record | {"n_jobs": job.n_jobs, "started": started}


def _fill(record: dict[str, Any], job: Job) -> None:
    """Run the job and fill its record as far as it gets."""
    series, m = load(job.dataset), job.dataset.n_variates
    train, test = job.rows(series)
    X, y, X_test = series.take(train), series.y[train], series.take(test)
    longest = X.shape[2] if isinstance(X, np.ndarray) else max(map(len, X))
    record |= {"n_train": len(train), "n_test": len(test), "n_variates": m}
    record |= {"series_length": longest, "n_classes": len(np.unique(y))}
    classifier = make(job.estimator, job.seed, job.n_jobs, job.n_epochs)
    if counted := costs(classifier, m, longest, record["n_classes"]):
        record |= counted._asdict()
    with _cores(job.n_jobs):
        _warm_up(job.estimator, m)
        with PeakMemory() as memory:
            started = time.perf_counter()
            classifier.fit(X, y)
            fitted = time.perf_counter()
            if entry(job.estimator).argmax:
                probabilities = classifier.predict_proba(X_test)
                labels = classifier.classes_[probabilities.argmax(1)]
                ended = time.perf_counter()
            else:
                labels = classifier.predict(X_test)
                ended = time.perf_counter()
                probabilities = classifier.predict_proba(X_test)
    record |= metrics(series.y[test], labels, probabilities, classifier.classes_)
    record |= {"fit_seconds": fitted - started, "predict_seconds": ended - fitted}
    record |= {"peak_memory_mb": memory.megabytes, "status": "ok"}


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
    """Fit and predict four short series, so that no job's time includes a compilation."""
    classifier = make(estimator, seed=0, n_epochs=1)
    X = np.random.default_rng(0).normal(size=(4, n_variates, 32))
    with suppress(Exception):  # the job itself raises if it matters
        classifier.fit(X, np.array(["0", "0", "1", "1"])).predict_proba(X)


@cache
def _environment() -> dict[str, str]:
    """Return the columns of versions and machine."""
    versions = {"dsn_sktime": __version__, "python": platform.python_version()}
    versions |= {name: version(name) for name in _PACKAGES}
    processor, cpuinfo = platform.processor() or platform.machine(), Path("/proc/cpuinfo")
    if cpuinfo.is_file() and (model := re.search(r"model name\s*: (.+)", cpuinfo.read_text())):
        processor = model[1]
    gpu = [torch.cuda.get_device_name()] if torch.cuda.is_available() else []
    host = ", ".join([processor, f"{os.cpu_count()} cores", *gpu])
    return {"versions": json.dumps(versions), "host": host}
