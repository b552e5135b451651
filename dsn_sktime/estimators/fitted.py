"""Checks of fitted estimators that are explained or plotted."""

from __future__ import annotations

from sktime.exceptions import NotFittedError

from dsn_sktime.estimators.dsn_estimator import DSNEstimator
from dsn_sktime.estimators.network_estimator import NetworkEstimator

__all__ = ["check_trained", "check_trained_dsn"]


def check_trained(estimator: NetworkEstimator) -> None:
    """Raise NotFittedError unless the estimator has a trained network."""
    estimator.check_is_fitted()
    if not hasattr(estimator, "networks_"):
        raise NotFittedError(
            f"this {type(estimator).__name__} was fitted to a single class, so no network "
            "was trained and there is nothing to show. Fit it to two classes or more."
        )


def check_trained_dsn(estimator: DSNEstimator) -> None:
    """Raise TypeError unless the estimator is a DSN, NotFittedError unless it is trained."""
    if not isinstance(estimator, DSNEstimator):
        raise TypeError(
            "estimator must be a fitted DSNClassifier or DSNRegressor, found "
            f"{type(estimator).__name__}, which has no kernels with activated taps to show."
        )
    check_trained(estimator)
