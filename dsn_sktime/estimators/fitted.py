"""Check of estimators whose trained networks are read, exported, explained or plotted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsn_sktime.estimators.sklearn_compat import NotFittedError

if TYPE_CHECKING:
    from dsn_sktime.estimators.network_estimator import NetworkEstimator


def check_trained(estimator: NetworkEstimator) -> None:
    """Raise NotFittedError unless the estimator is fitted and has a trained network."""
    estimator.check_is_fitted()
    if not hasattr(estimator, "networks_"):
        raise NotFittedError(
            f"this {type(estimator).__name__} has no trained network, as y had a single class or "
            "several columns. Fit it to one column of two values or more."
        )
