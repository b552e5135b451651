"""Parts of scikit-learn's estimator interface that sktime 1.2 does not provide yet."""

from __future__ import annotations

from typing import Any

from sklearn import exceptions as sklearn_exceptions
from sklearn.utils._metadata_requests import _MetadataRequester
from sktime import exceptions as sktime_exceptions

# What scikit-learn stores on an estimator: requested metadata, the container of transformed
# series, and since 1.9 the callbacks of the estimator that it is part of.
_SKLEARN_ATTRIBUTES = ("_metadata_request", "_sklearn_output_config", "_parent_callback_ctx")


class NotFittedError(sktime_exceptions.NotFittedError, sklearn_exceptions.NotFittedError):
    """The estimator is not fitted; caught as sktime's or as scikit-learn's error."""


class KeepOnResetMixin:
    """Keep what scikit-learn stores on an estimator when sktime resets it.

    Must come before sktime's class among the bases.
    """

    def reset(self) -> Any:
        """Reset, but keep scikit-learn's attributes."""
        own = vars(self)
        kept = {name: own[name] for name in _SKLEARN_ATTRIBUTES if name in own}
        super().reset()  # type: ignore[misc]
        own.update(kept)
        return self


class SklearnCompatMixin(KeepOnResetMixin, _MetadataRequester):
    """Make an sktime estimator acceptable to scikit-learn's meta-estimators.

    Must come before sktime's class among the bases.
    """

    random_state: Any
    _estimator_type: str  # sktime sets it.

    def __sklearn_tags__(self) -> Any:
        """Return the tags that scikit-learn 1.6 asks for and 1.8 requires (sktime issue 10725)."""
        from sklearn.utils import ClassifierTags, InputTags, RegressorTags, Tags, TargetTags

        kind = self._estimator_type
        return Tags(
            estimator_type=kind,
            target_tags=TargetTags(required=True),
            classifier_tags=ClassifierTags() if kind == "classifier" else None,
            regressor_tags=RegressorTags() if kind == "regressor" else None,
            input_tags=InputTags(two_d_array=True, three_d_array=True, allow_nan=True),
            non_deterministic=self.random_state is None,
        )

    def __sklearn_is_fitted__(self) -> bool:
        """Return True if fitted: sktime sets attributes with a trailing underscore before."""
        return self.is_fitted

    def check_is_fitted(self, method_name: str | None = None) -> None:
        """Raise NotFittedError, which is sktime's and scikit-learn's, unless fitted."""
        try:
            super().check_is_fitted(method_name)
        except sktime_exceptions.NotFittedError as error:
            raise NotFittedError(*error.args) from None
