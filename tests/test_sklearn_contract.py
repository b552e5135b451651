"""scikit-learn's own checks of an estimator, on tables: a row is a univariate series."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.utils.estimator_checks import estimator_checks_generator
from tiny import panel, tiny_classifier, tiny_oscnn, tiny_regressor, untraced

# What cannot apply to series, and why; the guide lists the same.
EXPECTED = {
    "check_no_attributes_set_in_init": "sktime's constructors set classes_ and others",
    "check_n_features_in_after_fitting": "a series may have any number of time steps",
    "check_n_features_in": "a series may have any number of time steps",
    "check_classifiers_train": "a series may have any number of time steps",
    "check_transformer_general": "a series may have any number of time steps",
    "check_regressors_train": "columns that are no time steps are not learned in two epochs",
    "check_complex_data": "complex series are a TypeError, with the remedy",
    "check_dtype_object": "arrays of objects are a TypeError, with the remedy",
    "check_estimators_empty_data_messages": "the message speaks of series and time steps",
    "check_fit2d_predict1d": "the message speaks of series and time steps",
    "check_requires_y_none": "the message speaks of class labels",
    "check_classifier_data_not_an_array": "containers are recognized by their type",
    "check_regressor_data_not_an_array": "containers are recognized by their type",
    "check_transformer_data_not_an_array": "containers are recognized by their type",
    "check_sample_weights_not_an_array": "containers are recognized by their type",
    "check_sample_weights_pandas_series": "its frame of two columns is taken for ids and times",
    "check_supervised_y_2d": "a column of labels is one of several targets to sktime",
    "check_sample_weight_equivalence_on_dense_data": "a repeated series is drawn twice as often, "
    "in other batches, where one of weight 2 counts twice",
}

# Logits differ by 1e-8 with a series' place in its batch; see the last test.
TO_NINE_DIGITS = ("check_methods_sample_order_invariance", "check_methods_subset_invariance")


def cases() -> list[Any]:
    found = []
    makers = {"DSN": tiny_classifier, "OS-CNN": tiny_oscnn, "regressor": tiny_regressor}
    for kind, make in makers.items():
        for estimator, check in estimator_checks_generator(make(n_epochs=2, batch_size=50)):
            name = getattr(check, "func", check).__name__
            if name in TO_NINE_DIGITS:
                continue
            if name == "check_class_weight_classifiers":
                # One class in all predictions: long training where BatchNorm is over classes.
                estimator.set_params(n_epochs=30, lr=0.05, batch_size="auto")
            found.append(pytest.param(estimator, check, name, id=f"{kind}-{name}"))
    return found


@untraced
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("estimator", "check", "name"), cases())
def test_scikit_learns_checks(estimator: Any, check: Callable, name: str) -> None:
    if name not in EXPECTED:
        check(estimator)
        return
    with pytest.raises((AssertionError, TypeError, ValueError)):
        check(estimator)


def test_the_guide_lists_every_check_that_does_not_apply() -> None:
    page = Path(__file__).parents[1] / "docs/guide/sklearn.rst"
    for name in (*EXPECTED, *TO_NINE_DIGITS):
        assert f"``{name}``" in page.read_text(), name


def test_series_in_another_order_have_the_same_probabilities(tiny: Callable) -> None:
    X, y = panel()
    classifier = tiny().fit(X, y)
    order = np.random.default_rng(0).permutation(len(X))
    expected = classifier.predict_proba(X)[order]
    np.testing.assert_allclose(classifier.predict_proba(X[order]), expected, atol=1e-6)
