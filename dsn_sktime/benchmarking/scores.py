"""The scores of the results file, as functions that sktime's harness takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    f1_score,
    log_loss,
    roc_auc_score,
)

__all__ = ["scorers"]


def scorers(classes: np.ndarray) -> list[Callable[..., float]]:
    """Return the scores of the results file as sktime's harness takes them.

    Parameters
    ----------
    classes : array of shape (c,)
        Sorted labels of the training series, the columns of the probabilities.

    Returns
    -------
    list of function
        Of the true labels and the predicted labels, or the probabilities where the second
        parameter is named ``y_proba``. Log loss and AUROC are NaN where they are not defined:
        with one class, with test labels that were not trained and, AUROC, with a class that
        the test labels lack. AUROC of more than two classes is the mean of each class
        against the rest.
    """
    return [
        _on_labels(accuracy_score, "accuracy"),
        _on_labels(balanced_accuracy_score, "balanced_accuracy"),
        _on_labels(_f1_macro, "f1_macro"),
        _on_probabilities(_log_loss, "log_loss", classes),
        _on_probabilities(_auroc, "auroc", classes),
    ]


def _on_labels(score: Callable[..., float], name: str) -> Callable[..., float]:
    def scorer(y_true: Any, y_pred: Any) -> float:
        return float(score(np.ravel(y_true), y_pred))

    scorer.__name__ = name
    return scorer


def _on_probabilities(
    score: Callable[..., float], name: str, classes: np.ndarray
) -> Callable[..., float]:
    def scorer(y_true: Any, y_proba: Any) -> float:
        y_true = np.ravel(y_true).astype(classes.dtype)
        if len(classes) < 2 or not np.isin(y_true, classes).all():
            return np.nan
        return float(score(y_true, np.asarray(y_proba), classes))

    scorer.__name__ = name
    return scorer


def _f1_macro(y_true: np.ndarray, y_pred: np.ndarray) -> float:
    return f1_score(y_true, y_pred, average="macro")


def _log_loss(y_true: np.ndarray, y_proba: np.ndarray, classes: np.ndarray) -> float:
    return log_loss(y_true, y_proba, labels=classes)


def _auroc(y_true: np.ndarray, y_proba: np.ndarray, classes: np.ndarray) -> float:
    if len(np.unique(y_true)) < len(classes):
        return np.nan
    if len(classes) == 2:
        return roc_auc_score(y_true == classes[1], y_proba[:, 1])
    return roc_auc_score(y_true, y_proba, labels=classes, multi_class="ovr")
