"""Base class of classifiers: class labels, class weights and probabilities."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np
import torch
from scipy.special import softmax
from sklearn.model_selection import check_cv
from sktime.classification.base import BaseClassifier

from dsn_sktime.estimators.network_estimator import NetworkEstimator
from dsn_sktime.estimators.parameters import check_class_weight
from dsn_sktime.panel import RawPanel, read_labels, warn_user
from dsn_sktime.runtime import default_switches
from dsn_sktime.training import CrossEntropy
from dsn_sktime.training.checks import brief_repr

_MIN_WEIGHT = 1e-30
# With more distinct values, fractions are labels only if each occurs often.
_MAX_FRACTIONS = 20


class NetworkClassifier(NetworkEstimator, BaseClassifier):
    """Classifier whose fitted state is one or more torch networks.

    The outputs of its networks are logits, one per class.
    """

    _tags = {"capability:class_weight": True, "capability:predict_proba": True}

    class_weight: dict | str | None
    label_smoothing: float = 0.0

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_class_weight(self.class_weight)
        self._objective()

    def _objective(self, class_weight: torch.Tensor | None = None) -> CrossEntropy:
        return CrossEntropy(class_weight, self.label_smoothing)

    def _read_target(self, y: Any, raw: RawPanel) -> Any:
        y = read_labels(y, raw)
        _check_discrete(np.asarray(y))
        return y

    def _read_validation(self, validation_data: Any, raw: RawPanel, y: Any) -> tuple[RawPanel, Any]:
        found, target = super()._read_validation(validation_data, raw, y)
        known = np.unique(y).tolist()
        unknown = [label for label in np.unique(target).tolist() if label not in known]
        if unknown:
            raise ValueError(
                f"validation_data must have labels of y, {brief_repr(known)}, found "
                f"{brief_repr(unknown)}. Remove their series, or add some to the training series."
            )
        return found, target

    def _check_input(self, X: RawPanel, y: Any = None, **kwargs: Any) -> dict[str, Any]:
        if y is not None and len(np.unique(y)) == 1:
            warn_user(
                f"only single label seen in y passed to fit of {type(self).__name__}: nothing is "
                "trained, and this label is always predicted."
            )
        return super()._check_input(X, y, **kwargs)

    def _fit(self, X: RawPanel, y: np.ndarray) -> NetworkClassifier:
        raw, y = self._training_rows(X, y)
        class_indices = np.searchsorted(self.classes_, y)
        weights = self._class_weights(class_indices, raw.sample_weight)
        if weights.max() > 1 / _MIN_WEIGHT or weights.min() < _MIN_WEIGHT:
            # Only the ratios count, and single precision has no larger ones.
            weights = np.maximum(weights / weights.max(), _MIN_WEIGHT)
        objective = self._objective(torch.tensor(weights, dtype=torch.float32))
        self._fit_networks(raw, y, self.n_classes_, objective)
        return self

    def _encoded(self, y: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.searchsorted(self.classes_, y))

    def _validation_rows(self, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        rows = _stratified_rows(y, self.validation_fraction, rng)
        if len(rows) == 0:
            raise ValueError(
                "validation_fraction must be 0 where no class of y has two series, found "
                f"{self.validation_fraction} for {len(y)} series. Pass validation_data to fit."
            )
        return rows

    def _class_weights(
        self, class_indices: np.ndarray, sample_weight: np.ndarray | None
    ) -> np.ndarray:
        if self.class_weight is None:
            return np.ones(self.n_classes_)
        if isinstance(self.class_weight, str):
            totals = np.bincount(class_indices, sample_weight, minlength=self.n_classes_)
            is_present = totals > 0
            balanced = totals.sum() / (is_present.sum() * np.where(is_present, totals, 1))
            return np.where(is_present, balanced, 1)
        # Not left to scikit-learn, which looks up the label "1" as the integer 1.
        self._check_keys(self.classes_)
        return np.array([self.class_weight.get(label, 1.0) for label in self.classes_.tolist()])

    def _check_keys(self, classes: np.ndarray) -> None:
        """Raise if ``class_weight`` is a dict without any of the labels.

        Some may be absent: a fold of a cross-validation often lacks a rare class.
        """
        labels, weights = classes.tolist(), self.class_weight
        if isinstance(weights, dict) and weights and not set(weights) & set(labels):
            raise ValueError(
                f"class_weight must have labels of y, {brief_repr(labels)}, found only "
                f"{brief_repr(list(weights))}. A label left out has weight 1."
            )

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

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Predict the natural logarithms of the class probabilities of each series.

        Parameters and errors are those of :meth:`predict`.

        Returns
        -------
        array of shape (n, c)
            Columns in the order of ``classes_``; -inf where a probability is 0.
        """
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def _single_class_y_pred(self, X: RawPanel, method: str = "predict") -> np.ndarray:
        if method == "predict":
            return np.repeat(self.classes_, len(X))
        return np.ones((len(X), 1))

    def _score(self, y: Any, predicted: Any, sample_weight: np.ndarray | None) -> float:
        found, predicted = (np.asarray(one).reshape(len(y), -1) for one in (y, predicted))
        _check_comparable(found, predicted)
        # Not by scikit-learn, which refuses labels that are bytes, dates, tuples or fractions.
        return float(np.average((found == predicted).all(1), weights=sample_weight))

    def _predict_proba(self, X: RawPanel) -> np.ndarray:
        return softmax(self._outputs(X), axis=2).mean(0)

    def _restore(self, fitted: dict[str, Any]) -> None:
        super()._restore(fitted)
        self._class_dictionary = {label: place for place, label in enumerate(self.classes_)}

    def _exported_output(self) -> tuple[str, Callable, dict[str, Any]]:
        classes = {"classes": _as_json(self.classes_)}
        return "probabilities", lambda logits: logits.softmax(2).mean(0), classes

    def fit_predict(self, X: Any, y: Any, cv: Any = None, change_state: bool = True) -> np.ndarray:
        """Fit, and predict the labels of the same series.

        Parameters
        ----------
        X, y
            As in :meth:`fit`.
        cv : int, scikit-learn splitter, list of pairs of row numbers or None, default=None
            If given, each series is predicted by a classifier fitted without it. An int
            is the number of stratified folds. The test folds must hold each series once. A
            splitter gets class numbers as ``y`` and no groups: pass the list of its splits if
            it needs others.
        change_state : bool, default=True
            Leave this instance fitted to all of ``X``.

        Returns
        -------
        array of shape (n,)

        Raises
        ------
        ValueError
            As :meth:`fit`, or if the test folds are not a partition of the series.
        """
        if cv is None:
            return (self if change_state else self.clone()).fit(X, y).predict(X)
        classes, probabilities = self._cross_fitted(X, y, cv, change_state)
        return classes[probabilities.argmax(1)]

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
        return self._cross_fitted(X, y, cv, change_state)[1]

    def _cross_fitted(
        self, X: Any, y: Any, cv: Any, change_state: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        # sktime's own fails on 3-D arrays and on string labels.
        raw = self._read_training_series(X)
        y = np.asarray(self._read_target(y, raw))
        if y.ndim != 1:
            raise ValueError(
                f"y must be 1-D where cv is given, found shape {y.shape}. Call once per column."
            )
        classes = np.unique(y)
        self._check_keys(classes)
        probabilities = np.zeros((len(y), len(classes)))
        # scikit-learn stratifies neither fractions nor objects.
        for train, test in _folds(cv, np.searchsorted(classes, y)):
            fold = self.clone()
            if isinstance(self.class_weight, dict):
                # The keys that fit may all be absent from this fold.
                known = set(y[train].tolist())
                fold.class_weight = {k: w for k, w in self.class_weight.items() if k in known}
            fold.fit(raw.take(train), y[train])
            columns = np.searchsorted(classes, fold.classes_)
            probabilities[np.ix_(test, columns)] = fold.predict_proba(raw.take(test))
        if change_state:
            self.fit(raw, y)
        return classes, probabilities


def _folds(cv: Any, y: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return training and test rows of each fold; raise unless each row is tested once."""
    try:
        splits = check_cv(cv, y, classifier=True).split(np.zeros(len(y)), y)
        folds = [(np.asarray(train), np.asarray(test)) for train, test in splits]
    except TypeError:
        raise TypeError(
            "cv must be a number of folds, a splitter of scikit-learn or a list of pairs of row "
            f"numbers, found {brief_repr(cv)}."
        ) from None
    n_tests = np.zeros(len(y), dtype=int)
    for _, test in folds:
        n_tests[test] += 1
    if (n_tests != 1).any():
        raise ValueError(
            "the test folds of cv must hold each series once, found "
            f"{np.count_nonzero(n_tests == 0)} series in none and "
            f"{np.count_nonzero(n_tests > 1)} in several. Use KFold or StratifiedKFold."
        )
    return folds


def _stratified_rows(y: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Draw a share of the rows, at least one, evenly over the classes and not all of any."""
    order = rng.permutation(len(y))
    order = order[np.argsort(np.unique(y, return_inverse=True)[1][order], kind="stable")]
    is_first = np.append(True, y[order][1:] != y[order][:-1])
    candidates = order[~is_first]
    n = min(max(round(share * len(y)), 1), len(candidates))
    places = (np.arange(n) + rng.random()) * len(candidates) / max(n, 1)
    return np.sort(candidates[places.astype(int)])


def _check_comparable(found: np.ndarray, predicted: np.ndarray) -> None:
    """Raise if labels cannot equal the predicted ones, as "1" is never 1."""
    if found.shape != predicted.shape:
        raise ValueError(
            f"y must have {predicted.shape[1]} columns, as in fit, found {found.shape[1]}."
        )
    kinds = _kinds(found), _kinds(predicted)
    if not kinds[0] & kinds[1]:
        given, known = (" and ".join(sorted(names)) for names in kinds)
        raise TypeError(
            f"y must hold labels of the type that was fitted, {known}, found {given} such as "
            f"{brief_repr(found.flat[0])}. Convert them, for example with y.astype."
        )


def _kinds(labels: np.ndarray) -> set[str]:
    if labels.dtype.kind in "mM":
        return {"datetime" if labels.dtype.kind == "M" else "timedelta"}
    return {
        "str" if isinstance(one, str) else "number" if isinstance(one, Real) else type(one).__name__
        for one in labels.ravel().tolist()
    }


def _check_discrete(y: np.ndarray) -> None:
    """Raise ValueError if ``y`` looks like the target of a regression."""
    if y.dtype.kind != "f":
        return
    values = np.unique(y)
    fractions = values[np.isinf(values) | (values != np.round(values))]
    is_continuous = len(values) > max(_MAX_FRACTIONS, len(y) / 2)
    if len(fractions) and (is_continuous or np.isinf(values).any()):
        raise ValueError(
            "y must hold class labels, found continuous or infinite numbers such as "
            f"{fractions[0]:g} (unknown label type: continuous). Bin them, or convert them with "
            "y.astype(str) if they are labels."
        )


def _as_json(labels: np.ndarray) -> list[Any]:
    plain = labels.tolist() if labels.dtype.kind in "biufO" else labels.astype(str).tolist()
    return [one if isinstance(one, bool | int | float | str) else str(one) for one in plain]
