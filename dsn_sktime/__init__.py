"""DSN and OS-CNN for time series classification, for sktime and scikit-learn."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dsn_sktime.classifier import DSNClassifier
    from dsn_sktime.oscnn_classifier import OSCNNClassifier

__all__ = ["DSNClassifier", "OSCNNClassifier", "__version__"]
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    # torch and sktime take seconds to import: only who asks for a classifier waits.
    if name == "DSNClassifier":
        from dsn_sktime.classifier import DSNClassifier

        return DSNClassifier
    if name == "OSCNNClassifier":
        from dsn_sktime.oscnn_classifier import OSCNNClassifier

        return OSCNNClassifier
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
