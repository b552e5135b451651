"""Base class of regressors: standardized targets, predictions and their spread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sklearn.metrics import r2_score
from sktime.regression.base import BaseRegressor

from dsn_sktime.estimators.fitted import check_trained
from dsn_sktime.estimators.network_estimator import NetworkEstimator
from dsn_sktime.panel import RawPanel, read_numbers
from dsn_sktime.runtime import default_switches
from dsn_sktime.training import SquaredError


class NetworkRegressor(NetworkEstimator, BaseRegressor):
    """Regressor whose fitted state is one or more torch networks.

    The output of its networks is the standardized target.
    """

    def _read_target(self, y: Any, raw: RawPanel) -> Any:
        return read_numbers(y, raw)

    def _fit(self, X: RawPanel, y: np.ndarray) -> NetworkRegressor:
        raw, y = self._training_rows(X, y)
        self.target_mean_, self.target_scale_ = _mean_and_deviation(y, raw.sample_weight)
        self._fit_networks(raw, y, 1, SquaredError())
        return self

    def _encoded(self, y: np.ndarray) -> torch.Tensor:
        # A constant target has no deviation, and is then predicted exactly.
        scaled = (y - self.target_mean_) / (self.target_scale_ or 1.0)
        return torch.from_numpy(scaled.astype(np.float32))

    def _validation_rows(self, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        n = min(max(round(self.validation_fraction * len(y)), 1), len(y) - 1)
        if n == 0:
            raise ValueError(
                "validation_fraction must be 0 where there is only one series, found "
                f"{self.validation_fraction}. Pass validation_data to fit."
            )
        return np.sort(rng.permutation(len(y))[:n])

    def _predict(self, X: RawPanel) -> np.ndarray:
        return self._members(X).mean(0)

    def _members(self, X: RawPanel) -> np.ndarray:
        """Return the prediction of each network, (n_estimators, n)."""
        return self._in_target_units(self._outputs(X))

    def _in_target_units(self, outputs: Any) -> Any:
        """Return the outputs of networks (n_estimators, n, 1) in units of the target."""
        return self.target_mean_ + self.target_scale_ * outputs[:, :, 0]

    @default_switches()
    def predict_std(self, X: Any) -> np.ndarray:
        """Compute the standard deviation of the predictions of the ensemble's networks.

        It says how much networks disagree that were trained on the same series with different
        seeds and settings. It is not the standard deviation of the target given a series: it
        knows nothing of the target's noise, and is usually smaller than the errors of the
        prediction.

        Parameters
        ----------
        X : array of shape (n, m, L) or any other sktime panel container
            As in :meth:`predict`.

        Returns
        -------
        array of shape (n,)
            With Bessel's correction, in units of the target.

        Raises
        ------
        ValueError, TypeError
            If ``X`` is invalid or there is only one network.
        NotFittedError
            If the estimator is not fitted, or has no network as ``y`` had several columns.
        """
        check_trained(self)
        if len(self.networks_) < 2:
            raise ValueError(
                f"predict_std needs the networks of an ensemble, found {len(self.networks_)}. Fit "
                "with n_estimators of at least 2."
            )
        return self._members(self._check_convert_X_for_predict(X)).std(0, ddof=1)

    def _exported_output(self) -> tuple[str, Callable, dict[str, Any]]:
        return "predictions", lambda outputs: self._in_target_units(outputs).mean(0), {}

    def _score(self, y: Any, predicted: Any, sample_weight: np.ndarray | None) -> float:
        return float(r2_score(y, predicted, sample_weight=sample_weight))


def _mean_and_deviation(y: np.ndarray, weight: np.ndarray | None) -> tuple[float, float]:
    """Return the weighted mean and standard deviation; of equal numbers, exactly 0."""
    if np.all(y == y[0]):
        return float(y[0]), 0.0
    # Of numbers of at most 1, whose squares neither overflow nor vanish.
    largest = np.abs(y).max()
    mean = np.average(y / largest, weights=weight)
    variance = np.average((y / largest - mean) ** 2, weights=weight)
    return float(mean * largest), float(np.sqrt(variance) * largest)
