"""DSN and OS-CNN for time series classification and regression, for sktime and scikit-learn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsn_sktime._version import __version__

if TYPE_CHECKING:
    from dsn_sktime.estimators import DSNClassifier, DSNRegressor, DSNTransformer, OSCNNClassifier

__all__ = ["DSNClassifier", "DSNRegressor", "DSNTransformer", "OSCNNClassifier", "__version__"]


def __getattr__(name: str) -> object:
    # Importing torch and sktime takes seconds: only those who use an estimator wait.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from dsn_sktime import estimators

    return getattr(estimators, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
