"""What a classifier adds to the core: class labels, class weights and probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.model_selection import check_cv
from sklearn.utils.class_weight import compute_class_weight
from sktime.classification.base import BaseClassifier
from sktime.datatypes import convert_to

from dsn_sktime.estimators.inputs import read_labels
from dsn_sktime.estimators.network_estimator import NetworkEstimator
from dsn_sktime.estimators.parameters import brief_repr, check_class_weight
from dsn_sktime.runtime import default_switches

__all__ = ["NetworkClassifier"]


class NetworkClassifier(NetworkEstimator, BaseClassifier):
    """Classifier whose fitted state is one or more torch networks.

    The outputs of its networks are logits, one per class.
    """

    _tags = {"capability:class_weight": True, "capability:predict_proba": True}

    class_weight: dict | str | None

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_class_weight(self.class_weight)

    def _read_target(self, X: Any, y: Any) -> Any:
        return read_labels(X, y)

    def _fit(self, X: np.ndarray | list, y: np.ndarray) -> NetworkClassifier:
        class_indices = torch.from_numpy(np.searchsorted(self.classes_, y))
        class_weight = torch.tensor(self._class_weights(y), dtype=torch.float32)
        self._fit_networks(X, class_indices, self.n_classes_, class_weight=class_weight)
        return self

    def _class_weights(self, y: np.ndarray) -> np.ndarray:
        if not isinstance(self.class_weight, dict):
            return compute_class_weight(self.class_weight, classes=self.classes_, y=y)
        # Not left to scikit-learn, which looks up the label "1" as the integer 1. A fold of
        # a cross-validation may lack some of the labels.
        classes = self.classes_.tolist()
        if self.class_weight and not set(self.class_weight) & set(classes):
            raise ValueError(
                f"class_weight must have labels of y, {brief_repr(classes)}, found only "
                f"{brief_repr(list(self.class_weight))}. A label left out has weight 1."
            )
        return np.array([self.class_weight.get(label, 1.0) for label in classes])

    @default_switches()
    def predict_proba(self, X: Any) -> np.ndarray:
        """Predict the class probabilities of each series.

        Parameters and errors are those of :meth:`predict`.

        Returns
        -------
        array of shape (n, c)
            Columns in the order of ``classes_``.
        """
        return super().predict_proba(X)

    def _predict_proba(self, X: np.ndarray | list) -> np.ndarray:
        return self._outputs(X).softmax(2).mean(0).numpy()

    def fit_predict(self, X: Any, y: Any, cv: Any = None, change_state: bool = True) -> np.ndarray:
        """Fit, and predict the labels of the same series.

        Parameters
        ----------
        X, y
            As in :meth:`fit`.
        cv : int, scikit-learn splitter or None, default=None
            If given, each series is predicted by a classifier fitted without it. An int
            is the number of stratified folds. The test folds must hold each series once.
        change_state : bool, default=True
            Whether this instance is left fitted to all of ``X``.

        Returns
        -------
        array of shape (n,)

        Raises
        ------
        ValueError
            As :meth:`fit`, or if the test folds are no partition.
        """
        if cv is None:
            return (self if change_state else self.clone()).fit(X, y).predict(X)
        probabilities = self._cross_fitted(X, y, cv, change_state)
        return np.unique(y)[probabilities.argmax(1)]

    def fit_predict_proba(
        self, X: Any, y: Any, cv: Any = None, change_state: bool = True
    ) -> np.ndarray:
        """Fit, and predict the class probabilities of the same series.

        Parameters and errors are those of :meth:`fit_predict`.

        Returns
        -------
        array of shape (n, c)
            Columns in the order of the sorted labels of ``y``.
        """
        if cv is None:
            return (self if change_state else self.clone()).fit(X, y).predict_proba(X)
        return self._cross_fitted(X, y, cv, change_state)

    def _cross_fitted(self, X: Any, y: Any, cv: Any, change_state: bool) -> np.ndarray:
        # sktime's own fails on 3-D arrays and on string labels.
        y = np.asarray(read_labels(X, y))
        if y.ndim != 1:
            raise ValueError(
                f"y must be 1-D where cv is given, found shape {y.shape}. Call once per column."
            )
        classes = np.unique(y)
        panel = X if isinstance(X, np.ndarray) else convert_to(X, "df-list", "Panel")
        probabilities = np.zeros((len(y), len(classes)))
        n_tests = np.zeros(len(y), dtype=int)
        for train, test in check_cv(cv, y, classifier=True).split(np.zeros(len(y)), y):
            fold = self.clone().fit(_rows(panel, train), y[train])
            columns = np.searchsorted(classes, fold.classes_)
            probabilities[np.ix_(test, columns)] = fold.predict_proba(_rows(panel, test))
            n_tests[test] += 1
        if (n_tests != 1).any():
            raise ValueError(
                "the test folds of cv must hold each series once, found "
                f"{np.count_nonzero(n_tests == 0)} series in none and "
                f"{np.count_nonzero(n_tests > 1)} in several. Use KFold or StratifiedKFold."
            )
        if change_state:
            self.fit(X, y)
        return probabilities


def _rows(panel: np.ndarray | list, rows: np.ndarray) -> np.ndarray | list:
    return panel[rows] if isinstance(panel, np.ndarray) else [panel[row] for row in rows]
