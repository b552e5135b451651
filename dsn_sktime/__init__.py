"""Dynamic Sparse Network for time series classification, for sktime and scikit-learn."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dsn_sktime.classifier import DSNClassifier

__all__ = ["DSNClassifier", "__version__"]
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    # torch and sktime take seconds to import: only who asks for the classifier waits.
    if name == "DSNClassifier":
        from dsn_sktime.classifier import DSNClassifier

        return DSNClassifier
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
