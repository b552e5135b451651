"""Estimators that train in a tenth of a second, and small panels of real series.

Their recipe and head are the paper's; test_ridge_head and sktime's checks use the defaults.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from sktime.datasets import load_basic_motions, load_italy_power_demand, load_unit_test

from dsn_sktime import DSNClassifier, DSNRegressor, OSCNNClassifier
from dsn_sktime.training import Callback

# For a test that coverage makes far longer and that runs no line that others do not.
untraced = pytest.mark.no_cover

TINY = {
    "n_epochs": 3,
    "n_layers": 2,
    "n_filters": 3,
    "kernel_size": 9,
    "delta_t": 1,
    "schedule": "cosine",
    "keep": "best",
    "head": "bins",
    "random_state": 0,
}
TINY_OSCNN = {"n_epochs": 3, "max_kernel_size": 5, "layer_budgets": (22, 200), "random_state": 0}
LOADERS = {
    "univariate": load_unit_test,
    "multivariate": load_basic_motions,
    "italy": load_italy_power_demand,
}


def tiny_classifier(**parameters: Any) -> DSNClassifier:
    return DSNClassifier(**{**TINY, **parameters})


def tiny_regressor(**parameters: Any) -> DSNRegressor:
    return DSNRegressor(**{**TINY, **parameters})


def one_epoch(**parameters: Any) -> DSNClassifier:
    """Return a classifier whose weights tell what it was trained on, which takes one epoch."""
    return tiny_classifier(n_epochs=1, batch_size=16, **parameters)


def tiny_oscnn(**parameters: Any) -> OSCNNClassifier:
    return OSCNNClassifier(**{**TINY_OSCNN, **parameters})


@cache
def panel(name: str = "univariate", split: str = "train") -> tuple[np.ndarray, np.ndarray]:
    """Return series, as a 3-D array that nobody can write to, and their labels."""
    X, y = LOADERS[name](split, return_type="numpy3D")
    X.setflags(write=False)
    y.setflags(write=False)
    return X, y


@cache
def _original(make: Callable, name: str) -> Any:
    return make().fit(*panel(name))


def fitted_once(make: Callable = tiny_classifier, name: str = "univariate") -> Any:
    """Return a copy of a classifier that a process fits once, for tests that need any fit."""
    return copy.deepcopy(_original(make, name))


class StopAfter(Callback):
    """Raise an exception at the end of an epoch."""

    def __init__(self, epoch: int = 0, error: type[BaseException] = KeyboardInterrupt) -> None:
        self.epoch = epoch
        self.error = error

    def on_epoch_end(self, trainer: Any, record: dict[str, Any]) -> None:
        if record["epoch"] == self.epoch:
            raise self.error
