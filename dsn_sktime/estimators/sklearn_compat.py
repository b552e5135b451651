"""What scikit-learn asks of an estimator and sktime 1.2 does not provide yet."""

from __future__ import annotations

from typing import Any

__all__ = ["SklearnCompatMixin"]

_CALLBACK_ATTRIBUTES = (
    "_parent_callback_ctx",
    "_skl_callbacks",
    "_callback_fit_ctx",
    "_skl_callbacks_to_teardown",
)


class SklearnCompatMixin:
    """Make an sktime estimator acceptable to scikit-learn's meta-estimators.

    Must come before sktime's class among the bases. ``__sklearn_tags__`` gives way to
    sktime's own where it has one (sktime issue 10725).
    """

    random_state: Any

    def __sklearn_tags__(self) -> Any:
        """Return the tags that scikit-learn 1.6 asks for and 1.8 requires."""
        inherited = getattr(super(), "__sklearn_tags__", None)
        if inherited is not None:
            return inherited()
        from sklearn.utils import ClassifierTags, InputTags, Tags, TargetTags

        return Tags(
            estimator_type="classifier",
            target_tags=TargetTags(required=True),
            classifier_tags=ClassifierTags(),
            input_tags=InputTags(two_d_array=True, three_d_array=True, allow_nan=True),
            non_deterministic=self.random_state is None,
        )

    def reset(self) -> Any:
        """Reset, but keep what scikit-learn 1.9 stores on an estimator during its fit.

        scikit-learn deletes these attributes after ``fit``; sktime's ``fit`` resets the
        estimator and so has deleted them before.
        """
        own = vars(self)
        kept = {name: own[name] for name in _CALLBACK_ATTRIBUTES if name in own}
        super().reset()  # type: ignore[misc]
        for name, value in kept.items():
            vars(self).setdefault(name, value)
        return self
