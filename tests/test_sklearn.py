"""scikit-learn's meta-estimators, on three-dimensional arrays of bundled data.

Most meet DSNClassifier alone, since both kinds share what a meta-estimator calls.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone, is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import StackingClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, make_scorer
from sklearn.model_selection import (
    GridSearchCV,
    RandomizedSearchCV,
    StratifiedKFold,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    learning_curve,
    permutation_test_score,
    validation_curve,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sktime.datatypes import convert_to
from tiny import panel, tiny_classifier, untraced

pytestmark = untraced

FOLDS = StratifiedKFold(3, shuffle=True, random_state=0)
GRID = {"sparsity": [0.5, 0.8], "growth": ["random", None]}


@cache
def fold_scores(tiny: Callable, name: str = "univariate") -> np.ndarray:
    """Cross-validate by hand, for comparison."""
    X, y = panel(name)
    return np.array(
        [
            tiny().fit(X[train], y[train]).score(X[test], y[test])
            for train, test in FOLDS.split(X, y)
        ]
    )


def assert_probabilities(probabilities: np.ndarray, n: int, n_classes: int) -> None:
    assert probabilities.shape == (n, n_classes)
    assert np.allclose(probabilities.sum(1), 1)
    assert (probabilities >= 0).all()


def two_members(tiny: Callable, n_epochs: int = 2) -> list[tuple[str, Any]]:
    return [
        ("one", tiny(n_epochs=n_epochs)),
        ("other", tiny(n_epochs=n_epochs, lr=2e-3, random_state=1)),
    ]


def double(X: np.ndarray) -> np.ndarray:
    return 2 * X


def test_is_a_classifier(tiny: Callable) -> None:
    assert is_classifier(tiny())


def test_clone_gives_an_equal_classifier(tiny: Callable) -> None:
    X, y = panel()
    classifier = tiny()
    expected = classifier.fit(X, y).predict_proba(X)
    assert np.array_equal(clone(classifier).fit(X, y).predict_proba(X), expected)


@pytest.mark.parametrize("name", ["univariate", "multivariate"])
def test_cross_val_score_is_that_of_the_folds(tiny: Callable, name: str) -> None:
    scores = cross_val_score(tiny(), *panel(name), cv=FOLDS, error_score="raise")
    assert np.array_equal(scores, fold_scores(tiny, name))


def test_cross_val_score_with_a_number_of_folds() -> None:
    X, y = panel("italy")
    scores = cross_val_score(tiny_classifier(), X, y, cv=3, error_score="raise")
    assert scores.shape == (3,)
    assert ((scores >= 0) & (scores <= 1)).all()


@pytest.mark.parametrize("scoring", ["neg_log_loss", "roc_auc", "balanced_accuracy"])
def test_scorers_of_probabilities_and_labels(scoring: str) -> None:
    scores = cross_val_score(
        tiny_classifier(), *panel(), cv=FOLDS, scoring=scoring, error_score="raise"
    )
    assert np.isfinite(scores).all()


def test_scorer_made_of_a_metric() -> None:
    X, y = panel()
    scorer = make_scorer(accuracy_score)
    scores = cross_val_score(tiny_classifier(), X, y, cv=FOLDS, scoring=scorer, error_score="raise")
    assert np.array_equal(scores, fold_scores(tiny_classifier))


def test_cross_val_score_in_two_processes() -> None:
    X, y = panel()
    scores = cross_val_score(tiny_classifier(), X, y, cv=FOLDS, n_jobs=2, error_score="raise")
    assert np.array_equal(scores, fold_scores(tiny_classifier))


def test_cross_val_score_of_a_nested_data_frame() -> None:
    X, y = panel()
    nested = convert_to(X, "nested_univ", "Panel")
    scores = cross_val_score(tiny_classifier(), nested, y, cv=FOLDS, error_score="raise")
    assert np.array_equal(scores, fold_scores(tiny_classifier))


def test_cross_validate_returns_fitted_estimators() -> None:
    X, y = panel()
    result = cross_validate(
        tiny_classifier(),
        X,
        y,
        cv=FOLDS,
        scoring=["accuracy", "neg_log_loss"],
        return_estimator=True,
        return_train_score=True,
        error_score="raise",
    )
    assert np.array_equal(result["test_accuracy"], fold_scores(tiny_classifier))
    assert np.isfinite(result["train_neg_log_loss"]).all()
    assert all(len(fitted.predict(X)) == len(X) for fitted in result["estimator"])


def test_cross_val_predict_gives_out_of_fold_probabilities() -> None:
    X, y = panel()
    predicted = cross_val_predict(tiny_classifier(), X, y, cv=FOLDS, method="predict_proba")
    train, test = next(FOLDS.split(X, y))
    expected = tiny_classifier().fit(X[train], y[train]).predict_proba(X[test])
    assert_probabilities(predicted, len(X), 2)
    assert np.array_equal(predicted[test], expected)


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_grid_search_refits_the_best(n_jobs: int | None) -> None:
    X, y = panel()
    search = GridSearchCV(tiny_classifier(), GRID, cv=FOLDS, n_jobs=n_jobs, error_score="raise")
    search.fit(X, y)
    expected = tiny_classifier(**search.best_params_).fit(X, y)
    assert len(search.cv_results_["params"]) == 4
    assert np.array_equal(search.predict_proba(X), expected.predict_proba(X))
    assert search.score(X, y) == expected.score(X, y)


def test_grid_of_numpy_numbers() -> None:
    grid = {"kernel_size": np.array([9, 12]), "n_pool": np.arange(4, 6), "lr": np.array([1e-3])}
    search = GridSearchCV(tiny_classifier(n_epochs=2), grid, cv=2, error_score="raise")
    search.fit(*panel())
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_randomized_search_refits_the_best() -> None:
    X, y = panel()
    search = RandomizedSearchCV(
        tiny_classifier(), GRID, n_iter=2, cv=FOLDS, random_state=0, error_score="raise"
    ).fit(X, y)
    expected = tiny_classifier(**search.best_params_).fit(X, y)
    assert np.array_equal(search.predict_proba(X), expected.predict_proba(X))


def test_pipeline_is_transformer_then_classifier(tiny: Callable) -> None:
    X, y = panel("multivariate")
    pipeline = make_pipeline(FunctionTransformer(double), tiny()).fit(X, y)
    expected = tiny().fit(2 * X, y)
    assert np.array_equal(pipeline.predict_proba(X), expected.predict_proba(2 * X))
    assert np.array_equal(pipeline.predict(X), expected.predict(2 * X))
    assert pipeline.score(X, y) == expected.score(2 * X, y)
    assert np.array_equal(pipeline.classes_, expected.classes_)


def test_grid_search_over_a_pipeline() -> None:
    X, y = panel()
    pipeline = Pipeline([("double", FunctionTransformer(double)), ("dsn", tiny_classifier())])
    grid = {"dsn__sparsity": [0.5, 0.8], "double": [FunctionTransformer(double), "passthrough"]}
    search = GridSearchCV(pipeline, grid, cv=FOLDS, error_score="raise").fit(X, y)
    assert_probabilities(search.predict_proba(X), len(X), 2)


@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
def test_calibration(method: str) -> None:
    X, y = panel("multivariate")
    calibrated = CalibratedClassifierCV(tiny_classifier(), method=method, cv=2).fit(X, y)
    assert_probabilities(calibrated.predict_proba(X), len(X), 4)
    assert set(calibrated.predict(X)) <= set(y)


def test_soft_vote_is_the_mean_of_the_members(tiny: Callable) -> None:
    X, y = panel()
    vote = VotingClassifier(two_members(tiny), voting="soft").fit(X, y)
    # VotingClassifier hands its members encoded labels, of the same order.
    members = [member.fit(X, y).predict_proba(X) for _, member in two_members(tiny)]
    assert np.allclose(vote.predict_proba(X), np.mean(members, axis=0))


def test_hard_vote_gives_labels() -> None:
    X, y = panel()
    vote = VotingClassifier(
        [*two_members(tiny_classifier), ("third", tiny_classifier(random_state=2))]
    )
    votes = [m.fit(X, y).predict(X) for _, m in vote.estimators]
    expected = ["1" if (column == "1").sum() > 1 else "2" for column in np.transpose(votes)]
    assert vote.fit(X, y).predict(X).tolist() == expected


def test_stacking() -> None:
    X, y = panel()
    stack = StackingClassifier(two_members(tiny_classifier), LogisticRegression(), cv=2).fit(X, y)
    assert_probabilities(stack.predict_proba(X), len(X), 2)
    assert stack.predict(X).dtype == y.dtype


def test_one_vs_rest() -> None:
    X, y = panel("multivariate")
    model = OneVsRestClassifier(tiny_classifier()).fit(X, y)
    assert_probabilities(model.predict_proba(X), len(X), 4)
    assert len(model.estimators_) == 4


@pytest.mark.parametrize("fitted", [False, True])
def test_html_repr(fitted: bool) -> None:
    classifier = tiny_classifier(kernel_size=11)
    if fitted:
        classifier.fit(*panel())
    html = classifier._repr_html_()
    assert "DSNClassifier" in html
    assert "11" in html


def test_html_repr_of_a_pipeline_around_it() -> None:
    assert (
        "DSNClassifier"
        in make_pipeline(FunctionTransformer(double), tiny_classifier())._repr_html_()
    )


def test_repr_shows_what_is_not_default() -> None:
    assert "kernel_size=9" in repr(tiny_classifier())


def test_a_2d_array_holds_univariate_series(tiny: Callable) -> None:
    X, y = panel()
    flat = tiny().fit(X[:, 0], y)
    assert np.array_equal(flat.predict_proba(X[:, 0]), tiny().fit(X, y).predict_proba(X))
    assert np.array_equal(
        cross_val_score(tiny(), X[:, 0], y, cv=FOLDS, error_score="raise"), fold_scores(tiny)
    )


def test_learning_curve() -> None:
    X, y = panel("italy")
    sizes, train, test = learning_curve(
        tiny_classifier(n_epochs=2), X, y, cv=2, train_sizes=[0.5, 1.0], error_score="raise"
    )
    assert sizes.tolist() == [16, 33]
    assert np.isfinite(train).all()
    assert np.isfinite(test).all()


def test_validation_curve() -> None:
    train, test = validation_curve(
        tiny_classifier(),
        *panel(),
        param_name="sparsity",
        param_range=[0.0, 0.8],
        cv=2,
        error_score="raise",
    )
    assert train.shape == test.shape == (2, 2)
    assert np.isfinite(test).all()


def test_permutation_test() -> None:
    score, permuted, p_value = permutation_test_score(
        tiny_classifier(n_epochs=2), *panel(), cv=2, n_permutations=2, random_state=0
    )
    assert 0 <= score <= 1
    assert permuted.shape == (2,)
    assert 0 < p_value <= 1


@pytest.mark.parametrize(
    "wrap",
    [
        lambda c: GridSearchCV(c, {"n_pool": [4]}, cv=2, error_score="raise"),
        lambda c: make_pipeline(FunctionTransformer(double), c),
        lambda c: CalibratedClassifierCV(c, cv=2),
        lambda c: VotingClassifier([("c", c)], voting="soft"),
    ],
    ids=["GridSearchCV", "Pipeline", "CalibratedClassifierCV", "VotingClassifier"],
)
def test_meta_estimators_can_be_nested_and_refitted(wrap: Callable) -> None:
    X, y = panel()
    model = wrap(tiny_classifier(n_epochs=2))
    scores = cross_val_score(model, X, y, cv=2, error_score="raise")
    assert scores.shape == (2,)
    first = model.fit(X, y).predict_proba(X)
    assert np.array_equal(model.fit(X, y).predict_proba(X), first)
