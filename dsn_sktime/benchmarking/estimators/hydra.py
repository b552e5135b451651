"""Hydra and MultiROCKET-Hydra of aeon, as sktime classifiers."""

from importlib.util import find_spec

import numpy as np
from sktime.classification.base import BaseClassifier


class AeonClassifier(BaseClassifier):
    """A convolution-based classifier of aeon, by its class name, with its defaults.

    ``predict_proba`` is 1 for the predicted class: their ridge classifiers have no probabilities.
    """

    _tags = {
        "X_inner_mtype": "numpy3D",
        "capability:multivariate": True,
        "capability:multithreading": True,
        "capability:random_state": True,
        "property:randomness": "derandomized",
    }

    def __init__(
        self, name: str = "HydraClassifier", n_jobs: int = 1, random_state: int | None = None
    ) -> None:
        if find_spec("aeon") is None:
            raise ModuleNotFoundError("aeon is missing: pip install 'dsn-sktime[aeon]'")
        self.name = name
        self.n_jobs = n_jobs
        self.random_state = random_state
        super().__init__()

    def _fit(self, X: np.ndarray, y: np.ndarray) -> "AeonClassifier":
        from aeon.classification import convolution_based

        make = getattr(convolution_based, self.name)
        self.classifier_ = make(n_jobs=self.n_jobs, random_state=self.random_state).fit(X, y)
        return self

    def _predict(self, X: np.ndarray) -> np.ndarray:
        return self.classifier_.predict(X)
