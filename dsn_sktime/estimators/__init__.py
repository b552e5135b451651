"""Estimators of scikit-learn and sktime: a shared core, classifiers, one module per method."""

from dsn_sktime.estimators.dsn_classifier import DSNClassifier
from dsn_sktime.estimators.oscnn_classifier import OSCNNClassifier

__all__ = ["DSNClassifier", "OSCNNClassifier"]
