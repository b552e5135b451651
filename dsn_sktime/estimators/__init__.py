"""Estimators of scikit-learn and sktime: a shared core, then tasks, then one module per method."""

from dsn_sktime.estimators.dsn_classifier import DSNClassifier
from dsn_sktime.estimators.dsn_regressor import DSNRegressor
from dsn_sktime.estimators.dsn_transformer import DSNTransformer
from dsn_sktime.estimators.oscnn_classifier import OSCNNClassifier

__all__ = ["DSNClassifier", "DSNRegressor", "DSNTransformer", "OSCNNClassifier"]
