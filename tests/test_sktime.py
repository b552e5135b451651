"""sktime's own tools: benchmarks, pipelines, tuning, saving, fit_predict."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score
from sklearn.model_selection import KFold, PredefinedSplit, StratifiedKFold
from sktime.base import load
from sktime.benchmarking.classification import ClassificationBenchmark
from sktime.classification.ensemble import BaggingClassifier, WeightedEnsembleClassifier
from sktime.classification.model_evaluation import evaluate
from sktime.classification.model_selection import TSCGridSearchCV
from sktime.datasets import load_japanese_vowels
from sktime.datatypes import convert_to
from sktime.pipeline import make_pipeline
from sktime.transformations.panel.padder import PaddingTransformer
from sktime.transformations.series.exponent import ExponentTransformer
from sktime.transformations.series.impute import Imputer
from tiny import panel, tiny_classifier, untraced

from dsn_sktime import DSNClassifier

pytestmark = untraced

FOLDS = StratifiedKFold(3, shuffle=True, random_state=0)


def assert_probabilities(p: np.ndarray, n: int, n_classes: int) -> None:
    assert p.shape == (n, n_classes)
    assert np.allclose(p.sum(1), 1)


def out_of_fold(X: np.ndarray, y: np.ndarray, folds: Any = FOLDS) -> np.ndarray:
    """Cross-fit by hand, for comparison."""
    probabilities = np.full((len(y), len(np.unique(y))), np.nan)
    for train, test in folds.split(X, y):
        classifier = tiny_classifier().fit(X[train], y[train])
        columns = np.searchsorted(np.unique(y), classifier.classes_)
        probabilities[np.ix_(test, columns)] = classifier.predict_proba(X[test])
    return probabilities


# Benchmarks.


def train_and_test() -> tuple[pd.DataFrame, np.ndarray]:
    X, y = (np.concatenate([panel()[i], panel(split="test")[i]]) for i in range(2))
    return convert_to(X, "pd-multiindex", "Panel"), y


def archive_split() -> PredefinedSplit:
    return PredefinedSplit([-1] * 20 + [0] * 22)


def accuracy_on_the_test_split() -> float:
    return tiny_classifier().fit(*panel()).score(*panel(split="test"))


@pytest.mark.filterwarnings("ignore::RuntimeWarning:numpy")  # the deviation over one fold
def test_benchmark_on_the_split_of_the_archive() -> None:
    benchmark = ClassificationBenchmark()
    benchmark.add_estimator(tiny_classifier(), estimator_id="DSN")
    benchmark.add_task(train_and_test, archive_split(), [accuracy_score], task_id="UnitTest")
    results = benchmark.run()
    assert not benchmark.failed_experiments
    assert results["accuracy_score_fold_0_test"].tolist() == [accuracy_on_the_test_split()]


def test_evaluate_on_the_split_of_the_archive() -> None:
    X, y = train_and_test()
    results = evaluate(
        tiny_classifier(), archive_split(), X, y, scoring=[accuracy_score], error_score="raise"
    )
    assert results["test_accuracy_score"].tolist() == [accuracy_on_the_test_split()]


# Composition.


def test_a_transformer_times_the_classifier_is_a_pipeline() -> None:
    X, y = panel("multivariate")
    powers = ExponentTransformer(2).fit_transform(X)
    expected = tiny_classifier().fit(powers, y).predict_proba(powers)
    for pipeline in (
        ExponentTransformer(2) * tiny_classifier(),
        make_pipeline(ExponentTransformer(2), tiny_classifier()),
    ):
        assert np.array_equal(pipeline.fit(X, y).predict_proba(X), expected)


def test_imputed_series_are_not_zero_filled_ones(rng: np.random.Generator) -> None:
    X, y = panel()
    X = np.where(rng.random(X.shape) < 0.2, np.nan, X)
    pipeline = Imputer("mean") * tiny_classifier()
    imputed = pipeline.fit(X, y).predict_proba(X)
    assert_probabilities(imputed, 20, 2)
    assert not np.allclose(imputed, tiny_classifier().fit(X, y).predict_proba(X))


def test_padded_unequal_lengths() -> None:
    X, y = load_japanese_vowels("train", return_type="nested_univ")
    X, y = X.iloc[::9], y[::9]
    pipeline = PaddingTransformer() * tiny_classifier()
    assert_probabilities(pipeline.fit(X, y).predict_proba(X), 30, 9)


def test_grid_search_refits_the_best() -> None:
    X, y = panel()
    grid = {"sparsity": [0.5, 0.8], "n_pool": [5]}
    folds = KFold(2, shuffle=True, random_state=0)
    search = TSCGridSearchCV(tiny_classifier(), grid, cv=folds, error_score="raise").fit(X, y)
    expected = tiny_classifier(**search.best_params_).fit(X, y)
    assert np.array_equal(search.predict_proba(X), expected.predict_proba(X))


def test_weighted_ensemble() -> None:
    X, y = panel()
    members = [("a", tiny_classifier()), ("b", tiny_classifier(random_state=1))]
    weighted = WeightedEnsembleClassifier(members, weights=[3, 1]).fit(X, y)
    first, second = (member.fit(X, y).predict_proba(X) for _, member in members)
    assert np.allclose(weighted.predict_proba(X), (3 * first + second) / 4)


def test_bagging() -> None:
    X, y = panel("multivariate")
    bagging = BaggingClassifier(
        tiny_classifier(), n_estimators=2, n_samples=0.8, bootstrap=False, random_state=0
    )
    assert_probabilities(bagging.fit(X, y).predict_proba(X), 40, 4)


def test_multiplexer_takes_the_chosen_one() -> None:
    X, y = panel()
    one, other = tiny_classifier(), tiny_classifier(random_state=1)
    choice = (one | other).set_params(selected_classifier="DSNClassifier_2")
    expected = other.clone().fit(X, y).predict_proba(X)
    assert np.array_equal(choice.fit(X, y).predict_proba(X), expected)


# Saving.


def save_to_file(classifier: DSNClassifier, folder: Path) -> DSNClassifier:
    classifier.save(folder / "model")
    return load(folder / "model.zip")


def save_with_joblib(classifier: DSNClassifier, folder: Path) -> DSNClassifier:
    joblib.dump(classifier, folder / "model.joblib")
    return joblib.load(folder / "model.joblib")


@pytest.mark.parametrize(
    "copied",
    [
        save_to_file,
        save_with_joblib,
        lambda classifier, _: load(classifier.save()),
        lambda classifier, _: pickle.loads(pickle.dumps(classifier)),
        lambda classifier, _: copy.deepcopy(classifier),
    ],
    ids=["save to a file", "joblib", "save in memory", "pickle", "deepcopy"],
)
@pytest.mark.parametrize("n_estimators", [1, 2])
def test_a_saved_classifier_is_the_same(
    copied: Callable, n_estimators: int, tmp_path: Path
) -> None:
    X, y = panel("multivariate")
    classifier = tiny_classifier(n_estimators=n_estimators).fit(X, y)
    other = copied(classifier, tmp_path)
    assert other is not classifier
    assert np.array_equal(other.predict_proba(X), classifier.predict_proba(X))
    assert np.array_equal(other.predict(X), classifier.predict(X))
    assert other.get_params() == classifier.get_params()
    assert other.history_ == classifier.history_
    if n_estimators == 1:
        assert other.network_ is other.networks_[0]


def test_saving_changes_nothing() -> None:
    X, y = panel()
    classifier = tiny_classifier().fit(X, y)
    before, network = classifier.predict_proba(X), classifier.network_
    classifier.save()
    pickle.dumps(classifier)
    assert classifier.network_ is network
    assert np.array_equal(classifier.predict_proba(X), before)


def test_a_copy_shares_no_weights() -> None:
    X, y = panel()
    classifier = tiny_classifier().fit(X, y)
    before = classifier.predict_proba(X)
    other = copy.deepcopy(classifier)
    for parameter in other.network_.parameters():
        parameter.data.zero_()
    assert not np.array_equal(other.predict_proba(X), before)
    assert np.array_equal(classifier.predict_proba(X), before)


def test_an_unfitted_classifier_can_be_saved() -> None:
    X, y = panel()
    other = pickle.loads(pickle.dumps(tiny_classifier()))
    expected = tiny_classifier().fit(X, y).predict_proba(X)
    assert np.array_equal(other.fit(X, y).predict_proba(X), expected)


# fit_predict.


def test_fit_predict_without_folds_is_fit_then_predict() -> None:
    X, y = panel()
    expected = tiny_classifier().fit(X, y)
    classifier = tiny_classifier()
    assert np.array_equal(classifier.fit_predict(X, y), expected.predict(X))
    assert np.array_equal(classifier.fit_predict_proba(X, y), expected.predict_proba(X))
    assert classifier.is_fitted


@pytest.mark.parametrize("name", ["univariate", "multivariate"])
def test_fit_predict_with_folds_is_out_of_fold(name: str) -> None:
    X, y = panel(name)
    expected = out_of_fold(X, y)
    found = tiny_classifier().fit_predict_proba(X, y, cv=FOLDS)
    assert np.array_equal(found, expected)
    labels = tiny_classifier().fit_predict(X, y, cv=FOLDS)
    assert np.array_equal(labels, np.unique(y)[expected.argmax(1)])
    assert labels.dtype == y.dtype


def test_a_number_of_folds_is_that_of_stratified_folds() -> None:
    X, y = panel()
    found = tiny_classifier().fit_predict_proba(X, y, cv=2)
    assert np.array_equal(found, out_of_fold(X, y, StratifiedKFold(2)))


def test_folds_of_two_dimensional_arrays() -> None:
    X, y = panel()
    found = tiny_classifier().fit_predict_proba(X[:, 0], y, cv=FOLDS)
    assert np.array_equal(found, out_of_fold(X, y))


def test_folds_given_as_rows() -> None:
    X, y = panel()
    found = tiny_classifier().fit_predict_proba(X, y, cv=list(FOLDS.split(X, y)))
    assert np.array_equal(found, out_of_fold(X, y))


@pytest.mark.parametrize("convert", [list, pd.Series, lambda y: pd.Series(y, dtype="category")])
def test_folds_of_labels_in_any_container(convert: Callable) -> None:
    X, y = panel()
    found = tiny_classifier().fit_predict(X, convert(y), cv=FOLDS)
    assert found.tolist() == np.unique(y)[out_of_fold(X, y).argmax(1)].tolist()


def test_a_class_that_a_fold_never_saw_has_probability_zero() -> None:
    X, _ = panel()
    y = np.array(["a", "b"] * 9 + ["c", "c"])
    folds = KFold(10)  # the last fold holds all of "c"
    found = tiny_classifier().fit_predict_proba(X, y, cv=folds)
    assert np.array_equal(found, np.nan_to_num(out_of_fold(X, y, folds)))
    assert (found[18:, 2] == 0).all()
    assert np.allclose(found.sum(1), 1)


@pytest.mark.parametrize("cv", [None, FOLDS], ids=["no folds", "folds"])
@pytest.mark.parametrize("method", ["fit_predict", "fit_predict_proba"])
def test_change_state_false_leaves_a_fitted_classifier(method: str, cv: Any) -> None:
    X, y = panel()
    classifier = tiny_classifier().fit(X[:, :, :12], y)
    network, expected = classifier.network_, classifier.predict_proba(X)
    getattr(classifier, method)(X, y, cv=cv, change_state=False)
    assert classifier.network_ is network
    assert np.array_equal(classifier.predict_proba(X), expected)


@pytest.mark.parametrize("cv", [None, FOLDS], ids=["no folds", "folds"])
def test_change_state_false_leaves_an_unfitted_classifier(cv: Any) -> None:
    classifier = tiny_classifier()
    classifier.fit_predict(*panel(), cv=cv, change_state=False)
    assert not classifier.is_fitted


@pytest.mark.parametrize("cv", [None, FOLDS], ids=["no folds", "folds"])
def test_change_state_true_fits_to_all(cv: Any) -> None:
    X, y = panel()
    classifier = tiny_classifier()
    classifier.fit_predict(X, y, cv=cv, change_state=True)
    expected = tiny_classifier().fit(X, y).predict_proba(X)
    assert np.array_equal(classifier.predict_proba(X), expected)


# Several columns of labels.


def test_several_columns_of_labels_are_fitted_one_by_one() -> None:
    X, y = panel()
    columns = pd.DataFrame({"as given": y, "parity": np.arange(20) % 2})
    predicted = tiny_classifier().fit(X, columns).predict(X)
    assert predicted.columns.tolist() == ["as given", "parity"]
    for name in columns:
        expected = tiny_classifier().fit(X, columns[name].to_numpy()).predict(X)
        assert predicted[name].tolist() == expected.tolist()


def test_a_two_dimensional_array_of_labels() -> None:
    X, _ = panel()
    y = np.column_stack([np.arange(20) % 2, np.arange(20) // 10])
    predicted = np.asarray(tiny_classifier().fit(X, y).predict(X))
    assert predicted.shape == (20, 2)
    for column in range(2):
        expected = tiny_classifier().fit(X, y[:, column]).predict(X)
        assert np.array_equal(predicted[:, column], expected)
