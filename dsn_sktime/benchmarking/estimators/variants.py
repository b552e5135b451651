"""Variants of the default recipe that the package does not offer, for the studies."""

from __future__ import annotations

from typing import Any, cast

import joblib
import numpy as np
import torch
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sktime.classification.base import BaseClassifier

from dsn_sktime import DSNClassifier
from dsn_sktime.estimators.network_estimator import prediction_batches
from dsn_sktime.estimators.ridge_head import RidgeHead, fit_ridge, fit_temperature
from dsn_sktime.panel import Panel, Standardization, read_panel

__all__ = ["OtherHead"]

# Fits in memory: readings of the same fit follow one another, but those of data sets that take
# equally long may alternate.
_KEPT = 4
_trained: dict[str, DSNClassifier] = {}


def _fit_shared(X: Any, y: np.ndarray, seed: int) -> DSNClassifier:
    """Return a DSN fitted to series, in a process the same one for the same arguments."""
    key = joblib.hash((X, y, seed))
    if key not in _trained:
        while len(_trained) >= _KEPT:
            del _trained[next(iter(_trained))]
        _trained[key] = DSNClassifier(device="cpu", random_state=seed, n_jobs=1).fit(X, y)
    return _trained[key]


class OtherHead(BaseClassifier):
    """The default recipe, whose networks are read in another way.

    Variants with the same seed share trainings in a process, so only the first one's fitting
    time includes them.

    Parameters
    ----------
    reading : str
        "own": the trained network's own head. "ridge": the ridge classifier of the trained
        network's features. "untrained": that of the untrained one's. "one_ridge": one of the
        features of both. "probabilities": the default's three parts, but probabilities are
        averaged instead of logits. "logistic": logistic regression on the trained network's
        features.
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

    def _fit(self, X: Any, y: np.ndarray) -> OtherHead:
        self._dsn = _fit_shared(X, y, self.random_state)
        self._targets = np.searchsorted(self.classes_, y)
        self._parts = _read(self._dsn, X)
        return self

    def _predict_proba(self, X: Any) -> np.ndarray:
        own, *features = _read(self._dsn, X)
        trained, untrained = self._parts[1:]
        if self.reading == "own":
            return softmax(own, axis=1)
        if self.reading == "logistic":
            model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300))
            return model.fit(trained, self._targets).predict_proba(features[0])
        held_out, other = self._ridge(untrained, features[1])
        factor = fit_temperature(held_out, self._targets, np.ones(len(self._targets)))
        if self.reading == "untrained":
            return softmax(factor * other, axis=1)
        if self.reading == "one_ridge":
            both = np.hstack([trained, untrained]), np.hstack(features)
            return softmax(factor * self._ridge(*both)[1], axis=1)
        ridge = factor * self._ridge(trained, features[0])[1]
        if self.reading == "ridge":
            return softmax(ridge, axis=1)
        parts = own, ridge, factor * other
        if self.reading == "probabilities":
            return np.mean([softmax(one, axis=1) for one in parts], axis=0)
        return softmax(np.mean(parts, axis=0), axis=1)

    def _ridge(self, features: np.ndarray, new: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return leave-one-out outputs for the training series, and outputs for new ones."""
        targets = np.where(self._targets[:, None] == np.arange(self.n_classes_), 1.0, -1.0)
        fitted = fit_ridge(features, targets, np.ones(len(features)))
        return fitted.held_out, new @ fitted.coef + fitted.intercept


def _read(dsn: DSNClassifier, X: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return logits of the own head, and features of the trained and the untrained network."""
    found = []
    standardization = Standardization(dsn.mean_, dsn.scale_)
    panel = Panel.from_raw(read_panel(X, dsn.variate_names_), standardization)
    networks: tuple[Any, ...] = dsn.network_, cast(RidgeHead, dsn.heads_[0]).untrained
    with torch.no_grad():
        for one in prediction_batches(panel):
            series = one.values, one.lengths
            stats = [net.features(*series, layers="all", pool="stats") for net in networks]
            found.append([dsn.network_(*series), *(each.flatten(1) for each in stats)])
    own, trained, untrained = (
        torch.cat(each).double().numpy() for each in zip(*found, strict=True)
    )
    return own, trained, untrained
