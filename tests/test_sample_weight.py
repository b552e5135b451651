"""Weights of series in fit and score."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from sklearn.ensemble import AdaBoostClassifier, BaggingClassifier, VotingClassifier
from sklearn.model_selection import GridSearchCV, cross_validate
from sktime.datatypes import convert_to
from tiny import panel, tiny_classifier

from dsn_sktime.training import Checkpoint

X, Y = panel()
RNG = np.random.default_rng(0)
WEIGHT = RNG.uniform(0.1, 3, len(Y))


def probabilities(classifier: Any, *arguments: Any, **named: Any) -> np.ndarray:
    return classifier.fit(*arguments, **named).predict_proba(X)


def test_weights_shape_the_model(tiny: Callable) -> None:
    heavy = np.where(Y == "2", 1e4, 1.0)
    # One batch: the loss of a batch is relative to the weights in it.
    classifier = tiny(n_epochs=40, lr=0.1, batch_size=20)
    expected = probabilities(classifier, X, Y)[:, 1].mean()
    assert probabilities(classifier, X, Y, heavy)[:, 1].mean() > expected + 0.2


@pytest.mark.parametrize("weight", [1, 0.1, 5e-324, 1e308])
def test_equal_weights_are_none(tiny: Callable, weight: float) -> None:
    expected = probabilities(tiny(), X, Y)
    assert np.array_equal(probabilities(tiny(), X, Y, np.full(len(Y), weight)), expected)


def test_weights_may_be_a_tensor(tiny: Callable) -> None:
    weight = torch.tensor(WEIGHT, requires_grad=True)
    assert np.array_equal(probabilities(tiny(), X, Y, weight), probabilities(tiny(), X, Y, WEIGHT))


@pytest.mark.parametrize("factor", [2.0**-60, 2.0**60])
def test_only_the_ratios_of_weights_count(tiny: Callable, factor: float) -> None:
    expected = probabilities(tiny(), X, Y, WEIGHT)
    assert not np.array_equal(expected, probabilities(tiny(), X, Y))
    assert np.array_equal(probabilities(tiny(), X, Y, WEIGHT * factor), expected)


@pytest.mark.parametrize("class_weight", [None, "balanced", {"2": 3.0}])
@pytest.mark.parametrize("weight", [WEIGHT, np.ones(len(Y))], ids=["unequal", "equal"])
def test_a_series_of_weight_zero_is_absent(
    tiny: Callable, weight: np.ndarray, class_weight: Any
) -> None:
    kept = np.arange(len(Y)) % 3 > 0
    settings = {"class_weight": class_weight}
    expected = probabilities(tiny(**settings), X[kept], Y[kept], weight[kept])
    assert np.array_equal(probabilities(tiny(**settings), X, Y, weight * kept), expected)


@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_a_class_of_weight_zero_is_still_a_class(tiny: Callable, class_weight: Any) -> None:
    fitted = tiny(class_weight=class_weight, n_epochs=40, lr=0.1).fit(X, Y, (Y == "1") * WEIGHT)
    assert fitted.classes_.tolist() == ["1", "2"]
    assert (fitted.predict(X) == "1").all()


def test_class_weights_are_weights_of_their_series(tiny: Callable) -> None:
    by_class = probabilities(tiny(class_weight={"1": 1.0, "2": 4.0}), X, Y)
    by_series = probabilities(tiny(), X, Y, np.where(Y == "2", 4.0, 1.0))
    assert np.allclose(by_class, by_series, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "convert",
    [list, pd.Series, lambda w: w.astype(np.float32), lambda w: np.round(w * 4).astype(int)],
    ids=["list", "Series", "float32", "int"],
)
def test_weights_of_any_container(convert: Callable) -> None:
    weight = np.round(WEIGHT * 4)
    expected = probabilities(tiny_classifier(), X, Y, weight / 4)
    assert np.array_equal(probabilities(tiny_classifier(), X, Y, convert(weight / 4)), expected)


def test_weights_with_ids_find_their_series() -> None:
    ids = [f"T{number}" for number in range(len(Y))]
    long = convert_to(X, "pd-multiindex", "Panel")
    long = long.set_axis(
        pd.MultiIndex.from_arrays([np.repeat(ids, X.shape[2]), np.tile(np.arange(X.shape[2]), 20)])
    )
    weight = pd.Series(WEIGHT, ids).sort_index()
    found = tiny_classifier().fit(long, pd.Series(Y, ids), sample_weight=weight)
    assert np.array_equal(found.predict_proba(X), probabilities(tiny_classifier(), X, Y, WEIGHT))


def test_several_columns_of_labels_share_the_weights() -> None:
    other = np.arange(len(Y)) % 2
    columns = pd.DataFrame({"a": Y, "b": other})
    found = tiny_classifier().fit(X, columns, sample_weight=WEIGHT).predict(X)
    assert found["b"].tolist() == tiny_classifier().fit(X, other, WEIGHT).predict(X).tolist()


WRONG = {
    "shape": (np.ones(5), "found shape (5,) for 20 series"),
    "column": (np.ones((20, 1)), "found shape (20, 1) for 20 series"),
    "number": (2.0, "found shape () for 20 series"),
    "negative": (np.r_[np.ones(19), -1], "found -1.0 for series 19"),
    "NaN": (np.r_[np.nan, np.ones(19)], "found nan for series 0"),
    "infinite": (np.r_[1, np.inf, np.ones(18)], "found inf for series 1"),
    "NA": (pd.array([None] + [1.0] * 19, dtype="Float64"), "series 0"),
    "masked": (np.ma.masked_greater(np.arange(20.0), 18), "found nan for series 19"),
    "zeros": (np.zeros(20), "found zero weights only"),
    "text": (["heavy"] * 20, "found a list of other values"),
    "complex": (np.ones(20) * 1j, "other values"),
    "set": ({1, 2}, "found a set of other values"),
}


@cache
def fitted_without_weights() -> Any:
    return tiny_classifier().fit(X, Y)


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_weights_get_one_sentence_and_cost_no_fit(wrong: str) -> None:
    weight, words = WRONG[wrong]
    fitted = fitted_without_weights()
    expected = fitted.predict_proba(X)
    for use in (fitted.fit, fitted.score):
        with pytest.raises((TypeError, ValueError)) as caught:
            use(X, Y, sample_weight=weight)
        assert str(caught.value).startswith("sample_weight must hold one finite number")
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)
    assert np.array_equal(fitted.predict_proba(X), expected)


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_weights_of_an_ensemble(tiny: Callable, n_jobs: int | None) -> None:
    expected = probabilities(tiny(n_estimators=2), X, Y, WEIGHT)
    assert np.array_equal(
        probabilities(tiny(n_estimators=2, n_jobs=n_jobs), X, Y, WEIGHT), expected
    )
    assert not np.array_equal(expected, probabilities(tiny(n_estimators=2), X, Y))


def test_other_weights_have_another_checkpoint(tiny: Callable, tmp_path: Path) -> None:
    for weight in (WEIGHT, WEIGHT[::-1], None, np.full(20, 3), WEIGHT):
        expected = probabilities(tiny(), X, Y, weight)
        found = probabilities(tiny(callbacks=[Checkpoint(tmp_path)]), X, Y, weight)
        assert np.array_equal(found, expected)
    assert len(list(tmp_path.iterdir())) == 3


def test_score_is_the_weighted_accuracy(tiny: Callable) -> None:
    fitted = tiny().fit(X, Y)
    right = fitted.predict(X) == Y
    assert fitted.score(X, Y, WEIGHT) == pytest.approx(np.average(right, weights=WEIGHT))
    assert fitted.score(X, Y, np.ones(len(Y))) == fitted.score(X, Y) == right.mean()


def test_log_probabilities(tiny: Callable) -> None:
    fitted = tiny(n_estimators=2).fit(X, Y)
    assert np.array_equal(fitted.predict_log_proba(X), np.log(fitted.predict_proba(X)))


def test_adaboost_bagging_and_voting_pass_weights_on() -> None:
    boosted = AdaBoostClassifier(tiny_classifier(n_epochs=5), n_estimators=2, random_state=0)
    flat = X[:, 0]
    assert boosted.fit(flat, Y).predict_proba(flat).shape == (20, 2)
    vote = VotingClassifier([("dsn", tiny_classifier())], voting="soft")
    expected = tiny_classifier().fit(X, Y, WEIGHT).predict_proba(X)
    with sklearn.config_context(enable_metadata_routing=False):
        assert np.array_equal(vote.fit(X, Y, sample_weight=WEIGHT).predict_proba(X), expected)
    bagged = BaggingClassifier(tiny_classifier(), n_estimators=2, random_state=0)
    assert bagged.fit(flat, Y, sample_weight=WEIGHT).predict(flat).shape == (20,)


def test_requested_weights_reach_fit_and_score_of_a_grid_search() -> None:
    with sklearn.config_context(enable_metadata_routing=True):
        classifier = tiny_classifier().set_fit_request(sample_weight=True)
        classifier.set_score_request(sample_weight=True)
        even, odd = np.arange(0, 20, 2), np.arange(1, 20, 2)
        folds = [(even, odd), (odd, even)]
        search = GridSearchCV(classifier, {"n_pool": [4]}, cv=folds, error_score="raise")
        search.fit(X, Y, sample_weight=WEIGHT)
        found = cross_validate(
            classifier, X, Y, cv=folds, params={"sample_weight": WEIGHT}, error_score="raise"
        )
    scores = [
        tiny_classifier()
        .fit(X[train], Y[train], WEIGHT[train])
        .score(X[test], Y[test], WEIGHT[test])
        for train, test in folds
    ]
    assert found["test_score"] == pytest.approx(scores)
    refitted = tiny_classifier(n_pool=4).fit(X, Y, WEIGHT)
    assert np.array_equal(search.predict_proba(X), refitted.predict_proba(X))
