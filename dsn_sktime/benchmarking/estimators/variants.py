"""Variants of the default recipe that the package does not offer, for the studies."""

import copy
from typing import Any

import joblib
import numpy as np
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sktime.classification.base import BaseClassifier

from dsn_sktime import DSNClassifier
from dsn_sktime.estimators.ridge_head import fit_ridge, fit_temperature

# The last fit: jobs of a data set and a seed follow each other.
_trained: dict[str, DSNClassifier] = {}


def _fit_shared(X: Any, y: np.ndarray, seed: int) -> DSNClassifier:
    """Return a DSN fitted to series, in a process the same one for the same arguments."""
    key = joblib.hash((X, y, seed))
    if key not in _trained:
        _trained.clear()
        _trained[key] = DSNClassifier(device="cpu", random_state=seed, n_jobs=1).fit(X, y)
    return _trained[key]


class OtherHead(BaseClassifier):
    """The default recipe, whose networks are read in another way.

    Those of a seed share trainings in a process: only the first one's fitting time includes them.

    Parameters
    ----------
    reading : str
        "own": the trained network's own head. "ridge": a ridge classifier of its features.
        "untrained": that of untrained layers'. "one_ridge": one of the features of both.
        "probabilities": the first three, probabilities averaged. "logistic": logistic
        regression on the trained network's features.
    random_state : int
    """

    _tags = {
        "X_inner_mtype": ["numpy3D", "df-list"],
        "capability:multivariate": True,
        "capability:unequal_length": True,
        "capability:missing_values": True,
        "capability:predict_proba": True,
    }

    def __init__(self, reading: str = "own", random_state: int = 0) -> None:
        self.reading = reading
        self.random_state = random_state
        super().__init__()

    def _fit(self, X: Any, y: np.ndarray) -> "OtherHead":
        self._dsn = _fit_shared(X, y, self.random_state)
        self._targets = np.searchsorted(self.classes_, y)
        self._parts = _read(self._dsn, X)
        return self

    def _predict_proba(self, X: Any) -> np.ndarray:
        (_, *known), (own, *new) = self._parts, _read(self._dsn, X)
        if self.reading == "own":
            return softmax(own, axis=1)
        if self.reading == "logistic":
            model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300))
            return model.fit(known[0], self._targets).predict_proba(new[0])
        held_out, untrained = self._ridge(known[1], new[1])
        factor = fit_temperature(held_out, self._targets, np.ones(len(self._targets)))
        if self.reading == "untrained":
            return softmax(factor * untrained, axis=1)
        if self.reading == "one_ridge":
            return softmax(factor * self._ridge(np.hstack(known), np.hstack(new))[1], axis=1)
        ridge = factor * self._ridge(known[0], new[0])[1]
        if self.reading == "ridge":
            return softmax(ridge, axis=1)
        return np.mean([softmax(one, axis=1) for one in (own, ridge, factor * untrained)], axis=0)

    def _ridge(self, features: np.ndarray, new: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return leave-one-out outputs for the training series, and outputs for new ones."""
        targets = np.where(self._targets[:, None] == np.arange(self.n_classes_), 1.0, -1.0)
        fitted = fit_ridge(features, targets, np.ones(len(features)))
        return fitted.held_out, new @ fitted.coef + fitted.intercept


def _read(dsn: DSNClassifier, X: Any) -> list[np.ndarray]:
    """Return logits of the own head, and features of the network and of the untrained layers."""
    own = copy.copy(dsn)
    own.heads_ = [None]
    is_untrained = np.array(["untrained" in name for name in dsn.get_feature_names_out()])
    features = np.asarray(dsn.transform(X))
    return [own.predict_log_proba(X), features[:, ~is_untrained], features[:, is_untrained]]
