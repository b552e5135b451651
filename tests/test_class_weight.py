"""Class weights where labels are of any type, and where a fold lacks some of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from tiny import one_epoch, panel, tiny_classifier

from dsn_sktime import DSNClassifier

X = panel()[0]
# The last fold of two holds all of the third class.
Y = np.array([0, 1] * 8 + [0, 2, 2, 2])
FOLDS = KFold(2)
WEIGHTS = {0: 1, 1: 1.5, 2: 5}


def test_a_fold_without_a_class_ignores_its_weight(tiny: Callable) -> None:
    found = cross_val_score(tiny(class_weight=WEIGHTS), X, Y, cv=FOLDS, error_score="raise")
    expected = []
    for train, test in FOLDS.split(X):
        present = {label: WEIGHTS[label] for label in np.unique(Y[train])}
        fold = tiny(class_weight=present).fit(X[train], Y[train])
        expected.append(fold.score(X[test], Y[test]))
    assert len(np.unique(Y[:10])) == 2
    assert found.tolist() == expected


def test_an_ensemble_too(tiny: Callable) -> None:
    found = tiny(class_weight=WEIGHTS, n_estimators=2, n_jobs=2).fit(X[:10], Y[:10])
    expected = tiny(class_weight={0: 1, 1: 1.5}, n_estimators=2).fit(X[:10], Y[:10])
    assert np.array_equal(found.predict_proba(X), expected.predict_proba(X))


def test_a_grid_search_over_class_weights() -> None:
    grid = {"class_weight": [WEIGHTS, "balanced", {1: 2}, None]}
    search = GridSearchCV(tiny_classifier(), grid, cv=FOLDS, error_score="raise")
    scores = search.fit(X, Y).cv_results_["mean_test_score"]
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("class_weight", [WEIGHTS, {2: 5}, {2: 5, "other": 1}])
def test_fit_predict_with_a_fold_without_a_class(tiny: Callable, class_weight: dict) -> None:
    classifier = tiny(class_weight=class_weight)
    found = classifier.fit_predict_proba(X, Y, cv=FOLDS)
    assert found.shape == (20, 3)
    assert classifier.class_weight is class_weight
    first = {label: weight for label, weight in class_weight.items() if label in (0, 1)}
    expected = tiny(class_weight=first).fit(X[:10], Y[:10]).predict_proba(X[10:])
    assert np.array_equal(found[10:, :2], expected)


def test_fit_predict_refuses_keys_that_are_no_labels_of_any_fold() -> None:
    with pytest.raises(ValueError, match=r"class_weight must have labels of y, \[0, 1, 2\]"):
        tiny_classifier(class_weight={"2": 5}).fit_predict(X, Y, cv=FOLDS)


LABELS: dict[str, tuple[Any, Any]] = {
    "int": (np.arange(20) % 2, 1),
    "numpy key": (np.arange(20) % 2, np.int64(1)),
    "int8": ((np.arange(20) % 2).astype(np.int8), 1),
    "float": (np.arange(20) % 2 + 0.0, 1.0),
    "float and int key": (np.arange(20) % 2 + 0.0, 1),
    "bool": (np.arange(20) % 2 == 1, True),
    "numpy bool key": (np.arange(20) % 2 == 1, np.True_),
    "str": (np.array(["a", "b"] * 10), "b"),
    "numpy str key": (np.array(["a", "b"] * 10), np.str_("b")),
    "objects": (np.array(["a", "b"] * 10, dtype=object), "b"),
    "list": (["a", "b"] * 10, "b"),
    "Series": (pd.Series(["a", "b"] * 10), "b"),
    "categorical": (pd.Series(["a", "b"] * 10, dtype="category"), "b"),
    "pandas integers": (pd.Series([0, 1] * 10, dtype="Int64"), 1),
    "pandas strings": (pd.Series(["a", "b"] * 10, dtype="string"), "b"),
}


@cache
def of_numbers() -> DSNClassifier:
    return one_epoch(class_weight={1: 4.0}).fit(X, np.arange(20) % 2)


@pytest.mark.parametrize("kind", LABELS)
def test_keys_and_labels_of_any_type(kind: str) -> None:
    (y, key), expected = LABELS[kind], of_numbers()
    found = one_epoch(class_weight={key: 4.0, "absent": 2.0}).fit(X, y)
    assert np.array_equal(found.predict_proba(X), expected.predict_proba(X))
    assert found.score(X, y) == expected.score(X, np.arange(20) % 2)


@pytest.mark.parametrize("y", [np.linspace(0, 1, 40), [0.0, np.inf] * 20, [-np.inf] * 40])
def test_numbers_that_are_no_labels(y: Any) -> None:
    fitted = tiny_classifier().fit(X, Y)
    expected = fitted.predict_proba(X)
    with pytest.raises(ValueError, match=r"y must hold class labels, found continuous or inf"):
        fitted.fit(np.concatenate([X, X]), y)
    assert np.array_equal(fitted.predict_proba(X), expected)
