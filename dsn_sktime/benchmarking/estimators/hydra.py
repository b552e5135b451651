"""Hydra and MultiROCKET-Hydra of aeon, as sktime classifiers."""

from __future__ import annotations

import numpy as np
from sktime.classification.base import BaseClassifier

__all__ = ["AeonClassifier"]


class AeonClassifier(BaseClassifier):
    """A convolution-based classifier of aeon with its defaults.

    ``predict_proba`` is 1 for the predicted class: their ridge classifiers have no
    probabilities.

    Parameters
    ----------
    name : str, default="HydraClassifier"
        Class in ``aeon.classification.convolution_based``.
    n_jobs : int, default=1
    random_state : int or None, default=None
    """

    _tags = {
        "X_inner_mtype": "numpy3D",
        "capability:multivariate": True,
        "capability:multithreading": True,
        "capability:random_state": True,
        "property:randomness": "derandomized",
        "python_dependencies": "aeon",
    }

    def __init__(
        self, name: str = "HydraClassifier", n_jobs: int = 1, random_state: int | None = None
    ) -> None:
        self.name = name
        self.n_jobs = n_jobs
        self.random_state = random_state
        super().__init__()

    def _fit(self, X: np.ndarray, y: np.ndarray) -> AeonClassifier:
        from aeon.classification import convolution_based

        make = getattr(convolution_based, self.name)
        self.classifier_ = make(n_jobs=self.n_jobs, random_state=self.random_state)
        self.classifier_.fit(X, y)
        return self

    def _predict(self, X: np.ndarray) -> np.ndarray:
        return self.classifier_.predict(X)
