"""Checks of fitted estimators that are explained or plotted."""

from __future__ import annotations

from sktime.exceptions import NotFittedError

from dsn_sktime.estimators.dsn_classifier import DSNClassifier
from dsn_sktime.estimators.dsn_estimator import DSNEstimator
from dsn_sktime.estimators.network_estimator import NetworkEstimator

__all__ = ["check_trained", "check_trained_classifier", "check_trained_dsn"]


def check_trained(estimator: NetworkEstimator) -> None:
    """Raise NotFittedError unless the estimator has a trained network."""
    estimator.check_is_fitted()
    if not hasattr(estimator, "networks_"):
        raise NotFittedError(
            f"this {type(estimator).__name__} has no network to show, as y had a single class or "
            "several columns. Fit it to one column of two values or more."
        )


def check_trained_classifier(classifier: DSNClassifier) -> None:
    """Raise TypeError unless it is a DSN classifier, NotFittedError unless it is trained."""
    if not isinstance(classifier, DSNClassifier):
        raise TypeError(
            "only the logits of a DSNClassifier can be explained, found "
            f"{type(classifier).__name__}."
        )
    check_trained(classifier)


def check_trained_dsn(estimator: DSNEstimator) -> None:
    """Raise TypeError unless the estimator is a DSN, NotFittedError unless it is trained."""
    if not isinstance(estimator, DSNEstimator):
        raise TypeError(
            "estimator must be a fitted DSNClassifier or DSNRegressor, found "
            f"{type(estimator).__name__}, which has no kernels with activated taps to show."
        )
    check_trained(estimator)
